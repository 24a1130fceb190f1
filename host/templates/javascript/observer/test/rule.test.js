import assert from 'node:assert/strict';
import { test } from 'node:test';
import { line, settings } from '../src/rule.js';

const exchange = (model) => ({ user: 'ana', url: 'https://api.example.com/', question: JSON.stringify({ model }), answer: 'hello' });

test("one model's answers are kept with a field blanked", () => {
  const own = settings('{"model": "gpt-4o", "blank": "user"}');

  assert.match(line(own, exchange('gpt-4o')), /^{"user":"\[blanked]","url":"https:.*"answer":"hello"}\n$/);
  assert.equal(line(own, exchange('gpt-4o-mini')), null);
  assert.equal(line(own, { ...exchange(''), question: 'no JSON' }), null);
});

test('a setting that is not known is named', () => {
  assert.throws(() => settings('{"modell": "x"}'), /`modell`/);
});

test('a value that is no text is named', () => {
  assert.throws(() => settings('{"model": 7}'), /a text is expected for `model`/);
});
