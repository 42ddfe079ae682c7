import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentCache, cacheEntriesMax, cacheUnusedMs } from '../../../src/agent/agent-cache.ts';
import { CallError, type CallName, type CallRequest, type NamedCaller } from '../../../src/model/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

interface Call {
  readonly method: CallName;
  readonly request: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  readonly answer: (reply: unknown) => void;
  readonly fail: (text: string) => void;
}

let clock: VirtualClock;
let cache: AgentCache;
let calls: Call[];
let limits = { entryFetchRate: Infinity, entryFetchMaxBurst: 2 };
/** Answers calls that do not block. */
let now: (method: CallName) => unknown;

beforeEach(() => {
  clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  calls = [];
  limits = { entryFetchRate: Infinity, entryFetchMaxBurst: 2 };
  let index = 5;
  now = (method) =>
    method === 'Catalog.ListDatacenters' ? [`dc${index++}`] : { Index: index, Nodes: [`at ${index}`] };
  const caller = {
    call: (method: CallName, request: CallRequest<CallName>, signal: AbortSignal) =>
      new Promise((answer, reject) => {
        const call = { method, request: request as unknown as Call['request'], signal, answer };
        calls.push({ ...call, fail: (text) => reject(new CallError(text)) });
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
        if ((request as { MinQueryIndex?: number }).MinQueryIndex !== undefined) return;
        try {
          answer(now(method));
        } catch (error) {
          reject(error);
        }
      }),
  } as unknown as NamedCaller;
  cache = new AgentCache({
    caller,
    clock,
    random: new SeededRandom(1),
    metrics: { count: () => undefined, gauge: () => undefined, sample: () => undefined },
    limits: () => limits,
    defaultQueryTimeMs: 300_000,
    maxQueryTimeMs: 600_000,
  });
});
afterEach(() => cache.stop());

const health = (more: object = {}) =>
  cache.read('Health.ServiceNodes', { Datacenter: 'dc1', ServiceName: 'web', ...more });
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('an entry that refreshes itself', () => {
  test('is fetched once, then read without a call, and follows every change', async () => {
    expect(await health()).toEqual({ reply: { Index: 5, Nodes: ['at 5'] }, hit: false, ageMs: 0 });
    expect(await health()).toEqual({ reply: { Index: 5, Nodes: ['at 5'] }, hit: true, ageMs: 0 });
    expect(calls.map(({ request }) => request['MinQueryIndex'])).toEqual([undefined, 5]);
    calls[1]!.answer({ Index: 9, Nodes: ['new'] });
    await turn();
    expect(await health()).toEqual({ reply: { Index: 9, Nodes: ['new'] }, hit: true, ageMs: 0 });
    expect(calls[2]!.request).toMatchObject({ MinQueryIndex: 9, MaxQueryTime: 600e9, AllowStale: true });
  });

  test('is fetched once for readers that come together', async () => {
    const all = await Promise.all([health(), health(), health()]);
    expect(all.map(({ hit }) => hit)).toEqual([false, false, false]);
    expect(calls.filter(({ request }) => request['MinQueryIndex'] === undefined)).toHaveLength(1);
  });

  test.each([
    ['another token', { Token: 't' }],
    ['a filter', { Filter: 'x' }],
    ['another tag', { ServiceTags: ['a'], TagFilter: true }],
    ['another service', { ServiceName: 'db' }],
    ['another datacenter', { Datacenter: 'dc2' }],
    ['another place to sort from', { Source: { Datacenter: 'dc1', Node: 'n2' } }],
  ])('is another one for %s', async (_, more) => {
    await health();
    expect((await health(more)).hit).toBe(false);
    expect((await health(more)).hit).toBe(true);
  });

  test('is the same one whatever freshness is asked for', async () => {
    await health();
    expect((await health({ AllowStale: true, Connect: false, Filter: '' })).hit).toBe(true);
  });

  test('lets a reader with its index wait for the next change, or for the time given', async () => {
    await health();
    const woken = health({ MinQueryIndex: 5 });
    await turn();
    calls[1]!.answer({ Index: 9, Nodes: ['new'] });
    expect(await woken).toMatchObject({ reply: { Index: 9 }, hit: false });
    const late = health({ MinQueryIndex: 9, MaxQueryTime: 2e9 });
    await clock.advance(2_500);
    expect(await late).toMatchObject({ reply: { Index: 9 }, hit: false });
  });

  test('lets a reader go', async () => {
    await health();
    const gone = new AbortController();
    const reading = cache.read(
      'Health.ServiceNodes',
      { Datacenter: 'dc1', ServiceName: 'web', MinQueryIndex: 5 },
      {},
      gone.signal,
    );
    gone.abort(new Error('gone'));
    await expect(reading).rejects.toThrow('gone');
  });

  test('keeps its value while the servers fail, grows old, and asks again with growing pauses', async () => {
    await health();
    for (let failure = 0; failure < 4; failure++) {
      calls.at(-1)!.fail('No cluster leader');
      await turn();
      await clock.advance(1_000 * 2 ** failure);
    }
    expect(calls).toHaveLength(6);
    expect(await health()).toMatchObject({ hit: true, ageMs: 15_000 });
    calls.at(-1)!.answer({ Index: 6, Nodes: [] });
    await turn();
    expect(await health()).toMatchObject({ reply: { Index: 6 }, hit: true, ageMs: 0 });
  });

  test('does not ask a server again at once that answers without news', async () => {
    await health();
    for (let answer = 0; answer < 3; answer++) {
      calls.at(-1)!.answer({ Index: 5, Nodes: [] });
      await turn();
    }
    expect(calls).toHaveLength(2);
    await clock.advance(1_000);
    expect(calls).toHaveLength(3);
  });

  test('is gone when its token is', async () => {
    await health();
    calls[1]!.fail('ACL not found');
    await turn();
    now = () => {
      throw new CallError('ACL not found');
    };
    await expect(health()).rejects.toThrow('ACL not found');
    expect(cache.size).toBe(0);
  });

  test('is not made by a read that fails', async () => {
    now = () => {
      throw new CallError('No cluster leader');
    };
    await expect(health()).rejects.toThrow('No cluster leader');
    expect(cache.size).toBe(0);
  });

  test('is fetched no faster than the configuration allows', async () => {
    limits = { entryFetchRate: 0.5, entryFetchMaxBurst: 2 };
    await health();
    for (let index = 6; index < 9; index++) {
      calls.at(-1)!.answer({ Index: index, Nodes: [] });
      await turn();
    }
    expect(calls).toHaveLength(2);
    await clock.advance(2_000);
    expect(calls).toHaveLength(3);
  });
});

describe('an entry that is kept as it was fetched', () => {
  const datacenters = (control = {}) => cache.read('Catalog.ListDatacenters', {}, control);

  test('is read at any age unless the reader says otherwise', async () => {
    expect(await datacenters()).toEqual({ reply: ['dc5'], hit: false, ageMs: 0 });
    await clock.advance(90_000);
    expect(await datacenters()).toEqual({ reply: ['dc5'], hit: true, ageMs: 90_000 });
    expect(await datacenters({ maxAgeMs: 120_000 })).toMatchObject({ reply: ['dc5'], hit: true });
    expect(await datacenters({ maxAgeMs: 60_000 })).toEqual({ reply: ['dc6'], hit: false, ageMs: 0 });
    expect(await datacenters({ maxAgeMs: 0 })).toMatchObject({ reply: ['dc7'], hit: false });
    expect(await datacenters({ mustRevalidate: true })).toMatchObject({ reply: ['dc8'], hit: false });
  });

  test('stands in for a fetch that fails only when the reader takes it so old', async () => {
    await datacenters();
    await clock.advance(90_000);
    now = () => {
      throw new CallError('No cluster leader');
    };
    await expect(datacenters({ maxAgeMs: 60_000 })).rejects.toThrow('No cluster leader');
    await expect(datacenters({ maxAgeMs: 60_000, staleIfErrorMs: 80_000 })).rejects.toThrow('No cluster leader');
    const old = await datacenters({ maxAgeMs: 60_000, staleIfErrorMs: 300_000 });
    expect(old).toEqual({ reply: ['dc5'], hit: true, ageMs: 90_000 });
  });

  test('of a prepared query does not depend on who asks', async () => {
    const execute = (Ip: string) =>
      cache.read('PreparedQuery.Execute', {
        Datacenter: 'dc1',
        QueryIDOrName: 'q',
        Source: { Datacenter: '', Node: '', Ip },
        Agent: { Datacenter: 'dc1', Node: 'n1' },
      });
    expect((await execute('192.0.2.1')).hit).toBe(false);
    expect((await execute('192.0.2.2')).hit).toBe(true);
  });
});

test('what nobody reads is dropped after three days, with its open query', async () => {
  await health();
  await health({ ServiceName: 'db' });
  await clock.advance(cacheUnusedMs / 2);
  await health();
  await clock.advance(cacheUnusedMs / 2 + 3_600_000);
  expect(cache.size).toBe(1);
  expect(calls.filter(({ signal }) => signal.aborted).map(({ request }) => request['ServiceName'])).toContain('db');
  expect((await health()).hit).toBe(true);
});

test('the entry read last longest ago makes room', async () => {
  for (let entry = 0; entry < cacheEntriesMax; entry++) await health({ ServiceName: `s${entry}` });
  await health({ ServiceName: 's0' });
  await health();
  expect(cache.size).toBe(cacheEntriesMax);
  expect((await health({ ServiceName: 's0' })).hit).toBe(true);
  expect((await health({ ServiceName: 's1' })).hit).toBe(false);
});

test('as a caller it takes what it knows and passes the rest on', async () => {
  const caller = cache.asCaller(() => 60_000);
  const list = () => caller.call('Catalog.ListDatacenters', {});
  expect(await list()).toEqual(['dc5']);
  expect(await list()).toEqual(['dc5']);
  await clock.advance(61_000);
  expect(await list()).toEqual(['dc6']);
  await caller.call('Catalog.ListNodes', { Datacenter: 'dc1' });
  await caller.call('Catalog.ListNodes', { Datacenter: 'dc1' });
  expect(calls.filter(({ method }) => method === 'Catalog.ListNodes')).toHaveLength(2);
});

test('a stop ends the open queries and refuses further reads', async () => {
  await health();
  const waiting = health({ MinQueryIndex: 5 });
  cache.stop();
  await expect(waiting).rejects.toThrow('the agent stops');
  expect(calls[1]!.signal.aborted).toBe(true);
  await expect(health()).rejects.toThrow('the agent stops');
});
