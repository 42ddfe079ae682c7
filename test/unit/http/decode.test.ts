import { expect, test } from 'vitest';
import { parseGoJson } from '../../../src/codec/index.ts';
import { decodeBody, durationNs, freeMap, struct } from '../../../src/http/decode.ts';

const body = struct<{ readonly TTL: number }>({ TTL: ['TTL', durationNs] });
const decode = (ttl: string): number | undefined => decodeBody(Buffer.from(`{"TTL":${ttl}}`), body).TTL;

test.each([
  ['5', 5],
  ['1.5', 1],
  ['"2s"', 2e9],
])('the duration %s is %d ns', (text, ns) => expect(decode(text)).toBe(ns));

test.each(['1e400', '1e30', '9223372036854775808', `-${'9'.repeat(400)}`])('the duration %s is refused', (text) => {
  expect(() => decode(text)).toThrow(/^Request decode failed: json: cannot unmarshal number/);
});

test('numbers in a map that nobody looks into are floats, as Go reads them', () => {
  const text = Buffer.from('{"a": 18446744073709551616, "b": [9007199254740993, {"c": 1}]}');
  expect(freeMap(parseGoJson(text), '')).toEqual({ a: 2 ** 64, b: [9_007_199_254_740_992, { c: 1 }] });
});
