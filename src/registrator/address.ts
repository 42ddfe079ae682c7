/**
 * Which address and port a service is registered with (reference/registrator.md §6, R15–R20). A published port is
 * reached at the host: the advertised address, or the address it is bound to. An unpublished one (`-internal`,
 * macvlan) is reached at the container's address on one network, chosen without chance. The two are never mixed.
 */
import type { ServiceAddress } from '../model/index.ts';
import type { ContainerInspect } from '../ports/index.ts';
import { type ContainerFacts, type Decision, labelsOf, networkModeOf, networkOwnerOf } from './facts.ts';
import type { AdvertisedAddress, Settings } from './options.ts';
import type { Candidate, HostBinding } from './ports.ts';
import type { Applied } from './variables.ts';

export type Located =
  | {
      readonly address: string;
      readonly port: number;
      readonly tagged: Readonly<Record<string, ServiceAddress>> | undefined;
      readonly decisions: readonly Decision[];
      readonly notes: readonly string[];
    }
  | { readonly reason: string; readonly hint: string };

/** Addresses that mean "any", never a place to connect to. */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address === 'localhost';
}

/** What must never be registered by accident (R15). */
export function isUnusableAddress(address: string): boolean {
  return isUnspecified(address) || isLoopback(address);
}

/**
 * Locates one endpoint.
 * @param binding one of the candidate's bindings when it is published.
 */
export function locate(
  facts: ContainerFacts,
  candidate: Candidate | undefined,
  binding: HostBinding | undefined,
  applied: Applied,
  settings: Settings,
): Located {
  const flag = applied.flag('internal');
  const internal = flag?.value ?? settings.internal;
  const internalBecause = flag?.source ?? '-internal';
  const found = base(facts, candidate, binding, applied, settings, internal, internalBecause);
  if ('reason' in found) {
    // A chosen address makes up for an unknown one.
    const port = binding ? (binding.ipv4 ?? binding.ipv6)!.port : (candidate?.port ?? 0);
    const chosen = found.missing ? chosenAddress(facts, applied, settings) : undefined;
    if (chosen === undefined || chosen.address === undefined) return { reason: found.reason, hint: found.hint };
    return {
      address: chosen.address,
      port,
      tagged: undefined,
      decisions: [decision('address', chosen.address, chosen.because), decision('port', String(port), 'as published')],
      notes: [],
    };
  }
  const chosen = chosenAddress(facts, applied, settings);
  if (chosen === undefined) return found;
  if (chosen.address === undefined) return { ...found, notes: [...found.notes, chosen.because] };
  return {
    ...found,
    address: chosen.address,
    tagged: undefined,
    decisions: [
      decision('address', chosen.address, chosen.because),
      ...found.decisions.filter((each) => each.what !== 'address'),
    ],
  };
}

/** `SERVICE_IP`, then the label of `-useIpFromLabel`; a bad value is passed over with a note. */
function chosenAddress(
  facts: ContainerFacts,
  applied: Applied,
  settings: Settings,
): { readonly address: string | undefined; readonly because: string } | undefined {
  const own = applied.filled('ip');
  if (own !== undefined) {
    if (!isUnspecified(own.value)) return { address: own.value, because: own.source };
    return { address: undefined, because: `${own.source}: ${own.value} is no address to connect to; ignored` };
  }
  if (settings.useIpFromLabel === '') return undefined;
  const value = labelsOf(facts.inspect)[settings.useIpFromLabel];
  if (value === undefined || value === '') {
    return { address: undefined, because: `label ${settings.useIpFromLabel} (-useIpFromLabel) is missing` };
  }
  return { address: value.replace(/\/.*$/, ''), because: `label ${settings.useIpFromLabel} (-useIpFromLabel)` };
}

type Base = Exclude<Located, { reason: string }> | { reason: string; hint: string; missing: boolean };

function base(
  facts: ContainerFacts,
  candidate: Candidate | undefined,
  binding: HostBinding | undefined,
  applied: Applied,
  settings: Settings,
  internal: boolean,
  internalBecause: string,
): Base {
  const network = facts.owner ?? facts.inspect;
  const hostMode = networkModeOf(network) === 'host';
  if (candidate === undefined || candidate.reach.kind === 'host') {
    if (candidate === undefined && internal && !hostMode) {
      return inNetwork(facts, 0, applied, settings, internalBecause);
    }
    const because = candidate === undefined ? 'no port' : "host network: the port is the host's own";
    return onHost(undefined, candidate?.port ?? 0, because, internal ? '' : settings.ip, settings.advertise());
  }
  if (candidate.reach.kind === 'direct') {
    return inNetwork(facts, candidate.port, applied, settings, 'the network gives the container its own LAN address');
  }
  if (internal) return inNetwork(facts, candidate.port, applied, settings, internalBecause);
  if (binding === undefined) {
    return {
      reason: 'not published on the host',
      hint: `publish it with -p or -P, or set SERVICE_INTERNAL=true`,
      missing: false,
    };
  }
  const bound = binding.ipv4 ?? binding.ipv6!;
  if (isLoopback(bound.address) && !settings.loopback) {
    return {
      reason: `bound to ${bound.address}, which only this host can reach`,
      hint: 'publish it on another address, or allow loopback bindings',
      missing: false,
    };
  }
  return onHost(binding, bound.port, 'published by the engine', settings.ip, settings.advertise());
}

/** The host's side: `-ip`, a specific binding address, the advertised address. */
function onHost(
  binding: HostBinding | undefined,
  port: number,
  portBecause: string,
  ip: string,
  advertised: AdvertisedAddress,
): Base {
  const portDecision = decision('port', String(port), portBecause);
  const result = (address: string, because: string, tagged?: Record<string, ServiceAddress>, note?: string): Base => ({
    address,
    port,
    tagged,
    decisions: [decision('address', address, because), portDecision],
    notes: note === undefined ? [] : [note],
  });
  const specific = binding && [binding.ipv4, binding.ipv6].filter((each) => each && !isUnspecified(each.address));
  if (ip !== '' && !(specific?.[0] && isLoopback(specific[0].address))) return result(ip, '-ip');
  if (specific?.[0]) {
    const both = binding?.ipv4 && binding.ipv6;
    return result(specific[0].address, 'the port is bound to it', both && taggedAddresses(binding.ipv4, binding.ipv6));
  }
  const because = `advertised address (${advertised.source})`;
  const four = binding === undefined || binding.ipv4 ? usable(advertised.ipv4) : undefined;
  const six = binding === undefined || binding.ipv6 ? usable(advertised.ipv6) : undefined;
  if (four !== undefined && six !== undefined) {
    const portV6 = binding?.ipv6?.port ?? port;
    return result(four, because, taggedAddresses({ address: four, port }, { address: six, port: portV6 }));
  }
  if (four !== undefined || six !== undefined) return result((four ?? six)!, because);
  const other = usable(advertised.ipv4) ?? usable(advertised.ipv6);
  if (other !== undefined) {
    return result(other, because, undefined, `the port is published for the other address family than ${other}`);
  }
  return {
    reason: 'no address of this host is known that others can reach',
    hint: 'set -advertise (agent) or -ip',
    missing: true,
  };
}

/** The container's side (R17): the address on the chosen network, with the container's port. */
function inNetwork(facts: ContainerFacts, port: number, applied: Applied, settings: Settings, because: string): Base {
  const network = facts.owner ?? facts.inspect;
  const choice = chooseNetwork(network, applied, settings);
  if (choice === undefined) {
    return {
      reason: 'the container has no address on a network that others can use',
      hint: 'attach it to a network, or publish the port',
      missing: true,
    };
  }
  const owner = networkOwnerOf(facts.inspect) === undefined ? '' : ' of the container whose network it uses';
  return {
    address: choice.address,
    port,
    tagged:
      choice.ipv6 === '' || choice.ipv6 === choice.address
        ? undefined
        : taggedAddresses({ address: choice.address, port }, { address: choice.ipv6, port }),
    decisions: [
      decision('address', choice.address, `${because}; network ${choice.name}${owner}: ${choice.because}`),
      decision('port', String(port), 'container port'),
    ],
    notes: choice.notes,
  };
}

interface NetworkChoice {
  readonly name: string;
  readonly address: string;
  readonly ipv6: string;
  readonly because: string;
  readonly notes: readonly string[];
}

/** Swarm's ingress network carries published ports between nodes; clients cannot reach addresses on it (§6). */
const ingressNetwork = 'ingress';

/** The network whose container address is used; undefined when none has an address. */
export function chooseNetwork(
  network: ContainerInspect,
  applied: Applied | undefined,
  settings: Settings,
): NetworkChoice | undefined {
  const attached = new Map<string, { address: string; ipv6: string; id: string }>();
  for (const [name, endpoint] of Object.entries(network.NetworkSettings?.Networks ?? {})) {
    const ipv4 = endpoint?.IPAddress ?? '';
    const ipv6 = endpoint?.GlobalIPv6Address ?? '';
    if (name === ingressNetwork || (ipv4 === '' && ipv6 === '')) continue;
    attached.set(name, { address: ipv4 === '' ? ipv6 : ipv4, ipv6, id: endpoint?.NetworkID ?? '' });
  }
  const top = network.NetworkSettings?.IPAddress ?? '';
  // Engines before networks were objects, and some proxies, give only the top-level address.
  if (attached.size === 0 && top !== '') attached.set('bridge', { address: top, ipv6: '', id: '' });
  const notes: string[] = [];
  const pick = (name: string, because: string): NetworkChoice | undefined => {
    const found = attached.get(name);
    return found && { name, address: found.address, ipv6: found.ipv6, because, notes };
  };
  const asked = applied?.filled('network');
  if (asked !== undefined) {
    const found = pick(asked.value, asked.source);
    if (found) return found;
    notes.push(
      `${asked.source}: not attached to network "${asked.value}" (attached: ${[...attached.keys()].join(', ')})`,
    );
  }
  for (const name of settings.networks) {
    const found = pick(name, '-network');
    if (found) return found;
  }
  const names = [...attached.keys()].sort();
  if (names.length === 0) return undefined;
  if (names.length === 1) return pick(names[0]!, 'its only network');
  const mode = networkModeOf(network);
  const named = names.find((name) => name === mode || attached.get(name)!.id === mode);
  if (named !== undefined) return pick(named, 'its network mode');
  return pick(names[0]!, 'lowest name of its networks');
}

function usable(address: string | undefined): string | undefined {
  return address === undefined || isUnusableAddress(address) ? undefined : address;
}

function taggedAddresses(
  four: { readonly address: string; readonly port: number },
  six: { readonly address: string; readonly port: number },
): Record<string, ServiceAddress> {
  return {
    lan_ipv4: { Address: four.address, Port: four.port },
    lan_ipv6: { Address: six.address, Port: six.port },
  };
}

function decision(what: string, value: string, because: string): Decision {
  return { what, value, because };
}
