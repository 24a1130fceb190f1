// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import type { Flow } from 'flowgate:plugin/context@0.1.0';
import type { Registration } from 'flowgate:plugin/lifecycle@0.1.0';
import type { Direction, Message, MessageAction } from 'flowgate:plugin/message-filter@0.1.0';
import { replaced, settings } from './rule.js';

let own = settings('{}');

export const lifecycle = {
  configure(config: string): Registration {
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
  onMessage(flow: Flow, of: Direction, message: Message): MessageAction {
    if (message.tag !== 'text') return { tag: 'pass' };
    const text = replaced(own, message.val);
    return text === null ? { tag: 'pass' } : { tag: 'replace', val: { tag: 'text', val: text } };
  },
};
