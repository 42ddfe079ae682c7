/**
 * Two ends of a stream in memory. Bytes cross when somebody calls `step` (or at once with `immediate`), in pieces of a
 * size that the test picks; a paused end takes none, so its peer's queue fills. When both halves have ended it closes.
 */
import type { Endpoint, Stream, StreamEvents } from '../../src/ports/index.ts';

const queueMax = 1024 * 1024;

export class MemoryStream implements Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  peer!: MemoryStream;
  #events: StreamEvents | undefined;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #waits = false;
  #paused = false;
  #ended = false;
  #endCrossed = false;
  closed = false;
  #closeError: Error | null = null;
  #closeDelivered = false;

  constructor(local: Endpoint, remote: Endpoint) {
    this.local = local;
    this.remote = remote;
  }

  subscribe(events: StreamEvents): void {
    this.#events = events;
    this.#deliverClose();
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.#ended) return true;
    this.#queue.push(Uint8Array.from(bytes));
    this.#queued += bytes.length;
    this.#waits = this.#queued > queueMax;
    return !this.#waits;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  end(): void {
    this.#ended = true;
  }

  destroy(error: Error | null = null): void {
    if (this.closed) return;
    this.closed = true;
    this.#closeError = error;
    this.#queue = [];
    this.#queued = 0;
    this.#deliverClose();
  }

  /** Lets the peer have what is queued, in pieces of `pieceBytes`. @returns whether anything moved. */
  step(pieceBytes = Infinity): boolean {
    if (this.closed && !this.peer.closed) {
      this.peer.destroy(null);
      return true;
    }
    if (this.peer.#events === undefined || this.peer.#paused || this.peer.closed) return false;
    const bytes = this.#queue.shift();
    if (bytes === undefined) {
      if (!this.#ended || this.#endCrossed) return false;
      this.#endCrossed = true;
      this.peer.#events.onEnd();
      if (this.peer.#endCrossed) {
        this.destroy();
        this.peer.destroy();
      }
      return true;
    }
    this.#queued -= bytes.length;
    const piece = bytes.subarray(0, pieceBytes);
    if (piece.length < bytes.length) {
      this.#queue.unshift(bytes.subarray(piece.length));
      this.#queued += bytes.length - piece.length;
    }
    this.peer.#events.onData(piece);
    if (this.#waits && this.#queued <= queueMax / 2 && !this.closed) {
      this.#waits = false;
      this.#events?.onDrain();
    }
    return true;
  }

  #deliverClose(): void {
    if (!this.closed || this.#closeDelivered || this.#events === undefined) return;
    this.#closeDelivered = true;
    this.#events.onClose(this.#closeError);
  }
}

export interface StreamPair {
  readonly a: MemoryStream;
  readonly b: MemoryStream;
  /** Lets everything cross until nothing moves any more. */
  readonly settle: (pieceBytes?: number) => void;
}

export function streamPair(): StreamPair {
  const left: Endpoint = { address: '127.0.0.1', port: 1000 };
  const right: Endpoint = { address: '127.0.0.2', port: 8300 };
  const a = new MemoryStream(left, right);
  const b = new MemoryStream(right, left);
  a.peer = b;
  b.peer = a;
  return {
    a,
    b,
    settle: (pieceBytes) => {
      while ([a.step(pieceBytes), b.step(pieceBytes)].includes(true));
    },
  };
}

/** Collects what happens on a stream. */
export class Recorder implements StreamEvents {
  readonly chunks: Uint8Array[] = [];
  ended = false;
  drained = 0;
  closed: { readonly error: Error | null } | undefined;

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  onData(bytes: Uint8Array): void {
    this.chunks.push(bytes);
  }

  onEnd(): void {
    this.ended = true;
  }

  onDrain(): void {
    this.drained++;
  }

  onClose(error: Error | null): void {
    this.closed = { error };
  }
}

/** Subscribes a new recorder. */
export function record(stream: Stream): Recorder {
  const recorder = new Recorder();
  stream.subscribe(recorder);
  return recorder;
}
