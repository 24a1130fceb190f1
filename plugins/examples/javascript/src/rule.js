// What is decided, apart from how the proxy is spoken to.

/** What stands in the place of what is blanked. */
const BLANKED = '[blanked]';

/**
 * The plugin's settings. A key that is not known, and a value that is no text, is an error that names it.
 * @param {string} text
 * @returns {{ model: string, blank: string }}
 */
export function settings(text) {
  const own = { model: '', blank: '' };
  for (const [key, value] of Object.entries(JSON.parse(text))) {
    if (key !== 'model' && key !== 'blank') throw new Error(`there is no setting \`${key}\`: there are \`model\` and \`blank\``);
    if (typeof value !== 'string') throw new Error(`a text is expected for \`${key}\``);
    own[key] = value;
  }
  return own;
}

/**
 * The line about an exchange, or null if it is not to be kept.
 * @param {{ model: string, blank: string }} settings
 * @param {{ user: string | null, url: string, question: string, answer: string }} exchange
 * @returns {string | null}
 */
export function line(settings, { user, url, question, answer }) {
  let model;
  try {
    model = JSON.parse(question).model;
  } catch {
    return null;
  }
  if (typeof model !== 'string' || (settings.model !== '' && settings.model !== model)) return null;
  const line = { user, url, model, question, answer };
  if (settings.blank in line) line[settings.blank] = BLANKED;
  return JSON.stringify(line) + '\n';
}
