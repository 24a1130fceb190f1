// What is decided, apart from how the proxy is spoken to.

/**
 * The plugin's settings. A key that is not known is an error that names it.
 * @param {string} text
 * @returns {{ from: string, to: string }}
 */
export function settings(text) {
  const { from = 'secret', to = 'public', ...others } = JSON.parse(text);
  for (const key in others) throw new Error(`there is no setting \`${key}\`: there are \`from\` and \`to\``);
  if (from === '') throw new Error('from: there must be a word to replace');
  return { from, to };
}

/**
 * The text with the word replaced, or null if the word is not in it.
 * @param {{ from: string, to: string }} settings
 * @param {string} text
 * @returns {string | null}
 */
export function replaced(settings, text) {
  return text.includes(settings.from) ? text.replaceAll(settings.from, settings.to) : null;
}
