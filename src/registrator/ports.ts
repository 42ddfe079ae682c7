/**
 * Which ports of a container may become services (reference/registrator.md §4). Candidates are the exposed ports and
 * those of the runtime port map; how each can be reached depends on the network mode: through bindings of the host,
 * directly on the host (host network), or only inside a network. Several bindings of one port become several
 * endpoints, but the IPv4 and IPv6 halves of one publish are one (R19).
 */
import { isIP } from 'node:net';
import type { ContainerInspect, PortBinding } from '../ports/index.ts';
import { type ContainerFacts, networkModeOf, networkOwnerOf, type Skipped } from './facts.ts';
import { isLoopback, isUnspecified } from './address.ts';

/** How a published port is reached on the host; at least one family is there. */
export interface HostBinding {
  readonly ipv4?: { readonly address: string; readonly port: number };
  readonly ipv6?: { readonly address: string; readonly port: number };
}

export interface Candidate {
  readonly port: number;
  readonly protocol: string;
  /** `80/tcp`. */
  readonly text: string;
  readonly reach:
    | { readonly kind: 'published'; readonly bindings: readonly HostBinding[] }
    /** Host network: the port is the host's own. */
    | { readonly kind: 'host' }
    /** macvlan, ipvlan: the container has an address of its own on the LAN. */
    | { readonly kind: 'direct' }
    | { readonly kind: 'unpublished' };
}

/** Candidates in order of port and protocol, or why there can be none. */
export type Candidates = { readonly candidates: readonly Candidate[] } | { readonly refused: Skipped };

/**
 * @param podman Podman leaves unpublished ports out of the runtime map (R39), which must not look like macvlan.
 */
export function candidatesOf(facts: ContainerFacts, podman: boolean): Candidates {
  const { inspect } = facts;
  const refuse = (reason: string, hint: string): Candidates => ({ refused: { port: '', reason, hint } });
  const ownerRef = networkOwnerOf(inspect);
  const network = ownerRef === undefined ? inspect : facts.owner;
  if (network === undefined) {
    return refuse(`waits for the container ${ownerRef} whose network it uses`, 'start that container');
  }
  if (ownerRef !== undefined && network.State?.Running !== true) {
    return refuse(`the container ${ownerRef} whose network it uses is not running`, 'start that container');
  }
  const mode = networkModeOf(network);
  if (mode === 'none') return refuse('network mode "none" has no address', 'attach the container to a network');
  if (mode.startsWith('container:')) {
    return refuse(`the owner of its network, ${ownerRef}, has no network of its own`, 'join the network of its owner');
  }
  const runtime = network.NetworkSettings?.Ports ?? {};
  const exposed = Object.keys(inspect.Config?.ExposedPorts ?? {});
  const keys = new Set([...exposed, ...(ownerRef === undefined ? Object.keys(runtime) : [])]);
  const direct = !podman && Object.keys(runtime).length === 0 && hasOwnLanAddress(network, mode);
  const candidates: Candidate[] = [];
  for (const key of keys) {
    const match = /^(\d+)(?:\/([a-z]+))?$/.exec(key);
    if (match === null) continue;
    const port = Number(match[1]);
    const protocol = match[2] ?? 'tcp';
    candidates.push({ port, protocol, text: `${port}/${protocol}`, reach: reachOf(mode, direct, runtime[key]) });
  }
  candidates.sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
  return { candidates };
}

function reachOf(
  mode: string,
  direct: boolean,
  bindings: readonly PortBinding[] | null | undefined,
): Candidate['reach'] {
  if (mode === 'host') return { kind: 'host' };
  if (direct) return { kind: 'direct' };
  const paired = pairBindings(bindings ?? []);
  return paired.length === 0 ? { kind: 'unpublished' } : { kind: 'published', bindings: paired };
}

/**
 * The engine lists an empty runtime map for macvlan and ipvlan, where every other network with exposed ports has an
 * entry for each (reference/container-environments.md §2): that, and an address, is how such a network is known.
 */
function hasOwnLanAddress(network: ContainerInspect, mode: string): boolean {
  if (mode === 'bridge' || mode === 'host') return false;
  return Object.values(network.NetworkSettings?.Networks ?? {}).some((each) => (each?.IPAddress ?? '') !== '');
}

/** Joins the IPv4 and IPv6 lines of one publish; lowest host port first. */
export function pairBindings(bindings: readonly PortBinding[]): HostBinding[] {
  const ipv4: { address: string; port: number }[] = [];
  const ipv6: { address: string; port: number }[] = [];
  for (const binding of bindings) {
    const port = Number(binding.HostPort ?? '');
    if (!Number.isInteger(port) || port <= 0) continue;
    // Podman writes "" for the wildcard.
    const address = binding.HostIp === undefined || binding.HostIp === '' ? '0.0.0.0' : binding.HostIp;
    const list = isIP(address) === 6 ? ipv6 : ipv4;
    if (!list.some((each) => each.address === address && each.port === port)) list.push({ address, port });
  }
  const byPort = (a: { address: string; port: number }, b: { address: string; port: number }): number =>
    a.port - b.port || (a.address < b.address ? -1 : 1);
  ipv4.sort(byPort);
  ipv6.sort(byPort);
  // Random host ports may differ between the families; then the halves belong together by their place in the list.
  const byPlace = ipv4.length === ipv6.length && [...ipv4, ...ipv6].every((each) => isUnspecified(each.address));
  const pairs: HostBinding[] = ipv4.map((four) => {
    const at = byPlace ? 0 : ipv6.findIndex((six) => six.port === four.port && sameKind(four.address, six.address));
    const six = at < 0 ? undefined : ipv6.splice(at, 1)[0];
    return six === undefined ? { ipv4: four } : { ipv4: four, ipv6: six };
  });
  pairs.push(...ipv6.map((six) => ({ ipv6: six })));
  return pairs.sort((a, b) => (a.ipv4 ?? a.ipv6!).port - (b.ipv4 ?? b.ipv6!).port);
}

/** A wildcard never pairs with a specific address, nor loopback with one that others reach. */
function sameKind(a: string, b: string): boolean {
  return isUnspecified(a) === isUnspecified(b) && isLoopback(a) === isLoopback(b);
}
