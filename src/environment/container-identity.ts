/**
 * "Am I in a container, and which one?" (reference/container-environments.md §8). No single sign is reliable: a private
 * cgroup namespace hides the id in one file, `--hostname` in another. So every source gives a candidate, in the order
 * of trust, and the Engine confirms the first that it knows.
 */
import type { ContainerFacts, ContainerIdCandidate } from './facts.ts';

/** Texts of the files, undefined where the file does not exist. */
export interface ContainerFiles {
  readonly dockerenvExists: boolean;
  readonly containerenvExists: boolean;
  /** `/proc/self/cgroup`; never pid 1's, which is the host's under `--pid host`. */
  readonly cgroup: string | undefined;
  /** `/proc/self/mountinfo`. */
  readonly mountinfo: string | undefined;
  /** `/etc/hostname`. */
  readonly hostnameFile: string | undefined;
}

const fullId = /[0-9a-f]{64}/g;

/** The last 64 hexadecimal digits of any line: `/docker/<id>`, `docker-<id>.scope`, `/ecs/<task>/<id>`, … */
export function containerIdFromCgroup(cgroup: string): string | undefined {
  for (const line of cgroup.split('\n')) {
    const id = line.match(fullId)?.at(-1);
    if (id !== undefined) return id;
  }
  return undefined;
}

/**
 * The id in the source of the mounts on `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`. In `container:` mode it is
 * the network owner's: right for ports and addresses, wrong for exec.
 */
export function containerIdFromMountinfo(mountinfo: string): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    if (!['/etc/hostname', '/etc/hosts', '/etc/resolv.conf'].includes(fields[4] ?? '')) continue;
    const id = /\/(?:overlay-)?containers\/([0-9a-f]{64})\//.exec(fields[3] ?? '')?.[1];
    if (id !== undefined) return id;
  }
  return undefined;
}

/** Docker names a host after the first 12 digits of the id. */
function shortId(name: string | undefined): string | undefined {
  const trimmed = name?.trim() ?? '';
  return /^[0-9a-f]{12}$/.test(trimmed) ? trimmed : undefined;
}

/** Weighs the signs. `hostname` is the kernel's name of the host. */
export function identifyContainer(
  files: ContainerFiles,
  variables: Readonly<Record<string, string>>,
  hostname: string,
  ecsContainerId?: string,
): ContainerFacts {
  const evidence: string[] = [];
  const candidates: ContainerIdCandidate[] = [];
  const add = (id: string | undefined, source: string): void => {
    if (id !== undefined && !candidates.some((known) => known.id === id)) candidates.push({ id, source });
  };
  add(ecsContainerId, 'ECS metadata');
  add(files.cgroup && containerIdFromCgroup(files.cgroup), '/proc/self/cgroup');
  add(files.mountinfo && containerIdFromMountinfo(files.mountinfo), '/proc/self/mountinfo');
  const certain = candidates.length;

  if (files.dockerenvExists) evidence.push('/.dockerenv exists');
  if (files.containerenvExists) evidence.push('/run/.containerenv exists');
  if (variables['container'] !== undefined) evidence.push(`variable container=${variables['container']}`);
  if (variables['KUBERNETES_SERVICE_HOST'] !== undefined) evidence.push('variable KUBERNETES_SERVICE_HOST is set');
  if (variables['ECS_CONTAINER_METADATA_URI_V4'] ?? variables['ECS_CONTAINER_METADATA_URI']) {
    evidence.push('ECS task metadata variable is set');
  }
  for (const { source } of candidates) evidence.push(`${source} names a container`);
  if (files.mountinfo !== undefined && hasOverlayRoot(files.mountinfo))
    evidence.push('the root file system is an overlay');

  // A host name of 12 hexadecimal digits alone proves nothing, but within a container it is a good candidate.
  if (evidence.length > 0 || certain > 0) {
    add(shortId(hostname), 'host name');
    add(shortId(variables['HOSTNAME']), 'variable HOSTNAME');
    add(shortId(files.hostnameFile), '/etc/hostname');
  }
  return { inContainer: evidence.length > 0, evidence, candidates };
}

function hasOverlayRoot(mountinfo: string): boolean {
  return mountinfo.split('\n').some((line) => {
    const [before = '', after = ''] = line.split(' - ');
    return before.split(' ')[4] === '/' && /^(overlay|fuse-overlayfs|aufs) /.test(after);
  });
}
