/**
 * The catalog's tables: nodes, the services on them, and the checks of both. Secondary structures answer every read in
 * time proportional to its result: by service name, by Connect target, by address, by check state.
 *
 * Answers are cached. A joined row ({@link CheckServiceNode}, {@link ServiceNode}) is the same frozen object until
 * something it shows has changed, and an answer is the same frozen array until one of its rows has. So encoded forms
 * can be kept in a WeakMap keyed by a row, or by a whole answer, and never go stale (DESIGN rule 4).
 *
 * Names compare lower-cased; lists are ordered by node name, then service or check id (reference/http-api.md §4.4).
 * This file knows where rows are; which index rows a write moves is in catalog-writes.ts.
 */
import { invariant } from '../lib/index.ts';
import { connectProxyKind } from '../model/index.ts';
import type { CheckServiceNode, HealthCheck, Node, NodeInfo, NodeService, ServiceNode } from '../model/index.ts';
import { OrderedMap } from './ordered-map.ts';

/** The answer without rows, everywhere. */
export const noRows: readonly never[] = Object.freeze([]);

/** A list of rows in order, and the answer made of them, kept until a row changes. */
class Rows<T> {
  readonly map = new OrderedMap<T>();
  #answer: readonly T[] | undefined;

  get answer(): readonly T[] {
    return (this.#answer ??= this.map.size === 0 ? noRows : Object.freeze(this.map.values()));
  }

  set(key: string, row: T): void {
    this.map.set(key, row);
    this.#answer = undefined;
  }

  delete(key: string): void {
    this.map.delete(key);
    this.#answer = undefined;
  }
}

/** The node's columns and everything on it. */
export class NodeEntry {
  readonly key: string;
  node: Node;
  /** By lower-cased service id. */
  readonly services = new OrderedMap<Instance>();
  /** All checks of the node, by lower-cased check id. */
  readonly checks = new Rows<HealthCheck>();
  /** Those that belong to no service. */
  readonly nodeChecks = new Rows<HealthCheck>();
  #serviceList: readonly NodeService[] | undefined;
  #serviceMap: Readonly<Record<string, NodeService>> | undefined;
  #info: NodeInfo | undefined;

  constructor(key: string, node: Node) {
    this.key = key;
    this.node = node;
  }

  get serviceList(): readonly NodeService[] {
    return (this.#serviceList ??= Object.freeze(this.services.values().map((instance) => instance.service)));
  }

  /** By service id as written. */
  get serviceMap(): Readonly<Record<string, NodeService>> {
    return (this.#serviceMap ??= Object.freeze(
      Object.fromEntries(this.serviceList.map((service) => [service.ID, service])),
    ));
  }

  get info(): NodeInfo {
    const { ID, Node, Address, TaggedAddresses, Meta } = this.node;
    return (this.#info ??= Object.freeze({
      ID,
      Node,
      Address,
      TaggedAddresses,
      Meta,
      Services: this.serviceList,
      Checks: this.checks.answer,
    }));
  }

  /** Forgets what was made of rows that have changed. */
  forget(): void {
    this.#serviceList = undefined;
    this.#serviceMap = undefined;
    this.#info = undefined;
  }
}

/** One service on one node. */
export class Instance {
  readonly on: NodeEntry;
  /** Orders by node name, then service id. */
  readonly key: string;
  readonly service: NodeService;
  readonly checks: Rows<HealthCheck>;
  /** The lists it is in. */
  readonly groups: ServiceGroup[] = [];
  #health: CheckServiceNode | undefined;
  #catalog: ServiceNode | undefined;

  constructor(on: NodeEntry, service: NodeService, checks: Rows<HealthCheck>) {
    this.on = on;
    this.key = joinedKey(on.key, service.ID.toLowerCase());
    this.service = service;
    this.checks = checks;
  }

  /** Node checks by id, then the service's by id. */
  get health(): CheckServiceNode {
    return (this.#health ??= Object.freeze({
      Node: this.on.node,
      Service: this.service,
      Checks: Object.freeze([...this.on.nodeChecks.answer, ...this.checks.answer]),
    }));
  }

  get catalog(): ServiceNode {
    const { node } = this.on;
    const { service } = this;
    return (this.#catalog ??= Object.freeze({
      ID: node.ID,
      Node: node.Node,
      Address: node.Address,
      Datacenter: node.Datacenter,
      TaggedAddresses: node.TaggedAddresses,
      NodeMeta: node.Meta,
      ServiceKind: service.Kind,
      ServiceID: service.ID,
      ServiceName: service.Service,
      ServiceTags: service.Tags ?? noTags,
      ServiceAddress: service.Address,
      ServiceTaggedAddresses: service.TaggedAddresses,
      ServiceWeights: service.Weights ?? defaultWeights,
      ServiceMeta: service.Meta ?? noMeta,
      ServicePort: service.Port,
      ServiceEnableTagOverride: service.EnableTagOverride,
      ServiceProxy: service.Proxy,
      ServiceConnect: service.Connect,
      CreateIndex: service.CreateIndex,
      ModifyIndex: service.ModifyIndex,
    }));
  }

  /** A check changed: only the health row shows it. */
  forgetHealth(): void {
    this.#health = undefined;
    for (const group of this.groups) group.forgetHealth();
  }

  forget(): void {
    this.#catalog = undefined;
    this.forgetHealth();
    for (const group of this.groups) group.forget();
  }
}

/** Instances that are listed together: those of one service name, of one Connect target, at one address. */
export class ServiceGroup {
  /** Name as in the secondary structure, lower-cased. */
  readonly name: string;
  readonly instances = new OrderedMap<Instance>();
  #health: readonly CheckServiceNode[] | undefined;
  #catalog: readonly ServiceNode[] | undefined;
  #tags: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get health(): readonly CheckServiceNode[] {
    return (this.#health ??= Object.freeze(this.instances.values().map((instance) => instance.health)));
  }

  get catalog(): readonly ServiceNode[] {
    return (this.#catalog ??= Object.freeze(this.instances.values().map((instance) => instance.catalog)));
  }

  /** Service name as written → union of its instances' tags, in order of first appearance. */
  get tags(): ReadonlyMap<string, readonly string[]> {
    return (this.#tags ??= unionOfTags(this.instances.values().map((instance) => instance.service)));
  }

  forgetHealth(): void {
    this.#health = undefined;
  }

  forget(): void {
    this.#health = undefined;
    this.#catalog = undefined;
    this.#tags = undefined;
  }
}

/** Service name as written → the union of the tags. */
export function unionOfTags(services: readonly NodeService[]): Map<string, readonly string[]> {
  const tags = new Map<string, Set<string>>();
  for (const service of services) {
    let union = tags.get(service.Service);
    if (union === undefined) tags.set(service.Service, (union = new Set()));
    for (const tag of service.Tags ?? noTags) union.add(tag);
  }
  return new Map([...tags].map(([name, union]) => [name, Object.freeze([...union])]));
}

const noTags: readonly string[] = Object.freeze([]);
const noMeta: Readonly<Record<string, string>> = Object.freeze({});
const defaultWeights = Object.freeze({ Passing: 1, Warning: 1 });

/** NUL sorts before every character of a name. */
function joinedKey(node: string, id: string): string {
  return `${node}\0${id}`;
}

/** Groups by name; a group without members does not exist. */
class Groups {
  readonly #groups = new Map<string, ServiceGroup>();

  get(name: string): ServiceGroup | undefined {
    return this.#groups.get(name);
  }

  values(): IterableIterator<ServiceGroup> {
    return this.#groups.values();
  }

  add(name: string, instance: Instance): void {
    let group = this.#groups.get(name);
    if (group === undefined) this.#groups.set(name, (group = new ServiceGroup(name)));
    group.instances.set(instance.key, instance);
    instance.groups.push(group);
    group.forget();
  }

  remove(name: string, instance: Instance): void {
    const group = this.#groups.get(name);
    invariant(group !== undefined && group.instances.delete(instance.key), `${instance.key} is in group ${name}`);
    instance.groups.splice(instance.groups.indexOf(group), 1);
    group.forget();
    if (group.instances.size === 0) this.#groups.delete(name);
  }
}

/** Checks by a column; a list without members does not exist. */
class CheckLists {
  readonly #lists = new Map<string, Rows<HealthCheck>>();

  answer(column: string): readonly HealthCheck[] {
    return this.#lists.get(column)?.answer ?? noRows;
  }

  add(column: string, key: string, check: HealthCheck): void {
    let list = this.#lists.get(column);
    if (list === undefined) this.#lists.set(column, (list = new Rows()));
    list.set(key, check);
  }

  remove(column: string, key: string): void {
    const list = this.#lists.get(column);
    list?.delete(key);
    if (list?.map.size === 0) this.#lists.delete(column);
  }
}

/** What service an instance stands for in the mesh: a proxy's destination, or itself when it speaks Connect. */
export function connectTargetOf(service: NodeService): string | undefined {
  if (service.Kind === connectProxyKind) return service.Proxy.DestinationServiceName?.toLowerCase();
  return service.Connect.Native ? service.Service.toLowerCase() : undefined;
}

export class Catalog {
  readonly #nodes = new Rows<NodeEntry>();
  /** Lower-cased node id → node; only nodes that have one. */
  readonly #nodeIds = new OrderedMap<NodeEntry>();
  readonly #services = new Groups();
  readonly #connect = new Groups();
  /** By the address an instance answers at: its own, else its node's. */
  readonly #addresses = new Groups();
  readonly #checksInState = new CheckLists();
  readonly #checksOfService = new CheckLists();
  #nodeList: readonly Node[] | undefined;
  #allChecks: readonly HealthCheck[] | undefined;
  #tagsByService: Readonly<Record<string, readonly string[]>> | undefined;
  #nodeInfos: readonly NodeInfo[] | undefined;

  /** By name, without regard to case. */
  node(name: string): NodeEntry | undefined {
    return this.#nodes.map.get(name.toLowerCase());
  }

  nodeById(id: string): NodeEntry | undefined {
    return this.#nodeIds.get(id.toLowerCase());
  }

  /** The node whose id begins with `prefix`, if there is exactly one. */
  nodeByIdPrefix(prefix: string): NodeEntry | undefined {
    const found = this.#nodeIds.firstOfPrefix(prefix.toLowerCase(), 2);
    return found.length === 1 ? found[0] : undefined;
  }

  nodes(): readonly NodeEntry[] {
    return this.#nodes.answer;
  }

  /** Instances of a service, by name without regard to case; undefined when there is none. */
  service(name: string): ServiceGroup | undefined {
    return this.#services.get(name) ?? this.#services.get(name.toLowerCase());
  }

  connect(name: string): ServiceGroup | undefined {
    return this.#connect.get(name.toLowerCase());
  }

  atAddress(address: string): ServiceGroup | undefined {
    return this.#addresses.get(address);
  }

  checksInState(state: string): readonly HealthCheck[] {
    return this.#checksInState.answer(state);
  }

  checksOfService(name: string): readonly HealthCheck[] {
    return this.#checksOfService.answer(name.toLowerCase());
  }

  get nodeList(): readonly Node[] {
    return (this.#nodeList ??= Object.freeze(this.#nodes.answer.map((entry) => entry.node)));
  }

  get allChecks(): readonly HealthCheck[] {
    return (this.#allChecks ??= Object.freeze(this.#nodes.answer.flatMap((entry) => entry.checks.answer)));
  }

  get nodeInfos(): readonly NodeInfo[] {
    return (this.#nodeInfos ??= Object.freeze(this.#nodes.answer.map((entry) => entry.info)));
  }

  /** Service name → union of its instances' tags, ordered by name. */
  get tagsByService(): Readonly<Record<string, readonly string[]>> {
    if (this.#tagsByService === undefined) {
      const groups = [...this.#services.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const entries = groups.flatMap((group) => [...group.tags]);
      this.#tagsByService = Object.freeze(Object.fromEntries(entries));
    }
    return this.#tagsByService;
  }

  /** Writes the node's columns; what is on it stays. */
  putNode(node: Node): NodeEntry {
    const key = node.Node.toLowerCase();
    let entry = this.#nodes.map.get(key);
    if (entry === undefined) {
      entry = new NodeEntry(key, node);
      this.#nodes.set(key, entry);
    } else {
      this.#forgetId(entry);
      const moved = entry.node.Address !== node.Address;
      const instances = entry.services.values();
      if (moved) for (const instance of instances) this.#addresses.remove(addressOf(instance), instance);
      entry.node = node;
      if (moved) for (const instance of instances) this.#addresses.add(addressOf(instance), instance);
      for (const instance of instances) instance.forget();
      entry.forget();
    }
    if (node.ID !== '') this.#nodeIds.set(node.ID.toLowerCase(), entry);
    this.#nodeList = undefined;
    this.#nodeInfos = undefined;
    return entry;
  }

  /** The node must be empty. */
  dropNode(entry: NodeEntry): void {
    invariant(entry.services.size === 0 && entry.checks.map.size === 0, `node ${entry.key} is empty when it goes`);
    this.#nodes.delete(entry.key);
    this.#forgetId(entry);
    this.#nodeList = undefined;
    this.#nodeInfos = undefined;
  }

  putService(entry: NodeEntry, service: NodeService): void {
    const key = service.ID.toLowerCase();
    const before = entry.services.get(key);
    if (before !== undefined) this.#unlink(before);
    const instance = new Instance(entry, service, before?.checks ?? new Rows());
    entry.services.set(key, instance);
    this.#services.add(service.Service.toLowerCase(), instance);
    const target = connectTargetOf(service);
    if (target !== undefined) this.#connect.add(target, instance);
    this.#addresses.add(addressOf(instance), instance);
    this.#forgetServices(entry);
  }

  /** The service must have no checks. */
  dropService(instance: Instance): void {
    invariant(instance.checks.map.size === 0, `service ${instance.key} has no checks when it goes`);
    instance.on.services.delete(instance.service.ID.toLowerCase());
    this.#unlink(instance);
    this.#forgetServices(instance.on);
  }

  putCheck(entry: NodeEntry, check: HealthCheck): void {
    const id = check.CheckID.toLowerCase();
    const before = entry.checks.map.get(id);
    if (before !== undefined) this.#unlinkCheck(entry, before);
    entry.checks.set(id, check);
    const key = joinedKey(entry.key, id);
    this.#checksInState.add(check.Status, key, check);
    if (check.ServiceName !== '') this.#checksOfService.add(check.ServiceName.toLowerCase(), key, check);
    if (check.ServiceID === '') {
      entry.nodeChecks.set(id, check);
    } else {
      const instance = entry.services.get(check.ServiceID.toLowerCase());
      invariant(instance !== undefined, `service ${check.ServiceID} of check ${check.CheckID} exists`);
      instance.checks.set(id, check);
    }
    this.#forgetCheck(entry, check);
  }

  dropCheck(entry: NodeEntry, check: HealthCheck): void {
    entry.checks.delete(check.CheckID.toLowerCase());
    this.#unlinkCheck(entry, check);
  }

  #unlink(instance: Instance): void {
    this.#services.remove(instance.service.Service.toLowerCase(), instance);
    const target = connectTargetOf(instance.service);
    if (target !== undefined) this.#connect.remove(target, instance);
    this.#addresses.remove(addressOf(instance), instance);
  }

  #unlinkCheck(entry: NodeEntry, check: HealthCheck): void {
    const id = check.CheckID.toLowerCase();
    const key = joinedKey(entry.key, id);
    this.#checksInState.remove(check.Status, key);
    if (check.ServiceName !== '') this.#checksOfService.remove(check.ServiceName.toLowerCase(), key);
    if (check.ServiceID === '') entry.nodeChecks.delete(id);
    else entry.services.get(check.ServiceID.toLowerCase())?.checks.delete(id);
    this.#forgetCheck(entry, check);
  }

  #forgetCheck(entry: NodeEntry, check: HealthCheck): void {
    if (check.ServiceID === '') entry.services.forEach((instance) => instance.forgetHealth());
    else entry.services.get(check.ServiceID.toLowerCase())?.forgetHealth();
    entry.forget();
    this.#allChecks = undefined;
    this.#nodeInfos = undefined;
  }

  #forgetServices(entry: NodeEntry): void {
    entry.forget();
    this.#tagsByService = undefined;
    this.#nodeInfos = undefined;
  }

  #forgetId(entry: NodeEntry): void {
    const id = entry.node.ID.toLowerCase();
    if (id !== '' && this.#nodeIds.get(id) === entry) this.#nodeIds.delete(id);
  }
}

function addressOf(instance: Instance): string {
  return instance.service.Address === '' ? instance.on.node.Address : instance.service.Address;
}
