// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import { replaced, settings } from './rule.js';

let own = settings('{}');

export const lifecycle = {
  configure(config) {
    own = settings(config);
    return {
      name: '{{name}}',
      version: '0.1.0',
      description: 'Replaces a word in messages.',
      rules: [
        {
          hosts: [],
          methods: [],
          paths: [],
          contentTypes: [],
          requestBody: 'skip',
          responseBody: 'skip',
          framing: 'as-received',
          limit: 0,
        },
      ],
      instances: 'pooled',
    };
  },
};

export const messageFilter = {
  onMessage(flow, of, message) {
    if (message.tag !== 'text') return { tag: 'pass' };
    const text = replaced(own, message.val);
    return text === null ? { tag: 'pass' } : { tag: 'replace', val: { tag: 'text', val: text } };
  },
};
