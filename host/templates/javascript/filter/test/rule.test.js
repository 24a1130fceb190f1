import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refused, settings } from '../src/rule.js';

test('requests below the path are refused', () => {
  const own = settings('{}');

  assert.equal(refused(own, '/upload/a'), true);
  assert.equal(refused(own, '/v1/models'), false);
  assert.equal(refused(settings('{"refuse": ""}'), '/upload/a'), false);
});

test('a setting that is not known is named', () => {
  assert.throws(() => settings('{"labl": "x"}'), /`labl`/);
});

test('a value that is no text is named', () => {
  assert.throws(() => settings('{"label": 7}'), /a text is expected for `label`/);
});
