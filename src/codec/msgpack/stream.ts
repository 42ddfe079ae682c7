/**
 * Cuts a stream of msgpack values at their ends. Nothing on the wire says how long a message is; this looks at each
 * byte once as it comes, so a large message in small pieces costs no more than one in a single piece.
 */
import { MsgpackError } from './error.ts';
import { headOf } from './reader.ts';

/** The begin of a value that is shorter than this is copied, or a few bytes would keep all that came with them. */
const ownBytesMax = 512;

export class MsgpackStream {
  readonly #valueBytesMax: number;
  /** Never written below `#end`, so that what was handed out stays as it is. */
  #buffer: Buffer = Buffer.alloc(0);
  /** Whether the buffer is ours to append to, and not a piece as it came. */
  #owned = false;
  #end = 0;
  /** Where the value that is being scanned starts. */
  #start = 0;
  /** How far it is scanned; beyond `#end` while a long string is still coming. */
  #at = 0;
  /** Values that it still lacks. */
  #pending = 1;

  /** @param valueBytesMax a longer value is an error, so that a peer cannot make us collect without end. */
  constructor(valueBytesMax: number) {
    this.#valueBytesMax = valueBytesMax;
  }

  /** Bytes pushed and not handed out yet. */
  get bufferedBytes(): number {
    return this.#end - this.#start;
  }

  push(bytes: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#at -= this.#start;
      this.#start = 0;
      this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#owned = false;
      this.#end = bytes.length;
      return;
    }
    const live = this.#end - this.#start;
    if (this.#end + bytes.length > this.#buffer.length || !this.#owned) {
      this.#own(Math.max(live + bytes.length, live * 2));
    }
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /**
   * The next value that is here in full, as a view that stays valid; undefined until it is.
   * @param bytesMax for this one, where it is to be shorter than any.
   * @throws MsgpackError when the bytes are no msgpack, or the value is longer than allowed.
   */
  next(bytesMax = this.#valueBytesMax): Uint8Array | undefined {
    while (this.#pending > 0) {
      if (this.#at >= this.#end) return this.#wait(bytesMax);
      const head = headOf(this.#buffer[this.#at]!);
      if (this.#at + 1 + head.lengthSize > this.#end) return this.#wait(bytesMax);
      const count = head.lengthSize === 0 ? head.fixed : this.#buffer.readUIntBE(this.#at + 1, head.lengthSize);
      this.#at += head.size;
      this.#pending--;
      if (head.kind === 'bytes') this.#at += count;
      else this.#pending += count * head.perItem;
    }
    if (this.#at > this.#end) return this.#wait(bytesMax);
    const value = this.#buffer.subarray(this.#start, this.#at);
    checkLength(value.length, bytesMax);
    this.#start = this.#at;
    this.#pending = 1;
    return value;
  }

  /** Ends the cutting: what was pushed and not handed out. */
  rest(): Uint8Array {
    const rest = this.#buffer.subarray(this.#start, this.#end);
    this.#start = this.#at = this.#end;
    this.#pending = 1;
    return rest;
  }

  #wait(bytesMax: number): undefined {
    // Each value that is missing has a byte at least: a count that cannot come true is refused before it is waited for.
    checkLength(Math.max(this.#at, this.#end) - this.#start + this.#pending, bytesMax);
    const live = this.#end - this.#start;
    if (!this.#owned && live > 0 && live < ownBytesMax) this.#own(ownBytesMax);
    return undefined;
  }

  /** Moves what is left into a buffer of our own, with room for more. */
  #own(bytes: number): void {
    const grown = Buffer.allocUnsafe(bytes);
    this.#buffer.copy(grown, 0, this.#start, this.#end);
    this.#buffer = grown;
    this.#owned = true;
    this.#at -= this.#start;
    this.#end -= this.#start;
    this.#start = 0;
  }
}

function checkLength(length: number, bytesMax: number): void {
  if (length > bytesMax) throw new MsgpackError(`a value of more than ${bytesMax} bytes`);
}
