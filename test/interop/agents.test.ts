// Whole agents in pools with real Consul: who sees whom, how members come and how they end, events, keys and
// coordinates, in one datacenter and between two (reference/agent.md §1.5, §3, reference/gossip.md §6).
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { RealCluster, type RealMember } from './support/real-cluster.ts';

type Kind = 'real' | 'ours';
type Settings = Readonly<Record<string, unknown>>;

const ports = { server: 24_150, http: 24_151, serfLan: 24_152, serfWan: 24_153, dns: 24_154 };
const portolan = process.env['PORTOLAN_BUNDLE'] ?? resolve(import.meta.dirname, '../../dist/portolan.js');
/** Longest change that a pool needs to agree on, on a loaded machine (ms). */
const agreeLimitMs = 60_000;
/** Longest test (ms). */
const testLimitMs = 180_000;
const commandLimitMs = 60_000;
const statusNames = ['none', 'alive', 'leaving', 'left', 'failed'];
const oldKey = 'pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=';
const newKey = 'xO1d9dHBzeMVcPGgZVQvsd4a9HpnbFYdiVuR1Sn5Zx0=';

/** Failures are found sooner than with the defaults, and slow machines still not taken for dead. */
const timing = {
  gossip_lan: { gossip_interval: '100ms', probe_interval: '500ms', probe_timeout: '400ms' },
  gossip_wan: { gossip_interval: '100ms', probe_interval: '1s', probe_timeout: '800ms' },
};

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Agents of both kinds in one pool. */
class Pool {
  readonly #programs: Readonly<Record<Kind, string>>;
  readonly #clusters: Readonly<Record<Kind, RealCluster>>;

  constructor(consul: string, settings: Settings = {}) {
    const shared = { ...timing, ...settings };
    this.#programs = { real: consul, ours: portolan };
    this.#clusters = {
      real: new RealCluster(consul, ports, shared),
      ours: new RealCluster(portolan, ports, { registrator: { enabled: false }, ...shared }),
    };
  }

  /** Starts an agent, and waits for nothing. @param others addresses that it goes on trying to join */
  start(
    kind: Kind,
    name: string,
    address: string,
    settings: Settings = {},
    others: readonly string[] = [],
  ): RealMember {
    return this.#clusters[kind].start(name, address, settings, others);
  }

  /** Waits until an agent's API answers and it knows a leader. */
  async ready(...members: readonly RealMember[]): Promise<void> {
    await Promise.all(members.map((member) => this.#clusters.real.ready(member)));
  }

  restart(kind: Kind, member: RealMember): void {
    this.#clusters[kind].restart(member);
  }

  /** Runs a command of one program against an agent. */
  run(kind: Kind, member: RealMember, ...words: readonly string[]): Promise<Outcome> {
    const env = { ...process.env, CONSUL_HTTP_ADDR: `${member.address}:${ports.http}` };
    return new Promise((done) => {
      execFile(this.#programs[kind], words, { env, timeout: commandLimitMs }, (error, stdout, stderr) =>
        done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      );
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#clusters.real.close(), this.#clusters.ours.close()]);
  }
}

const lan = (address: string): string => `${address}:${ports.serfLan}`;

async function ask(member: RealMember, path: string, method = 'GET', body?: string): Promise<string> {
  const response = await fetch(`${member.http}/v1/${path}`, {
    method,
    ...(body === undefined ? {} : { body }),
    signal: AbortSignal.timeout(commandLimitMs),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} of ${member.name}: ${response.status} ${text}`);
  return text;
}

/** Names and states of the members that an agent sees; empty while it does not answer. */
async function statuses(member: RealMember, query = ''): Promise<Readonly<Record<string, string>>> {
  const text = await ask(member, `agent/members${query}`).catch(() => '[]');
  const list = JSON.parse(text) as { readonly Name: string; readonly Status: number }[];
  return Object.fromEntries(list.map(({ Name, Status }) => [Name, statusNames[Status] ?? String(Status)]));
}

/** Waits until all of `members` see another in a state; undefined = not at all. */
async function seen(
  members: readonly RealMember[],
  name: string,
  status: string | undefined,
  query = '',
): Promise<void> {
  const last = new Map<string, unknown>();
  await waitUntil(
    () => `${name} to be ${status}: ${JSON.stringify([...last])}`,
    async () => {
      for (const member of members) {
        const now = await statuses(member, query);
        last.set(member.name, now);
        if (Object.keys(now).length === 0 || now[name] !== status) return false;
      }
      return true;
    },
    agreeLimitMs,
  );
}

/** Waits for words in an agent's log. */
async function says(member: RealMember, words: string | RegExp): Promise<void> {
  await waitUntil(
    () => `${member.name} to say ${words}: ${member.program.log.slice(-6_000)}`,
    () => (typeof words === 'string' ? member.program.log.includes(words) : words.test(member.program.log)),
    agreeLimitMs,
  );
}

describeWith('agents in pools', { consul: realConsul() }, ({ consul }) => {
  describe.each([
    ['real', 120],
    ['ours', 124],
  ] as const)('clients of a server: %s', (kind, first) => {
    const addressOf = (at: number): string => `127.0.0.${first + at}`;
    let pool: Pool;
    let server: RealMember;
    let ours: RealMember;
    let real: RealMember;
    let all: readonly RealMember[];

    beforeAll(async () => {
      pool = new Pool(consul, { encrypt: oldKey });
      server = pool.start(kind, 'server', addressOf(0), { server: true, bootstrap_expect: 1 });
      ours = pool.start('ours', 'ours', addressOf(1), {}, [addressOf(0)]);
      real = pool.start('real', 'real', addressOf(2), {}, [addressOf(0)]);
      all = [server, ours, real];
      await pool.ready(...all);
      for (const { name } of all) await seen(all, name, 'alive');
    }, testLimitMs);

    afterAll(() => pool.close());

    test(
      'everybody shows the same members, in every form',
      async () => {
        for (const words of [
          ['members'],
          ['members', '-detailed'],
          ['members', '-status=^left$'],
          ['members', '-segment=nowhere'],
          ['members', '-wan'],
        ]) {
          const outcomes = await Promise.all(
            all.flatMap((member) => [pool.run('real', member, ...words), pool.run('ours', member, ...words)]),
          );
          const [ofServer, other, ...ofClients] = outcomes;
          expect(other).toEqual(ofServer);
          const what = words.join(' ');
          if (words[1] === '-wan') {
            expect(ofServer).toMatchObject({ code: 0, stdout: expect.stringContaining('server.dc1') as string });
            for (const outcome of ofClients) expect(outcome, what).toEqual({ code: 2, stdout: '', stderr: '' });
          } else if (words[1] === '-segment=nowhere') {
            const problem = 'Network segments are not supported in this version of Consul';
            expect(ofServer).toMatchObject({ code: 1, stderr: expect.stringContaining(problem) as string });
            for (const outcome of ofClients) {
              expect(outcome.stderr, what).toContain('500 (segment "nowhere" not found)');
            }
          } else {
            for (const outcome of ofClients) expect(outcome, what).toEqual(ofServer);
          }
        }
        const { stdout } = await pool.run('ours', real, 'members');
        expect(stdout.split('\n').map((line) => line.split(/ +/).slice(0, 7).join(' '))).toEqual([
          'Node Address Status Type Build Protocol DC',
          `server ${lan(addressOf(0))} alive server 1.8.7 2 dc1`,
          `ours ${lan(addressOf(1))} alive client 1.8.7 2 dc1`,
          `real ${lan(addressOf(2))} alive client 1.8.7 2 dc1`,
          '',
        ]);
      },
      testLimitMs,
    );

    test(
      'user events reach whom they are for, whoever sends them',
      async () => {
        for (const [member, tag] of [
          [ours, 'v1'],
          [real, 'v2'],
        ] as const) {
          await ask(member, 'agent/service/register', 'PUT', JSON.stringify({ Name: 'web', Tags: [tag] }));
        }
        const names = async (member: RealMember): Promise<readonly string[]> => {
          const events = JSON.parse(await ask(member, 'event/list')) as { Name: string; Payload: string | null }[];
          return events.map(({ Name, Payload }) => `${Name} ${Buffer.from(Payload ?? '', 'base64').toString()}`);
        };
        const filters = [
          ['all', [], ['server', 'ours', 'real']],
          ['node', ['-node=^(ours|server)$'], ['server', 'ours']],
          ['service', ['-service=^we'], ['ours', 'real']],
          ['tag', ['-service=web', '-tag=v2'], ['real']],
          ['nobody', ['-node=ours', '-service=web', '-tag=v2'], []],
        ] as const;
        for (const [sender, program] of [
          [ours, 'ours'],
          [real, 'real'],
          [server, 'ours'],
        ] as const) {
          const nameOf = (filter: string): string => `${filter}-from-${sender.name}`;
          for (const [filter, flags] of filters) {
            const { code, stdout } = await pool.run(
              program,
              sender,
              'event',
              `-name=${nameOf(filter)}`,
              ...flags,
              'hello',
            );
            expect(stdout).toMatch(/^Event ID: [\da-f-]{36}\n$/);
            expect(code).toBe(0);
          }
          for (const [filter, , receivers] of filters) {
            for (const member of all.filter(({ name }) => (receivers as readonly string[]).includes(name))) {
              await waitUntil(`${nameOf(filter)} to reach ${member.name}`, async () =>
                (await names(member)).includes(`${nameOf(filter)} hello`),
              );
            }
          }
        }
        for (const member of all) {
          const expected = filters.filter(([, , to]) => (to as readonly string[]).includes(member.name));
          const got = (await names(member)).map((name) => name.replace(/-from-.*/, ''));
          expect(new Set(got)).toEqual(new Set(expected.map(([filter]) => filter)));
        }
        const [event] = JSON.parse(await ask(ours, 'event/list?name=node-from-real')) as Settings[];
        expect(event).toMatchObject({ Name: 'node-from-real', NodeFilter: '^(ours|server)$', Version: 1 });
      },
      testLimitMs,
    );

    test(
      'a key is rotated by either program, on members of either kind, and outlives a restart',
      async () => {
        const local = join('serf', 'local.keyring');
        const keysIn = (member: RealMember, file: string): unknown =>
          JSON.parse(readFileSync(join(member.data, file), 'utf8'));
        for (const client of [ours, real]) {
          for (const program of ['real', 'ours'] as const) {
            const { code, stderr } = await pool.run(program, client, 'keyring', '-list');
            expect(code).toBe(1);
            expect(stderr).toContain('500 (keyring operations must run against a server node)');
          }
        }
        const list = async (...flags: readonly string[]): Promise<readonly string[]> => {
          const outcomes = await Promise.all(
            (['real', 'ours'] as const).map((program) => pool.run(program, server, 'keyring', ...flags)),
          );
          const lines = outcomes.map(({ code, stdout }) => {
            expect(code).toBe(0);
            return stdout.split('\n').filter(Boolean).toSorted();
          });
          expect(lines[0]).toEqual(lines[1]);
          return lines[1]!;
        };
        expect(await list('-list')).toEqual(
          expect.arrayContaining([`  ${oldKey} [1/1]`, `  ${oldKey} [3/3]`, 'WAN:', 'dc1 (LAN):']),
        );
        const install = await pool.run('real', server, 'keyring', `-install=${newKey}`);
        expect(install).toMatchObject({ code: 0 });
        expect(await list('-list')).toEqual(expect.arrayContaining([`  ${oldKey} [3/3]`, `  ${newKey} [3/3]`]));
        expect(await pool.run('ours', server, 'keyring', `-use=${newKey}`)).toMatchObject({ code: 0 });
        expect(await list('-list-primary')).toEqual(expect.arrayContaining([`  ${newKey} [3/3]`]));
        const primary = await pool.run('ours', server, 'keyring', `-remove=${newKey}`);
        expect(primary).toMatchObject({ code: 1 });
        expect(primary.stderr).toContain('Removing the primary key is not allowed');
        expect(await pool.run('real', server, 'keyring', `-remove=${oldKey}`)).toMatchObject({ code: 0 });
        expect(await list('-list', '-local-only')).toEqual(expect.arrayContaining([`  ${newKey} [3/3]`]));
        for (const member of all) expect(keysIn(member, local)).toEqual([newKey]);
        expect(keysIn(server, join('serf', 'remote.keyring'))).toEqual([newKey]);

        // Its configuration still names the old key.
        await ours.program.kill();
        pool.restart('ours', ours);
        await says(ours, "keyring doesn't include key provided with -encrypt, using keyring: keyring=LAN");
        await pool.ready(ours);
        await seen(all, 'ours', 'alive');
        expect(await list('-list')).toEqual(expect.arrayContaining([`  ${newKey} [3/3]`]));
      },
      testLimitMs,
    );

    test(
      'force-leave: a member that is alive contradicts, an unknown one is refused',
      async () => {
        for (const [program, asked, about] of [
          ['real', ours, real],
          ['ours', real, ours],
          ['ours', server, ours],
        ] as const) {
          expect(await pool.run(program, asked, 'force-leave', about.name)).toEqual({
            code: 0,
            stdout: '',
            stderr: '',
          });
          await seen(all, about.name, 'alive');
        }
        for (const member of all) {
          const { code, stderr } = await pool.run('ours', member, 'force-leave', 'nobody');
          expect(code).toBe(1);
          expect(stderr).toContain("500 (agent: No node found with name 'nobody')");
        }
      },
      testLimitMs,
    );

    test(
      'clients end as left or as failed, as they were told',
      async () => {
        const guests = [
          ['ours-int', 'ours', {}],
          ['ours-term', 'ours', {}],
          ['ours-stay', 'ours', { leave_on_terminate: false }],
          ['ours-kill', 'ours', {}],
          ['real-kill', 'real', {}],
          ['real-leave', 'real', {}],
          ['ours-leave', 'ours', {}],
        ] as const;
        // Whatever became of the first one.
        const [encrypt] = JSON.parse(readFileSync(join(server.data, 'serf/local.keyring'), 'utf8')) as string[];
        const started = guests.map(([name, program, settings], at) =>
          pool.start(program, name, `127.0.0.${130 + at}`, { encrypt, ...settings }, [addressOf(0)]),
        );
        const [int, term, stay, kill, realKill, realLeave, leave] = started as [
          RealMember,
          RealMember,
          RealMember,
          RealMember,
          RealMember,
          RealMember,
          RealMember,
        ];
        await pool.ready(...started);
        for (const { name } of started) await seen(all, name, 'alive');

        int.program.signal('SIGINT');
        term.program.signal('SIGTERM');
        stay.program.signal('SIGTERM');
        kill.program.signal('SIGKILL');
        realKill.program.signal('SIGKILL');
        const leaves = await Promise.all([
          pool.run('ours', realLeave, 'leave'),
          pool.run('real', leave, 'leave').then(async (outcome) => {
            // Who was told that the leave is complete must not find the node alive.
            expect((await statuses(server))[leave.name]).toBe('left');
            return outcome;
          }),
        ]);
        for (const outcome of leaves)
          expect(outcome).toEqual({ code: 0, stdout: 'Graceful leave complete\n', stderr: '' });
        expect(await Promise.all([int, term, stay, leave, realLeave].map(({ program }) => program.ended()))).toEqual([
          0, 0, 1, 0, 0,
        ]);
        for (const { name } of [int, term, leave, realLeave]) await seen(all, name, 'left');
        for (const { name } of [stay, kill, realKill]) await seen(all, name, 'failed');
        expect(int.program.log).toMatch(/Caught: signal=interrupt[^]*Graceful exit completed[^]*Exit code: code=0/);
        expect(stay.program.log).toContain('Graceful shutdown disabled. Exiting');

        // The catalog follows: who has left is gone, who has failed is critical until somebody gives it up.
        const health = async (name: string): Promise<string> => {
          const [check] = JSON.parse(await ask(ours, `health/node/${name}?consistent`)) as { Status: string }[];
          return check?.Status ?? 'none';
        };
        for (const [member, status] of [
          [int, 'none'],
          [leave, 'none'],
          [kill, 'critical'],
          [realKill, 'critical'],
        ] as const) {
          await waitUntil(
            `${member.name} to be ${status} in the catalog`,
            async () => (await health(member.name)) === status,
          );
        }
        expect(await pool.run('ours', ours, 'force-leave', kill.name)).toMatchObject({ code: 0 });
        await seen(all, kill.name, 'left');
        await waitUntil('it to leave the catalog', async () => (await health(kill.name)) === 'none');
        // Serf counts the times of members who have left at every exchange of states, so that another member may take
        // this for old news; of a failed member nobody does.
        expect(await pool.run('real', ours, 'force-leave', '-prune', kill.name)).toMatchObject({ code: 0 });
        await seen([ours], kill.name, undefined);
        await ask(ours, `agent/force-leave/${realKill.name}?prune`, 'PUT');
        await seen(all, realKill.name, undefined);
      },
      testLimitMs,
    );

    test(
      'coordinates come into the catalog, and tell distances',
      async () => {
        await waitUntil(
          'coordinates of all members',
          async () => {
            const nodes = JSON.parse(await ask(ours, 'coordinate/nodes')) as { Node: string }[];
            return all.every(({ name }) => nodes.some(({ Node }) => Node === name));
          },
          90_000,
        );
        for (const program of ['ours', 'real'] as const) {
          for (const asked of all) {
            expect((await pool.run(program, asked, 'rtt', 'real', 'ours')).stdout).toMatch(
              /^Estimated real <-> ours rtt: \d+\.\d{3} ms \(using LAN coordinates\)\n$/,
            );
          }
          expect(await pool.run(program, ours, 'rtt', 'nobody')).toMatchObject({
            code: 1,
            stderr: expect.stringContaining('Could not find a coordinate for node "nobody"') as string,
          });
        }
        const [{ Coord }] = JSON.parse(await ask(real, 'coordinate/node/ours')) as [{ Coord: { Vec: number[] } }];
        expect(Coord.Vec.some((part) => part !== 0)).toBe(true);
        const near = JSON.parse(await ask(real, 'catalog/nodes?near=ours')) as { Node: string }[];
        expect(near.map(({ Node }) => Node)).toEqual(expect.arrayContaining(['ours', 'real', 'server']));
      },
      testLimitMs,
    );
  });

  describe('starting and ending', () => {
    const serverAddress = '127.0.0.128';
    const address = '127.0.0.129';
    let directory: string;
    let pool: Pool;
    let server: RealMember;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'portolan-agents-'));
      pool = new Pool(consul);
      server = pool.start('real', 'server', serverAddress, { server: true, bootstrap_expect: 1 });
      await pool.ready(server);
    }, testLimitMs);

    afterAll(async () => {
      await pool.close();
      rmSync(directory, { recursive: true, force: true });
    });

    test(
      'start_join: one attempt, and no agent without it',
      async () => {
        const failed = pool.start('ours', 'nowhere', address, { start_join: [lan('127.0.0.119')] });
        expect(await failed.program.ended()).toBe(1);
        expect(failed.program.log).toMatch(
          /\[ERROR\] agent: Error starting agent: error=.*\n.*Failed to join 127\.0\.0\.119/,
        );
        expect(failed.program.log).not.toContain('agent running!');
        const client = pool.start('ours', 'starter', address, { start_join: [lan(serverAddress)] });
        await pool.ready(client);
        await says(client, '==> Portolan agent running!');
        const lines = client.program.log.split('\n').filter((line) => /^(==>| {4}Join)/.test(line));
        expect(lines).toEqual([
          '==> Starting Portolan agent...',
          '==> Log data will now stream in as it occurs:',
          '==> Joining cluster...',
          '    Join completed. Synced with 1 initial agents',
          '==> Portolan agent running!',
        ]);
        client.program.signal('SIGINT');
        expect(await client.program.ended()).toBe(0);
      },
      testLimitMs,
    );

    test(
      'as JSON every line is a log line',
      async () => {
        const client = pool.start('ours', 'json', address, { log_json: true, start_join: [lan(serverAddress)] });
        await pool.ready(client);
        client.program.signal('SIGTERM');
        expect(await client.program.ended()).toBe(0);
        const messages = client.program.log
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as Record<string, unknown>)['@message']);
        expect(messages).toContain('(LAN) joined');
      },
      testLimitMs,
    );

    test(
      'retry_join goes on until somebody is there, or its attempts are used up',
      async () => {
        const hopeless = pool.start('ours', 'hopeless', address, { retry_max: 2 }, ['127.0.0.119']);
        expect(await hopeless.program.ended()).toBe(1);
        expect(
          hopeless.program.log.match(/Join cluster failed, will retry: cluster=LAN retry_interval=1s/g),
        ).toHaveLength(2);
        expect(hopeless.program.log).toContain(
          'Retry join failed: error="agent: max join LAN retry exhausted, exiting"',
        );

        const patient = pool.start('ours', 'patient', address, {}, ['127.0.0.127']);
        await says(patient, 'Join cluster failed, will retry: cluster=LAN retry_interval=1s');
        const late = pool.start('real', 'late', '127.0.0.127', {}, [serverAddress]);
        await says(patient, 'Join cluster completed. Synced with initial agents: cluster=LAN num_agents=1');
        await seen([patient], 'server', 'alive');
        late.program.signal('SIGINT');
        patient.program.signal('SIGINT');
        expect(await Promise.all([late.program.ended(), patient.program.ended()])).toEqual([0, 0]);
      },
      testLimitMs,
    );

    test(
      'a client cannot join the WAN',
      async () => {
        const client = pool.start('ours', 'wanderer', address, { start_join_wan: [lan(serverAddress)] });
        expect(await client.program.ended()).toBe(1);
        expect(client.program.log).toContain('Must be a server to join WAN cluster');
        const peaceful = pool.start('ours', 'peaceful', address, { retry_join_wan: [lan(serverAddress)] }, [
          serverAddress,
        ]);
        await pool.ready(peaceful);
        await expect(ask(peaceful, `agent/join/${lan(serverAddress)}?wan=1`, 'PUT')).rejects.toThrow(
          /500 Must be a server to join WAN cluster$/,
        );
        expect(await pool.run('real', peaceful, 'join', lan(serverAddress))).toEqual({
          code: 0,
          stdout: 'Successfully joined cluster by contacting 1 nodes.\n',
          stderr: '',
        });
        const partly = await pool.run('ours', peaceful, 'join', lan('127.0.0.119'), lan(serverAddress));
        expect(partly).toMatchObject({ code: 0, stdout: 'Successfully joined cluster by contacting 1 nodes.\n' });
        expect(partly.stderr).toContain(`Error joining address '${lan('127.0.0.119')}'`);
        const failed = await pool.run('ours', peaceful, 'join', lan('127.0.0.119'));
        expect(failed).toMatchObject({ code: 1, stdout: '' });
        expect(failed.stderr).toContain('Failed to join any nodes.');
        peaceful.program.signal('SIGINT');
        expect(await peaceful.program.ended()).toBe(0);
      },
      testLimitMs,
    );

    describe('while a start is stuck', () => {
      let silent: Server;
      const connections = new Set<Socket>();

      beforeEach(async () => {
        silent = createServer((socket) => connections.add(socket.on('error', () => undefined)));
        await new Promise<void>((done) => silent.listen(0, '127.0.0.119', done));
      });

      afterEach(async () => {
        for (const socket of connections) socket.destroy();
        connections.clear();
        await new Promise((done) => silent.close(done));
      });

      const port = (): number => (silent.address() as { readonly port: number }).port;
      const stuck = async (settings: Settings): Promise<RealMember> => {
        const agent = pool.start('ours', 'stuck', address, settings);
        await waitUntil(
          () => `the connection that nobody answers: ${agent.program.log}`,
          () => connections.size > 0,
        );
        return agent;
      };

      // Had they waited for the attempt, it would have failed, and the exit code would be 1.
      test(
        'in start_join, SIGINT ends it',
        async () => {
          const agent = await stuck({ start_join: [`127.0.0.119:${port()}`] });
          agent.program.signal('SIGINT');
          expect(await agent.program.ended()).toBe(0);
          expect(agent.program.log).not.toContain('agent running!');
        },
        testLimitMs,
      );

      test(
        'in auto_encrypt, SIGTERM ends it',
        async () => {
          const agent = await stuck({
            auto_encrypt: { tls: true },
            retry_join: ['127.0.0.119'],
            ports: { server: port(), http: ports.http, serf_lan: ports.serfLan, dns: ports.dns },
            leave_on_terminate: false,
          });
          agent.program.signal('SIGTERM');
          expect(await agent.program.ended()).toBe(1);
          expect(agent.program.log).toContain('Exit code: code=1');
        },
        testLimitMs,
      );
    });

    test(
      'a second signal ends a leave, and SIGPIPE is none',
      async () => {
        const [hurried, steady] = (['hurried', 'steady'] as const).map((name, at) =>
          pool.start('ours', name, `127.0.0.${129 + at}`, {}, [serverAddress]),
        ) as [RealMember, RealMember];
        await pool.ready(hurried, steady);
        for (const { program } of [hurried, steady]) program.signal('SIGINT');
        await says(hurried, 'Gracefully shutting down agent...');
        await says(steady, 'Gracefully shutting down agent...');
        hurried.program.signal('SIGTERM');
        steady.program.signal('SIGPIPE');
        expect(await Promise.all([hurried.program.ended(), steady.program.ended()])).toEqual([1, 0]);
        expect(hurried.program.log).toContain('Caught second signal, Exiting: signal=terminated');
        await seen([server], 'steady', 'left');
      },
      testLimitMs,
    );

    test(
      'comes back by what it remembers: after a kill always, after a leave when told so',
      async () => {
        const names = ['killed', 'gone', 'returning'] as const;
        const agents = names.map((name, at) =>
          pool.start('ours', name, `127.0.0.${130 + at}`, { rejoin_after_leave: name === 'returning' }),
        ) as [RealMember, RealMember, RealMember];
        for (const agent of agents) {
          await waitUntil('its API', () =>
            ask(agent, `agent/join/${lan(serverAddress)}`, 'PUT').then(
              () => true,
              () => false,
            ),
          );
        }
        await pool.ready(...agents);
        const [killed, gone, returning] = agents;
        const snapshot = join(killed.data, 'serf/local.snapshot');
        await waitUntil('the server to be remembered', () => readFileSync(snapshot, 'utf8').includes('alive: server '));
        killed.program.signal('SIGKILL');
        gone.program.signal('SIGINT');
        returning.program.signal('SIGINT');
        await Promise.all(agents.map(({ program }) => program.ended()));
        await seen([server], 'gone', 'left');
        await seen([server], 'returning', 'left');
        pool.restart('ours', killed);
        await says(killed, /Re-joined to previously known node: server: /);
        pool.restart('ours', returning);
        await says(returning, /Re-joined to previously known node: /);
        for (const { name } of [killed, returning]) await seen([server, killed, returning], name, 'alive');
        pool.restart('ours', gone);
        await says(gone, 'agent running!');
        expect(gone.program.log).not.toContain('Attempting re-join');
        expect(await statuses(gone)).toEqual({ gone: 'alive' });
        for (const { program } of agents) program.signal('SIGINT');
        expect(await Promise.all(agents.map(({ program }) => program.ended()))).toEqual([0, 0, 0]);
      },
      testLimitMs,
    );

    test(
      'who does not belong here is told why, and goes on',
      async () => {
        const id = '11111111-2222-3333-4444-555555555555';
        const first = pool.start('real', 'first', '127.0.0.130', { node_id: id }, [serverAddress]);
        await pool.ready(first);
        await seen([server], 'first', 'alive');
        const strangers = {
          otherPlace: pool.start('ours', 'stranger', '127.0.0.131', { datacenter: 'dc9' }, [serverAddress]),
          sameId: pool.start('ours', 'twin', '127.0.0.132', { node_id: id }, [serverAddress]),
          sameName: pool.start('ours', 'first', '127.0.0.133', {}, [serverAddress]),
          encrypted: pool.start('ours', 'secret', '127.0.0.134', { encrypt: oldKey }, [serverAddress]),
        };
        await says(strangers.otherPlace, "Member 'server' part of wrong datacenter 'dc1'");
        await says(server, "Member 'stranger' part of wrong datacenter 'dc9'");
        await says(strangers.sameId, `Member 'first' has conflicting node ID '${id}' with this agent's ID`);
        await says(server, /Name conflict for 'first' both .* and .* are claiming/);
        await says(strangers.encrypted, /Join cluster failed, will retry: .*error=.*\b(EOF|closed|encrypt)/i);
        for (const stranger of Object.values(strangers)) {
          expect(Object.keys(await statuses(stranger))).toContain(stranger.name);
        }
        // Its goodbye would be taken for that of its namesake.
        await strangers.sameName.program.kill();
        const others = [strangers.otherPlace, strangers.sameId, strangers.encrypted];
        for (const { program } of others) program.signal('SIGINT');
        expect(await Promise.all(others.map(({ program }) => program.ended()))).toEqual([0, 0, 0]);
        await seen([server], 'first', 'alive');
        first.program.signal('SIGINT');
        await first.program.ended();
      },
      testLimitMs,
    );

    test(
      'READY=1 comes with the first join; to who joins nobody, when all doors are open',
      async () => {
        const program = join(directory, 'systemd-notify');
        writeFileSync(program, '#!/bin/sh\necho "$*" >> "$NOTIFY_SOCKET"\n');
        chmodSync(program, 0o755);
        vi.stubEnv('PATH', `${directory}:${process.env['PATH']}`);
        const told = (name: string): string => join(directory, `${name}.told`);
        const start = (name: string, at: string, others: readonly string[]): RealMember => {
          vi.stubEnv('NOTIFY_SOCKET', told(name));
          return pool.start('ours', name, at, {}, others);
        };
        const waiting = start('waiting', '127.0.0.130', ['127.0.0.119']);
        const alone = start('alone', '127.0.0.131', []);
        vi.unstubAllEnvs();
        await waitUntil('READY=1 of the one who is alone', () => existsSync(told('alone')));
        expect(readFileSync(told('alone'), 'utf8')).toBe('--ready\n');
        expect(await statuses(alone)).toEqual({ alone: 'alive' });
        await says(waiting, 'Join cluster failed, will retry');
        expect(existsSync(told('waiting'))).toBe(false);
        await ask(waiting, `agent/join/${lan(serverAddress)}`, 'PUT');
        await waitUntil('READY=1 of the one who has joined', () => existsSync(told('waiting')));
        for (const agent of [waiting, alone]) agent.program.signal('SIGINT');
        expect(await Promise.all([waiting.program.ended(), alone.program.ended()])).toEqual([0, 0]);
      },
      testLimitMs,
    );

    test(
      'a reload changes what it may, and nothing in the pool',
      async () => {
        const agent = pool.start('ours', 'reloaded', address, { node_meta: { rack: 'one' } }, [serverAddress]);
        await pool.ready(agent);
        await seen([server], 'reloaded', 'alive');
        const rack = async (): Promise<string | undefined> => {
          const { Node } = JSON.parse(await ask(server, 'catalog/node/reloaded')) as {
            Node: { Meta: Record<string, string> | null } | null;
          };
          return Node?.Meta?.['rack'];
        };
        const seenBefore = await pool.run('real', server, 'members', '-detailed', '-status=alive');
        await waitUntil('the first meta', async () => (await rack()) === 'one');
        const file = join(dirname(agent.data), 'agent.json');
        const config = JSON.parse(readFileSync(file, 'utf8')) as Settings;
        writeFileSync(file, JSON.stringify({ ...config, node_meta: { rack: 'two' } }));
        agent.program.signal('SIGHUP');
        await waitUntil('the second meta', async () => (await rack()) === 'two');
        writeFileSync(file, '{ "node_meta": 5 }');
        expect(await pool.run('real', agent, 'reload')).toMatchObject({ code: 1 });
        expect(await rack()).toBe('two');
        expect(await pool.run('real', server, 'members', '-detailed', '-status=alive')).toEqual(seenBefore);
        expect(server.program.log).not.toContain('EventMemberUpdate: reloaded');
        agent.program.signal('SIGINT');
        expect(await agent.program.ended()).toBe(0);
      },
      testLimitMs,
    );
  });

  describe('two datacenters, a real server and one of ours in each', () => {
    const place = (datacenter: 'dc1' | 'dc2', at: number): readonly string[] =>
      [at, at + 1].map((part) => `127.0.0.${part + (datacenter === 'dc1' ? 135 : 137)}`);
    let pool: Pool;
    let all: readonly RealMember[];
    let [real1, ours1, real2, ours2]: RealMember[] = [];

    beforeAll(async () => {
      pool = new Pool(consul, { encrypt: oldKey, server: true, bootstrap_expect: 2, retry_interval_wan: '1s' });
      const start = (datacenter: 'dc1' | 'dc2', more: Settings): readonly [RealMember, RealMember] => {
        const addresses = place(datacenter, 0);
        const settings = { datacenter, ...more };
        const suffix = datacenter.slice(2);
        return [
          pool.start('real', `real${suffix}`, addresses[0]!, settings, addresses),
          pool.start('ours', `ours${suffix}`, addresses[1]!, settings, addresses),
        ];
      };
      [real1, ours1] = start('dc1', {});
      const wan = place('dc1', 0).map((address) => `${address}:${ports.serfWan}`);
      [real2, ours2] = start('dc2', { retry_join_wan: wan });
      all = [real1, ours1, real2, ours2];
      await pool.ready(...all);
      for (const { name } of all) await seen(all, `${name}.dc${name.at(-1)}`, 'alive', '?wan=1');
    }, testLimitMs);

    afterAll(() => pool.close());

    test(
      'everybody sees all servers, and the nearest datacenter first',
      async () => {
        const outcomes = await Promise.all(
          all.flatMap((member) => [
            pool.run('ours', member, 'members', '-wan'),
            pool.run('real', member, 'members', '-wan'),
          ]),
        );
        for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0]);
        expect(outcomes[0]?.stdout.split('\n').map((line) => line.split(/ +/)[0])).toEqual([
          'Node',
          'ours1.dc1',
          'ours2.dc2',
          'real1.dc1',
          'real2.dc2',
          '',
        ]);
        for (const member of all) {
          const order = member.name.endsWith('1') ? 'dc1\ndc2\n' : 'dc2\ndc1\n';
          expect((await pool.run('ours', member, 'catalog', 'datacenters')).stdout).toBe(order);
        }
      },
      testLimitMs,
    );

    test(
      'requests travel to the datacenter they name',
      async () => {
        for (const [at, member] of all.entries()) {
          for (const dc of ['dc1', 'dc2']) await ask(member, `kv/from/${member.name}?dc=${dc}`, 'PUT', String(at));
        }
        for (const member of all) {
          for (const dc of ['dc1', 'dc2']) {
            const keys = JSON.parse(await ask(member, `kv/from/?keys&dc=${dc}`)) as string[];
            expect(keys).toEqual(all.map(({ name }) => `from/${name}`).toSorted());
            const nodes = JSON.parse(await ask(member, `catalog/nodes?dc=${dc}`)) as { Node: string }[];
            expect(nodes.map(({ Node }) => Node).toSorted()).toEqual([`ours${dc.at(-1)}`, `real${dc.at(-1)}`]);
          }
          await expect(ask(member, 'catalog/nodes?dc=dc9')).rejects.toThrow(/500 (rpc error .*)?No path to datacenter/);
        }
      },
      testLimitMs,
    );

    test(
      'a prepared query finds a service of the other datacenter',
      async () => {
        await ask(real2!, 'agent/service/register', 'PUT', JSON.stringify({ Name: 'only-there', Port: 80 }));
        await ask(ours1!, 'agent/service/register', 'PUT', JSON.stringify({ Name: 'only-here', Port: 80 }));
        for (const [Service, origin, there, askers] of [
          ['only-there', ours1, 'dc2', [real1, ours1]],
          ['only-here', real2, 'dc1', [real2, ours2]],
        ] as const) {
          for (const Failover of [{ NearestN: 1 }, { Datacenters: ['dc9', there] }]) {
            const query = { Name: `${Service}-${Object.keys(Failover)[0]}`, Service: { Service, Failover } };
            await ask(origin!, 'query', 'POST', JSON.stringify(query));
            for (const asker of askers) {
              await waitUntil(`${asker!.name} to find ${query.Name}`, async () => {
                const answer = JSON.parse(await ask(asker!, `query/${query.Name}/execute`)) as {
                  readonly Datacenter: string;
                  readonly Nodes: readonly unknown[] | null;
                };
                return answer.Datacenter === there && answer.Nodes?.length === 1;
              });
            }
          }
        }
      },
      testLimitMs,
    );

    test(
      'distances between servers are known everywhere',
      async () => {
        for (const member of all) {
          await waitUntil(`${member.name} to know all coordinates`, async () => {
            const areas = JSON.parse(await ask(member, 'coordinate/datacenters')) as {
              readonly Datacenter: string;
              readonly AreaID: string;
              readonly Coordinates: readonly { readonly Node: string }[];
            }[];
            const nodes = areas.map(({ Datacenter, Coordinates }) =>
              [Datacenter, ...Coordinates.map(({ Node }) => Node).toSorted()].join(' '),
            );
            expect(areas.every(({ AreaID }) => AreaID === 'wan')).toBe(true);
            return nodes.toSorted().join() === 'dc1 ours1 real1,dc2 ours2 real2';
          });
          for (const program of ['ours', 'real'] as const) {
            expect((await pool.run(program, member, 'rtt', '-wan', 'real2.dc2', 'ours1.dc1')).stdout).toMatch(
              /^Estimated real2\.dc2 <-> ours1\.dc1 rtt: \d+\.\d{3} ms \(using WAN coordinates\)\n$/,
            );
          }
        }
      },
      testLimitMs,
    );

    test(
      'keys are the same in all pools, whichever server is asked',
      async () => {
        expect(await pool.run('ours', ours1!, 'keyring', `-install=${newKey}`)).toMatchObject({ code: 0 });
        expect(await pool.run('ours', real2!, 'keyring', `-use=${newKey}`)).toMatchObject({ code: 0 });
        for (const member of all) {
          const { stdout } = await pool.run('real', member, 'keyring', '-list');
          const pools = stdout.split('\n\n').map((part) => part.trim().split('\n').toSorted().join('\n'));
          const keys = (count: string): string => `  ${oldKey} [${count}]\n  ${newKey} [${count}]\n`;
          expect(pools.slice(1).toSorted()).toEqual([
            `${keys('2/2')}dc1 (LAN):`,
            `${keys('2/2')}dc2 (LAN):`,
            `${keys('4/4')}WAN:`,
          ]);
        }
        expect(await pool.run('ours', ours2!, 'keyring', `-remove=${oldKey}`)).toMatchObject({ code: 0 });
        for (const { data } of all) {
          for (const file of ['local.keyring', 'remote.keyring']) {
            expect(JSON.parse(readFileSync(join(data, 'serf', file), 'utf8'))).toEqual([newKey]);
          }
        }
      },
      testLimitMs,
    );

    test(
      'a server that leaves is gone from both pools, and its datacenter goes on',
      async () => {
        expect(await pool.run('real', ours2!, 'leave')).toEqual({
          code: 0,
          stdout: 'Graceful leave complete\n',
          stderr: '',
        });
        expect(await ours2!.program.ended()).toBe(0);
        await seen([real1!, ours1!, real2!], 'ours2.dc2', 'left', '?wan=1');
        await seen([real2!], 'ours2', 'left');
        await pool.ready(real2!);
        for (const member of [real1!, ours1!]) {
          await waitUntil('the other server to answer', () =>
            ask(member, 'kv/after?dc=dc2', 'PUT', 'left').then(
              () => true,
              () => false,
            ),
          );
        }
        await real2!.program.kill();
        await seen([real1!, ours1!], 'real2.dc2', 'failed', '?wan=1');
        expect((await pool.run('ours', ours1!, 'catalog', 'datacenters')).stdout).toBe('dc1\ndc2\n');
        await expect(ask(ours1!, 'kv/after?dc=dc2')).rejects.toThrow(
          /500 Remote DC has no server currently reachable$/,
        );
      },
      testLimitMs,
    );

    test(
      'a server that is told to end has failed, until somebody gives it up',
      async () => {
        real1!.program.signal('SIGTERM');
        expect(await real1!.program.ended()).toBe(1);
        await seen([ours1!], 'real1', 'failed');
        await seen([ours1!], 'real1.dc1', 'failed', '?wan=1');
        expect(await pool.run('real', ours1!, 'force-leave', 'real1')).toMatchObject({ code: 0 });
        await seen([ours1!], 'real1', 'left');
        await seen([ours1!], 'real1.dc1', 'left', '?wan=1');
        ours1!.program.signal('SIGINT');
        expect(await ours1!.program.ended()).toBe(1);
        expect(ours1!.program.log).toContain('Graceful shutdown disabled. Exiting');
      },
      testLimitMs,
    );
  });
});
