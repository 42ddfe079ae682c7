import { describe, expect, test } from 'vitest';
import {
  collectDoctorReport,
  type DoctorSettings,
  formatDoctor,
  type ProbePorts,
} from '../../../src/environment/index.ts';
import { type DockerEngine, EngineError } from '../../../src/ports/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { address, settings } from './worlds.ts';

const doctorSettings: DoctorSettings = {
  advertise: settings,
  metadata: 'never',
  versions: [
    ['Portolan', '0.1.0'],
    ['Node', 'v20.19.0'],
  ],
};

const hostFiles: Readonly<Record<string, string>> = {
  '/proc/net/dev': '  lo: 0\n ens5: 0\n',
  '/proc/net/route': 'Iface\nens5\t00000000\t0103020A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n',
  '/proc/self/limits':
    'Limit  Soft Limit  Hard Limit  Units\nMax open files            65536               524288               files\n',
  '/etc/resolv.conf': '# by hand\nnameserver 10.1.0.2\nnameserver 1.1.1.1\nsearch example.test\n',
  '/sys/fs/cgroup/cgroup.controllers': 'cpu memory',
  '/sys/fs/cgroup/memory.max': '268435456\n',
};

function ports(files: Readonly<Record<string, string>>, docker: DockerEngine | null = null): ProbePorts {
  return {
    clock: new VirtualClock(),
    docker,
    interfaces: () => [address('lo', '127.0.0.1/8'), address('ens5', '10.2.3.4/24')],
    hostname: () => 'box',
    variables: {},
    readFile: (path) => Promise.resolve(files[path]),
    fileExists: (path) => Promise.resolve(path in files),
    http: () => Promise.reject(new Error('not asked')),
  };
}

/** An engine whose every answer is this error. */
function failing(message: string): DockerEngine {
  const fail = () => Promise.reject(new EngineError(message, undefined));
  return {
    endpoint: 'unix:///var/run/docker.sock',
    version: fail,
    info: fail,
    listContainers: fail,
    inspectContainer: fail,
    inspectImage: fail,
    events: fail,
    exec: fail,
  };
}

const bridgeEngine: DockerEngine = {
  ...failing('not used'),
  version: () => Promise.resolve({ Version: '20.10.24', ApiVersion: '1.41' }),
  info: () => Promise.resolve({}),
  inspectContainer: (id) =>
    Promise.resolve({
      Id: id,
      Name: '/agent',
      Config: { Image: 'portolan:0.1' },
      HostConfig: { NetworkMode: 'bridge' },
      NetworkSettings: { Ports: { '8301/tcp': [{ HostIp: '0.0.0.0', HostPort: '8301' }] } },
    }),
};
const inContainer = { ...hostFiles, '/.dockerenv': '', '/proc/self/cgroup': `0::/docker/${'a'.repeat(64)}` };

describe('the page', () => {
  test('of a host in order', async () => {
    const report = await collectDoctorReport(ports(hostFiles), doctorSettings);
    expect(formatDoctor(report, { color: false, format: 'table' })).toBe(`Where it runs
  Portolan        0.1.0
  Node            v20.19.0
  Container       no
  Network mode    host (not in a container)
  Interfaces      lo 127.0.0.1/8, ens5 10.2.3.4/24
  Default route   ens5
  Docker engine   skipped: no Docker engine is configured
  ECS             skipped: ECS_CONTAINER_METADATA_URI_V4 is not set
  Cloud           skipped: switched off
  Kubernetes      no
  Control groups  version 2, memory at most 256 MiB
  Name servers    10.1.0.2, 1.1.1.1
  Open files      65536 (hard limit 524288)

Advertise address: 10.2.3.4
   advertise_addr                    -         absent   not set
   variable PORTOLAN_ADVERTISE_ADDR  -         absent   not set
   bind_addr                         -         absent   not set
   variable HOST_IP                  -         skipped  not in a container
   variable NODE_IP                  -         skipped  not in a container
   variable POD_IP                   -         skipped  not in a container
-> interface ens5                    10.2.3.4  chosen   the only private IPv4 address
   ECS metadata file                 -         skipped  the own interface is reachable
   ECS task metadata                 -         skipped  ECS_CONTAINER_METADATA_URI_V4 is not set
   cloud metadata                    -         skipped  the own interface is reachable
   published port                    -         skipped  the own interface is reachable
   swarm node address                -         skipped  the own interface is reachable

Nothing to mend.
`);
  });

  test('of a bridge container shows the ports and what to mend', async () => {
    const report = await collectDoctorReport(ports(inContainer, bridgeEngine), doctorSettings);
    const text = formatDoctor(report, { color: false, format: 'table' });
    expect(text).toContain('  Container       yes: agent (aaaaaaaaaaaa, portolan:0.1); /.dockerenv exists');
    expect(text).toContain('  Docker engine   20.10.24, API 1.41, at unix:///var/run/docker.sock\n');
    expect(text).toContain('Ports other hosts need\n  LAN gossip  8301  tcp from 0.0.0.0:8301  udp not published\n');
    expect(text).toMatch(
      /To mend\n {2}! LAN gossip port 8301 is published for TCP only.*\n {6}fix: add -p 8301:8301\/udp\n/,
    );
  });

  test('as JSON is the report itself', async () => {
    const report = await collectDoctorReport(ports(inContainer, bridgeEngine), doctorSettings);
    const text = formatDoctor(report, { color: true, format: 'json' });
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(report)));
    expect(text.endsWith('}\n')).toBe(true);
  });

  test('has colours only when asked', async () => {
    const report = await collectDoctorReport(ports(inContainer, bridgeEngine), doctorSettings);
    expect(formatDoctor(report, { color: true, format: 'table' })).toContain('\u001b[');
    expect(formatDoctor(report, { color: false, format: 'table' })).not.toContain('\u001b[');
  });
});

describe('what the doctor finds to mend', () => {
  test.each<[string, Readonly<Record<string, string>>, DockerEngine | null, RegExp]>([
    ['a failing engine', hostFiles, failing('socket hang up'), /unix:\/\/\/var\/run\/docker.sock: socket hang up/],
    ['the stub resolver', { ...hostFiles, '/etc/resolv.conf': 'nameserver 127.0.0.53' }, null, /Domains=~consul/],
    [
      'few descriptors',
      { ...hostFiles, '/proc/self/limits': 'Max open files  1024  4096  files' },
      null,
      /LimitNOFILE/,
    ],
  ])('%s', async (_title, files, docker, fix) => {
    const { warnings } = await collectDoctorReport(ports(files, docker), doctorSettings);
    expect(warnings.map((warning) => warning.fix).join('\n')).toMatch(fix);
  });

  test('an engine error that names its endpoint is not given it twice', async () => {
    const docker = failing('no Docker engine at unix:///var/run/docker.sock: there is no such socket');
    const { warnings } = await collectDoctorReport(ports(inContainer, docker), doctorSettings);
    expect(warnings).toContainEqual({
      text: 'the Docker engine cannot be used',
      fix: 'no Docker engine at unix:///var/run/docker.sock: there is no such socket',
    });
  });

  test('no address at all', async () => {
    const report = await collectDoctorReport({ ...ports(hostFiles), interfaces: () => [] }, doctorSettings);
    expect(report.warnings).toContainEqual({
      text: "No private IPv4 address found. Configure one with 'bind' and/or 'advertise'",
      fix: 'set -advertise, or -bind to one address',
    });
    expect(formatDoctor(report, { color: false, format: 'table' })).toContain('Advertise address: none');
  });
});

describe('the control group', () => {
  test.each<[string, Readonly<Record<string, string>>, { version: number | null; memoryMaxBytes: number | null }]>([
    ['version 2, limited', hostFiles, { version: 2, memoryMaxBytes: 268435456 }],
    [
      'version 2, not limited',
      { ...hostFiles, '/sys/fs/cgroup/memory.max': 'max\n' },
      { version: 2, memoryMaxBytes: null },
    ],
    [
      'version 1, limited',
      { '/sys/fs/cgroup/memory/memory.limit_in_bytes': '134217728\n' },
      { version: 1, memoryMaxBytes: 134217728 },
    ],
    [
      'version 1, not limited',
      { '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' },
      { version: 1, memoryMaxBytes: null },
    ],
    ['none', {}, { version: null, memoryMaxBytes: null }],
  ])('%s', async (_title, files, expected) => {
    expect((await collectDoctorReport(ports(files), doctorSettings)).cgroup).toEqual(expected);
  });
});
