// What must hold after anything dies: the catalog equals the engine, nothing missing, no ghost. Every test ends by
// comparing the two, so it fails on either side of the difference.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { AgentProcess } from '../helpers/agent-process.ts';
import { seedOr } from '../helpers/settings.ts';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';

const skip = engineSkipReason({ own: true }) !== undefined;
/** After its restart the agent has so long to agree with the engine (ms). */
const agreeLimitMs = 2_000;
/** Starting the agent itself on a loaded two-core machine (ms), before that clock runs. */
const settleLimitMs = 20_000;

describe.skipIf(skip)('the catalog equals the engine', () => {
  let engine: TestEngine;
  let agent: AgentProcess;

  beforeAll(async () => {
    engine = await startEngine({ own: true });
    agent = new AgentProcess({
      ports: { http: 21_520, dns: 21_620 },
      address: engine.hostAddress,
      netns: engine.netns,
      env: { DOCKER_HOST: engine.host },
      args: [`-advertise=${engine.hostAddress}`],
    });
    await agent.start();
  });

  afterAll(async () => {
    await agent?.close();
    await engine?.close();
  });

  /** IDs that must be there: of every running container, by its own SERVICE_ID or its name. */
  async function expected(): Promise<readonly string[]> {
    const names = await engine.docker('ps', '--format', '{{.Names}}|{{.Label "SERVICE_ID"}}');
    return names
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [name, id] = line.split('|');
        return id || `${name}:80`;
      })
      .sort();
  }

  /** IDs that are there, without the host's part. */
  async function actual(path: string): Promise<readonly string[]> {
    const { json } = await agent.get(path);
    const services = (path.includes('catalog') ? (json as { Services: object }).Services : json) as object;
    return Object.keys(services)
      .filter((id) => id !== 'consul')
      .map((id) => id.split(':').slice(-2).join(':'))
      .sort();
  }

  async function agree(limitMs = agreeLimitMs): Promise<void> {
    const { json } = await agent.get('/v1/agent/self');
    const node = (json as { Config: { NodeName: string } }).Config.NodeName;
    const want = await expected();
    let got: readonly string[] = [];
    await waitUntil(
      () =>
        `the catalog to equal the engine\nengine:  ${want.join(' ')}\ncatalog: ${got.join(' ')}\n${agent.log.slice(-4000)}`,
      async () => {
        got = await actual('/v1/agent/services');
        const catalog = await actual(`/v1/catalog/node/${node}`);
        return got.join() === want.join() && catalog.join() === want.join();
      },
      limitMs,
    );
    expect(got).toEqual(want);
  }

  const names = (count: number, prefix: string): readonly string[] =>
    Array.from({ length: count }, (_, i) => `${prefix}${i}`);

  async function startAll(list: readonly string[], ...args: readonly string[]): Promise<void> {
    // Four at a time: the engine is no faster with more.
    const queue = [...list];
    const worker = async (): Promise<void> => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        const own = Number(name.replaceAll(/\D/g, '')) % 3 === 0 ? ['-l', `SERVICE_ID=own-${name}:80`] : [];
        await engine.run('--name', name, '-p', '80', ...own, ...args, 'acme/one');
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
  }

  async function removeAll(): Promise<void> {
    const ids = (await engine.docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await engine.docker('rm', '-f', ...ids);
    await agree(settleLimitMs);
  }

  test('after kill -9 of the agent at random moments while 50 containers start, stop and restart', async () => {
    const random = new SeededRandom(seedOr(11));
    const list = names(50, 'churn');
    await startAll(list);
    await agree(settleLimitMs);
    for (let round = 0; round < 5; round++) {
      const churn = (async () => {
        for (let step = 0; step < 10; step++) {
          const name = list[Math.floor(random.next() * list.length)]!;
          const verb = ['stop', 'start', 'restart', 'kill'][Math.floor(random.next() * 4)]!;
          await engine
            .docker(...(verb === 'stop' || verb === 'restart' ? [verb, '-t', '0', name] : [verb, name]))
            .catch(() => '');
        }
      })();
      await new Promise((resolve) => setTimeout(resolve, random.next() * 1_500));
      await agent.kill();
      await churn;
      await agent.start();
      await agree();
    }
    await removeAll();
  }, 300_000);

  test('after 200 starts at once', async () => {
    await startAll(names(200, 'many'));
    await agree(settleLimitMs);
  }, 300_000);

  test('after 500 random restarts of those', async () => {
    const random = new SeededRandom(seedOr(12));
    const worker = async (): Promise<void> => {
      for (let done = 0; done < 125; done += 5) {
        const chosen = Array.from({ length: 5 }, () => `many${Math.floor(random.next() * 200)}`);
        // Two workers may take the same container at once; the engine then refuses one of them.
        await engine.docker('restart', '-t', '0', ...chosen).catch(() => '');
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    await agree(settleLimitMs);
    await removeAll();
  }, 600_000);

  test('after kill -9 of dockerd', async () => {
    await startAll(names(6, 'victim'));
    await agree(settleLimitMs);
    await engine.killDaemon();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await engine.startDaemon();
    await agree(settleLimitMs);
    await removeAll();
  }, 120_000);

  test('after a graceful restart of dockerd, with and without restart policy', async () => {
    await startAll(names(3, 'plain'));
    await startAll(names(3, 'always'), '--restart=always');
    await agree(settleLimitMs);
    await engine.stopDaemon();
    await engine.startDaemon();
    await agree(settleLimitMs);
    await removeAll();
  }, 120_000);
});

describe.skipIf(skip)('the catalog equals the engine under live-restore', () => {
  test('when containers die while the daemon is down', async () => {
    const engine = await startEngine({ own: true, liveRestore: true });
    const agent = new AgentProcess({
      ports: { http: 21_530, dns: 21_630 },
      address: engine.hostAddress,
      netns: engine.netns,
      env: { DOCKER_HOST: engine.host },
      args: [`-advertise=${engine.hostAddress}`],
    });
    try {
      await agent.start();
      const ids = await Promise.all(
        ['a1', 'b1', 'c1'].map((name) => engine.run('--name', name, '-p', '80', 'acme/one')),
      );
      const registered = async (): Promise<number> =>
        Object.keys((await agent.get('/v1/agent/services')).json as object).length;
      await waitUntil('three services', async () => (await registered()) === 3);
      const pid = Number(await engine.docker('inspect', '-f', '{{.State.Pid}}', ids[0]!));
      await engine.stopDaemon();
      // Containers went on; the agent does not drop what it cannot see.
      expect(await registered()).toBe(3);
      process.kill(pid, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 500));
      await engine.startDaemon();
      await waitUntil(
        () => `two services\n${agent.log.slice(-3000)}`,
        async () => (await registered()) === 2,
        settleLimitMs,
      );
      expect((await engine.docker('ps', '-q')).split('\n')).toHaveLength(2);
    } finally {
      await agent.close();
      await engine.close();
    }
  }, 120_000);
});
