/**
 * What ECS says about the own task: a file the ECS agent writes beside the container, and an HTTP endpoint per
 * container (reference/container-environments.md §9, rungs 4 and 5). The file knows the host's address and ports; the
 * endpoint knows an address worth advertising only for awsvpc tasks.
 */
import { sleep } from '../ports/index.ts';
import {
  absent,
  type EcsFileFacts,
  type EcsTaskFacts,
  type Finding,
  found,
  type PublishedPort,
  skipped,
} from './facts.ts';
import { type ProbePorts, within } from './probe-ports.ts';

/** How often the file is looked at until it is complete, ms; it takes about a second after the container's start. */
const filePollMs = 100;
const endpointMs = 1000;

type Document = Readonly<Record<string, unknown>>;

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const list = (value: unknown): readonly Document[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'object' && each !== null) : [];

/** Reads `$ECS_CONTAINER_METADATA_FILE` until its status is READY or `signal` aborts. */
export async function readEcsFile(
  ports: ProbePorts,
  variables: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Finding<EcsFileFacts>> {
  const path = variables['ECS_CONTAINER_METADATA_FILE'];
  if (path === undefined) return skipped('ECS_CONTAINER_METADATA_FILE is not set');
  for (;;) {
    const content = await ports.readFile(path);
    if (content === undefined) return absent(`${path} cannot be read`);
    const document = parseObject(content);
    if (document?.['MetadataFileStatus'] === 'READY') return found(ecsFileDocument(document));
    try {
      await sleep(ports.clock, filePollMs, signal);
    } catch {
      return absent(`${path} did not become READY in time`);
    }
  }
}

function ecsFileDocument(document: Document): EcsFileFacts {
  return {
    containerId: text(document['ContainerID']),
    hostPrivateAddress: text(document['HostPrivateIPv4Address']),
    networkModes: list(document['Networks']).flatMap(({ NetworkMode }) => text(NetworkMode) ?? []),
    publishedPorts: list(document['PortMappings']).flatMap(ecsPort),
    cluster: text(document['Cluster']),
    taskArn: text(document['TaskARN']),
  };
}

function ecsPort(mapping: Document): PublishedPort[] {
  const [containerPort, hostPort] = [Number(mapping['ContainerPort']), Number(mapping['HostPort'])];
  const protocol = mapping['Protocol'];
  if (!(containerPort > 0 && hostPort > 0) || (protocol !== 'tcp' && protocol !== 'udp')) return [];
  return [{ containerPort, hostPort, protocol, hostIp: text(mapping['BindIp']) ?? '0.0.0.0' }];
}

/** `GET $ECS_CONTAINER_METADATA_URI_V4/task`, or the same of v3. */
export async function readEcsTask(
  ports: Pick<ProbePorts, 'clock' | 'http'>,
  variables: Readonly<Record<string, string>>,
  outer: AbortSignal,
): Promise<Finding<EcsTaskFacts>> {
  const base = variables['ECS_CONTAINER_METADATA_URI_V4'] ?? variables['ECS_CONTAINER_METADATA_URI'];
  if (base === undefined) return skipped('ECS_CONTAINER_METADATA_URI_V4 is not set');
  try {
    const { status, body } = await within(ports.clock, endpointMs, outer, (signal) =>
      ports.http({ method: 'GET', url: `${base}/task`, headers: {}, signal }),
    );
    const document = status === 200 ? parseObject(body) : undefined;
    if (document === undefined) return absent(`${base}/task answered ${status}`);
    return found({
      cluster: text(document['Cluster']),
      taskArn: text(document['TaskARN']),
      family: text(document['Family']),
      launchType: text(document['LaunchType']),
      availabilityZone: text(document['AvailabilityZone']),
      networks: list(document['Containers'])
        .flatMap(({ Networks }) => list(Networks))
        .map(({ NetworkMode, IPv4Addresses }) => ({
          mode: text(NetworkMode) ?? '',
          addresses: Array.isArray(IPv4Addresses) ? IPv4Addresses.flatMap((each) => text(each) ?? []) : [],
        })),
    });
  } catch (error) {
    return absent(`${base}/task: ${(error as Error).message}`);
  }
}

function parseObject(content: string): Document | undefined {
  try {
    const value: unknown = JSON.parse(content);
    return typeof value === 'object' && value !== null ? (value as Document) : undefined;
  } catch {
    // Half written: the next look sees the rest.
    return undefined;
  }
}
