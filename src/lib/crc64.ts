/**
 * CRC-64/XZ, which guards the state of a snapshot on the disk (reference/raft.md §5.1). Two 32-bit halves, because
 * 64-bit integers of JavaScript are slow.
 */
const polynomialHigh = 0xc96c5795 | 0;
const polynomialLow = 0xd7870f42 | 0;

const tableHigh = new Int32Array(256);
const tableLow = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carry) {
      high ^= polynomialHigh;
      low ^= polynomialLow;
    }
  }
  tableHigh[byte] = high;
  tableLow[byte] = low;
}

/** CRC-64/XZ of a stream, taken piece by piece. */
export class Crc64 {
  #high = -1;
  #low = -1;

  update(bytes: Uint8Array): void {
    let high = this.#high;
    let low = this.#low;
    for (let i = 0; i < bytes.length; i++) {
      const row = (low ^ bytes[i]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ tableLow[row]!;
      high = (high >>> 8) ^ tableHigh[row]!;
    }
    this.#high = high;
    this.#low = low;
  }

  /** The value so far, 8 bytes big-endian. */
  digest(): Uint8Array {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setInt32(0, ~this.#high);
    view.setInt32(4, ~this.#low);
    return bytes;
  }
}
