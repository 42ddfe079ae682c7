/**
 * Gossip through published ports (reference/container-environments.md §10). An agent behind NAT looks alive for a long
 * time although its ports are wrong: it refutes every suspicion over its outgoing path. So the mistakes are looked for
 * before the first packet.
 */
import { isLoopback } from './address.ts';
import type { EnvironmentFacts, PublishedPort } from './facts.ts';

/** Something that will not work, and what to do about it. */
export interface EnvironmentWarning {
  readonly text: string;
  /** What to type or set. */
  readonly fix: string;
}

export interface AgentPorts {
  /** 0 or less: no gossip reaches this address, as where it stands for the containers' published ports only. */
  readonly serfLan: number;
  /** 0 or less: off, as on clients. */
  readonly serfWan: number;
  /** Server RPC; 0 or less on clients, which do not listen on it. */
  readonly server: number;
}

export interface PortCheck {
  readonly name: 'LAN gossip' | 'WAN gossip' | 'server RPC';
  readonly port: number;
  readonly tcp: PublishedPort | undefined;
  /** Undefined also for server RPC, which has no UDP. */
  readonly udp: PublishedPort | undefined;
  /** The host's port others must use; null when there is none that works. */
  readonly hostPort: number | null;
  readonly warnings: readonly EnvironmentWarning[];
}

/** Ports in effect by the Engine or by the ECS metadata file; null when nobody could be asked. */
export function publishedPorts(facts: EnvironmentFacts): readonly PublishedPort[] | null {
  if (facts.docker.state === 'found' && facts.docker.value.container !== null) {
    return facts.docker.value.container.publishedPorts;
  }
  if (facts.ecsFile.state === 'found') return facts.ecsFile.value.publishedPorts;
  return null;
}

/** Judges each port the agent needs, LAN gossip first. */
export function checkPublishedPorts(published: readonly PublishedPort[], ports: AgentPorts): readonly PortCheck[] {
  return [
    ...(ports.serfLan > 0 ? [checkPort('LAN gossip', ports.serfLan, true, published)] : []),
    ...(ports.serfWan > 0 ? [checkPort('WAN gossip', ports.serfWan, true, published)] : []),
    ...(ports.server > 0 ? [checkPort('server RPC', ports.server, false, published)] : []),
  ];
}

function checkPort(
  name: PortCheck['name'],
  port: number,
  needsUdp: boolean,
  published: readonly PublishedPort[],
): PortCheck {
  const of = (protocol: 'tcp' | 'udp'): PublishedPort | undefined => {
    const own = published.filter((each) => each.containerPort === port && each.protocol === protocol);
    return own.find(({ hostIp }) => !isLoopback(hostIp)) ?? own[0];
  };
  const tcp = of('tcp');
  const udp = needsUdp ? of('udp') : undefined;
  const flags = needsUdp ? `-p ${port}:${port} -p ${port}:${port}/udp` : `-p ${port}:${port}`;
  const warnings: EnvironmentWarning[] = [];
  let hostPort: number | null = null;

  if (tcp === undefined && udp === undefined) {
    warnings.push({
      text: `${name} port ${port} is not published: agents on other hosts cannot reach this one`,
      fix: `start the container with ${flags}, or with --network host`,
    });
  } else if (tcp === undefined) {
    warnings.push({
      text: `${name} port ${port} is published for UDP only: joining and state exchange use TCP`,
      fix: `add -p ${udp!.hostPort}:${port}`,
    });
  } else if (needsUdp && udp === undefined) {
    hostPort = tcp.hostPort;
    warnings.push({
      text: `${name} port ${port} is published for TCP only: other agents will log at every probe that only the TCP fallback works`,
      fix: `add -p ${tcp.hostPort}:${port}/udp`,
    });
  } else if (needsUdp && udp!.hostPort !== tcp.hostPort) {
    warnings.push({
      text: `${name} port ${port} is published as ${tcp.hostPort}/tcp but ${udp!.hostPort}/udp: a member has one port for both`,
      fix: `publish the same number for both: ${flags} (-P cannot do that)`,
    });
  } else {
    hostPort = tcp.hostPort;
  }
  const onLoopback = [tcp, udp].find((each) => each !== undefined && isLoopback(each.hostIp));
  if (onLoopback !== undefined) {
    hostPort = null;
    warnings.push({
      text: `${name} port ${port} is published on ${onLoopback.hostIp} only: other hosts cannot reach it`,
      fix: `publish it without an address: ${flags}`,
    });
  }
  return { name, port, tcp, udp, hostPort, warnings };
}
