// What is decided, apart from how the proxy is spoken to.

/**
 * The plugin's settings. A key that is not known is an error that names it.
 * @param {string} text
 * @returns {{ label: string, refuse: string }}
 */
export function settings(text) {
  const { label = 'reviewed', refuse = '/upload', ...others } = JSON.parse(text);
  for (const key in others) throw new Error(`there is no setting \`${key}\`: there are \`label\` and \`refuse\``);
  return { label, refuse };
}

/**
 * Whether a request to that path is refused.
 * @param {{ label: string, refuse: string }} settings
 * @param {string} path
 */
export function refused(settings, path) {
  return settings.refuse !== '' && path.startsWith(settings.refuse);
}
