/**
 * Which kind of network this process stands in (reference/container-environments.md §7). The Engine knows; where there
 * is no socket, the interfaces tell: a bridge container sees nothing but `lo` and `eth0` with an address of Docker's
 * pools, a container with the host's network sees the bridges themselves.
 */
import type { InterfaceAddress } from '../model/index.ts';
import { inNetwork } from './address.ts';
import type { EnvironmentFacts, NetworkMode } from './facts.ts';

/** Address pools that Docker and Podman give to bridges by default. */
const bridgePools = [
  '172.17.0.0/16',
  '172.18.0.0/15',
  '172.20.0.0/14',
  '172.24.0.0/13',
  '192.168.0.0/16',
  '10.88.0.0/16',
];

export interface NetworkModeVerdict {
  readonly mode: NetworkMode;
  readonly why: string;
}

/** Modes in which the own interface's address cannot be reached from other hosts. */
export function isBehindNat(mode: NetworkMode): boolean {
  return mode === 'bridge' || mode === 'user-bridge' || mode === 'unknown';
}

/** What a bridge, a virtual pair or another container network is called on a host. */
const hostOnlyInterface =
  /^(docker\d+|br-[0-9a-f]{12}|veth|cni|podman\d|docker_gwbridge|virbr|cali|flannel|ecs-bridge)/;

export function detectNetworkMode(facts: EnvironmentFacts): NetworkModeVerdict {
  const ecsModes = [
    ...(facts.ecsTask.state === 'found' ? facts.ecsTask.value.networks.map(({ mode }) => mode) : []),
    ...(facts.ecsFile.state === 'found' ? facts.ecsFile.value.networkModes : []),
  ];
  if (ecsModes.includes('awsvpc')) return { mode: 'awsvpc', why: 'ECS metadata says awsvpc' };
  if (!facts.container.inContainer) return { mode: 'host', why: 'not in a container' };

  const docker = facts.docker.state === 'found' ? facts.docker.value.container : null;
  if (docker !== null) {
    const why = `Docker says network mode ${docker.networkMode}`;
    switch (docker.networkMode) {
      case 'host':
        return { mode: 'host', why };
      case 'none':
        // The pause container of a Kubernetes pod is in mode none as well: the network is attached from outside.
        return facts.variables['KUBERNETES_SERVICE_HOST'] === undefined
          ? { mode: 'none', why }
          : { mode: 'pod', why: 'KUBERNETES_SERVICE_HOST is set' };
      case 'bridge':
      case 'default':
        return { mode: 'bridge', why };
      default:
    }
    if (docker.isSwarmTask) return { mode: 'overlay', why: `${why}, a swarm task` };
    if (docker.publishIgnored) return { mode: 'macvlan', why: `${why}, which ignores published ports` };
    return { mode: 'user-bridge', why };
  }

  if (ecsModes.includes('host')) return { mode: 'host', why: 'ECS metadata says host' };
  if (ecsModes.includes('bridge')) return { mode: 'bridge', why: 'ECS metadata says bridge' };
  const bridge = facts.interfaceNames.find((name) => hostOnlyInterface.test(name));
  if (bridge !== undefined) return { mode: 'host', why: `interface ${bridge} exists only on a host` };
  if (facts.variables['KUBERNETES_SERVICE_HOST'] !== undefined) {
    return { mode: 'pod', why: 'KUBERNETES_SERVICE_HOST is set' };
  }
  const own = facts.interfaces.filter(({ loopback, family }) => !loopback && family === 4);
  if (own.length === 0 && !facts.interfaces.some(({ loopback }) => !loopback)) {
    return { mode: 'none', why: 'there is no interface but loopback' };
  }
  const pooled = own.find(looksLikeBridge);
  if (pooled !== undefined && own.every(looksLikeBridge)) {
    return { mode: 'bridge', why: `${pooled.address} on ${pooled.name} is an address of a container bridge` };
  }
  return { mode: 'unknown', why: 'no Docker socket, and the interfaces do not tell' };
}

function looksLikeBridge({ name, address }: InterfaceAddress): boolean {
  return /^eth\d+$/.test(name) && bridgePools.some((pool) => inNetwork(address, pool));
}
