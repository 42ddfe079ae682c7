/**
 * One packet in, one packet out. Chooses the handler by zone, makes the named calls, and puts the sections together
 * as reference/dns.md §3-§9 describes. Holds one set of options; a reload makes a new responder.
 */
import { formatGoDurationMs, parseGoDurationMs } from '../codec/index.ts';
import type { CheckServiceNode, Node } from '../model/index.ts';
import type { Clock, Logger, Metrics, Random } from '../ports/index.ts';
import { addressOfReverseName, addressToHex, addressToText, parseAddress } from './address.ts';
import { Catalog, type CatalogDependencies, isUnknownDatacenter, isUnknownQuery } from './catalog.ts';
import { type Domains, domainsOf, type Lookup, lookupLabels, lookupOf, zoneOf } from './dispatch.ts';
import { type DnsOptions, serviceTtlSeconds } from './dns-options.ts';
import { Forwarder, type ForwarderDependencies, messageOf } from './forwarder.ts';
import {
  healthy,
  type HostName,
  type Instance,
  InstanceCache,
  type InstanceSettings,
  preparedType,
  prepareInstances,
} from './instances.ts';
import { type LimitedQuestion, limitSections, type MutableSections, type Transport, udpRecordLimit } from './limits.ts';
import {
  classIN,
  type ClientSubnet,
  type Edns,
  type Query,
  receive,
  recordType,
  type ResourceRecord,
  responseCode,
} from './message.ts';
import { type OptRecord, replyFlags, writeMessage } from './message-writer.ts';
import { DnsFormatError, type Name, parseName } from './name.ts';
import { addressRecord, cnameRecord, familyFits, metaRecords, nsRecord, ptrRecord, soaRecord } from './records.ts';
import type { Recursor } from './recursor.ts';
import { nodeAddress } from './translate.ts';

/** Names of our own zone resolved below a CNAME, one inside the other. */
const resolutionDepthMax = 3;
/** Records of a resolved host name that go into an answer for a client without EDNS. */
const resolvedRecordsMax = 5;
/** Host names resolved for one SRV answer; further ones are named without their addresses. */
const resolutionsMax = 64;
/** Name servers named in one answer. */
const nameServersMax = 3;
const nameServerService = { service: 'consul', tag: '', connect: false, ingress: false } as const;
/** Node names that may stand in an NS record (reference/dns.md §3). */
const validNodeName = /^[A-Za-z0-9\\-]+$/;

export type ResponderDependencies = CatalogDependencies & ForwarderDependencies;

/** A node by its address; the record is built when it is first asked for. */
interface ReverseEntry {
  readonly node: string;
  record: ResourceRecord | null;
}

interface Answer extends MutableSections {
  code: number;
  truncated: boolean;
  /** Another client may get another answer: the scope of its EDNS subnet says so. */
  readonly dependsOnClient?: boolean;
}

export class Responder {
  readonly #options: DnsOptions;
  readonly #forwarder: Forwarder;
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #domains: Domains;
  readonly #primaryName: Name;
  readonly #nodeTtl: number;
  readonly #metricLabels: readonly [{ readonly name: string; readonly value: string }];
  readonly #instances = new InstanceCache();
  readonly #nodesByAddress = new WeakMap<readonly Node[], ReadonlyMap<string, ReverseEntry>>();
  #soaOfSecond: { readonly unixSeconds: number; readonly record: ResourceRecord } | null = null;

  constructor(dependencies: ResponderDependencies, options: DnsOptions, recursors: readonly Recursor[]) {
    this.#options = options;
    this.#forwarder = new Forwarder(dependencies, options, recursors);
    this.#catalog = new Catalog(dependencies, options);
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#logger = dependencies.logger;
    this.#metrics = dependencies.metrics;
    this.#domains = domainsOf(options.domain, options.altDomain);
    this.#primaryName = parseName(this.#domains.primary);
    this.#nodeTtl = Math.trunc(options.nodeTtlMs / 1000);
    this.#metricLabels = [{ name: 'node', value: options.nodeName }];
  }

  /** The reply to `packet`, or null when none is sent. Never rejects. */
  async respond(packet: Buffer, transport: Transport, client: string): Promise<Buffer | null> {
    try {
      const received = receive(packet);
      if (received.kind === 'ignore') return null;
      if (received.kind === 'reject') return received.reply;
      const { query } = received;
      const labels = lookupLabels(query.name);
      switch (zoneOf(labels, this.#domains)) {
        case 'own':
          return await this.#respondOwn(query, labels, transport, client);
        case 'reverse':
          return await this.#respondReverse(query, labels, transport, client);
        case 'other':
          return this.#forwarder.available
            ? await this.#forward(query, transport, client)
            : this.#write(query, emptyAnswer(responseCode.REFUSED), {
                authoritative: false,
                recursionAvailable: false,
                edns: null,
              });
      }
    } catch (error) {
      this.#logger.warn('failed to respond', { error: String(error) });
      return null;
    }
  }

  async #respondOwn(query: Query, labels: readonly string[], transport: Transport, client: string): Promise<Buffer> {
    const startedMs = this.#clock.monotonicMs();
    const answer = await this.#answerOwn(query, labels, transport, client);
    const reply = this.#write(query, answer, {
      authoritative: true,
      recursionAvailable: this.#forwarder.available,
      edns: query.edns,
    });
    const latencyMs = this.#clock.monotonicMs() - startedMs;
    this.#metrics.sample(['dns', 'domain_query'], latencyMs, this.#metricLabels);
    this.#logger.debug('request served from client', {
      name: query.name.text,
      type: query.type,
      class: query.class,
      latency: formatGoDurationMs(latencyMs),
      client,
      client_network: transport,
    });
    return reply;
  }

  async #answerOwn(query: Query, labels: readonly string[], transport: Transport, client: string): Promise<Answer> {
    const answer = emptyAnswer(responseCode.NOERROR);
    switch (query.type) {
      case recordType.SOA: {
        const servers = await this.#nameServers();
        answer.answer = [this.#soa()];
        answer.authority = servers.records;
        answer.additional = servers.glue;
        return answer;
      }
      case recordType.NS: {
        const servers = await this.#nameServers();
        answer.answer = servers.records;
        answer.additional = servers.glue;
        return answer;
      }
      case recordType.AXFR:
        return emptyAnswer(responseCode.NOTIMP);
      default:
        return await this.#lookUp(query, labels, transport, resolutionDepthMax, client);
    }
  }

  /** Answers a name of our zone by what it asks for. */
  async #lookUp(
    question: LimitedQuestion,
    labels: readonly string[],
    transport: Transport,
    depth: number,
    client = '',
  ): Promise<Answer> {
    const lookup = lookupOf(labels, question.type, this.#domains);
    try {
      switch (lookup.kind) {
        case 'node':
          return await this.#lookUpNode(question, lookup, depth);
        case 'service':
          return await this.#lookUpService(question, lookup, transport, depth);
        case 'query':
          return await this.#lookUpQuery(question, lookup, transport, depth, client);
        case 'address':
          return this.#lookUpAddress(lookup);
        case 'invalid':
          this.#logger.warn('QName invalid', { qname: question.name.text });
          return this.#notFound(responseCode.NXDOMAIN);
      }
    } catch (error) {
      if (error instanceof DnsFormatError) throw error;
      if (isUnknownDatacenter(error) || isUnknownQuery(error)) return this.#notFound(responseCode.NXDOMAIN);
      this.#logger.error('rpc error', { error: messageOf(error) });
      return emptyAnswer(responseCode.SERVFAIL);
    }
  }

  async #lookUpNode(
    question: LimitedQuestion,
    lookup: Extract<Lookup, { kind: 'node' }>,
    depth: number,
  ): Promise<Answer> {
    const { type } = question;
    const answer = emptyAnswer(responseCode.NOERROR);
    const wantsMeta = type === recordType.ANY || type === recordType.TXT;
    if (!wantsMeta && type !== recordType.A && type !== recordType.AAAA) return answer;
    const node = await this.#catalog.node(lookup.datacenter || this.#options.datacenter, lookup.node);
    if (node === null) return this.#notFound(responseCode.NXDOMAIN);

    if (type !== recordType.TXT) {
      const text = nodeAddress(node, this.#wan(node.Datacenter || lookup.datacenter), type);
      const address = parseAddress(text);
      if (address === null) {
        const target = this.#nameOrNull(text);
        if (target !== null) {
          answer.answer.push(cnameRecord(null, this.#nodeTtl, target), ...(await this.#resolve(target, depth)));
        }
      } else if (familyFits(type, address)) answer.answer.push(addressRecord(null, this.#nodeTtl, address));
    }
    // Metadata is a map: its order means nothing, and must not look as if it did.
    if (wantsMeta || this.#options.nodeMetaTxt) {
      const meta = this.#shuffled(metaRecords(null, this.#nodeTtl, node.Meta));
      (wantsMeta ? answer.answer : answer.additional).push(...meta);
    }
    return answer;
  }

  async #lookUpService(
    question: LimitedQuestion,
    lookup: Extract<Lookup, { kind: 'service' }>,
    transport: Transport,
    depth: number,
  ): Promise<Answer> {
    const datacenter = lookup.datacenter || this.#options.datacenter;
    const ttl = serviceTtlSeconds(this.#options.serviceTtlMs, lookup.service);
    const found = await this.#catalog.serviceInstances(datacenter, lookup);
    const settings = this.#instanceSettings(datacenter);
    const prepared = this.#instances.get(found, this.#options.onlyPassing, question.type, ttl, settings);
    if (prepared === null) return this.#notFound(responseCode.NXDOMAIN);
    return await this.#answerInstances(question, this.#shuffled(prepared), ttl, transport, depth);
  }

  /** A prepared query has filtered and sorted its result itself (reference/dns.md §6.4). */
  async #lookUpQuery(
    question: LimitedQuestion,
    lookup: Extract<Lookup, { kind: 'query' }>,
    transport: Transport,
    depth: number,
    client: string,
  ): Promise<Answer> {
    const subnet = question.edns?.clientSubnet;
    const result = await this.#catalog.executeQuery(lookup.datacenter || this.#options.datacenter, lookup.query, {
      node: this.#options.nodeName,
      datacenter: this.#options.datacenter,
      clientIp: subnet ? subnetAddress(subnet) : hostOf(client),
    });
    if (result.Nodes.length === 0) return this.#notFound(responseCode.NXDOMAIN);
    const { TTL } = result.DNS;
    const ttl =
      TTL === ''
        ? serviceTtlSeconds(this.#options.serviceTtlMs, result.Service)
        : Math.trunc(parseGoDurationMs(TTL) / 1000);
    const settings = this.#instanceSettings(result.Datacenter);
    const prepared = prepareInstances(result.Nodes, preparedType(question.type), ttl, settings);
    const answer = await this.#answerInstances(question, prepared, ttl, transport, depth);
    return { ...answer, dependsOnClient: true };
  }

  readonly #leaveOut = (error: DnsFormatError): void => {
    this.#logger.warn('A record was left out of DNS answers because it cannot be written', { error: error.message });
  };

  /** The name, or null when DNS cannot hold it; then the record that would carry it is left out. */
  #nameOrNull(text: string): Name | null {
    try {
      return parseName(text);
    } catch (error) {
      if (!(error instanceof DnsFormatError)) throw error;
      this.#leaveOut(error);
      return null;
    }
  }

  #instanceSettings(datacenter: string): InstanceSettings {
    return {
      datacenter,
      domain: this.#domains.primary,
      wan: this.#wan(datacenter),
      nodeMetaTxt: this.#options.nodeMetaTxt,
      onLeftOut: this.#leaveOut,
    };
  }

  /** The answer that prepared instances give, in their order: built and limited. */
  async #answerInstances(
    question: LimitedQuestion,
    prepared: Iterable<Instance>,
    ttl: number,
    transport: Transport,
    depth: number,
  ): Promise<Answer> {
    const answer = emptyAnswer(responseCode.NOERROR);
    // What lies beyond the first record too many is cut anyway.
    const enough = transport === 'udp' ? udpRecordLimit(question.edns, this.#options.udpAnswerLimit) + 1 : Infinity;
    if (question.type === recordType.SRV) await this.#collectSrv(question, prepared, ttl, depth, enough, answer);
    else await this.#collectAddresses(question, prepared, ttl, depth, enough, answer);
    const trimmed = limitSections(transport, question, answer, this.#options);
    answer.truncated = trimmed && this.#options.enableTruncate;
    if (answer.answer.length === 0 && !answer.truncated) answer.authority = [this.#soa()];
    return answer;
  }

  async #collectAddresses(
    question: LimitedQuestion,
    prepared: Iterable<Instance>,
    ttl: number,
    depth: number,
    enough: number,
    into: MutableSections,
  ): Promise<void> {
    const seen = new Set<string>();
    let hostName: HostName | null = null;
    let instances = 0;
    for (const instance of prepared) {
      const target = targetFor(instance, question.name);
      if (target.kind === 'hostName') {
        hostName ??= target;
        continue;
      }
      if (target.answer.length === 0 || seen.has(target.key)) continue;
      seen.add(target.key);
      into.answer.push(...target.answer);
      instances++;
      if (instances === this.#options.aRecordLimit || into.answer.length >= enough) return;
    }
    if (into.answer.length > 0 || hostName === null) return;
    into.answer.push(hostName.first, ...(await this.#resolveForService(hostName.name, question.edns, ttl, depth)));
  }

  async #collectSrv(
    question: LimitedQuestion,
    prepared: Iterable<Instance>,
    ttl: number,
    depth: number,
    enough: number,
    into: MutableSections,
  ): Promise<void> {
    const seen = new Set<string>();
    let resolutions = 0;
    for (const instance of prepared) {
      if (seen.has(instance.srvKey)) continue;
      seen.add(instance.srvKey);
      const target = targetFor(instance, question.name);
      if (target.kind === 'address') {
        into.answer.push(...target.answer);
        into.additional.push(...target.additional);
      } else {
        into.answer.push(target.first);
        if (resolutions++ < resolutionsMax) {
          into.additional.push(...(await this.#resolveForService(target.name, question.edns, ttl, depth)));
        }
      }
      into.additional.push(...instance.meta);
      if (into.answer.length >= enough) return;
    }
  }

  /** Uniformly random order, drawn as far as it is read. */
  *#shuffled<T>(items: readonly T[]): Generator<T> {
    const pool = items.slice();
    for (let i = 0; i < pool.length; i++) {
      const j = i + Math.floor(this.#random.next() * (pool.length - i));
      const drawn = pool[j]!;
      pool[j] = pool[i]!;
      pool[i] = drawn;
      yield drawn;
    }
  }

  #lookUpAddress({ owner, address }: Extract<Lookup, { kind: 'address' }>): Answer {
    const answer = emptyAnswer(responseCode.NOERROR);
    if (address !== null) answer.answer = [addressRecord(parseName(owner), this.#nodeTtl, address)];
    return answer;
  }

  /** CNAME, A and AAAA records a host name leads to, as services answer them. */
  async #resolveForService(name: Name, edns: Edns | null, ttl: number, depth: number): Promise<ResourceRecord[]> {
    const resolved = await this.#resolve(name, depth);
    const kept = edns === null ? resolved.slice(0, resolvedRecordsMax) : resolved;
    return kept.map((record) => ({ ...record, ttl }));
  }

  async #resolve(name: Name, depth: number): Promise<ResourceRecord[]> {
    const labels = lookupLabels(name);
    let found: readonly ResourceRecord[];
    if (zoneOf(labels, this.#domains) === 'own') {
      if (depth < 1) {
        this.#logger.error("Infinite recursion detected for name, won't perform any CNAME resolution.", {
          name: name.text,
        });
        return [];
      }
      const question = { name, type: recordType.ANY, class: classIN, edns: null };
      found = (await this.#lookUp(question, labels, 'udp', depth - 1)).answer;
    } else found = await this.#forwarder.resolve(name);
    return found
      .filter(({ type }) => type === recordType.CNAME || type === recordType.A || type === recordType.AAAA)
      .map((record) => (record.owner === null ? { ...record, owner: name } : record));
  }

  async #respondReverse(
    query: Query,
    labels: readonly string[],
    transport: Transport,
    client: string,
  ): Promise<Buffer | null> {
    const startedMs = this.#clock.monotonicMs();
    const target = await this.#reverseTarget(labels);
    if (target === null) return await this.#forward(query, transport, client);
    const answer = emptyAnswer(responseCode.NOERROR);
    answer.answer = [target];
    if (query.type === recordType.SOA) answer.authority = [this.#soa()];
    const reply = this.#write(query, answer, {
      authoritative: true,
      recursionAvailable: this.#forwarder.available,
      edns: query.edns,
    });
    const latencyMs = this.#clock.monotonicMs() - startedMs;
    this.#metrics.sample(['dns', 'ptr_query'], latencyMs, this.#metricLabels);
    this.#logger.debug('request served from client', {
      question: query.name.text,
      latency: formatGoDurationMs(latencyMs),
      client,
      client_network: transport,
    });
    return reply;
  }

  /** PTR to the node, else to the service, at the address that a reverse name stands for. */
  async #reverseTarget(labels: readonly string[]): Promise<ResourceRecord | null> {
    const address = addressOfReverseName(labels);
    if (address === null) return null;
    const { datacenter } = this.#options;
    const domain = this.#domains.primary;
    try {
      const nodes = await this.#catalog.nodes(datacenter);
      const entry = this.#indexByAddress(nodes).get(addressToHex(address));
      if (entry !== undefined) {
        return (entry.record ??= this.#pointTo(`${entry.node}.node.${datacenter}.${domain}`));
      }
      const [instance] = await this.#catalog.instancesAt(datacenter, addressToText(address));
      return instance === undefined ? null : this.#pointTo(`${instance.ServiceName}.service.${datacenter}.${domain}`);
    } catch (error) {
      this.#logger.error('rpc error', { error: messageOf(error) });
      return null;
    }
  }

  #pointTo(text: string): ResourceRecord | null {
    const target = this.#nameOrNull(text);
    return target === null ? null : ptrRecord(null, target);
  }

  #indexByAddress(nodes: readonly Node[]): ReadonlyMap<string, ReverseEntry> {
    const found = this.#nodesByAddress.get(nodes);
    if (found !== undefined) return found;
    const index = new Map<string, ReverseEntry>();
    for (const node of nodes) {
      const address = parseAddress(node.Address);
      const key = address === null ? '' : addressToHex(address);
      if (key !== '' && !index.has(key)) index.set(key, { node: node.Node, record: null });
    }
    this.#nodesByAddress.set(nodes, index);
    return index;
  }

  /** Passes the query on; SERVFAIL when no recursor is there or none has an answer. */
  async #forward(query: Query, transport: Transport, client: string): Promise<Buffer> {
    const startedMs = this.#clock.monotonicMs();
    const reply = await this.#forwarder.forward(query, transport);
    if (reply === null) {
      this.#logger.error('all resolvers failed for question from client', {
        question: query.name.text,
        client,
        client_network: transport,
      });
    }
    this.#logger.debug('request served from client', {
      question: query.name.text,
      network: transport,
      latency: formatGoDurationMs(this.#clock.monotonicMs() - startedMs),
      client,
      client_network: transport,
    });
    const failed = { authoritative: false, recursionAvailable: true, edns: query.edns };
    return reply ?? this.#write(query, emptyAnswer(responseCode.SERVFAIL), failed);
  }

  /** NS records and glue of up to three healthy servers, in random order. */
  async #nameServers(): Promise<{ readonly records: ResourceRecord[]; readonly glue: ResourceRecord[] }> {
    const { datacenter } = this.#options;
    const records: ResourceRecord[] = [];
    const glue: ResourceRecord[] = [];
    let found: readonly CheckServiceNode[];
    try {
      found = await this.#catalog.serviceInstances(datacenter, nameServerService);
    } catch (error) {
      this.#logger.error('rpc error', { error: messageOf(error) });
      return { records, glue };
    }
    const usable = healthy(found, this.#options.onlyPassing);
    if (usable.length === 0) this.#logger.warn('no servers found');
    for (const { Node } of this.#shuffled(usable)) {
      if (!validNodeName.test(Node.Node)) {
        this.#logger.warn('Skipping invalid node for NS records', { node: Node.Node });
        continue;
      }
      const target = this.#nameOrNull(`${Node.Node}.node.${datacenter}.${this.#domains.primary}`.toLowerCase());
      if (target === null) continue;
      records.push(nsRecord(this.#primaryName, this.#nodeTtl, target));
      const address = parseAddress(nodeAddress(Node, false, recordType.ANY));
      if (address !== null) glue.push(addressRecord(target, this.#nodeTtl, address));
      if (records.length === nameServersMax) break;
    }
    return { records, glue };
  }

  #notFound(code: number): Answer {
    const answer = emptyAnswer(code);
    answer.authority = [this.#soa()];
    return answer;
  }

  /** Changes once a second. */
  #soa(): ResourceRecord {
    const unixSeconds = Math.floor(this.#clock.wallMs() / 1000);
    if (this.#soaOfSecond?.unixSeconds !== unixSeconds) {
      const record = soaRecord(this.#domains.primary, this.#options.soa, unixSeconds);
      this.#soaOfSecond = { unixSeconds, record };
    }
    return this.#soaOfSecond.record;
  }

  /** Whether addresses for far clients are answered for records of this datacenter. */
  #wan(datacenter: string): boolean {
    return this.#options.translateWanAddrs && datacenter !== '' && datacenter !== this.#options.datacenter;
  }

  #write(
    query: Query,
    answer: Answer,
    header: { readonly authoritative: boolean; readonly recursionAvailable: boolean; readonly edns: Edns | null },
  ): Buffer {
    const flags = replyFlags(query, {
      code: answer.code,
      authoritative: header.authoritative,
      recursionAvailable: header.recursionAvailable,
      truncated: answer.truncated,
    });
    const opt = header.edns === null ? null : optRecord(header.edns, answer.dependsOnClient ?? false);
    return writeMessage(query.id, flags, query, answer, { compress: !this.#options.disableCompression, opt });
  }
}

/** Echoes the client's EDNS with its subnet option; the scope is that subnet, or 0 when the answer is for everybody. */
function optRecord({ udpSize, clientSubnet }: Edns, dependsOnClient: boolean): OptRecord {
  if (clientSubnet === null) return { udpSize, data: noOptions };
  const { family, sourcePrefix, address } = clientSubnet;
  const head = Buffer.alloc(8);
  head.writeUInt16BE(8, 0);
  head.writeUInt16BE(4 + address.length, 2);
  head.writeUInt16BE(family, 4);
  head[6] = sourcePrefix;
  head[7] = dependsOnClient ? sourcePrefix : 0;
  return { udpSize, data: Buffer.concat([head, address]) };
}

/** The subnet's address in full: the option leaves its last bytes out. */
function subnetAddress({ family, address }: ClientSubnet): string {
  const full = new Uint8Array(family === 1 ? 4 : 16);
  full.set(address.subarray(0, full.length));
  return addressToText(full);
}

/** `address:port` without the port. */
function hostOf(client: string): string {
  return client.replace(/:\d+$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
}

const noOptions = new Uint8Array(0);

function targetFor({ target }: Instance, questionName: Name): Instance['target'] {
  return target.kind === 'hostName' && target.self !== null && target.name.text === questionName.text
    ? target.self
    : target;
}

function emptyAnswer(code: number): Answer {
  return { code, truncated: false, answer: [], authority: [], additional: [] };
}
