import { describe, expect, test } from 'vitest';
import { blake2b256 } from '../../../src/codec/index.ts';

/** Made with Python's hashlib.blake2b(text, digest_size=32). */
const vectors: readonly (readonly [text: string, hash: string])[] = [
  ['', '0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8'],
  ['abc', 'bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319'],
  ['a'.repeat(127), '59e2f1aba240f20aa591016f5ef429990bc9c2131dcd0d30f0ffd75ed18f317d'],
  ['a'.repeat(128), 'ae2aa48507885c4c950fb809b2076f959cde9f8ea6da260d9a3587df33dac450'],
  ['a'.repeat(129), '2f64744a6de0d2c0b56e64cf6e29a5aaa255010d415d51c75ccc82f73dccd865'],
  ['portolan'.repeat(100), '4743bdf27e0f91d9bc3a3e0a1de2d36803190a139fd3c895ac66e85f3288296d'],
];

describe('BLAKE2b-256', () => {
  test.each(vectors)('of %j', (text, hash) => {
    expect(Buffer.from(blake2b256(Buffer.from(text))).toString('hex')).toBe(hash);
  });
});
