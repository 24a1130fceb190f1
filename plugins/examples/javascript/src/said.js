// What console writes of a value.

/**
 * A value as a line of text.
 * @param {unknown} value
 * @returns {string}
 */
export function said(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    // What the proxy refuses says why in its payload.
    const payload = /** @type {Error & { payload?: unknown }} */ (value).payload;
    return payload === undefined ? String(value) : `${value}: ${said(payload)}`;
  }
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
