/**
 * Service instances as prepared answers. What an instance contributes depends on the question's type and the TTL
 * only, so it is built once and kept beside the list that the named call returned: lists are immutable, and the same
 * list comes back until the service changes (DESIGN rule 4). A query then shuffles and copies references.
 */
import type { CheckServiceNode } from '../model/index.ts';
import { addressToHex, parseAddress } from './address.ts';
import { recordType, type ResourceRecord } from './message.ts';
import { DnsFormatError, type Name, parseName } from './name.ts';
import { addressRecord, cnameRecord, familyFits, metaRecords, srvRecord } from './records.ts';
import { nodeAddress, serviceAddress, servicePort } from './translate.ts';

export interface InstanceSettings {
  /** Of the answer, for targets. */
  readonly datacenter: string;
  /** Primary domain with final dot. */
  readonly domain: string;
  /** Answer WAN addresses. */
  readonly wan: boolean;
  readonly nodeMetaTxt: boolean;
  /** Told of each record that cannot be written and is left out. */
  readonly onLeftOut: (error: DnsFormatError) => void;
}

/** What one instance adds to an answer. */
export interface Instance {
  /** Finds duplicates among SRV answers: node, address and port. */
  readonly srvKey: string;
  /**
   * `address`: the records are complete. `hostName`: the address is a host name, to be resolved for every answer;
   * `first` (SRV or CNAME) leads to it, and `self` is used instead when that name is the question itself.
   */
  readonly target: Target | HostName;
  /** Node metadata for ADDITIONAL, SRV only. */
  readonly meta: readonly ResourceRecord[];
}

export interface HostName {
  readonly kind: 'hostName';
  /** Finds duplicates among address answers. */
  readonly key: string;
  readonly name: Name;
  readonly first: ResourceRecord;
  readonly self: Target | null;
}

export interface Target {
  readonly kind: 'address';
  /** Finds duplicates among address answers. */
  readonly key: string;
  readonly answer: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
}

/** Instances that may be answered: none of their checks, nor their node's, is critical (or not passing). */
export function healthy(instances: readonly CheckServiceNode[], onlyPassing: boolean): CheckServiceNode[] {
  return instances.filter(({ Checks }) =>
    Checks.every(({ Status }) => (onlyPassing ? Status === 'passing' : Status !== 'critical')),
  );
}

/** SRV weight by the worst status; no checks count as passing. */
function weightOf({ Service, Checks }: CheckServiceNode): number {
  const warning = Checks.some((check) => check.Status === 'warning');
  return Service.Weights === null ? 1 : warning ? Service.Weights.Warning : Service.Weights.Passing;
}

/**
 * Prepares the answers of `instances` to a question of `type`; those with nothing to say are left out. So is one whose
 * address or node is no name that DNS can hold: the peer falls silent about the whole service then, which takes all
 * others out with it.
 */
export function prepareInstances(
  instances: readonly CheckServiceNode[],
  type: number,
  ttl: number,
  settings: InstanceSettings,
): Instance[] {
  return instances.flatMap((instance) => {
    try {
      return prepareInstance(instance, type, ttl, settings) ?? [];
    } catch (error) {
      if (!(error instanceof DnsFormatError)) throw error;
      settings.onLeftOut(error);
      return [];
    }
  });
}

function prepareInstance(
  instance: CheckServiceNode,
  type: number,
  ttl: number,
  settings: InstanceSettings,
): Instance | null {
  const { Node, Service } = instance;
  const { datacenter, domain, wan } = settings;
  const forService = serviceAddress(Service, wan, type);
  const forNode = nodeAddress(Node, wan, type);
  const port = servicePort(Service, wan);
  const weight = weightOf(instance);
  const nodeName = `${Node.Node}.node.${datacenter}.${domain}`;

  const target = (address: Uint8Array, srvTarget: string): Target => {
    const key = addressToHex(address);
    if (type !== recordType.SRV) {
      const answer = familyFits(type, address) ? [addressRecord(null, ttl, address)] : [];
      return { kind: 'address', key, answer, additional: [] };
    }
    const name = parseName(srvTarget);
    return {
      kind: 'address',
      key,
      answer: [srvRecord(ttl, weight, port, name)],
      additional: [addressRecord(name, ttl, address)],
    };
  };
  const byHex = (address: Uint8Array): Target =>
    target(address, `${addressToHex(address)}.addr.${datacenter}.${domain}`);

  const hostName = (text: string, self: Target | null): HostName => {
    const name = parseName(text);
    const first = type === recordType.SRV ? srvRecord(ttl, weight, port, name) : cnameRecord(null, ttl, name);
    return { kind: 'hostName', key: name.text, name, first, self };
  };

  const nodeIp = parseAddress(forNode);
  let answer: Instance['target'];
  if (forService === '') {
    if (forNode === '') return null;
    if (nodeIp === null) answer = hostName(forNode, null);
    else answer = forNode === Node.Address ? target(nodeIp, nodeName) : byHex(nodeIp);
  } else {
    const serviceIp = parseAddress(forService);
    answer =
      serviceIp === null ? hostName(forService, nodeIp === null ? null : target(nodeIp, nodeName)) : byHex(serviceIp);
  }
  if (answer.kind === 'address' && answer.answer.length === 0) return null;
  const srv = type === recordType.SRV;
  const meta = srv && settings.nodeMetaTxt ? metaOf(nodeName, ttl, Node.Meta, settings) : [];
  return { srvKey: `${Node.Node}:${forService}:${port}`, target: answer, meta };
}

/** Metadata is an extra: what cannot be written of it does not keep the instance from being found. */
function metaOf(
  nodeName: string,
  ttl: number,
  meta: CheckServiceNode['Node']['Meta'],
  { onLeftOut }: InstanceSettings,
): readonly ResourceRecord[] {
  try {
    return metaRecords(parseName(nodeName), ttl, meta);
  } catch (error) {
    if (!(error instanceof DnsFormatError)) throw error;
    onLeftOut(error);
    return [];
  }
}

/** Most prepared variants kept for one list: question types × TTLs that letter case and wildcards can produce. */
const variantsMax = 8;

/** Prepared answers beside the lists they were made of. */
export class InstanceCache {
  readonly #prepared = new WeakMap<readonly CheckServiceNode[], Map<string, readonly Instance[]>>();

  /** Prepared answers of the healthy ones of `instances`, and null when none is healthy. */
  get(
    instances: readonly CheckServiceNode[],
    onlyPassing: boolean,
    type: number,
    ttl: number,
    settings: InstanceSettings,
  ): readonly Instance[] | null {
    const asked = preparedType(type);
    const variant = `${asked} ${ttl} ${settings.datacenter}`;
    let variants = this.#prepared.get(instances);
    const found = variants?.get(variant);
    if (found !== undefined) return found;
    const usable = healthy(instances, onlyPassing);
    if (usable.length === 0) return null;
    const prepared = prepareInstances(usable, asked, ttl, settings);
    if (variants === undefined || variants.size >= variantsMax) {
      variants = new Map();
      this.#prepared.set(instances, variants);
    }
    variants.set(variant, prepared);
    return prepared;
  }
}

/** Questions that get equal answers share one variant; 0 stands for all types that services have no record of. */
export function preparedType(type: number): number {
  switch (type) {
    case recordType.A:
    case recordType.AAAA:
    case recordType.SRV:
    case recordType.ANY:
      return type;
    case recordType.TXT:
      return recordType.ANY;
    default:
      return 0;
  }
}
