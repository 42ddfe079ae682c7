/**
 * The accepting end of a raft connection. Requests are handed on as they come, without waiting for the answers before
 * them, so that entries which arrive together are stored together; answers go back in the order of the requests.
 */
import { MsgpackStream } from '../codec/msgpack/index.ts';
import type { Logger, Stream } from '../ports/index.ts';
import type { RaftRequest } from './messages.ts';
import type { RaftAnswer, SnapshotBody } from './transport.ts';
import { decodeRequest, encodeAnswer, type RaftRpc, rpcOfType, versionRefusal } from './wire.ts';

/** A request is at most this long: 64 entries of the largest usual size fit twice. */
const requestBytesMax = 64 * 1024 * 1024;

/** Requests without answer; a peer that sends more waits. */
const unansweredMax = 128;

/** Bytes of a snapshot read ahead of the disk. */
const aheadBytesMax = 4 * 1024 * 1024;

type Handler = (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>;

export class ServerConnection {
  readonly #stream: Stream;
  readonly #handler: Handler;
  readonly #logger: Logger;
  readonly #onClosed: () => void;
  readonly #values = new MsgpackStream(requestBytesMax);
  #rpc: RaftRpc | undefined;
  #body: Body | undefined;
  #unanswered = 0;
  /** Settles when every answer so far was written. */
  #answered: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(stream: Stream, handler: Handler, logger: Logger, onClosed: () => void) {
    this.#stream = stream;
    this.#handler = handler;
    this.#logger = logger;
    this.#onClosed = onClosed;
  }

  start(): void {
    this.#stream.subscribe({
      onData: (bytes) => this.#receive(bytes),
      onEnd: () => this.close(),
      onDrain: () => {},
      onClose: () => this.close(),
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#body?.fail(new Error('short read'));
    this.#stream.destroy();
    this.#onClosed();
  }

  #receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    try {
      if (this.#body === undefined) this.#values.push(bytes);
      else this.#feedBody(bytes);
      this.#parse();
    } catch (error) {
      this.#logger.warn('closing a raft connection', { from: this.#stream.remote.address, error });
      this.close();
    }
    this.#regulate();
  }

  #parse(): void {
    while (this.#body === undefined && !this.#closed) {
      const value = this.#values.next();
      if (value === undefined) return;
      if (this.#rpc === undefined) {
        // Type bytes are small integers of msgpack, so the same cutter finds them.
        this.#rpc = value.length === 1 ? rpcOfType(value[0]!) : undefined;
        if (this.#rpc === undefined) throw new Error(`unknown raft request ${value[0]}`);
        continue;
      }
      const request = decodeRequest(this.#rpc, value);
      this.#rpc = undefined;
      this.#dispatch(request);
    }
  }

  #dispatch(message: RaftRequest): void {
    let body: Body | undefined;
    if (message.rpc === 'installSnapshot') {
      const { Size } = message.request;
      if (!(Size >= 0)) throw new Error(`a snapshot of ${Size} bytes`);
      body = new Body(Size, () => this.#regulate());
      this.#body = body;
      this.#feedBody(this.#values.rest());
    }
    const refusal = versionRefusal(message);
    this.#unanswered++;
    const handled: Promise<RaftAnswer | { readonly error: string; readonly message: null }> =
      refusal === undefined ? this.#handler(message, body) : Promise.resolve({ error: refusal, message: null });
    // What a handler did not read of a body is read over, so that the next request is found.
    const answer = handled.finally(() => body?.discard());
    const before = this.#answered;
    this.#answered = (async () => {
      try {
        const bytes = encodeAnswer(await answer);
        await body?.whole;
        await before;
        if (!this.#closed) this.#stream.write(bytes);
      } catch {
        // The server is shutting down, or the body broke off: the peer sees a closed connection, as with its own kind.
        this.close();
      } finally {
        this.#unanswered--;
        this.#regulate();
      }
    })();
  }

  /** Bytes behind the body belong to the next request. */
  #feedBody(bytes: Uint8Array): void {
    const body = this.#body!;
    const rest = body.push(bytes);
    if (!body.complete) return;
    this.#body = undefined;
    if (rest.length > 0) this.#values.push(rest);
  }

  /** The peer waits while too much is on its way here. */
  #regulate(): void {
    if (this.#closed) return;
    if (this.#unanswered >= unansweredMax || (this.#body?.ahead ?? 0) > aheadBytesMax) this.#stream.pause();
    else this.#stream.resume();
  }
}

/** The raw bytes of a snapshot as they come. */
class Body implements SnapshotBody {
  readonly size: number;
  /** Resolves when all of it was received. */
  readonly whole: Promise<void>;
  readonly #onRead: () => void;
  #resolveWhole!: () => void;
  #rejectWhole!: (error: Error) => void;
  #missing: number;
  #pieces: Uint8Array[] = [];
  #ahead = 0;
  #discarded = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(size: number, onRead: () => void) {
    this.size = size;
    this.#missing = size;
    this.#onRead = onRead;
    this.whole = new Promise((resolve, reject) => {
      this.#resolveWhole = resolve;
      this.#rejectWhole = reject;
    });
    this.whole.catch(() => {});
  }

  get complete(): boolean {
    return this.#missing === 0;
  }

  get ahead(): number {
    return this.#ahead;
  }

  /** @returns what does not belong to it. */
  push(bytes: Uint8Array): Uint8Array {
    const mine = bytes.subarray(0, this.#missing);
    this.#missing -= mine.length;
    if (mine.length > 0 && !this.#discarded) {
      this.#pieces.push(mine);
      this.#ahead += mine.length;
    }
    if (this.#missing === 0) this.#resolveWhole();
    this.#wake?.();
    return bytes.subarray(mine.length);
  }

  fail(error: Error): void {
    this.#error = error;
    this.#rejectWhole(error);
    this.#wake?.();
  }

  discard(): void {
    this.#discarded = true;
    this.#pieces = [];
    this.#ahead = 0;
    this.#onRead();
  }

  get pieces(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#ahead -= piece.length;
        this.#onRead();
        yield piece;
      } else if (this.#error !== undefined) {
        throw this.#error;
      } else if (this.#missing === 0 || this.#discarded) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }
}
