/**
 * The parameters every read understands, in Consul's order of checks, and the headers that answer them
 * (reference/http-api.md §2-§4).
 */
import { GoDurationError, parseGoDuration, parseGoDurationMs } from '../codec/index.ts';
import type {
  CacheControl,
  CachedCall,
  CachedCaller,
  CachedReply,
  CallRequest,
  NamedCaller,
  QueryMeta,
  QueryOptions,
  QuerySource,
  WriteRequest,
} from '../model/index.ts';
import type { AgentDoor } from './agent-door.ts';
import { type Header, HttpError } from './answer.ts';
import type { HttpOptions } from './options.ts';
import type { ApiRequest } from './request.ts';

export type Consistency = 'leader' | 'stale' | 'consistent';

export interface ReadOptions {
  /** For the request of a named call. */
  readonly query: QueryOptions & { readonly Datacenter: string };
  readonly consistency: Consistency;
  /** A stale answer older than this is asked for once more, from the leader; 0 = any age will do. */
  readonly maxStaleMs: number;
  /** `?cached`, and the cache is in use. */
  readonly cached: boolean;
  /** What `Cache-Control` asks of a cached answer. */
  readonly control: CacheControl;
}

/** `dc` or the agent's own datacenter, and the token. */
export function parseTarget(request: ApiRequest, options: HttpOptions): WriteRequest {
  const { token } = request;
  const Datacenter = request.query.get('dc') || options.datacenter;
  return token === '' ? { Datacenter } : { Datacenter, Token: token };
}

/** @throws HttpError 400 with the text of the first parameter that is wrong. */
export function parseReadOptions(request: ApiRequest, options: HttpOptions): ReadOptions {
  const { query } = request;
  const target = parseTarget(request, options);
  const cacheControl = request.header('cache-control');
  // Most requests ask for nothing special.
  if (query.isEmpty && cacheControl === '' && !(options.discoveryMaxStaleMs > 0)) {
    return { query: target, consistency: 'leader', maxStaleMs: 0, cached: false, control: noControl };
  }
  const filter = query.get('filter');
  let stale = query.has('stale');
  const consistent = query.has('consistent');
  const cached = query.has('cached') && options.useCache;
  let maxStaleMs = 0;
  const maxStale = query.get('max_stale');
  if (maxStale !== '') {
    maxStaleMs = durationMs(maxStale, `Invalid max_stale value ${JSON.stringify(maxStale)}`);
    if (maxStaleMs > 0) stale = true;
  }
  const unspecified = !stale && !consistent && !query.has('cached') && !query.has('leader');
  if (unspecified && options.discoveryMaxStaleMs > 0 && /^\/v1\/(?:catalog|health)/.test(request.path)) {
    maxStaleMs = options.discoveryMaxStaleMs;
    stale = true;
  }
  if (stale && consistent) {
    throw new HttpError(400, 'Cannot specify ?stale with ?consistent, conflicting semantics.');
  }
  if (cached && consistent) {
    throw new HttpError(400, 'Cannot specify ?cached with ?consistent, conflicting semantics.');
  }
  const control = parseCacheControl(cacheControl);
  const wait = parseWaitMs(request);
  // No index of the state comes near 2^53; beyond it all of them mean the same.
  const index = Math.min(Number(parseIndex(query.get('index'))), Number.MAX_SAFE_INTEGER);
  return {
    query: {
      ...target,
      ...(filter === '' ? {} : { Filter: filter }),
      ...(stale ? { AllowStale: true } : {}),
      ...(consistent ? { RequireConsistent: true } : {}),
      ...(index > 0 ? { MinQueryIndex: index } : {}),
      ...(wait > 0 ? { MaxQueryTime: Math.round(wait * 1e6) } : {}),
    },
    consistency: consistent ? 'consistent' : stale ? 'stale' : 'leader',
    maxStaleMs: Math.max(0, maxStaleMs),
    cached,
    control,
  };
}

/** `wait` in milliseconds; 0 = the default. */
export function parseWaitMs(request: ApiRequest): number {
  const wait = request.query.get('wait');
  return wait === '' ? 0 : Math.max(0, durationMs(wait, 'Invalid wait time'));
}

function durationMs(text: string, problem: string): number {
  try {
    return parseGoDurationMs(text);
  } catch (error) {
    if (error instanceof GoDurationError) throw new HttpError(400, problem);
    throw error;
  }
}

const uint64Max = 2n ** 64n - 1n;

/** `index`: any 64-bit number; 0 when it is not given. */
export function parseIndex(text: string): bigint {
  if (text === '') return 0n;
  // Reading a number takes the square of its length, and the client chose it: long ones are refused unread.
  if (!/^0*\d{1,20}$/.test(text) || BigInt(text) > uint64Max) throw new HttpError(400, 'Invalid index');
  return BigInt(text);
}

const noControl: CacheControl = {};

/** Read on every request, cached or not: a bad value is refused everywhere. */
function parseCacheControl(header: string): CacheControl {
  if (header === '') return noControl;
  const control: { -readonly [K in keyof CacheControl]: CacheControl[K] } = {};
  for (const part of header.split(',')) {
    const [directive = '', value] = part.trim().split('=', 2);
    const name = directive.toLowerCase();
    if (name === 'must-revalidate') control.mustRevalidate = true;
    if (value === undefined) continue;
    if (name === 'max-age') control.maxAgeMs = secondsMs(value);
    if (name === 'stale-if-error') control.staleIfErrorMs = secondsMs(value);
  }
  return control;
}

function secondsMs(text: string): number {
  try {
    if (/^\d+$/.test(text)) return parseGoDuration(`${text}s`) / 1e6;
  } catch (error) {
    if (!(error instanceof GoDurationError)) throw error;
  }
  throw new HttpError(400, 'Invalid Cache-Control header.');
}

/** `near`, as the call's Source. */
export function parseSource(request: ApiRequest, agent: AgentDoor): { readonly Source?: QuerySource } {
  const near = request.query.get('near');
  if (near === '') return {};
  return { Source: { Datacenter: agent.datacenter, Node: near === '_agent' ? agent.nodeName : near } };
}

/** `node-meta=key:value`, repeatable. */
export function parseNodeMeta(request: ApiRequest): { readonly NodeMetaFilters?: Readonly<Record<string, string>> } {
  if (!request.query.has('node-meta')) return {};
  const filters: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const pair of request.query.all('node-meta')) {
    const colon = pair.indexOf(':');
    filters[colon < 0 ? pair : pair.slice(0, colon)] = colon < 0 ? '' : pair.slice(colon + 1);
  }
  return { NodeMetaFilters: filters };
}

/** Go's `strconv.ParseBool`; null when it is none of them. */
export function parseBool(text: string): boolean | null {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  return ['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text) ? false : null;
}

/** What the headers before said; requests that follow each other mostly say the same. */
let lastMeta: Pick<QueryMeta, 'Index' | 'KnownLeader' | 'LastContact'> = {
  Index: -1,
  KnownLeader: false,
  LastContact: 0,
};
let lastMetaHeaders: readonly Header[] = [];

/** Headers of a read: index (never 0), leader, staleness and, where the endpoint reports it, consistency. */
export function metaHeaders(meta: QueryMeta, consistency: Consistency | null): readonly Header[] {
  const { Index, KnownLeader, LastContact } = meta;
  if (Index !== lastMeta.Index || KnownLeader !== lastMeta.KnownLeader || LastContact !== lastMeta.LastContact) {
    lastMetaHeaders = [
      ['X-Consul-Index', String(Math.max(1, Index))],
      ['X-Consul-Knownleader', String(KnownLeader)],
      ['X-Consul-Lastcontact', String(Math.floor(LastContact / 1e6))],
    ];
    lastMeta = { Index, KnownLeader, LastContact };
  }
  return consistency === null ? lastMetaHeaders : [...lastMetaHeaders, effective[consistency]];
}

const effective: Readonly<Record<Consistency, Header>> = {
  leader: ['X-Consul-Effective-Consistency', 'leader'],
  stale: ['X-Consul-Effective-Consistency', 'stale'],
  consistent: ['X-Consul-Effective-Consistency', 'consistent'],
};

const noMeta = metaHeaders({ Index: 1, LastContact: 0, KnownLeader: false }, null);

/** A read that failed; its answer carries the headers of an empty result (§3, "late meta"). */
export class FailedRead extends Error {
  readonly headers: readonly Header[] = noMeta;

  constructor(cause: unknown) {
    super('read failed', { cause });
    this.name = 'FailedRead';
  }
}

/**
 * Makes a read and, when a stale answer is older than allowed, once more from the leader.
 * @throws FailedRead around whatever `call` throws.
 */
export async function readWithMeta<R extends QueryMeta>(
  options: ReadOptions,
  call: (query: ReadOptions['query']) => Promise<R>,
): Promise<{ readonly reply: R; readonly consistency: Consistency }> {
  try {
    const reply = await call(options.query);
    if (options.maxStaleMs > 0 && options.query.AllowStale === true && reply.LastContact > options.maxStaleMs * 1e6) {
      const { AllowStale: _, ...fresh } = options.query;
      return { reply: await call(fresh), consistency: 'leader' };
    }
    return { reply, consistency: options.consistency };
  } catch (error) {
    throw new FailedRead(error);
  }
}

/** Calls whose reply tells about itself. */
type CachedRead = { [M in CachedCall]: CachedReply<M>['reply'] extends QueryMeta ? M : never }[CachedCall];

/**
 * Makes a read that knows `?cached`.
 * @returns the reply, and the headers that say where it came from; none when the cache was not asked.
 * @throws FailedRead around whatever the call throws.
 */
export async function readPerhapsCached<M extends CachedRead>(
  { caller, cache }: { readonly caller: NamedCaller; readonly cache: CachedCaller },
  options: ReadOptions,
  method: M,
  requestOf: (query: ReadOptions['query']) => CallRequest<M>,
  signal?: AbortSignal,
): Promise<{
  readonly reply: CachedReply<M>['reply'];
  readonly consistency: Consistency;
  readonly headers: readonly Header[];
}> {
  if (!options.cached) {
    // Every reply of these calls is about itself; the compiler cannot see it through M.
    const call = (query: ReadOptions['query']): Promise<CachedReply<M>['reply'] & QueryMeta> =>
      caller.call(method, requestOf(query), signal) as Promise<CachedReply<M>['reply'] & QueryMeta>;
    return { ...(await readWithMeta(options, call)), headers: [] };
  }
  try {
    const read = await cache.read(method, requestOf(options.query), options.control, signal);
    return { reply: read.reply, consistency: options.consistency, headers: cacheHeaders(read) };
  } catch (error) {
    throw new FailedRead(error);
  }
}

/** Where a cached answer came from. */
export function cacheHeaders({ hit, ageMs }: { readonly hit: boolean; readonly ageMs: number }): readonly Header[] {
  if (!hit) return [['X-Cache', 'MISS']];
  return [
    ['X-Cache', 'HIT'],
    ['Age', String(Math.floor(ageMs / 1000))],
  ];
}

/** Only a query that may block has to be ended when its client goes. */
export function readSignal(request: ApiRequest, options: ReadOptions): AbortSignal | undefined {
  return options.query.MinQueryIndex === undefined ? undefined : request.signal;
}
