/**
 * The agent's cache (reference/http-api.md §4.3). Most entries keep themselves fresh: after the first fetch a blocking
 * query stays open for as long as somebody reads the entry, so a read costs no call to a server and is as new as the
 * last write. Two kinds of reads cannot block on a server; of them the last answer is kept, and the reader says how old
 * it may be. Readers that come while an entry is fetched share that fetch.
 */
import {
  type CacheControl,
  type CachedCall,
  type CachedCaller,
  type CachedReply,
  CallError,
  type CallName,
  type CallReply,
  type CallRequest,
  type NamedCaller,
  type QueryOptions,
} from '../model/index.ts';
import { type Clock, type Metrics, type Random, sleep, type Timer } from '../ports/index.ts';

/** How an entry is kept: fresh by itself, or as it was fetched. */
type Kind = 'refreshed' | 'kept';

const kinds: Readonly<Record<CachedCall, Kind>> = {
  'Catalog.ListDatacenters': 'kept',
  'Catalog.ListServices': 'refreshed',
  'Catalog.NodeServices': 'refreshed',
  'Catalog.ServiceNodes': 'refreshed',
  'ConnectCA.Roots': 'refreshed',
  'DiscoveryChain.Get': 'refreshed',
  'Health.ServiceNodes': 'refreshed',
  'Intention.Match': 'refreshed',
  'PreparedQuery.Execute': 'kept',
};

/** Entries; at more, the one not read for the longest time goes. One that refreshes holds a blocking query open. */
export const cacheEntriesMax = 10_000;
/** An entry that nobody has read for so long is dropped (ms). */
export const cacheUnusedMs = 72 * 3_600_000;
/** How often unused entries are looked for (ms). */
const sweepMs = 3_600_000;
/** Longest wait of one refreshing query (ns): the longest the servers allow. */
const refreshWaitNs = 600e9;
/** Pause after a failed refresh (ms), doubled by each further failure up to the longest. */
const retryMs = 1_000;
const retryMsMax = 60_000;
/** A server that answers a blocking query without anything new is not asked again at once (ms). */
const idlePauseMs = 1_000;
const nsPerMs = 1e6;

/** Set by `cache` in the configuration; a reload may change it. */
export interface AgentCacheLimits {
  /** Fetches of one entry a second; Infinity = no limit. */
  readonly entryFetchRate: number;
  readonly entryFetchMaxBurst: number;
}

export interface AgentCacheOptions {
  readonly caller: NamedCaller;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly limits: () => AgentCacheLimits;
  /** Wait of a reader who gives an index and no wait, and the longest wait (ms). */
  readonly defaultQueryTimeMs: number;
  readonly maxQueryTimeMs: number;
}

/** Any reply of a cached call; which one it is, the entry's method says. */
type Reply = CallReply<CachedCall>;

interface Entry {
  readonly key: string;
  readonly kind: Kind;
  readonly fetch: (options: QueryOptions, signal: AbortSignal) => Promise<Reply>;
  /** Aborted when the entry is dropped. */
  readonly dropped: AbortController;
  readonly waiters: Set<() => void>;
  value: { readonly reply: Reply; readonly index: number; readonly fetchedMs: number } | null;
  /** The fetch that is under way. */
  fetching: Promise<void> | null;
  /** Since when the value is not known to be fresh; null while the refreshing query is open. */
  lostContactMs: number | null;
  lastReadMs: number;
  /** When the bucket of this entry's fetches is full again. */
  bucketFullMs: number;
}

export class AgentCache implements CachedCaller {
  readonly #options: AgentCacheOptions;
  /** By key, the entry read last at the end. */
  readonly #entries = new Map<string, Entry>();
  #sweep: Timer | null = null;
  #stopped = false;

  constructor(options: AgentCacheOptions) {
    this.#options = options;
  }

  /** Entries held at present. */
  get size(): number {
    return this.#entries.size;
  }

  async read<M extends CachedCall>(
    method: M,
    request: CallRequest<M>,
    control: CacheControl = {},
    signal?: AbortSignal,
  ): Promise<CachedReply<M>> {
    if (this.#stopped) throw stopped();
    const entry = this.#entryOf(method, request);
    const answer =
      entry.kind === 'refreshed'
        ? await this.#readRefreshed(entry, request, signal)
        : await this.#readKept(entry, control);
    this.#options.metrics.count(['cache', method, answer.hit ? 'hit' : 'miss']);
    // The key holds the method, so the entry's replies are of its kind.
    return { ...answer, reply: answer.reply };
  }

  /**
   * The cache in the place of a caller: what it knows comes through it, everything else passes.
   * @param maxAgeMs of answers that do not refresh themselves; 0 = any age.
   */
  asCaller(maxAgeMs: () => number): NamedCaller {
    return {
      call: async <M extends CallName>(
        method: M,
        request: CallRequest<M>,
        signal?: AbortSignal,
      ): Promise<CallReply<M>> => {
        if (!isCached(method)) return await this.#options.caller.call(method, request, signal);
        const limit = maxAgeMs();
        const { reply } = await this.read(
          method,
          request as CallRequest<never>,
          limit > 0 ? { maxAgeMs: limit } : {},
          signal,
        );
        return reply;
      },
    };
  }

  /** Ends every open query; readers that wait fail. */
  stop(): void {
    this.#stopped = true;
    this.#sweep?.cancel();
    for (const entry of this.#entries.values()) this.#drop(entry, stopped());
  }

  #entryOf<M extends CachedCall>(method: M, request: CallRequest<M>): Entry {
    const key = keyOf(method, request);
    const nowMs = this.#options.clock.monotonicMs();
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const { caller } = this.#options;
      const { MinQueryIndex: _, MaxQueryTime: __, RequireConsistent: ___, ...wanted } = request;
      entry = {
        key,
        kind: kinds[method],
        fetch: (options, signal) => caller.call(method, { ...wanted, ...options }, signal) as Promise<Reply>,
        dropped: new AbortController(),
        waiters: new Set(),
        value: null,
        fetching: null,
        lostContactMs: null,
        lastReadMs: nowMs,
        bucketFullMs: nowMs,
      };
      for (const oldest of this.#entries.values()) {
        if (this.#entries.size < cacheEntriesMax) break;
        this.#drop(oldest, new CallError('the entry was dropped: the cache of the agent is full'));
      }
      this.#sweep ??= this.#options.clock.after(sweepMs, () => this.#dropUnused());
    } else this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.lastReadMs = nowMs;
    return entry;
  }

  #drop(entry: Entry, reason: Error): void {
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    entry.dropped.abort(reason);
    wake(entry);
  }

  #dropUnused(): void {
    const usedSinceMs = this.#options.clock.monotonicMs() - cacheUnusedMs;
    for (const entry of this.#entries.values()) {
      if (entry.lastReadMs > usedSinceMs) break;
      this.#drop(entry, new CallError('the entry was dropped: nobody has read it'));
    }
    this.#sweep = this.#entries.size === 0 ? null : this.#options.clock.after(sweepMs, () => this.#dropUnused());
  }

  async #readKept(entry: Entry, control: CacheControl): Promise<CachedReply<CachedCall>> {
    const { value } = entry;
    const ageMs = value === null ? Infinity : this.#options.clock.monotonicMs() - value.fetchedMs;
    const revalidate = control.mustRevalidate === true || control.maxAgeMs === 0;
    if (value !== null && !revalidate && ageMs <= (control.maxAgeMs ?? Infinity)) {
      return { reply: value.reply, hit: true, ageMs };
    }
    try {
      await this.#fetch(entry, {});
      return { reply: entry.value!.reply, hit: false, ageMs: 0 };
    } catch (error) {
      if (value === null) this.#drop(entry, error as Error);
      else if (ageMs < (control.staleIfErrorMs ?? 0)) return { reply: value.reply, hit: true, ageMs };
      throw error;
    }
  }

  async #readRefreshed(
    entry: Entry,
    { MinQueryIndex = 0, MaxQueryTime = 0 }: QueryOptions,
    signal: AbortSignal | undefined,
  ): Promise<CachedReply<CachedCall>> {
    const known = entry.value;
    if (known !== null && known.index > MinQueryIndex) {
      const { clock } = this.#options;
      const ageMs = entry.lostContactMs === null ? 0 : clock.monotonicMs() - entry.lostContactMs;
      return { reply: known.reply, hit: true, ageMs };
    }
    if (known === null) {
      try {
        await this.#fetch(entry, { AllowStale: true });
      } catch (error) {
        this.#drop(entry, error as Error);
        throw error;
      }
    }
    if (entry.value!.index <= MinQueryIndex) await this.#waitBeyond(entry, MinQueryIndex, MaxQueryTime, signal);
    return { reply: entry.value!.reply, hit: false, ageMs: 0 };
  }

  /** Waits until the entry's index exceeds `index` or the time is over. @throws when the entry is dropped meanwhile. */
  async #waitBeyond(
    entry: Entry,
    index: number,
    maxQueryTimeNs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { clock, defaultQueryTimeMs, maxQueryTimeMs } = this.#options;
    const wantedMs = maxQueryTimeNs <= 0 ? defaultQueryTimeMs : maxQueryTimeNs / nsPerMs;
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (entry.dropped.signal.aborted) settle(() => reject(entry.dropped.signal.reason as Error));
        else if (entry.value!.index > index) settle(resolve);
      };
      const onAbort = (): void => settle(() => reject(signal!.reason as Error));
      const settle = (outcome: () => void): void => {
        timer.cancel();
        entry.waiters.delete(look);
        signal?.removeEventListener('abort', onAbort);
        outcome();
      };
      const timer = clock.after(Math.min(wantedMs, maxQueryTimeMs), () => settle(resolve));
      signal?.addEventListener('abort', onAbort, { once: true });
      entry.waiters.add(look);
      look();
    });
  }

  /** Fetches, or joins the fetch under way; the first value of an entry that refreshes starts its refreshing. */
  #fetch(entry: Entry, options: QueryOptions): Promise<void> {
    entry.fetching ??= this.#fetchOnce(entry, options).finally(() => {
      entry.fetching = null;
    });
    return entry.fetching;
  }

  async #fetchOnce(entry: Entry, options: QueryOptions): Promise<void> {
    const { signal } = entry.dropped;
    await this.#waitForTurn(entry);
    this.#store(entry, await entry.fetch(options, signal));
    if (entry.kind === 'refreshed' && !signal.aborted) void this.#refresh(entry, options);
  }

  #store(entry: Entry, reply: Reply): void {
    const index = 'Index' in reply ? Math.max(1, reply.Index) : 0;
    entry.value = { reply, index, fetchedMs: this.#options.clock.monotonicMs() };
    entry.lostContactMs = null;
    wake(entry);
  }

  /** Keeps the entry fresh until it is dropped. Never rejects. */
  async #refresh(entry: Entry, options: QueryOptions): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = entry.dropped;
    let failures = 0;
    while (!signal.aborted) {
      const MinQueryIndex = entry.value!.index;
      let pauseMs = 0;
      try {
        await this.#waitForTurn(entry);
        const reply = await entry.fetch({ ...options, MinQueryIndex, MaxQueryTime: refreshWaitNs }, signal);
        failures = 0;
        this.#store(entry, reply);
        if (entry.value!.index <= MinQueryIndex) pauseMs = idlePauseMs;
      } catch (error) {
        if (signal.aborted) return;
        // Of a token that is gone nothing may be read any more.
        if (String(error).includes('ACL not found')) return this.#drop(entry, error as Error);
        entry.lostContactMs ??= clock.monotonicMs();
        pauseMs = Math.min(retryMsMax, retryMs * 2 ** failures++) * (0.5 + random.next() / 2);
      }
      if (pauseMs > 0) await sleep(clock, pauseMs, signal).catch(() => undefined);
    }
  }

  /** A bucket of so many fetches, filled at so many a second. @throws when the entry is dropped meanwhile. */
  async #waitForTurn(entry: Entry): Promise<void> {
    const { clock, limits } = this.#options;
    const { entryFetchRate, entryFetchMaxBurst } = limits();
    if (!(entryFetchRate > 0) || entryFetchRate === Infinity) return;
    const nowMs = clock.monotonicMs();
    const fetchMs = 1000 / entryFetchRate;
    const delayMs = entry.bucketFullMs - nowMs - (Math.max(1, entryFetchMaxBurst) - 1) * fetchMs;
    entry.bucketFullMs = Math.max(nowMs, entry.bucketFullMs) + fetchMs;
    if (delayMs > 0) await sleep(clock, delayMs, entry.dropped.signal);
  }
}

function wake({ waiters }: Entry): void {
  for (const look of waiters) look();
}

function isCached(method: CallName): method is CachedCall {
  return Object.hasOwn(kinds, method);
}

/**
 * What tells entries apart: everything that changes the answer. How fresh and how long to wait does not, nor who asks
 * for a prepared query (reference/http-api.md §4.3).
 */
function keyOf(method: CachedCall, request: CallRequest<CachedCall>): string {
  const left = new Set(['MinQueryIndex', 'MaxQueryTime', 'AllowStale', 'RequireConsistent', 'Agent']);
  const { Source, ...rest } = request as { readonly Source?: { readonly Node: string } };
  const parts = Object.entries(rest)
    .filter(([name, value]) => value !== undefined && value !== '' && value !== false && !left.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([method, Source?.Node ?? '', ...parts]);
}

function stopped(): CallError {
  return new CallError('the agent stops');
}
