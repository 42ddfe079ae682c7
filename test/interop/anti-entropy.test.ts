// Anti-entropy with real servers: what our agent registers is what a real one would, byte for byte in the catalog;
// nothing that is unchanged is written again, by either; what others change is repaired.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAliasSource } from '../../src/agent/alias-source.ts';
import { AntiEntropy, type NodeIdentity } from '../../src/agent/anti-entropy.ts';
import { LocalState } from '../../src/agent/local-state.ts';
import { Registry } from '../../src/agent/registry.ts';
import { createChecks } from '../../src/checks/index.ts';
import { loadConfig } from '../../src/config/index.ts';
import { type AgentDoor, createHttpServer, httpOptionDefaults } from '../../src/http/index.ts';
import type { CallReply, NamedCaller } from '../../src/model/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { SystemProcessRunner } from '../../src/node/process-runner.ts';
import { recordingLogger } from '../helpers/logger.ts';
import { realRouter, type RoutedWorld } from '../helpers/router.ts';
import { uncached } from '../helpers/uncached.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { RealCluster, type RealMember } from './support/real-cluster.ts';

const ports = { server: 24_130, http: 24_131, serfLan: 24_132, serfWan: 24_133, dns: 24_134 };
const clock = new SystemClock();
const random = new SystemRandom();
const metrics = { count: () => undefined, gauge: () => undefined, sample: () => undefined };
/** Longest random wait before a full sync that was asked for, and the sync (ms). */
const fullSyncLimitMs = 10_000;

type Settings = Readonly<Record<string, unknown>>;

/** The part of an agent that registers, over a router. */
function openAgent(world: RoutedWorld, identity: NodeIdentity, settings: Settings, tokens = { user: '', agent: '' }) {
  const calls: string[] = [];
  const caller: NamedCaller = {
    call: (method, request, signal) => {
      calls.push(method);
      return (world.router.caller as NamedCaller).call(method, request, signal);
    },
  };
  const { logger, lines } = recordingLogger();
  const { config } = loadConfig({
    flags: {},
    files: [
      {
        path: 'agent.json',
        text: JSON.stringify({ bind_addr: '127.0.0.1', data_dir: '/x', ...settings }),
        format: 'json',
      },
    ],
    host: { hostname: identity.Node, interfaces: [] },
  });
  const holder: { sync?: AntiEntropy } = {};
  const state = new LocalState({
    clock,
    random,
    options: { checkUpdateIntervalMs: config.checkUpdateIntervalMs, discardCheckOutput: false },
    onDirty: () => holder.sync?.trigger(),
  });
  const checks = createChecks({
    clock,
    random,
    logger,
    metrics,
    processRunner: new SystemProcessRunner({ clock }),
    docker: () => undefined,
    aliasSource: createAliasSource({ state, caller, datacenter: 'dc1', clock }),
    onStatus: (id, status, output) => state.updateCheck(id, status, output),
  });
  const sync = new AntiEntropy({
    state,
    caller,
    node: () => identity,
    clock,
    random,
    logger,
    acl: { user: () => tokens.user, agent: () => tokens.agent, accessorOf: async () => 'some accessor' },
    memberCount: () => 3,
  });
  holder.sync = sync;
  const registry = new Registry({
    state,
    checks,
    antiEntropy: sync,
    persistence: undefined,
    clock,
    logger,
    options: {
      nodeName: identity.Node,
      scripts: { fromApi: true, fromFiles: true },
      sidecarPorts: { min: 21_000, max: 21_255 },
    },
  });
  const door = {
    nodeName: identity.Node,
    datacenter: 'dc1',
    services: () => state.serviceRecords,
    checks: () => state.checkRecords,
    onLocalChange: (callback: () => void) => state.onChange(callback),
    registerService: (definition, options) => registry.registerService(definition, { ...options, origin: 'api' }),
    deregisterService: async (id: string) => void (await registry.deregisterService(id)),
    registerCheck: (definition, options) => registry.registerCheck(definition, { ...options, origin: 'api' }),
    deregisterCheck: async (id: string) => void (await registry.deregisterCheck(id)),
    updateTtlCheck: (id, status, output) => registry.updateTtlCheck(id, status, output),
    setServiceMaintenance: (id, enable, reason, token) => registry.setServiceMaintenance(id, enable, reason, token),
    setNodeMaintenance: (enable, reason, token) => registry.setNodeMaintenance(enable, reason, token),
  } as Partial<AgentDoor> as AgentDoor;
  const http = createHttpServer({
    caller,
    cache: uncached(caller),
    agent: door,
    options: { ...httpOptionDefaults, datacenter: 'dc1' },
    clock,
    random,
    logger,
    metrics,
  });
  return {
    calls,
    lines,
    state,
    sync,
    registry,
    url: '',
    async start(): Promise<void> {
      const [address = ''] = await http.start([{ kind: 'tcp', host: '127.0.0.1', port: 0 }]);
      this.url = `http://${address}`;
      await registry.replaceFileDefinitions(config.services, config.checks);
      sync.start();
    },
    async fullSync(): Promise<void> {
      const before = calls.filter((name) => name === 'Health.NodeChecks').length;
      sync.serversChanged();
      await waitUntil(
        'a full sync',
        () => calls.filter((name) => name === 'Health.NodeChecks').length > before,
        fullSyncLimitMs,
      );
      await sync.syncChanges();
    },
    async close(): Promise<void> {
      sync.stop();
      await registry.stop();
      await http.stop();
    },
  };
}

type OurAgent = ReturnType<typeof openAgent>;

function identityOf(name: string, address: string, id: string): NodeIdentity {
  return {
    ID: id,
    Node: name,
    Address: address,
    Datacenter: 'dc1',
    TaggedAddresses: { lan: address, lan_ipv4: address, wan: address, wan_ipv4: address },
    Meta: { 'consul-network-segment': '' },
  };
}

interface OnServers {
  readonly node: CallReply<'Catalog.NodeServiceList'>['NodeServices']['Node'];
  readonly services: readonly { readonly ID: string; readonly ModifyIndex: number }[];
  readonly checks: readonly { readonly CheckID: string; readonly ModifyIndex: number }[];
}

/** What servers have of a node, without what the leader keeps there. */
async function onServers(world: RoutedWorld, name: string): Promise<OnServers> {
  const request = { Datacenter: 'dc1', Node: name };
  const [{ NodeServices }, { HealthChecks }] = await Promise.all([
    world.router.caller.call('Catalog.NodeServiceList', request),
    world.router.caller.call('Health.NodeChecks', request),
  ]);
  return {
    node: NodeServices.Node,
    services: (NodeServices.Services ?? []).toSorted((a, b) => (a.ID < b.ID ? -1 : 1)),
    // The first output of a check that begins critical is sent at once by ours, which tells why it is.
    checks: HealthChecks.map((check) => (check.Name.endsWith(' Listening') ? { ...check, Output: '' } : check))
      .filter(({ CheckID }) => CheckID !== 'serfHealth')
      .toSorted((a, b) => (a.CheckID < b.CheckID ? -1 : 1)),
  };
}

/** The same for nodes of different names: what is left must be equal, null and empty lists told apart. */
function comparable(record: OnServers, { Node, Address, ID }: Pick<NodeIdentity, 'Node' | 'Address' | 'ID'>): unknown {
  const text = JSON.stringify(record, (key, value: unknown) =>
    key === 'CreateIndex' || key === 'ModifyIndex' ? 0 : value,
  );
  return JSON.parse(text.replaceAll(ID, '<id>').replaceAll(`"${Node}"`, '"<node>"').replaceAll(Address, '<address>'));
}

function indexesOf({ node, services, checks }: OnServers): unknown {
  return {
    node: node?.ModifyIndex,
    services: services.map(({ ID, ModifyIndex }) => [ID, ModifyIndex]),
    checks: checks.map(({ CheckID, ModifyIndex }) => [CheckID, ModifyIndex]),
  };
}

/** Definitions in files, of every form. */
const definitions = {
  services: [
    { name: 'bare' },
    { name: 'tagged', id: 'tagged-1', tags: ['b', 'a'], port: 80, meta: { v: '1' } },
    { name: 'empty', tags: [], meta: {} },
    { name: 'addressed', address: '10.0.0.5', port: 81 },
    { name: 'named-address', address: 'somewhere.example', port: 82 },
    {
      name: 'networks',
      port: 83,
      address: '10.0.0.6',
      tagged_addresses: { wan: { address: '192.0.2.6', port: 8083 } },
      weights: { passing: 5, warning: 2 },
    },
    { name: 'tag-override', enable_tag_override: true, tags: ['own'] },
    { name: 'checked', check: { ttl: '1h', notes: 'why', status: 'passing' } },
    { name: 'checked-twice', tags: ['x'], checks: [{ ttl: '1h' }, { id: 'mine', name: 'my name', ttl: '1h' }] },
    { name: 'with-sidecar', port: 84, connect: { sidecar_service: {} } },
    { name: 'native', port: 85, connect: { native: true } },
    {
      name: 'proxy',
      kind: 'connect-proxy',
      port: 86,
      proxy: {
        destination_service_name: 'bare',
        config: { a: 1, b: { c: 'd' } },
        upstreams: [{ destination_name: 'tagged', local_bind_port: 9_191, config: { x: true } }],
      },
    },
    { name: 'gateway', kind: 'mesh-gateway', port: 87 },
  ],
  checks: [
    { id: 'node-ttl', name: 'of the node', ttl: '1h', notes: 'n' },
    // Of a service: as a check of the node the real one would follow itself.
    { name: 'alias of bare', service_id: 'tagged-1', alias_service: 'bare' },
    { id: 'of-tagged', name: 'late', service_id: 'tagged-1', ttl: '1h' },
    { id: 'refused', name: 'refused', tcp: '127.0.0.1:1', interval: '1s', status: 'passing' },
  ],
};

/** The same through the API. */
const registrations: readonly { readonly path: string; readonly body?: unknown }[] = [
  { path: '/v1/agent/service/register', body: { Name: 'api-bare' } },
  { path: '/v1/agent/service/register', body: { Name: 'api-empty', Tags: [], Meta: {}, TaggedAddresses: {} } },
  { path: '/v1/agent/service/register', body: { Name: 'api-null', Tags: null, Meta: null, TaggedAddresses: null } },
  {
    path: '/v1/agent/service/register',
    body: {
      Name: 'api-full',
      ID: 'api-1',
      Tags: ['z', 'y'],
      Port: 90,
      Address: '2001:db8::1',
      Meta: { k: 'v' },
      Weights: { Passing: 10, Warning: 3 },
      EnableTagOverride: true,
      Check: { TTL: '1h', Status: 'warning' },
    },
  },
  { path: '/v1/agent/check/register', body: { Name: 'api-check', TTL: '1h', Notes: 'a' } },
  { path: '/v1/agent/check/register', body: { ID: 'api-late', Name: 'late', ServiceID: 'api-1', TTL: '1h' } },
  { path: '/v1/agent/check/pass/api-check?note=fine' },
  { path: '/v1/agent/check/fail/service:api-1?note=broken' },
  { path: '/v1/agent/service/maintenance/api-bare?enable=true&reason=why' },
  { path: '/v1/agent/maintenance?enable=true' },
  { path: '/v1/agent/service/register', body: { Name: 'gone', Check: { TTL: '1h' } } },
  { path: '/v1/agent/service/deregister/gone' },
  { path: '/v1/agent/check/deregister/api-check' },
];

describeWith('with real servers', { consul: realConsul() }, ({ consul }) => {
  const cluster = new RealCluster(consul, ports, { disable_coordinates: true });
  const realId = identityOf('real', '127.0.0.114', '10000000-0000-4000-8000-000000000001');
  const ourId = identityOf('ours', '127.0.0.115', '10000000-0000-4000-8000-000000000002');
  let world: RoutedWorld;
  let real: RealMember;
  let ours: OurAgent;
  const agents: OurAgent[] = [];
  const start = async (...args: Parameters<typeof openAgent>): Promise<OurAgent> => {
    const agent = openAgent(...args);
    agents.push(agent);
    await agent.start();
    return agent;
  };

  beforeAll(async () => {
    await cluster.startServers(['127.0.0.111', '127.0.0.112', '127.0.0.113']);
    world = realRouter();
    for (const { server } of cluster.members) world.router.addServer(server);
    real = await cluster.startClient('real', realId.Address, { node_id: realId.ID, ...definitions });
    ours = await start(world, ourId, definitions);
  }, 120_000);

  afterAll(async () => {
    await Promise.all(agents.map((agent) => agent.close()));
    world.close();
    await cluster.close();
  });

  const writes = (agent: OurAgent): readonly string[] => agent.calls.filter((name) => name.endsWith('egister'));
  const both = async (): Promise<readonly [unknown, unknown]> => [
    comparable(await onServers(world, 'real'), realId),
    comparable(await onServers(world, 'ours'), ourId),
  ];
  const expectSame = async (): Promise<void> => {
    await waitUntil(
      'equal registrations',
      async () => {
        const [expected, actual] = await both();
        return JSON.stringify(expected) === JSON.stringify(actual);
      },
      15_000,
    ).catch(() => undefined);
    const [expected, actual] = await both();
    expect(actual).toEqual(expected);
  };

  test('definitions of files are registered as a real agent does', expectSame);

  test('definitions of the API are registered as a real agent does', async () => {
    for (const { path, body } of registrations) {
      for (const url of [real.http, ours.url]) {
        const answer = await fetch(url + path, {
          method: 'PUT',
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        expect([path, answer.status, await answer.text()]).toEqual([path, 200, '']);
      }
    }
    await expectSame();
  });

  test('full syncs write nothing that is unchanged', async () => {
    const listening = 'service:with-sidecar-sidecar-proxy:1';
    await waitUntil('the first result of every check', () => ours.state.checkRecords.get(listening)?.Output !== '');
    await ours.sync.syncChanges();
    const before = indexesOf(await onServers(world, 'ours'));
    const sent = writes(ours).length;
    const lines = ours.lines.length;
    for (let round = 0; round < 3; round++) await ours.fullSync();
    expect(ours.lines.slice(lines).filter((line) => line.includes('Synced'))).toEqual([]);
    expect(writes(ours)).toHaveLength(sent);
    expect(indexesOf(await onServers(world, 'ours'))).toEqual(before);
  });

  test('an agent that starts again on the same registrations writes nothing', async () => {
    const mine = identityOf('again', '127.0.0.116', '10000000-0000-4000-8000-000000000003');
    const first = await start(world, mine, definitions);
    await waitUntil('the registrations', async () => (await onServers(world, 'again')).services.length >= 13);
    await first.fullSync();
    await first.close();
    const second = await start(world, mine, definitions);
    await waitUntil('the first full sync', () => second.calls.includes('Health.NodeChecks'));
    await second.fullSync();
    // Checks begin anew, services and the node do not.
    const again = second.lines.filter((line) => /^INFO Synced (?:service|node)/.test(line));
    expect(again).toEqual([]);
    await second.close();
  });

  test('a real agent that takes the place of ours finds everything in sync', async () => {
    const mine = identityOf('successor', '127.0.0.117', '10000000-0000-4000-8000-000000000004');
    const { checks: _, ...services } = definitions;
    const agent = await start(world, mine, services);
    await waitUntil('the registrations', async () => (await onServers(world, 'successor')).services.length >= 13);
    await agent.fullSync();
    await agent.close();
    const { node, services: registered } = await onServers(world, 'successor');
    const successor = await cluster.startClient('successor', mine.Address, { node_id: mine.ID, ...services });
    await waitUntil(
      () => `a full sync: ${successor.program.log.slice(-3000)}`,
      () => successor.program.log.includes('Service in sync'),
    );
    // It asks once more when it has heard of the leader.
    await waitUntil('the sync to end', () => /Node info in sync|Synced node info/.test(successor.program.log));
    const written = successor.program.log.match(/Synced service[^\n]*/g) ?? [];
    expect(written).toEqual([]);
    // What it writes about the node is what the servers have.
    const after = await onServers(world, 'successor');
    expect([after.node, after.services]).toEqual([node, registered]);
  });

  describe('what others change in the catalog', () => {
    const register = (content: Settings): Promise<null> =>
      world.router.caller.call('Catalog.Register', {
        Datacenter: 'dc1',
        Node: 'ours',
        Address: ourId.Address,
        SkipNodeUpdate: true,
        ...content,
      });

    test('is repaired', async () => {
      const before = comparable(await onServers(world, 'ours'), ourId);
      await register({ Service: { Service: 'bare', ID: 'bare', Port: 99 } });
      await register({ Service: { Service: 'ghost', ID: 'ghost' } });
      await register({ Check: { CheckID: 'ghost-check', Name: 'ghost', Status: 'critical' } });
      await register({ Check: { CheckID: 'node-ttl', Name: 'of the node', Status: 'passing', Output: 'forged' } });
      await world.router.caller.call('Catalog.Deregister', { Datacenter: 'dc1', Node: 'ours', ServiceID: 'tagged-1' });
      await ours.fullSync();
      expect(comparable(await onServers(world, 'ours'), ourId)).toEqual(before);
    });

    test('stays, where it is tags that may be overridden', async () => {
      const service = { Service: 'tag-override', ID: 'tag-override', EnableTagOverride: true, TaggedAddresses: {} };
      await register({ Service: { ...service, Tags: ['theirs'], Weights: { Passing: 1, Warning: 1 } } });
      await ours.fullSync();
      const { services } = await onServers(world, 'ours');
      expect(services.find(({ ID }) => ID === 'tag-override')).toMatchObject({ Tags: ['theirs'] });
      expect(ours.state.serviceRecords.get('tag-override')!.Tags).toEqual(['theirs']);
    });
  });

  test('a change while a sync is under way is never taken for what the servers have', async () => {
    const service = (port: number) => ({ name: 'busy', port });
    const options = { token: '', replaceExistingChecks: false, origin: 'api' } as const;
    for (let round = 0; round < 20; round++) {
      ours.sync.serversChanged();
      await ours.registry.registerService(service(1_000), options);
      await ours.registry.registerService(service(2_000 + round), options);
      await ours.registry.registerService(service(1_000), options);
    }
    await ours.sync.syncChanges();
    const { services } = await onServers(world, 'ours');
    expect(services.find(({ ID }) => ID === 'busy')).toMatchObject({ Port: 1_000 });
    await ours.registry.deregisterService('busy');
    await ours.sync.syncChanges();
    expect((await onServers(world, 'ours')).services.some(({ ID }) => ID === 'busy')).toBe(false);
  });

  test('local registrations are answered while every server is gone, and are there afterwards', async () => {
    await Promise.all(cluster.members.slice(0, 3).map(({ program }) => program.kill()));
    const startMs = performance.now();
    const answer = await fetch(`${ours.url}/v1/agent/service/register`, {
      method: 'PUT',
      body: JSON.stringify({ Name: 'meanwhile', Check: { TTL: '1h' } }),
    });
    expect(answer.status).toBe(200);
    await fetch(`${ours.url}/v1/agent/service/deregister/addressed`, { method: 'PUT' });
    expect(performance.now() - startMs).toBeLessThan(2_000);
    const unchanged = ours.state.serviceRecords.get('tagged-1');
    for (const member of cluster.members.slice(0, 3)) cluster.restart(member);
    await waitUntil(
      'the new registration',
      async () => {
        const { services } = await onServers(world, 'ours').catch(() => ({ services: [] }));
        const ids = services.map(({ ID }) => ID);
        return ids.includes('meanwhile') && !ids.includes('addressed');
      },
      60_000,
    );
    expect(ours.state.serviceRecords.get('tagged-1')).toBe(unchanged);
  });
});

describeWith('with real servers that deny by default', { consul: realConsul() }, ({ consul }) => {
  const master = 'aaaaaaaa-0000-4000-8000-000000000001';
  const cluster = new RealCluster(
    consul,
    { server: 24_140, http: 24_141, serfLan: 24_142, serfWan: 24_143, dns: 24_144 },
    { acl: { enabled: true, default_policy: 'deny', tokens: { master } }, disable_coordinates: true },
  );
  const identity = identityOf('guarded', '127.0.0.119', '10000000-0000-4000-8000-000000000009');
  let world: RoutedWorld;
  let agent: OurAgent;
  let web = '';

  const put = async (path: string, body: unknown): Promise<Readonly<Record<string, string>>> =>
    await waitUntil(`an answer to ${path}`, async () => {
      const response = await fetch(cluster.members[0]!.http + path, {
        method: 'PUT',
        headers: { 'X-Consul-Token': master },
        body: JSON.stringify(body),
      });
      return response.ok && ((await response.json()) as Readonly<Record<string, string>>);
    });
  const services = async (): Promise<readonly string[]> => {
    const request = { Datacenter: 'dc1', Node: 'guarded', Token: master };
    const { NodeServices } = await world.router.caller.call('Catalog.NodeServiceList', request);
    return (NodeServices.Services ?? []).map(({ ID }) => ID).toSorted();
  };
  const register = async (name: string, token: string): Promise<void> => {
    const definition = { name, checks: [{ ttlMs: 3_600_000 }] };
    await agent.registry.registerService(definition, { token, replaceExistingChecks: false, origin: 'api' });
    await agent.sync.syncChanges();
  };
  const warnings = (): readonly string[] => agent.lines.filter((line) => line.startsWith('WARN'));

  beforeAll(async () => {
    await cluster.startServers(['127.0.0.118']);
    await put('/v1/acl/policy', { Name: 'agent', Rules: 'node "guarded" { policy = "write" }' });
    await put('/v1/acl/policy', { Name: 'web', Rules: 'service "web" { policy = "write" }' });
    const own = await put('/v1/acl/token', { Policies: [{ Name: 'agent' }] });
    web = (await put('/v1/acl/token', { Policies: [{ Name: 'web' }] }))['SecretID']!;
    world = realRouter();
    for (const { server } of cluster.members) world.router.addServer(server);
    agent = openAgent(world, identity, {}, { user: '', agent: own['SecretID']! });
    await agent.start();
  }, 120_000);

  afterAll(async () => {
    await agent.close();
    world.close();
    await cluster.close();
  });

  test('the node is written with the token of the agent, a service with its own', async () => {
    await register('web', web);
    expect(await services()).toEqual(['web']);
    expect(warnings()).toEqual([]);
  });

  test('what is denied is told once, and hinders nothing else', async () => {
    await register('db', web);
    await register('cache', '00000000-0000-4000-8000-00000000dead');
    await register('plain', '');
    const denied = ['db', 'cache', 'plain'].map(
      (id) => `WARN Service registration blocked by ACLs service=${id} accessorID=some accessor`,
    );
    expect(warnings()).toEqual(denied);
    for (let round = 0; round < 2; round++) await agent.fullSync();
    expect(warnings()).toEqual(denied);
    expect(await services()).toEqual(['web']);
  });

  test('it is written when rights come, and taken off with the token of the agent when they go', async () => {
    await put('/v1/acl/policy', { Name: 'all', Rules: 'service_prefix "" { policy = "write" }' });
    const { SecretID: all = '', AccessorID } = await put('/v1/acl/token', { Policies: [{ Name: 'all' }] });
    await register('db', all);
    expect(await services()).toEqual(['db', 'web']);
    const headers = { 'X-Consul-Token': master };
    await fetch(`${cluster.members[0]!.http}/v1/acl/token/${AccessorID}`, { method: 'DELETE', headers });
    await agent.registry.deregisterService('db');
    await agent.registry.deregisterService('cache');
    await agent.sync.syncChanges();
    await agent.fullSync();
    expect(await services()).toEqual(['web']);
  });
});
