/**
 * What a call can end in. Texts are the peer's, because they travel: a server that forwards puts them into its own
 * answer, and clients match on parts of them (reference/server-rpc.md §1.7, §3.5).
 */

/**
 * - `connect`: no connection; the server has seen nothing.
 * - `stream`: a connection, but no stream on it; the server has seen nothing.
 * - `lost`: the connection or the stream ended while we waited; the call may have been done.
 * - `timeout`: no answer in time; the call may have been done.
 * - `aborted`: the caller gave up; the call may have been done.
 * - `server`: the server's own answer.
 */
export type RpcErrorKind = 'connect' | 'stream' | 'lost' | 'timeout' | 'aborted' | 'server';

export class RpcError extends Error {
  readonly kind: RpcErrorKind;

  /** @param prefix what comes before the cause, where it is not what comes before that of a call. */
  constructor(kind: RpcErrorKind, cause: string, prefix: string = prefixes[kind]) {
    super(prefix + cause);
    this.name = 'RpcError';
    this.kind = kind;
  }
}

const prefixes: Readonly<Record<RpcErrorKind, string>> = {
  connect: 'rpc error getting client: failed to get conn: ',
  stream: 'rpc error getting client: failed to start stream: ',
  lost: 'rpc error making call: ',
  timeout: 'rpc error making call: ',
  aborted: 'rpc error making call: ',
  server: 'rpc error making call: ',
};

/** `rpc_hold_timeout`: how long calls are tried again in the hope of a leader. */
export const rpcHoldTimeoutMs = 7_000;
/** The longest pause between two tries; a random part of it is taken. */
export const rpcRetryPauseMsMax = rpcHoldTimeoutMs / 16;

/**
 * Whether trying again may help and does no harm (§6.2). Reads are also tried again when the connection failed, which
 * the peer does not do; another server may well answer.
 */
export function mayRetry(error: unknown, isRead: boolean): boolean {
  if (!(error instanceof Error)) return false;
  if (error.message.includes('No cluster leader')) return true;
  if (!isRead) return error instanceof RpcError && (error.kind === 'connect' || error.kind === 'stream');
  if (error instanceof RpcError && ['connect', 'stream', 'lost'].includes(error.kind)) return true;
  return error.message.includes('stream closed') || error.message.includes('session shutdown');
}
