import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  CallError,
  type CallName,
  type CallRequest,
  type KVSRequest,
  type RegisterRequest,
  unmeasuredCoordinate,
} from '../../../src/model/index.ts';
import type { Logger, Metrics } from '../../../src/ports/index.ts';
import {
  createServer,
  MemoryLog,
  type Server,
  tombstoneGranularityMs,
  tombstoneTtlMs,
} from '../../../src/server/index.ts';
import { reconcileMember } from '../../../src/server/reconcile.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { check, service } from '../state/helpers.ts';

const silent: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  named: () => silent,
};
const counted = new Map<string, number>();
const metrics: Metrics = {
  count(name, value = 1) {
    const key = name.join('.');
    counted.set(key, (counted.get(key) ?? 0) + value);
  },
  gauge() {},
  sample(name, _value, labels = []) {
    const key = [...name, ...labels.map((label) => label.value)].join('.');
    counted.set(key, (counted.get(key) ?? 0) + 1);
  },
};

const selfId = '01000000-0000-4000-8000-000000000001';
let clock: VirtualClock;
let store: StateStore;
let server: Server;
/** What the injected Random gives: the jitter as a part of a sixteenth. */
let chance = 0;

async function startServer(): Promise<void> {
  clock = new VirtualClock();
  store = new StateStore();
  const address = '127.0.0.1:8300';
  server = createServer({
    datacenter: 'dc1',
    nodeName: 'self',
    nodeId: selfId,
    address: '127.0.0.1',
    serverPort: 8300,
    version: '1.8.7',
    clock,
    random: { next: () => chance, uuid: () => selfId, bytes: (length) => new Uint8Array(length) },
    logger: silent,
    metrics,
    store,
    log: new MemoryLog({ store, address, clock, metrics }),
  });
  await server.start();
}

beforeEach(async () => {
  chance = 0;
  counted.clear();
  await startServer();
});

const dc = { Datacenter: 'dc1' };
const call: Server['caller']['call'] = (method, request, signal) => server.caller.call(method, request, signal);
const register = (request: Partial<RegisterRequest> & { readonly Node: string }): Promise<null> =>
  call('Catalog.Register', { ...dc, Address: '192.0.2.1', ...request });
const put = (Key: string, Value: string): Promise<boolean> =>
  call('KVS.Apply', { ...dc, Op: 'set', DirEnt: { Key, Value: Buffer.from(Value) } });
const nsPerMs = 1_000_000;

describe('errors in the peer’s words', () => {
  const noPath = 'No path to datacenter';
  test.each<readonly [CallName, object, string]>([
    ['Catalog.ListNodes', { Datacenter: '' }, noPath],
    ['Catalog.Register', { Datacenter: 'nowhere', Node: 'x', Address: '192.0.2.1' }, noPath],
    ['Status.Leader', { Datacenter: 'nowhere' }, noPath],
    ['KVS.Get', { Datacenter: 'nowhere', Key: 'k' }, noPath],
    ['Catalog.Register', { ...dc, Address: '192.0.2.1' }, 'Must provide node'],
    ['Catalog.Register', { ...dc, Node: 'x' }, 'Must provide address if SkipNodeUpdate is not set'],
    ['Catalog.Register', { ...dc, Node: 'x', Address: 'a', ID: 'nope' }, 'Bad node ID: uuid string is wrong length'],
    ...[
      ['11111111_1111-1111-1111-111111111111', 'uuid is improperly formatted'],
      // Counted in bytes.
      ['1111111é-1111-1111-1111-11111111111', 'uuid is improperly formatted'],
      ['11111111-1111-1111-1111-11111111111g', "encoding/hex: invalid byte: U+0067 'g'"],
      ['1111111\n-1111-1111-1111-111111111111', 'encoding/hex: invalid byte: U+000A'],
    ].map(
      ([ID, problem]) =>
        ['Catalog.Register', { ...dc, Node: 'x', Address: 'a', ID }, `Bad node ID: ${problem}`] as const,
    ),
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Check: {} },
      'failed inserting check: failed inserting check: object missing primary index on node "x"',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Service: { ID: 'only-id' } },
      'Must provide service name with ID',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Service: { Service: 'x', Address: '0.0.0.0' } },
      'Invalid service address',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Service: { Kind: 'connect-proxy', Service: 'x' } },
      '2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n' +
        '\t* Port must be set for a Connect proxy\n\n',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Check: { Name: 'c', ServiceID: 'no-such-service' } },
      'failed inserting check: Missing service registration on node "x"',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'x', Address: 'a', Checks: [null] },
      'Invalid check: the list has an empty element',
    ],
    [
      'Catalog.Register',
      { ...dc, Node: 'self', Address: '192.0.2.73', ID: 'cccccccc-0000-4000-8000-000000000003' },
      'failed inserting node: Error while renaming Node ID: "cccccccc-0000-4000-8000-000000000003": ' +
        `Node name self is reserved by node ${selfId} with name self (127.0.0.1)`,
    ],
    ['Catalog.Deregister', { ...dc }, 'Must provide node'],
    ['Catalog.ServiceNodes', { ...dc, ServiceName: '' }, 'Must provide service name'],
    ['Health.ServiceNodes', { ...dc, ServiceName: '' }, 'Must provide service name'],
    ['Health.ServiceChecks', { ...dc, ServiceName: 'x', TagFilter: true }, 'Tag filtering is not supported'],
    ['KVS.Apply', { ...dc, Op: 'set', DirEnt: { Key: '' } }, 'Must provide key'],
    ['KVS.Apply', { ...dc, Op: 'bogus', DirEnt: { Key: 'k' } }, "Invalid KVS operation 'bogus'"],
    [
      'Catalog.ListNodes',
      { ...dc, Filter: 'Bogus==1' },
      'Failed to create boolean expression evaluator: Selector "Bogus" is not valid',
    ],
    ['Bogus.Call' as CallName, {}, "rpc: can't find method Bogus.Call"],
  ])('%s %j', async (method, request, text) => {
    await expect(call(method, request as CallRequest<typeof method>)).rejects.toThrow(new CallError(text));
  });
});

/** As the real leader writes it. */
const serverMeta = {
  non_voter: 'false',
  raft_version: '3',
  serf_protocol_current: '2',
  serf_protocol_min: '1',
  serf_protocol_max: '5',
  version: '1.8.7',
};

describe('a lone server', () => {
  test('leads, and registers itself as the real leader does', async () => {
    expect(await call('Status.Leader', { Datacenter: '' })).toBe('127.0.0.1:8300');
    expect(await call('Status.Peers', dc)).toEqual(['127.0.0.1:8300']);
    expect(await call('Catalog.ListDatacenters', {})).toEqual(['dc1']);
    const { Nodes, Index } = await call('Health.ServiceNodes', { ...dc, ServiceName: 'consul' });
    expect(Index).toBe(3);
    expect(Nodes).toMatchObject([
      {
        Node: { ID: selfId, Node: 'self', Address: '127.0.0.1', TaggedAddresses: null, Meta: null },
        Service: { ID: 'consul', Service: 'consul', Port: 8300, Tags: null, Meta: serverMeta },
        Checks: [
          { CheckID: 'serfHealth', Name: 'Serf Health Status', Status: 'passing', Output: 'Agent alive and reachable' },
        ],
      },
    ]);
  });

  test('writes itself only once', async () => {
    const { lastIndex } = store;
    await server.start();
    expect(store.lastIndex).toBe(lastIndex);
  });
});

describe('what the leader writes about a member', () => {
  const vectors = (
    JSON.parse(readFileSync(new URL('../../fixtures/raft/leader-catalog-writes.json', import.meta.url), 'utf8')) as {
      readonly vectors: readonly { readonly index: number; readonly name: string; readonly payload: object }[];
    }
  ).vectors;
  /** Entries of the leader itself; 13 is what an agent sends. */
  const cases = vectors.map(({ index, name, payload }) => ({
    index,
    name,
    payload: payload as never as RegisterRequest,
  }));

  test.each(cases.filter(({ index }) => index !== 13))('$index $name', ({ index, payload }) => {
    const fresh = new StateStore();
    for (const earlier of cases.filter((entry) => entry.index < index)) {
      fresh.apply(earlier.index, { type: 'Register', request: earlier.payload });
    }
    const status = 'Check' in payload ? (payload.Check?.Status === 'passing' ? 'alive' : 'failed') : 'left';
    const server = payload.Service ? { port: payload.Service.Port, meta: payload.Service.Meta! } : undefined;
    const command = reconcileMember(fresh, 'dc1', {
      name: payload.Node,
      address: payload.Address,
      id: payload.ID ?? '',
      status,
      ...(server === undefined ? {} : { server }),
    });
    expect(command?.type).toBe(status === 'left' ? 'Deregister' : 'Register');
    // Whether a node that is there already is written again is ours to say, see below.
    const { SkipNodeUpdate: _, ...request } = command!.request as RegisterRequest;
    expect(payload).toMatchObject(withoutEmpty(request) as object);
  });

  test('does not undo what the agent tells of itself at the same time', () => {
    const fresh = new StateStore();
    const member = { name: 'N', address: '192.0.2.1', id: selfId, status: 'alive' } as const;
    const created = reconcileMember(fresh, 'dc1', member)!;
    const told = { Datacenter: 'dc1', Node: 'N', ID: selfId, Address: '192.0.2.1', NodeMeta: { rack: 'a' } };
    fresh.apply(1, { type: 'Register', request: told });
    fresh.apply(2, created);
    expect(fresh.node('N')).toMatchObject({ Meta: { rack: 'a' }, ModifyIndex: 1 });
    expect(fresh.nodeCheck('N', 'serfHealth')).toMatchObject({ Status: 'passing' });
  });

  test('is a new address or identity, and what the agent has told stays', () => {
    for (const change of [{ address: '192.0.2.2' }, { id: '02000000-0000-4000-8000-000000000002' }]) {
      const fresh = new StateStore();
      const told = { Datacenter: 'dc1', Node: 'N', ID: selfId, Address: '192.0.2.1', NodeMeta: { rack: 'a' } };
      fresh.apply(1, { type: 'Register', request: told });
      const member = { name: 'N', address: '192.0.2.1', id: selfId, status: 'alive', ...change } as const;
      fresh.apply(2, reconcileMember(fresh, 'dc1', member)!);
      expect(fresh.node('N')).toMatchObject({ ID: member.id, Address: member.address, Meta: { rack: 'a' } });
    }
  });
});

/** Leaves out empty structures, which the recording spells field by field. */
function withoutEmpty(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => !(typeof field === 'object' && field !== null && Object.keys(field).length === 0))
      .map(([key, field]) => [key, withoutEmpty(field)])
      .filter(([, field]) => !(typeof field === 'object' && field !== null && Object.keys(field).length === 0)),
  );
}

describe('a blocking query', () => {
  const waiting = async (): Promise<number> => {
    await clock.advance(0);
    return server.blockingQueries;
  };

  test('answers at once while its index is old, without a timer', async () => {
    await register({ Node: 'N', Service: service({ Service: 'web' }) });
    const timers = clock.pendingTimers;
    const reply = call('Health.ServiceNodes', { ...dc, ServiceName: 'web', MinQueryIndex: 1 });
    expect([server.blockingQueries, clock.pendingTimers]).toEqual([0, timers]);
    expect((await reply).Nodes.length).toBe(1);
  });

  test('sleeps through other services and wakes for its own', async () => {
    await register({ Node: 'N', Service: service({ Service: 'web' }) });
    const { Index } = await call('Health.ServiceNodes', { ...dc, ServiceName: 'web' });
    const timers = clock.pendingTimers;
    const reply = call('Health.ServiceNodes', { ...dc, ServiceName: 'WEB', MinQueryIndex: Index });
    await register({ Node: 'M', Service: service({ Service: 'other' }) });
    expect(await waiting()).toBe(1);
    await register({ Node: 'N', SkipNodeUpdate: true, Check: check({ Node: 'N', CheckID: 'c' }) });
    expect((await reply).Nodes[0]?.Checks.length).toBe(1);
    expect((await reply).Index).toBe(store.lastIndex);
    expect([server.blockingQueries, clock.pendingTimers, store.watchedKeys]).toEqual([0, timers, 1]);
  });

  test.each([
    ['default', 0, 0, 300_000],
    ['given', 10_000, 0, 10_000],
    ['capped', 3_600_000, 0, 600_000],
    ['with jitter', 16_000, 0.5, 16_500],
  ])('ends after its time, %s, with the same index', async (_, wantedMs, jitter, endsMs) => {
    chance = jitter;
    const { Index } = await call('Catalog.ListNodes', dc);
    let reply: { readonly Index: number } | undefined;
    void call('Catalog.ListNodes', { ...dc, MinQueryIndex: Index, MaxQueryTime: wantedMs * nsPerMs }).then((value) => {
      reply = value;
    });
    await clock.advance(endsMs - 1);
    expect(reply).toBeUndefined();
    await clock.advance(1);
    expect(reply?.Index).toBe(Index);
  });

  test('sees what is created later, and a deletion under its prefix', async () => {
    const { Index, Entries } = await call('KVS.Get', { ...dc, Key: 'a/b' });
    expect([Index, Entries]).toEqual([1, null]);
    const created = call('KVS.Get', { ...dc, Key: 'a/b', MinQueryIndex: Index });
    await put('a/c', '1');
    expect(await waiting()).toBe(1);
    await put('a/b', '1');
    expect((await created).Entries?.[0]?.Key).toBe('a/b');
    const list = call('KVS.List', { ...dc, Key: 'a/', MinQueryIndex: store.lastIndex });
    await call('KVS.Apply', { ...dc, Op: 'delete', DirEnt: { Key: 'a/c' } });
    expect((await list).Entries?.map((entry) => entry.Key)).toEqual(['a/b']);
  });

  test('is ended by its signal and leaves nothing behind', async () => {
    const timers = clock.pendingTimers;
    const watched = store.watchedKeys;
    const abort = new AbortController();
    const reply = call('Catalog.ListNodes', { ...dc, MinQueryIndex: 1000 }, abort.signal);
    const reason = new Error('gone');
    abort.abort(reason);
    await expect(reply).rejects.toBe(reason);
    expect([server.blockingQueries, clock.pendingTimers, store.watchedKeys]).toEqual([0, timers, watched]);
  });

  test('is ended when the server stops', async () => {
    const reply = call('Catalog.ListNodes', { ...dc, MinQueryIndex: 1000 });
    server.stop();
    await expect(reply).rejects.toThrow('No cluster leader');
    await expect(call('Catalog.ListNodes', dc)).rejects.toThrow('No cluster leader');
    expect([clock.pendingTimers, store.watchedKeys]).toEqual([0, 0]);
  });
});

describe('narrowed answers', () => {
  beforeEach(async () => {
    await register({ Node: 'a', NodeMeta: { r: '1' }, Service: service({ Service: 'web', Tags: ['Blue', 'x'] }) });
    await register({ Node: 'b', Address: '192.0.2.2', Service: service({ Service: 'web', Tags: ['green'], Port: 8 }) });
    await register({ Node: 'b', SkipNodeUpdate: true, Check: check({ Node: 'b', CheckID: 'c', Status: 'warning' }) });
  });

  const nodesOf = async (request: object): Promise<string[]> => {
    const { Nodes } = await call('Health.ServiceNodes', { ...dc, ServiceName: 'web', ...request });
    return Nodes.map((row) => row.Node.Node);
  };

  test.each<readonly [object, readonly string[]]>([
    [{}, ['a', 'b']],
    [{ TagFilter: true, ServiceTags: ['blue'] }, ['a']],
    [{ TagFilter: true, ServiceTags: ['blue', 'X'] }, ['a']],
    [{ TagFilter: true, ServiceTags: ['blue', 'green'] }, []],
    [{ TagFilter: false, ServiceTags: [''] }, ['a', 'b']],
    [{ NodeMetaFilters: { r: '1' } }, ['a']],
    [{ NodeMetaFilters: { r: '2' } }, []],
    [{ Filter: 'Service.Port == 8' }, ['b']],
    [{ Filter: 'Checks.Status == warning' }, ['b']],
    [{ Filter: 'Node.Meta.r == `1` or green in Service.Tags' }, ['a', 'b']],
    [{ Connect: true }, []],
    [{ Ingress: true }, []],
  ])('of Health.ServiceNodes %j', async (request, expected) => {
    expect(await nodesOf(request)).toEqual(expected);
  });

  test('are the same list for the same state', async () => {
    const request = { ...dc, ServiceName: 'web', TagFilter: true, ServiceTags: ['blue'] };
    const first = (await call('Health.ServiceNodes', request)).Nodes;
    await put('k', '1');
    expect((await call('Health.ServiceNodes', request)).Nodes).toBe(first);
    await register({ Node: 'a', NodeMeta: { r: '3' } });
    expect((await call('Health.ServiceNodes', request)).Nodes).not.toBe(first);
  });

  test('of every other list', async () => {
    const meta = { ...dc, NodeMetaFilters: { r: '1' } };
    expect((await call('Catalog.ListNodes', meta)).Nodes.map((node) => node.Node)).toEqual(['a']);
    expect((await call('Catalog.ListServices', meta)).Services).toEqual({ web: ['Blue', 'x'] });
    expect((await call('Catalog.ServiceNodes', { ...meta, ServiceName: 'web' })).ServiceNodes.length).toBe(1);
    expect(
      (await call('Catalog.ServiceNodes', { ...dc, ServiceName: '', ServiceAddress: '192.0.2.2' })).ServiceNodes,
    ).toMatchObject([{ Node: 'b' }]);
    expect((await call('Health.ChecksInState', { ...meta, State: 'any' })).HealthChecks).toEqual([]);
    expect((await call('Health.NodeChecks', { ...dc, Node: 'b', Filter: 'Status == passing' })).HealthChecks).toEqual(
      [],
    );
    expect((await call('Internal.NodeDump', meta)).Dump.map((node) => node.Node)).toEqual(['a']);
    expect((await call('Internal.NodeInfo', { ...dc, Node: 'B' })).Dump).toMatchObject([
      { Checks: [{ CheckID: 'c' }] },
    ]);
    const filtered = { ...dc, Node: 'b', Filter: 'Port == 9' };
    expect((await call('Catalog.NodeServices', filtered)).NodeServices).toMatchObject({
      Node: { Node: 'b' },
      Services: {},
    });
    expect((await call('Catalog.NodeServiceList', filtered)).NodeServices.Services).toEqual([]);
  });

  test('of an unknown node are nothing, at index 1', async () => {
    expect(await call('Catalog.NodeServices', { ...dc, Node: 'zz' })).toMatchObject({ Index: 1, NodeServices: null });
    expect((await call('Catalog.NodeServiceList', { ...dc, Node: 'zz' })).NodeServices).toEqual({
      Node: null,
      Services: null,
    });
  });

  test('are sorted by distance where coordinates are known', async () => {
    const Source = { Datacenter: 'dc1', Node: 'self' };
    expect(await nodesOf({ Source })).toEqual(['a', 'b']);
    await register({ Node: '0', Service: service({ Service: 'web' }) });
    for (const [Node, seconds] of [
      ['self', 0],
      ['a', 0.2],
      ['b', 0.1],
    ] as const) {
      const Coord = { ...unmeasuredCoordinate, Vec: [seconds, 0, 0, 0, 0, 0, 0, 0] };
      await call('Coordinate.Update', { ...dc, Node, Coord });
    }
    expect(await nodesOf({ Source })).toEqual(['0', 'a', 'b']);
    await clock.advance(5000);
    expect(await nodesOf({ Source })).toEqual(['b', 'a', '0']);
    expect(await nodesOf({ Source: { Datacenter: 'dc1', Node: 'unknown' } })).toEqual(['0', 'a', 'b']);
    expect(await nodesOf({ Source: { Datacenter: 'dc2', Node: 'self' } })).toEqual(['0', 'a', 'b']);
  });
});

test('registering fills in ids, owner and kind of check', async () => {
  await register({
    Node: 'N',
    Service: { Service: 'web' } as never,
    Check: { Name: 'named', ServiceID: 'web', Definition: { TCP: 'x:1' } } as never,
    Checks: [{ CheckID: 'first', Name: 'n', Definition: { HTTP: 'http://x', TCP: 'x:1' } } as never],
  });
  const { HealthChecks } = await call('Health.NodeChecks', { ...dc, Node: 'N' });
  expect(HealthChecks).toMatchObject([
    { CheckID: 'first', Node: 'N', Type: 'http', Status: 'critical', ServiceID: '' },
    { CheckID: 'named', Node: 'N', Type: 'tcp', ServiceName: 'web' },
  ]);
  expect((await call('Catalog.ServiceNodes', { ...dc, ServiceName: 'web' })).ServiceNodes).toMatchObject([
    { ServiceID: 'web', ServiceTags: [], ServiceMeta: {}, ServiceWeights: { Passing: 1, Warning: 1 } },
  ]);
});

test.each<readonly [KVSRequest['Op'], number, boolean]>([
  ['set', 0, false],
  ['cas', 0, true],
  ['cas', 9, false],
  ['delete', 0, false],
  ['delete-cas', 9, true],
  ['delete-tree', 0, false],
])('KVS.Apply %s with index %i replies %s', async (Op, ModifyIndex, reply) => {
  expect(await call('KVS.Apply', { ...dc, Op, DirEnt: { Key: 'k', Value: null, ModifyIndex } })).toBe(reply);
});

test('deletions are forgotten a quarter of an hour later', async () => {
  const { pendingTimers } = clock;
  await put('p/1', '1');
  await put('p/2', '1');
  await call('KVS.Apply', { ...dc, Op: 'delete', DirEnt: { Key: 'p/2' } });
  const deletedAt = store.lastIndex;
  await clock.advance(tombstoneTtlMs - 1);
  expect((await call('KVS.List', { ...dc, Key: 'p/' })).Index).toBe(deletedAt);
  await clock.advance(tombstoneGranularityMs);
  expect(store.tombstones()).toEqual([]);
  expect(store.lastIndex).toBe(deletedAt + 1);
  expect(clock.pendingTimers).toBe(pendingTimers);
});

test('calls and commands are measured', async () => {
  await put('k', '1');
  await call('Health.ServiceNodes', { ...dc, ServiceName: 'web', TagFilter: true, ServiceTags: ['x'] });
  await call('Catalog.ServiceNodes', { ...dc, ServiceName: 'web' });
  expect(Object.fromEntries(counted)).toMatchObject({
    'rpc.query': 2,
    'kvs.apply': 1,
    'raft.apply': 3,
    'fsm.kvs.set': 1,
    'fsm.register': 1,
    'health.service.query': 1,
    'health.service.query-tags': 1,
    'catalog.service.query': 1,
  });
});
