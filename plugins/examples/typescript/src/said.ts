// What console writes of a value.

/** A value as a line of text. */
export function said(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    // What the proxy refuses says why in its payload.
    const payload = (value as Error & { payload?: unknown }).payload;
    return payload === undefined ? String(value) : `${value}: ${said(payload)}`;
  }
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
