/** A stream as something to read from and to write to in turn, for the one long transfer there is: a snapshot. */
import { ByteQueue } from '../lib/index.ts';
import type { Clock, Stream, Timer } from '../ports/index.ts';

/** Bytes read ahead of who takes them before the stream is paused. */
const aheadBytesMax = 1024 * 1024;
/** A peer that neither sends what it owes nor takes what it gets for so long is given up. */
const stallMs = 60_000;
/** How long a peer may go on sending what nobody wants any more. */
const lingerMs = 10_000;

/** Takes over a stream. Its end is the end of the bytes; a stream that breaks is an error. */
export class StreamBytes {
  readonly #stream: Stream;
  readonly #clock: Clock;
  readonly #chunks = new ByteQueue();
  #ended = false;
  #closed: { readonly error: Error | null } | undefined;
  /** Who waits, for something to read, room to write, or the close. */
  #wake: (() => void) | undefined;
  #drained: (() => void) | undefined;

  constructor(stream: Stream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    stream.subscribe({
      onData: (bytes) => {
        this.#chunks.push(bytes);
        if (this.#chunks.bytes > aheadBytesMax) stream.pause();
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

  /**
   * The next piece; null at the end.
   * @param options.patient waits as long as the caller does: the peer may be at work.
   * @throws Error when the stream broke.
   */
  async next(options: { readonly patient?: boolean } = {}): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        if (this.#chunks.bytes <= aheadBytesMax) this.#stream.resume();
        return chunk;
      }
      if (this.#ended) return null;
      this.#check();
      await this.#wait('wake', options.patient === true ? null : stallMs);
    }
  }

  /** Puts bytes back to the front. */
  unread(bytes: Uint8Array): void {
    this.#chunks.unshift(bytes);
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
    this.#check();
    if (this.#stream.write(bytes)) return;
    await this.#wait('drained', stallMs);
    this.#check();
  }

  /** Ends our side. */
  end(): void {
    this.#stream.end();
  }

  /** Waits until both sides have ended, reading over what still comes, but only while our own bytes leave. */
  async finish(): Promise<void> {
    this.end();
    let owed = this.#stream.queuedBytes;
    const watch = (): Timer =>
      this.#clock.after(lingerMs, () => {
        const before = owed;
        owed = this.#stream.queuedBytes;
        if (owed >= before) this.#stream.destroy();
        else timer = watch();
      });
    let timer = watch();
    while (this.#closed === undefined) {
      this.#chunks.clear();
      this.#stream.resume();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    timer.cancel();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  /** Waits to be woken. After `limitMs` the stream is destroyed, which wakes too. */
  async #wait(what: 'wake' | 'drained', limitMs: number | null): Promise<void> {
    const timer = limitMs === null ? undefined : this.#clock.after(limitMs, () => this.#stream.destroy());
    await new Promise<void>((resolve) => {
      if (what === 'wake') this.#wake = resolve;
      else this.#drained = resolve;
    });
    timer?.cancel();
  }

  #check(): void {
    if (this.#closed !== undefined) throw this.#closed.error ?? new Error('EOF');
  }
}
