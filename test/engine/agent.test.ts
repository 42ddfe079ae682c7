// The main job, from outside: a real engine, a real agent process, HTTP and DNS.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';

const skip = engineSkipReason() !== undefined;

interface HealthEntry {
  readonly Service: {
    readonly ID: string;
    readonly Address: string;
    readonly Port: number;
    readonly Tags: readonly string[];
  };
  readonly Checks: readonly {
    readonly CheckID: string;
    readonly Status: string;
    readonly Output: string;
    readonly Type: string;
  }[];
}

describe.skipIf(skip)('an agent beside an engine', () => {
  let engine: TestEngine;
  let agent: AgentProcess;
  const health = async (service: string): Promise<readonly HealthEntry[]> =>
    (await agent.get(`/v1/health/service/${service}`)).json as readonly HealthEntry[];
  const instances = (service: string, count: number): Promise<readonly HealthEntry[]> =>
    waitUntil(
      () => `${count} instances of ${service}\n${agent.log.slice(-3000)}`,
      async () => {
        const found = await health(service);
        return found.length === count && found;
      },
      10_000,
    );

  beforeAll(async () => {
    engine = await startEngine();
    agent = new AgentProcess({
      ports: { http: 21_500, dns: 21_600 },
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

  test('a published port becomes a service in HTTP and DNS, and docker rm removes it', async () => {
    const id = await engine.run('--name', 'hello', '-p', '8081:80', 'acme/one');
    const [entry] = await instances('one', 1);
    expect(entry!.Service).toMatchObject({ Address: engine.hostAddress, Port: 8081 });
    expect(entry!.Service.ID).toMatch(/:hello:80$/);
    const srv = await agent.dns('one.service.consul', 'SRV');
    expect(srv).toHaveLength(1);
    expect(srv[0]).toMatchObject({ type: 'SRV', data: { port: 8081 } });
    expect(await agent.dns('one.service.consul', 'A')).toMatchObject([{ type: 'A', data: engine.hostAddress }]);
    await engine.docker('rm', '-f', id);
    await instances('one', 0);
    expect(await agent.dns('one.service.consul', 'A')).toEqual([]);
  });

  test('labels decide name, tags and checks; an exec check runs inside the container', async () => {
    const id = await engine.run(
      ...['--name', 'labelled', '-p', '80'],
      ...['-l', 'SERVICE_NAME=shop', '-l', 'SERVICE_TAGS=a,b'],
      ...['-l', 'SERVICE_CHECK_DOCKER=cat /etc/mood >&2', '-l', 'SERVICE_CHECK_INTERVAL=1s'],
      'acme/one',
    );
    const [entry] = await instances('shop', 1);
    expect(entry!.Service.Tags).toEqual(['a', 'b']);
    await engine.docker('exec', id, 'sh', '-c', 'echo cheerful > /etc/mood');
    const check = await waitUntil(
      () => `the exec check to pass\n${agent.log.slice(-3000)}`,
      async () => {
        const [found] = await health('shop');
        return found?.Checks.find(({ Status, Type }) => Status === 'passing' && Type === 'docker');
      },
      15_000,
    );
    expect(check.Output).toContain('cheerful');
    await engine.docker('rm', '-f', id);
    await instances('shop', 0);
  });

  test('a HEALTHCHECK of the image becomes a check of the service', async () => {
    const id = await engine.run('--name', 'healthy', '-p', '80', 'acme/health');
    const becomes = (status: string): Promise<unknown> =>
      waitUntil(
        () => `${status}\n${agent.log.slice(-3000)}`,
        async () => {
          const [entry] = await health('health');
          return entry?.Checks.some(({ CheckID, Status }) => CheckID !== 'serfHealth' && Status === status);
        },
        15_000,
      );
    await becomes('passing');
    await engine.docker('exec', id, 'touch', '/tmp/sick');
    await becomes('critical');
    await engine.docker('exec', id, 'rm', '/tmp/sick');
    await becomes('passing');
    await engine.docker('rm', '-f', id);
    await instances('health', 0);
  });

  test('pause makes it critical, unpause reverts', async () => {
    const id = await engine.run('--name', 'sleeper', '-p', '80', '-l', 'SERVICE_NAME=sleeper', 'acme/one');
    await instances('sleeper', 1);
    const passing = async (): Promise<number> =>
      ((await agent.get('/v1/health/service/sleeper?passing')).json as unknown[]).length;
    await engine.docker('pause', id);
    await waitUntil('no passing instance', async () => (await passing()) === 0, 10_000);
    await engine.docker('unpause', id);
    await waitUntil('a passing instance', async () => (await passing()) === 1, 10_000);
    await engine.docker('rm', '-f', id);
    await instances('sleeper', 0);
  });

  test('an invalid label never loses the service, and the reason is visible', async () => {
    const id = await engine.run(
      ...['--name', 'clumsy', '-p', '80', '-l', 'SERVICE_NAME=clumsy'],
      ...['-l', 'SERVICE_CHECK_HTTP=/', '-l', 'SERVICE_CHECK_INTERVAL=bogus', '-l', 'SERVICE_A.B=1'],
      'acme/one',
    );
    await instances('clumsy', 1);
    const note = await waitUntil('the reason in a check of the service', async () => {
      const [entry] = await health('clumsy');
      return entry?.Checks.find(({ Output }) => Output.includes('bogus'));
    });
    expect(note.Output).toContain('SERVICE_CHECK_INTERVAL');
    await waitUntil(
      () => `the reason in the log\n${agent.log.slice(-3000)}`,
      () => /\[WARN\].*SERVICE_CHECK_INTERVAL.*bogus/.test(agent.log),
    );
    await engine.docker('rm', '-f', id);
    await instances('clumsy', 0);
  });
});

test('without an engine the agent says so in one line and serves all the same', async () => {
  const agent = new AgentProcess({
    ports: { http: 21_510, dns: 21_610 },
    env: { DOCKER_HOST: 'unix:///nonexistent/docker.sock' },
    args: ['-registrator=true'],
  });
  try {
    await agent.start();
    expect((await agent.get('/v1/catalog/services')).json).toEqual({ consul: [] });
    expect((await agent.dns('consul.service.consul', 'A')).length).toBe(1);
    await waitUntil(
      () => `the line about the engine\n${agent.log}`,
      () => agent.log.includes('/nonexistent/docker.sock'),
    );
    const lines = agent.log
      .split('\n')
      .filter((line) => line.includes('/nonexistent/docker.sock') && /\[(WARN|ERROR)/.test(line));
    expect(lines).toHaveLength(1);
  } finally {
    await agent.close();
  }
});
