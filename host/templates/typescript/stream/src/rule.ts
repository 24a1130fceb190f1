// What is decided, apart from how the proxy is spoken to.

export interface Settings {
  from: string;
  to: string;
}

/** The plugin's settings. A key that is not known is an error that names it. */
export function settings(text: string): Settings {
  const { from = 'secret', to = 'public', ...others } = JSON.parse(text);
  for (const key in others) throw new Error(`there is no setting \`${key}\`: there are \`from\` and \`to\``);
  if (from === '') throw new Error('from: there must be a word to replace');
  return { from, to };
}

/** The text with the word replaced, or null if the word is not in it. */
export function replaced(settings: Settings, text: string): string | null {
  return text.includes(settings.from) ? text.replaceAll(settings.from, settings.to) : null;
}
