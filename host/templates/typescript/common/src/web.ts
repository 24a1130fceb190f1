// What QuickJS lacks of the web's interfaces: console, TextEncoder and TextDecoder (UTF-8). Import it before anything that uses them.
import { write } from 'flowgate:plugin/log@0.1.0';
import { decodeUtf8 } from 'flowgate:plugin/text@0.1.0';
import { said } from './said.js';

const text = (values: unknown[]) => values.map(said).join(' ');

const lacks = globalThis as { console?: Console; TextEncoder?: typeof TextEncoder; TextDecoder?: typeof TextDecoder };

lacks.console ??= {
  debug: (...values: unknown[]) => write('debug', text(values)),
  log: (...values: unknown[]) => write('info', text(values)),
  info: (...values: unknown[]) => write('info', text(values)),
  warn: (...values: unknown[]) => write('warn', text(values)),
  error: (...values: unknown[]) => write('error', text(values)),
};

lacks.TextEncoder ??= class TextEncoder {
  encode(string = ''): Uint8Array {
    const out = new Uint8Array(string.length * 3);
    let at = 0;
    for (let i = 0; i < string.length; i++) {
      let code = string.charCodeAt(i);
      if (code < 0x80) {
        out[at++] = code;
        continue;
      }
      if (code >= 0xd800 && code < 0xe000) {
        // Half of a pair without the other half is replaced, as the web does.
        const low = code < 0xdc00 ? string.charCodeAt(i + 1) : NaN;
        if (low >= 0xdc00 && low < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          i++;
        } else {
          code = 0xfffd;
        }
      }
      if (code < 0x800) {
        out[at++] = 0xc0 | (code >> 6);
      } else {
        if (code < 0x10000) {
          out[at++] = 0xe0 | (code >> 12);
        } else {
          out[at++] = 0xf0 | (code >> 18);
          out[at++] = 0x80 | ((code >> 12) & 0x3f);
        }
        out[at++] = 0x80 | ((code >> 6) & 0x3f);
      }
      out[at++] = 0x80 | (code & 0x3f);
    }
    return out.slice(0, at);
  }
};

lacks.TextDecoder ??= class TextDecoder {
  decode(octets = new Uint8Array()): string {
    return decodeUtf8(octets);
  }
};
