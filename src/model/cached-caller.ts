/**
 * Reads through the agent's cache, as front doors see it (reference/http-api.md §4.3): the same named calls, and word
 * about where the answer came from.
 */
import type { CallReply, CallRequest } from './calls.ts';

/** The reads that the cache knows. */
export type CachedCall =
  | 'Catalog.ListDatacenters'
  | 'Catalog.ListServices'
  | 'Catalog.NodeServices'
  | 'Catalog.ServiceNodes'
  | 'ConnectCA.Roots'
  | 'DiscoveryChain.Get'
  | 'Health.ServiceNodes'
  | 'Intention.Match'
  | 'PreparedQuery.Execute';

/** What the reader accepts; looked at only where an entry is not kept fresh by itself. */
export interface CacheControl {
  /** An older answer is fetched anew; absent = any age will do. */
  readonly maxAgeMs?: number;
  /** Fetch in any case. */
  readonly mustRevalidate?: boolean;
  /** An answer younger than this will do when fetching fails. */
  readonly staleIfErrorMs?: number;
}

export interface CachedReply<M extends CachedCall> {
  readonly reply: CallReply<M>;
  /** The answer was there already. */
  readonly hit: boolean;
  /** Since the answer was known to be right, ms. */
  readonly ageMs: number;
}

export interface CachedCaller {
  /**
   * Reads; with MinQueryIndex this waits as the call itself would, on the cached answer.
   * @throws CallError what the call threw, the signal's reason.
   */
  read<M extends CachedCall>(
    method: M,
    request: CallRequest<M>,
    control?: CacheControl,
    signal?: AbortSignal,
  ): Promise<CachedReply<M>>;
}
