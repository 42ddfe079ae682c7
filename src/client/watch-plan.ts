/**
 * Watches: one question of the API asked again and again as a blocking query, and whoever waits told when the answer is
 * another one. `portolan watch` and the `watches` of the configuration mean the same by it (reference/agent.md §1.5,
 * §2.3), so the question, the comparison and the retries live here, and what happens on a change is the caller's.
 */
import { encodeGoJson, parseGoJson } from '../codec/index.ts';
import { shownEmptyCheckDefinition } from '../model/index.ts';
import { type Clock, sleep } from '../ports/index.ts';
import type { AgentClient, ClientQuery } from './agent-client.ts';

/** Pause after the first failed question and the longest one, ms; it grows with the square of failures. */
const retryMs = 5000;
const retryMsMax = 180_000;

/** What is watched; "" and empty lists mean not given. */
export interface WatchSubject {
  readonly type: string;
  readonly key: string;
  readonly prefix: string;
  readonly service: string;
  readonly tags: readonly string[];
  readonly passingOnly: boolean;
  readonly state: string;
  readonly name: string;
}

/** What is asked for, and what of the answer is shown. */
export interface WatchPlan {
  readonly path: string;
  readonly query: ClientQuery;
  readonly pick: (answer: unknown) => unknown;
}

export interface WatchAnswer {
  /** null while a key does not exist. */
  readonly data: unknown;
  /** As the header has it; "" for answers without one. */
  readonly index: string;
}

const asItIs = (answer: unknown): unknown => answer;

/** @throws Error for an unknown type or a missing parameter. */
export function watchPlan({ type, key, prefix, service, tags, passingOnly, state, name }: WatchSubject): WatchPlan {
  switch (type) {
    case 'key':
      if (key === '') throw new Error('Must specify a single key to watch');
      return { path: `/v1/kv/${key}`, query: {}, pick: (entries) => pairs(entries)[0] ?? null };
    case 'keyprefix':
      if (prefix === '') throw new Error('Must specify a single prefix to watch');
      return { path: `/v1/kv/${prefix}`, query: { recurse: true }, pick: pairs };
    case 'services':
      return { path: '/v1/catalog/services', query: {}, pick: asItIs };
    case 'nodes':
      return { path: '/v1/catalog/nodes', query: {}, pick: asItIs };
    case 'service':
      if (service === '') throw new Error('Must specify a single service to watch');
      return {
        path: `/v1/health/service/${service}`,
        query: { ...(tags.length > 0 && { tag: tags }), ...(passingOnly && { passing: '1' }) },
        pick: (entries) =>
          ((entries ?? []) as readonly { readonly Checks: unknown }[]).map((entry) => ({
            ...entry,
            Checks: checks(entry.Checks),
          })),
      };
    case 'checks':
      if (service !== '' && state !== '') throw new Error('Cannot specify service and state');
      return {
        path: service === '' ? `/v1/health/state/${state || 'any'}` : `/v1/health/checks/${service}`,
        query: {},
        pick: checks,
      };
    case 'event':
      return { path: '/v1/event/list', query: { ...(name !== '' && { name }) }, pick: asItIs };
    default:
      throw new Error(`Unsupported watch type: ${type}`);
  }
}

function checks(found: unknown): readonly unknown[] {
  return ((found ?? []) as readonly { readonly Definition?: object }[]).map((check) => ({
    ...check,
    Definition: { ...shownEmptyCheckDefinition, ...check.Definition },
  }));
}

interface Pair {
  readonly Key: string;
  readonly CreateIndex: number | bigint;
  readonly ModifyIndex: number | bigint;
  readonly LockIndex: number | bigint;
  readonly Flags: number | bigint;
  readonly Value: string | null;
  readonly Session?: string;
}

/** Entries with their fields in the order, and with the empty session, that handlers know. */
function pairs(entries: unknown): readonly Pair[] {
  return ((entries ?? []) as readonly Pair[]).map(
    ({ Key, CreateIndex, ModifyIndex, LockIndex, Flags, Value, Session = '' }) => ({
      Key,
      CreateIndex,
      ModifyIndex,
      LockIndex,
      Flags,
      Value,
      Session,
    }),
  );
}

/** Asks once. @throws Error for a refusal, AgentConnectionError */
export async function askWatch(
  agent: AgentClient,
  { path, query, pick }: WatchPlan,
  how: ClientQuery,
  signal?: AbortSignal,
): Promise<WatchAnswer> {
  const { status, headers, body } = await agent.request('GET', path, { query: { ...query, ...how }, signal });
  const index = String(headers['x-consul-index'] ?? '');
  // A key that does not exist is an answer.
  if (status === 404 && path.startsWith('/v1/kv/')) return { data: null, index };
  if (status !== 200) throw new Error(`Unexpected response code: ${status} (${body.toString('utf8')})`);
  return { data: pick(parseGoJson(body)), index };
}

export interface WatchEvents {
  /**
   * The answer is another one than before. The next question waits for this to settle; what it throws ends the watch.
   * @param json the data as one line of JSON.
   */
  onChange(json: string, index: string): Promise<void>;
  /** A question failed; it is asked again after `pauseMs`. */
  onError(error: Error, pauseMs: number): void;
}

/** Asks until `signal` is aborted or {@link WatchEvents.onChange} throws. */
export async function followWatch(
  agent: AgentClient,
  clock: Clock,
  plan: WatchPlan,
  { stale }: { readonly stale: boolean },
  events: WatchEvents,
  signal: AbortSignal,
): Promise<void> {
  let index = '';
  let shown: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    let answer: WatchAnswer;
    try {
      answer = await askWatch(agent, plan, { stale, ...(index !== '' && { index }) }, signal);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      const pauseMs = Math.min(retryMs * failures ** 2, retryMsMax);
      events.onError(error as Error, pauseMs);
      await sleep(clock, pauseMs, signal).catch(() => undefined);
      // What was missed meanwhile is told at once.
      index = '';
      continue;
    }
    // Indexes begin anew when the servers' state did.
    index = BigInt(answer.index || 0) < BigInt(index || 0) ? '' : answer.index;
    const json = encodeGoJson(answer.data);
    if (json === shown) continue;
    shown = json;
    await events.onChange(json, answer.index);
  }
}
