// What is decided, apart from how the proxy is spoken to.

export interface Settings {
  label: string;
  refuse: string;
}

/** The plugin's settings. A key that is not known is an error that names it. */
export function settings(text: string): Settings {
  const { label = 'reviewed', refuse = '/upload', ...others } = JSON.parse(text);
  for (const key in others) throw new Error(`there is no setting \`${key}\`: there are \`label\` and \`refuse\``);
  return { label, refuse };
}

/** Whether a request to that path is refused. */
export function refused(settings: Settings, path: string): boolean {
  return settings.refuse !== '' && path.startsWith(settings.refuse);
}
