/**
 * Which failures another try may mend (reference/server-rpc.md §6.2). The peer tries again only where there is no
 * leader; here also where it is certain that nothing was done, and reads wherever a connection was lost: another
 * server may well answer.
 */
import { CallError, noKnownServers, rpcRateLimitExceeded } from '../../model/index.ts';
import { mayRetry, RpcError } from '../../rpc/index.ts';
import { callKinds } from '../call-kinds.ts';
import type { ServersCallName } from './router.ts';

/** Whether a call may be made twice: it changes nothing. An event that is fired twice happens twice. */
export function isRead(method: ServersCallName): boolean {
  return callKinds[method] !== 'write' && method !== 'Internal.EventFire';
}

/** Said by a server that could not pass the call on to its leader, or that is not the leader any more: nothing was done. */
const undone = [
  'rpc error getting client: ',
  "lead thread didn't get connection",
  'node is not the leader',
  'Not ready to serve consistent reads',
];

/** Said by a server that lost its leader, or its connection to it, while it waited: something may have been done. */
const unknown = ['rpc error making call: EOF', 'leadership lost', 'raft is already shutdown'];

/**
 * What may follow a failed try:
 * - `elsewhere`: another server at once; that one has failed.
 * - `later`: any server after a pause; they look for a leader.
 * - `never`.
 */
export function nextTry(error: unknown, read: boolean): 'elsewhere' | 'later' | 'never' {
  if (!(error instanceof RpcError)) return 'never';
  const answered = error.kind === 'server';
  if (answered && undone.some((text) => error.message.includes(text))) return 'later';
  // The prefix that every failed call gets is not what a server says about its own call.
  if (answered && read && unknown.some((text) => error.message.indexOf(text) > 0)) return 'later';
  if (!mayRetry(error, read)) return 'never';
  return answered ? 'later' : 'elsewhere';
}

/** Whatever was asked, it was not for that. */
const troubles = ['No cluster leader', noKnownServers, rpcRateLimitExceeded, ...undone, ...unknown];

/** Whether a server, and not what was asked of it, is the reason: the next call should go to another. */
export function isServersFault(error: unknown): boolean {
  const cause = error instanceof CallError ? error.cause : error;
  if (!(cause instanceof RpcError)) {
    return error instanceof CallError && troubles.some((text) => error.message.includes(text));
  }
  if (cause.kind === 'aborted') return false;
  return cause.kind !== 'server' || nextTry(cause, true) !== 'never';
}
