// The HTTP door of a client agent: a real one and ours before the same real servers give the same answers, refusals
// included, whose texts have come through a server.
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { agentAcl } from '../../src/agent/acl.ts';
import { AgentCache } from '../../src/agent/agent-cache.ts';
import { AgentTokens } from '../../src/agent/tokens.ts';
import { type AgentDoor, createHttpServer, httpOptionDefaults, type HttpServer } from '../../src/http/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { createRemoteResolver, type RouterOptions } from '../../src/server/index.ts';
import { silentLogger } from '../helpers/logger.ts';
import { realRouter, type RoutedWorld } from '../helpers/router.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { RealCluster, type RealMember } from './support/real-cluster.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const metrics = { count: () => undefined, gauge: () => undefined, sample: () => undefined };
const nodeName = 'client-1';
const acl = { enabled: true, default_policy: 'deny', tokens: { master: 'aaaaaaaa-0000-4000-8000-000000000001' } };
const root = acl.tokens.master;

interface Door {
  readonly url: string;
  readonly world: RoutedWorld;
  close(): Promise<void>;
}

/** Our HTTP server over a router to the servers of a cluster. */
async function openDoor(
  cluster: RealCluster,
  options: { readonly acl?: boolean; readonly limits?: RouterOptions['limits'] } = {},
): Promise<Door> {
  const world = realRouter(options.limits === undefined ? {} : { limits: options.limits });
  for (const { name, server } of cluster.members) if (name.startsWith('server')) world.router.addServer(server);
  const { caller } = world.router;
  const tokens = new AgentTokens({
    configured: { default: '', agent: '', agent_master: '', replication: '' },
    files: undefined,
    logger: silentLogger,
  });
  const resolver = createRemoteResolver({
    caller,
    datacenter: 'dc1',
    clock,
    logger: silentLogger,
    settings: {
      enabled: options.acl === true,
      defaultPolicy: 'deny',
      downPolicy: 'extend-cache',
      tokenTtlMs: 30_000,
      roleTtlMs: 30_000,
      policyTtlMs: 30_000,
    },
  });
  const agent = {
    nodeName,
    datacenter: 'dc1',
    services: () => new Map(),
    checks: () => new Map(),
    onLocalChange: () => () => undefined,
    acl:
      options.acl === true
        ? agentAcl({ enabled: true, defaultAllows: false, nodeName, tokens, server: resolver })
        : undefined,
  } as unknown as AgentDoor;
  const cache = new AgentCache({
    caller,
    clock,
    random,
    metrics,
    limits: () => ({ entryFetchRate: Infinity, entryFetchMaxBurst: 2 }),
    defaultQueryTimeMs: 300_000,
    maxQueryTimeMs: 600_000,
  });
  const http: HttpServer = createHttpServer({
    caller,
    cache,
    agent,
    options: { ...httpOptionDefaults, datacenter: 'dc1' },
    clock,
    random,
    logger: silentLogger,
    metrics,
  });
  const [address = ''] = await http.start([{ kind: 'tcp', host: '127.0.0.1', port: 0 }]);
  const close = async (): Promise<void> => {
    cache.stop();
    await http.stop();
    world.close();
  };
  return { url: `http://${address}`, world, close };
}

interface Request {
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly token?: string;
}

async function ask(door: string, { method = 'GET', path, body, token }: Request) {
  const response = await fetch(door + path, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { 'Accept-Encoding': 'identity', ...(token === undefined ? {} : { 'X-Consul-Token': token }) },
  });
  const headers = Object.fromEntries(
    [...response.headers].filter(([name]) => name.startsWith('x-c') || name === 'content-type'),
  );
  const text = await response.text();
  let content: unknown = text;
  try {
    content = JSON.parse(text);
  } catch {
    // Texts are compared as they are.
  }
  return { status: response.status, headers, content };
}

/** What varies between two equal questions. */
function settled(answer: Awaited<ReturnType<typeof ask>>): unknown {
  const { 'x-consul-lastcontact': _, 'x-cache': __, ...headers } = answer.headers;
  const { content } = answer;
  // Shuffled by the servers, or listed in no order: entries, and the tags under each name.
  for (const list of [content, ...Object.values(content ?? {})]) {
    if (Array.isArray(list)) list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  return { status: answer.status, headers, content };
}

/** What a door answers, and another at the same moment: nothing may have changed while the second was asked. */
async function askBoth(
  door: string,
  other: string,
  request: Request,
): Promise<{ readonly expected: unknown; readonly actual: unknown }> {
  // Only those who read are told an index; a write is made once at each.
  if ((request.method ?? 'GET') !== 'GET') {
    return { expected: settled(await ask(door, request)), actual: settled(await ask(other, request)) };
  }
  return waitUntil(`${request.path} to stay as it is`, async () => {
    const expected = settled(await ask(door, request));
    const actual = settled(await ask(other, request));
    const afterwards = settled(await ask(door, request));
    return isDeepStrictEqual(expected, afterwards) && { expected, actual };
  });
}

describeWith('a client agent without ACLs', { consul: realConsul() }, ({ consul }) => {
  const cluster = new RealCluster(consul, {
    server: 24_110,
    http: 24_111,
    serfLan: 24_112,
    serfWan: 24_113,
    dns: 24_114,
  });
  let real: RealMember;
  let slow: RealMember;
  let ours: Door;
  let oursSlow: Door;

  beforeAll(async () => {
    await cluster.startServers(['127.0.0.104']);
    real = await cluster.startClient(nodeName, '127.0.0.107');
    slow = cluster.start('client-2', '127.0.0.108', { limits: { rpc_rate: 0.000_1, rpc_max_burst: 1 } });
    ours = await openDoor(cluster);
    oursSlow = await openDoor(cluster, { limits: () => ({ rpcRate: 0.000_1, rpcMaxBurst: 1 }) });
    await waitUntil(
      () => `the client to be registered: ${real.program.log.slice(-2000)}`,
      async () => {
        const { content } = await ask(ours.url, { path: `/v1/health/node/${nodeName}` });
        return Array.isArray(content) && content.length > 0;
      },
    );
    await waitUntil('the servers to have been measured', async () => {
      return (await ask(ours.url, { path: '/v1/operator/autopilot/health' })).status === 200;
    });
    for (const request of writes) {
      const { status, content } = await ask(ours.url, { method: 'PUT', ...request });
      expect({ path: request.path, status, content }).toMatchObject({ status: 200 });
    }
  }, 120_000);

  afterAll(async () => {
    await ours.close();
    await oursSlow.close();
    await cluster.close();
  });

  const writes: readonly Request[] = [
    {
      path: '/v1/catalog/register',
      body: {
        Node: 'outside',
        Address: '10.0.0.9',
        NodeMeta: { rack: 'r1' },
        Service: {
          Service: 'web',
          ID: 'web-1',
          Port: 80,
          Tags: ['a', 'b'],
          Meta: { v: '1' },
          Weights: { Passing: 3, Warning: 1 },
          TaggedAddresses: { lan: { Address: '10.0.0.9', Port: 80 } },
        },
        Check: { Name: 'web ok', CheckID: 'c1', Status: 'passing', ServiceID: 'web-1', Output: 'fine' },
      },
    },
    { path: '/v1/catalog/register', body: { Node: 'plain', Address: '10.0.0.10', Service: { Service: 'bare' } } },
    { path: '/v1/kv/a/one?flags=18446744073709551615', body: 'value' },
    { path: '/v1/kv/a/two', body: '' },
    { path: '/v1/kv/b%20c', body: 'spaced' },
    { path: '/v1/config', body: { Kind: 'service-defaults', Name: 'web', Protocol: 'http' } },
    {
      path: '/v1/config',
      body: { Kind: 'service-splitter', Name: 'web', Splits: [{ Weight: 50 }, { Weight: 50, Service: 'bare2' }] },
    },
    { path: '/v1/config', body: { Kind: 'service-defaults', Name: 'bare2', Protocol: 'http' } },
    { method: 'POST', path: '/v1/query', body: { Name: 'q1', Service: { Service: 'web' } } },
    {
      method: 'POST',
      path: '/v1/connect/intentions',
      body: { SourceName: 'a', DestinationName: 'web', Action: 'deny' },
    },
  ].toSorted((a, b) => Number(a.path.includes('config')) - Number(b.path.includes('config')) || splitterLast(a, b));

  function splitterLast(a: { body?: unknown }, b: { body?: unknown }): number {
    const rank = ({ body }: { body?: unknown }): number => Number(JSON.stringify(body).includes('splitter'));
    return rank(a) - rank(b);
  }

  const nobody = '00000000-0000-4000-8000-00000000dead';
  const questions: readonly Request[] = [
    { path: '/v1/status/leader' },
    { path: '/v1/status/peers' },
    { path: '/v1/catalog/datacenters' },
    { path: '/v1/catalog/nodes' },
    { path: '/v1/catalog/nodes?stale' },
    { path: '/v1/catalog/nodes?consistent' },
    { path: '/v1/catalog/nodes?node-meta=rack:r1' },
    { path: '/v1/catalog/nodes?filter=Meta.rack==r1' },
    { path: '/v1/catalog/nodes?filter=nonsense' },
    { path: '/v1/catalog/nodes?dc=nowhere' },
    { path: '/v1/catalog/services' },
    { path: '/v1/catalog/service/web' },
    { path: '/v1/catalog/service/web?tag=a&tag=b' },
    { path: '/v1/catalog/service/bare' },
    { path: '/v1/catalog/service/nothing' },
    { path: '/v1/catalog/service/consul' },
    { path: '/v1/catalog/node/outside' },
    { path: '/v1/catalog/node/nothing' },
    { path: '/v1/catalog/node-services/plain' },
    { path: '/v1/catalog/node-services/nothing' },
    { path: '/v1/catalog/connect/web' },
    { path: '/v1/health/node/outside' },
    { path: `/v1/health/node/${nodeName}` },
    { path: '/v1/health/checks/web' },
    { path: '/v1/health/state/any' },
    { path: '/v1/health/state/strange' },
    { path: '/v1/health/service/web' },
    { path: '/v1/health/service/web?passing&near=_agent' },
    { path: '/v1/health/service/bare?passing' },
    { path: '/v1/health/service/web?cached' },
    { path: '/v1/health/service/nothing?dc=nowhere' },
    { path: '/v1/kv/a/one' },
    { path: '/v1/kv/a/one?raw' },
    { path: '/v1/kv/a/two' },
    { path: '/v1/kv/a?recurse' },
    { path: '/v1/kv/?keys' },
    { path: '/v1/kv/b%20c' },
    { path: '/v1/kv/missing' },
    { path: '/v1/kv/a/one?dc=nowhere' },
    { method: 'PUT', path: '/v1/kv/a/one?acquire=nonsense', body: 'x' },
    { method: 'PUT', path: `/v1/kv/a/one?acquire=${nobody}`, body: 'x' },
    { path: '/v1/session/list' },
    { path: `/v1/session/info/${nobody}` },
    { path: '/v1/session/node/outside' },
    { method: 'PUT', path: `/v1/session/renew/${nobody}` },
    { method: 'PUT', path: '/v1/session/create', body: { Node: 'nowhere' } },
    { method: 'PUT', path: '/v1/session/create', body: { TTL: '1s' } },
    { path: '/v1/query' },
    { path: '/v1/query/q1/execute' },
    { path: '/v1/query/q1/explain' },
    { path: '/v1/query/nothing/execute' },
    { path: '/v1/query/nothing/explain' },
    { path: `/v1/query/${nobody}` },
    { path: '/v1/query/nonsense' },
    { method: 'POST', path: '/v1/query', body: { Name: 'q1', Service: { Service: 'web' } } },
    { method: 'POST', path: '/v1/query', body: { Name: 'q2' } },
    { method: 'DELETE', path: `/v1/query/${nobody}` },
    { path: '/v1/coordinate/datacenters' },
    { path: '/v1/coordinate/nodes' },
    { path: '/v1/coordinate/node/nothing' },
    { path: '/v1/operator/raft/configuration' },
    { path: '/v1/operator/autopilot/configuration' },
    { path: '/v1/operator/autopilot/health' },
    { method: 'DELETE', path: '/v1/operator/raft/peer?address=10.0.0.1:1' },
    { method: 'DELETE', path: `/v1/operator/raft/peer?id=${nobody}` },
    { path: '/v1/operator/keyring' },
    { method: 'POST', path: '/v1/operator/keyring', body: { Key: 'pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=' } },
    { path: '/v1/connect/ca/roots' },
    { path: '/v1/connect/ca/configuration' },
    { path: '/v1/connect/intentions' },
    { path: `/v1/connect/intentions/${nobody}` },
    { path: '/v1/connect/intentions/nonsense' },
    { path: '/v1/connect/intentions/match?by=destination&name=web' },
    { path: '/v1/connect/intentions/check?source=a&destination=web' },
    {
      method: 'POST',
      path: '/v1/connect/intentions',
      body: { SourceName: 'a', DestinationName: 'web', Action: 'deny' },
    },
    {
      method: 'POST',
      path: '/v1/connect/intentions',
      body: { SourceName: 'a', DestinationName: 'z', Action: 'maybe' },
    },
    { path: '/v1/config/service-defaults' },
    { path: '/v1/config/service-defaults/web' },
    { path: '/v1/config/service-defaults/nothing' },
    { path: '/v1/config/service-splitter/web' },
    { path: '/v1/config/nonsense' },
    { method: 'PUT', path: '/v1/config', body: { Kind: 'service-splitter', Name: 'bare', Splits: [{ Weight: 100 }] } },
    { path: '/v1/discovery-chain/web' },
    { path: '/v1/internal/ui/nodes' },
    { path: '/v1/internal/ui/node/outside' },
    { path: '/v1/internal/ui/node/nothing' },
    { path: '/v1/internal/ui/services' },
    { path: '/v1/internal/federation-states' },
    { path: '/v1/internal/federation-state/nowhere' },
    { path: '/v1/acl/tokens' },
    { path: '/v1/acl/policies' },
    { method: 'PUT', path: '/v1/acl/bootstrap' },
    { method: 'PUT', path: '/v1/txn', body: [{ KV: { Verb: 'get', Key: 'a/one' } }] },
    { method: 'PUT', path: '/v1/txn', body: [{ KV: { Verb: 'get', Key: 'missing' } }] },
    { method: 'PUT', path: '/v1/txn', body: [{ KV: { Verb: 'check-index', Key: 'a/one', Index: 1 } }] },
    { method: 'PUT', path: '/v1/txn', body: [{ Node: { Verb: 'get', Node: { Node: 'outside' } } }] },
    { method: 'PUT', path: '/v1/catalog/register', body: { Node: 'x' } },
    { method: 'PUT', path: '/v1/catalog/register', body: { Node: 'x', ID: 'short', Address: '10.0.0.1' } },
    {
      method: 'PUT',
      path: '/v1/catalog/register',
      body: { Node: 'plain', Address: '10.0.0.10', Check: { Name: 'c', ServiceID: 'nothing' } },
    },
    { method: 'PUT', path: '/v1/catalog/deregister', body: {} },
  ];

  test.each(questions.map((request) => ({ method: 'GET', ...request })))('$method $path', async (request) => {
    const { expected, actual } = await askBoth(real.http, ours.url, request);
    expect(actual).toEqual(expected);
  });

  test('a call over the limit is refused in the same way', async () => {
    await waitUntil('the only call to be used up', async () => {
      await ask(oursSlow.url, { path: '/v1/kv/x' });
      return (await ask(slow.http, { path: '/v1/kv/x' }).catch(() => ({ status: 0 }))).status !== 0;
    });
    for (const path of ['/v1/kv/x', '/v1/catalog/nodes', '/v1/health/service/web']) {
      await waitUntil('the limit', async () => (await ask(slow.http, { path })).status === 429);
      const expected = settled(await ask(slow.http, { path }));
      expect(settled(await ask(oursSlow.url, { path }))).toEqual(expected);
      expect(expected).toMatchObject({ status: 429 });
    }
  });

  test('the cache answers while the server is gone, says how old that is, and is fresh again afterwards', async () => {
    const path = '/v1/health/service/cached?cached';
    const register = (Port: number): Promise<unknown> =>
      ask(ours.url, {
        method: 'PUT',
        path: '/v1/catalog/register',
        body: { Node: 'outside', Address: '10.0.0.9', Service: { Service: 'cached', Port } },
      });
    const cached = async (door: string) => {
      const response = await fetch(door + path);
      const entries = (await response.json()) as readonly { readonly Service: { readonly Port: number } }[];
      return {
        status: response.status,
        cache: response.headers.get('x-cache'),
        age: Number(response.headers.get('age')),
        port: entries[0]?.Service.Port,
      };
    };
    const doors = [real.http, ours.url];
    await register(1);
    for (const door of doors) {
      expect(await cached(door)).toEqual({ status: 200, cache: 'MISS', age: 0, port: 1 });
      expect(await cached(door)).toEqual({ status: 200, cache: 'HIT', age: 0, port: 1 });
    }
    await register(2);
    for (const door of doors) {
      await waitUntil('the write to show', async () => (await cached(door)).port === 2);
      expect(await cached(door)).toEqual({ status: 200, cache: 'HIT', age: 0, port: 2 });
    }
    const server = cluster.members[0]!;
    await server.program.kill();
    for (const door of doors) {
      await waitUntil('the age to show', async () => (await cached(door)).age >= 1);
      expect(await cached(door)).toMatchObject({ status: 200, cache: 'HIT', port: 2 });
    }
    cluster.restart(server);
    await waitUntil('a leader', async () => (await register(3).catch(() => null)) !== null);
    await cluster.ready(server);
    await register(3);
    for (const door of doors) {
      await waitUntil('the new value', async () => (await cached(door)).port === 3, 90_000);
      expect(await cached(door)).toMatchObject({ status: 200, cache: 'HIT', age: 0 });
    }
  }, 150_000);
});

describeWith('a client agent with ACLs', { consul: realConsul() }, ({ consul }) => {
  const cluster = new RealCluster(
    consul,
    { server: 24_120, http: 24_121, serfLan: 24_122, serfWan: 24_123, dns: 24_124 },
    { acl },
  );
  const secrets = { reader: '', roleHolder: '', identity: '' };
  let real: RealMember;
  let ours: Door;

  beforeAll(async () => {
    await cluster.startServers(['127.0.0.109']);
    real = cluster.start(nodeName, '127.0.0.110', { acl: { ...acl, tokens: { agent: root } } });
    ours = await openDoor(cluster, { acl: true });
    const write = async (path: string, body: unknown): Promise<Record<string, string>> => {
      return await waitUntil(
        () => `${path}: ${cluster.members[0]!.program.log.slice(-1000)}`,
        async () => {
          const { status, content } = await ask(ours.url, { method: 'PUT', path, body, token: root });
          return status === 200 ? (content as Record<string, string>) : undefined;
        },
      );
    };
    await write('/v1/acl/policy', {
      Name: 'read-web',
      Rules: 'service "web" { policy = "read" } key_prefix "a" { policy = "write" }',
    });
    await write('/v1/acl/policy', {
      Name: 'agent-read',
      Rules: 'agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    });
    await write('/v1/acl/role', { Name: 'agents', Policies: [{ Name: 'agent-read' }] });
    secrets.reader = (await write('/v1/acl/token', { Policies: [{ Name: 'read-web' }] }))['SecretID']!;
    secrets.roleHolder = (await write('/v1/acl/token', { Roles: [{ Name: 'agents' }] }))['SecretID']!;
    secrets.identity = (await write('/v1/acl/token', { ServiceIdentities: [{ ServiceName: 'web' }] }))['SecretID']!;
    await write('/v1/catalog/register', {
      Node: 'outside',
      Address: '10.0.0.9',
      Service: { Service: 'web', Port: 80 },
    });
    await waitUntil(
      () => `the real client to know tokens: ${real.program.log.slice(-2000)}`,
      async () =>
        (await ask(real.http, { path: '/v1/agent/self', token: root }).catch(() => ({ status: 0 }))).status === 200,
      60_000,
    );
    // It remembers for 30 s that the anonymous token was not there yet.
    await waitUntil(
      'the real client to know the anonymous token',
      async () => {
        return (await ask(real.http, { path: '/v1/agent/services' })).status === 200;
      },
      60_000,
    );
  }, 120_000);

  afterAll(async () => {
    await ours.close();
    await cluster.close();
  });

  const questions: readonly Request[] = [
    { path: '/v1/catalog/services' },
    { path: '/v1/catalog/nodes' },
    { path: '/v1/health/service/web' },
    { path: '/v1/kv/a/x' },
    { path: '/v1/kv/b' },
    { path: '/v1/kv/?keys' },
    { method: 'PUT', path: '/v1/kv/b', body: 'x' },
    { method: 'DELETE', path: '/v1/kv/a/x' },
    { path: '/v1/acl/tokens' },
    { path: '/v1/acl/token/self' },
    { path: '/v1/acl/policies' },
    { method: 'PUT', path: '/v1/acl/bootstrap' },
    { path: '/v1/acl/token/00000000-0000-4000-8000-00000000dead' },
    { path: '/v1/acl/policy/00000000-0000-4000-8000-00000000dead' },
    { path: '/v1/acl/policy/name/nothing' },
    { path: '/v1/acl/role/name/nothing' },
    { method: 'PUT', path: '/v1/acl/policy', body: { Name: 'bad name!' } },
    { method: 'PUT', path: '/v1/acl/token', body: { Policies: [{ Name: 'nothing' }] } },
    { method: 'PUT', path: '/v1/catalog/register', body: { Node: 'y', Address: '10.0.0.7' } },
    { method: 'PUT', path: '/v1/catalog/deregister', body: { Node: 'y' } },
    { path: '/v1/operator/raft/configuration' },
    { path: '/v1/agent/metrics?format=nothing' },
    { path: '/v1/connect/intentions' },
    { path: '/v1/session/list' },
    { method: 'PUT', path: '/v1/session/create', body: { Node: 'outside', Checks: [] } },
    { path: '/v1/agent/services' },
    { path: '/v1/agent/checks' },
    { method: 'POST', path: '/v1/acl/rules/translate', body: 'key "" { policy = "read" }' },
    {
      method: 'POST',
      path: '/v1/internal/acl/authorize',
      body: [{ Resource: 'nonsense', Segment: 'a', Access: 'write' }],
    },
    {
      method: 'POST',
      path: '/v1/internal/acl/authorize',
      body: [
        { Resource: 'key', Segment: 'a', Access: 'write' },
        { Resource: 'agent', Segment: 'x', Access: 'read' },
      ],
    },
  ];
  const holders = ['nobody', 'anonymous', 'reader', 'roleHolder', 'identity', 'root'] as const;
  const cases = holders.flatMap((holder) => questions.map((request) => ({ holder, method: 'GET', ...request })));

  test.each(cases)('$holder: $method $path', async ({ holder, ...request }) => {
    const token = {
      nobody: '00000000-0000-4000-8000-00000000dead',
      anonymous: undefined,
      root,
      ...secrets,
    }[holder];
    if (holder === 'root' && request.method !== 'GET') return;
    const asked = { ...request, ...(token === undefined ? {} : { token }) };
    // What differs is the agents' own state, not the right to see it.
    if (request.path.includes('metrics')) {
      const [expected, actual] = [await ask(real.http, asked), await ask(ours.url, asked)];
      expect(actual.status === 403).toBe(expected.status === 403);
      return;
    }
    const { expected, actual } = await askBoth(real.http, ours.url, asked);
    expect(actual).toEqual(expected);
  });
});
