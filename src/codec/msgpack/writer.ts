/**
 * Writes msgpack exactly as the peer's Go library does: the old dialect with one "raw" family for text and bytes, no
 * str8, no bin, no ext; integers in the shortest form, non-negative ones as unsigned (reference/server-rpc.md §2.4).
 */
import { invariant } from '../../lib/index.ts';

/** Most messages fit; the buffer doubles from here. */
const initialBytes = 256;

const fixMapMax = 15;
const fixRawMax = 31;
/** Up to this length a text is copied by hand; above it the native encoder wins. */
const shortText = 24;

export const int64Min = -(2n ** 63n);
export const uint64Max = 2n ** 64n - 1n;

export class MsgpackWriter {
  #buffer: Buffer;
  #length = 0;

  /** @param sizeHint bytes to reserve. */
  constructor(sizeHint: number = initialBytes) {
    this.#buffer = Buffer.allocUnsafe(sizeHint);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** What was written. The writer may go on, but not into these bytes. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  nil(): void {
    this.#byte(0xc0);
  }

  bool(value: boolean): void {
    this.#byte(value ? 0xc3 : 0xc2);
  }

  /** Any integer from -2^63 to 2^64 - 1; a number must be a safe integer. */
  int(value: number | bigint): void {
    if (typeof value === 'bigint') {
      if (value >= -0x80000000n && value <= 0xffffffffn) this.int(Number(value));
      else this.#wide(value);
      return;
    }
    invariant(Number.isSafeInteger(value), `an integer on the wire is exact, got ${value}`);
    if (value >= 0) {
      if (value < 0x80) this.#byte(value);
      else if (value <= 0xff) this.#marked(0xcc, value, 1);
      else if (value <= 0xffff) this.#marked(0xcd, value, 2);
      else if (value <= 0xffffffff) this.#marked(0xce, value, 4);
      else this.#wide(BigInt(value));
    } else if (value >= -0x20) this.#byte(value & 0xff);
    else if (value >= -0x80) this.#marked(0xd0, value & 0xff, 1);
    else if (value >= -0x8000) this.#marked(0xd1, value & 0xffff, 2);
    else if (value >= -0x80000000) this.#marked(0xd2, value >>> 0, 4);
    else this.#wide(BigInt(value));
  }

  float64(value: number): void {
    this.#reserve(9);
    this.#buffer[this.#length] = 0xcb;
    this.#buffer.writeDoubleBE(value, this.#length + 1);
    this.#length += 9;
  }

  float32(value: number): void {
    this.#reserve(5);
    this.#buffer[this.#length] = 0xca;
    this.#buffer.writeFloatBE(value, this.#length + 1);
    this.#length += 5;
  }

  /** Text, in UTF-8. */
  str(value: string): void {
    if (value.length <= shortText && this.#shortAscii(value)) return;
    const length = Buffer.byteLength(value, 'utf8');
    this.#rawHeader(length);
    this.#length += this.#buffer.write(value, this.#length, length, 'utf8');
  }

  /** A string of bytes, one character a byte (`ByteString` of lib). */
  byteString(value: string): void {
    this.#rawHeader(value.length);
    this.#length += this.#buffer.write(value, this.#length, value.length, 'latin1');
  }

  /** Bytes, in the same raw form as text; null is nil. */
  raw(value: Uint8Array | null): void {
    if (value === null) {
      this.nil();
      return;
    }
    this.#rawHeader(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  /** Announces that `count` values follow. */
  arrayHeader(count: number): void {
    if (count <= fixMapMax) this.#byte(0x90 | count);
    else if (count <= 0xffff) this.#marked(0xdc, count, 2);
    else this.#marked(0xdd, count, 4);
  }

  /** Announces that `count` pairs of key and value follow. */
  mapHeader(count: number): void {
    if (count <= fixMapMax) this.#byte(0x80 | count);
    else if (count <= 0xffff) this.#marked(0xde, count, 2);
    else this.#marked(0xdf, count, 4);
  }

  /** Appends what is msgpack already, as a cached record. */
  encoded(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Writes `value` if it is short and ASCII, which names and ids are; false when it is not. */
  #shortAscii(value: string): boolean {
    this.#reserve(1 + shortText);
    const start = this.#length + 1;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      this.#buffer[start + i] = code;
    }
    this.#buffer[this.#length] = 0xa0 | value.length;
    this.#length = start + value.length;
    return true;
  }

  #rawHeader(length: number): void {
    this.#reserve(5 + length);
    if (length <= fixRawMax) this.#byte(0xa0 | length);
    else if (length <= 0xffff) this.#marked(0xda, length, 2);
    else this.#marked(0xdb, length, 4);
  }

  #wide(value: bigint): void {
    invariant(value >= int64Min && value <= uint64Max, `an integer on the wire has 64 bits, got ${value}`);
    this.#reserve(9);
    this.#buffer[this.#length] = value >= 0n ? 0xcf : 0xd3;
    this.#buffer.writeBigUInt64BE(BigInt.asUintN(64, value), this.#length + 1);
    this.#length += 9;
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  #marked(mark: number, value: number, size: 1 | 2 | 4): void {
    this.#reserve(1 + size);
    this.#buffer[this.#length] = mark;
    this.#buffer.writeUIntBE(value, this.#length + 1, size);
    this.#length += 1 + size;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
