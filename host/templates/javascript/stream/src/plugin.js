// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import { replaced, settings } from './rule.js';

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };
let own = settings('{}');

export const lifecycle = {
  configure(config) {
    own = settings(config);
    return {
      name: '{{name}}',
      version: '0.1.0',
      description: 'Replaces a word in events.',
      rules: [
        {
          hosts: [],
          methods: [],
          paths: [],
          contentTypes: ['text/event-stream'],
          requestBody: 'skip',
          responseBody: 'chunks',
          framing: 'sse-events',
          limit: 0,
        },
      ],
      instances: 'pooled',
    };
  },
};

export const streamFilter = {
  onBodyStart(bodyId, flow, of) {
    return true;
  },
  /** @param {Uint8Array} chunk one event, content coding undone */
  onChunk(bodyId, chunk) {
    const text = replaced(own, utf8.decoder.decode(chunk));
    return text === null ? { tag: 'pass' } : { tag: 'replace', val: utf8.encoder.encode(text) };
  },
  onBodyEnd(bodyId, broken) {
    return new Uint8Array();
  },
};
