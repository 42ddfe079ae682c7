/**
 * What every RPC endpoint has at hand, and the rules they share: which datacenter a call is for, what a reply says
 * about its freshness (reference/server-rpc.md §3.1-§3.3).
 */
import { CallError, type CallName, type CallReply, type CallRequest, type QueryMeta } from '../model/index.ts';
import type { Clock, Metrics } from '../ports/index.ts';
import type { StateStore } from '../state/index.ts';
import type { BlockingQueries } from './blocking-queries.ts';
import type { CommandLog } from './command-log.ts';
import type { LockDelays } from './lock-delays.ts';
import type { DistancesFrom } from './near.ts';

export interface Endpoint {
  readonly datacenter: string;
  readonly store: StateStore;
  readonly log: CommandLog;
  readonly queries: BlockingQueries;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly distancesFrom: DistancesFrom;
  readonly lockDelays: LockDelays;
}

/** Serves one named call. */
export type Handler<M extends CallName> = (
  request: CallRequest<M>,
  signal: AbortSignal | undefined,
) => Promise<CallReply<M>>;
export type Handlers<M extends CallName = CallName> = { readonly [N in M]: Handler<N> };

/** @throws CallError when the call is for another datacenter; an empty name is not ours either. */
export function requireDatacenter(
  { datacenter }: Pick<Endpoint, 'datacenter'>,
  request: { readonly Datacenter: string },
): void {
  if (request.Datacenter !== datacenter) throw new CallError('No path to datacenter');
}

/** The part of a reply that is about the reply. */
export function queryMeta({ log }: Endpoint, index: number): QueryMeta {
  return { Index: index, LastContact: log.lastContactNs, KnownLeader: log.leaderAddress !== '' };
}

/** Proposes, and notes how long that took under `sample`. */
export async function timed<T>(endpoint: Endpoint, sample: readonly string[], work: () => Promise<T>): Promise<T> {
  const startMs = endpoint.clock.monotonicMs();
  try {
    return await work();
  } finally {
    endpoint.metrics.sample(sample, endpoint.clock.monotonicMs() - startMs);
  }
}
