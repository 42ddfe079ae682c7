// Executing prepared queries: who is in the result, in which order, and where else is asked.
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  CallError,
  type Coordinate,
  namePrefixMatch,
  type PreparedQuery,
  type PreparedQueryExecuteReply,
  type PreparedQueryExecuteRequest,
  unmeasuredCoordinate,
} from '../../../src/model/index.ts';
import { sortNear } from '../../../src/server/near.ts';
import { failOver } from '../../../src/server/query-failover.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { check, service } from '../state/helpers.ts';
import { type Single, singleServer } from './single.ts';

const session = '00000000-0000-4000-8000-000000000001';
const Agent = { Datacenter: 'dc1', Node: 'self' };

let single: Single;

type Given = Partial<Omit<PreparedQuery, 'Service' | 'Template'>> & {
  readonly Service?: Partial<PreparedQuery['Service']>;
  readonly Template?: Partial<PreparedQuery['Template']>;
};

function query(given: Given = {}): PreparedQuery {
  return {
    ID: '',
    Name: 'q',
    Session: '',
    Token: '',
    DNS: { TTL: '' },
    CreateIndex: 0,
    ModifyIndex: 0,
    ...given,
    Template: { Type: '', Regexp: '', RemoveEmptyTags: false, ...given.Template },
    Service: {
      Service: 'web',
      Failover: { NearestN: 0, Datacenters: null },
      OnlyPassing: false,
      IgnoreCheckIDs: null,
      Near: '',
      Tags: null,
      NodeMeta: null,
      ServiceMeta: null,
      Connect: false,
      ...given.Service,
    },
  };
}

const create = (given: Given = {}): Promise<string> =>
  single.call('PreparedQuery.Apply', { Op: 'create', Query: query(given) });

async function execute(request: Partial<PreparedQueryExecuteRequest> = {}): Promise<readonly string[]> {
  const reply = await single.call('PreparedQuery.Execute', { QueryIDOrName: 'q', Agent, ...request });
  return reply.Nodes.map(({ Node }) => Node.Node);
}

async function place(seconds: Readonly<Record<string, number>>): Promise<void> {
  for (const [Node, x] of Object.entries(seconds)) {
    const Coord: Coordinate = { ...unmeasuredCoordinate, Vec: [x, 0, 0, 0, 0, 0, 0, 0] };
    await single.call('Coordinate.Update', { Node, Coord });
  }
  await single.clock.advance(5000);
}

beforeEach(async () => {
  single = singleServer();
  await single.server.start();
  const states = { a: 'passing', b: 'warning', c: 'critical', d: 'passing' };
  for (const [i, [Node, Status]] of Object.entries(states).entries()) {
    await single.call('Catalog.Register', {
      Node,
      Address: `192.0.2.${i + 1}`,
      NodeMeta: { even: String(i % 2 === 0) },
      Service: service({ Service: 'web', Tags: i % 2 === 0 ? ['Even', 'all'] : ['all'], Meta: { n: Node } }),
      Check: check({ Node, CheckID: 'c', Status, ServiceID: 'web' }),
    });
  }
});

describe('the result has', () => {
  test.each<readonly [string, Partial<PreparedQuery['Service']>, readonly string[]]>([
    ['no critical instances', {}, ['a', 'b', 'd']],
    ['passing instances only', { OnlyPassing: true }, ['a', 'd']],
    ['those whose bad check does not count', { IgnoreCheckIDs: ['c'], OnlyPassing: true }, ['a', 'b', 'c', 'd']],
    ['those with a tag, in any letter case', { Tags: ['even'] }, ['a']],
    ['those without a tag', { Tags: ['ALL', '!EVEN'] }, ['b', 'd']],
    ['those on nodes with metadata', { NodeMeta: { even: 'false' } }, ['b', 'd']],
    ['those with metadata', { ServiceMeta: { n: 'd' } }, ['d']],
    ['nobody of an unknown service', { Service: 'nope' }, []],
    ['nobody who speaks Connect', { Connect: true }, []],
  ])('%s', async (_, Service, expected) => {
    await create({ Service });
    expect((await execute()).toSorted()).toEqual(expected);
  });

  test('all that is asked for, in a random order', async () => {
    await create();
    const orders = new Set<string>();
    for (let i = 0; i < 60; i++) orders.add((await execute()).join(''));
    expect(orders.size).toBe(6);
    expect(await execute({ Limit: 2 })).toHaveLength(2);
    expect(await execute({ Limit: -1 })).toHaveLength(3);
    expect(await execute({ Connect: true })).toEqual([]);
  });
});

describe('near', () => {
  beforeEach(() => place({ self: 0.31, a: 0.1, b: 0.2, d: 0.3 }));

  test.each<readonly [string, string, Partial<PreparedQueryExecuteRequest>, string]>([
    ['a node of the query', 'a', {}, 'abd'],
    ['a node of the request, which wins', 'a', { Source: { Datacenter: 'dc1', Node: 'd' } }, 'dba'],
    ['the agent asked', '_agent', {}, 'dba'],
    ['the client’s address', '_ip', { Source: { Datacenter: '', Node: '', Ip: '192.0.2.4' } }, 'dba'],
  ])('%s', async (_, Near, request, expected) => {
    await create({ Service: { Near } });
    for (let i = 0; i < 10; i++) expect((await execute(request)).join('')).toBe(expected);
  });

  test.each([
    ['an address nobody has', { Source: { Datacenter: '', Node: '', Ip: '192.0.2.99' } }],
    ['another datacenter', { Source: { Datacenter: 'dc2', Node: 'a' } }],
  ])('%s leaves the order to chance', async (_, request) => {
    await create({ Service: { Near: '_ip' } });
    const firsts = new Set<string | undefined>();
    for (let i = 0; i < 60; i++) firsts.add((await execute(request))[0]);
    expect(firsts.size).toBe(3);
  });

  test('the node itself comes first among equals', async () => {
    await place({ a: 0.2, b: 0.2, d: 0.2 });
    await create({ Service: { Near: 'b' } });
    for (let i = 0; i < 20; i++) expect((await execute())[0]).toBe('b');
  });
});

test('sorted lists are nearest first, unknown places last, equals as they were', () => {
  const row = fc.record({ node: fc.constantFrom('a', 'b', 'c', 'd'), id: fc.nat() });
  const places = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(3));
  fc.assert(
    fc.property(fc.array(row), places, (rows, known) => {
      const distances = () => (node: string) => known[node];
      const sorted = sortNear(rows, ({ node }) => node, { Datacenter: 'dc1', Node: 'x' }, 'dc1', distances);
      const rank = ({ node }: { readonly node: string }): number => known[node] ?? 4;
      const expected = [0, 1, 2, 3, 4].flatMap((wanted) => rows.filter((each) => rank(each) === wanted));
      expect(sorted).toEqual(expected);
    }),
  );
});

describe('PreparedQuery.Apply refuses', () => {
  test.each<readonly [Given, string]>([
    [{ Name: '' }, 'Must be bound to a session'],
    [
      { Token: '<hidden>' },
      "Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted",
    ],
    [{ Service: { Service: '' } }, 'Must provide a Service name to query'],
    [
      { Service: { NodeMeta: { 'a b': 'c' } } },
      "Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
    ],
    [{ Service: { Failover: { NearestN: -1, Datacenters: null } } }, "Bad NearestN '-1', must be >= 0"],
    [{ DNS: { TTL: 'abc' } }, `Bad DNS TTL 'abc': time: invalid duration "abc"`],
    [{ DNS: { TTL: '-10s' } }, "DNS TTL '-10000000000', must be >=0"],
  ])('%j', async (given, problem) => {
    await expect(create(given)).rejects.toThrow(new CallError(`Invalid prepared query: ${problem}`));
  });

  test('ids of its own choice for new queries, and unknown ones for old', async () => {
    await expect(create({ ID: session })).rejects.toThrow('ID must be empty when creating a new prepared query');
    for (const Op of ['update', 'delete'] as const) {
      await expect(single.call('PreparedQuery.Apply', { Op, Query: query({ ID: session }) })).rejects.toThrow(
        `Cannot modify non-existent prepared query: '${session}'`,
      );
      await expect(single.call('PreparedQuery.Apply', { Op, Query: query({ ID: 'x' }) })).rejects.toThrow(
        'Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters',
      );
    }
  });
});

test('a template is executed and explained by its name', async () => {
  await create({
    Name: 'tpl-',
    Template: { Type: namePrefixMatch },
    Service: { Service: '${name.suffix}' },
    DNS: { TTL: '9s' },
  });
  const request = { QueryIDOrName: 'tpl-web', Agent };
  expect(await single.call('PreparedQuery.Execute', request)).toMatchObject({
    Service: 'web',
    DNS: { TTL: '9s' },
    Datacenter: 'dc1',
    Failovers: 0,
  });
  expect((await single.call('PreparedQuery.Explain', request)).Query.Service.Service).toBe('web');
  await expect(single.call('PreparedQuery.Execute', { ...request, QueryIDOrName: 'no' })).rejects.toThrow(
    'Query not found',
  );
});

describe('failing over', () => {
  const empty: PreparedQueryExecuteReply = {
    Service: 'web',
    Nodes: [],
    DNS: { TTL: '' },
    Datacenter: 'dc1',
    Failovers: 0,
    Index: 0,
    LastContact: 0,
    KnownLeader: true,
  };
  const request: PreparedQueryExecuteRequest = { Datacenter: 'dc1', QueryIDOrName: 'q', Agent, Limit: 3 };

  test.each<readonly [number, readonly string[] | null, readonly string[], string]>([
    [0, null, [], 'dc1'],
    [2, null, ['near', 'mid'], 'mid'],
    [0, ['far', 'unknown', 'near'], ['far', 'near'], 'near'],
    [1, ['far', 'near', 'has'], ['near', 'far', 'has'], 'has'],
    [4, null, ['near', 'mid', 'far', 'has'], 'has'],
    [0, ['broken', 'has'], ['broken', 'has'], 'has'],
  ])('to the nearest %i and %j asks %j', async (NearestN, Datacenters, expected, answering) => {
    const asked: string[] = [];
    const reply = await failOver(query({ Service: { Failover: { NearestN, Datacenters } } }), empty, request, {
      logger: silentLogger,
      byDistance: () => ['near', 'mid', 'far', 'has', 'broken'],
      executeRemote: ({ Datacenter, Query, Limit }) => {
        asked.push(Datacenter);
        expect([Query.Service.Service, Limit]).toEqual(['web', 3]);
        if (Datacenter === 'broken') return Promise.reject(new CallError('No path to datacenter'));
        const Nodes = Datacenter === 'has' ? [{} as never] : [];
        return Promise.resolve({ ...empty, Datacenter, Nodes });
      },
    });
    expect(asked).toEqual(expected);
    expect(reply).toMatchObject({ Failovers: expected.length, Datacenter: answering });
  });
});

describe('Coordinate.Update', () => {
  test('writes the last report of each node after a while, and at most so many', async () => {
    const before = single.store.lastIndex;
    await place({ a: 1 });
    expect(single.store.lastIndex).toBe(before + 1);
    for (const x of [2, 3]) {
      await single.call('Coordinate.Update', { Node: 'a', Coord: { ...unmeasuredCoordinate, Height: x } });
    }
    await place(Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`n${i}`, i])));
    expect(single.store.coordinates.get('a')?.Height).toBe(3);
    expect(single.store.lastIndex).toBe(before + 1 + 5);
  });

  test.each([
    [null, 'invalid coordinate'],
    [{ ...unmeasuredCoordinate, Height: Number.NaN }, 'invalid coordinate'],
    [{ ...unmeasuredCoordinate, Vec: [1] }, 'incompatible coordinate'],
  ])('refuses %j', async (Coord, problem) => {
    await expect(single.call('Coordinate.Update', { Node: 'a', Coord })).rejects.toThrow(new CallError(problem));
  });

  test('is forgotten where coordinates are disabled', async () => {
    single = singleServer({ disableCoordinates: true });
    await single.server.start();
    await place({ self: 1 });
    expect(single.store.coordinates.list().result).toEqual([]);
  });
});
