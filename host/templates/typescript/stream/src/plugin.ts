// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import type { Flow } from 'flowgate:plugin/context@0.1.0';
import type { Registration } from 'flowgate:plugin/lifecycle@0.1.0';
import type { ChunkAction, Direction } from 'flowgate:plugin/stream-filter@0.1.0';
import { replaced, settings } from './rule.js';

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };
let own = settings('{}');

export const lifecycle = {
  configure(config: string): Registration {
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
  onBodyStart(bodyId: number, flow: Flow, of: Direction): boolean {
    return true;
  },
  /** `chunk` is one event, content coding undone. */
  onChunk(bodyId: number, chunk: Uint8Array): ChunkAction {
    const text = replaced(own, utf8.decoder.decode(chunk));
    return text === null ? { tag: 'pass' } : { tag: 'replace', val: utf8.encoder.encode(text) };
  },
  onBodyEnd(bodyId: number, broken: boolean): Uint8Array {
    return new Uint8Array();
  },
};
