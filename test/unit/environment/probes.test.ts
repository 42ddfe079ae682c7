// What is asked, when, and how long it may take. No packet leaves this machine: HTTP goes to a function, or to a
// metadata service of our own on loopback.
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import {
  collectFacts,
  defaultRouteInterface,
  type CollectOptions,
  type HttpRequest,
  type ProbePorts,
  probesTotalMs,
} from '../../../src/environment/index.ts';
import { interfaceNamesOf } from '../../../src/environment/probes.ts';
import { requestOverHttp } from '../../../src/node/environment-probes.ts';
import { toInterfaceAddresses } from '../../../src/node/interfaces.ts';
import { type ContainerInspect, type DockerEngine, EngineError } from '../../../src/ports/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { address } from './worlds.ts';

const id = '0123456789abcdef'.repeat(4);
const ownerId = 'fedcba9876543210'.repeat(4);
const options: CollectOptions = { decided: false, metadata: 'auto', gossipPort: 8301 };
const silence: HttpRequest = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

interface World {
  readonly files?: Readonly<Record<string, string>>;
  readonly variables?: Readonly<Record<string, string>>;
  readonly http?: HttpRequest;
  readonly docker?: DockerEngine;
}

function world({ files = {}, variables = {}, http, docker }: World) {
  const clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  const asked: string[] = [];
  const ports: ProbePorts = {
    clock,
    docker: docker ?? null,
    interfaces: () => [address('lo', '127.0.0.1/8'), address('eth0', '172.17.0.2/16')],
    hostname: () => 'box',
    variables,
    readFile: (path) => Promise.resolve(files[path]),
    fileExists: (path) => Promise.resolve(path in files),
    http: (request) => {
      asked.push(`${request.method} ${new URL(request.url).pathname}`);
      return (http ?? (() => Promise.reject(new Error('refused'))))(request);
    },
  };
  return { clock, asked, ports };
}

const inDocker = { '/.dockerenv': '', '/proc/self/cgroup': `0::/docker/${id}` };
const onEc2 = { '/sys/class/dmi/id/sys_vendor': 'Amazon EC2\n' };

function engine(containers: Readonly<Record<string, Partial<ContainerInspect>>>, log: string[] = []): DockerEngine {
  const notUsed = (): never => {
    throw new Error('not used');
  };
  return {
    endpoint: 'unix:///var/run/docker.sock',
    version: () => Promise.resolve({ Version: '20.10.24', ApiVersion: '1.41' }),
    info: () => Promise.resolve({ SecurityOptions: ['name=seccomp'], Swarm: { NodeAddr: '10.99.0.10' } }),
    inspectContainer: (id) => {
      log.push(id);
      const container = containers[id];
      return container === undefined
        ? Promise.reject(new EngineError(`No such container: ${id}`, 404))
        : Promise.resolve({ Id: id, ...container });
    },
    listContainers: notUsed,
    inspectImage: notUsed,
    events: notUsed,
    exec: notUsed,
  };
}

describe('a source that cannot change the outcome', () => {
  test('is not asked outside containers, even on EC2 with a Docker socket', async () => {
    const log: string[] = [];
    const { clock, asked, ports } = world({ files: onEc2, docker: engine({}, log), http: silence });
    const facts = await collectFacts(ports, options);
    expect([asked, log, clock.monotonicMs(), clock.pendingTimers]).toEqual([[], [], 0, 0]);
    expect(facts).toMatchObject({
      container: { inContainer: false },
      cloudHints: ['aws'],
      cloud: { state: 'skipped' },
    });
  });

  test('is not asked when the address is configured', async () => {
    const { clock, asked, ports } = world({ files: { ...inDocker, ...onEc2 }, http: silence });
    await collectFacts(ports, { ...options, decided: true });
    expect([asked, clock.monotonicMs()]).toEqual([[], 0]);
  });

  test('is given up when Docker says host network: start does not wait for a silent cloud', async () => {
    const docker = engine({ [id]: { HostConfig: { NetworkMode: 'host' } } });
    const { clock, ports } = world({ files: { ...inDocker, ...onEc2 }, http: silence, docker });
    const facts = await collectFacts(ports, options);
    expect(clock.monotonicMs()).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    expect(facts.docker).toMatchObject({ value: { container: { networkMode: 'host' } } });
    expect(facts.cloud).toMatchObject({ state: 'skipped' });
  });

  test('is given up when the gossip port is not published', async () => {
    const docker = engine({
      [id]: { HostConfig: { NetworkMode: 'project_default' }, NetworkSettings: { Ports: { '8301/tcp': null } } },
    });
    const { clock, ports } = world({ files: { ...inDocker, ...onEc2 }, http: silence, docker });
    await collectFacts(ports, options);
    expect(clock.monotonicMs()).toBe(0);
  });

  test('the clouds are not asked where nothing looks like one', async () => {
    const { asked, ports } = world({ files: { ...inDocker, '/sys/class/dmi/id/sys_vendor': 'LENOVO' }, http: silence });
    expect((await collectFacts(ports, options)).cloud).toMatchObject({ state: 'skipped' });
    expect(asked).toEqual([]);
  });

  test('the clouds are never asked when that is switched off', async () => {
    const { asked, ports } = world({ files: { ...inDocker, ...onEc2 }, http: silence });
    expect((await collectFacts(ports, { ...options, metadata: 'never' })).cloud).toMatchObject({ state: 'skipped' });
    expect(asked).toEqual([]);
  });
});

describe('the time limit', () => {
  test('holds when nobody ever answers', async () => {
    const stuck: DockerEngine = { ...engine({}), version: () => new Promise(() => {}) };
    const { clock, ports } = world({
      files: { ...inDocker, ...onEc2, '/file': '{"MetadataFileStatus":"INITIAL"}' },
      variables: { ECS_CONTAINER_METADATA_FILE: '/file', ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/x' },
      http: silence,
      docker: stuck,
    });
    let facts: Awaited<ReturnType<typeof collectFacts>> | undefined;
    void collectFacts(ports, { ...options, metadata: 'always' }).then((value) => (facts = value));
    await clock.advanceUntil(() => facts !== undefined, probesTotalMs);
    expect(facts!.docker).toMatchObject({ state: 'absent', why: expect.stringContaining('no answer within 800 ms') });
    expect(facts!.ecsFile).toMatchObject({ state: 'absent', why: expect.stringContaining('READY') });
    expect(facts!.ecsTask).toMatchObject({ state: 'absent' });
    expect(facts!.cloud).toMatchObject({ state: 'absent' });
    expect(facts!.metadataTokenTimedOut).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the own container', () => {
  const inspectNames = async (files: Record<string, string>, docker: DockerEngine) => {
    const { ports } = world({ files: { '/.dockerenv': '', ...files }, docker });
    const facts = await collectFacts(ports, options);
    return facts.docker.state === 'found' ? facts.docker.value.container : facts.docker;
  };

  test('is the first candidate the engine knows', async () => {
    const log: string[] = [];
    const docker = engine({ aaaaaaaaaaaa: { Name: '/web', HostConfig: { NetworkMode: 'bridge' } } }, log);
    const container = await inspectNames(
      { '/proc/self/cgroup': `0::/x/${id}`, '/etc/hostname': 'aaaaaaaaaaaa' },
      docker,
    );
    expect(log).toEqual([id, 'aaaaaaaaaaaa']);
    expect(container).toMatchObject({ name: 'web', networkMode: 'bridge' });
  });

  test('in container: mode is replaced by the owner of the network', async () => {
    const docker = engine({
      [id]: { HostConfig: { NetworkMode: `container:${ownerId}` } },
      [ownerId]: {
        Name: '/pause',
        HostConfig: { NetworkMode: 'bridge' },
        NetworkSettings: {
          Ports: {
            '8301/tcp': [
              { HostIp: '0.0.0.0', HostPort: '18301' },
              { HostIp: '::', HostPort: '18301' },
            ],
            '8301/udp': [{ HostIp: '', HostPort: '18301' }],
            '8500/tcp': null,
          },
        },
      },
    });
    expect(await inspectNames(inDocker, docker)).toMatchObject({
      name: 'pause',
      publishedPorts: [
        { containerPort: 8301, protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 18301 },
        { containerPort: 8301, protocol: 'tcp', hostIp: '::', hostPort: 18301 },
        { containerPort: 8301, protocol: 'udp', hostIp: '0.0.0.0', hostPort: 18301 },
      ],
    });
  });

  test('that exposes ports of which none is in effect is on a network that ignores publishing', async () => {
    const inspect = (Ports: Record<string, null>) =>
      engine({
        [id]: {
          Config: { ExposedPorts: { '8301/tcp': {} } },
          HostConfig: { NetworkMode: 'lan' },
          NetworkSettings: { Ports },
        },
      });
    expect(await inspectNames(inDocker, inspect({}))).toMatchObject({ publishIgnored: true });
    expect(await inspectNames(inDocker, inspect({ '8301/tcp': null }))).toMatchObject({ publishIgnored: false });
  });

  test('nobody knows leaves the engine found and the container open', async () => {
    expect(await inspectNames(inDocker, engine({}))).toBeNull();
  });

  test('an engine that fails is an absent finding with its reason', async () => {
    const docker: DockerEngine = {
      ...engine({}),
      version: () => Promise.reject(new EngineError('connect EACCES /var/run/docker.sock', undefined)),
    };
    expect(await inspectNames(inDocker, docker)).toEqual({
      state: 'absent',
      why: 'unix:///var/run/docker.sock: connect EACCES /var/run/docker.sock',
    });
  });
});

describe('ECS', () => {
  test('the file is waited for until it is READY', async () => {
    const files: Record<string, string> = { ...inDocker, '/file': '{"MetadataFileStatus":"INITIAL"}' };
    const { clock, ports } = world({ files, variables: { ECS_CONTAINER_METADATA_FILE: '/file' } });
    let facts: Awaited<ReturnType<typeof collectFacts>> | undefined;
    void collectFacts(ports, { ...options, metadata: 'never' }).then((value) => (facts = value));
    await clock.advance(450);
    expect(facts).toBeUndefined();
    files['/file'] = '{"MetadataFileStatus":"REA';
    await clock.advance(100);
    files['/file'] = JSON.stringify({
      MetadataFileStatus: 'READY',
      Cluster: 'prod',
      ContainerID: id,
      HostPrivateIPv4Address: '10.3.3.3',
      Networks: [{ NetworkMode: 'bridge', IPv4Addresses: ['172.17.0.2'] }],
      PortMappings: [
        { ContainerPort: 8301, HostPort: 8301, BindIp: '0.0.0.0', Protocol: 'tcp' },
        { ContainerPort: 'x', HostPort: 1, Protocol: 'tcp' },
      ],
    });
    await clock.advance(100);
    expect(facts!.ecsFile).toEqual({
      state: 'found',
      value: {
        containerId: id,
        hostPrivateAddress: '10.3.3.3',
        networkModes: ['bridge'],
        publishedPorts: [{ containerPort: 8301, hostPort: 8301, hostIp: '0.0.0.0', protocol: 'tcp' }],
        cluster: 'prod',
        taskArn: undefined,
      },
    });
  });

  test('a host address in the file makes the instance metadata unnecessary', async () => {
    const file = '{"MetadataFileStatus":"READY","HostPrivateIPv4Address":"10.3.3.3"}';
    const { clock, ports } = world({
      files: { ...inDocker, ...onEc2, '/file': file },
      variables: { ECS_CONTAINER_METADATA_FILE: '/file' },
      http: silence,
    });
    expect((await collectFacts(ports, options)).cloud).toMatchObject({ state: 'skipped' });
    expect(clock.monotonicMs()).toBe(0);
  });

  test.each([
    ['ECS_CONTAINER_METADATA_URI_V4', '/v4/x/task'],
    ['ECS_CONTAINER_METADATA_URI', '/v3/x/task'],
  ])('the endpoint of %s is asked', async (name, path) => {
    const body = JSON.stringify({
      Cluster: 'prod',
      Containers: [{ Networks: [{ NetworkMode: 'awsvpc', IPv4Addresses: ['10.4.4.4'] }] }],
    });
    const { asked, ports } = world({
      files: inDocker,
      variables: { [name]: `http://169.254.170.2${path.replace('/task', '')}` },
      http: () => Promise.resolve({ status: 200, headers: {}, body }),
    });
    const { ecsTask } = await collectFacts(ports, { ...options, metadata: 'never' });
    expect(asked).toEqual([`GET ${path}`]);
    expect(ecsTask).toMatchObject({ value: { networks: [{ mode: 'awsvpc', addresses: ['10.4.4.4'] }] } });
  });
});

describe('a metadata service on loopback', () => {
  const servers: ReturnType<typeof createServer>[] = [];
  afterEach(() => servers.splice(0).forEach((server) => void server.close()));

  /** Answers null: never. */
  type Answer = { status: number; body: string; headers?: Record<string, string> } | null;
  async function serve(answer: (request: IncomingMessage) => Answer): Promise<HttpRequest> {
    const server = createServer((request, response) => {
      const reply = answer(request);
      if (reply === null) return;
      response.writeHead(reply.status, reply.headers).end(reply.body);
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return (request) =>
      requestOverHttp({ ...request, url: request.url.replace('169.254.169.254', `127.0.0.1:${port}`) });
  }
  /** Lets virtual time pass only while nothing else happens. */
  async function collectOn(vendor: string, http: HttpRequest) {
    const { clock, asked, ports } = world({ files: { ...inDocker, '/sys/class/dmi/id/sys_vendor': vendor }, http });
    let facts: Awaited<ReturnType<typeof collectFacts>> | undefined;
    const done = collectFacts(ports, options).then((value) => (facts = value));
    return { clock, asked, done, facts: () => facts };
  }

  test('EC2 version 2: token, then address', async () => {
    const http = await serve(({ method, headers }) => {
      if (method === 'PUT') {
        return headers['x-aws-ec2-metadata-token-ttl-seconds'] === '21600'
          ? { status: 200, body: 'TOKEN' }
          : { status: 400, body: '' };
      }
      return headers['x-aws-ec2-metadata-token'] === 'TOKEN'
        ? { status: 200, body: '10.6.6.6\n' }
        : { status: 401, body: '' };
    });
    const { asked, done } = await collectOn('Amazon EC2', http);
    expect((await done).cloud).toEqual({
      state: 'found',
      value: { provider: 'aws', address: '10.6.6.6', via: 'EC2 instance metadata v2' },
    });
    expect(asked).toEqual(['PUT /latest/api/token', 'GET /latest/meta-data/local-ipv4']);
  });

  test('EC2 version 1, where there are no tokens', async () => {
    const http = await serve(({ method }) =>
      method === 'PUT' ? { status: 405, body: '' } : { status: 200, body: '10.6.6.6' },
    );
    const { done } = await collectOn('Amazon EC2', http);
    expect((await done).cloud).toMatchObject({ value: { via: 'EC2 instance metadata v1' } });
  });

  test('hop limit 1: the token never comes, version 1 answers', async () => {
    const http = await serve(({ method }) => (method === 'PUT' ? null : { status: 200, body: '10.6.6.6' }));
    const { clock, done, facts } = await collectOn('Amazon EC2', http);
    await clock.advance(699);
    expect(facts()).toBeUndefined();
    await clock.advance(1);
    expect(await done).toMatchObject({
      cloud: { value: { address: '10.6.6.6', via: 'EC2 instance metadata v1' } },
      metadataTokenTimedOut: true,
    });
  });

  test('hop limit 1 with tokens required: absent, with the reason', async () => {
    const http = await serve(({ method }) => (method === 'PUT' ? null : { status: 401, body: '' }));
    const { clock, done } = await collectOn('Amazon EC2', http);
    await clock.advance(700);
    expect(await done).toMatchObject({
      cloud: { state: 'absent', why: expect.stringContaining('requires a token (metadata v2)') },
      metadataTokenTimedOut: true,
    });
  });

  test('a refused connection is not a hop limit', async () => {
    const http = await serve(() => null);
    const server = servers.pop()!;
    await new Promise((resolve) => server.close(resolve));
    const { done } = await collectOn('Amazon EC2', http);
    expect(await done).toMatchObject({
      cloud: { state: 'absent', why: expect.stringContaining('ECONNREFUSED') },
      metadataTokenTimedOut: false,
    });
  });

  test('GCE must sign its answer', async () => {
    const signed = await serve(({ headers }) =>
      headers['metadata-flavor'] === 'Google'
        ? { status: 200, body: '10.8.8.8', headers: { 'Metadata-Flavor': 'Google' } }
        : { status: 403, body: '' },
    );
    expect((await (await collectOn('Google', signed)).done).cloud).toMatchObject({
      value: { provider: 'gce', address: '10.8.8.8' },
    });
    const unsigned = await serve(() => ({ status: 200, body: '10.8.8.8' }));
    expect((await (await collectOn('Google', unsigned)).done).cloud).toMatchObject({ state: 'absent' });
  });

  test('Azure wants its header', async () => {
    const http = await serve(({ headers, url }) =>
      headers['metadata'] === 'true' && url?.endsWith('?api-version=2021-02-01&format=text') === true
        ? { status: 200, body: '10.9.9.9' }
        : { status: 400, body: '' },
    );
    const { done } = await collectOn('Microsoft Corporation', http);
    expect((await done).cloud).toMatchObject({ value: { provider: 'azure', address: '10.9.9.9' } });
  });

  test('a page that is no address is not taken', async () => {
    const http = await serve(() => ({ status: 200, body: '<html>captive portal</html>' }));
    const { done } = await collectOn('Amazon EC2', http);
    expect((await done).cloud).toMatchObject({ state: 'absent', why: expect.stringContaining('not an address') });
  });
});

describe('the kernel tables', () => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
  test.each([
    ['one default route', `${head}eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`, 'eth0'],
    [
      'the lowest metric wins',
      `${head}wlan0\t00000000\t01\t0003\t0\t0\t600\t00000000\t0\t0\t0\nens5\t00000000\t01\t0003\t0\t0\t100\t00000000\t0\t0\t0\n`,
      'ens5',
    ],
    ['a route that is down does not count', `${head}eth0\t00000000\t01\t0002\t0\t0\t0\t00000000\t0\t0\t0\n`, null],
    ['half of the world is not the world', `${head}tun0\t00000000\t01\t0003\t0\t0\t0\t00000080\t0\t0\t0\n`, null],
    ['a network route', `${head}eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n`, null],
    ['no file', '', null],
  ])('%s', (_title, text, expected) => expect(defaultRouteInterface(text)).toBe(expected));

  test('/proc/net/dev lists interfaces without address', () => {
    const text = 'Inter-|   Receive\n face |bytes\n    lo: 1 2 3\ndocker0:0 0\n  eth0: 4 5\n';
    expect(interfaceNamesOf(text)).toEqual(['lo', 'docker0', 'eth0']);
  });

  test("Node's interfaces get the project's form", () => {
    const common = { mac: '00:00:00:00:00:00', netmask: '' };
    expect(
      toInterfaceAddresses({
        lo: [{ ...common, address: '127.0.0.1', family: 'IPv4', internal: true, cidr: '127.0.0.1/8' }],
        eth0: [{ ...common, address: 'fe80::1', family: 'IPv6', internal: false, cidr: 'fe80::1/64', scopeid: 2 }],
        gone: undefined,
      }),
    ).toEqual([
      { name: 'lo', address: '127.0.0.1', prefixLength: 8, family: 4, up: true, loopback: true },
      { name: 'eth0', address: 'fe80::1', prefixLength: 64, family: 6, up: true, loopback: false },
    ]);
  });
});
