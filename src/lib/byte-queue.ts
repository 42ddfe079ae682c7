/**
 * Bytes that came and that nobody has taken yet, in pieces. A peer decides how small its pieces are, and a byte as a
 * piece of its own costs a hundred in memory and keeps alive all that came with it: small ones are put together.
 */

/** Pieces below this are copied behind the one before; it is what an own piece costs besides its bytes, many times. */
const smallBytes = 4096;
const blockBytes = 32_768;

export class ByteQueue {
  readonly #pieces: Uint8Array[] = [];
  /** The last piece, while it is a block of ours, and how much of it is filled. */
  #block: Uint8Array | undefined;
  #filled = 0;
  #bytes = 0;

  /** Bytes in the queue. */
  get bytes(): number {
    return this.#bytes;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#bytes += bytes.length;
    if (bytes.length < smallBytes) {
      if (this.#block !== undefined && this.#filled + bytes.length <= blockBytes) {
        this.#append(this.#block, bytes);
        return;
      }
      const last = this.#pieces.at(-1);
      if (this.#block === undefined && last !== undefined && last.length < smallBytes) {
        this.#pieces.pop();
        this.#begin(last);
        this.#append(this.#block!, bytes);
        return;
      }
      if (last !== undefined) {
        this.#begin(bytes);
        return;
      }
    }
    this.#seal();
    this.#pieces.push(bytes);
  }

  /** Puts bytes back to the front. */
  unshift(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#bytes += bytes.length;
    this.#pieces.unshift(bytes);
  }

  /** Takes the next piece; undefined when there is none. */
  shift(): Uint8Array | undefined {
    const piece = this.#pieces.shift();
    if (piece === undefined) return undefined;
    const taken = this.#pieces.length === 0 && this.#block !== undefined ? piece.subarray(0, this.#filled) : piece;
    if (this.#pieces.length === 0) this.#block = undefined;
    this.#bytes -= taken.length;
    return taken;
  }

  clear(): void {
    this.#pieces.length = 0;
    this.#block = undefined;
    this.#bytes = 0;
  }

  #begin(first: Uint8Array): void {
    this.#seal();
    this.#block = new Uint8Array(blockBytes);
    this.#filled = 0;
    this.#pieces.push(this.#block);
    this.#append(this.#block, first);
  }

  #append(block: Uint8Array, bytes: Uint8Array): void {
    block.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** The block is no longer the last piece: only what is filled of it counts. */
  #seal(): void {
    if (this.#block === undefined) return;
    this.#pieces[this.#pieces.length - 1] = this.#block.subarray(0, this.#filled);
    this.#block = undefined;
  }
}
