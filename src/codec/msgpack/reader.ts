/**
 * Reads msgpack as tolerantly as the peer's Go library: text and bytes as raw or str8, bytes also as bin or a list of
 * small integers, integers in any width that holds them, 0 and 1 as bool, nil as anything (reference/server-rpc.md
 * §2.4, reference/gossip.md §2). Every length is checked against the bytes that are there before anything is made.
 */
import { MsgpackError, MsgpackTruncated } from './error.ts';

/**
 * Places for values (items, pairs, fields) that any input may fill, and one for so many bytes of it on top. The fullest
 * messages of real peers fill one for three bytes; a million empty records in a megabyte would take a gigabyte.
 */
const placesMin = 1 << 20;
const bytesPerPlace = 2;
/** More than that are of no message, however long: a quarter of a gigabyte of memory at least. */
const placesMax = 1 << 25;

/** What kind of value a first byte begins. */
export type MsgpackType = 'nil' | 'bool' | 'int' | 'float' | 'raw' | 'bin' | 'array' | 'map';

export class MsgpackReader {
  readonly #bytes: Buffer;
  #at: number;
  /** Places that are left to fill. */
  #places: number;

  constructor(bytes: Uint8Array, position = 0) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = position;
    this.#places = Math.min(placesMax, placesMin + Math.floor(bytes.byteLength / bytesPerPlace));
  }

  /** Offset of the next value. */
  get position(): number {
    return this.#at;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** The kind of the next value. @throws MsgpackError for ext and other marks that the peer has no values for. */
  peekType(): MsgpackType {
    return typeOf(this.#peek());
  }

  /** Takes a nil if one is next. */
  nil(): boolean {
    if (this.#peek() !== 0xc0) return false;
    this.#at++;
    return true;
  }

  bool(): boolean {
    const mark = this.#peek();
    if (mark === 0xc0 || mark === 0xc2 || mark === 0x00) return this.#accept(false);
    if (mark === 0xc3 || mark === 0x01) return this.#accept(true);
    throw this.#unexpected('a bool');
  }

  /** A signed or unsigned integer; nil is 0. @throws MsgpackError beyond ±2^53. */
  int(): number {
    const mark = this.#peek();
    if (mark < 0x80) {
      this.#at++;
      return mark;
    }
    const value = this.#integer('an integer');
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new MsgpackError(`the integer ${value} is beyond 2^53`);
    return number;
  }

  /** An integer from 0 to 2^64 - 1; nil is 0. */
  uint64(): bigint {
    const value = BigInt(this.#integer('an unsigned integer'));
    if (value < 0n) throw new MsgpackError(`the unsigned integer is negative: ${value}`);
    return value;
  }

  /** An integer from -2^63 to 2^64 - 1; nil is 0. */
  bigInt(): bigint {
    return BigInt(this.#integer('an integer'));
  }

  /** A float of either width, or any integer; nil is 0. */
  float(): number {
    const mark = this.#peek();
    if (mark === 0xca) {
      const at = this.#take(5);
      return this.#bytes.readFloatBE(at + 1);
    }
    if (mark === 0xcb) {
      const at = this.#take(9);
      return this.#bytes.readDoubleBE(at + 1);
    }
    return Number(this.#integer('a float'));
  }

  /** Text; nil is "". Bytes that are no UTF-8 become U+FFFD: see {@link byteString}. */
  str(): string {
    return this.#text('utf8');
  }

  /** Text as bytes, one character a byte; nil is "". */
  byteString(): string {
    return this.#text('latin1');
  }

  /** Bytes, as a view into the input; nil is null, and so is what is empty, as with the peer. */
  raw(): Uint8Array | null {
    const type = this.peekType();
    if (type === 'nil') return this.#accept(null);
    let view: Uint8Array;
    if (type === 'array') view = this.#smallIntegers();
    else {
      const length = this.#rawLength(true);
      const at = this.#take(length);
      view = this.#bytes.subarray(at, at + length);
    }
    return view.length === 0 ? null : view;
  }

  /** Number of values that follow; null for nil. */
  arrayHeader(): number | null {
    const mark = this.#peek();
    if (mark === 0xc0) return this.#accept(null);
    const count = this.#count(mark, 0x90, 0xdc, 'a list');
    if (count > this.remaining) throw new MsgpackTruncated();
    this.fill(count + 1);
    return count;
  }

  /** Number of pairs that follow; null for nil. */
  mapHeader(): number | null {
    const mark = this.#peek();
    if (mark === 0xc0) return this.#accept(null);
    const count = this.#count(mark, 0x80, 0xde, 'a map');
    if (count * 2 > this.remaining) throw new MsgpackTruncated();
    this.fill(2 * count + 1);
    return count;
  }

  /**
   * Counts what is made of the input beside the items and pairs that it names: the fields of a record.
   * @throws MsgpackError when it is far more than the length of the input can mean.
   */
  fill(places: number): void {
    this.#places -= places;
    if (this.#places < 0) throw new MsgpackError('more values than a message of this length may hold');
  }

  /** Reads what is msgpack again inside a value that was read here. */
  nested<T>(bytes: Uint8Array, read: (reader: MsgpackReader) => T): T {
    const inner = new MsgpackReader(bytes);
    inner.#places = this.#places;
    const value = read(inner);
    this.#places = inner.#places;
    return value;
  }

  /** Takes the next bytes if they are exactly `encoded`, as the key that is expected. */
  match(encoded: Uint8Array): boolean {
    const end = this.#at + encoded.length;
    if (end > this.#bytes.length) return false;
    for (let i = 0; i < encoded.length; i++) {
      if (this.#bytes[this.#at + i] !== encoded[i]) return false;
    }
    this.#at = end;
    return true;
  }

  /** Reads over one value, whatever it is. @returns its bytes, a view into the input. */
  skip(): Uint8Array {
    const start = this.#at;
    // Every value takes one off and a container adds what it holds: no recursion, so no depth to bound.
    for (let pending = 1; pending > 0; pending--) {
      const mark = this.#peek();
      const head = headOf(mark);
      const at = this.#take(head.size);
      const count = head.lengthSize === 0 ? head.fixed : this.#bytes.readUIntBE(at + 1, head.lengthSize);
      if (head.kind === 'bytes') this.#take(count);
      else pending += count * head.perItem;
      if (pending - 1 > this.remaining) throw new MsgpackTruncated();
    }
    return this.#bytes.subarray(start, this.#at);
  }

  #integer(wanted: string): number | bigint {
    const mark = this.#peek();
    if (mark < 0x80 || mark >= 0xe0) {
      this.#at++;
      return mark < 0x80 ? mark : mark - 0x100;
    }
    switch (mark) {
      case 0xc0:
        return this.#accept(0);
      case 0xcc:
      case 0xcd:
      case 0xce: {
        const size = 1 << (mark - 0xcc);
        return this.#bytes.readUIntBE(this.#take(1 + size) + 1, size);
      }
      case 0xcf:
        return this.#bytes.readBigUInt64BE(this.#take(9) + 1);
      case 0xd0:
      case 0xd1:
      case 0xd2: {
        const size = 1 << (mark - 0xd0);
        return this.#bytes.readIntBE(this.#take(1 + size) + 1, size);
      }
      case 0xd3:
        return this.#bytes.readBigInt64BE(this.#take(9) + 1);
      default:
        throw this.#unexpected(wanted);
    }
  }

  #text(encoding: 'utf8' | 'latin1'): string {
    if (this.#peek() === 0xc0) return this.#accept('');
    const length = this.#rawLength(false);
    const at = this.#take(length);
    return this.#bytes.toString(encoding, at, at + length);
  }

  /** Reads the mark and the length of a raw; the bytes follow. */
  #rawLength(binToo: boolean): number {
    const mark = this.#peek();
    if (mark >= 0xa0 && mark < 0xc0) {
      this.#at++;
      return mark & 0x1f;
    }
    const first = mark >= 0xd9 && mark <= 0xdb ? 0xd9 : binToo && mark >= 0xc4 && mark <= 0xc6 ? 0xc4 : undefined;
    if (first === undefined) throw this.#unexpected(binToo ? 'bytes' : 'a string');
    const size = 1 << (mark - first);
    return this.#bytes.readUIntBE(this.#take(1 + size) + 1, size);
  }

  #smallIntegers(): Uint8Array {
    const bytes = Buffer.alloc(this.arrayHeader() ?? 0);
    for (let i = 0; i < bytes.length; i++) {
      const value = this.int();
      if (value < 0 || value > 0xff) throw new MsgpackError(`a byte is 0 to 255, got ${value}`);
      bytes[i] = value;
    }
    return bytes;
  }

  #count(mark: number, fixed: number, wide: number, wanted: string): number {
    if ((mark & 0xf0) === fixed) {
      this.#at++;
      return mark & 0x0f;
    }
    if (mark !== wide && mark !== wide + 1) throw this.#unexpected(wanted);
    const size = mark === wide ? 2 : 4;
    return this.#bytes.readUIntBE(this.#take(1 + size) + 1, size);
  }

  #accept<T>(value: T): T {
    this.#at++;
    return value;
  }

  #peek(): number {
    const mark = this.#bytes[this.#at];
    if (mark === undefined) throw new MsgpackTruncated();
    return mark;
  }

  /** Moves on by `count` bytes. @returns where they start. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw new MsgpackTruncated();
    this.#at = at + count;
    return at;
  }

  #unexpected(wanted: string): MsgpackError {
    return new MsgpackError(`${wanted} was expected, found ${this.peekType()}`);
  }
}

/** How far a value that starts with some byte reaches. */
export interface MsgpackHead {
  /** Bytes of mark, length and inline number together. */
  readonly size: number;
  /** Bytes of the length after the mark; 0 when the mark holds it. */
  readonly lengthSize: 0 | 1 | 2 | 4;
  /** Length or count that the mark holds. */
  readonly fixed: number;
  /** Whether the count is of bytes that follow, or of values. */
  readonly kind: 'bytes' | 'values';
  /** Values for each one counted: 2 in a map. */
  readonly perItem: number;
}

function head(
  size: number,
  lengthSize: MsgpackHead['lengthSize'],
  fixed: number,
  kind: MsgpackHead['kind'] = 'bytes',
  perItem = 1,
): MsgpackHead {
  return { size, lengthSize, fixed, kind, perItem };
}

const heads: readonly (MsgpackHead | undefined)[] = Array.from({ length: 256 }, (_, mark) => {
  if (mark < 0x80 || mark >= 0xe0) return head(1, 0, 0);
  if (mark < 0x90) return head(1, 0, mark & 0x0f, 'values', 2);
  if (mark < 0xa0) return head(1, 0, mark & 0x0f, 'values');
  if (mark < 0xc0) return head(1, 0, mark & 0x1f);
  switch (mark) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return head(1, 0, 0);
    case 0xc4:
    case 0xd9:
      return head(2, 1, 0);
    case 0xc5:
    case 0xda:
      return head(3, 2, 0);
    case 0xc6:
    case 0xdb:
      return head(5, 4, 0);
    case 0xcc:
    case 0xd0:
      return head(2, 0, 0);
    case 0xcd:
    case 0xd1:
      return head(3, 0, 0);
    case 0xca:
    case 0xce:
    case 0xd2:
      return head(5, 0, 0);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return head(9, 0, 0);
    case 0xdc:
      return head(3, 2, 0, 'values');
    case 0xdd:
      return head(5, 4, 0, 'values');
    case 0xde:
      return head(3, 2, 0, 'values', 2);
    case 0xdf:
      return head(5, 4, 0, 'values', 2);
    default:
      return undefined;
  }
});

/** @throws MsgpackError for ext and the other marks that the peer has no values for. */
export function headOf(mark: number): MsgpackHead {
  const found = heads[mark];
  if (found === undefined) throw new MsgpackError(`the mark 0x${mark.toString(16)} begins no value`);
  return found;
}

function typeOf(mark: number): MsgpackType {
  if (mark < 0x80 || mark >= 0xe0 || (mark >= 0xcc && mark <= 0xd3)) return 'int';
  if (mark < 0x90 || mark === 0xde || mark === 0xdf) return 'map';
  if (mark < 0xa0 || mark === 0xdc || mark === 0xdd) return 'array';
  if (mark < 0xc0 || (mark >= 0xd9 && mark <= 0xdb)) return 'raw';
  if (mark === 0xc0) return 'nil';
  if (mark === 0xc2 || mark === 0xc3) return 'bool';
  if (mark === 0xca || mark === 0xcb) return 'float';
  if (mark >= 0xc4 && mark <= 0xc6) return 'bin';
  throw new MsgpackError(`the mark 0x${mark.toString(16)} begins no value`);
}
