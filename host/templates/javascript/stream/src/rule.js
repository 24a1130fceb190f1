// What is decided, apart from how the proxy is spoken to.

/**
 * The plugin's settings. A key that is not known, and a value that is no text, is an error that names it.
 * @param {string} text
 * @returns {{ from: string, to: string }}
 */
export function settings(text) {
  const own = { from: 'secret', to: 'public' };
  for (const [key, value] of Object.entries(JSON.parse(text))) {
    if (key !== 'from' && key !== 'to') throw new Error(`there is no setting \`${key}\`: there are \`from\` and \`to\``);
    if (typeof value !== 'string') throw new Error(`a text is expected for \`${key}\``);
    own[key] = value;
  }
  if (own.from === '') throw new Error('from: there must be a word to replace');
  return own;
}

/**
 * The text with the word replaced, or null if the word is not in it.
 * @param {{ from: string, to: string }} settings
 * @param {string} text
 * @returns {string | null}
 */
export function replaced(settings, text) {
  return text.includes(settings.from) ? text.replaceAll(settings.from, () => settings.to) : null;
}
