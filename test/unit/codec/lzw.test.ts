// Both flavours of the recorded streams, byte for byte, and streams nobody would write.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeLzw, encodeLzw, LzwError } from '../../../src/codec/index.ts';

interface Vector {
  readonly name: string;
  readonly compressedHex: string;

  readonly plainHex?: string;
  readonly plainSha256?: string;
  readonly leadingClearCode: boolean;
}
const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/gossip/lzw.json'), 'utf8'),
) as readonly Vector[];
const limit = 1 << 20;

describe('recorded streams', () => {
  test.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const compressed = Buffer.from(vector.compressedHex, 'hex');
    const plain = decodeLzw(compressed, limit);
    if (vector.plainHex !== undefined) expect(Buffer.from(plain).toString('hex')).toBe(vector.plainHex);
    else expect(createHash('sha256').update(plain).digest('hex')).toBe(vector.plainSha256);
    expect(Buffer.from(encodeLzw(plain, { leadingClear: vector.leadingClearCode })).toString('hex')).toBe(
      vector.compressedHex,
    );
  });
});

test('what is compressed comes back', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 20_000 }),
    fc.array(fc.constantFrom(1, 2, 3), { maxLength: 20_000 }).map((list) => Uint8Array.from(list)),
    fc.nat(30_000).map((length) => new Uint8Array(length).fill(7)),
  );
  fc.assert(
    fc.property(bytes, fc.boolean(), (plain, leadingClear) => {
      const back = decodeLzw(encodeLzw(plain, { leadingClear }), plain.length);
      expect(Buffer.compare(back, plain)).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test('a full table without a clear code goes on at 12 bits', () => {
  // Literals only: the table fills after 4096 - 258 + 1 codes, and each code after that still is 12 bits wide.
  const bits: number[] = [];
  let width = 9;
  let high = 257;
  const count = 6_000;
  for (let i = 0; i < count; i++) {
    for (let bit = 0; bit < width; bit++) bits.push(((i % 251) >> bit) & 1);
    high++;
    if (high >= 1 << width && width < 12) width++;
  }
  for (let bit = 0; bit < width; bit++) bits.push((257 >> bit) & 1);
  const stream = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, i) => (stream[i >> 3]! |= bit << (i & 7)));
  const plain = decodeLzw(stream, limit);
  expect(plain.length).toBe(count);
  expect(plain.every((byte, i) => byte === i % 251)).toBe(true);
});

describe('refused', () => {
  test('a stream that expands beyond the limit', () => {
    const bomb = encodeLzw(new Uint8Array(100_000));
    expect(() => decodeLzw(bomb, 99_999)).toThrow('expands to more than 99999 bytes');
    expect(decodeLzw(bomb, 100_000).length).toBe(100_000);
  });

  test('a stream without end', () => {
    expect(() => decodeLzw(encodeLzw(new Uint8Array(50)).subarray(0, 3), limit)).toThrow(LzwError);
    expect(() => decodeLzw(new Uint8Array(), limit)).toThrow('before its end code');
  });

  test('a code above the next entry', () => {
    // 300 in 9 bits, as the first code.
    expect(() => decodeLzw(Uint8Array.of(300 & 0xff, 300 >> 8, 0), limit)).toThrow('code 300 before its entry');
  });

  test('random bytes give bytes or an LzwError, never more than the limit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          expect(decodeLzw(bytes, 5_000).length).toBeLessThanOrEqual(5_000);
        } catch (error) {
          expect(error).toBeInstanceOf(LzwError);
        }
      }),
    );
  });
});
