// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import type { Flow } from 'flowgate:plugin/context@0.1.0';
import type { Registration } from 'flowgate:plugin/lifecycle@0.1.0';
import { keep } from 'flowgate:plugin/records@0.1.0';
import { line, settings } from './rule.js';

let own = settings('{}');

export const lifecycle = {
  configure(config: string): Registration {
    own = settings(config);
    return {
      name: 'keep-chat',
      version: '0.1.0',
      description: 'Keeps chat answers of one model, a field blanked.',
      rules: [
        {
          hosts: [],
          methods: ['POST'],
          paths: ['*/chat/completions*'],
          contentTypes: [],
          requestBody: 'capture',
          responseBody: 'capture',
          framing: 'as-received',
          limit: 0,
        },
      ],
      instances: 'pooled',
    };
  },
};

export const observer = {
  onFlowEnd(flow: Flow): void {
    const kept = line(own, {
      user: flow.client().user ?? null,
      url: flow.url(),
      question: flow.bodyText('request'),
      answer: flow.bodyText('response'),
    });
    if (kept === null) return;
    try {
      keep('answers.jsonl', new TextEncoder().encode(kept), 'append');
    } catch (why) {
      console.warn('an answer was not kept:', why);
    }
  },
};
