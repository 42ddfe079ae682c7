/**
 * The accepting end of a raft connection. Requests are handed on as they come, without waiting for the answers before
 * them, so that entries which arrive together are stored together; answers go back in the order of the requests.
 */
import { MsgpackStream } from '../codec/msgpack/index.ts';
import { ByteQueue, type PeerBudget } from '../lib/index.ts';
import type { Clock, Logger, Stream, Timer } from '../ports/index.ts';
import type { RaftRequest } from './messages.ts';
import { requestProblem } from './request-problem.ts';
import type { RaftAnswer, SnapshotBody } from './transport.ts';
import { decodeRequest, encodeAnswer, type RaftRpc, rpcOfType, versionRefusal } from './wire.ts';

/** Time for one request and its answer. */
export const requestTimeoutMs = 10_000;

/** A snapshot gets that time for each of so many bytes. */
export const snapshotBytesPerTimeout = 256 * 1024;

/** Of requests that have come in part, over all connections of one address: one of the largest. */
export const unfinishedBytesMax = 64 * 1024 * 1024;

/** A request is at most this long: 64 entries of the largest usual size fit twice. */
const requestBytesMax = 64 * 1024 * 1024;

/** Requests without answer, and bytes of them; a peer that sends more waits. */
const unansweredMax = 128;
const unansweredBytesMax = 64 * 1024 * 1024;

/** Bytes of a snapshot read ahead of the disk. */
const aheadBytesMax = 4 * 1024 * 1024;

export interface ServerConnectionOptions {
  readonly handler: (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Shared by all connections. */
  readonly unfinished: PeerBudget;
  readonly onClosed: () => void;
}

export class ServerConnection {
  readonly #stream: Stream;
  readonly #options: ServerConnectionOptions;
  readonly #values = new MsgpackStream(requestBytesMax);
  #rpc: RaftRpc | undefined;
  #body: Body | undefined;
  #unanswered = 0;
  #unansweredBytes = 0;
  /** Bytes of a request that has come in part, as far as the budget knows. */
  #unfinished = 0;
  #bodyTimer: Timer | undefined;
  /** Settles when every answer so far was written. */
  #answered: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(stream: Stream, options: ServerConnectionOptions) {
    this.#stream = stream;
    this.#options = options;
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
    this.#bodyTimer?.cancel();
    this.#countUnfinished(0);
    this.#body?.fail(new Error('short read'));
    this.#stream.destroy();
    this.#options.onClosed();
  }

  #receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    try {
      if (this.#body === undefined) this.#values.push(bytes);
      else this.#feedBody(bytes);
      this.#parse();
      if (!this.#countUnfinished(this.#values.bufferedBytes)) {
        throw new Error(`its address has begun requests of more than ${this.#options.unfinished.bytesMax} bytes`);
      }
    } catch (error) {
      this.#giveUp(error);
    }
    this.#regulate();
  }

  #giveUp(error: unknown): void {
    this.#options.logger.warn('closing a raft connection', { from: this.#stream.remote.address, error });
    this.close();
  }

  #countUnfinished(bytes: number): boolean {
    const grown = bytes - this.#unfinished;
    this.#unfinished = bytes;
    return this.#options.unfinished.change(this.#stream.remote.address, grown);
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
      const problem = requestProblem(request);
      if (problem !== undefined) throw new Error(`a ${this.#rpc} request that cannot be: ${problem}`);
      this.#rpc = undefined;
      this.#dispatch(request, value.length);
    }
  }

  #dispatch(message: RaftRequest, bytes: number): void {
    let body: Body | undefined;
    if (message.rpc === 'installSnapshot') {
      body = new Body(message.request.Size, () => this.#regulate());
      this.#body = body;
      this.#feedBody(this.#values.rest());
      if (this.#body !== undefined) this.#watchBody(body);
    }
    const refusal = versionRefusal(message);
    this.#unanswered++;
    this.#unansweredBytes += bytes;
    const handled: Promise<RaftAnswer | { readonly error: string; readonly message: null }> =
      refusal === undefined ? this.#options.handler(message, body) : Promise.resolve({ error: refusal, message: null });
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
        this.#unansweredBytes -= bytes;
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
    this.#bodyTimer?.cancel();
    if (rest.length > 0) this.#values.push(rest);
  }

  /** While one snapshot comes no other can be installed: it must keep the pace that its sender has to keep, too. */
  #watchBody(body: Body): void {
    const { missing } = body;
    this.#bodyTimer = this.#options.clock.after(requestTimeoutMs, () => {
      const isSlow = missing - body.missing < snapshotBytesPerTimeout;
      if (isSlow && body.ahead <= aheadBytesMax) this.#giveUp(new Error('the rest of a snapshot does not come'));
      else this.#watchBody(body);
    });
  }

  /** The peer waits while too much is on its way here. */
  #regulate(): void {
    if (this.#closed) return;
    const isFull = this.#unanswered >= unansweredMax || this.#unansweredBytes >= unansweredBytesMax;
    if (isFull || (this.#body?.ahead ?? 0) > aheadBytesMax) this.#stream.pause();
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
  readonly #pieces = new ByteQueue();
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

  /** Bytes that have not come yet. */
  get missing(): number {
    return this.#missing;
  }

  get complete(): boolean {
    return this.#missing === 0;
  }

  get ahead(): number {
    return this.#pieces.bytes;
  }

  /** @returns what does not belong to it. */
  push(bytes: Uint8Array): Uint8Array {
    const mine = bytes.subarray(0, this.#missing);
    this.#missing -= mine.length;
    if (!this.#discarded) this.#pieces.push(mine);
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
    this.#pieces.clear();
    this.#onRead();
  }

  get pieces(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
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
