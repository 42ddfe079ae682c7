/**
 * A stream whose first byte decides who reads the rest. Between two readers nothing may be lost, neither bytes nor the
 * end, so this stands in front of the real stream for good and holds what comes while nobody takes it.
 */
import type { Endpoint, Stream, StreamEvents } from '../ports/index.ts';

export class HeldStream implements Stream {
  readonly #inner: Stream;
  readonly #onClosed: (() => void) | undefined;
  readonly #held: Uint8Array[] = [];
  #events: StreamEvents | undefined;
  #firstByte: { resolve(byte: number): void; reject(error: Error): void } | undefined;
  #paused = false;
  #ended = false;
  #endDelivered = false;
  #closed: { readonly error: Error | null } | undefined;
  #closeDelivered = false;
  #delivering = false;

  /** @param onClosed is told when the stream is gone, whoever reads it then. */
  constructor(inner: Stream, onClosed?: () => void) {
    this.#inner = inner;
    this.#onClosed = onClosed;
    inner.subscribe({
      onData: (bytes) => this.#onData(bytes),
      onEnd: () => {
        this.#ended = true;
        this.#firstByte?.reject(new Error('EOF'));
        this.#deliver();
      },
      onDrain: () => this.#events?.onDrain(),
      onClose: (error) => {
        this.#closed = { error };
        this.#onClosed?.();
        this.#firstByte?.reject(error ?? new Error('EOF'));
        this.#deliver();
      },
    });
  }

  get local(): Endpoint {
    return this.#inner.local;
  }

  get remote(): Endpoint {
    return this.#inner.remote;
  }

  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }

  /**
   * Takes one byte off the front, before anybody has subscribed.
   * @param options.keep leaves it there for the next reader.
   * @throws Error `EOF` when the stream ends first.
   */
  firstByte(keep: (byte: number) => boolean = () => false): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#firstByte = {
        resolve: (byte) => {
          this.#firstByte = undefined;
          if (!keep(byte)) this.#dropFirst();
          resolve(byte);
        },
        reject,
      };
      const first = this.#held[0]?.[0];
      if (first !== undefined) this.#firstByte.resolve(first);
      else if (this.#closed !== undefined || this.#ended) reject(this.#closed?.error ?? new Error('EOF'));
      else this.#inner.resume();
    });
  }

  subscribe(events: StreamEvents): void {
    this.#events = events;
    this.#deliver();
    if (!this.#paused) this.#inner.resume();
  }

  write(bytes: Uint8Array): boolean {
    return this.#inner.write(bytes);
  }

  pause(): void {
    this.#paused = true;
    this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
    if (!this.#paused) this.#inner.resume();
  }

  end(): void {
    this.#inner.end();
  }

  destroy(): void {
    this.#inner.destroy();
  }

  #onData(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#held.push(bytes);
    if (this.#firstByte !== undefined) this.#firstByte.resolve(bytes[0]!);
    // Whoever reads next says when; until then the peer feels that nobody does.
    if (this.#events === undefined) this.#inner.pause();
    else this.#deliver();
  }

  #dropFirst(): void {
    const rest = this.#held[0]!.subarray(1);
    if (rest.length > 0) this.#held[0] = rest;
    else this.#held.shift();
  }

  #deliver(): void {
    const events = this.#events;
    if (events === undefined || this.#delivering) return;
    this.#delivering = true;
    while (!this.#paused && this.#closed === undefined && this.#held.length > 0)
      this.#events?.onData(this.#held.shift()!);
    if (this.#ended && !this.#endDelivered && !this.#paused && this.#closed === undefined) {
      this.#endDelivered = true;
      this.#events?.onEnd();
    }
    this.#delivering = false;
    if (this.#closed === undefined || this.#closeDelivered) return;
    this.#closeDelivered = true;
    this.#events?.onClose(this.#closed.error);
  }
}
