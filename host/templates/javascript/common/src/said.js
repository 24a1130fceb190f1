// What console writes of a value.

/**
 * A value as a line of text.
 * @param {unknown} value
 * @returns {string}
 */
export function said(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    // What the proxy refuses says why in its payload, of which only a text is in the message as well.
    const payload = /** @type {Error & { payload?: unknown }} */ (value).payload;
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
