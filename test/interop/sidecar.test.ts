// Portolan clients beside real ones, under the same servers: what one registers the others see, the same command gives
// the same output at each, and outages of the servers are ridden out alike. For PORTOLAN_SERVERS, PORTOLAN_SERVER_COUNT
// and PORTOLAN_PEERS see support/sidecar.ts.
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clusterNeeds } from '../chaos/support/cluster-kind.ts';
import { engineSkipReason, startEngine, type TestEngine } from '../engine/support/dockerd.ts';
import { Cluster, type CommandResult, type Member } from '../helpers/cluster.ts';
import { Network } from '../helpers/namespaces.ts';
import { waitUntil } from '../helpers/wait.ts';
import {
  type CatalogService,
  pause,
  recoveryLimitMs,
  same,
  serverCount,
  serverNames,
  sidecarCases,
  syncLimitMs,
  Watch,
} from './support/sidecar.ts';

/** Local answers need nobody; this is a hang, not a delay (ms). */
const localLimitMs = 5_000;
/** A real agent answers a registration when its servers have it, or have failed over and over. */
const held = { timeoutMs: 120_000 };
/** Coordinates are first sent after up to 30 s, and written 5 s later (ms). */
const coordinateLimitMs = 90_000;
/** Two commands, one after the other (ms). */
const commandLimitMs = 120_000;
/** `docker rm -f` to the answer of another host's DNS (ms). */
const removalLimitMs = 1_000;

const needs = clusterNeeds('interop: sidecar');
const majority = Math.floor(serverCount / 2) + 1;

interface LocalService {
  readonly ID: string;
  readonly Service: string;
  readonly Tags: readonly string[] | null;
  readonly Port: number;
  readonly Meta: Readonly<Record<string, string>> | null;
  readonly EnableTagOverride: boolean;
  readonly ModifyIndex: number;
}
interface LocalCheck {
  readonly CheckID: string;
  readonly Status: string;
  readonly Output: string;
  readonly Notes: string;
}

describe.skipIf(needs === undefined).each(sidecarCases)(
  '$clients clients beside real ones under $servers servers',
  (kinds) => {
    let cluster: Cluster;
    let engine: TestEngine | undefined;
    let p1: Member, p2: Member, r1: Member, r2: Member;
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
      p2 = cluster.add({ name: 'p2', kind: kinds.clients, server: false });
      cluster.add({ name: 'p3', kind: kinds.clients, server: false });
      [r1, r2] = ['r1', 'r2'].map((name) => cluster.add({ name, kind: 'consul', server: false })) as [Member, Member];
      clients = cluster.clients;
      await cluster.startAll();
    });

    afterAll(async () => {
      await cluster?.close();
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
      /** One more when the server that a client happens to ask is not the leader. */
      const passedOn = /(rpc error making call: ){1,2}/g;
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
        line('kv get -detailed cli/b'),
        line('kv get -base64 cli/b'),
        line('kv get cli/none'),
        line('kv get -recurse cli/'),
        line('kv get -keys cli/'),
        line('kv export cli/'),
        line('kv import -', { input: '[{"key":"cli/in","flags":7,"value":"aW4="}]' }),
        line('kv get -detailed -recurse cli/b'),
        line('kv delete cli/b'),
        line('kv delete -recurse cli/'),
        line('event -name=deploy payload'),
        line('event -name=deploy -node=^s payload'),
        line('event -name=deploy -service=seen -tag=none payload'),
        line('event payload'),
        line('lock locks/cli echo held'),
        line('lock -child-exit-code locks/cli exit 3'),
        line('lock -n=2 locks/two echo held'),
        line('lock -name=named locks/named printenv CONSUL_LOCK_HELD'),
        line('lock -pass-stdin locks/in cat', { input: 'given' }),
        line('watch -type=nodes'),
        line('watch -type=services', { sorted: true }),
        line('watch -type=service -service=shape-bare'),
        line('watch -type=service -service=seen -passingonly=true', { sorted: true }),
        line('watch -type=checks -service=seen'),
        line('watch -type=checks -state=warning'),
        line('watch -type=key -key=cli/watched'),
        line('watch -type=keyprefix -prefix=cli/'),
        line('watch -type=none'),
        line('exec -wait=1s -node=^[pr] echo hello', { sorted: true }),
        line('exec -wait=1s -service=seen -node=p2 false', { sorted: true }),
        line('exec -wait=1s -node=^p2$ -', { input: 'echo from; echo input >&2' }),
        line('exec -wait=1s -node=nobody echo hello'),
        line('maint'),
        line('maint -enable -reason=because'),
        line('maint -disable'),
        line('operator raft list-peers'),
        line('operator raft list-peers -stale', { sorted: true }),
        line('operator raft remove-peer -id=nobody'),
        line('operator autopilot get-config'),
        line('keyring -list'),
        line('force-leave nobody'),
        line('intention check one two'),
        line('intention get one none'),
        line('intention delete one none'),
        line('config list -kind=service-defaults'),
        line('services register -name=cli -port=1'),
        line('maint -enable -service=cli -reason=because'),
        line('maint'),
        line('maint -disable -service=cli'),
        line('maint -enable -service=nobody'),
        line('services deregister -id=cli'),
        line('reload'),
      ];

      const plain = ({ code, stdout, stderr }: CommandResult, sorted: boolean): unknown => {
        const text = stdout.replaceAll(uuid, 'UUID').replaceAll(milliseconds, 'N ms');
        const said = stderr.replaceAll(passedOn, '$1');
        // What comes in no order may come before a comma, or last.
        const inOrder = sorted ? text.replaceAll(/,$/gm, '').split('\n').toSorted() : text;
        return { code, stdout: inOrder, stderr: said };
      };

      const compare = async ({ args, input = '', sorted = false }: Line): Promise<void> => {
        const real = await cluster.cli(r1, 'consul', args, input);
        // What the first one changed is undone where the second would find it.
        const ours = await cluster.cli(p1, 'consul', args, input);
        expect(plain(ours, sorted)).toEqual(plain(real, sorted));
      };

      beforeAll(async () => {
        await p1.put('/v1/kv/cli/watched', 'seen');
      });

      test.each(lines)('consul $words', { timeout: commandLimitMs }, compare);

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
        const args = ['watch', '-type=event', '-name=from-p1'];
        expect(await cluster.cli(p1, 'consul', args)).toEqual(await cluster.cli(r1, 'consul', args));
      });

      test('who locks at one waits for who has locked at the other, or gives up', async () => {
        const file = join(cluster.network.directory, 'turns');
        const child = `echo in >> ${file}; sleep 2; echo out >> ${file}`;
        const [first, second] = [p1, r1].map((member) =>
          cluster.cli(member, 'consul', ['lock', '-verbose', 'locks/turns', child]),
        );
        await waitUntil('one to have it', () => existsSync(file));
        const [ours, real] = await Promise.all(
          [p1, r1].map((member) =>
            cluster.cli(member, 'consul', ['lock', '-try=500ms', 'locks/turns', 'echo', 'never']),
          ),
        );
        expect(ours).toEqual(real);
        expect(ours).toMatchObject({ code: 1, stdout: '' });
        const results = await Promise.all([first, second]);
        expect(results.map((result) => result?.code)).toEqual([0, 0]);
        expect(readFileSync(file, 'utf8')).toBe('in\nout\nin\nout\n');
      });

      test('a watch runs its child at every change, until it is ended', async () => {
        const commands = [p1, r1].map(
          (member) => new Running(cluster, member, ['watch', '-type=key', '-key=cli/changing', 'cat; echo']),
        );
        try {
          for (const value of ['one', 'two', 'three']) {
            await p2.put('/v1/kv/cli/changing', value);
            for (const command of commands) {
              await waitUntil(
                () => `${value} in: ${command.output}`,
                () => command.output.includes(btoa(value)),
              );
            }
          }
          const [ours, real] = await Promise.all(
            commands.map(async (command) => [await command.end(), command.output]),
          );
          expect(ours).toEqual(real);
        } finally {
          for (const command of commands) await command.end();
        }
      });

      describe('once the servers know where everybody is', () => {
        const distances = [line('rtt p1 r1'), line('rtt p1 nobody'), line('rtt -wan s1.dc1 s2.dc1')];

        beforeAll(async () => {
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

        test.each(distances)('consul $words', { timeout: commandLimitMs }, compare);
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
        /No cluster leader|No known Consul servers|failed to get conn|making call: EOF|session shutdown|connection refused/;
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
        const found = await asked.get<{ Services: Record<string, LocalService> } | null>(
          `/v1/catalog/node/${node.name}`,
        );
        // A real server that has just begun to lead knows little of what it has on disk yet.
        if (found === null) return undefined;
        const checks = await asked.get<LocalCheck[]>(`/v1/health/node/${node.name}`);
        return { services: tellServices(found.Services), checks: tellChecks(checks) };
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

      /** When the node and each of its services was last written, but for those that the scene changes. */
      const written = async (node: Member, changed: string): Promise<Readonly<Record<string, number>>> => {
        const { Node, Services } = await cluster.servers[0]!.get<{
          Node: { Meta: object | null; ModifyIndex: number };
          Services: Record<string, LocalService>;
        }>(`/v1/catalog/node/${node.name}`);
        const steady = Object.values(Services)
          .filter(({ ID }) => ID !== 'watched' && !ID.endsWith(changed))
          // Where tags may be overridden the real one writes once more at its first full sync: an empty list for none.
          .filter(({ EnableTagOverride }) => node.kind === 'portolan' || !EnableTagOverride);
        // The leader of real servers may take from a new node what its agent has told: it is told once more.
        const isRight = kinds.servers === 'portolan' || Object.keys(Node.Meta ?? {}).length > 0;
        return Object.fromEntries([
          ...(isRight ? [['', Node.ModifyIndex] as const] : []),
          ...steady.map(({ ID, ModifyIndex }): [string, number] => [ID, ModifyIndex]),
        ]);
      };

      interface Outage {
        readonly name: string;
        /** Does harm; returns what undoes it. */
        readonly begin: () => Promise<() => void>;
        /** Whether a leader remains or is elected. */
        readonly leader: boolean;
        /** Whether somebody is left who can serve stale reads. */
        readonly anybody: boolean;
        /** Whether a real client hears at once that it gets no answer. */
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
        const steady = await Promise.all(clients.map((client) => written(client, label)));
        for (const client of changing) expect(Object.keys(steady[clients.indexOf(client)]!)).toContain('steady');
        const watches = [
          new Watch(p2, '/v1/health/service/watched'),
          new Watch(p2, '/v1/catalog/services'),
          new Watch(p1, '/v1/kv/watched?raw'),
        ];
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
          if (!leader) {
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
            // The real one waits for a server that is frozen for as long as its connection lives.
            const [ours, real] = await Promise.all(
              (answers ? [p1, r1] : [p1]).map((client) =>
                Promise.all(questions.map(([method, path]) => said(client, method, path))),
              ),
            );
            // DNS takes what is stale.
            if (anybody) expect(await p1.dns('steady.service.consul', 'A')).toHaveLength(3);
            for (const [at, question] of questions.entries()) {
              const [, path] = question;
              const told = [question, ours![at]];
              // Whoever is left answers these. The real one may ask a server that is dead, and leaves it at that.
              if (anybody && /\?stale|leader/.test(path)) expect(told).toMatchObject([{}, { status: 200 }]);
              else {
                expect(told).toMatchObject([{}, { status: 500, text: 'out of order' }]);
                if (real !== undefined) expect(told).toEqual([question, real[at]]);
              }
            }
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
          const after = await Promise.all(clients.map((client) => written(client, label)));
          expect(after).toMatchObject(steady);
          await register(r2, 'watched', [label]);
          await r2.put('/v1/kv/watched', label);
          for (const watch of watches) {
            await waitUntil(
              () => `${watch.path} to go on; it saw ${watch.last}`,
              () => watch.last.includes(label),
              recoveryLimitMs,
            );
          }
          for (const local of locals) expect(local.failures, local.name).toEqual([]);
        } finally {
          end();
          for (const watch of watches) watch.close();
          for (const local of locals) local.close();
        }
      });
    });
  },
);

/** A client command that goes on until it is ended. */
class Running {
  output = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  constructor(cluster: Cluster, member: Member, args: readonly string[]) {
    this.#child = member.host.spawn([...cluster.command('consul'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => (this.output += bytes.toString()));
    }
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  /** As by Ctrl-C. @returns its exit code */
  end(): Promise<number | null> {
    this.#child.kill('SIGINT');
    return this.#ended;
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
