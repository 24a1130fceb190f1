// What console writes of a value.

/** A value as a line of text. */
export function said(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    // What the proxy refuses says why in its payload, of which only a text is in the message as well.
    const payload = (value as Error & { payload?: unknown }).payload;
    const text = String(value);
    const why = payload === undefined ? '' : said(payload);
    return text.includes(why) ? text : `${text}: ${why}`;
  }
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
