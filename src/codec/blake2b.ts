/**
 * BLAKE2b with 32 bytes of result, the content hash of ACL objects and intentions (reference/raft.md §4.3). Node's
 * OpenSSL knows only the form with 64 bytes, which is another function and not a longer result of the same. Made for
 * short texts: big integers are slow, and small.
 */

const blockBytes = 128;
const hashBytes = 32;
const rounds = 12;
const mask = (1n << 64n) - 1n;

const initial: readonly bigint[] = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
];

/** Which words of the message the steps of a round take, a hex digit each; rounds 10 and 11 are 0 and 1 again. */
const schedule: readonly (readonly number[])[] = [
  '0123456789abcdef',
  'ea489fd61c02b753',
  'b8c052fdae367194',
  '7931dcbe265a40f8',
  '905724afe1bc683d',
  '2c6a0b834d75fe19',
  'c51fed4a0763928b',
  'db7ec13950f4862a',
  '6fe9b308c2d714a5',
  'a2847615fb9e3cd0',
].map((digits) => Array.from(digits, (digit) => Number.parseInt(digit, 16)));

/** Columns, then diagonals, of the 4 × 4 state. */
const quarters: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];

/** BLAKE2b-256 without a key. */
export function blake2b256(input: Uint8Array): Uint8Array {
  const hash = initial.slice();
  hash[0] = hash[0]! ^ 0x01010000n ^ BigInt(hashBytes);
  const blocks = Math.max(1, Math.ceil(input.length / blockBytes));
  for (let block = 0; block < blocks; block++) {
    const padded = new Uint8Array(blockBytes);
    padded.set(input.subarray(block * blockBytes, (block + 1) * blockBytes));
    const last = block === blocks - 1;
    compress(hash, padded, last ? input.length : (block + 1) * blockBytes, last);
  }
  const result = new DataView(new ArrayBuffer(hash.length * 8));
  for (const [i, word] of hash.entries()) result.setBigUint64(i * 8, word, true);
  return new Uint8Array(result.buffer, 0, hashBytes);
}

function compress(hash: bigint[], block: Uint8Array, bytesSoFar: number, last: boolean): void {
  const view = new DataView(block.buffer);
  const words = Array.from({ length: 16 }, (_, i) => view.getBigUint64(i * 8, true));
  const state = [...hash, ...initial];
  state[12] = state[12]! ^ BigInt(bytesSoFar);
  if (last) state[14] = state[14]! ^ mask;
  for (let round = 0; round < rounds; round++) {
    const order = schedule[round % schedule.length]!;
    for (const [i, [a, b, c, d]] of quarters.entries()) {
      state[a] = (state[a]! + state[b]! + words[order[2 * i]!]!) & mask;
      state[d] = rotateRight(state[d]! ^ state[a], 32n);
      state[c] = (state[c]! + state[d]) & mask;
      state[b] = rotateRight(state[b]! ^ state[c], 24n);
      state[a] = (state[a] + state[b] + words[order[2 * i + 1]!]!) & mask;
      state[d] = rotateRight(state[d] ^ state[a], 16n);
      state[c] = (state[c] + state[d]) & mask;
      state[b] = rotateRight(state[b] ^ state[c], 63n);
    }
  }
  for (let i = 0; i < hash.length; i++) hash[i] = hash[i]! ^ state[i]! ^ state[i + 8]!;
}

function rotateRight(word: bigint, bits: bigint): bigint {
  return (word >> bits) | ((word << (64n - bits)) & mask);
}
