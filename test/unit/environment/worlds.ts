// Facts of typical worlds, to be varied by the tests.
import { absent, type DockerFacts, type EnvironmentFacts, found, skipped } from '../../../src/environment/facts.ts';
import type { AdvertiseSettings } from '../../../src/environment/index.ts';
import type { InterfaceAddress } from '../../../src/model/index.ts';

export const address = (name: string, cidr: string): InterfaceAddress => {
  const [address = '', length] = cidr.split('/');
  return {
    name,
    address,
    prefixLength: Number(length),
    family: address.includes(':') ? 6 : 4,
    up: true,
    loopback: name === 'lo',
  };
};

const lo = address('lo', '127.0.0.1/8');
const notAsked = skipped('not asked');

/** A host with one private address. */
export const host: EnvironmentFacts = {
  interfaces: [lo, address('ens5', '10.1.2.3/24')],
  interfaceNames: ['lo', 'ens5'],
  defaultInterface: 'ens5',
  variables: {},
  container: { inContainer: false, evidence: [], candidates: [] },
  cloudHints: [],
  docker: notAsked,
  ecsFile: notAsked,
  ecsTask: notAsked,
  cloud: notAsked,
  metadataTokenTimedOut: false,
};

const inContainer = { inContainer: true, evidence: ['/.dockerenv exists'], candidates: [] };

/** A container on the default bridge, without Docker socket. */
export const bridge: EnvironmentFacts = {
  ...host,
  interfaces: [lo, address('eth0', '172.17.0.2/16')],
  interfaceNames: ['lo', 'eth0'],
  defaultInterface: 'eth0',
  container: inContainer,
};

/** A container with the host's network, without Docker socket. */
export const hostNetwork: EnvironmentFacts = {
  ...host,
  interfaces: [lo, address('ens5', '10.1.2.3/24'), address('docker0', '172.17.0.1/16')],
  interfaceNames: ['lo', 'ens5', 'docker0', 'veth12ab'],
  container: inContainer,
};

type DockerContainer = NonNullable<DockerFacts['container']>;

export function docker(container: Partial<DockerContainer> | null, rest: Partial<DockerFacts> = {}) {
  return found<DockerFacts>({
    endpoint: 'unix:///var/run/docker.sock',
    version: '20.10.24',
    apiVersion: '1.41',
    rootless: false,
    swarmAddress: '',
    ...rest,
    container:
      container === null
        ? null
        : {
            id: 'a'.repeat(64),
            name: 'portolan',
            image: 'portolan',
            networkMode: 'default',
            networks: [],
            publishIgnored: false,
            isSwarmTask: false,
            publishedPorts: [],
            ...container,
          },
  });
}

/** `published('8301:8301/tcp', '127.0.0.1:8301:8301/udp')`. */
export function published(...specs: readonly string[]) {
  return specs.map((spec) => {
    const [, hostIp = '0.0.0.0', hostPort, containerPort, protocol] =
      /^(?:([\d.]+):)?(\d+):(\d+)\/(tcp|udp)$/.exec(spec) ?? [];
    return {
      hostIp,
      hostPort: Number(hostPort),
      containerPort: Number(containerPort),
      protocol: protocol as 'tcp' | 'udp',
    };
  });
}

export const bothPublished = published('8301:8301/tcp', '8301:8301/udp');

/** The bridge container, with a socket and the gossip port published. */
export const publishedBridge: EnvironmentFacts = { ...bridge, docker: docker({ publishedPorts: bothPublished }) };

export function ecsFile(hostPrivateAddress?: string, networkModes: readonly string[] = ['bridge']) {
  return found({
    containerId: 'e'.repeat(64),
    hostPrivateAddress,
    networkModes,
    publishedPorts: bothPublished,
    cluster: 'c',
    taskArn: 'arn',
  });
}

export function ecsTask(mode: string, ...addresses: readonly string[]) {
  return found({
    cluster: 'c',
    taskArn: 'arn',
    family: 'f',
    launchType: 'EC2',
    availabilityZone: 'eu-west-1a',
    networks: [{ mode, addresses }],
  });
}

export const ec2 = (address: string) => found({ provider: 'aws' as const, address, via: 'EC2 instance metadata v2' });

export { absent, found, skipped };

export const settings: AdvertiseSettings = {
  advertiseAddr: null,
  bindAddr: '0.0.0.0',
  ports: { serfLan: 8301, serfWan: 0, server: 0 },
};
