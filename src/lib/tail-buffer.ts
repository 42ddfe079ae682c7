/**
 * Keeps the last bytes of an output of any length, in bounded memory: the end of what a check wrote says why it
 * failed (reference/agent.md §4.2).
 */
export class TailBuffer {
  readonly #bytesMax: number;
  #chunks: Uint8Array[] = [];
  #kept = 0;
  #total = 0;

  /** @param bytesMax how many bytes are kept, >= 0. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** All bytes ever pushed, those dropped included. */
  get bytesTotal(): number {
    return this.#total;
  }

  /** Takes `chunk` over: it must not change afterwards. */
  push(chunk: Uint8Array): void {
    this.#total += chunk.length;
    this.#chunks.push(chunk);
    this.#kept += chunk.length;
    while (this.#kept - this.#chunks[0]!.length >= this.#bytesMax && this.#chunks.length > 1) {
      this.#kept -= this.#chunks.shift()!.length;
    }
  }

  /** The last bytes, at most `bytesMax`. */
  bytes(): Uint8Array {
    const all = Buffer.concat(this.#chunks);
    const tail = all.subarray(Math.max(0, all.length - this.#bytesMax));
    this.#chunks = [tail];
    this.#kept = tail.length;
    return tail;
  }
}
