// How the proxy is spoken to. The contract is in wit/, its types in types/.
import './web.js';
import type { Flow } from 'flowgate:plugin/context@0.1.0';
import type { Registration } from 'flowgate:plugin/lifecycle@0.1.0';
import type { RequestAction } from 'flowgate:plugin/request-filter@0.1.0';
import { refused, settings } from './rule.js';

const utf8 = new TextEncoder();
let own = settings('{}');

export const lifecycle = {
  configure(config: string): Registration {
    own = settings(config);
    return {
      name: '{{name}}',
      version: '0.1.0',
      description: 'Labels requests, and refuses some.',
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

export const requestFilter = {
  onRequest(flow: Flow, bodyHeld: boolean): RequestAction {
    if (refused(own, flow.request().path)) {
      const headers = [{ name: 'content-type', value: utf8.encode('text/plain; charset=utf-8') }];
      return { tag: 'answer', val: { status: 403, headers, body: utf8.encode('refused by {{name}}\n') } };
    }
    try {
      flow.setHeader('request', 'x-label', utf8.encode(own.label));
    } catch (why) {
      console.warn('a request has no label:', why);
    }
    return { tag: 'proceed' };
  },
};
