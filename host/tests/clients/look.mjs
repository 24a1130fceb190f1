// A person's way through what flowgate shows, in Chromium: onboarding, then the status page. Each page is looked at by axe-core, in light and
// dark, and on a phone; pictures are written to LOOK_PICTURES.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { CLIENTS_MODULES: MODULES, CLIENTS_HOME: HOME } = process.env;
const { LOOK_PROXY: PROXY, LOOK_ADMIN: ADMIN, LOOK_TOKEN: TOKEN, LOOK_BASE: BASE } = process.env;
const { LOOK_BUILD: BUILD, LOOK_PLUGIN: PLUGIN, LOOK_PICTURES: PICTURES } = process.env;
const require = createRequire(`${MODULES}/`);
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
/** Less than the test waits for all of it, so that it can say where it stands. */
const LONG = 170_000;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };

let at = 'the beginning';
setTimeout(() => { throw new Error(`not done after ${LONG / 1000} s, and at ${at}`); }, LONG).unref();
fs.rmSync(PICTURES, { recursive: true, force: true });
fs.mkdirSync(PICTURES, { recursive: true });
const ana = { proxy: { server: `http://${PROXY}`, username: 'ana', password: 's3cret' } };
const bob = { proxy: { server: `http://${PROXY}`, username: 'bob', password: 's3cret' } };

function launch() {
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', ...quiet];
  return chromium.launch({ executablePath: '/usr/bin/chromium', args, env: { ...process.env, HOME } });
}

/** A page in a context of its own; whatever it cannot load or does wrong is a failure. */
async function opened(browser, options = {}) {
  const context = await browser.newContext({ viewport: DESK, reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => { throw error; });
  page.on('console', (said) => { if (said.type() === 'error' && !/40[14] /.test(said.text())) throw new Error(`the console says: ${said.text()}`); });
  return page;
}

/** A picture of it, in light and dark, and nothing serious that axe-core objects to. */
async function look(page, name) {
  at = name;
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    // What scripts may not do by the page's policy, the debugger may.
    if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(axe);
    // In dark, all is as in light but the colours.
    const only = colorScheme === 'dark' ? '["color-contrast"]' : 'undefined';
    const { violations } = await page.evaluate(`axe.run(document, { resultTypes: ["violations"], runOnly: ${only} })`);
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    const told = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
    await page.screenshot({ path: `${PICTURES}/${name}-${colorScheme}.png` });
    assert.deepEqual(told, [], `${name}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
}

const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const pressed = async (page, ...keys) => { for (const key of keys) await page.keyboard.press(key); };

/** Tab until something is reached whose text or label is such. */
async function tabbed(page, such) {
  for (let at = 0; at < 60; at += 1) {
    await page.keyboard.press('Tab');
    const text = await page.evaluate(() => { const active = document.activeElement; return `${active.id} ${active.ariaLabel ?? ''} ${active.textContent}`; });
    if (such.test(text)) return;
  }
  assert.fail(`${such} is not reached by the keyboard`);
}

async function onboarding() {
  const browser = await launch();
  const straight = await opened(browser);
  await straight.goto(`http://${PROXY}/`);
  assert.match(await straight.locator('#verdict').innerText(), /is not known from that/);
  await look(straight, '01-onboarding-straight');

  const page = await opened(browser, ana);
  await page.goto('http://flowgate.internal/');
  assert.match(await page.locator('#verdict').innerText(), /goes through the proxy, as ana/);
  await page.locator('summary', { hasText: 'VS Code' }).focus();
  await page.keyboard.press('Enter');
  assert.match(await page.locator('details[open] pre').first().innerText(), new RegExp(`http://ana:PASSWORD@${PROXY}`));
  await look(page, '02-onboarding-as-ana');
  await page.setViewportSize(PHONE);
  assert.ok((await wide(page)) <= 0, 'onboarding is wider than a phone');
  await look(page, '03-onboarding-phone');

  // Nothing is trusted yet: the page says how, and its own link gives what it takes.
  await assert.rejects((await opened(browser, ana)).goto('https://flowgate.internal/'), /ERR_CERT_AUTHORITY_INVALID/);
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('a[href="/flowgate-ca.pem"]').click()]);
  const root = `${HOME}/downloaded.pem`;
  await download.saveAs(root);
  await browser.close();
  const trusted = `${HOME}/.pki/nssdb`;
  fs.mkdirSync(trusted, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${trusted}`, '-N', '--empty-password']);
  execFileSync('certutil', ['-d', `sql:${trusted}`, '-A', '-t', 'C,,', '-n', 'flowgate', '-i', root]);
}

/** In the page of the origin. */
const asked = {
  chat: () => {
    const messages = [{ role: 'system', content: 'You help with proxies.' }, { role: 'user', content: 'Greet me, and say what a forward proxy does. My pin-4711 is secret.' }];
    const headers = { 'content-type': 'application/json', 'editor-version': 'vscode/1.95.3', 'x-secret': 'none' };
    window.chat = fetch('/chat/completions', { method: 'POST', headers, body: JSON.stringify({ model: 'gpt-4.1', stream: true, messages }) }).then((answer) => answer.text());
  },
  finish: async () => {
    await (await fetch('/finish')).text();
    return window.chat;
  },
  get: async (path) => (await fetch(path)).status,
  burst: () => Promise.all(Array.from({ length: 100 }, (_, at) => fetch(`/burst/${at}`).then((answer) => answer.text()))),
  socket: () => new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/responses`);
    socket.onopen = () => socket.send('{"type":"response.create","input":"hello"}');
    socket.onmessage = () => socket.close();
    socket.onclose = resolve;
    socket.onerror = () => reject(new Error('the WebSocket failed'));
  }),
};

async function status() {
  const browser = await launch();
  const client = await opened(browser, ana);
  assert.equal((await client.goto('https://flowgate.internal/')).status(), 200);
  assert.match(await client.locator('#verdict').innerText(), /and your client trusts its certificate/);
  const other = await opened(browser, bob);

  const page = await opened(browser);
  await page.goto(ADMIN);
  await look(page, '10-token');
  await page.keyboard.type('not-the-token-at-all');
  await page.keyboard.press('Enter');
  await page.locator('#login-error', { hasText: 'That is not the token' }).waitFor();
  await page.locator('#token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('#state.good').waitFor();
  await look(page, '11-flows-none');

  // A chat is there while it runs, and what it came to when it has ended.
  await client.goto(`${BASE}/`);
  await client.evaluate(asked.chat);
  const chat = page.locator('#rows tr', { hasText: '/chat/completions' });
  await chat.locator('.status.run').waitFor();
  await look(page, '12-flows-running');
  // It ends while the list stands still.
  await page.locator('#pause').click();
  assert.match(await client.evaluate(asked.finish), /\[DONE\]/);
  await chat.locator('.status.run').waitFor();
  await page.locator('#pause').click();
  await chat.locator('.status.ok').waitFor();
  await chat.locator('.what', { hasText: 'redact: changed x-secret' }).waitFor();
  await other.goto(`${BASE}/`);
  assert.equal(await other.evaluate(asked.get, '/missing?q=1'), 404);
  await client.evaluate(asked.get, '/broken');
  await client.evaluate(asked.socket);
  await page.locator('#rows tr', { hasText: '/responses' }).locator('.status.ok').waitFor();
  await look(page, '13-flows');

  // By the keyboard alone: search, down to the flow, into it, and out again.
  await pressed(page, '/');
  await page.keyboard.type('ana /chat');
  await page.locator('#count', { hasText: '1 of ' }).waitFor();
  await look(page, '14-flows-searched');
  await pressed(page, 'ArrowDown', 'Enter');
  const detail = page.locator('#detail');
  await detail.locator('.turn.assistant', { hasText: 'Good morning, ana. A forward proxy sends on what you send.' }).waitFor();
  const text = await detail.innerText();
  assert.match(text, /Greet me/);
  assert.ok(!(await detail.textContent()).includes('pin-4711'), 'what observers must not see is on the page');
  assert.match(text, /redact[^]*changed x-secret[^]*logger[^]*observed/);
  await look(page, '15-flow-chat');
  await detail.locator('summary', { hasText: 'Server-sent events' }).focus();
  await pressed(page, 'Enter');
  assert.equal(await detail.locator('pre', { hasText: '[DONE]' }).last().innerText(), '[DONE]');
  await detail.locator('summary', { hasText: 'Head' }).first().focus();
  await pressed(page, 'Enter');
  await detail.locator('.fields dt', { hasText: 'editor-version' }).waitFor();
  await look(page, '16-flow-events');
  await pressed(page, 'Escape');
  assert.ok(await page.evaluate(() => document.activeElement.dataset.flow), 'leaving a flow leads back to its row');
  await page.locator('#search').fill('');
  await page.locator('#kind').selectOption('bad');
  await page.locator('#rows tr:visible', { hasText: '/missing' }).waitFor();
  assert.ok(!(await page.locator('#rows').textContent()).includes('q=1'), 'queries are in no list');
  assert.equal(await page.locator('#rows tr:visible', { hasText: '/chat/completions' }).count(), 0);
  await page.locator('#kind').selectOption('ws');
  await page.locator('#rows tr:visible button', { hasText: '/responses' }).click();
  await detail.locator('summary', { hasText: 'client → origin' }).first().waitFor();
  assert.match(await detail.innerText(), /response\.create/);
  await look(page, '17-flow-websocket');
  await page.locator('#back').click();
  await page.locator('#kind').selectOption('all');

  // However many come, those that somebody points at stand still until the pointer leaves.
  const rows = () => page.locator('#rows tr').count();
  const before = await rows();
  await page.locator('#rows tr').first().hover();
  await client.evaluate(asked.burst);
  await page.locator('#count', { hasText: 'wait while you are at the list' }).waitFor();
  assert.ok((await rows()) < before + 100, 'the list moves under the pointer');
  await page.evaluate(() => document.activeElement.blur());
  await page.mouse.move(5, 5);
  await page.locator('#rows tr', { hasText: '/burst/99' }).waitFor();
  await page.locator('#count', { hasText: `${before + 100} flows` }).waitFor();

  // Plugins: a newer build by button, and back.
  const [first, second] = [PLUGIN, BUILD].map((file) => execFileSync('sha256sum', [file]).toString().slice(0, 12));
  await tabbed(page, /^ *Plugins$/).catch(() => page.locator('nav button', { hasText: 'Plugins' }).focus());
  await pressed(page, 'Enter');
  const redact = page.locator('[data-plugin="redact"]');
  await redact.locator('dd', { hasText: first }).first().waitFor();
  await page.locator('[data-plugin="fragile"] .told', { hasText: 'Last failure' }).waitFor();
  await look(page, '20-plugins');
  fs.copyFileSync(BUILD, `${PLUGIN}.new`);
  fs.renameSync(`${PLUGIN}.new`, PLUGIN);
  await tabbed(page, /Look at the plugins folder now/);
  await pressed(page, 'Enter');
  await redact.locator('dd', { hasText: second }).first().waitFor();
  await tabbed(page, new RegExp(`Roll back to ${first}`));
  await look(page, '21-plugins-swapped');
  await pressed(page, 'Enter');
  await page.locator('#done', { hasText: 'redact: back to version' }).waitFor();
  await redact.locator('dd', { hasText: first }).first().waitFor();
  await look(page, '22-plugins-rolled-back');

  // Who used what.
  await page.locator('nav button', { hasText: 'Usage' }).click();
  await page.locator('#counted', { hasText: 'records' }).waitFor();
  const row = (chart, name) => page.locator(`section[aria-label="By ${chart}"] tr`, { hasText: name }).first().locator('.number').innerText();
  const counts = { ana: Number(await row('user', 'ana')), bob: Number(await row('user', 'bob')) };
  assert.ok(counts.ana > counts.bob && counts.bob > 60, JSON.stringify(counts));
  for (const [chart, name] of [['model', 'claude-sonnet-4'], ['editor', 'JetBrains-IC'], ['language', 'go']]) assert.ok(Number(await row(chart, name)) > 0, chart);
  assert.ok((await page.locator('svg.days rect').count()) >= 28);
  await look(page, '30-usage');
  await page.locator('#measure').selectOption('input_tokens');
  assert.match(await row('user', 'bob'), /,/);

  // The same on a phone.
  await page.setViewportSize(PHONE);
  await look(page, '40-phone-usage');
  assert.ok((await wide(page)) <= 0, 'usage is wider than a phone');
  await page.locator('nav button', { hasText: 'Plugins' }).click();
  await redact.waitFor();
  await look(page, '41-phone-plugins');
  assert.ok((await wide(page)) <= 0, 'plugins are wider than a phone');
  await page.locator('nav button', { hasText: 'Flows' }).click();
  await look(page, '42-phone-flows');
  assert.ok((await wide(page)) <= 0, 'flows are wider than a phone');
  await chat.locator('button').click();
  await detail.locator('.turn.assistant').waitFor();
  await look(page, '43-phone-flow');
  assert.ok((await wide(page)) <= 0, 'a flow is wider than a phone');
  await browser.close();
}

await onboarding();
await status();
console.log(`pictures are in ${PICTURES}`);
process.exit(0);
