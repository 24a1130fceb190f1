// What is decided, apart from how the proxy is spoken to.

export interface Settings {
  label: string;
  refuse: string;
}

/** The plugin's settings. A key that is not known, and a value that is no text, is an error that names it. */
export function settings(text: string): Settings {
  const own: Settings = { label: 'reviewed', refuse: '/upload' };
  for (const [key, value] of Object.entries<unknown>(JSON.parse(text))) {
    if (key !== 'label' && key !== 'refuse') throw new Error(`there is no setting \`${key}\`: there are \`label\` and \`refuse\``);
    if (typeof value !== 'string') throw new Error(`a text is expected for \`${key}\``);
    own[key] = value;
  }
  return own;
}

/** Whether a request to that path is refused. */
export function refused(settings: Settings, path: string): boolean {
  return settings.refuse !== '' && path.startsWith(settings.refuse);
}
