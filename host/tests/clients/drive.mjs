// Node clients and Chromium through the proxy; see drive.py for what each does.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';

const { CLIENTS_PROXY: PROXY, CLIENTS_CA: CA, CLIENTS_BASE: BASE, CLIENTS_MODULES: MODULES, CLIENTS_HOME: HOME } = process.env;
const require = createRequire(`${MODULES}/`);
const ca = fs.readFileSync(CA);
const STREAM = `${BASE}/v1/chat/completions`;
const BODY = '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}';
const HEADERS = { 'content-type': 'application/json' };
const EVENTS = 6;

const agent = async () => new (await import(require.resolve('https-proxy-agent'))).HttpsProxyAgent(PROXY, { ca });

/** Calls `ack` for each event as soon as it is there. */
async function acknowledged(chunks, ack) {
  let text = '';
  let events = 0;
  for await (const chunk of chunks) {
    text += chunk.toString();
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      events += 1;
      await ack();
    }
  }
  assert.equal(events, EVENTS);
}

function over(agent, url, method = 'GET', body) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { method, headers: HEADERS, agent, ca }, resolve);
    request.on('error', reject);
    request.end(body);
  });
}

async function text(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

const clients = {
  async undici() {
    const { ProxyAgent, fetch } = require('undici');
    const dispatcher = new ProxyAgent({ uri: PROXY, requestTls: { ca } });
    const get = async (url) => (await fetch(url, { dispatcher })).text();
    assert.equal(await get(`${BASE}/plain`), 'plain');
    const answer = await fetch(STREAM, { method: 'POST', headers: HEADERS, body: BODY, dispatcher });
    const decoded = answer.body.pipeThrough(new TextDecoderStream());
    await acknowledged(decoded, () => get(`${BASE}/ack`));
    await dispatcher.close();
  },
  async 'https-proxy-agent'() {
    const through = await agent();
    assert.equal(await text(await over(through, `${BASE}/plain`)), 'plain');
    await acknowledged(await over(through, STREAM, 'POST', BODY), async () => text(await over(through, `${BASE}/ack`)));
  },
  async axios() {
    const axios = require('axios').create({ proxy: false, httpsAgent: await agent() });
    assert.equal((await axios.get(`${BASE}/plain`)).data, 'plain');
    const answer = await axios.post(STREAM, BODY, { headers: HEADERS, responseType: 'stream' });
    await acknowledged(answer.data, () => axios.get(`${BASE}/ack`));
  },
  async 'openai-node'() {
    const OpenAI = require('openai').default ?? require('openai');
    const { ProxyAgent, fetch } = require('undici');
    const dispatcher = new ProxyAgent({ uri: PROXY, requestTls: { ca } });
    const client = new OpenAI({ apiKey: 'none', baseURL: `${BASE}/v1`, maxRetries: 0, fetch, fetchOptions: { dispatcher } });
    assert.equal(await (await fetch(`${BASE}/plain`, { dispatcher })).text(), 'plain');
    let words = 0;
    const messages = [{ role: 'user', content: 'hi' }];
    for await (const _chunk of await client.chat.completions.create({ model: 'm', stream: true, messages })) {
      words += 1;
      await (await fetch(`${BASE}/ack`, { dispatcher })).text();
    }
    // The last event says that there is no more, and the client does not hand it out.
    assert.equal(words, EVENTS - 1);
    await dispatcher.close();
  },
  async ws() {
    const WebSocket = require('ws');
    const socket = new WebSocket(`${BASE.replace('https', 'wss')}/responses`, { agent: await agent(), ca });
    await new Promise((resolve, reject) => {
      socket.on('open', () => socket.send('hello'));
      socket.on('message', (message) => resolve(assert.equal(message.toString(), 'hello')));
      socket.on('error', reject);
    });
    socket.close();
    await new Promise((resolve) => socket.on('close', resolve));
  },
  async chromium() {
    const { chromium } = require('playwright-core');
    // Where Chromium looks for what its user trusts.
    const trusted = `${HOME}/.pki/nssdb`;
    fs.mkdirSync(trusted, { recursive: true });
    execFileSync('certutil', ['-d', `sql:${trusted}`, '-N', '--empty-password']);
    execFileSync('certutil', ['-d', `sql:${trusted}`, '-A', '-n', 'root', '-t', 'C,,', '-i', CA]);
    const { username, password, host } = new URL(PROXY);
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
    const browser = await chromium.launchPersistentContext(`${HOME}/chromium`, {
      executablePath: '/usr/bin/chromium',
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', ...quiet],
      env: { ...process.env, HOME },
      proxy: { server: `http://${host}`, username, password },
    });
    try {
      const page = await browser.newPage();
      assert.equal((await page.goto(`${BASE}/page`)).status(), 200);
      assert.equal(await page.title(), 'page');
      assert.equal(await page.evaluate(streamed, { url: STREAM, ack: `${BASE}/ack`, body: BODY, headers: HEADERS }), EVENTS);
      assert.equal(await page.evaluate(echoed, `${BASE.replace('https', 'wss')}/responses`), 'hello');
    } finally {
      await browser.close();
    }
  },
};

/** In the page: events of a stream, each acknowledged as soon as it is there. */
async function streamed({ url, ack, body, headers }) {
  const answer = await fetch(url, { method: 'POST', headers, body });
  let [text, events] = ['', 0];
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let read; !(read = await reader.read()).done; ) {
    text += read.value;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      events += 1;
      await (await fetch(ack)).text();
    }
  }
  return events;
}

/** In the page: what a WebSocket says to a greeting. */
function echoed(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    let heard;
    socket.onopen = () => socket.send('hello');
    socket.onmessage = ({ data }) => {
      heard = data;
      socket.close();
    };
    socket.onclose = () => resolve(heard);
    socket.onerror = () => reject(new Error('the WebSocket failed'));
  });
}

await clients[process.argv[2]]();
process.exit(0);
