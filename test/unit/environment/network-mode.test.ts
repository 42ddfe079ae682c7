// The table of reference/container-environments.md §7, with and without a Docker socket.
import { expect, test } from 'vitest';
import { detectNetworkMode, type EnvironmentFacts, type NetworkMode } from '../../../src/environment/index.ts';
import { address, bridge, docker, ecsFile, ecsTask, host, hostNetwork } from './worlds.ts';

const lo = address('lo', '127.0.0.1/8');
const at = (cidr: string, name = 'eth0'): EnvironmentFacts => ({ ...bridge, interfaces: [lo, address(name, cidr)] });
const pod = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };

test.each<[NetworkMode, string, EnvironmentFacts]>([
  ['host', 'no container', host],
  ['host', 'Docker says host', { ...bridge, docker: docker({ networkMode: 'host' }) }],
  ['bridge', 'Docker says default', { ...at('10.50.0.2/24'), docker: docker({ networkMode: 'default' }) }],
  ['bridge', 'Docker says bridge', { ...at('10.50.0.2/24'), docker: docker({ networkMode: 'bridge' }) }],
  ['user-bridge', 'Docker names a network', { ...bridge, docker: docker({ networkMode: 'project_default' }) }],
  ['macvlan', 'Docker ignores publishing', { ...bridge, docker: docker({ networkMode: 'lan', publishIgnored: true }) }],
  ['overlay', 'a swarm task', { ...bridge, docker: docker({ networkMode: 'mesh', isSwarmTask: true }) }],
  ['none', 'Docker says none', { ...bridge, docker: docker({ networkMode: 'none' }) }],
  [
    'pod',
    'none, but Kubernetes attached a network',
    { ...bridge, variables: pod, docker: docker({ networkMode: 'none' }) },
  ],
  [
    'awsvpc',
    'ECS endpoint, though Docker sees a pause container',
    { ...bridge, ecsTask: ecsTask('awsvpc'), docker: docker({ networkMode: 'none' }) },
  ],
  ['awsvpc', 'ECS file', { ...bridge, ecsFile: ecsFile(undefined, ['awsvpc']) }],
  ['bridge', 'ECS file', { ...at('10.50.0.2/24'), ecsFile: ecsFile(undefined, ['bridge']) }],
  ['host', 'ECS endpoint', { ...at('10.50.0.2/24'), ecsTask: ecsTask('host') }],
  ['bridge', 'engine that does not know us, address of a pool', { ...bridge, docker: docker(null) }],
  ['host', 'no socket, docker0 is visible', hostNetwork],
  [
    'host',
    'no socket, a docker0 without address is visible',
    { ...at('10.50.0.2/24'), interfaceNames: ['lo', 'eth0', 'docker0'] },
  ],
  ['pod', 'no socket, Kubernetes', { ...at('10.244.0.7/24'), variables: pod }],
  ['none', 'no socket, only loopback', { ...bridge, interfaces: [lo] }],
  ['bridge', 'no socket, default bridge', bridge],
  ['bridge', 'no socket, user bridge', at('172.19.0.3/16')],
  ['bridge', 'no socket, last pool of Docker', at('172.31.0.3/16')],
  ['bridge', 'no socket, Podman', at('10.88.0.5/16')],
  ['unknown', 'no socket, an address of no pool', at('10.50.0.2/24')],
  ['unknown', 'no socket, a pool address on a physical name', at('172.17.0.2/16', 'ens5')],
  ['unknown', 'no socket, 172.16 is no pool', at('172.16.0.2/16')],
])('%s: %s', (mode, _title, facts) => {
  expect(detectNetworkMode(facts)).toMatchObject({ mode });
});
