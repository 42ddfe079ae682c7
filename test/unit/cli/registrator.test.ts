// The stand-alone registrator, its explanation and the doctor, against a fake Docker engine and a fake agent on
// loopback: flags, exit codes, and one container from the engine to the agent.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type FakeAgent, fakeAgent, run } from './in-process.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const containerId = 'c0ffee'.padEnd(64, '0');
const container = {
  Id: containerId,
  Name: '/web1',
  Created: '2026-11-20T10:00:00Z',
  Image: 'sha256:1',
  State: { Status: 'running', Running: true, Pid: 1, StartedAt: '2026-11-20T10:00:01Z' },
  Config: {
    Hostname: 'web1',
    Image: 'acme/web:1',
    Env: ['SERVICE_TAGS=blue'],
    Labels: { SERVICE_NAME: 'shop' },
    ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
  },
  HostConfig: { NetworkMode: 'default' },
  NetworkSettings: {
    Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }], '443/tcp': null },
    Networks: { bridge: { IPAddress: '172.17.0.2' } },
  },
};

/** An engine with one container and an event stream that stays open. */
async function fakeEngine(): Promise<string> {
  const server: Server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/v\d+\.\d+/, '').split('?')[0];
    const answers: Readonly<Record<string, unknown>> = {
      '/version': { Version: '20.10.24', ApiVersion: '1.41', MinAPIVersion: '1.12' },
      '/info': { ID: 'ENGINE', Name: 'host', ServerVersion: '20.10.24' },
      '/containers/json': [{ Id: containerId, Names: ['/web1'], Image: 'acme/web:1', State: 'running', Labels: {} }],
      [`/containers/${containerId}/json`]: container,
      '/containers/web1/json': container,
    };
    if (path === '/events') {
      response.writeHead(200).flushHeaders();
      return;
    }
    const answer = answers[path ?? ''];
    response.setHeader('Content-Type', 'application/json');
    if (answer === undefined) response.writeHead(404).end('{"message":"No such container: x"}');
    else response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function agentThatRegisters(onRegister: () => void): Promise<FakeAgent> {
  const agent = await fakeAgent({
    'GET /v1/status/leader': { json: '127.0.0.1:8300' },
    'GET /v1/agent/services': { json: {} },
    'GET /v1/agent/checks': { json: {} },
    'PUT /v1/agent/service/register': (_, response) => {
      response.end();
      onRegister();
    },
  });
  closers.push(() => agent.close());
  return agent;
}

describe('registrator', () => {
  test('registers the ports of a running container and leaves them when it is told to stop', async () => {
    let interrupt = (): void => undefined;
    const agent = await agentThatRegisters(() => interrupt());
    const { exit, stderr } = await run(
      ['registrator', '-ip=10.0.0.1', '-hostname=h', '-tags=all', `consul://${agent.address}`],
      { env: { DOCKER_HOST: await fakeEngine() }, onReady: (callback) => (interrupt = callback) },
    );
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const [registration] = agent.asked.filter(({ url }) => url.startsWith('/v1/agent/service/register'));
    const body = JSON.parse(registration!.body) as Record<string, unknown>;
    expect(body).toMatchObject({ ID: 'h:web1:80', Name: 'shop', Address: '10.0.0.1', Port: 8080 });
    expect(body['Tags']).toEqual(['blue', 'all']);
    expect(agent.asked.filter(({ url }) => url.includes('deregister'))).toEqual([]);
  });

  test('-version is enough by itself', async () => {
    expect((await run(['registrator', '-version'])).stdout).toMatch(/^Portolan v/);
  });

  test.each([
    [[], 'Missing required argument'],
    [['consul://a', 'consul://b'], 'Extra arguments'],
    [['-frob', 'consul://a'], 'flag provided but not defined: -frob'],
  ])('%j is a wrong command line: usage, exit code 2', async (argv, message) => {
    const { exit, stdout, stderr } = await run(['registrator', ...argv]);
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain('portolan registrator [options] consul://HOST:PORT');
  });

  test.each([
    [['-ttl=30', 'consul://a'], '-ttl and -ttl-refresh must be specified together or not at all'],
    [['-ttl=30', '-ttl-refresh=30', 'consul://a'], '-ttl must be greater than -ttl-refresh'],
    [['-retry-interval=0', 'consul://a'], '-retry-interval must be greater than 0'],
    [['-on-exit=explode', 'consul://a'], '-on-exit must be one of leave, deregister, not "explode"'],
    [['etcd://a'], 'unrecognized backend: etcd://a'],
    [['nonsense'], 'unrecognized backend: nonsense'],
  ])('%j is refused with exit code 1', async (argv, message) => {
    const { exit, stderr } = await run(['registrator', ...argv]);
    expect(stderr).toContain(message);
    expect(exit).toBe(1);
  });

  test.each([
    ['-deregister=sometimes', '-deregister must be "always"'],
    ['-naming=x', '-naming must be one of'],
    ['-tags={{.Nope', '-tags'],
  ])('%s is refused once the engine is known', async (flag, message) => {
    const { exit, stderr } = await run(['registrator', '-ip=10.0.0.1', flag, 'consul://127.0.0.1:1'], {
      env: { DOCKER_HOST: await fakeEngine() },
    });
    expect(stderr).toContain(message);
    expect(exit).toBe(1);
  });

  test('an agent that cannot be reached: exit code 1 after the attempts asked for', async () => {
    const agent = await fakeAgent({ 'GET /v1/status/leader': { status: 500, text: 'No known Consul servers' } });
    closers.push(() => agent.close());
    const { exit, stderr } = await run(
      ['registrator', '-ip=10.0.0.1', '-retry-attempts=2', '-retry-interval=1', `consul://${agent.address}`],
      { env: { DOCKER_HOST: await fakeEngine() } },
    );
    expect(exit).toBe(1);
    expect(stderr).toContain('Unexpected response code: 500 (No known Consul servers)');
    expect(agent.asked).toHaveLength(3);
  });
});

describe('registrator explain', () => {
  test('says for a container what is registered, where each part comes from, and what is left out', async () => {
    const env = { DOCKER_HOST: await fakeEngine() };
    const { exit, stdout } = await run(['registrator', 'explain', '-ip=10.0.0.1', '-hostname=h', 'web1'], { env });
    expect(exit).toBe(0);
    expect(stdout).toContain('web1 (');
    expect(stdout).toContain('port 80/tcp -> service shop\n');
    expect(stdout).toMatch(/443\/tcp not registered/);
  });

  test('as JSON, all containers', async () => {
    const env = { DOCKER_HOST: await fakeEngine() };
    const { stdout } = await run(['registrator', 'explain', '-format=json', '-ip=10.0.0.1', '-hostname=h'], { env });
    expect(JSON.parse(stdout)).toMatchObject({
      containers: [{ name: 'web1', services: [{ id: 'h:web1:80', port: 8080, address: '10.0.0.1' }] }],
    });
  });

  test('an unknown container is an error', async () => {
    const env = { DOCKER_HOST: await fakeEngine() };
    const { exit, stderr } = await run(['registrator', 'explain', '-ip=10.0.0.1', 'nope'], { env });
    expect(exit).toBe(1);
    expect(stderr).toContain('No such container: nope');
  });
});

describe('doctor', () => {
  test('prints the report, as JSON when asked to', async () => {
    const env = { DOCKER_HOST: await fakeEngine() };
    const pretty = await run(['doctor', '-metadata=never', '-advertise=10.0.0.1'], { env });
    expect(pretty.exit).toBe(0);
    expect(pretty.stdout).toContain('10.0.0.1');
    const { stdout } = await run(['doctor', '-metadata=never', '-advertise=10.0.0.1', '--format', 'json'], { env });
    expect(JSON.parse(stdout)).toMatchObject({
      versions: { Portolan: '0.1.0' },
      advertise: { address: '10.0.0.1' },
      facts: { docker: { state: 'found', value: { version: '20.10.24' } } },
    });
  });

  test('refuses a DOCKER_HOST that means nothing', async () => {
    const { exit, stderr } = await run(['doctor'], { env: { DOCKER_HOST: 'nonsense' } });
    expect({ exit, stderr }).toEqual({ exit: 1, stderr: 'unable to parse docker host `nonsense`\n' });
  });
});
