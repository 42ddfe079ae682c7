/**
 * Which address others shall use for this agent: the ladder of reference/container-environments.md §9 as a function of
 * the facts. First rung that gives a usable address wins; every rung says what it saw, so that `portolan doctor` and
 * the log can tell why. An explicit setting is never second-guessed, only warned about.
 *
 * One refinement: addresses of the host (metadata services, swarm) are worth something only when the gossip port leads
 * from the host into this container. When it is known that it does not (a compose cluster on one box), the container's
 * own address is the right one, because the peers are its neighbours.
 */
import { isIP } from 'node:net';
import type { InterfaceAddress } from '../model/index.ts';
import { inNetwork, isPrivateIpv4, isPublicIpv6, isUnspecified, whyNotAdvertisable } from './address.ts';
import { hopLimitFix } from './ec2-metadata.ts';
import type { EnvironmentFacts, Finding, NetworkMode } from './facts.ts';
import { detectNetworkMode, isBehindNat } from './network-mode.ts';
import { type AgentPorts, checkPublishedPorts, type EnvironmentWarning, publishedPorts } from './published-ports.ts';

export interface AdvertiseSettings {
  /** `advertise_addr`, templates expanded; null when not set. */
  readonly advertiseAddr: string | null;
  /** `bind_addr`, expanded; `0.0.0.0` and `::` leave the choice open, and say of which family. */
  readonly bindAddr: string;
  readonly ports: AgentPorts;
}

export interface Rung {
  readonly source: string;
  readonly verdict: 'chosen' | 'possible' | 'refused' | 'absent' | 'skipped';
  readonly address: string | null;
  readonly detail: string;
}

export interface AdvertiseDecision {
  /** Null only with `error`. */
  readonly address: string | null;
  /** Where it comes from, to stand behind "from": `interface eth0`, `advertise_addr`. */
  readonly source: string;
  readonly why: readonly string[];
  /** Why no address could be chosen, in words that say what to set. */
  readonly error: string | null;
  readonly warnings: readonly EnvironmentWarning[];
  /** Addresses of lower rungs, best first. */
  readonly alternatives: readonly { readonly address: string; readonly source: string }[];
  readonly mode: NetworkMode;
  readonly rungs: readonly Rung[];
  /** Host ports to advertise where they differ from the bound ones (`-p 18301:8301`). */
  readonly ports: { readonly serfLan?: number; readonly serfWan?: number; readonly server?: number };
}

/** The rungs up to and with `bind_addr` need no probe at all. */
export function isDecidedBySettings(settings: AdvertiseSettings, variables: Readonly<Record<string, string>>): boolean {
  return (
    settings.advertiseAddr !== null ||
    variables['PORTOLAN_ADVERTISE_ADDR'] !== undefined ||
    !isUnspecified(settings.bindAddr)
  );
}

/** Walks the ladder. */
export function decideAdvertise(facts: EnvironmentFacts, settings: AdvertiseSettings): AdvertiseDecision {
  const { mode, why: modeWhy } = detectNetworkMode(facts);
  const nat = isBehindNat(mode);
  const published = nat ? publishedPorts(facts) : null;
  const checks = published === null ? [] : checkPublishedPorts(published, settings.ports);
  const reachable = checks[0] === undefined || checks[0].tcp !== undefined;
  const rungs: Rung[] = [];
  const climb = (
    source: string,
    finding: Finding<string>,
    options: { explicit?: boolean; detail?: string } = {},
  ): void => {
    if (finding.state !== 'found') {
      rungs.push({ source, verdict: finding.state, address: null, detail: finding.why });
      return;
    }
    const address = finding.value;
    const objection =
      options.explicit && isIP(address) !== 0 && !isUnspecified(address) ? undefined : whyNotAdvertisable(address);
    const taken = rungs.some(({ verdict }) => verdict === 'chosen');
    rungs.push({
      source,
      verdict: objection !== undefined ? 'refused' : taken ? 'possible' : 'chosen',
      address,
      detail: objection ?? options.detail ?? '',
    });
  };
  /** A host address: pointless when the gossip port is known not to lead here, or when there is no NAT. */
  const behindNat = (finding: Finding<string>): Finding<string> => {
    if (!nat) return { state: 'skipped', why: 'the own interface is reachable' };
    if (!reachable) return { state: 'skipped', why: `port ${settings.ports.serfLan} is not published on the host` };
    return finding;
  };

  climb('advertise_addr', setting(settings.advertiseAddr), { explicit: true, detail: 'set by flag or configuration' });
  climb('variable PORTOLAN_ADVERTISE_ADDR', variable(facts, 'PORTOLAN_ADVERTISE_ADDR'), { explicit: true });
  climb('bind_addr', setting(isUnspecified(settings.bindAddr) ? null : settings.bindAddr), {
    explicit: true,
    detail: 'set by flag or configuration',
  });
  for (const name of ['HOST_IP', 'NODE_IP', 'POD_IP']) {
    climb(
      `variable ${name}`,
      facts.container.inContainer ? variable(facts, name) : { state: 'skipped', why: 'not in a container' },
    );
  }
  const own =
    (mode === 'overlay' ? overlayAddress(facts) : undefined) ??
    interfaceAddress(facts, isIP(settings.bindAddr) === 6 ? 6 : 4);
  climb(own.source, nat ? { state: 'skipped', why: `network mode ${mode}: ${modeWhy}` } : own.finding, {
    detail: own.why,
  });
  climb(
    'ECS metadata file',
    behindNat(
      map(facts.ecsFile, ({ hostPrivateAddress }) => hostPrivateAddress, 'the file has no HostPrivateIPv4Address'),
    ),
    { detail: 'HostPrivateIPv4Address' },
  );
  climb(
    'ECS task metadata',
    map(
      facts.ecsTask,
      ({ networks }) => networks.find((network) => network.mode === 'awsvpc')?.addresses[0],
      'not an awsvpc task: the endpoint knows the bridge address only',
    ),
    { detail: 'address of the task (awsvpc)' },
  );
  climb('cloud metadata', behindNat(map(facts.cloud, ({ address }) => address, '')), {
    detail: facts.cloud.state === 'found' ? facts.cloud.value.via : '',
  });
  const specific = checks[0]?.tcp?.hostIp ?? '';
  climb(
    'published port',
    behindNat(
      isUnspecified(specific)
        ? { state: 'absent', why: `port ${settings.ports.serfLan} is not published on one address of the host` }
        : { state: 'found', value: specific },
    ),
    { detail: 'the host address the gossip port is published on' },
  );
  climb(
    'swarm node address',
    behindNat(map(facts.docker, ({ swarmAddress }) => swarmAddress || undefined, 'the engine is in no swarm')),
    { detail: 'Swarm.NodeAddr' },
  );
  if (nat) climb(own.source, own.finding, { detail: own.why });

  return conclude({ facts, settings, mode, modeWhy, nat, rungs, checks, ownWhy: own.why, ownError: own.error });
}

function conclude(state: {
  readonly facts: EnvironmentFacts;
  readonly settings: AdvertiseSettings;
  readonly mode: NetworkMode;
  readonly modeWhy: string;
  readonly nat: boolean;
  readonly rungs: readonly Rung[];
  readonly checks: ReturnType<typeof checkPublishedPorts>;
  readonly ownWhy: string;
  readonly ownError: string;
}): AdvertiseDecision {
  const { facts, settings, mode, nat, rungs, checks } = state;
  const chosen = rungs.find(({ verdict }) => verdict === 'chosen');
  const warnings: EnvironmentWarning[] = [];

  const refusedSetting = rungs.find(({ source, verdict }) => verdict === 'refused' && isExplicit(source));
  if (refusedSetting) {
    warnings.push({
      text: `${refusedSetting.source} is not used: ${refusedSetting.detail}`,
      fix: `set ${refusedSetting.source} to an IP address that other agents can reach`,
    });
  }

  // Nothing but loopback: a machine without network still runs a one-box agent, as Consul does.
  const loopback = facts.interfaces.find(
    (each) => each.loopback && each.family === (isIP(settings.bindAddr) === 6 ? 6 : 4),
  );
  const onlyLoopback =
    chosen === undefined && facts.interfaces.every((each) => each.loopback) && loopback !== undefined;
  const address = chosen?.address ?? (onlyLoopback ? loopback.address : null);
  const source = chosen?.source ?? (onlyLoopback ? `interface ${loopback.name}` : '');
  const why = [
    ...(chosen?.detail ? [chosen.detail] : onlyLoopback ? ['there is no interface but loopback'] : []),
    ...(facts.container.inContainer ? [`network mode ${mode}: ${state.modeWhy}`] : []),
  ];

  if (onlyLoopback) {
    warnings.push({
      text: 'only loopback is there: no other host can reach this agent',
      fix:
        mode === 'none'
          ? 'start the container with --network host, or with a network and -p for the gossip port'
          : 'set advertise_addr (-advertise) when a network is there',
    });
  }
  const isSet = chosen !== undefined && isExplicit(chosen.source);
  if (nat && address !== null) {
    warnings.push(...checks.flatMap((check) => check.warnings));
    const isBridgeAddress = facts.interfaces.some((each) => each.address === address);
    const neighbours = 'right for agents in containers on the same network, unreachable from other hosts';
    if (isBridgeAddress && mode !== 'unknown') {
      warnings.push({
        text: `${address} is an address inside the container network: ${neighbours}`,
        fix: 'set -advertise (or PORTOLAN_ADVERTISE_ADDR) to the address of the host, or start the container with --network host',
      });
    } else if (isBridgeAddress && !isSet) {
      warnings.push({
        text: `in a container of unknown network mode; ${address} may be ${neighbours}`,
        fix: 'mount the Docker socket read-only so that the agent can look, or set -advertise',
      });
    }
    if (facts.metadataTokenTimedOut && !isSet) {
      warnings.push({
        text: 'the EC2 metadata token did not arrive: its answer dies at the container bridge when the hop limit is 1',
        fix: `${hopLimitFix}, or set -advertise`,
      });
    }
    if (facts.docker.state === 'found' && facts.docker.value.rootless) {
      warnings.push({
        text: 'the engine is rootless: every connection seems to come from the bridge gateway, and host addresses cannot be found out',
        fix: 'set -advertise to the address of the host, or start the container with --network host',
      });
    }
  }

  return {
    address,
    source,
    why,
    error: address === null ? state.ownError : null,
    warnings,
    alternatives: rungs
      .filter(({ verdict, address: other }) => verdict === 'possible' && other !== address)
      .map((rung) => ({ address: rung.address!, source: rung.source })),
    mode,
    rungs,
    ports: nat ? mappedPorts(checks) : {},
  };
}

/** One line for the banner: `10.1.2.3 (from interface eth0, the only private IPv4 address)`. */
export function describeAdvertise({ address, source, why }: AdvertiseDecision): string {
  return `${address ?? 'none'} (${['from ' + source, ...why.slice(0, 1)].join(', ')})`;
}

const isExplicit = (source: string): boolean =>
  ['advertise_addr', 'variable PORTOLAN_ADVERTISE_ADDR', 'bind_addr'].includes(source);

function setting(value: string | null): Finding<string> {
  return value === null ? { state: 'absent', why: 'not set' } : { state: 'found', value };
}

function variable(facts: EnvironmentFacts, name: string): Finding<string> {
  return setting(facts.variables[name] ?? null);
}

function map<T>(finding: Finding<T>, pick: (value: T) => string | undefined, otherwise: string): Finding<string> {
  if (finding.state !== 'found') return finding;
  const value = pick(finding.value);
  return value === undefined ? { state: 'absent', why: otherwise } : { state: 'found', value };
}

function mappedPorts(checks: ReturnType<typeof checkPublishedPorts>): AdvertiseDecision['ports'] {
  const other = (name: (typeof checks)[number]['name']): number | undefined => {
    const check = checks.find((each) => each.name === name);
    return check?.hostPort != null && check.hostPort !== check.port ? check.hostPort : undefined;
  };
  const [serfLan, serfWan, server] = [other('LAN gossip'), other('WAN gossip'), other('server RPC')];
  return {
    ...(serfLan !== undefined && { serfLan }),
    ...(serfWan !== undefined && { serfWan }),
    ...(server !== undefined && { server }),
  };
}

interface OwnAddress {
  readonly source: string;
  readonly finding: Finding<string>;
  readonly why: string;
  readonly error: string;
}

/** In an overlay the default route leads through the gateway bridge, whose address nobody else can reach. */
function overlayAddress(facts: EnvironmentFacts): OwnAddress | undefined {
  const networks = facts.docker.state === 'found' ? (facts.docker.value.container?.networks ?? []) : [];
  const overlay = networks.find(({ name, address }) => name !== 'ingress' && address !== '');
  if (overlay === undefined) return undefined;
  const source = `network ${overlay.name}`;
  return { source, finding: { state: 'found', value: overlay.address }, why: 'address in the overlay', error: '' };
}

/**
 * The own interface's address. Consul refuses to choose among several private IPv4 addresses; the default route decides
 * here, and only without one the refusal stands, in Consul's words.
 */
function interfaceAddress(facts: EnvironmentFacts, family: 4 | 6): OwnAddress {
  const usable = facts.interfaces.filter(
    (each) => each.up && !each.loopback && each.family === family && whyNotAdvertisable(each.address) === undefined,
  );
  const wanted = usable.filter(({ address }) => (family === 4 ? isPrivateIpv4(address) : isPublicIpv6(address)));
  const kind = family === 4 ? 'private IPv4' : 'public IPv6';
  const take = ({ name, address }: InterfaceAddress, why: string) => ({
    source: `interface ${name}`,
    finding: { state: 'found', value: address } as const,
    why,
    error: '',
  });
  if (wanted.length === 1) return take(wanted[0]!, `the only ${kind} address`);
  const routed = [...wanted, ...usable].find(({ name }) => name === facts.defaultInterface);
  if (routed !== undefined) return take(routed, 'it has the default route');
  // Addresses of container bridges are nobody's first choice, when exactly one other is left.
  const outward = wanted.filter(({ address }) => !inNetwork(address, '172.17.0.0/16'));
  if (outward.length === 1) return take(outward[0]!, `the only ${kind} address outside the Docker bridge`);
  if (wanted.length === 0 && usable.length === 1) return take(usable[0]!, `the only IPv${family} address`);
  const error =
    usable.length === 0
      ? `No ${kind} address found. Configure one with 'bind' and/or 'advertise'`
      : `Multiple ${kind} addresses found (${usable.map(({ name, address }) => `${address} on ${name}`).join(', ')}). Please configure one with 'bind' and/or 'advertise'`;
  return { source: 'interface', finding: { state: 'absent', why: error }, why: '', error };
}
