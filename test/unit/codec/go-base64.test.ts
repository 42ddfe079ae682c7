// Base64 as Go decodes it.
import { assert, nat, property, uint8Array } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeGoBase64 } from '../../../src/codec/index.ts';

describe('base64', () => {
  test('of any bytes, with line feeds anywhere, gives the bytes back', () => {
    assert(
      property(uint8Array(), nat(), (bytes, cut) => {
        const text = Buffer.from(bytes).toString('base64');
        const at = cut % (text.length + 1);
        expect([...decodeGoBase64(`${text.slice(0, at)}\r\n${text.slice(at)}\n`)]).toEqual([...bytes]);
      }),
    );
  });

  // The places are those Go's encoding/base64 names.
  test.each([
    ['%', 0],
    ['YQ', 0],
    ['YWJjYQ', 4],
    ['YQ=', 3],
    ['YQ=x', 2],
    ['Y===', 1],
    ['=', 0],
    ['YQ==x', 4],
    ['YWI=YWI=', 4],
    ['YW-_', 2],
  ])('%j is illegal at byte %i', (text, at) => {
    expect(() => decodeGoBase64(text)).toThrow(new Error(`illegal base64 data at input byte ${at}`));
  });
});
