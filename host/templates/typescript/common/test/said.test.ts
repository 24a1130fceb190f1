import assert from 'node:assert/strict';
import { test } from 'node:test';
import { said } from '../src/said.js';

test('errors say what they are, and nothing makes it throw', () => {
  const round: { self?: unknown } = {};
  round.self = round;

  assert.equal(said(new TypeError('no such field')), 'TypeError: no such field');
  assert.equal(said(Object.assign(new Error('refused'), { payload: { tag: 'forbidden' } })), 'Error: refused: {"tag":"forbidden"}');
  assert.equal(said(Object.assign(new Error('refused'), { payload: 'refused' })), 'Error: refused');
  assert.equal(said(round), '[object Object]');
  assert.equal(said(undefined), 'undefined');
  assert.equal(said(['a', 1]), '["a",1]');
});
