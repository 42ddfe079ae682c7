/**
 * LZW as Go's compress/lzw writes it with least significant bit first and 8-bit literals; memberlist squeezes its
 * messages with it (reference/gossip.md §3.4). Both sides grow the same dictionary of seen strings, and a code stands
 * for a string. Here a string is not copied into the dictionary: it always is a piece of what was written before, so
 * an entry is an offset and a length.
 */

const clearCode = 256;
const endCode = 257;
const firstWidth = 9;
const lastWidth = 12;
const tableSize = 1 << lastWidth;
/** At this code the encoder starts again with an empty table: one below the table's end. */
const lastEncoderCode = tableSize - 1;

/** Slots of the encoder's hash table: four times its entries, so that chains stay short. */
const hashSize = tableSize * 4;
const hashMask = hashSize - 1;

/** Output room to begin with, per input byte. */
const expansionGuess = 4;

/** The bytes are no LZW stream, or expand beyond the limit. */
export class LzwError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LzwError';
  }
}

/**
 * Expands a stream; bytes after its end code are ignored.
 * @param limit most bytes to return.
 * @throws LzwError
 */
export function decodeLzw(input: Uint8Array, limit: number): Uint8Array {
  let output = new Uint8Array(Math.min(limit, Math.max(64, input.length * expansionGuess)));
  let written = 0;
  const offsets = new Uint32Array(tableSize);
  const lengths = new Uint16Array(tableSize);
  let width = firstWidth;
  /** The entry that the next code completes. */
  let high = endCode;
  let lastOffset = -1;
  let lastLength = 0;
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  for (;;) {
    while (bitCount < width) {
      if (at === input.length) throw new LzwError('lzw: the stream ends before its end code');
      bits |= input[at++]! << bitCount;
      bitCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitCount -= width;
    if (code === clearCode) {
      width = firstWidth;
      high = endCode;
      lastOffset = -1;
      continue;
    }
    if (code === endCode) return output.subarray(0, written);
    if (code > high) throw new LzwError(`lzw: code ${code} before its entry`);
    // The previous expansion and the first byte of this one are neighbours in the output: together the new entry.
    if (lastOffset >= 0) {
      offsets[high] = lastOffset;
      lengths[high] = lastLength + 1;
    }
    const length = code < clearCode ? 1 : lengths[code]!;
    if (written + length > output.length) {
      if (written + length > limit) throw new LzwError(`lzw: expands to more than ${limit} bytes`);
      const larger = new Uint8Array(Math.min(limit, Math.max(output.length * 2, written + length)));
      larger.set(output);
      output = larger;
    }
    if (code < clearCode) output[written] = code;
    else {
      // Forward, byte by byte: when the code is the entry just made, source and target overlap.
      const from = offsets[code]!;
      for (let i = 0; i < length; i++) output[written + i] = output[from + i]!;
    }
    lastOffset = written;
    lastLength = length;
    written += length;
    high++;
    if (high < 1 << width) continue;
    if (width < lastWidth) width++;
    else {
      // Full: what follows until a clear code uses the table as it is.
      lastOffset = -1;
      high--;
    }
  }
}

/** Compresses; without the leading clear code, as consul 1.8 does (decoders begin as if they had seen one). */
export function encodeLzw(input: Uint8Array, options: { readonly leadingClear?: boolean } = {}): Uint8Array {
  // Worst case: 12 bits for each byte, a clear code in each table, the end.
  const output = new Uint8Array(Math.ceil(((input.length + Math.ceil(input.length / 3_000) + 4) * lastWidth) / 8));
  /** (code, byte) << 12 | code of the entry; 0 is an empty slot, because no entry has code 0. */
  const table = new Uint32Array(hashSize);
  let written = 0;
  let bits = 0;
  let bitCount = 0;
  let width = firstWidth;
  let high = endCode;
  const emit = (code: number): void => {
    bits |= code << bitCount;
    bitCount += width;
    while (bitCount >= 8) {
      output[written++] = bits & 0xff;
      bits >>>= 8;
      bitCount -= 8;
    }
  };
  /** Counts an emitted code; false when the table was emptied. */
  const advance = (): boolean => {
    high++;
    if (high === 1 << width && width < lastWidth) width++;
    if (high !== lastEncoderCode) return true;
    emit(clearCode);
    width = firstWidth;
    high = endCode;
    table.fill(0);
    return false;
  };
  if (options.leadingClear === true) emit(clearCode);
  if (input.length > 0) {
    let code = input[0]!;
    for (let i = 1; i < input.length; i++) {
      const byte = input[i]!;
      const key = (code << 8) | byte;
      let slot = ((key >>> 12) ^ key) & hashMask;
      let found = table[slot]!;
      while (found !== 0 && found >>> 12 !== key) {
        slot = (slot + 1) & hashMask;
        found = table[slot]!;
      }
      if (found !== 0) {
        code = found & 0xfff;
        continue;
      }
      emit(code);
      code = byte;
      if (advance()) table[slot] = ((key << 12) | high) >>> 0;
    }
    emit(code);
    advance();
  }
  emit(endCode);
  if (bitCount > 0) output[written++] = bits & 0xff;
  return output.subarray(0, written);
}
