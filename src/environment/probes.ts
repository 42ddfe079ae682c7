/**
 * Asks the world. First what costs nothing (files, interfaces); with that it is known which further sources could
 * change the decision, and only those are asked, all at once, each with a limit of its own and all under one. Outside
 * containers, and where an address is configured, nothing is asked: the usual start does not wait. Metadata services
 * are asked only on hardware that says it is a cloud's, because elsewhere 169.254.169.254 is a silent time-out.
 */
import { type ContainerInspect, type DockerEngine, EngineError } from '../ports/index.ts';
import { askClouds, cloudHints } from './cloud-metadata.ts';
import { identifyContainer } from './container-identity.ts';
import { readEcsFile, readEcsTask } from './ecs-metadata.ts';
import {
  absent,
  type ContainerFacts,
  type DockerFacts,
  type EcsFileFacts,
  type EnvironmentFacts,
  type Finding,
  found,
  type PublishedPort,
  relevantVariables,
  skipped,
} from './facts.ts';
import { detectNetworkMode, isBehindNat } from './network-mode.ts';
import { type ProbePorts, within } from './probe-ports.ts';
import { publishedPorts } from './published-ports.ts';

export interface CollectOptions {
  /** The address is configured already: look at nothing beyond this process. */
  readonly decided: boolean;
  /** Ask the metadata services of clouds: where the hardware says so, always, or never. */
  readonly metadata: 'auto' | 'always' | 'never';
  /** Ask every source, though it cannot change the decision; for `portolan doctor`. */
  readonly thorough?: boolean;
  readonly gossipPort: number;
}

/** All probes together end by then, ms; start-up never waits longer. */
export const probesTotalMs = 1500;
/** The Engine answers from memory over a local socket; what takes longer is stuck. */
const dockerMs = 800;

/** Collects within `probesTotalMs`; never rejects, a source that fails is an absent finding with its reason. */
export async function collectFacts(ports: ProbePorts, options: CollectOptions): Promise<EnvironmentFacts> {
  const total = new AbortController();
  const timer = ports.clock.after(probesTotalMs, () => total.abort(new Error(`no answer within ${probesTotalMs} ms`)));
  try {
    return await collect(ports, options, total);
  } finally {
    timer.cancel();
    total.abort(new Error('no longer needed'));
  }
}

async function collect(ports: ProbePorts, options: CollectOptions, total: AbortController): Promise<EnvironmentFacts> {
  const variables = pickVariables(ports.variables);
  const [container, interfaceNames, defaultInterface, hints] = await Promise.all([
    findContainer(ports, variables),
    ports.readFile('/proc/net/dev').then((text) => interfaceNamesOf(text ?? '')),
    ports.readFile('/proc/net/route').then((text) => defaultRouteInterface(text ?? '')),
    cloudHints(ports.readFile, variables),
  ]);
  const unasked = skipped('the address does not depend on it');
  let facts: EnvironmentFacts = {
    interfaces: ports.interfaces(),
    interfaceNames,
    defaultInterface,
    variables,
    container,
    cloudHints: hints,
    docker: unasked,
    ecsFile: unasked,
    ecsTask: unasked,
    cloud: unasked,
    metadataTokenTimedOut: false,
  };
  if (options.thorough !== true && (options.decided || !container.inContainer)) return facts;

  // The clouds are asked at the same time as the neighbours, and given up when the neighbours' answers suffice.
  const cloudAbort = new AbortController();
  const cloudSignal = AbortSignal.any([total.signal, cloudAbort.signal]);
  const clouds =
    options.metadata === 'never' || (options.metadata === 'auto' && hints.length === 0)
      ? undefined
      : askClouds(ports, options.metadata === 'always' ? ['aws', 'gce', 'azure'] : hints, cloudSignal);

  const ecsFile = readEcsFile(ports, variables, total.signal);
  const [docker, file, ecsTask] = await Promise.all([
    askDocker(ports, container, ecsFile, total.signal),
    ecsFile,
    readEcsTask(ports, variables, total.signal),
  ]);
  facts = { ...facts, docker, ecsFile: file, ecsTask };

  if (clouds === undefined) {
    const why =
      options.metadata === 'never' ? 'switched off' : 'neither hardware nor variables look like a cloud that we know';
    return { ...facts, cloud: skipped(why) };
  }
  if (options.thorough !== true && !cloudCanMatter(facts, options.gossipPort)) {
    cloudAbort.abort(new Error('no longer needed'));
    return { ...facts, cloud: unasked };
  }
  const { cloud, tokenTimedOut } = await clouds;
  return { ...facts, cloud, metadataTokenTimedOut: tokenTimedOut };
}

/** A rung above already answers, or the host's address would be useless. */
function cloudCanMatter(facts: EnvironmentFacts, gossipPort: number): boolean {
  if (!isBehindNat(detectNetworkMode(facts).mode)) return false;
  if (['HOST_IP', 'NODE_IP', 'POD_IP'].some((name) => facts.variables[name] !== undefined)) return false;
  if (facts.ecsFile.state === 'found' && facts.ecsFile.value.hostPrivateAddress !== undefined) return false;
  const published = publishedPorts(facts);
  return (
    published === null ||
    published.some(({ containerPort, protocol }) => containerPort === gossipPort && protocol === 'tcp')
  );
}

function pickVariables(all: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  const picked: Record<string, string> = {};
  for (const name of relevantVariables) {
    const value = all[name];
    if (value !== undefined && value !== '') picked[name] = value;
  }
  return picked;
}

async function findContainer(ports: ProbePorts, variables: Readonly<Record<string, string>>): Promise<ContainerFacts> {
  const [dockerenvExists, containerenvExists, cgroup, mountinfo, hostnameFile] = await Promise.all([
    ports.fileExists('/.dockerenv'),
    ports.fileExists('/run/.containerenv'),
    ports.readFile('/proc/self/cgroup'),
    ports.readFile('/proc/self/mountinfo'),
    ports.readFile('/etc/hostname'),
  ]);
  return identifyContainer(
    { dockerenvExists, containerenvExists, cgroup, mountinfo, hostnameFile },
    variables,
    ports.hostname(),
  );
}

/** Names in `/proc/net/dev`, which lists interfaces without address too. */
export function interfaceNamesOf(text: string): readonly string[] {
  return [...text.matchAll(/^\s*([^\s:|]+):/gm)].map((match) => match[1]!);
}

/** Interface of the default route with the lowest metric in `/proc/net/route`; null without one. */
export function defaultRouteInterface(text: string): string | null {
  const routes = text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    // Destination and mask all zero, and the flag "up".
    .filter(
      (fields) =>
        fields[1] === '00000000' && fields[7] === '00000000' && (Number.parseInt(fields[3] ?? '', 16) & 1) === 1,
    )
    .map((fields) => ({ name: fields[0]!, metric: Number(fields[6] ?? 0) }))
    .sort((a, b) => a.metric - b.metric);
  return routes[0]?.name ?? null;
}

async function askDocker(
  ports: ProbePorts,
  container: ContainerFacts,
  ecsFile: Promise<Finding<EcsFileFacts>>,
  signal: AbortSignal,
): Promise<Finding<DockerFacts>> {
  const { docker, clock } = ports;
  if (docker === null) return skipped('no Docker engine is configured');
  try {
    return await within(clock, dockerMs, signal, async (signal) => {
      const [version, info] = await Promise.all([docker.version(signal), docker.info(signal)]);
      let inspected = await inspectFirst(docker, container.candidates, signal);
      const file = inspected === undefined ? await ecsFile : undefined;
      if (file?.state === 'found' && file.value.containerId !== undefined) {
        inspected = await inspectFirst(docker, [{ id: file.value.containerId, source: 'ECS metadata' }], signal);
      }
      const owner = /^container:(.+)$/.exec(inspected?.HostConfig?.NetworkMode ?? '')?.[1];
      if (owner !== undefined) inspected = await docker.inspectContainer(owner, signal);
      return found({
        endpoint: docker.endpoint,
        version: version.Version ?? info.ServerVersion ?? '',
        apiVersion: version.ApiVersion ?? '',
        rootless: info.SecurityOptions?.some((option) => option.includes('rootless')) ?? false,
        swarmAddress: info.Swarm?.NodeAddr ?? '',
        container: inspected === undefined ? null : containerDocument(inspected),
      });
    });
  } catch (error) {
    const { message } = error as Error;
    return absent(message.includes(docker.endpoint) ? message : `${docker.endpoint}: ${message}`);
  }
}

async function inspectFirst(
  docker: DockerEngine,
  candidates: ContainerFacts['candidates'],
  signal: AbortSignal,
): Promise<ContainerInspect | undefined> {
  for (const { id } of candidates) {
    try {
      return await docker.inspectContainer(id, signal);
    } catch (error) {
      if (!(error instanceof EngineError && error.statusCode === 404)) throw error;
    }
  }
  return undefined;
}

function containerDocument(inspect: ContainerInspect): NonNullable<DockerFacts['container']> {
  const effective = inspect.NetworkSettings?.Ports ?? {};
  const exposed = Object.keys(inspect.Config?.ExposedPorts ?? {});
  const networkMode = inspect.HostConfig?.NetworkMode ?? '';
  const networks = Object.entries(inspect.NetworkSettings?.Networks ?? {});
  return {
    id: inspect.Id,
    name: (inspect.Name ?? '').replace(/^\//, ''),
    image: inspect.Config?.Image ?? '',
    networkMode,
    networks: networks.map(([name, settings]) => ({ name, address: settings?.IPAddress ?? '' })),
    publishIgnored: exposed.length > 0 && Object.keys(effective).length === 0,
    isSwarmTask: inspect.Config?.Labels?.['com.docker.swarm.task.id'] !== undefined,
    publishedPorts: Object.entries(effective).flatMap(([port, bindings]) => portBindings(port, bindings ?? [])),
  };
}

function portBindings(
  port: string,
  bindings: readonly { readonly HostIp?: string; readonly HostPort?: string }[],
): PublishedPort[] {
  const [number, protocol] = port.split('/');
  if (protocol !== 'tcp' && protocol !== 'udp') return [];
  // The wildcard is `0.0.0.0` and `::` with Docker, empty with Podman.
  return bindings
    .map(({ HostIp = '', HostPort = '' }): PublishedPort => ({
      containerPort: Number(number),
      protocol: protocol,
      hostIp: HostIp || '0.0.0.0',
      hostPort: Number(HostPort),
    }))
    .filter(({ hostPort }) => hostPort > 0);
}
