// What the registrator does as containers, engine and backend change: reference/registrator.md §8–§10 and R1–R14, R30,
// on a virtual clock.
import { afterEach, describe, expect, test } from 'vitest';
import {
  createRegistrator,
  fedTtlMs,
  formatExplanation,
  ownershipOf,
  parseDeregisterMode,
  type Registrator,
  type RegistratorOptions,
} from '../../../src/registrator/index.ts';
import { EngineError } from '../../../src/ports/index.ts';
import { parseGoDurationMs } from '../../../src/codec/index.ts';
import { isFailure, signalNumber } from '../../../src/registrator/lifecycle.ts';
import { FakeEngine, type FakeContainerSpec } from '../../../src/sim/fake-engine.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { FakeBackend, noMetrics, optionsOf, silentLogger } from './support.ts';

const started: Registrator[] = [];
afterEach(async () => {
  for (const registrator of started.splice(0)) await registrator.stop('leave-services');
});

class Host {
  readonly clock = new VirtualClock();
  readonly engine = new FakeEngine({ clock: this.clock, latencyMs: 1, eventLatencyMs: 0 });
  readonly backend = new FakeBackend(this.clock);
  #port = 8000;

  boot(options: Partial<RegistratorOptions> = {}): Registrator {
    const registrator = createRegistrator({
      engine: this.engine,
      backend: this.backend,
      options: optionsOf(options),
      clock: this.clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      metrics: noMetrics,
    });
    registrator.start();
    started.push(registrator);
    return registrator;
  }

  run(name: string, more: Partial<FakeContainerSpec> = {}): string {
    const published = { '80/tcp': [{ HostIp: '', HostPort: String(this.#port++) }] };
    return this.engine.run({ name, published, ...more });
  }

  async settle(ms = 100): Promise<void> {
    await this.clock.advance(ms);
  }

  get ids(): string[] {
    return [...this.backend.services.keys()].sort();
  }

  check(service: string, name: string): { status: string; output: string } | undefined {
    return this.backend.services.get(service)?.checks.get(`service:${service}:${name}`);
  }
}

async function host(options: Partial<RegistratorOptions> = {}): Promise<Host & { registrator: Registrator }> {
  const made = new Host();
  const registrator = made.boot(options);
  await made.settle();
  return Object.assign(made, { registrator });
}

const web = 'reghost:web:80';

describe('§8 events', () => {
  test('docker run registers, with one inspect and one write and no waiting before them (R42)', async () => {
    const h = await host();
    h.run('web');
    await h.settle(1.5);
    expect(h.ids).toEqual([web]);
    expect(h.backend.writes).toEqual([`register ${web}`]);
  });
  test('pause makes the service critical, unpause reverts it (R7)', async () => {
    const h = await host();
    const id = h.run('web');
    await h.settle();
    h.engine.pause(id);
    await h.settle();
    expect(h.check(web, 'container')).toMatchObject({ status: 'critical', output: 'the container is paused' });
    h.engine.unpause(id);
    await h.settle();
    expect(h.check(web, 'container')).toBeUndefined();
  });
  test('rename: the new ID is registered before the old one goes (R5)', async () => {
    const h = await host();
    const id = h.run('web');
    await h.settle();
    h.engine.rename(id, 'shop');
    await h.settle();
    expect(h.backend.writes).toEqual([`register ${web}`, 'register reghost:shop:80', `deregister ${web}`]);
  });
  test('compose recreate: the new container takes the name and the ID of the old one', async () => {
    const h = await host();
    const old = h.run('web');
    await h.settle();
    const id = h.engine.create({ name: 'tmp_web', published: { '80/tcp': [{ HostIp: '', HostPort: '9000' }] } });
    h.engine.remove(old);
    h.engine.rename(id, 'web');
    h.engine.start(id);
    await h.settle();
    expect(ownershipOf(h.backend.services.get(web)!)?.container).toBe(id);
    expect(h.backend.services.get(web)?.port).toBe(9000);
  });
  test('restart under load never loses the container (R11)', async () => {
    const h = await host();
    const id = h.run('web');
    for (let i = 0; i < 20; i++) {
      h.engine.restart(id);
      await h.settle(i % 3);
    }
    await h.settle();
    expect(h.ids).toEqual([web]);
  });
  test('kill -s HUP changes nothing', async () => {
    const h = await host({ onStop: 'deregister' });
    const id = h.run('web');
    await h.settle();
    h.engine.kill(id, 1);
    await h.settle();
    expect(h.ids).toEqual([web]);
  });
  test.each(['critical', 'deregister'] as const)(
    'R6: a terminating signal with onStop %s, reverted when it lives on',
    async (onStop) => {
      const h = await host({ onStop });
      const id = h.run('web');
      await h.settle();
      h.engine.kill(id, 15);
      await h.settle();
      if (onStop === 'deregister') expect(h.ids).toEqual([]);
      else expect(h.check(web, 'container')?.output).toBe('the container is stopping (signal 15)');
      await h.settle(15_000);
      expect(h.ids).toEqual([web]);
      expect(h.check(web, 'container')).toBeUndefined();
    },
  );
  test.each([
    ['stop', (h: Host, id: string) => h.engine.stop(id)],
    ['rm -f', (h: Host, id: string) => h.engine.remove(id)],
    ['crash, exit 3', (h: Host, id: string) => h.engine.die(id, 3)],
    ['out of memory', (h: Host, id: string) => h.engine.oom(id)],
  ])('%s: removed', async (_, act) => {
    const h = await host();
    const id = h.run('web');
    await h.settle();
    act(h, id);
    await h.settle();
    expect(h.ids).toEqual([]);
  });
  test('die removes at once, though the engine answers nobody while it takes the container down', async () => {
    const h = await host();
    const id = h.run('web');
    await h.settle();
    h.engine.latencyMs = 100;
    h.engine.stop(id);
    await h.settle(10);
    expect(h.ids).toEqual([]);
    await h.settle(1_000);
    expect(h.ids).toEqual([]);
  });
  test('the end of an earlier run, told late by a replay, does not touch the run of now', async () => {
    const h = await host();
    const id = h.run('web');
    await h.settle();
    h.engine.breakStreams();
    h.engine.stop(id);
    await h.settle(10);
    h.engine.start(id);
    h.engine.eventLatencyMs = 50;
    await h.settle(5_000);
    expect(h.ids).toEqual([web]);
    expect(h.backend.log.filter((line) => line.startsWith('deregister'))).toEqual([]);
  });
  test('docker create: nothing until start', async () => {
    const h = await host();
    const id = h.engine.create({ name: 'web', published: { '80/tcp': [{ HostIp: '', HostPort: '1' }] } });
    await h.settle();
    expect(h.ids).toEqual([]);
    h.engine.start(id);
    await h.settle();
    expect(h.ids).toEqual([web]);
  });
  test('network connect and disconnect: the address follows (R5)', async () => {
    const h = await host({ internal: true, networks: ['n1'] });
    const id = h.run('web');
    await h.settle();
    const before = h.backend.services.get(web)?.address;
    h.engine.connect(id, 'n1');
    await h.settle();
    expect(h.backend.services.get(web)?.address).not.toBe(before);
    h.engine.disconnect(id, 'n1');
    await h.settle();
    expect(h.backend.services.get(web)?.address).toBe(before);
  });
  test('R18: a container in the network of another waits for it', async () => {
    const h = await host();
    const owner = h.engine.create({ name: 'owner', published: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] } });
    h.engine.run({ name: 'app', networkMode: `container:${owner}`, exposed: ['80/tcp'] });
    await h.settle();
    expect(h.ids).toEqual([]);
    h.engine.start(owner);
    await h.settle();
    expect(h.ids).toEqual(['reghost:app:80', 'reghost:owner:80']);
  });
});

describe('§8 modes (R8)', () => {
  test.each([
    [0, false],
    [1, true],
    [127, true],
    [128, true],
    [129, false],
    [137, false],
    [143, false],
    [192, false],
    [255, true],
  ])('exit %i is a failure: %s', (code, failure) => {
    expect(isFailure(code)).toBe(failure);
  });
  test('on-success: a failure keeps the service through cleanup, until the container is removed', async () => {
    const h = await host({ deregister: { kind: 'on-success' } });
    const id = h.run('web');
    const good = h.run('good');
    await h.settle();
    h.engine.die(id, 3);
    h.engine.die(good, 0);
    await h.settle(200_000);
    expect(h.ids).toEqual([web]);
    h.engine.remove(id);
    await h.settle();
    expect(h.ids).toEqual([]);
  });
  test.each([0, 143])(
    'on-success: between two starts of a restart policy, after exit %i, it stays (§8)',
    async (code) => {
      const h = await host({ deregister: { kind: 'on-success' } });
      const id = h.run('web');
      await h.settle();
      h.engine.dieRestarting(id, code);
      await h.settle();
      h.engine.startAgain(id);
      await h.settle();
      expect(h.ids).toEqual([web]);
      expect(h.backend.log.filter((line) => line.startsWith('deregister'))).toEqual([]);
    },
  );
  test('on-success: a kept service gives way to a running container with the same ID', async () => {
    const h = await host({ deregister: { kind: 'on-success' } });
    h.engine.die(h.run('web'), 3);
    await h.settle();
    const id = h.run('web');
    await h.settle();
    expect(ownershipOf(h.backend.services.get(web)!)?.container).toBe(id);
  });
  test('keep-critical: critical with the exit code, removed after the time, also when the container is gone', async () => {
    const h = await host({ deregister: { kind: 'keep-critical', keepMs: 60_000 } });
    const id = h.run('web', { autoRemove: true });
    await h.settle();
    h.engine.die(id, 7);
    await h.settle(1_000);
    expect(h.check(web, 'container')).toMatchObject({ status: 'critical' });
    expect(h.check(web, 'container')?.output).toContain('exit code');
    await h.settle(60_000);
    expect(h.ids).toEqual([]);
  });
  test('never: nothing is removed', async () => {
    const h = await host({ deregister: { kind: 'never' } });
    h.engine.remove(h.run('web'));
    await h.settle(200_000);
    expect(h.ids).toEqual([]);
    const id = h.run('web');
    await h.settle();
    h.engine.remove(id);
    await h.settle(200_000);
    expect(h.ids).toEqual([web]);
  });
  test('R9: a restart loop keeps the service, critical, until it is quiet', async () => {
    const h = await host();
    const id = h.run('web');
    for (let i = 0; i < 6; i++) {
      await h.settle(2_000);
      h.engine.dieRestarting(id, 1);
      await h.settle(100);
      if (i < 3) expect(h.ids).toEqual([]);
      if (i > 4) expect(h.ids).toEqual([web]);
      h.engine.startAgain(id);
    }
    await h.settle();
    expect(h.check(web, 'container')?.output).toContain('restart loop: 5 starts within 5m0s, last exit code 1');
    await h.settle(400_000);
    expect(h.check(web, 'container')).toBeUndefined();
    expect(h.ids).toEqual([web]);
  });
  test('parseDeregisterMode', () => {
    expect(parseDeregisterMode('keep-critical=10m', parseGoDurationMs)).toEqual({
      kind: 'keep-critical',
      keepMs: 600_000,
    });
    expect(() => parseDeregisterMode('sometimes', parseGoDurationMs)).toThrow('keep-critical=<duration>');
  });
  test('signals by number and name', () => {
    expect(['15', 'SIGTERM', 'int', 'RTMIN+3', 'x'].map(signalNumber)).toEqual([15, 15, 2, 37, undefined]);
  });
});

describe('§9 cleanup by ownership (R3, R4)', () => {
  test('after a restart: stale services go, foreign ones stay, nothing equal is written', async () => {
    const h = new Host();
    const first = h.boot();
    const keep = h.run('keep');
    const gone = h.run('gone', { labels: { SERVICE_ID: 'custom-1' } });
    await h.settle();
    await first.stop('leave-services');
    h.engine.remove(gone);
    for (const id of ['reghost:manual:80', 'reghost:keep:443', 'otherhost:gone:80']) h.backend.addForeign(id, 'x');
    h.backend.log.length = 0;
    h.boot();
    await h.settle();
    expect(h.backend.writes).toEqual(['deregister custom-1']);
    expect(h.ids).toEqual(['otherhost:gone:80', 'reghost:keep:443', 'reghost:keep:80', 'reghost:manual:80']);
    expect(keep).toBeTruthy();
  });
  test('a changed host name orphans nothing', async () => {
    const h = new Host();
    const first = h.boot();
    h.run('web');
    await h.settle();
    await first.stop('leave-services');
    h.boot({ hostname: 'renamed' });
    await h.settle();
    expect(h.ids).toEqual(['renamed:web:80']);
  });
  test('import of leftovers is opt-in: own host name and pattern, and no container of that name and port', async () => {
    const h = new Host();
    for (const id of ['reghost:gone:80', 'reghost:web:80', 'otherhost:gone:80', 'custom-1'])
      h.backend.addForeign(id, 'x');
    h.run('web');
    h.boot({ importLeftovers: true });
    await h.settle();
    expect(h.ids).toEqual(['custom-1', 'otherhost:gone:80', 'reghost:web:80']);
    expect(h.backend.services.get(web)?.name).toBe('busybox');
  });
  test('services of another engine are not ours to remove', async () => {
    const h = new Host();
    h.boot({ engineId: 'A' });
    h.run('web');
    await h.settle();
    const other = new FakeEngine({ clock: h.clock });
    const registrator = createRegistrator({
      engine: other,
      backend: h.backend,
      options: optionsOf({ engineId: 'B' }),
      clock: h.clock,
      random: new SeededRandom(2),
      logger: silentLogger,
      metrics: noMetrics,
    });
    registrator.start();
    started.push(registrator);
    await h.settle(200_000);
    expect(h.ids).toEqual([web]);
  });
  test('two containers with one SERVICE_ID: the first keeps it, the second follows', async () => {
    const h = await host();
    const labels = { SERVICE_ID: 'one' };
    const a = h.run('a', { labels });
    await h.settle();
    const b = h.run('b', { labels });
    await h.settle(200_000);
    expect(ownershipOf(h.backend.services.get('one')!)?.container).toBe(a);
    expect(h.backend.writes).toEqual(['register one']);
    expect(h.registrator.status().problems[0]?.text).toContain('is held by container a');
    h.engine.stop(a);
    await h.settle();
    expect(ownershipOf(h.backend.services.get('one')!)?.container).toBe(b);
  });
});

describe('§10 outages (R10, R12)', () => {
  test('an answer that is no list (of a broken proxy) is one more failed try', async () => {
    const h = new Host();
    const real = h.engine.listContainers.bind(h.engine);
    let broken = true;
    h.engine.listContainers = (options, signal) => (broken ? Promise.resolve({} as never) : real(options, signal));
    h.boot();
    h.run('web');
    await h.settle(10_000);
    broken = false;
    await h.settle(60_000);
    expect(h.ids).toEqual([web]);
  });
  test('an engine that opens its stream but refuses the list is not asked in a hot loop', async () => {
    const h = new Host();
    for (let i = 0; i < 1_000; i++) h.engine.failNext('list', new EngineError('forbidden', 403));
    h.boot();
    await h.settle(60_000);
    expect(h.engine.requestCount('list')).toBeLessThan(20);
  });
  test('backend down at start, while a container starts and while one dies: made good when it is back', async () => {
    const h = new Host();
    h.backend.down = true;
    const registrator = h.boot();
    h.run('a');
    await h.settle(5_000);
    expect(registrator.status().backend.state).toBe('down');
    h.backend.down = false;
    await h.settle(20_000);
    expect(h.ids).toEqual(['reghost:a:80']);
    h.backend.down = true;
    h.engine.remove(registrator.status().services[0]!.container);
    h.run('b');
    await h.settle(5_000);
    h.backend.down = false;
    await h.settle(20_000);
    expect(h.ids).toEqual(['reghost:b:80']);
  });
  test('a backend that hangs does not stop the others, and is given up on', async () => {
    const h = await host();
    h.backend.latency = () => 1_000_000;
    h.run('a');
    await h.settle(11_000);
    expect(h.registrator.status().backend).toMatchObject({ state: 'down' });
    h.backend.latency = () => 0;
    await h.settle(60_000);
    expect(h.ids).toEqual(['reghost:a:80']);
  });
  test('the backend loses its state: repaired by the slow timer', async () => {
    const h = await host();
    h.run('a');
    await h.settle();
    h.backend.services.clear();
    await h.settle(70_000);
    expect(h.ids).toEqual(['reghost:a:80']);
  });
  test('the engine goes away: services stay; what died unseen goes when it is back', async () => {
    const h = await host();
    const id = h.run('a');
    h.run('b');
    await h.settle();
    h.engine.down();
    await h.settle(60_000);
    expect(h.registrator.status().engine.state).toBe('down');
    expect(h.ids).toHaveLength(2);
    h.engine.remove(id);
    h.engine.up();
    await h.settle(60_000);
    expect(h.ids).toEqual(['reghost:b:80']);
  });
  test('one failing inspect is tried again', async () => {
    const h = await host();
    h.engine.failNext('inspect');
    h.run('a');
    await h.settle(2_000);
    expect(h.ids).toEqual(['reghost:a:80']);
  });
  test('R13: an agent that refuses the checks has the service without them, critical, with its reason', async () => {
    const h = await host({ scriptChecks: true });
    h.backend.refuse = (definition) =>
      definition.checks?.some((check) => check.scriptArgs) ? 'Scripts are disabled' : undefined;
    h.run('web', { labels: { SERVICE_CHECK_SCRIPT: 'true' } });
    await h.settle();
    expect(h.check(web, 'note')).toMatchObject({ status: 'critical', output: 'Scripts are disabled' });
    h.backend.refuse = () => undefined;
    await h.settle(70_000);
    expect(h.check(web, 'note')).toBeUndefined();
    expect(h.backend.definitions.get(web)?.checks?.[0]?.scriptArgs).toEqual(['sh', '-c', 'true']);
  });
  test('R10: deregister-all removes ours and leaves the rest', async () => {
    const h = await host();
    h.run('a');
    h.backend.addForeign('human', 'x');
    await h.settle();
    await h.registrator.stop('deregister-all');
    expect(h.ids).toEqual(['human']);
  });
  test('R14: 200 containers at once are all registered, at most 16 looked at at a time', async () => {
    const h = await host();
    let busy = 0;
    let most = 0;
    const inspect = h.engine.inspectContainer.bind(h.engine);
    h.engine.inspectContainer = async (id, signal) => {
      most = Math.max(most, ++busy);
      try {
        return await inspect(id, signal);
      } finally {
        busy--;
      }
    };
    for (let i = 0; i < 200; i++) h.run(`box-${i}`);
    await h.settle(2_000);
    expect(h.ids).toHaveLength(200);
    expect(most).toBe(16);
  });
});

describe('R30 the HEALTHCHECK mirror is fed', () => {
  const healthcheck = { Test: ['CMD', 'true'] };
  test('starting is critical, events change it, and the TTL never runs out', async () => {
    const h = await host();
    const id = h.run('web', { healthcheck });
    await h.settle();
    expect(h.check(web, 'health')?.status).toBe('critical');
    h.engine.setHealth(id, 'healthy', 'fine');
    await h.settle();
    expect(h.check(web, 'health')).toMatchObject({ status: 'passing', output: 'fine' });
    expect(h.backend.writes.filter((line) => line.startsWith('register'))).toHaveLength(1);
    const before = h.backend.writes.length;
    await h.settle(fedTtlMs);
    const fed = h.backend.writes.slice(before);
    expect(fed.length).toBeGreaterThanOrEqual(3);
    expect(new Set(fed)).toEqual(new Set([`check service:${web}:health passing`]));
  });
  test('delay until healthy', async () => {
    const h = await host({ delayUntilHealthy: true });
    const id = h.run('web', { healthcheck });
    await h.settle();
    expect(h.ids).toEqual([]);
    h.engine.setHealth(id, 'healthy');
    await h.settle();
    h.engine.setHealth(id, 'unhealthy');
    await h.settle();
    expect(h.check(web, 'health')?.status).toBe('critical');
  });
});

describe('R35', () => {
  test('a TTL check keeps its timer through reconciliation, and its status through a real change', async () => {
    const h = await host();
    const id = h.run('web', { labels: { SERVICE_CHECK_TTL: '1h', SERVICE_CHECK_INITIAL_STATUS: 'passing' } });
    await h.settle(300_000);
    expect(h.backend.writes).toEqual([`register ${web}`]);
    h.engine.pause(id);
    await h.settle();
    const check = h.backend.definitions.get(web)?.checks?.find((each) => each.id === `service:${web}`);
    expect(check).toBeDefined();
    expect(check?.status).toBeUndefined();
  });
});

describe('explain and status', () => {
  test('every decision carries its reason, every port left out what to set', async () => {
    const h = await host();
    h.run('web', { env: ['SERVICE_NAME=shop'], exposed: ['81/tcp'] });
    h.engine.stop(h.run('old'));
    await h.settle();
    h.engine.latencyMs = 0;
    const explanation = await h.registrator.explain();
    const text = formatExplanation(explanation);
    expect(text).toContain('port 80/tcp -> service shop');
    expect(text).toMatch(/name +shop +env SERVICE_NAME/);
    expect(text).toMatch(/address +10\.99\.0\.10 +advertised address \(-advertise\)/);
    expect(text).toContain('port 81/tcp not registered: not published on the host');
    expect(text).toContain('the container is exited (exit code 143)');
    expect(JSON.parse(JSON.stringify(explanation))).toEqual(explanation);
    await expect(h.registrator.explain('nope')).rejects.toThrow('No such container');
  });
  test('memory does not grow with containers that come and go (R42)', async () => {
    const h = await host();
    for (let i = 0; i < 100; i++) {
      const id = h.run(`box-${i}`);
      await h.settle(10);
      h.engine.remove(id);
      await h.settle(10);
    }
    expect(h.registrator.status()).toMatchObject({ containers: 0, services: [], problems: [] });
  });
});
