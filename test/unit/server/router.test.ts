// A client agent's way to servers on virtual time: which server is turned to, what is tried again, and for how long.
import { getEventListeners } from 'node:events';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConsulServer } from '../../../src/gossip/index.ts';
import { CallError } from '../../../src/model/index.ts';
import type { Metrics } from '../../../src/ports/index.ts';
import { RpcError, type RpcErrorKind } from '../../../src/rpc/index.ts';
import { type CallServer, createRouter, isServersFault, type RouterOptions } from '../../../src/server/index.ts';
import { RateLimit } from '../../../src/server/router/rate-limit.ts';
import { isRead } from '../../../src/server/router/retry.ts';
import { rebalanceDelayMs, ServerList } from '../../../src/server/router/server-list.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { consulServer } from '../../helpers/consul-server.ts';
import { silentLogger } from '../../helpers/logger.ts';

const local = { Datacenter: 'dc1' } as const;
const holdMs = 7_000;

function server(name: string, parts: Partial<ConsulServer> = {}): ConsulServer {
  return consulServer({ name, address: `10.0.0.${name.slice(1)}`, ...parts });
}

type Behaviour = (method: string, request: unknown, signal?: AbortSignal) => Promise<unknown>;

const answers: Behaviour = async () => 'answer';
const silent: Behaviour = (_, __, signal) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new RpcError('aborted', 'aborted')), { once: true });
  });
const fails =
  (kind: RpcErrorKind, text = 'EOF'): Behaviour =>
  async () => {
    throw new RpcError(kind, text);
  };

/** Servers that behave as told; what is asked of which is noted. */
function world(behaviours: Readonly<Record<string, Behaviour>>, options: Partial<RouterOptions> = {}) {
  const clock = new VirtualClock();
  const behaviour = new Map(Object.entries(behaviours));
  const calls: string[] = [];
  const requests: unknown[] = [];
  const counts = new Map<string, number>();
  /** How to end the calls that run to a server. */
  const cut = new Map<string, Set<() => void>>();
  const metrics: Metrics = {
    count: (name) => void counts.set(name.join('.'), (counts.get(name.join('.')) ?? 0) + 1),
    gauge: () => undefined,
    sample: () => undefined,
  };
  const callServer = ((to, method, request, { signal, timeoutMs } = {}) => {
    calls.push(`${to.name} ${method}`);
    requests.push(request);
    return new Promise((resolve, reject) => {
      const lose = (): void => reject(new RpcError('lost', 'session shutdown'));
      const running = cut.get(to.name) ?? new Set();
      cut.set(to.name, running.add(lose));
      if (timeoutMs !== undefined) {
        clock.after(timeoutMs, () => reject(new RpcError('timeout', 'i/o deadline reached')));
      }
      const { promise, stop } = watched(behaviour.get(to.name)!(method, request, signal), signal);
      promise.then(resolve as (value: unknown) => void, reject).finally(() => {
        stop();
        running.delete(lose);
      });
    });
  }) as CallServer;
  const forgotten: string[] = [];
  const router = createRouter({
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    metrics,
    callServer,
    pool: {
      forget: ({ name }) => {
        forgotten.push(name);
        for (const lose of cut.get(name) ?? []) lose();
      },
    },
    dial: () => Promise.reject(new Error('nobody')),
    datacenter: 'dc1',
    limits: () => ({ rpcRate: -1, rpcMaxBurst: 1000 }),
    rpcHoldTimeoutMs: holdMs,
    memberCount: () => 3,
    ...options,
  });
  for (const name of Object.keys(behaviours)) router.addServer(server(name));
  const names = (): readonly string[] => router.servers.map(({ name }) => name);
  return { clock, router, behaviour, calls, requests, counts, forgotten, names };
}

/** As the real client does: aborting ends the call at once. */
function watched(promise: Promise<unknown>, signal: AbortSignal | undefined) {
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(new RpcError('aborted', 'aborted'));
    signal?.addEventListener('abort', onAbort, { once: true });
    stop = () => signal?.removeEventListener('abort', onAbort);
  });
  return { promise: Promise.race([promise, aborted]), stop };
}

/** Runs virtual time until a call has ended; its value, or its error's text. */
async function ended(clock: VirtualClock, call: Promise<unknown>): Promise<{ value: unknown; afterMs: number }> {
  const startMs = clock.monotonicMs();
  const outcomes: unknown[] = [];
  void call.then(
    (answer) => outcomes.push(answer),
    (error: unknown) => outcomes.push(String(error)),
  );
  for (let step = 0; step < 2_000 && outcomes.length === 0; step++) await clock.advance(step === 0 ? 0 : 100);
  expect(outcomes).toHaveLength(1);
  return { value: outcomes[0], afterMs: clock.monotonicMs() - startMs };
}

const read = { ...local, Key: 'k' };
const write = { ...local, Op: 'set', DirEnt: { Key: 'k' } } as const;

describe('which server is called', () => {
  test('the first of the list, as long as it answers', async () => {
    const { clock, router, calls } = world({ s1: answers, s2: answers });
    for (let i = 0; i < 3; i++) await ended(clock, router.caller.call('KVS.Get', read));
    expect(calls).toEqual(['s1 KVS.Get', 's1 KVS.Get', 's1 KVS.Get']);
  });

  test('none of other datacenters, and none without servers', async () => {
    const { clock, router } = world({});
    router.addServer(server('s9', { datacenter: 'dc2' }));
    const call = router.caller.call('KVS.Get', read);
    expect(await ended(clock, call)).toEqual({ value: 'CallError: No known Consul servers', afterMs: 0 });
    expect(router.stats()).toEqual({ server: 'false', known_servers: '0' });
  });

  test('one that fails goes to the end, however many calls fail with it', async () => {
    const { clock, router, names, behaviour } = world({ s1: fails('lost'), s2: answers, s3: answers });
    await Promise.all([1, 2, 3].map(() => ended(clock, router.caller.call('KVS.Get', read))));
    expect(names()).toEqual(['s2', 's3', 's1']);
    behaviour.set('s2', fails('server', 'Permission denied'));
    await ended(clock, router.caller.call('KVS.Get', read));
    expect(names()[0]).toBe('s2');
  });

  test('one that comes anew is told of, once; one that has moved is called where it is', async () => {
    let ups = 0;
    const { router, forgotten } = world({ s1: answers }, { onServerUp: () => ups++ });
    expect(ups).toBe(1);
    router.addServer(server('s1', { acls: '1' }));
    expect([ups, router.servers[0]!.acls]).toEqual([1, '1']);
    router.addServer(server('s1', { address: '10.0.0.99' }));
    expect([ups, router.servers[0]!.address, forgotten]).toEqual([2, '10.0.0.99', ['s1']]);
  });

  test('one that is removed loses its calls, and they go elsewhere', async () => {
    const { clock, router, calls } = world({ s1: silent, s2: answers });
    const call = router.caller.call('KVS.Get', read);
    await clock.advance(0);
    router.removeServer({ name: 's1' });
    expect((await ended(clock, call)).value).toBe('answer');
    expect(calls).toEqual(['s1 KVS.Get', 's2 KVS.Get']);
  });
});

describe('what is tried again', () => {
  const refused = 'dial tcp 10.0.0.1:8300: connect: connection refused';
  test.each([
    { what: 'a read', method: 'KVS.Get', request: read, failure: fails('lost'), tries: 2 },
    { what: 'a read', method: 'KVS.Get', request: read, failure: fails('stream', 'session shutdown'), tries: 2 },
    { what: 'a read', method: 'KVS.Get', request: read, failure: fails('timeout', 'i/o deadline reached'), tries: 1 },
    { what: 'a read', method: 'KVS.Get', request: read, failure: fails('server', 'Permission denied'), tries: 1 },
    { what: 'a write', method: 'KVS.Apply', request: write, failure: fails('connect', refused), tries: 2 },
    { what: 'a write', method: 'KVS.Apply', request: write, failure: fails('lost'), tries: 1 },
    { what: 'a write', method: 'KVS.Apply', request: write, failure: fails('server', 'leadership lost'), tries: 1 },
    {
      what: 'a write that could not be passed on',
      method: 'KVS.Apply',
      request: write,
      failure: fails('server', `rpc error getting client: failed to get conn: ${refused}`),
      tries: 2,
    },
    {
      what: 'a read that was lost behind the server',
      method: 'KVS.Get',
      request: read,
      failure: fails('server', 'rpc error making call: EOF'),
      tries: 2,
    },
    {
      what: 'a write that was lost behind the server',
      method: 'KVS.Apply',
      request: write,
      failure: fails('server', 'rpc error making call: EOF'),
      tries: 1,
    },
  ] as const)('$what: $tries tries', async ({ method, request, failure, tries }) => {
    const { clock, router, calls } = world({ s1: failure, s2: answers });
    await ended(clock, router.caller.call(method, request));
    expect(calls.filter((call) => call.includes('KVS'))).toHaveLength(tries);
  });

  test('while there is no leader every call is, for as long as is allowed, with pauses', async () => {
    const leaderless = fails('server', 'No cluster leader');
    const { clock, router, calls, counts } = world({ s1: leaderless, s2: leaderless });
    const { value, afterMs } = await ended(clock, router.caller.call('KVS.Apply', write));
    expect(value).toBe('CallError: rpc error making call: No cluster leader');
    expect(afterMs).toBeGreaterThanOrEqual(holdMs);
    expect(afterMs).toBeLessThan(holdMs + 1_000);
    // 0 to 437 ms apart.
    expect(calls.length).toBeGreaterThan(16);
    expect(counts.get('client.rpc.failed')).toBe(calls.length);
    expect(counts.get('client.rpc')).toBe(calls.length);
  });

  test('when a leader comes the call succeeds', async () => {
    const { clock, router, behaviour } = world({ s1: fails('server', 'No cluster leader') });
    clock.after(3_000, () => behaviour.set('s1', answers));
    const { value, afterMs } = await ended(clock, router.caller.call('KVS.Apply', write));
    expect(value).toBe('answer');
    expect(afterMs).toBeLessThan(3_600);
  });

  test('when no server can be reached the call ends after one try of each', async () => {
    const down = fails('connect', refused);
    const { clock, router, calls } = world({ s1: down, s2: down, s3: down });
    const { value, afterMs } = await ended(clock, router.caller.call('KVS.Get', read));
    expect(value).toContain('failed to get conn');
    expect([afterMs, calls.length]).toEqual([0, 3]);
  });

  test('a query that waits waits elsewhere for the rest of its time', async () => {
    const { clock, router, requests, behaviour } = world({ s1: silent, s2: silent });
    const call = router.caller.call('KVS.Get', { ...read, MinQueryIndex: 7, MaxQueryTime: 60e9 });
    await clock.advance(40_000);
    behaviour.set('s2', answers);
    router.removeServer({ name: 's1' });
    expect((await ended(clock, call)).value).toBe('answer');
    expect(requests).toMatchObject([{ MaxQueryTime: 60e9 }, { MinQueryIndex: 7, MaxQueryTime: 20e9 }]);
  });
});

describe('a silent server', () => {
  test('is asked whether it is there, and left when it is not', async () => {
    const { clock, router, calls, names, forgotten } = world({ s1: silent, s2: answers });
    const reads = [1, 2, 3].map(() => router.caller.call('KVS.Get', read));
    const writing = router.caller.call('KVS.Apply', write);
    const { value, afterMs } = await ended(clock, Promise.all(reads));
    expect(value).toEqual(['answer', 'answer', 'answer']);
    expect(afterMs).toBeLessThanOrEqual(10_100);
    // Nobody knows whether it was written.
    expect((await ended(clock, writing)).value).toContain('session shutdown');
    expect([names()[0], forgotten]).toEqual(['s2', ['s1']]);
    expect(calls.filter((call) => call === 's1 Status.Ping')).toHaveLength(1);
  });

  test('is waited for when it is there, and by queries that wait in any case', async () => {
    const slow: Behaviour = (method, request, signal) =>
      method === 'Status.Ping' ? Promise.resolve(null) : silent(method, request, signal);
    const { clock, router, calls, names } = world({ s1: slow, s2: answers });
    const { signal } = new AbortController();
    void router.caller.call('KVS.Get', { ...read, MinQueryIndex: 1 }, signal);
    await clock.advance(60_000);
    expect(calls).toEqual(['s1 KVS.Get']);
    void router.caller.call('KVS.Get', read, signal);
    await clock.advance(60_000);
    expect(calls).toEqual(['s1 KVS.Get', 's1 KVS.Get', 's1 Status.Ping']);
    expect(names()[0]).toBe('s1');
  });
});

describe('a call that is given up', () => {
  test('ends with the reason, whether it is under way or pauses', async () => {
    for (const behaviour of [silent, fails('server', 'No cluster leader')]) {
      const { clock, router, counts } = world({ s1: behaviour });
      const abort = new AbortController();
      const call = router.caller.call('KVS.Get', read, abort.signal);
      await clock.advance(500);
      const failed = counts.get('client.rpc.failed') ?? 0;
      abort.abort(new Error('enough'));
      expect((await ended(clock, call)).value).toBe('Error: enough');
      await clock.advance(10_000);
      expect(counts.get('client.rpc.failed') ?? 0).toBe(failed);
      expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0);
    }
  });

  test('by the end of the agent fails, and so do later ones', async () => {
    const { clock, router } = world({ s1: fails('server', 'No cluster leader') });
    const call = router.caller.call('KVS.Get', read);
    await clock.advance(10);
    router.stop();
    expect((await ended(clock, call)).value).toBe('CallError: the agent stops');
    expect((await ended(clock, router.caller.call('KVS.Get', read))).value).toBe('CallError: the agent stops');
  });
});

describe('from time to time', () => {
  test('another server is turned to, if it answers', async () => {
    const { clock, router, calls, names } = world({ s1: answers, s2: fails('connect'), s3: answers });
    router.start();
    await clock.advance(119_000);
    expect(calls).toEqual([]);
    const first = new Set<string>();
    for (let round = 0; round < 12; round++) {
      await clock.advance(180_000);
      first.add(names()[0]!);
    }
    expect([...first].toSorted()).toEqual(['s1', 's3']);
    expect(names().toSorted()).toEqual(['s1', 's2', 's3']);
    router.stop();
  });

  test('nothing changes when none answers', async () => {
    const { clock, router, names } = world({ s1: fails('connect'), s2: fails('connect') });
    router.start();
    await clock.advance(1_000_000);
    expect(names()).toEqual(['s1', 's2']);
    router.stop();
  });

  test.each([
    { members: 1, servers: 1, minMs: 120_000, maxMs: 180_000 },
    { members: 10_000, servers: 3, minMs: 120_000, maxMs: 180_000 },
    { members: 100_000, servers: 1, minMs: 1_562_500, maxMs: 1_562_500 },
    { members: 100_000, servers: 5, minMs: 312_500, maxMs: 312_500 },
  ])('$members members and $servers servers', ({ members, servers, minMs, maxMs }) => {
    const random = new SeededRandom(5);
    for (let i = 0; i < 20; i++) {
      const delayMs = rebalanceDelayMs(members, servers, random);
      expect(delayMs).toBeGreaterThanOrEqual(minMs);
      expect(delayMs).toBeLessThanOrEqual(maxMs);
    }
  });
});

test('whatever comes, goes and fails, the list holds those that came last, each once', () => {
  const step = fc.record({
    act: fc.constantFrom('add', 'remove', 'failed', 'shuffle'),
    who: fc.integer({ max: 6, min: 1 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const list = new ServerList(new SeededRandom(2));
      const model = new Set<string>();
      let order: ConsulServer[] = [];
      for (const { act, who } of steps) {
        const name = `s${who}`;
        if (act === 'add') {
          list.add(server(name));
          model.add(name);
        } else if (act === 'remove') {
          expect(list.remove(name) !== undefined).toBe(model.delete(name));
        } else if (act === 'failed') list.failed(name);
        else {
          const first = order.find((known) => model.has(known.name))?.name ?? name;
          list.reorder(order, first);
          if (order.some((known) => known.name === first) && model.has(first)) expect(list.next()?.name).toBe(first);
          order = list.shuffled();
        }
        expect(list.all.map((known) => known.name).toSorted()).toEqual([...model].toSorted());
      }
    }),
  );
});

describe('the limit of calls', () => {
  test('lets a burst through, then so many a second', async () => {
    const clock = new VirtualClock();
    const limit = new RateLimit(clock, () => ({ rpcRate: 10, rpcMaxBurst: 5 }));
    const taken = (): number => Array.from({ length: 20 }, () => limit.take()).filter(Boolean).length;
    expect(taken()).toBe(5);
    await clock.advance(300);
    expect(taken()).toBe(3);
    await clock.advance(60_000);
    expect(taken()).toBe(5);
  });

  test.each([-1, 0, Infinity, Number.NaN])('%d is none', (rpcRate) => {
    const limit = new RateLimit(new VirtualClock(), () => ({ rpcRate, rpcMaxBurst: 0 }));
    expect(Array.from({ length: 100 }, () => limit.take()).every(Boolean)).toBe(true);
  });

  test('refuses with the text of the peer, and counts', async () => {
    const { clock, router, counts } = world({ s1: answers }, { limits: () => ({ rpcRate: 1, rpcMaxBurst: 1 }) });
    expect((await ended(clock, router.caller.call('KVS.Get', read))).value).toBe('answer');
    const { value } = await ended(clock, router.caller.call('KVS.Get', read));
    expect(value).toBe('CallError: RPC rate limit exceeded');
    expect(counts.get('client.rpc.exceeded')).toBe(1);
  });
});

test.each([
  ['Catalog.Register', { Checks: [null] }],
  ['Coordinate.Update', { Coord: null }],
  ['PreparedQuery.Apply', { Query: null }],
  ['Intention.Match', {}],
  ['Txn.Apply', { Ops: [{}, null] }],
  ['ConnectCA.ConfigurationSet', { Config: null }],
  ['Internal.KeyringOperation', { Operation: 'list' }],
] as const)('%s never reaches a server with what would end it', async (method, request) => {
  const { clock, router, calls } = world({ s1: answers });
  expect((await ended(clock, router.caller.call(method, { ...local, ...request }))).value).toMatch(/^CallError/);
  expect(calls).toEqual([]);
});

test('calls that change something are not reads', () => {
  expect((['KVS.Apply', 'Catalog.Register', 'ACL.Login', 'Internal.EventFire'] as const).map(isRead)).toEqual(
    Array.from({ length: 4 }, () => false),
  );
  expect((['KVS.Get', 'Txn.Read', 'Session.Renew', 'ACL.RoleResolve'] as const).map(isRead)).toEqual(
    Array.from({ length: 4 }, () => true),
  );
});

test.each([
  [new CallError('No cluster leader'), true],
  [new CallError('No known Consul servers'), true],
  [new CallError('RPC rate limit exceeded'), true],
  [new CallError('node is not the leader'), true],
  [new CallError('Permission denied'), false],
  [new CallError('x', { cause: new RpcError('connect', 'refused') }), true],
  [new CallError('x', { cause: new RpcError('timeout', 'late') }), true],
  [new CallError('x', { cause: new RpcError('server', 'No cluster leader') }), true],
  [new CallError('x', { cause: new RpcError('server', 'Permission denied') }), false],
  [new CallError('x', { cause: new RpcError('aborted', 'enough') }), false],
  [new Error('No cluster leader'), false],
])('%s is a fault of servers: %s', (error, fault) => {
  expect(isServersFault(error)).toBe(fault);
});
