// What is decided, apart from how the proxy is spoken to.

/**
 * The plugin's settings. A key that is not known, and a value that is no text, is an error that names it.
 * @param {string} text
 * @returns {{ label: string, refuse: string }}
 */
export function settings(text) {
  const own = { label: 'reviewed', refuse: '/upload' };
  for (const [key, value] of Object.entries(JSON.parse(text))) {
    if (key !== 'label' && key !== 'refuse') throw new Error(`there is no setting \`${key}\`: there are \`label\` and \`refuse\``);
    if (typeof value !== 'string') throw new Error(`a text is expected for \`${key}\``);
    own[key] = value;
  }
  return own;
}

/**
 * Whether a request to that path is refused.
 * @param {{ label: string, refuse: string }} settings
 * @param {string} path
 */
export function refused(settings, path) {
  return settings.refuse !== '' && path.startsWith(settings.refuse);
}
