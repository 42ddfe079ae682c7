import { beforeEach, describe, expect, test } from 'vitest';
import { createAliasSource } from '../../../src/agent/alias-source.ts';
import { AntiEntropy } from '../../../src/agent/anti-entropy.ts';
import { createLocalBackend } from '../../../src/agent/local-backend.ts';
import { LocalState } from '../../../src/agent/local-state.ts';
import { Persistence } from '../../../src/agent/persistence.ts';
import { Registry } from '../../../src/agent/registry.ts';
import { createChecks } from '../../../src/checks/index.ts';
import type { NamedCaller } from '../../../src/model/index.ts';
import type { Metrics, ProcessRunner } from '../../../src/ports/index.ts';
import { createServer, MemoryLog } from '../../../src/server/index.ts';
import { MemoryFiles } from '../../../src/sim/memory-files.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { silentLogger } from '../../helpers/logger.ts';

const noMetrics: Metrics = { count() {}, gauge() {}, sample() {} };
const noProcesses: ProcessRunner = {
  run: async () => ({ exitCode: 0, signal: null, output: new Uint8Array(), outputBytesTotal: 0, timedOut: false }),
};
const api = { token: '', replaceExistingChecks: false, origin: 'api' } as const;

/** An agent's registry in front of a real single server, all on one virtual clock. */
function build(clock: VirtualClock, files: MemoryFiles) {
  const random = new SeededRandom(3);
  const store = new StateStore();
  const log = new MemoryLog({ store, address: '127.0.0.1:8300', clock, metrics: noMetrics });
  const server = createServer({
    datacenter: 'dc1',
    nodeName: 'n1',
    nodeId: '00000000-0000-4000-8000-000000000001',
    address: '127.0.0.1',
    serverPort: 8300,
    version: '1.8.7',
    clock,
    random,
    logger: silentLogger,
    metrics: noMetrics,
    store,
    log,
  });
  const holder: { sync?: () => void } = {};
  const state = new LocalState({
    clock,
    random,
    options: { checkUpdateIntervalMs: 0, discardCheckOutput: false },
    onDirty: () => holder.sync?.(),
  });
  const caller: NamedCaller = server.caller;
  const checks = createChecks({
    clock,
    random,
    logger: silentLogger,
    metrics: noMetrics,
    processRunner: noProcesses,
    docker: () => undefined,
    aliasSource: createAliasSource({ state, caller, datacenter: 'dc1', clock }),
    onStatus: (id, status, output) => state.updateCheck(id, status, output),
  });
  const antiEntropy = new AntiEntropy({
    state,
    caller,
    node: () => ({
      ID: '00000000-0000-4000-8000-000000000001',
      Node: 'n1',
      Address: '127.0.0.1',
      Datacenter: 'dc1',
      TaggedAddresses: {},
      Meta: {},
    }),
    clock,
    random,
    logger: silentLogger,
    memberCount: () => 1,
  });
  holder.sync = () => antiEntropy.trigger();
  antiEntropy.start();
  const registry = new Registry({
    state,
    checks,
    antiEntropy,
    persistence: new Persistence({ files, clock, logger: silentLogger }),
    clock,
    logger: silentLogger,
    options: {
      nodeName: 'n1',
      scripts: { fromApi: false, fromFiles: true },
      sidecarPorts: { min: 21_000, max: 21_001 },
    },
  });
  const catalog = async (service: string) =>
    (await caller.call('Health.ServiceNodes', { Datacenter: 'dc1', ServiceName: service })).Nodes;
  return { server, state, registry, catalog };
}

describe('the registry', () => {
  let clock: VirtualClock;
  let files: MemoryFiles;
  let agent: ReturnType<typeof build>;

  beforeEach(async () => {
    clock = new VirtualClock();
    files = new MemoryFiles();
    agent = build(clock, files);
    await agent.server.start();
  });

  test('what is registered is in the catalog when the call returns', async () => {
    await agent.registry.registerService(
      { name: 'web', port: 80, address: '10.0.0.1', checks: [{ ttlMs: 10_000 }] },
      api,
    );
    const [entry] = await agent.catalog('web');
    expect(entry!.Service).toMatchObject({
      ID: 'web',
      Port: 80,
      TaggedAddresses: { lan_ipv4: { Address: '10.0.0.1', Port: 80 }, wan_ipv4: { Address: '10.0.0.1', Port: 80 } },
    });
    expect(entry!.Checks.map(({ CheckID, Status }) => [CheckID, Status])).toContainEqual(['service:web', 'critical']);
  });

  test('several checks without IDs are numbered by position', async () => {
    await agent.registry.registerService(
      { name: 'web', checks: [{ ttlMs: 1 }, { ttlMs: 1, id: 'own' }, { ttlMs: 1 }] },
      api,
    );
    expect([...agent.state.checkIdsOf('web')]).toEqual(['service:web:1', 'own', 'service:web:3']);
  });

  test('a second registration keeps status and output', async () => {
    const definition = { name: 'web', checks: [{ ttlMs: 10_000 }] };
    await agent.registry.registerService(definition, api);
    await agent.registry.updateTtlCheck('service:web', 'passing', 'fine');
    await agent.registry.registerService({ ...definition, port: 81 }, api);
    expect(agent.state.checkRecords.get('service:web')).toMatchObject({ Status: 'passing', Output: 'fine' });
  });

  test('checks that are not given any more stay, or go with replace-existing-checks', async () => {
    await agent.registry.registerService(
      {
        name: 'web',
        checks: [
          { ttlMs: 1, id: 'a' },
          { ttlMs: 1, id: 'b' },
        ],
      },
      api,
    );
    await agent.registry.registerService({ name: 'web', checks: [{ ttlMs: 1, id: 'b' }] }, api);
    expect([...agent.state.checkIdsOf('web')]).toEqual(['a', 'b']);
    await agent.registry.registerService(
      { name: 'web', checks: [{ ttlMs: 1, id: 'b' }] },
      { ...api, replaceExistingChecks: true },
    );
    expect([...agent.state.checkIdsOf('web')]).toEqual(['b']);
    expect((await agent.catalog('web'))[0]!.Checks.map(({ CheckID }) => CheckID)).not.toContain('a');
  });

  test.each([
    [{ name: '' }, 400, 'Missing service name'],
    [{ name: 'x', address: '0.0.0.0' }, 400, 'Invalid service address'],
    [{ name: 'x', checks: [{ intervalMs: 1, ttlMs: 1 }] }, 400, 'Interval and TTL cannot both be specified'],
    [
      { name: 'x', checks: [{ scriptArgs: ['true'], intervalMs: 1 }] },
      500,
      'Scripts are disabled on this agent from remote calls',
    ],
  ])('%j is refused and nothing changes', async (definition, statusCode, text) => {
    await expect(agent.registry.registerService(definition, api)).rejects.toMatchObject({
      statusCode,
      message: expect.stringContaining(text) as string,
    });
    expect(agent.state.services.size).toBe(0);
    expect(files.files.size).toBe(0);
  });

  test('a check for a service that is not there is refused', async () => {
    await expect(agent.registry.registerCheck({ name: 'c', ttlMs: 1, serviceId: 'none' }, api)).rejects.toMatchObject({
      statusCode: 500,
      message: 'ServiceID "none" does not exist',
    });
  });

  test('a sidecar gets a port of the range, comes back with it, and goes with its service', async () => {
    const definition = { name: 'web', port: 80, connect: { sidecarService: {} } };
    await agent.registry.registerService(definition, api);
    await agent.registry.registerService({ ...definition, name: 'api' }, api);
    expect(agent.state.serviceRecords.get('web-sidecar-proxy')).toMatchObject({ Port: 21_000, Kind: 'connect-proxy' });
    expect(agent.state.serviceRecords.get('api-sidecar-proxy')!.Port).toBe(21_001);
    await agent.registry.registerService(definition, api);
    expect(agent.state.serviceRecords.get('web-sidecar-proxy')!.Port).toBe(21_000);
    await expect(agent.registry.registerService({ ...definition, name: 'third' }, api)).rejects.toThrow(
      'no free ports between 21000 and 21001',
    );
    await agent.registry.deregisterService('web');
    expect([...agent.state.services.keys()]).toEqual(['api', 'api-sidecar-proxy']);
  });

  test('maintenance is a critical check, for a service and for the node', async () => {
    await agent.registry.registerService({ name: 'web' }, api);
    await agent.registry.setServiceMaintenance('web', true, 'upgrade', '');
    await agent.registry.setNodeMaintenance(true, '', '');
    expect(agent.state.checkRecords.get('_service_maintenance:web')).toMatchObject({
      Status: 'critical',
      Notes: 'upgrade',
      Type: 'maintenance',
    });
    expect(agent.state.checkRecords.get('_node_maintenance')!.Notes).toContain('no reason was provided');
    await agent.registry.setServiceMaintenance('web', false, '', '');
    await agent.registry.setNodeMaintenance(false, '', '');
    expect(agent.state.checks.size).toBe(0);
    await expect(agent.registry.setServiceMaintenance('none', true, '', '')).rejects.toMatchObject({ statusCode: 404 });
  });

  test('a service that was critical for too long is removed', async () => {
    agent.registry.start();
    await agent.registry.registerService(
      { name: 'web', checks: [{ ttlMs: 1_000, deregisterCriticalServiceAfterMs: 1_000 }] },
      api,
    );
    await clock.advance(60_000);
    expect(agent.state.services.has('web')).toBe(true);
    await clock.advance(30_001);
    expect(agent.state.services.has('web')).toBe(false);
    expect(await agent.catalog('web')).toEqual([]);
  });

  test('registrations and TTL statuses survive a restart; other checks begin critical', async () => {
    await agent.registry.registerService(
      {
        name: 'web',
        port: 80,
        checks: [
          { id: 't', ttlMs: 60_000 },
          { id: 'h', http: 'http://127.0.0.1:1/', intervalMs: 10_000 },
        ],
      },
      { ...api, token: 'secret' },
    );
    await agent.registry.updateTtlCheck('t', 'passing', 'fine');
    agent.state.updateCheck('h', 'passing', 'ok');
    await agent.registry.setServiceMaintenance('web', true, 'upgrade', '');
    const next = build(clock, files);
    await next.server.start();
    await next.registry.restore();
    expect(next.state.services.get('web')!.token).toBe('secret');
    expect(next.state.checkRecords.get('t')).toMatchObject({ Status: 'passing', Output: 'fine' });
    expect(next.state.checkRecords.get('h')!.Status).toBe('critical');
    expect(next.state.checkRecords.get('_service_maintenance:web')).toMatchObject({
      Status: 'critical',
      Notes: 'upgrade',
    });
    // The TTL runs on from where it was.
    await clock.advance(61_000);
    expect(next.state.checkRecords.get('t')!.Status).toBe('critical');
  });

  test('file definitions replace each other, and leave the others alone', async () => {
    await agent.registry.registerService({ name: 'by-api' }, api);
    await agent.registry.replaceFileDefinitions([{ name: 'a' }, { name: 'b' }], [{ name: 'node-check', ttlMs: 1_000 }]);
    await agent.registry.replaceFileDefinitions([{ name: 'b' }], []);
    expect([...agent.state.services.keys()].sort()).toEqual(['b', 'by-api']);
    expect(agent.state.checks.size).toBe(0);
  });

  test('a reload that changes nothing keeps the status of every check, and checks that came by the API', async () => {
    const services = [{ name: 'web', port: 80, connect: { sidecarService: {} } }];
    const checks = [{ id: 'own', name: 'own', serviceId: 'web', ttlMs: 60_000 }];
    await agent.registry.replaceFileDefinitions(services, checks);
    await agent.registry.registerCheck({ id: 'added', name: 'added', serviceId: 'web', ttlMs: 60_000 }, api);
    await agent.registry.updateTtlCheck('own', 'passing', 'fine');
    const sidecarChecks = [...agent.state.checkIdsOf('web-sidecar-proxy')];
    for (const id of sidecarChecks) agent.state.updateCheck(id, 'passing', '');
    await agent.registry.replaceFileDefinitions(services, checks);
    expect(agent.state.checkRecords.get('own')?.Status).toBe('passing');
    expect(agent.state.checks.has('added')).toBe(true);
    expect(sidecarChecks.map((id) => agent.state.checkRecords.get(id)?.Status)).toEqual(['passing', 'passing']);
  });

  test('a reload removes a check and a sidecar that the files do not define any more', async () => {
    await agent.registry.registerService({ name: 'by-api' }, api);
    const checks = [
      { id: 'a', name: 'a', serviceId: 'web', ttlMs: 60_000 },
      { id: 'b', name: 'b', serviceId: 'by-api', ttlMs: 60_000 },
    ];
    await agent.registry.replaceFileDefinitions([{ name: 'web', connect: { sidecarService: {} } }], checks);
    await agent.registry.replaceFileDefinitions([{ name: 'web' }], []);
    expect([...agent.state.services.keys()].sort()).toEqual(['by-api', 'web']);
    expect([...agent.state.checks.keys()]).toEqual([]);
  });

  test('of two reloads at once the later one counts', async () => {
    await Promise.all([
      agent.registry.replaceFileDefinitions([{ name: 'c' }, { name: 'gone' }], []),
      agent.registry.replaceFileDefinitions([{ name: 'c' }], []),
    ]);
    expect([...agent.state.services.keys()]).toEqual(['c']);
  });

  test('a bad file definition changes nothing at all', async () => {
    await agent.registry.replaceFileDefinitions([{ name: 'a' }], []);
    await expect(
      agent.registry.replaceFileDefinitions([{ name: 'b' }, { name: 'c', checks: [{ intervalMs: 1, ttlMs: 1 }] }], []),
    ).rejects.toThrow('Failed to register service "c"');
    expect([...agent.state.services.keys()]).toEqual(['a']);
  });

  test('a tagged address of the wrong family in a file changes nothing either', async () => {
    await agent.registry.replaceFileDefinitions([{ name: 'a' }], []);
    const bad = { name: 'b', taggedAddresses: { lan_ipv4: { Address: '::1', Port: 1 } } };
    await expect(agent.registry.replaceFileDefinitions([bad], [])).rejects.toThrow('must be a valid ipv4 address');
    expect([...agent.state.services.keys()]).toEqual(['a']);
  });

  test('an alias check follows its service', async () => {
    await agent.registry.registerService({ name: 'web', checks: [{ id: 't', ttlMs: 600_000 }] }, api);
    await agent.registry.registerService({ name: 'proxy', checks: [{ id: 'alias', aliasService: 'web' }] }, api);
    expect(agent.state.checkRecords.get('alias')!.Status).toBe('critical');
    await agent.registry.updateTtlCheck('t', 'passing', '');
    await clock.advance(1);
    expect(agent.state.checkRecords.get('alias')).toMatchObject({ Status: 'passing', Output: 'All checks passing.' });
  });

  test("the registrator's docker checks survive a restart where the API may not register any", async () => {
    const backend = createLocalBackend(agent.state, agent.registry);
    await backend.register({
      id: 'h:c:80',
      name: 'web',
      checks: [{ id: 'd', dockerContainerId: 'c', scriptArgs: ['true'], intervalMs: 10_000 }],
    });
    const next = build(clock, files);
    await next.server.start();
    await next.registry.restore();
    expect(next.state.checkRecords.get('d')?.Status).toBe('critical');
  });

  test("the registrator's backend reads what it wrote", async () => {
    const backend = createLocalBackend(agent.state, agent.registry);
    await backend.register({
      id: 'h:c:80',
      name: 'web',
      port: 80,
      tags: ['a'],
      meta: { k: 'v' },
      checks: [{ id: 't', ttlMs: 60_000 }],
    });
    await backend.setCheckStatus('t', 'passing', 'healthy');
    expect((await backend.list()).get('h:c:80')).toEqual({
      id: 'h:c:80',
      name: 'web',
      address: '',
      port: 80,
      tags: ['a'],
      meta: { k: 'v' },
      checks: new Map([['t', { status: 'passing', output: 'healthy', type: 'ttl' }]]),
    });
    await backend.deregister('h:c:80');
    expect((await backend.list()).size).toBe(0);
  });
});

describe('a disk that takes nothing', () => {
  const full = (): Promise<never> => Promise.reject(new Error('ENOSPC: no space left on device, write'));
  const text = 'a registration could not be saved in the data directory: ENOSPC: no space left on device, write';

  test('is told to who registers; the registration is in force and with the servers', async () => {
    const files = new MemoryFiles();
    const { server, registry, catalog } = build(new VirtualClock(), files);
    await server.start();
    files.write = full;
    await expect(registry.registerService({ name: 'web' }, api)).rejects.toMatchObject({
      statusCode: 500,
      message: expect.stringContaining(text) as string,
    });
    expect(await catalog('web')).toHaveLength(1);
    await expect(registry.registerCheck({ name: 'c', ttlMs: 10_000 }, api)).rejects.toThrow(text);
    await expect(registry.setNodeMaintenance(true, '', '')).rejects.toThrow(text);
    // The next update tries again.
    await expect(registry.updateTtlCheck('c', 'passing', '')).resolves.toBeUndefined();
    files.remove = full;
    await expect(registry.deregisterService('web')).rejects.toMatchObject({ statusCode: 500 });
    expect(await catalog('web')).toHaveLength(0);
  });

  test('does not keep containers from being registered', async () => {
    const files = new MemoryFiles();
    const { server, registry, state, catalog } = build(new VirtualClock(), files);
    await server.start();
    files.write = full;
    await createLocalBackend(state, registry).register({ name: 'web', id: 'host:web:80' });
    expect(await catalog('web')).toHaveLength(1);
  });
});
