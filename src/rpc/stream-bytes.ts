/** A stream as something to read from and to write to in turn, for the one long transfer there is: a snapshot. */
import type { Stream } from '../ports/index.ts';

/** Bytes read ahead of who takes them before the stream is paused. */
const aheadBytesMax = 1024 * 1024;

/** Takes over a stream. Its end is the end of the bytes; a stream that breaks is an error. */
export class StreamBytes {
  readonly #stream: Stream;
  readonly #chunks: Uint8Array[] = [];
  #buffered = 0;
  #ended = false;
  #closed: { readonly error: Error | null } | undefined;
  #wake: (() => void) | undefined;
  #drained: (() => void) | undefined;

  constructor(stream: Stream) {
    this.#stream = stream;
    stream.subscribe({
      onData: (bytes) => {
        this.#chunks.push(bytes);
        this.#buffered += bytes.length;
        if (this.#buffered > aheadBytesMax) stream.pause();
        this.#wake?.();
      },
      onEnd: () => {
        this.#ended = true;
        this.#wake?.();
      },
      onDrain: () => this.#drained?.(),
      onClose: (error) => {
        this.#closed = { error };
        this.#wake?.();
        this.#drained?.();
      },
    });
  }

  /** The next piece; null at the end. @throws Error when the stream broke. */
  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#buffered -= chunk.length;
        if (this.#buffered <= aheadBytesMax) this.#stream.resume();
        return chunk;
      }
      if (this.#ended) return null;
      if (this.#closed !== undefined) throw this.#closed.error ?? new Error('EOF');
      await new Promise<void>((resolve) => {
        this.#wake = () => {
          this.#wake = undefined;
          resolve();
        };
      });
    }
  }

  /** Puts bytes back to the front. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.unshift(bytes);
    this.#buffered += bytes.length;
  }

  /** What is left, piece by piece. */
  async *rest(): AsyncGenerator<Uint8Array, void, void> {
    for (let piece = await this.next(); piece !== null; piece = await this.next()) yield piece;
  }

  /** The same; whether read to the end or left early, the stream is over then. */
  async *restAndClose(): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* this.rest();
    } finally {
      this.#stream.destroy();
    }
  }

  /** Writes, and waits while the stream is full. @throws Error when it broke. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed.error ?? new Error('EOF');
    if (this.#stream.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#drained = () => {
        this.#drained = undefined;
        resolve();
      };
    });
    if (this.#closed !== undefined) throw (this.#closed as { readonly error: Error | null }).error ?? new Error('EOF');
  }

  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}
