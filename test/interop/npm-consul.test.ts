// The npm package `consul`, used as its README shows, area by area: against the real agent, which proves the
// expectations, and against Portolan, which must meet the same ones.
import type { EventEmitter } from 'node:events';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, npmConsul, realConsul } from './support/clients.ts';

type Call = (...args: readonly unknown[]) => Promise<unknown>;
type Calls<Names extends string> = Readonly<Record<Names, Call>>;

/** What of the package is used here; it is fetched at test time, so its own types are not at hand. */
interface NpmConsul {
  readonly acl: Calls<'bootstrap' | 'replication'> & {
    readonly legacy: Calls<'create' | 'update' | 'destroy' | 'get' | 'clone' | 'list'>;
  };
  readonly agent: Calls<'members' | 'reload' | 'self' | 'maintenance' | 'join' | 'forceLeave'> & {
    readonly check: Calls<'list' | 'register' | 'deregister' | 'pass' | 'warn' | 'fail'>;
    readonly service: Calls<'list' | 'register' | 'deregister' | 'maintenance'>;
  };
  readonly catalog: Calls<'register' | 'deregister' | 'datacenters'> & {
    readonly connect: Calls<'nodes'>;
    readonly node: Calls<'list' | 'services'>;
    readonly service: Calls<'list' | 'nodes'>;
  };
  readonly event: Calls<'fire' | 'list'>;
  readonly health: Calls<'node' | 'checks' | 'service' | 'state'>;
  readonly kv: Calls<'get' | 'keys' | 'set' | 'del'>;
  readonly query: Calls<'list' | 'create' | 'update' | 'get' | 'destroy' | 'execute' | 'explain'>;
  readonly session: Calls<'create' | 'destroy' | 'get' | 'node' | 'list' | 'renew'>;
  readonly status: Calls<'leader' | 'peers'>;
  readonly transaction: Calls<'create'>;
  watch(options: object): EventEmitter & { end(): void; isRunning(): boolean };
}

type NpmConsulClass = new (options: object) => NpmConsul;

const uuid = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;
const anyUuid = expect.stringMatching(uuid) as string;

describeWith('the npm package', { consul: npmConsul(), 'consul 1.8.7': realConsul() }, (found) => {
  describe.each([
    ['the real agent', found['consul 1.8.7'], 23_300],
    ['Portolan', undefined, 23_310],
  ] as const)('%s', (_, program, port) => {
    const agentOf = (at: number, args: readonly string[]): AgentProcess =>
      new AgentProcess({
        ports: { http: at, dns: at + 1 },
        ...(program !== undefined && { program }),
        args: [
          `-server-port=${at + 2}`,
          `-serf-lan-port=${at + 3}`,
          `-serf-wan-port=${at + 4}`,
          '-node=n1',
          '-bind=127.0.0.1',
          '-hcl=disable_update_check = true',
          ...(program === undefined ? ['-registrator=false'] : []),
          ...args,
        ],
      });
    const agent = agentOf(port, []);
    let consul: NpmConsul;

    async function connected(to: AgentProcess, at: number, defaults: object = {}): Promise<NpmConsul> {
      const loaded = (await import(pathToFileURL(found.consul).href)) as { readonly default: NpmConsulClass };
      await to.start();
      return new loaded.default({ host: '127.0.0.1', port: at, defaults });
    }
    beforeAll(async () => {
      consul = await connected(agent, port);
      await waitUntil('the catalog to know it', async () => ((await consul.health.node('n1')) as unknown[]).length > 0);
    });
    afterAll(() => agent.close());

    test('kv', async () => {
      expect(await consul.kv.get('hello')).toBeUndefined();
      expect(await consul.kv.set('hello', 'world')).toBe(true);
      const entry = (await consul.kv.get('hello')) as { readonly ModifyIndex: number };
      expect(entry).toMatchObject({ LockIndex: 0, Key: 'hello', Flags: 0, Value: 'world' });
      expect(await consul.kv.get({ key: 'hello', raw: true })).toEqual(Buffer.from('world'));
      expect(await consul.kv.get({ key: 'hello', buffer: true })).toMatchObject({ Value: Buffer.from('world') });
      expect(await consul.kv.set({ key: 'hello', value: 'you', cas: '1' })).toBeUndefined();
      expect(await consul.kv.set({ key: 'hello', value: 'you', cas: String(entry.ModifyIndex), flags: 7 })).toBe(true);
      expect(await consul.kv.set('a/b', Buffer.from([0, 255]))).toBe(true);
      expect(await consul.kv.set('a/c/d', '')).toBe(true);
      expect(await consul.kv.keys('a/')).toEqual(['a/b', 'a/c/d']);
      expect(await consul.kv.keys({ key: 'a/', separator: '/' })).toEqual(['a/b', 'a/c/']);
      expect(await consul.kv.get({ key: 'a/', recurse: true })).toMatchObject([{ Key: 'a/b' }, { Key: 'a/c/d' }]);
      expect(await consul.kv.del({ key: 'a/', recurse: true })).toBe(true);
      expect(await consul.kv.keys('a/').catch((error: unknown) => String(error))).toMatch(/not found/);
      expect(await consul.kv.del('hello')).toBe(true);
    });

    test('sessions and locks', async () => {
      const { ID } = (await consul.session.create({ name: 'mine', ttl: '10s', lockdelay: '1s' })) as { ID: string };
      expect(ID).toMatch(uuid);
      const session = { ID, Name: 'mine', Node: 'n1', LockDelay: 1e9, Behavior: 'release', TTL: '10s' };
      expect(await consul.session.get(ID)).toMatchObject(session);
      expect(await consul.session.list()).toMatchObject([session]);
      expect(await consul.session.node('n1')).toMatchObject([session]);
      expect(await consul.session.renew(ID)).toMatchObject([session]);
      expect(await consul.kv.set({ key: 'lock', value: 'me', acquire: ID })).toBe(true);
      expect(await consul.kv.get('lock')).toMatchObject({ Session: ID, LockIndex: 1 });
      const other = (await consul.session.create()) as { ID: string };
      expect(await consul.kv.set({ key: 'lock', value: 'not me', acquire: other.ID })).toBeUndefined();
      expect(await consul.kv.set({ key: 'lock', value: 'done', release: ID })).toBe(true);
      await consul.session.destroy(ID);
      await consul.session.destroy(other.ID);
      expect(await consul.session.list()).toEqual([]);
    });

    test('agent: checks', async () => {
      await consul.agent.check.register({ name: 'example', ttl: '15s', notes: 'This is an example check.' });
      const status = async (): Promise<unknown> =>
        ((await consul.agent.check.list()) as Record<string, unknown>)['example'];
      expect(await status()).toMatchObject({
        Node: 'n1',
        CheckID: 'example',
        Status: 'critical',
        Notes: 'This is an example check.',
        ServiceID: '',
      });
      await consul.agent.check.pass({ id: 'example', note: 'fine' });
      expect(await status()).toMatchObject({ Status: 'passing', Output: 'fine' });
      await consul.agent.check.warn('example');
      expect(await status()).toMatchObject({ Status: 'warning' });
      await consul.agent.check.fail('example');
      expect(await status()).toMatchObject({ Status: 'critical' });
      await consul.agent.check.deregister('example');
      expect(await status()).toBeUndefined();
      await expect(consul.agent.check.pass('example')).rejects.toThrow(
        'CheckID "example" does not have associated TTL',
      );
    });

    test('agent: services, health and the catalog', async () => {
      await consul.agent.service.register({
        name: 'example',
        id: 'example-1',
        tags: ['dev', 'web'],
        address: '192.0.2.1',
        port: 80,
        meta: { k: 'v' },
        check: { ttl: '1h', status: 'passing' },
      });
      await consul.agent.service.register('plain');
      expect(await consul.agent.service.list()).toMatchObject({
        'example-1': { ID: 'example-1', Service: 'example', Tags: ['dev', 'web'], Port: 80, Address: '192.0.2.1' },
        plain: { ID: 'plain', Service: 'plain', Tags: [], Port: 0 },
      });
      await waitUntil('the catalog to know them', async () => {
        const services = (await consul.catalog.service.list()) as object;
        return 'example' in services && 'plain' in services;
      });
      expect(await consul.catalog.datacenters()).toEqual(['dc1']);
      expect(await consul.catalog.service.list()).toMatchObject({ consul: [], plain: [] });
      expect(await consul.catalog.service.nodes({ service: 'example', tag: 'dev' })).toMatchObject([
        { Node: 'n1', ServiceID: 'example-1', ServiceName: 'example', ServiceTags: ['dev', 'web'], ServicePort: 80 },
      ]);
      expect(await consul.catalog.service.nodes('nowhere')).toEqual([]);
      expect(await consul.catalog.node.list()).toMatchObject([{ Node: 'n1', Address: '127.0.0.1' }]);
      expect(await consul.catalog.node.services('n1')).toMatchObject({
        Node: { Node: 'n1' },
        Services: { consul: { ID: 'consul' }, 'example-1': { Service: 'example' } },
      });
      expect(await consul.catalog.connect.nodes('example')).toEqual([]);

      const check = { CheckID: 'service:example-1', Name: "Service 'example' check", ServiceID: 'example-1' };
      expect(await consul.health.checks('example')).toMatchObject([{ ...check, Status: 'passing' }]);
      expect(await consul.health.service({ service: 'example', passing: true, tag: 'web' })).toMatchObject([
        { Node: { Node: 'n1' }, Service: { ID: 'example-1' }, Checks: [{ CheckID: 'serfHealth' }, check] },
      ]);
      await consul.agent.check.fail('service:example-1');
      await waitUntil(
        'the catalog to see it fail',
        async () => ((await consul.health.service({ service: 'example', passing: true })) as unknown[]).length === 0,
      );
      expect(await consul.health.state('critical')).toMatchObject([check]);
      expect(await consul.health.node('n1')).toMatchObject([{ CheckID: 'serfHealth' }, check]);
      expect(await consul.health.service({ service: 'example', filter: 'Service.Meta.k == "v"' })).toHaveLength(1);

      await consul.agent.service.maintenance({ id: 'plain', enable: true, reason: 'tired' });
      expect(await consul.agent.check.list()).toMatchObject({ '_service_maintenance:plain': { Notes: 'tired' } });
      await consul.agent.service.maintenance({ id: 'plain', enable: false });
      await consul.agent.service.deregister('example-1');
      await consul.agent.service.deregister('plain');
      expect(await consul.agent.service.list()).toEqual({});
    });

    test('agent: itself', async () => {
      const member = { Name: 'n1', Addr: '127.0.0.1', Port: port + 3, Status: 1, Tags: { role: 'consul', dc: 'dc1' } };
      expect(await consul.agent.members()).toMatchObject([member]);
      expect(await consul.agent.members({ wan: true })).toMatchObject([{ Name: 'n1.dc1', Port: port + 4 }]);
      expect(await consul.agent.self()).toMatchObject({
        Config: { Datacenter: 'dc1', NodeName: 'n1', Server: true, Version: '1.8.7' },
        Member: member,
      });
      await consul.agent.reload();
      await consul.agent.maintenance({ enable: true, reason: 'a rest' });
      expect(await consul.agent.check.list()).toMatchObject({ _node_maintenance: { Notes: 'a rest' } });
      await consul.agent.maintenance(false);
      expect(await consul.agent.check.list()).toEqual({});
      await expect(consul.agent.join('127.0.0.1:1')).rejects.toThrow('internal server error');
      await consul.agent.join(`127.0.0.1:${port + 3}`);
      await expect(consul.agent.forceLeave('node2')).rejects.toThrow('No node found with name');
    });

    test('catalog: register and deregister', async () => {
      await consul.catalog.register('alone');
      await consul.catalog.register({
        node: 'far',
        address: '192.0.2.9',
        nodemeta: { rack: 'r1' },
        service: { id: 'db-1', service: 'db', tags: ['a'], port: 5432, address: '192.0.2.10' },
        check: { node: 'far', name: 'db', checkid: 'db-1', serviceid: 'db-1', status: 'warning' },
      });
      expect(await consul.catalog.node.list({ 'node-meta': ['rack:r1'] })).toMatchObject([{ Node: 'far' }]);
      expect(await consul.health.service('db')).toMatchObject([
        { Service: { ID: 'db-1', Port: 5432 }, Checks: [{ CheckID: 'db-1', Status: 'warning', ServiceName: 'db' }] },
      ]);
      await consul.catalog.deregister({ node: 'far', checkid: 'db-1' });
      await consul.catalog.deregister({ node: 'far', serviceid: 'db-1' });
      expect(await consul.health.service('db')).toEqual([]);
      await consul.catalog.deregister('far');
      await consul.catalog.deregister({ node: 'alone' });
      expect(await consul.catalog.node.list()).toHaveLength(1);
    });

    test('events', async () => {
      const event = { ID: anyUuid, Name: 'deploy', Payload: '53', NodeFilter: '', Version: 1 };
      expect(await consul.event.fire('deploy', '53')).toMatchObject({ ...event, LTime: 0 });
      await waitUntil('the event', async () => ((await consul.event.list('deploy')) as unknown[]).length > 0);
      expect(await consul.event.list('deploy')).toMatchObject([event]);
      expect(await consul.event.fire({ name: 'bin', payload: Buffer.from([0, 255]), node: 'n1' })).toMatchObject({
        NodeFilter: 'n1',
      });
      expect(await consul.event.list({ name: 'none' })).toEqual([]);
    });

    test('prepared queries', async () => {
      await consul.catalog.register({ node: 'far', address: '192.0.2.9', service: { service: 'redis', port: 8000 } });
      const made = (await consul.query.create({
        name: 'redis',
        service: { service: 'redis', onlypassing: true, tags: [], failover: { nearestn: 2, datacenters: ['dc1'] } },
        dns: { ttl: '10s' },
      })) as { ID: string };
      const query = {
        ID: made.ID,
        Name: 'redis',
        Service: { Service: 'redis', OnlyPassing: true },
        DNS: { TTL: '10s' },
      };
      expect(await consul.query.list()).toMatchObject([query]);
      expect(await consul.query.get(made.ID)).toMatchObject(query);
      await consul.query.update({ query: made.ID, name: 'redis', service: { service: 'redis', onlypassing: false } });
      expect(await consul.query.get(made.ID)).toMatchObject({ Service: { OnlyPassing: false } });
      expect(await consul.query.execute('redis')).toMatchObject({
        Service: 'redis',
        Nodes: [{ Node: { Node: 'far' }, Service: { Port: 8000 } }],
        Datacenter: 'dc1',
        Failovers: 0,
      });
      const template = (await consul.query.create({
        name: 'geo-',
        template: { type: 'name_prefix_match' },
        service: { service: '${name.suffix}' },
      })) as { ID: string };
      // The package takes the first item of an answer that is no list; what is left is that the call succeeds.
      await consul.query.explain('geo-redis');
      await consul.query.destroy(template.ID);
      await consul.query.destroy(made.ID);
      expect(await consul.query.list()).toEqual([]);
      await consul.catalog.deregister('far');
    });

    test('status', async () => {
      expect(await consul.status.leader()).toBe(`127.0.0.1:${port + 2}`);
      expect(await consul.status.peers()).toEqual([`127.0.0.1:${port + 2}`]);
    });

    test('transactions', async () => {
      const Value = Buffer.from('value1').toString('base64');
      expect(
        await consul.transaction.create([
          { KV: { Verb: 'set', Key: 'key1', Value } },
          { KV: { Verb: 'delete', Key: 'key2' } },
          { KV: { Verb: 'get', Key: 'key1' } },
        ]),
      ).toMatchObject({
        Errors: null,
        Results: [{ KV: { Key: 'key1', Value: null } }, { KV: { Key: 'key1', Value } }],
      });
      await expect(consul.transaction.create([{ KV: { Verb: 'cas', Key: 'key1', Value, Index: 1 } }])).rejects.toThrow(
        'conflict',
      );
      await consul.kv.del('key1');
    });

    test('a watch sees the value, every change and the deletion, in order', async () => {
      const seen: unknown[] = [];
      const errors: unknown[] = [];
      const watch = consul.watch({ method: consul.kv.get, options: { key: 'test' }, backoffFactor: 10 });
      watch.on('change', (data: { readonly Value?: string } | undefined) => seen.push(data?.Value));
      watch.on('error', (error) => errors.push(error));
      const count = (length: number): Promise<unknown> =>
        waitUntil(
          () => `${length} changes, saw ${JSON.stringify(seen)}`,
          () => seen.length >= length,
        );
      try {
        await count(1);
        await consul.kv.set('test', 'one');
        await count(2);
        await consul.kv.set('another', 'does not matter');
        await consul.kv.set('test', 'two');
        await count(3);
        await consul.kv.del('test');
        await count(4);
      } finally {
        watch.end();
      }
      expect(seen).toEqual([undefined, 'one', 'two', undefined]);
      expect(errors).toEqual([]);
    });

    test('a watch of a service sees its check change', async () => {
      await consul.agent.service.register({ name: 'watched', check: { ttl: '1h', status: 'passing' } });
      const seen: number[] = [];
      const watch = consul.watch({ method: consul.health.service, options: { service: 'watched', passing: true } });
      watch.on('change', (data: readonly unknown[]) => seen.push(data.length));
      watch.on('error', () => undefined);
      try {
        await waitUntil('it to be seen', () => seen.at(-1) === 1);
        await consul.agent.check.fail('service:watched');
        await waitUntil('it to vanish', () => seen.at(-1) === 0);
        await consul.agent.check.pass('service:watched');
        await waitUntil('it to come back', () => seen.at(-1) === 1);
      } finally {
        watch.end();
      }
      await consul.agent.service.deregister('watched');
    });

    describe('with access control', () => {
      const guarded = agentOf(port + 20, ['-hcl=acl { enabled = true, default_policy = "deny" }']);
      let nobody: NpmConsul;
      let manager: NpmConsul;
      const withToken = (token: string): NpmConsul =>
        new (nobody.constructor as NpmConsulClass)({ host: '127.0.0.1', port: port + 20, defaults: { token } });
      afterAll(() => guarded.close());

      test('acl', async () => {
        nobody = await connected(guarded, port + 20);
        const token = (await waitUntil('access control to be ready', () =>
          nobody.acl.bootstrap().catch(() => undefined),
        )) as { readonly SecretID: string };
        expect(token).toMatchObject({ ID: token.SecretID, AccessorID: anyUuid, SecretID: anyUuid });
        await expect(nobody.acl.bootstrap()).rejects.toThrow('ACL bootstrap no longer allowed');
        manager = withToken(token.SecretID);
        expect(await manager.acl.replication()).toMatchObject({ Enabled: false, Running: false });
      });

      test('legacy tokens', async () => {
        const { legacy } = manager.acl;
        const { ID } = (await legacy.create({ name: 'Reader', rules: 'key "" { policy = "read" }' })) as { ID: string };
        expect(await legacy.get(ID)).toMatchObject({ ID, Name: 'Reader', Type: 'client' });
        await legacy.update({ id: ID, name: 'Writer', rules: 'key "" { policy = "write" }' });
        const reader = withToken(ID);
        expect(await reader.kv.set('k', 'v')).toBe(true);
        await expect(nobody.kv.set('k', 'v')).rejects.toThrow('Permission denied');
        expect(await legacy.clone(ID)).toEqual({ ID: anyUuid });
        expect(await legacy.list()).toEqual(
          expect.arrayContaining([
            expect.objectContaining({ ID, Name: 'Writer', Rules: 'key "" { policy = "write" }' }),
          ]),
        );
        await legacy.destroy(ID);
        await expect(reader.kv.set('k', 'v')).rejects.toThrow('ACL not found');
      });
    });
  });
});
