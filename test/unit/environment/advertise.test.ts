// The ladder of reference/container-environments.md §9, a case a rung, and what is said about the result.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { whyNotAdvertisable } from '../../../src/environment/address.ts';
import {
  type AdvertiseSettings,
  decideAdvertise,
  describeAdvertise,
  type EnvironmentFacts,
  isDecidedBySettings,
} from '../../../src/environment/index.ts';
import {
  absent,
  address,
  bridge,
  docker,
  ec2,
  ecsFile,
  ecsTask,
  host,
  hostNetwork,
  published,
  publishedBridge,
  settings,
} from './worlds.ts';

const lo = address('lo', '127.0.0.1/8');
const pod = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };

describe('the ladder', () => {
  test.each<[string, EnvironmentFacts, Partial<AdvertiseSettings>, string | null, string]>([
    // 1: settings
    ['a flag wins over everything', publishedBridge, { advertiseAddr: '10.9.9.9' }, '10.9.9.9', 'advertise_addr'],
    ['a loopback flag is obeyed', host, { advertiseAddr: '127.0.0.1' }, '127.0.0.1', 'advertise_addr'],
    ['a bind address is advertised', host, { bindAddr: '10.1.2.99' }, '10.1.2.99', 'bind_addr'],
    [
      'a flag wins over the bind address',
      host,
      { bindAddr: '10.1.2.99', advertiseAddr: '10.9.9.9' },
      '10.9.9.9',
      'advertise_addr',
    ],
    // 2: environment
    [
      'our variable wins over the bind address',
      { ...host, variables: { PORTOLAN_ADVERTISE_ADDR: '10.5.5.5' } },
      { bindAddr: '10.1.2.99' },
      '10.5.5.5',
      'variable PORTOLAN_ADVERTISE_ADDR',
    ],
    [
      'HOST_IP in a container',
      { ...bridge, variables: { HOST_IP: '10.5.5.5', NODE_IP: '10.5.5.6' } },
      {},
      '10.5.5.5',
      'variable HOST_IP',
    ],
    ['NODE_IP in a container', { ...bridge, variables: { NODE_IP: '10.5.5.6' } }, {}, '10.5.5.6', 'variable NODE_IP'],
    ['POD_IP in a pod', { ...bridge, variables: { ...pod, POD_IP: '10.5.5.7' } }, {}, '10.5.5.7', 'variable POD_IP'],
    [
      'HOST_IP on a host is not ours',
      { ...host, variables: { HOST_IP: '10.5.5.5' } },
      {},
      '10.1.2.3',
      'interface ens5',
    ],
    [
      'a loopback HOST_IP is refused',
      { ...hostNetwork, variables: { HOST_IP: '127.0.0.1' } },
      {},
      '10.1.2.3',
      'interface ens5',
    ],
    // 3: not behind NAT
    ['a host with one private address', host, {}, '10.1.2.3', 'interface ens5'],
    ['host network', hostNetwork, {}, '10.1.2.3', 'interface ens5'],
    [
      'of several private addresses the default route decides',
      { ...host, interfaces: [lo, address('eth1', '192.168.7.1/24'), address('ens5', '10.1.2.3/24')] },
      {},
      '10.1.2.3',
      'interface ens5',
    ],
    [
      'without default route the one that is not the Docker bridge',
      { ...hostNetwork, defaultInterface: null },
      {},
      '10.1.2.3',
      'interface ens5',
    ],
    [
      'several without default route are refused',
      { ...host, defaultInterface: null, interfaces: [lo, address('a', '10.1.1.1/24'), address('b', '10.2.2.2/24')] },
      {},
      null,
      '',
    ],
    [
      'a public address alone',
      { ...host, interfaces: [lo, address('ens5', '8.8.4.4/24')] },
      {},
      '8.8.4.4',
      'interface ens5',
    ],
    [
      'bind :: takes the public IPv6 address',
      { ...host, interfaces: [...host.interfaces, address('ens5', 'fe80::1/64'), address('ens5', '2600:1f18::7/64')] },
      { bindAddr: '::' },
      '2600:1f18::7',
      'interface ens5',
    ],
    ['nothing but loopback', { ...host, interfaces: [lo], defaultInterface: null }, {}, '127.0.0.1', 'interface lo'],
    ['nothing at all', { ...host, interfaces: [], defaultInterface: null }, {}, null, ''],
    ['link-local is refused', { ...host, interfaces: [lo, address('ens5', '169.254.3.4/16')] }, {}, null, ''],
    [
      'macvlan',
      {
        ...bridge,
        interfaces: [lo, address('eth0', '192.168.1.50/24')],
        docker: docker({ networkMode: 'lan', publishIgnored: true }),
      },
      {},
      '192.168.1.50',
      'interface eth0',
    ],
    [
      'awsvpc, by the interface',
      { ...bridge, interfaces: [lo, address('eth0', '10.4.4.4/24')], ecsTask: ecsTask('awsvpc', '10.4.4.4') },
      {},
      '10.4.4.4',
      'interface eth0',
    ],
    [
      'awsvpc, by the endpoint where the interfaces do not tell',
      { ...bridge, interfaces: [], defaultInterface: null, ecsTask: ecsTask('awsvpc', '10.4.4.4') },
      {},
      '10.4.4.4',
      'ECS task metadata',
    ],
    [
      'overlay, not the gateway bridge',
      {
        ...bridge,
        interfaces: [lo, address('eth0', '10.0.1.5/24'), address('eth1', '172.18.0.3/16')],
        defaultInterface: 'eth1',
        docker: docker(
          {
            networkMode: 'mesh',
            isSwarmTask: true,
            networks: [
              { name: 'ingress', address: '10.0.0.9' },
              { name: 'mesh', address: '10.0.1.5' },
            ],
          },
          { swarmAddress: '10.99.0.10' },
        ),
      },
      {},
      '10.0.1.5',
      'network mesh',
    ],
    [
      'a pod has a routable address',
      { ...bridge, interfaces: [lo, address('eth0', '10.244.1.5/24')], variables: pod },
      {},
      '10.244.1.5',
      'interface eth0',
    ],
    // 4: ECS metadata file
    ['ECS metadata file', { ...bridge, ecsFile: ecsFile('10.3.3.3') }, {}, '10.3.3.3', 'ECS metadata file'],
    [
      'the file wins over the instance metadata',
      { ...bridge, ecsFile: ecsFile('10.3.3.3'), cloud: ec2('10.6.6.6') },
      {},
      '10.3.3.3',
      'ECS metadata file',
    ],
    [
      'an old agent writes no host address into the file',
      { ...bridge, ecsFile: ecsFile(undefined), cloud: ec2('10.6.6.6') },
      {},
      '10.6.6.6',
      'cloud metadata',
    ],
    // 5: the endpoint of a bridge task knows only the bridge address
    [
      'the task endpoint of a bridge task is no help',
      { ...bridge, ecsTask: ecsTask('bridge', '172.17.0.2'), cloud: ec2('10.6.6.6') },
      {},
      '10.6.6.6',
      'cloud metadata',
    ],
    // 6-9: clouds
    ['EC2', { ...bridge, cloud: ec2('10.6.6.6') }, {}, '10.6.6.6', 'cloud metadata'],
    [
      'EC2 local-ipv4 is wrong for an awsvpc task',
      {
        ...bridge,
        interfaces: [lo, address('eth0', '10.4.4.4/24')],
        ecsTask: ecsTask('awsvpc', '10.4.4.4'),
        cloud: ec2('10.6.6.6'),
      },
      {},
      '10.4.4.4',
      'interface eth0',
    ],
    [
      'the metadata address is useless when the gossip port is known not to be published',
      { ...bridge, docker: docker({}), cloud: ec2('10.6.6.6') },
      {},
      '172.17.0.2',
      'interface eth0',
    ],
    // 10: published on a specific address
    [
      'the address the port is published on',
      { ...bridge, docker: docker({ publishedPorts: published('10.7.7.7:8301:8301/tcp', '10.7.7.7:8301:8301/udp') }) },
      {},
      '10.7.7.7',
      'published port',
    ],
    [
      'published on loopback is refused',
      { ...bridge, docker: docker({ publishedPorts: published('127.0.0.1:8301:8301/tcp') }) },
      {},
      '172.17.0.2',
      'interface eth0',
    ],
    // 11: swarm
    [
      'the swarm node address',
      {
        ...bridge,
        docker: docker({ publishedPorts: published('8301:8301/tcp', '8301:8301/udp') }, { swarmAddress: '10.99.0.10' }),
      },
      {},
      '10.99.0.10',
      'swarm node address',
    ],
    // 13: keep what is there
    ['a bridge container that knows nothing else', bridge, {}, '172.17.0.2', 'interface eth0'],
  ])('%s', (_title, facts, changes, expected, source) => {
    const decision = decideAdvertise(facts, { ...settings, ...changes });
    expect([decision.address, decision.source]).toEqual([expected, source]);
    expect(decision.error === null).toBe(expected !== null);
  });

  test('a refusal uses the words of Consul and names the choices', () => {
    const facts = {
      ...host,
      defaultInterface: null,
      interfaces: [lo, address('a', '10.1.1.1/8'), address('b', '10.2.2.2/8')],
    };
    expect(decideAdvertise(facts, settings).error).toBe(
      "Multiple private IPv4 addresses found (10.1.1.1 on a, 10.2.2.2 on b). Please configure one with 'bind' and/or 'advertise'",
    );
  });

  test('lower rungs are named as alternatives, best first', () => {
    const facts = { ...bridge, ecsFile: ecsFile('10.3.3.3'), cloud: ec2('10.6.6.6') };
    expect(decideAdvertise(facts, settings).alternatives).toEqual([
      { address: '10.6.6.6', source: 'cloud metadata' },
      { address: '172.17.0.2', source: 'interface eth0' },
    ]);
  });

  test('exactly one rung is chosen, whatever is found', () => {
    const some = fc.constantFrom('10.6.6.6', '127.0.0.1', '0.0.0.0', '169.254.1.1', 'text', '2001:db8::1');
    fc.assert(
      fc.property(fc.constantFrom(host, bridge, hostNetwork, publishedBridge), some, some, (world, file, cloud) => {
        const facts = { ...world, ecsFile: ecsFile(file, []), cloud: ec2(cloud) };
        const decision = decideAdvertise(facts, settings);
        expect(decision.rungs.filter(({ verdict }) => verdict === 'chosen')).toHaveLength(1);
        expect(whyNotAdvertisable(decision.address!)).toBeUndefined();
        for (const { address } of decision.alternatives) expect(whyNotAdvertisable(address)).toBeUndefined();
      }),
    );
  });
});

describe('the banner line', () => {
  test.each<[EnvironmentFacts, string]>([
    [host, '10.1.2.3 (from interface ens5, the only private IPv4 address)'],
    [{ ...bridge, cloud: ec2('10.6.6.6') }, '10.6.6.6 (from cloud metadata, EC2 instance metadata v2)'],
    [{ ...bridge, ecsFile: ecsFile('10.3.3.3') }, '10.3.3.3 (from ECS metadata file, HostPrivateIPv4Address)'],
  ])('%#: %s', (facts, expected) => {
    expect(describeAdvertise(decideAdvertise(facts, settings))).toBe(expected);
  });
});

describe('warnings', () => {
  const texts = (facts: EnvironmentFacts, changes: Partial<AdvertiseSettings> = {}) =>
    decideAdvertise(facts, { ...settings, ...changes }).warnings.map(({ text }) => text);

  test('none on a host, with the host network, or published and found', () => {
    for (const facts of [host, hostNetwork, { ...publishedBridge, cloud: ec2('10.6.6.6') }]) {
      expect(texts(facts)).toEqual([]);
    }
  });

  test('none about ports that the address is not for; then the host address counts whatever is published', () => {
    const facts = { ...bridge, docker: docker({}), cloud: ec2('10.6.6.6') };
    const decision = decideAdvertise(facts, { ...settings, ports: { serfLan: 0, serfWan: 0, server: 0 } });
    expect(decision).toMatchObject({ address: '10.6.6.6', warnings: [], ports: {} });
    expect(decideAdvertise(facts, settings).address).toBe('172.17.0.2');
  });

  test('none when behind NAT with a configured address and both ports published', () => {
    expect(texts(publishedBridge, { advertiseAddr: '10.9.9.9' })).toEqual([]);
  });

  test.each<[string, EnvironmentFacts, Partial<AdvertiseSettings>, RegExp]>([
    ['a bridge address is advertised', bridge, {}, /172\.17\.0\.2 is an address inside the container network/],
    [
      'a bridge address is advertised by flag',
      publishedBridge,
      { advertiseAddr: '172.17.0.2' },
      /172\.17\.0\.2 is an address inside the container network/,
    ],
    ['nothing is published', { ...bridge, docker: docker({}) }, { advertiseAddr: '10.9.9.9' }, /8301 is not published/],
    [
      'UDP is not published',
      { ...bridge, docker: docker({ publishedPorts: published('8301:8301/tcp') }), cloud: ec2('10.6.6.6') },
      {},
      /published for TCP only/,
    ],
    [
      'published on loopback',
      {
        ...bridge,
        docker: docker({ publishedPorts: published('127.0.0.1:8301:8301/tcp', '127.0.0.1:8301:8301/udp') }),
      },
      {},
      /published on 127\.0\.0\.1 only/,
    ],
    [
      'the mode is unknown',
      { ...bridge, interfaces: [lo, address('eth0', '10.50.0.2/24')] },
      {},
      /unknown network mode/,
    ],
    ['mode none', { ...bridge, interfaces: [lo], defaultInterface: null }, {}, /only loopback/],
    ['the token timed out', { ...bridge, metadataTokenTimedOut: true, cloud: absent('x') }, {}, /hop limit is 1/],
    [
      'the engine is rootless',
      {
        ...bridge,
        docker: docker({ publishedPorts: published('8301:8301/tcp', '8301:8301/udp') }, { rootless: true }),
      },
      {},
      /rootless/,
    ],
    [
      'our variable is no address',
      { ...host, variables: { PORTOLAN_ADVERTISE_ADDR: 'box' } },
      {},
      /"box" is not an IP address/,
    ],
  ])('%s', (_title, facts, changes, expected) => {
    const { warnings } = decideAdvertise(facts, { ...settings, ...changes });
    const warning = warnings.find(({ text }) => expected.test(text));
    expect(warning, JSON.stringify(warnings)).toBeDefined();
    expect(warning!.fix.length).toBeGreaterThan(10);
  });
});

describe('advertised ports', () => {
  test('follow the published ones where those differ', () => {
    const facts = {
      ...bridge,
      docker: docker({ publishedPorts: published('18301:8301/tcp', '18301:8301/udp', '8300:8300/tcp') }),
    };
    const ports = { serfLan: 8301, serfWan: 0, server: 8300 };
    expect(decideAdvertise(facts, { ...settings, ports, advertiseAddr: '10.9.9.9' }).ports).toEqual({ serfLan: 18301 });
  });

  test('are the bound ones without NAT', () => {
    const facts = { ...hostNetwork, docker: docker({ networkMode: 'host', publishedPorts: published('1:8301/tcp') }) };
    expect(decideAdvertise(facts, settings).ports).toEqual({});
  });
});

test('settings decide without any probe when there is an address in them', () => {
  expect(isDecidedBySettings(settings, {})).toBe(false);
  expect(isDecidedBySettings({ ...settings, bindAddr: '::' }, { HOST_IP: '10.0.0.1' })).toBe(false);
  expect(isDecidedBySettings({ ...settings, bindAddr: '10.0.0.1' }, {})).toBe(true);
  expect(isDecidedBySettings({ ...settings, advertiseAddr: '10.0.0.1' }, {})).toBe(true);
  expect(isDecidedBySettings(settings, { PORTOLAN_ADVERTISE_ADDR: '10.0.0.1' })).toBe(true);
});
