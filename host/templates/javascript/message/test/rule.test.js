import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replaced, settings } from '../src/rule.js';

test('the word is replaced wherever it stands', () => {
  const own = settings('{}');

  assert.equal(replaced(own, 'a secret, a secret'), 'a public, a public');
  assert.equal(replaced(own, 'nothing'), null);
});

test('what takes its place is a text and no pattern', () => {
  assert.equal(replaced({ from: 'secret', to: '$& $$' }, 'a secret'), 'a $& $$');
});

test('a setting that is not known is named', () => {
  assert.throws(() => settings('{"form": "x"}'), /`form`/);
});

test('a value that is no text is named', () => {
  assert.throws(() => settings('{"from": 7}'), /a text is expected for `from`/);
});
