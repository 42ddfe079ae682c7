import { expect, test } from 'vitest';
import { goQuote } from '../../../src/lib/index.ts';

test.each([
  ['plain text', '"plain text"'],
  ['"\\', String.raw`"\"\\"`],
  ['\u0007\b\f\n\r\t\v', String.raw`"\a\b\f\n\r\t\v"`],
  ['\0\u001b\u007f', String.raw`"\x00\x1b\x7f"`],
  ['é世€\ufffd', '"é世€\ufffd"'],
  ['\u00a0\u200b\u2028', String.raw`"\u00a0\u200b\u2028"`],
  ['😀\u{e0001}', String.raw`"😀\U000e0001"`],
])('%j is written as %s', (text, quoted) => {
  expect(goQuote(text)).toBe(quoted);
});
