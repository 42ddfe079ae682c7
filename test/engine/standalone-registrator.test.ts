// `portolan registrator` as a process of its own: its command line, and its work beside an agent that knows nothing of
// containers — Portolan's and Consul's own.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';
import { bundle, hostName } from './support/registered.ts';

const skip = engineSkipReason({ own: true }) !== undefined;
const limitMs = 20_000;

class RegistratorProcess {
  readonly #child: ChildProcess;
  #output = '';

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [bundle, 'registrator', ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout!.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
  }

  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits for its end. @returns the exit code; null when a signal ended it. */
  async ended(): Promise<number | null> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), limitMs);
    if (this.running) await once(this.#child, 'exit');
    clearTimeout(timer);
    return this.#child.exitCode;
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.running) this.#child.kill(signal);
    return this.ended();
  }
}

/** Path of Consul 1.8.7, or undefined where it cannot be had. */
function consulPath(): string | undefined {
  const script = resolve(import.meta.dirname, '../bench/support/peer.sh');
  try {
    return execFileSync('sh', [script], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    console.log('Consul cannot be fetched here: its half of the stand-alone registrator tests is skipped');
    return undefined;
  }
}

describe('the command line of the registrator', () => {
  const uri = 'consul://127.0.0.1:1';
  const noEngine = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' };

  const rows: readonly (readonly [args: string, exitCode: number, says: string])[] = [
    ['--version', 0, 'Portolan'],
    ['-h', 0, '-useIpFromLabel'],
    ['', 2, 'Missing required argument'],
    [`${uri} consul://127.0.0.1:2`, 2, 'Extra arguments'],
    [`-no-such-flag ${uri}`, 2, 'no-such-flag'],
    [`-ttl=60 ${uri}`, 1, '-ttl and -ttl-refresh must be specified together or not at all'],
    [`-ttl-refresh=30 ${uri}`, 1, '-ttl and -ttl-refresh must be specified together or not at all'],
    [`-ttl=30 -ttl-refresh=60 ${uri}`, 1, '-ttl must be greater than -ttl-refresh'],
    [`-ttl=30 -ttl-refresh=30 ${uri}`, 1, '-ttl must be greater than -ttl-refresh'],
    [`-retry-interval=0 ${uri}`, 1, '-retry-interval must be greater than 0'],
    [`-deregister=sometimes -ip=192.0.2.1 ${uri}`, 1, '-deregister must be "always", "on-success"'],
    [`-tags={{.Nope -ip=192.0.2.1 ${uri}`, 1, '-tags'],
    ['-ip=192.0.2.1 etcd://127.0.0.1:2379/prefix', 1, 'unrecognized backend'],
    [`-ip=192.0.2.1 ${uri}`, 1, 'cannot reach the agent'],
  ];
  test.each(rows)('%s: exit %i', async (args, exitCode, says) => {
    const registrator = new RegistratorProcess(args === '' ? [] : args.split(' '), noEngine);
    const code = await registrator.ended();
    expect(registrator.output).toContain(says);
    expect(code).toBe(exitCode);
  });

  test('-retry-attempts=2: two further pings after the first, then exit 1; the leader is what it asks for', async () => {
    const asked: string[] = [];
    // As a client agent that knows no server answers.
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(500).end('No known Consul servers');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const flags = ['-retry-attempts=2', '-retry-interval=10', '-ip=192.0.2.1'];
    const registrator = new RegistratorProcess([...flags, `consul://127.0.0.1:${port}`], noEngine);
    expect(await registrator.ended()).toBe(1);
    server.close();
    expect(asked).toEqual(Array.from({ length: 3 }, () => 'GET /v1/status/leader'));
    expect(registrator.output).toContain('No known Consul servers');
  });
});

interface Held {
  readonly ID: string;
  readonly Service: string;
  readonly Address: string;
  readonly Port: number;
  readonly Tags: readonly string[];
  readonly Meta: Readonly<Record<string, string>>;
}

let engine: TestEngine | undefined;

beforeAll(async () => {
  if (!skip) engine = await startEngine({ own: true });
});

afterAll(async () => {
  await engine?.close();
});

const consul = skip ? undefined : consulPath();
const foreign: readonly (readonly [name: string, program: string | undefined, port: number])[] = [
  ['Portolan without a registrator of its own', undefined, 21_580],
  ...(consul === undefined ? [] : [['Consul 1.8.7', consul, 21_590] as const]),
];

describe.skipIf(skip).each(foreign)('beside %s', (_, program, port) => {
  let agent: AgentProcess;
  const processes: RegistratorProcess[] = [];

  beforeAll(async () => {
    agent = new AgentProcess({
      ports: { http: port, dns: port + 100 },
      address: engine!.hostAddress,
      netns: engine!.netns,
      env: { DOCKER_HOST: engine!.host },
      args: program === undefined ? ['-registrator=false'] : [],
      ...(program === undefined ? {} : { program }),
    });
    await agent.start();
  });

  afterAll(async () => {
    await agent?.close();
  });

  beforeEach(async () => {
    expect(await held()).toEqual([]);
  });

  afterEach(async () => {
    for (const each of processes.splice(0)) await each.end('SIGKILL');
    const ids = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await docker('rm', '-f', ...ids);
    for (const { ID } of await held()) await agent.request('PUT', `/v1/agent/service/deregister/${ID}`);
  });

  const docker = (...args: string[]): Promise<string> => engine!.docker(...args);

  function registrator(...flags: readonly string[]): RegistratorProcess {
    const started = new RegistratorProcess(
      [`-hostname=${hostName}`, `-advertise=${engine!.hostAddress}`, ...flags, `consul://${agent.address}:${port}`],
      { DOCKER_HOST: engine!.host },
    );
    processes.push(started);
    return started;
  }

  async function held(): Promise<readonly Held[]> {
    const { json } = await agent.get('/v1/agent/services');
    return Object.values(json as Record<string, Held>).sort((a, b) => (a.ID < b.ID ? -1 : 1));
  }

  const lines = (services: readonly Held[]): readonly string[] =>
    services.map(({ ID, Service, Address, Port }) => `${ID} ${Service} ${Address}:${Port}`);

  /** Waits until the agent holds exactly these services, `<ID> <name> <address>:<port>`. */
  async function holds(...expected: readonly string[]): Promise<readonly Held[]> {
    let found: readonly Held[] = [];
    const wanted = [...expected].sort().join('\n');
    await waitUntil(
      () =>
        `the agent to hold\n${wanted}\nbut it holds\n${lines(found).join('\n')}\n${processes.map((each) => each.output).join('\n')}`,
      async () => {
        found = await held();
        return [...lines(found)].sort().join('\n') === wanted;
      },
      limitMs,
    );
    return found;
  }

  const published = (name: string, hostPort: number, service = 'one', address = engine!.hostAddress): string =>
    `${hostName}:${name}:80 ${service} ${address}:${hostPort}`;

  test('containers come and go, in the agent and the catalog; SIGTERM leaves the services, exit 0', async () => {
    await engine!.run('--name', 'early', '-p', '8401:80', 'acme/one');
    const running = registrator();
    await holds(published('early', 8401));
    const late = await engine!.run('--name', 'late', '-p', '8402:80', '-l', 'SERVICE_TAGS=a,b', 'acme/one');
    const services = await holds(published('early', 8401), published('late', 8402));
    expect(services[1]!.Tags).toEqual(['a', 'b']);
    await waitUntil('both in the catalog', async () => {
      const { json } = await agent.get('/v1/catalog/service/one');
      return (json as unknown[]).length === 2;
    });
    await docker('rm', '-f', late);
    await holds(published('early', 8401));
    expect(await running.end('SIGTERM')).toBe(0);
    await holds(published('early', 8401));
  });

  test('-on-exit=deregister takes them along', async () => {
    await engine!.run('--name', 'brief', '-p', '8403:80', 'acme/one');
    const running = registrator('-on-exit=deregister');
    await holds(published('brief', 8403));
    expect(await running.end('SIGINT')).toBe(0);
    await holds();
  });

  test('-internal, -ip, -explicit, -useIpFromLabel, -tags: each over the same containers', async () => {
    const plain = await engine!.run('--name', 'plain', '-p', '8404:80', '-l', 'where=198.51.100.9/24', 'acme/one');
    const named = await engine!.run('--name', 'named', '-l', 'SERVICE_NAME=shop', '-p', '8405:80', 'acme/one');
    await engine!.run('--name', 'closed', 'acme/one');
    const closed = await docker('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', 'closed');
    const inside = await Promise.all(
      [plain, named].map((id) => docker('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', id)),
    );
    const each = async (flags: readonly string[], ...expected: readonly string[]): Promise<readonly Held[]> => {
      const running = registrator('-on-exit=deregister', ...flags);
      const found = await holds(...expected);
      expect(await running.end('SIGTERM')).toBe(0);
      await holds();
      return found;
    };
    await each(
      ['-internal'],
      published('plain', 80, 'one', inside[0]),
      published('named', 80, 'shop', inside[1]),
      published('closed', 80, 'one', closed),
    );
    const address = '192.0.2.1';
    await each(['-ip', address], published('plain', 8404, 'one', address), published('named', 8405, 'shop', address));
    await each(['-explicit'], published('named', 8405, 'shop'));
    await each(
      ['-useIpFromLabel', 'where'],
      published('plain', 8404, 'one', '198.51.100.9'),
      published('named', 8405, 'shop'),
    );
    const tagged = await each(
      ['-tags', 'x,{{strSlice .ID 0 12}}'],
      published('plain', 8404),
      published('named', 8405, 'shop'),
    );
    expect(tagged.map(({ Tags }) => Tags)).toEqual([named, plain].map((id) => ['x', id.slice(0, 12)]));
  });

  test('-deregister on-success: exit 0 and signals remove, a failure stays until the container is removed', async () => {
    registrator('-deregister', 'on-success', '-resync=1');
    const script = 'while [ ! -e /tmp/code ]; do sleep 0.1; done; exit $(cat /tmp/code)';
    const run = (name: string, at: string): Promise<string> =>
      engine!.run('--name', name, '-p', `${at}:80`, 'acme/one', 'sh', '-c', script);
    const good = await run('good', '8406');
    const bad = await run('bad', '8407');
    const killed = await run('killed', '8408');
    await holds(published('good', 8406), published('bad', 8407), published('killed', 8408));
    await docker('exec', good, 'sh', '-c', 'echo 0 > /tmp/code');
    await docker('exec', bad, 'sh', '-c', 'echo 3 > /tmp/code');
    await docker('kill', killed);
    await holds(published('bad', 8407));
    expect(await docker('inspect', '-f', '{{.State.ExitCode}}', bad)).toBe('3');
    await docker('rm', bad);
    await holds();
  });

  test('-cleanup removes leftovers of the reference program under the own host name, and nothing else', async () => {
    const strangers = ['otherhost:gone:80 x 192.0.2.9:1', 'custom-1 x 192.0.2.9:1', `${hostName}:a:80 x 192.0.2.9:1`];
    for (const id of [
      `${hostName}:gone:80`,
      `${hostName}:keep:53:udp`,
      ...strangers.map((each) => each.split(' ')[0]!),
    ]) {
      await agent.request('PUT', '/v1/agent/service/register', { ID: id, Name: 'x', Address: '192.0.2.9', Port: 1 });
    }
    await engine!.run('--name', 'keep', '-p', '8409:80', 'acme/one');
    const leftovers = [`${hostName}:gone:80 x 192.0.2.9:1`, `${hostName}:keep:53:udp x 192.0.2.9:1`];
    const without = registrator();
    await holds(published('keep', 8409), ...leftovers, ...strangers);
    await without.end('SIGTERM');
    registrator('-cleanup');
    await holds(published('keep', 8409), ...strangers);
  });

  test('-resync: what somebody removed returns; what is equal is not written again', async () => {
    await engine!.run('--name', 'steady', '-p', '8410:80', 'acme/one');
    await engine!.run('--name', 'plucked', '-p', '8411:80', 'acme/one');
    registrator('-resync=1');
    await holds(published('steady', 8410), published('plucked', 8411));
    const stored = async (): Promise<unknown> => {
      const { json } = await agent.get('/v1/catalog/service/one');
      const entries = json as readonly { readonly ServiceID: string; readonly ModifyIndex: number }[];
      return entries.find(({ ServiceID }) => ServiceID === `${hostName}:steady:80`)?.ModifyIndex;
    };
    const before = await waitUntil('the service in the catalog', stored);
    for (let round = 0; round < 2; round++) {
      await agent.request('PUT', `/v1/agent/service/deregister/${hostName}:plucked:80`);
      await holds(published('steady', 8410), published('plucked', 8411));
    }
    expect(await stored()).toBe(before);
  });

  test('checks work there: HTTP by the agent, HEALTHCHECK fed by the registrator', async () => {
    await engine!.run(
      '--name=checked',
      '--publish=8412:80',
      '--env=SERVICE_CHECK_HTTP=/health',
      '--env=SERVICE_CHECK_INTERVAL=1s',
      'acme/health',
    );
    registrator();
    await waitUntil('two passing checks', async () => {
      const { json } = await agent.get('/v1/agent/checks');
      const checks = Object.values(json as Record<string, { Status: string; ServiceID: string }>);
      return (
        checks.filter(({ ServiceID, Status }) => ServiceID.includes('checked') && Status === 'passing').length === 2
      );
    });
    await docker('exec', 'checked', 'touch', '/tmp/sick');
    await waitUntil('one critical check', async () => {
      const { json } = await agent.get('/v1/agent/checks');
      const checks = Object.values(json as Record<string, { Status: string; Output: string }>);
      return checks.some(({ Status, Output }) => Status === 'critical' && Output.includes('sick'));
    });
  });

  test('an ID with every kind of character is registered and removed again', async () => {
    const ID = 'a b/c?d#e%f:ü';
    await engine!.run('--name', 'odd', '-p', '8413:80', '-l', `SERVICE_ID=${ID}`, 'acme/one');
    registrator();
    await holds(`${ID} one ${engine!.hostAddress}:8413`);
    await docker('rm', '-f', 'odd');
    await holds();
  });

  test('kill -9 of the agent while containers come and go: all return, and no ghost', async () => {
    await engine!.run('--name', 'stays', '-p', '8414:80', 'acme/one');
    const goes = await engine!.run('--name', 'goes', '-p', '8415:80', 'acme/one');
    const running = registrator();
    await holds(published('stays', 8414), published('goes', 8415));
    // What comes back with the agent's own memory is the ghost this is about.
    await waitUntil('both to be on the disk', () => readdirSync(join(agent.dataDir, 'services')).length === 2);
    await agent.kill();
    await docker('rm', '-f', goes);
    await engine!.run('--name', 'comes', '-p', '8416:80', 'acme/one');
    await waitUntil('the loss to be noticed', () => running.output.includes('lost the backend'));
    await agent.start();
    await holds(published('stays', 8414), published('comes', 8416));
    expect(running.running).toBe(true);
  });

  test('an agent that hangs blocks nothing for longer than it hangs', async () => {
    await engine!.run('--name', 'calm', '-p', '8417:80', 'acme/one');
    registrator();
    await holds(published('calm', 8417));
    agent.signal('SIGSTOP');
    await engine!.run('--name', 'impatient', '-p', '8418:80', 'acme/one');
    await docker('rm', '-f', 'calm');
    agent.signal('SIGCONT');
    await holds(published('impatient', 8418));
  });

  test('the registrator killed, containers changed, started again without -cleanup: no ghost, nothing missing', async () => {
    await engine!.run('--name', 'one', '-p', '8419:80', 'acme/one');
    const two = await engine!.run('--name', 'two', '-p', '8420:80', '-l', 'SERVICE_ID=own-id', 'acme/one');
    const first = registrator();
    await holds(published('one', 8419), `own-id one ${engine!.hostAddress}:8420`);
    await first.end('SIGKILL');
    await docker('rm', '-f', two);
    await engine!.run('--name', 'three', '-p', '8421:80', 'acme/one');
    registrator();
    await holds(published('one', 8419), published('three', 8421));
  });
});
