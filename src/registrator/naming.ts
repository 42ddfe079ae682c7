/**
 * Names and IDs (reference/registrator.md §5.2, R23–R25).
 *
 *     name = SERVICE_<port>_NAME | SERVICE_NAME | default name, + "-<port>" when the container has several
 *     ID   = <host name>:<container name>:<port>[:udp], or SERVICE_ID
 */
import { type ContainerFacts, containerName, labelsOf } from './facts.ts';
import type { NameSource, NamingPolicy, Settings } from './options.ts';
import type { Candidate } from './ports.ts';
import { type Applied, isPortSpecific } from './variables.ts';

export interface ChosenName {
  readonly names: readonly string[];
  readonly because: string;
}

/** Labels that name a container's role, by source. */
const nameLabels: Readonly<Record<Exclude<NameSource, 'image'>, string>> = {
  compose: 'com.docker.compose.service',
  swarm: 'com.docker.swarm.service.name',
  ecs: 'com.amazonaws.ecs.container-name',
};

/** The name without any variable. */
export function defaultName(
  facts: ContainerFacts,
  settings: Settings,
): { readonly name: string; readonly because: string } {
  const labels = labelsOf(facts.inspect);
  for (const source of settings.nameFrom) {
    if (source === 'image') return imageName(facts);
    const name = labels[nameLabels[source]];
    if (name !== undefined && name !== '') return { name, because: `label ${nameLabels[source]}` };
  }
  return imageName(facts);
}

function imageName(facts: ContainerFacts): { name: string; because: string } {
  const image = facts.inspect.Config?.Image ?? '';
  if (isImageId(image)) {
    const tag = [...(facts.imageTags ?? [])].sort()[0];
    if (tag !== undefined) return { name: lastElement(tag), because: `image ${tag} (started by image id)` };
  }
  return { name: lastElement(image), because: `image ${image}` };
}

/** Whether the reference names an image by id, which says nothing to people. */
export function isImageId(image: string): boolean {
  return image.startsWith('sha256:') || /^[0-9a-f]{12}$|^[0-9a-f]{64}$/.test(image);
}

function lastElement(image: string): string {
  const path = image.replace(/@.*$/, '');
  return path.slice(path.lastIndexOf('/') + 1).replace(/:.*$/, '');
}

/** Names of the service on one port; `NAME=a,b` gives two services (R23). */
export function namesFor(
  facts: ContainerFacts,
  candidate: Candidate | undefined,
  applied: Applied,
  settings: Settings,
  group: boolean,
): ChosenName {
  const variable = applied.filled('name');
  const given = variable?.value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const fallback = defaultName(facts, settings);
  const names = given === undefined || given.length === 0 ? [fallback.name] : [...new Set(given)];
  const because = variable === undefined ? fallback.because : variable.source;
  if (candidate === undefined || !group || (variable !== undefined && isPortSpecific(variable.scope))) {
    return { names, because };
  }
  return {
    names: names.map((name) => `${name}-${candidate.port}`),
    because: `${because}; "-${candidate.port}" because ${groupBecause[settings.naming]}`,
  };
}

const groupBecause: Readonly<Record<NamingPolicy, string>> = {
  compatible: 'the container has several ports',
  'when-needed': 'the container registers several ports',
  always: 'naming is "always"',
  never: 'never',
};

/** Whether names take the port as suffix. */
export function isGroup(policy: NamingPolicy, candidates: number, registered: number): boolean {
  if (policy === 'always') return true;
  if (policy === 'never') return false;
  return (policy === 'compatible' ? candidates : registered) > 1;
}

/** The ID that follows from host, container and port. */
export function defaultId(facts: ContainerFacts, port: number, protocol: string, hostname: string): string {
  const suffix = protocol === 'tcp' ? '' : `:${protocol}`;
  return `${hostname}:${containerName(facts.inspect)}:${port}${suffix}`;
}
