// Portolan clients beside real ones, under the same servers: what one registers the others see, the same command gives
// the same output at each, outages of the servers are ridden out alike, and the servers are asked as often. Servers of
// both kinds are tried; PORTOLAN_SERVERS names one, PORTOLAN_SERVER_COUNT says how many (3). PORTOLAN_PEERS=consul puts
// real clients in the place of ours, to see what the scenes ask of the real thing. PORTOLAN_SIDE_BY_SIDE_S lengthens
// the comparison of calls.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clusterNeeds, countFrom, wantedKinds } from '../chaos/support/cluster-kind.ts';
import { engineSkipReason, startEngine, type TestEngine } from '../engine/support/dockerd.ts';
import { Cluster, type CommandResult, type Kind, type Member } from '../helpers/cluster.ts';
import { Network } from '../helpers/namespaces.ts';
import { RpcCounter } from '../helpers/rpc-counter.ts';
import { waitUntil } from '../helpers/wait.ts';

const sideBySideS = countFrom('PORTOLAN_SIDE_BY_SIDE_S', 100);
/** Calls of one method that either agent may make more than the other: chance of timers in a short time. */
const callsApartMax = 3;
const callsApartShare = 0.1;
/** Until everybody knows what somebody has registered (ms). */
const syncLimitMs = 15_000;
/** From the return of the servers until the catalog is right: a failed full sync is repeated within 30 s (ms). */
const recoveryLimitMs = 60_000;
/** Local answers need nobody; this is a hang, not a delay (ms). */
const localLimitMs = 5_000;
/** A real agent answers a registration when its servers have it, or have failed over and over. */
const held = { timeoutMs: 120_000 };
/** Coordinates are first sent after up to 30 s, and written 5 s later (ms). */
const coordinateLimitMs = 90_000;
/** `docker rm -f` to the answer of another host's DNS (ms). */
const removalLimitMs = 1_000;

const needs = clusterNeeds('interop: sidecar');
const serverCount = countFrom('PORTOLAN_SERVER_COUNT', 3);
const serverNames = Array.from({ length: serverCount }, (_, at) => `s${at + 1}`);
const majority = Math.floor(serverCount / 2) + 1;
const serverKinds = (process.env['PORTOLAN_SERVERS'] ?? 'consul,portolan').split(',') as Kind[];
const cases = serverKinds.flatMap((servers) => wantedKinds().map((clients) => ({ servers, clients })));

interface CatalogService {
  readonly Node: string;
  readonly ServiceID: string;
}
interface LocalService {
  readonly ID: string;
  readonly Service: string;
  readonly Tags: readonly string[] | null;
  readonly Port: number;
  readonly Meta: Readonly<Record<string, string>> | null;
  readonly ModifyIndex: number;
}
interface LocalCheck {
  readonly CheckID: string;
  readonly Status: string;
  readonly Output: string;
  readonly Notes: string;
}

describe.skipIf(needs === undefined).each(cases)(
  '$clients clients beside real ones under $servers servers',
  (kinds) => {
    const counters = new Map<string, RpcCounter>();
    let cluster: Cluster;
    let engine: TestEngine | undefined;
    let p1: Member, p2: Member, p3: Member, r1: Member, r2: Member;
    let clients: readonly Member[];

    beforeEach(({ onTestFailed }) => onTestFailed(() => cluster?.keepLogs()));

    beforeAll(async () => {
      const config = { disable_remote_exec: false, enable_script_checks: true, check_update_interval: '0s' };
      cluster = new Cluster({
        network: new Network(),
        consul: needs!.consul,
        config,
        serverConfig: { bootstrap_expect: serverCount },
      });
      for (const name of serverNames) cluster.add({ name, kind: kinds.servers, server: true });
      if (kinds.clients === 'portolan' && engineSkipReason() === undefined) engine = await startEngine();
      const docker = engine === undefined ? {} : { registrator: { enabled: true, docker_hosts: [engine.host] } };
      p1 = cluster.add({ name: 'p1', kind: kinds.clients, server: false, config: docker });
      [p2, p3] = ['p2', 'p3'].map((name) => cluster.add({ name, kind: kinds.clients, server: false })) as [
        Member,
        Member,
      ];
      [r1, r2] = ['r1', 'r2'].map((name) => cluster.add({ name, kind: 'consul', server: false })) as [Member, Member];
      clients = cluster.clients;
      for (const client of [p3, r2]) {
        const counter = new RpcCounter();
        counters.set(client.name, counter);
        await counter.watch(cluster, client);
      }
      await cluster.startAll();
    });

    afterAll(async () => {
      await cluster?.close();
      for (const counter of counters.values()) counter.close();
      await engine?.close();
    });

    const serviceNodes = async (asked: Member, service: string, query = ''): Promise<readonly string[]> => {
      const found = await asked.get<CatalogService[]>(`/v1/catalog/service/${service}${query}`);
      return found.map(({ Node, ServiceID }) => `${Node} ${ServiceID}`).toSorted();
    };

    test('a service registered anywhere is seen everywhere, and its checks with it', async () => {
      for (const client of clients) {
        await client.put('/v1/agent/service/register', {
          Name: 'seen',
          ID: `seen-${client.name}`,
          Port: 80,
          Check: { CheckID: `alive-${client.name}`, TTL: '1h', Status: 'passing' },
        });
      }
      const all = clients.map(({ name }) => `${name} seen-${name}`).toSorted();
      const addresses = clients.map(({ address }) => address).toSorted();
      for (const member of cluster.members) {
        await waitUntil(
          () => `${member.name} to know every instance`,
          async () => (await serviceNodes(member, 'seen')).join() === all.join(),
          syncLimitMs,
        );
        const answers = await member.dns('seen.service.consul', 'A');
        // UDP answers carry three of them.
        expect(answers).toHaveLength(3);
        for (const answer of answers) expect(addresses).toContain('data' in answer ? answer.data : '');
      }
      await p1.put('/v1/agent/check/fail/alive-p1?note=broken');
      await r1.put('/v1/agent/check/fail/alive-r1?note=broken');
      for (const member of cluster.members) {
        await waitUntil(
          () => `${member.name} to know who is well`,
          async () => {
            const well = await member.get<{ Node: { Node: string } }[]>('/v1/health/service/seen?passing');
            return (
              well
                .map(({ Node }) => Node.Node)
                .toSorted()
                .join() === 'p2,p3,r2'
            );
          },
          syncLimitMs,
        );
      }
    });

    test('registrations by both kinds are equal in the catalog, and do not flap', async () => {
      const shapes: readonly Record<string, unknown>[] = [
        { Name: 'shape-bare' },
        { Name: 'shape-port', Port: 8080, Tags: ['b', 'a'], Meta: { k: 'v' } },
        { Name: 'shape-empty', Tags: [], Meta: {}, TaggedAddresses: {} },
        { Name: 'shape-weights', Weights: { Passing: 5, Warning: 2 }, EnableTagOverride: true },
        {
          Name: 'shape-address',
          Address: '192.0.2.7',
          Port: 1,
          TaggedAddresses: { wan: { Address: '192.0.2.8', Port: 2 } },
        },
        { Name: 'shape-native', Connect: { Native: true } },
        {
          Name: 'shape-checks',
          Checks: [
            { Name: 'ttl', TTL: '30m', Notes: 'some', Status: 'warning' },
            { Name: 'tcp', TCP: '127.0.0.1:8500', Interval: '1s', Timeout: '5s' },
            { Name: 'script', Args: ['true'], Interval: '1h', SuccessBeforePassing: 2 },
            { Name: 'http', HTTP: 'http://127.0.0.1:8500/v1/status/leader', Interval: '1h', Header: { A: ['b'] } },
          ],
        },
        {
          Name: 'shape-proxy',
          Kind: 'connect-proxy',
          Port: 9,
          Proxy: { DestinationServiceName: 'shape-bare', Upstreams: [{ DestinationName: 'db', LocalBindPort: 1234 }] },
        },
      ];
      for (const client of [p1, r1]) {
        for (const shape of shapes) await client.put('/v1/agent/service/register', shape);
      }
      const entries = async (): Promise<ReadonlyMap<string, readonly unknown[]>> => {
        const found = new Map<string, readonly unknown[]>();
        for (const { Name } of shapes) {
          const list = await cluster.servers[0]!.get<{ Node: { Node: string } }[]>(
            `/v1/health/service/${String(Name)}`,
          );
          found.set(
            String(Name),
            ['p1', 'r1'].map((name) => list.find(({ Node }) => Node.Node === name)),
          );
        }
        return found;
      };
      /** The same record wherever it is: without the node's own names, and without moments. */
      const plain = (entry: unknown, client: Member): unknown =>
        JSON.parse(
          JSON.stringify(entry ?? null, (key, value: unknown) =>
            /^(CreateIndex|ModifyIndex|ID)$/.test(key) && (typeof value === 'number' || value === client.nodeId)
              ? 0
              : value,
          )
            .replaceAll(client.address, 'ADDRESS')
            .replaceAll(`"${client.name}"`, '"NAME"'),
        ) as unknown;
      await waitUntil('both to have synced and checked', async () => {
        const all = [...(await entries()).values()];
        return all.every(([ours, real]) => ours !== undefined && real !== undefined) &&
          JSON.stringify(all.at(-2)).match(/TCP connect/g)?.length === 2
          ? true
          : undefined;
      });
      for (const [name, [ours, real]] of await entries()) {
        expect([name, plain(ours, p1)]).toEqual([name, plain(real, r1)]);
      }
      // Registering the same again changes nothing.
      const before = await entries();
      for (const client of [p1, r1]) {
        for (const shape of shapes.filter(({ Name }) => Name !== 'shape-checks')) {
          await client.put('/v1/agent/service/register', shape);
        }
      }
      await p1.put('/v1/agent/service/register', { Name: 'shape-after' });
      await waitUntil('a later one', async () => (await serviceNodes(p1, 'shape-after')).length === 1, syncLimitMs);
      const after = await entries();
      // With a tag override the real one writes again; ours may, too.
      const moved = [...before.keys()].filter((name) => {
        const [ours, real] = [0, 1].map((at) => !same(before.get(name)![at], after.get(name)![at]));
        return name !== 'shape-checks' && ours && !real;
      });
      expect(moved).toEqual([]);
    });

    describe('the same command gives the same output at both', () => {
      const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
      const milliseconds = /\d+\.\d+ ms/g;

      interface Line {
        readonly words: string;
        readonly args: readonly string[];
        readonly input?: string;
        readonly sorted?: boolean;
      }
      const line = (args: string, more: Omit<Line, 'args' | 'words'> = {}): Line => ({
        words: args,
        args: args.split(' '),
        ...more,
      });
      const lines: readonly Line[] = [
        line('members'),
        line('members -detailed'),
        line('members -status=left'),
        line('members -wan'),
        line('catalog datacenters'),
        line('catalog nodes'),
        line('catalog nodes -detailed'),
        line('catalog nodes -service=seen'),
        line('catalog services'),
        line('catalog services -tags'),
        line('catalog services -node=p2'),
        line('kv put cli/a one'),
        line('kv put -flags=42 cli/b two'),
        line('kv put -cas -modify-index=1 cli/a never'),
        line('kv get cli/a'),
        line('kv get cli/none'),
        line('kv get -recurse cli/'),
        line('kv get -keys cli/'),
        line('kv export cli/'),
        line('kv delete cli/b'),
        line('kv delete -recurse cli/'),
        line('event -name=deploy payload'),
        line('event -name=deploy -node=^s payload'),
        line('lock locks/cli echo held'),
        line('lock -child-exit-code locks/cli exit 3'),
        line('watch -type=nodes'),
        line('watch -type=services', { sorted: true }),
        line('watch -type=service -service=shape-bare'),
        line('watch -type=key -key=cli/watched'),
        line('exec -wait=1s -node=^[pr] echo hello', { sorted: true }),
        line('exec -wait=1s -service=seen -node=p2 false', { sorted: true }),
        line('maint'),
        line('maint -enable -reason=because'),
        line('maint -disable'),
        line('rtt p1 r1'),
        line('rtt p1 nobody'),
        line('operator raft list-peers'),
        line('operator raft remove-peer -id=nobody'),
        line('operator autopilot get-config'),
        line('keyring -list'),
        line('force-leave nobody'),
        line('intention check one two'),
        line('intention get one none'),
        line('intention delete one none'),
        line('config list -kind=service-defaults'),
        line('services register -name=cli -port=1'),
        line('services deregister -id=cli'),
        line('reload'),
      ];

      const plain = ({ code, stdout, stderr }: CommandResult, sorted: boolean): unknown => {
        const text = stdout.replaceAll(uuid, 'UUID').replaceAll(milliseconds, 'N ms');
        return { code, stdout: sorted ? text.split('\n').toSorted() : text, stderr };
      };

      beforeAll(async () => {
        await p1.put('/v1/kv/cli/watched', 'seen');
        await waitUntil(
          'coordinates of the clients',
          async () => {
            const found = await p1.get<{ Node: string }[]>('/v1/coordinate/nodes');
            const known = new Set(found.map(({ Node }) => Node));
            return known.has('p1') && known.has('r1');
          },
          coordinateLimitMs,
        );
      });

      test.each(lines)('consul $words', { timeout: 120_000 }, async ({ args, input = '', sorted = false }) => {
        const real = await cluster.cli(r1, 'consul', args, input);
        // What the first one changed is undone where the second would find it.
        const ours = await cluster.cli(p1, 'consul', args, input);
        expect(plain(ours, sorted)).toEqual(plain(real, sorted));
      });

      test('maintenance shows what it is about', async () => {
        for (const member of [p1, r1]) {
          await cluster.cli(member, 'consul', ['maint', '-enable', '-reason=because']);
          const { stdout } = await cluster.cli(member, 'consul', ['maint']);
          expect(stdout).toBe(`Node:\n  Name:   ${member.name}\n  Reason: because\n\n`);
          await cluster.cli(member, 'consul', ['maint', '-disable']);
        }
      });

      test('an event fired at one is listed at all', async () => {
        for (const from of [p1, r1]) {
          await cluster.cli(from, 'consul', ['event', `-name=from-${from.name}`, 'hello']);
          for (const member of cluster.members) {
            await waitUntil(`${member.name} to list it`, async () => {
              const events = await member.get<{ Name: string; Payload: string }[]>('/v1/event/list');
              return events.some(({ Name, Payload }) => Name === `from-${from.name}` && atob(Payload) === 'hello');
            });
          }
        }
      });
    });

    test('docker rm -f takes a container out of another host’s DNS', async ({ skip }) => {
      if (engine === undefined) return skip('no Docker engine here');
      const id = await engine.run('--name', 'sidecar', '-p', '8081:80', 'acme/one');
      const resolved = async (): Promise<boolean> => (await r1.dns('one.service.consul', 'SRV')).length > 0;
      await waitUntil(() => `the container in the DNS of r1\n${p1.logTail}`, resolved, syncLimitMs);
      const removed = engine.docker('rm', '-f', id);
      await waitUntil(
        'docker to say so',
        async () => (await engine!.docker('ps', '-aq', '--no-trunc')) !== id,
        syncLimitMs,
      );
      await waitUntil('its end in the DNS of r1', async () => !(await resolved()), removalLimitMs);
      await removed;
    });

    describe('outages of the servers', () => {
      /**
       * Texts of a real agent whose servers are out of order; which one comes depends on the server it happens to ask.
       */
      const outOfOrder =
        /No cluster leader|No known Consul servers|failed to get conn|making call: EOF|connection refused/;
      /** What a client answers, so that two clients can be compared. */
      const said = async (asked: Member, method: string, path: string): Promise<unknown> => {
        const body = method === 'PUT' ? { body: 'x' } : {};
        const { status, text, headers } = await asked.request(method, path, { ...body, timeoutMs: 30_000 });
        const told = outOfOrder.test(text) ? 'out of order' : text;
        return { status, text: status === 200 ? 'fine' : told, leader: headers['x-consul-knownleader'] };
      };

      const register = (client: Member, name: string, tags: readonly string[] = []): Promise<void> => {
        const Check = { CheckID: `${name}-ttl`, TTL: '1h', Status: 'passing' };
        return client.put('/v1/agent/service/register', { Name: name, Port: 80, Tags: tags, Check }, held);
      };

      /** Catalog and agent, in the same words. */
      const catalogOf = async (node: Member, asked: Member): Promise<unknown> => {
        const { Services } = await asked.get<{ Services: Record<string, LocalService> }>(
          `/v1/catalog/node/${node.name}`,
        );
        const checks = await asked.get<LocalCheck[]>(`/v1/health/node/${node.name}`);
        return { services: tellServices(Services), checks: tellChecks(checks) };
      };
      const localOf = async (node: Member): Promise<unknown> => ({
        services: tellServices(await node.get<Record<string, LocalService>>('/v1/agent/services')),
        checks: tellChecks(Object.values(await node.get<Record<string, LocalCheck>>('/v1/agent/checks'))),
      });
      const tellServices = (services: Readonly<Record<string, LocalService>>): readonly string[] =>
        Object.values(services)
          .map(({ ID, Service, Tags, Port, Meta }) => JSON.stringify([ID, Service, Tags ?? [], Port, Meta ?? {}]))
          .toSorted();
      const tellChecks = (checks: readonly LocalCheck[]): readonly string[] =>
        checks
          .filter(({ CheckID }) => CheckID !== 'serfHealth')
          .map(({ CheckID, Status, Output, Notes }) => JSON.stringify([CheckID, Status, Output, Notes]))
          .toSorted();

      const indexOf = async (node: Member, service: string): Promise<number> => {
        const found = await cluster.servers[0]!.get<{ Node: string; ModifyIndex: number }[]>(
          `/v1/catalog/service/${service}`,
        );
        return found.find(({ Node }) => Node === node.name)?.ModifyIndex ?? 0;
      };

      interface Outage {
        readonly name: string;
        /** Does harm; returns what undoes it. */
        readonly begin: () => Promise<() => void>;
        /** Whether a leader remains or is elected. */
        readonly leader: boolean;
        /** Whether somebody is left who can serve stale reads. */
        readonly anybody: boolean;
        /** Whether those who are asked answer at all. */
        readonly answers: boolean;
      }
      const killed = async (victims: readonly Member[]): Promise<() => void> => {
        await Promise.all(victims.map((victim) => victim.kill()));
        return () => victims.forEach((victim) => victim.start());
      };
      const outages: readonly Outage[] = [
        {
          name: 'the leader is killed',
          begin: async () => killed([await cluster.leader()]),
          leader: true,
          anybody: true,
          answers: true,
        },
        {
          name: 'a majority is killed',
          begin: async () => killed(cluster.servers.slice(0, majority)),
          leader: false,
          anybody: true,
          answers: true,
        },
        { name: 'all are killed', begin: () => killed(cluster.servers), leader: false, anybody: false, answers: true },
        {
          name: 'all are frozen',
          begin: async () => {
            for (const server of cluster.servers) server.pause();
            return () => cluster.servers.forEach((server) => server.resume());
          },
          leader: false,
          anybody: false,
          answers: false,
        },
      ];

      test.each(outages)('$name', { timeout: 240_000 }, async ({ name, begin, leader, anybody, answers }) => {
        const label = name.replaceAll(' ', '-');
        const changing = [p1, p2, r1];
        for (const client of changing) {
          await register(client, 'steady');
          await register(client, `old-${label}`);
        }
        await register(r2, 'watched', ['before']);
        for (const client of clients) {
          await waitUntil(
            () => `the catalog of ${client.name} to be right before`,
            async () => same(await catalogOf(client, cluster.servers[0]!), await localOf(client)),
            recoveryLimitMs,
          );
        }
        const steady = await Promise.all(changing.map((client) => indexOf(client, 'steady')));
        const watch = new Watch(p2, '/v1/health/service/watched');
        const locals = [p1, p2].filter(({ kind }) => kind === 'portolan').map((client) => new LocalQuestions(client));
        let end: () => void = () => undefined;
        try {
          end = once(await begin());
          const changes = changing.map(async (client) => {
            await register(client, `new-${label}`);
            await client.put(`/v1/agent/service/deregister/old-${label}`, undefined, held);
            await client.put(`/v1/agent/check/warn/steady-ttl?note=${label}`, undefined, held);
          });
          const changed = Promise.allSettled(changes);
          // The real one makes callers wait for the servers.
          await Promise.all(leader ? changes : changes.filter((_, at) => changing[at]!.kind === 'portolan'));
          if (!leader && answers) {
            await pause(2_000);
            const questions: readonly (readonly [string, string])[] = [
              ['GET', '/v1/kv/none'],
              ['PUT', '/v1/kv/none'],
              ['GET', '/v1/catalog/services'],
              ['GET', '/v1/catalog/services?stale'],
              ['GET', '/v1/health/service/steady?stale'],
              ['GET', '/v1/health/service/steady?consistent'],
              ['GET', '/v1/status/leader'],
            ];
            const [ours, real] = await Promise.all(
              [p1, r1].map((client) => Promise.all(questions.map(([method, path]) => said(client, method, path)))),
            );
            for (const [at, question] of questions.entries()) {
              // The real one may ask a server that is dead, and leaves it at that.
              if (question[1].endsWith('?stale') && anybody)
                expect([question, ours![at]]).toMatchObject([{}, { status: 200 }]);
              else expect([question, ours![at]]).toEqual([question, real![at]]);
            }
            expect(ours![0]).toMatchObject({ status: 500 });
          }
          await pause(leader ? 1_000 : 4_000);
          for (const local of locals) expect(local.failures, local.name).toEqual([]);
          end();
          for (const change of await changed) expect(change).toMatchObject({ status: 'fulfilled' });
          await cluster.formed(cluster.members, recoveryLimitMs);
          for (const client of clients) {
            let [catalog, local]: unknown[] = [];
            await waitUntil(
              () =>
                `the catalog of ${client.name} to be right:\n${JSON.stringify({ catalog, local }, null, 1)}\n${client.logTail}`,
              async () => {
                [catalog, local] = await Promise.all([catalogOf(client, cluster.servers[0]!), localOf(client)]);
                return same(catalog, local);
              },
              recoveryLimitMs,
            );
          }
          const after = await Promise.all(changing.map((client) => indexOf(client, 'steady')));
          expect(after).toEqual(steady);
          await register(r2, 'watched', [label]);
          await waitUntil(
            () => `the watch to go on; it saw ${watch.last}`,
            () => watch.last.includes(label),
            recoveryLimitMs,
          );
          for (const local of locals) expect(local.failures, local.name).toEqual([]);
        } finally {
          end();
          watch.close();
          for (const local of locals) local.close();
        }
      });
    });

    test(
      `the servers are asked as often as by a real client (${sideBySideS} s)`,
      { timeout: (sideBySideS + 120) * 1000 },
      async () => {
        const pair = [p3, r2];
        for (const client of pair) {
          for (let number = 0; number < 5; number++) {
            await client.put('/v1/agent/service/register', {
              Name: `busy-${number}`,
              ID: `busy-${client.name}-${number}`,
              Port: 80 + number,
              Checks: [
                { Name: 'tcp', TCP: '127.0.0.1:8500', Interval: '1s' },
                { Name: 'output', Args: ['sh', '-c', 'date +%s'], Interval: '10s' },
              ],
            });
          }
        }
        const watches = pair.flatMap((client) =>
          ['/v1/health/service/busy-0', '/v1/kv/busy?recurse', '/v1/catalog/services'].map(
            (path) => new Watch(client, path),
          ),
        );
        await pause(5_000);
        for (const counter of counters.values()) counter.reset();
        const untilMs = performance.now() + sideBySideS * 1_000;
        for (let round = 0; performance.now() < untilMs; round++) {
          for (const client of pair) {
            await client.put(`/v1/kv/busy/${client.name}`, String(round));
            await client.get('/v1/kv/busy/none').catch(() => undefined);
            await client.get('/v1/health/service/busy-1?passing');
            await client.get('/v1/health/service/busy-1?cached');
            await client.get('/v1/catalog/nodes?stale');
            await client.dns('busy-2.service.consul', 'SRV');
            if (round % 10 === 0)
              await client.put('/v1/agent/service/register', { Name: 'turns', Tags: [String(round)] });
            if (round % 20 === 0) await client.put('/v1/event/fire/busy', 'x');
          }
          await pause(500);
        }
        const [ours, real] = pair.map((client) => counters.get(client.name)!.counts) as [
          Readonly<Record<string, number>>,
          Readonly<Record<string, number>>,
        ];
        for (const watch of watches) watch.close();
        console.log(`sidecar: calls in ${sideBySideS} s: ${JSON.stringify({ [p3.name]: ours, [r2.name]: real })}`);
        const apart = [...new Set([...Object.keys(ours), ...Object.keys(real)])].filter((method) => {
          const [our = 0, their = 0] = [ours[method], real[method]];
          return our - their > Math.max(callsApartMax, their * callsApartShare);
        });
        expect(apart.map((method) => `${method}: ${ours[method] ?? 0}, a real client: ${real[method] ?? 0}`)).toEqual(
          [],
        );
        expect(real['Catalog.Register']).toBeGreaterThan(0);
        expect(ours['Catalog.Register']).toBeGreaterThan(0);
      },
    );
  },
);

describe.skipIf(needs === undefined).each(cases)(
  '$clients clients with ACLs, TLS and encryption under $servers servers',
  (kinds) => {
    const master = '00000000-0000-4000-8000-000000000001';
    const agentToken = '00000000-0000-4000-8000-000000000002';
    const webToken = '00000000-0000-4000-8000-000000000003';
    const asMaster = { headers: { 'X-Consul-Token': master } };
    /** Refusals are told at once; a repetition would come with the next partial sync (ms). */
    const quietMs = 10_000;
    let cluster: Cluster;

    beforeEach(({ onTestFailed }) => onTestFailed(() => cluster?.keepLogs()));

    beforeAll(async () => {
      const network = new Network();
      const consul = (...words: readonly string[]): string =>
        execFileSync(needs!.consul, words, { cwd: network.directory, encoding: 'utf8' });
      consul('tls', 'ca', 'create');
      consul('tls', 'cert', 'create', '-server', '-dc=dc1');
      consul('tls', 'cert', 'create', '-client', '-dc=dc1');
      const tls = (role: string): Readonly<Record<string, string>> => ({
        ca_file: join(network.directory, 'consul-agent-ca.pem'),
        cert_file: join(network.directory, `dc1-${role}-consul-0.pem`),
        key_file: join(network.directory, `dc1-${role}-consul-0-key.pem`),
      });
      cluster = new Cluster({
        network,
        consul: needs!.consul,
        config: {
          encrypt: consul('keygen').trim(),
          verify_incoming: true,
          verify_outgoing: true,
          verify_server_hostname: true,
          acl: { enabled: true, default_policy: 'deny', tokens: { agent: agentToken } },
          ...tls('client'),
        },
        serverConfig: {
          bootstrap_expect: serverCount,
          acl: { enabled: true, default_policy: 'deny', tokens: { master, agent: agentToken } },
          ...tls('server'),
        },
      });
      for (const name of serverNames) cluster.add({ name, kind: kinds.servers, server: true });
      for (const server of cluster.servers) server.start();
      const server = await cluster.leader();
      await waitUntil(
        () => `the master token to work\n${server.logTail}`,
        () => server.get('/v1/acl/tokens', asMaster).then(Boolean, () => false),
      );
      const policies = {
        agents:
          'node_prefix "" { policy = "write" } service_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }',
        web: 'service "web" { policy = "write" } node_prefix "" { policy = "read" }',
      };
      for (const [Name, Rules] of Object.entries(policies))
        await server.put('/v1/acl/policy', { Name, Rules }, asMaster);
      await server.put('/v1/acl/token', { SecretID: agentToken, Policies: [{ Name: 'agents' }] }, asMaster);
      await server.put('/v1/acl/token', { SecretID: webToken, Policies: [{ Name: 'web' }] }, asMaster);
      // A file's definition is not vetted when it is read: the servers refuse it.
      const config = { services: [{ name: 'forbidden', port: 1, token: webToken }] };
      cluster.add({ name: 'p1', kind: kinds.clients, server: false, config });
      cluster.add({ name: 'r1', kind: 'consul', server: false, config });
      for (const client of cluster.clients) client.start();
      for (const client of cluster.clients) {
        await waitUntil(
          () => `${client.name} to be in the catalog\n${client.logTail}`,
          async () => {
            const nodes = await server.get<{ Node: string; Meta: object | null }[]>('/v1/catalog/nodes', asMaster);
            // The leader makes the node, its own agent adds this.
            return nodes.some(({ Node, Meta }) => Node === client.name && Object.keys(Meta ?? {}).length > 0);
          },
          recoveryLimitMs,
        );
      }
    });

    afterAll(async () => {
      await cluster?.close();
    });

    test('each registers with the token that it was given', async () => {
      for (const client of cluster.clients) {
        const headers = { 'X-Consul-Token': webToken };
        await client.put('/v1/agent/service/register', { Name: 'web', Port: 80 }, { headers });
        await waitUntil(
          () => `web of ${client.name}\n${client.logTail}`,
          async () => {
            const found = await cluster.servers[0]!.get<CatalogService[]>('/v1/catalog/service/web', asMaster);
            return found.some(({ Node }) => Node === client.name);
          },
          syncLimitMs,
        );
      }
    });

    test.each([
      ['GET', '/v1/kv/secret', ''],
      ['PUT', '/v1/kv/secret', ''],
      ['PUT', '/v1/kv/secret', master],
      ['GET', '/v1/kv/secret', webToken],
      ['GET', '/v1/agent/self', ''],
      ['GET', '/v1/agent/self', agentToken],
      ['GET', '/v1/agent/members', ''],
      ['GET', '/v1/catalog/services', ''],
      ['GET', '/v1/catalog/services', webToken],
      ['GET', '/v1/health/service/web', ''],
      ['GET', '/v1/catalog/nodes', 'ffffffff-0000-4000-8000-000000000000'],
      ['PUT', '/v1/agent/service/deregister/web', ''],
      ['PUT', '/v1/event/fire/any', ''],
      ['GET', '/v1/acl/token/self', webToken],
    ])('%s %s with token "%s" is answered alike', async (method, path, token) => {
      const [ours, real] = await Promise.all(
        cluster.clients.map(async (client) => {
          const headers: Record<string, string> = token === '' ? {} : { 'X-Consul-Token': token };
          const { status, text } = await client.request(method, path, {
            headers,
            ...(method === 'PUT' ? { body: 'x' } : {}),
          });
          // One more for each server that passes it on.
          const plain = text.replaceAll(/(rpc error making call: )+/g, '$1');
          return { status, text: status === 200 ? '' : plain };
        }),
      );
      expect(ours).toEqual(real);
    });

    test('what the servers refuse is told once, and not again at every change', async () => {
      const [p1, r1] = cluster.clients as [Member, Member];
      const refusals = (client: Member): readonly string[] =>
        client.log
          .split('\n')
          .filter((text) => /\[WARN\].*Service registration blocked by ACLs: service=forbidden/.test(text));
      for (const client of [p1, r1]) {
        await waitUntil(
          () => `the refusal\n${client.logTail}`,
          () => refusals(client).length > 0,
          recoveryLimitMs,
        );
      }
      const before = refusals(p1).length;
      for (let change = 0; change < 5; change++) {
        const headers = { 'X-Consul-Token': webToken };
        await p1.put('/v1/agent/service/register', { Name: 'web', Port: 80 + change }, { headers });
        await pause(quietMs / 5);
      }
      expect(refusals(p1)).toHaveLength(before);
      expect(before).toBe(1);
      expect(await cluster.servers[0]!.get('/v1/catalog/service/forbidden', asMaster)).toEqual([]);
    });
  },
);

/** A blocking query that is asked again and again, as clients do. */
class Watch {
  last = '';
  #open = true;

  constructor(asked: Member, path: string) {
    void this.#loop(asked, path);
  }

  close(): void {
    this.#open = false;
  }

  async #loop(asked: Member, path: string): Promise<void> {
    let index = '0';
    while (this.#open) {
      try {
        const glue = path.includes('?') ? '&' : '?';
        const { status, text, headers } = await asked.request('GET', `${path}${glue}index=${index}&wait=60s`, {
          timeoutMs: 90_000,
        });
        if (status !== 200 && status !== 404) throw new Error(text);
        this.last = text;
        index = String(headers['x-consul-index'] ?? '0');
      } catch {
        index = '0';
        await pause(200);
      }
    }
  }
}

/** What an agent answers out of itself, asked all the time. */
class LocalQuestions {
  readonly name: string;
  readonly failures: string[] = [];
  #open = true;

  constructor(asked: Member) {
    this.name = asked.name;
    void this.#loop(asked);
  }

  close(): void {
    this.#open = false;
  }

  async #loop(asked: Member): Promise<void> {
    while (this.#open) {
      for (const path of ['/v1/agent/services', '/v1/agent/checks', '/v1/agent/members', '/v1/agent/self']) {
        try {
          await asked.get(path, { timeoutMs: localLimitMs });
        } catch (error) {
          if (this.#open) this.failures.push(String(error));
        }
      }
      await pause(100);
    }
  }
}

function once(run: () => void): () => void {
  let ran = false;
  return () => {
    if (!ran) run();
    ran = true;
  };
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
