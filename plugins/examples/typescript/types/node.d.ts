// What the tests use of Node.js.
declare module 'node:test' {
  export function test(promise: string, run: () => void): void;
}
declare module 'node:assert/strict' {
  const assert: {
    equal(seen: unknown, expected: unknown): void;
    match(seen: string, expected: RegExp): void;
    throws(run: () => unknown, expected: RegExp): void;
  };
  export default assert;
}
