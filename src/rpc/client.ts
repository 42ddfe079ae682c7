/**
 * The client's side of net/rpc: one call on one stream of the pool. Unlike the peer's, every call ends: with the
 * answer, an error, the caller's signal, or a time limit (reference/server-rpc.md §1.7, §10).
 */
import { decodeShape, MsgpackStream, type Shape, type ShapeInput, type ShapeOf } from '../codec/index.ts';
import { PeerBudget } from '../lib/index.ts';
import type { Clock, Stream } from '../ports/index.ts';
import type { RpcServerAddress } from './dial.ts';
import { encodeRequest, headBytesMax, type MethodTable, responseHead } from './message.ts';
import type { Lease, RpcPool } from './pool.ts';
import { RpcError } from './rpc-error.ts';

/** `limits.rpc_client_timeout` of newer versions: a call that does not block. */
export const callTimeoutMsDefault = 60_000;
/** Wait of a blocking call that names none, and the longest wait a server grants. */
const queryTimeMsDefault = 300_000;
const queryTimeMsMax = 600_000;
/** A server adds up to this part of the wait at random. */
const jitterPart = 1 / 16;
/**
 * Bytes of answers that have begun to come from one server, all together: more than a list of every node and service
 * of a large cluster.
 */
const replyBytesMax = 128 * 1024 * 1024;

export interface CallOptions {
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Longest time for the whole call; {@link callTimeoutMs} of the request when left out. */
  readonly timeoutMs?: number;
}

export interface RpcClient<T extends MethodTable> {
  /**
   * Calls `method` on one server.
   * @throws RpcError also with the server's own error text, of kind `server`.
   */
  call<M extends keyof T & string>(
    to: RpcServerAddress,
    method: M,
    request: ShapeInput<T[M]['request']>,
    options?: CallOptions,
  ): Promise<ShapeOf<T[M]['reply']>>;
}

export function createRpcClient<T extends MethodTable>(options: {
  readonly pool: RpcPool;
  readonly shapes: T;
  readonly clock: Clock;
}): RpcClient<T> {
  const { pool, shapes, clock } = options;
  // One count for all connections, as with the peer; nothing depends on it.
  let seq = 0n;
  const budget = new PeerBudget(replyBytesMax);
  return {
    call: async (to, method, request, { signal, timeoutMs = callTimeoutMs(request) } = {}) => {
      const shape = shapes[method]!;
      seq += 1n;
      // Encoded first: what cannot be said must not cost a stream.
      const message = encodeRequest(method, seq, shape.request as Shape<unknown, unknown>, request);
      const body = await limited(clock, { signal, timeoutMs }, (limits) =>
        exchange({ pool, to, budget }, message, limits),
      );
      return decodeReply(shape.reply, method, body) as ShapeOf<T[typeof method]['reply']>;
    },
  };
}

/** One call without a pool: over a connection that carries nothing else and ends with it (selectors 0 and 7). */
export async function callOnce<R extends Shape<unknown, never>, S extends Shape<unknown, never>>(
  stream: Stream,
  method: { readonly name: string; readonly request: R; readonly reply: S },
  request: ShapeInput<R>,
  options: { readonly clock: Clock; readonly timeoutMs?: number; readonly signal?: AbortSignal },
): Promise<ShapeOf<S>> {
  const { clock, signal, timeoutMs = callTimeoutMsDefault } = options;
  const message = encodeRequest<unknown>(
    method.name,
    1n,
    method.request as Shape<unknown, never> as Shape<unknown, unknown>,
    request,
  );
  const body = await limited(clock, { signal, timeoutMs }, async (limits) => {
    const destroy = (): void => stream.destroy();
    const lease = { stream, release: destroy, end: destroy, destroy, lose: destroy };
    return ask(lease, message, new PeerBudget(replyBytesMax), limits);
  });
  return decodeReply(method.reply, method.name, body) as ShapeOf<S>;
}

/** How long a call may take: a blocking one as long as its server may let it wait, and a while more. */
export function callTimeoutMs(request: unknown): number {
  const { MinQueryIndex = 0, MaxQueryTime = 0 } = (request ?? {}) as {
    readonly MinQueryIndex?: number;
    readonly MaxQueryTime?: number;
  };
  if (!(MinQueryIndex > 0)) return callTimeoutMsDefault;
  const asked = MaxQueryTime > 0 ? MaxQueryTime / 1e6 : queryTimeMsDefault;
  return Math.min(asked, queryTimeMsMax) * (1 + jitterPart) + callTimeoutMsDefault;
}

function decodeReply(shape: Shape<unknown, never>, method: string, body: Uint8Array): unknown {
  try {
    return decodeShape(shape, body);
  } catch (error) {
    throw new RpcError('lost', `cannot read the answer to ${method}: ${error instanceof Error ? error.message : ''}`);
  }
}

/** Registers what to do when the limits are reached. */
type OnLimit = (giveUp: (error: RpcError) => void) => void;

/** Runs `work` under the caller's signal and the time limit; either makes it fail at once, wherever it is. */
function limited<T>(
  clock: Clock,
  { signal, timeoutMs }: { readonly signal: AbortSignal | undefined; readonly timeoutMs: number },
  work: (onLimit: OnLimit) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let reached: RpcError | undefined;
    let giveUp: ((error: RpcError) => void) | undefined;
    const stop = (error: RpcError): void => {
      if (reached !== undefined) return;
      reached = error;
      giveUp?.(error);
      settle();
      reject(error);
    };
    const onAbort = (): void => {
      const reason: unknown = signal?.reason;
      stop(new RpcError('aborted', reason instanceof Error ? reason.message : 'aborted'));
    };
    const settle = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    const timer = clock.after(timeoutMs, () => stop(new RpcError('timeout', 'i/o deadline reached')));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) {
      onAbort();
      return;
    }
    work((then) => {
      giveUp = then;
      if (reached !== undefined) then(reached);
    })
      .then(resolve, reject)
      .finally(settle);
  });
}

async function exchange(
  { pool, to, budget }: { readonly pool: RpcPool; readonly to: RpcServerAddress; readonly budget: PeerBudget },
  message: Uint8Array,
  onLimit: OnLimit,
): Promise<Uint8Array> {
  let reached = false;
  onLimit(() => (reached = true));
  const lease = await pool.lease(to);
  if (reached) {
    // Nothing was written, so nothing is said: the stream was never announced or is still good.
    lease.release();
    throw new RpcError('aborted', 'aborted');
  }
  return ask(lease, message, budget, onLimit);
}

/** Writes the request and waits for the answer. @returns the body of an answer that is no error. */
function ask(lease: Lease, message: Uint8Array, budget: PeerBudget, onLimit: OnLimit): Promise<Uint8Array> {
  const { stream } = lease;
  const peer = stream.remote.address;
  return new Promise((resolve, reject) => {
    const input = new MsgpackStream(replyBytesMax);
    let error: string | undefined;
    let done = false;
    /** Of this answer, as far as the budget knows. */
    let held = 0;
    const finish = (then: () => void): void => {
      if (done) return;
      done = true;
      budget.change(peer, -held);
      then();
    };
    const hold = (): void => {
      const grown = input.bufferedBytes - held;
      held += grown;
      if (!budget.change(peer, grown)) throw new Error(`the answers of this server exceed ${budget.bytesMax} bytes`);
    };
    const lost = (cause: string): void =>
      finish(() => {
        lease.lose();
        reject(new RpcError('lost', cause));
      });
    const read = (): void => {
      if (error === undefined) {
        const head = input.next(headBytesMax);
        if (head === undefined) return;
        error = decodeShape(responseHead, head).Error;
      }
      const body = input.next();
      if (body === undefined) return;
      const failed = error;
      finish(() => {
        if (failed !== '') {
          lease.end();
          reject(new RpcError('server', failed));
          return;
        }
        if (input.bufferedBytes > 0) lease.destroy();
        else lease.release();
        resolve(body);
      });
    };
    onLimit(() => finish(() => lease.destroy()));
    if (done) return;
    stream.subscribe({
      onData: (bytes) => {
        if (done) return;
        try {
          input.push(bytes);
          read();
          if (!done) hold();
        } catch (problem) {
          lost(problem instanceof Error ? problem.message : String(problem));
        }
      },
      onEnd: () => lost('EOF'),
      onDrain: () => {},
      onClose: (cause) => lost(cause?.message ?? 'EOF'),
    });
    if (!done) stream.write(message);
  });
}
