/**
 * The server's side of net/rpc: reads requests off a stream, one after another, and answers each before it looks at the
 * next, as clients expect (reference/server-rpc.md §2.1, §2.2). Streams do not wait for each other.
 */
import { decodeShape, MsgpackStream, type Shape } from '../codec/index.ts';
import { PeerBudget } from '../lib/index.ts';
import type { Endpoint, Logger, Stream } from '../ports/index.ts';
import { encodeErrorReply, encodeReply, headBytesMax, type MethodTable, requestHead } from './message.ts';

/** Far above what a client of ours or theirs sends: a transaction or a KV value has at most 512 KiB. */
const requestBytesMax = 64 * 1024 * 1024;
/** Requests that a client may write ahead of their answers, bytes, before it is made to wait. */
const aheadBytesMax = 1024 * 1024;
/**
 * For all streams of one client address together, bytes: requests that are not answered yet, also halves of some, and
 * answers that are not taken. Many agents may be behind one address; what they hold at a time is far below.
 */
const heldBytesMax = 256 * 1024 * 1024;

export interface RpcContext {
  /** Who asks. */
  readonly remote: Endpoint;
  /** Aborted when the stream is gone, so that nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * Answers one call. What it throws becomes the error text of the answer.
 * @param request as the method's shape reads it.
 * @returns what the method's shape writes.
 */
export type RpcHandler = (method: string, request: unknown, context: RpcContext) => Promise<unknown>;

export interface RpcServer {
  /** Serves a stream until it ends. */
  serve(stream: Stream): void;
}

export function createRpcServer(options: {
  readonly shapes: MethodTable;
  readonly handler: RpcHandler;
  readonly logger: Logger;
}): RpcServer {
  const services = new Set(Object.keys(options.shapes).map((method) => method.slice(0, method.lastIndexOf('.'))));
  const budget = new PeerBudget(heldBytesMax);
  return { serve: (stream) => void new Conversation(stream, { ...options, services, budget }) };
}

interface ConversationOptions {
  readonly shapes: MethodTable;
  readonly services: ReadonlySet<string>;
  readonly handler: RpcHandler;
  readonly logger: Logger;
  readonly budget: PeerBudget;
}

interface Head {
  readonly ServiceMethod: string;
  readonly Seq: bigint;
}

class Conversation {
  readonly #stream: Stream;
  readonly #options: ConversationOptions;
  readonly #input = new MsgpackStream(requestBytesMax);
  readonly #abort = new AbortController();
  #head: Head | undefined;
  #busy = false;
  /** Bytes of the request that is being answered, until it is. */
  #requestBytes = 0;
  /** What the budget knows of this stream. */
  #held = 0;
  /** The peer sends no more. */
  #ended = false;
  /** We say no more. */
  #over = false;
  /** Resolved by the stream's drain: a client that reads slowly gets its next answer later. */
  #drained: (() => void) | undefined;

  constructor(stream: Stream, options: ConversationOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.subscribe({
      onData: (bytes) => {
        if (this.#over) return;
        this.#input.push(bytes);
        if (this.#busy && this.#input.bufferedBytes > aheadBytesMax) stream.pause();
        this.#next();
        this.#hold();
      },
      onEnd: () => {
        this.#ended = true;
        if (!this.#busy) this.#finish();
      },
      onDrain: () => this.#drained?.(),
      onClose: () => {
        this.#over = true;
        this.#release();
        this.#drained?.();
        this.#abort.abort(new Error('the caller is gone'));
      },
    });
  }

  /** Starts on the next request if it is here in full. */
  #next(): void {
    if (this.#busy || this.#over) return;
    let body: Uint8Array | undefined;
    try {
      this.#head ??= this.#readHead();
      if (this.#head === undefined) return;
      body = this.#input.next();
    } catch (error) {
      // Who does not speak the protocol gets no answer in it.
      this.#options.logger.debug('closing an RPC stream', { from: this.#stream.remote.address, err: errorText(error) });
      this.#finish();
      return;
    }
    if (body === undefined) return;
    const head = this.#head;
    this.#head = undefined;
    this.#busy = true;
    this.#requestBytes = body.length;
    void this.#answer(head, body).finally(() => {
      this.#busy = false;
      this.#requestBytes = 0;
      if (this.#over) return;
      this.#stream.resume();
      this.#next();
      this.#hold();
      if (this.#ended && !this.#busy) this.#finish();
    });
  }

  #readHead(): Head | undefined {
    const bytes = this.#input.next(headBytesMax);
    return bytes === undefined ? undefined : decodeShape(requestHead, bytes);
  }

  async #answer(head: Head, body: Uint8Array): Promise<void> {
    const method = head.ServiceMethod;
    const shape = Object.hasOwn(this.#options.shapes, method) ? this.#options.shapes[method] : undefined;
    if (shape === undefined) return this.#refuse(head, missingText(method, this.#options.services));
    let request: unknown;
    try {
      request = decodeShape(shape.request, body);
    } catch (error) {
      return this.#refuse(head, `rpc: error decoding the request of ${method}: ${errorText(error)}`);
    }
    let answer: Uint8Array;
    try {
      const reply = await this.#options.handler(method, request, {
        remote: this.#stream.remote,
        signal: this.#abort.signal,
      });
      answer = encodeReply(method, head.Seq, shape.reply as Shape<unknown, unknown>, reply);
    } catch (error) {
      answer = encodeErrorReply(method, head.Seq, errorText(error));
    }
    if (this.#over || this.#stream.write(answer)) return;
    this.#hold();
    await this.#drain();
  }

  /** Tells the budget what this stream keeps in memory; who keeps too much is cut off. */
  #hold(): void {
    if (this.#over) return;
    const { budget, logger } = this.#options;
    const { remote, queuedBytes } = this.#stream;
    const now = this.#input.bufferedBytes + this.#requestBytes + queuedBytes;
    const grown = now - this.#held;
    this.#held = now;
    if (budget.change(remote.address, grown)) return;
    logger.warn('closing an RPC stream: its client asks for more than it takes, or begins more than it ends', {
      from: remote.address,
      bytes_max: budget.bytesMax,
    });
    this.#release();
    this.#stream.destroy();
  }

  #release(): void {
    this.#options.budget.change(this.#stream.remote.address, -this.#held);
    this.#held = 0;
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = () => {
        this.#drained = undefined;
        resolve();
      };
    });
  }

  /** Answers what cannot be a call, and ends the stream. */
  #refuse(head: Head, error: string): void {
    if (this.#over) return;
    this.#stream.write(encodeErrorReply(head.ServiceMethod, head.Seq, error));
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.#stream.end();
    // What still comes is not for us, and must not be kept.
    this.#stream.resume();
  }
}

/** The words of the peer, on which its clients' fallbacks depend (§2.2). */
function missingText(method: string, services: ReadonlySet<string>): string {
  const dot = method.lastIndexOf('.');
  if (dot < 0) return `rpc: service/method request ill-formed: ${method}`;
  return services.has(method.slice(0, dot)) ? `rpc: can't find method ${method}` : `rpc: can't find service ${method}`;
}

/** An answer with an empty text would be a success. */
function errorText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text === '' ? 'rpc: the call failed' : text;
}
