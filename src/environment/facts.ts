/**
 * What was found out about the world around the agent, as plain data (reference/container-environments.md §7-§11).
 * Probes fill it in, the decisions read it: so every environment, the ones we cannot rent included, is a test case.
 */
import type { InterfaceAddress } from '../model/index.ts';

/** Outcome of asking one source. `skipped` means it was not asked, because the answer could not have mattered. */
export type Finding<T> =
  | { readonly state: 'found'; readonly value: T }
  | { readonly state: 'absent'; readonly why: string }
  | { readonly state: 'skipped'; readonly why: string };

export const found = <T>(value: T): Finding<T> => ({ state: 'found', value });
export const absent = (why: string): Finding<never> => ({ state: 'absent', why });
export const skipped = (why: string): Finding<never> => ({ state: 'skipped', why });

/** One way from a host port to a port of this container. */
export interface PublishedPort {
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp';
  /** `0.0.0.0`, `::` or empty mean every address of the host. */
  readonly hostIp: string;
  readonly hostPort: number;
}

/** A possible id of the own container and where it was read. */
export interface ContainerIdCandidate {
  readonly id: string;
  readonly source: string;
}

export interface ContainerFacts {
  readonly inContainer: boolean;
  /** What says so, for people: `/.dockerenv exists`. */
  readonly evidence: readonly string[];
  readonly candidates: readonly ContainerIdCandidate[];
}

/** Where the network namespace stands in the world (§7). */
export type NetworkMode =
  /** Not in a container, or a container with the host's network. */
  'host' | 'bridge' | 'user-bridge' | 'overlay' | 'macvlan' | 'awsvpc' | 'pod' | 'none' | 'unknown';

/** The Engine's word about the container whose network this process has. */
export interface DockerFacts {
  readonly endpoint: string;
  readonly version: string;
  readonly apiVersion: string;
  readonly rootless: boolean;
  /** `Swarm.NodeAddr`, empty outside a swarm. */
  readonly swarmAddress: string;
  /** Null when none of the candidates is known to this engine. */
  readonly container: {
    readonly id: string;
    readonly name: string;
    readonly image: string;
    /** `HostConfig.NetworkMode` of the container that owns the network. */
    readonly networkMode: string;
    readonly networks: readonly { readonly name: string; readonly address: string }[];
    /** Exposed ports and nothing in effect: a network type that ignores publishing (macvlan, ipvlan). */
    readonly publishIgnored: boolean;
    readonly isSwarmTask: boolean;
    readonly publishedPorts: readonly PublishedPort[];
  } | null;
}

/** The ECS metadata file, as far as we use it. */
export interface EcsFileFacts {
  readonly containerId: string | undefined;
  readonly hostPrivateAddress: string | undefined;
  readonly networkModes: readonly string[];
  readonly publishedPorts: readonly PublishedPort[];
  readonly cluster: string | undefined;
  readonly taskArn: string | undefined;
}

/** The ECS task metadata endpoint, v4 or v3. */
export interface EcsTaskFacts {
  readonly cluster: string | undefined;
  readonly taskArn: string | undefined;
  readonly family: string | undefined;
  readonly launchType: string | undefined;
  readonly availabilityZone: string | undefined;
  readonly networks: readonly { readonly mode: string; readonly addresses: readonly string[] }[];
}

export interface CloudFacts {
  readonly provider: 'aws' | 'gce' | 'azure';
  readonly address: string;
  /** How it was asked, `EC2 instance metadata v2`. */
  readonly via: string;
}

/** Which metadata service may be there, judged by files that cost nothing to read. */
export type CloudHint = 'aws' | 'gce' | 'azure';

export interface EnvironmentFacts {
  readonly interfaces: readonly InterfaceAddress[];
  /** Names of all interfaces, those without address too (`/proc/net/dev`). */
  readonly interfaceNames: readonly string[];
  /** Interface of the IPv4 default route; null without one. */
  readonly defaultInterface: string | null;
  /** The environment variables that matter (see `relevantVariables`), those that are set and not empty. */
  readonly variables: Readonly<Record<string, string>>;
  readonly container: ContainerFacts;
  readonly cloudHints: readonly CloudHint[];
  readonly docker: Finding<DockerFacts>;
  readonly ecsFile: Finding<EcsFileFacts>;
  readonly ecsTask: Finding<EcsTaskFacts>;
  readonly cloud: Finding<CloudFacts>;
  /** The metadata token answer did not come: it dies at the bridge when the hop limit is 1 (§9, hop-limit trap). */
  readonly metadataTokenTimedOut: boolean;
}

/** Variables a decision may read; nothing else of the process environment is looked at or shown. */
export const relevantVariables = [
  'PORTOLAN_ADVERTISE_ADDR',
  'HOST_IP',
  'NODE_IP',
  'POD_IP',
  'KUBERNETES_SERVICE_HOST',
  'ECS_CONTAINER_METADATA_FILE',
  'ECS_CONTAINER_METADATA_URI',
  'ECS_CONTAINER_METADATA_URI_V4',
  'AWS_EXECUTION_ENV',
  'container',
  'HOSTNAME',
] as const;
