/**
 * The replicated state machine: commands in, in log order; answers out, each with the index its watchers wait on.
 * Nothing here waits, and the same commands give the same state everywhere (DESIGN rule 1).
 *
 * Every query takes an optional list to which it adds what its answer depends on; give it to {@link StateStore.watch}
 * to be woken when that changes. Rows are frozen and the same objects as long as they say the same. So are whole
 * answers, except those put together per request: a KV prefix, one node's dump, services of selected nodes
 * (see catalog.ts, kv-table.ts).
 */
import { type ByteString, invariant } from '../lib/index.ts';
import {
  type CheckServiceNode,
  type DirEntry,
  type FederationState,
  type HealthCheck,
  type Intention,
  type Node,
  type NodeCoordinate,
  type NodeInfo,
  type NodeService,
  type PreparedQuery,
  type ServiceNode,
  type Session,
  type TxnOp,
  type TxnResponse,
  isTxnRead,
} from '../model/index.ts';
import { aclAppliers, type AclSnapshot, type AclTables } from './acl.ts';
import { type Catalog, type NodeEntry, noRows, type ServiceGroup, unionOfTags } from './catalog.ts';
import type { CommandName, CommandOf, CommandResult } from './command.ts';
import { applyCoordinates, type CoordinateTable } from './coordinates.ts';
import { applyAutopilot, type AutopilotRow } from './autopilot.ts';
import { applyConfigEntry, type ConfigEntryTable } from './config-entry.ts';
import { applyCaLeaf, applyConnectCa, type ConnectCaTables } from './connect-ca.ts';
import { applyDeregister } from './deregister.ts';
import { applyFederationState, type FederationStateTable } from './federation-states.ts';
import { type IndexRows, type IndexRow, serviceLastExtinction, serviceRow } from './index-rows.ts';
import { applyIntention, type IntentionTable } from './intention.ts';
import type { KvTable, Tombstone } from './kv-table.ts';
import { applyKvs } from './kvs.ts';
import { applyPreparedQuery, type QueryTable } from './prepared-query.ts';
import { applyRegister } from './register.ts';
import type { SessionChange, SessionTable } from './session-table.ts';
import { applySession } from './session.ts';
import { applyTombstone } from './tombstone.ts';
import { newTables, type Tables } from './tables.ts';
import { Transaction } from './transaction.ts';
import { applyTxn, runTxn } from './txn.ts';
import { watchKeys, Watches } from './watches.ts';

/** What a query says, and the index it says it at; 1 or more. */
export interface Answer<T> {
  readonly index: number;
  readonly result: T;
}

/** The state at one index, for a snapshot. Later commands do not reach it. */
export interface StateSnapshot {
  readonly lastIndex: number;
  readonly nodes: readonly NodeInfo[];
  readonly nodeRows: readonly Node[];
  readonly kv: KvTable;
  readonly sessions: readonly Session[];
  readonly coordinates: readonly NodeCoordinate[];
  readonly queries: readonly PreparedQuery[];
  readonly intentions: readonly Intention[];
  readonly configEntries: ConfigEntryTable['all'];
  readonly autopilot: AutopilotRow['config'];
  readonly connectCa: ReturnType<ConnectCaTables['snapshot']>;
  readonly federationStates: readonly FederationState[];
  readonly acl: AclSnapshot;
  readonly indexRows: readonly IndexRow[];
}

type WatchList = string[] | undefined;

const appliers: {
  readonly [T in CommandName]: (tables: Tables, tx: Transaction, request: CommandOf<T>['request']) => CommandResult<T>;
} = {
  ...aclAppliers,
  Register: applyRegister,
  Deregister: applyDeregister,
  KVS: applyKvs,
  Session: applySession,
  Tombstone: applyTombstone,
  Txn: applyTxn,
  Coordinate: applyCoordinates,
  PreparedQuery: applyPreparedQuery,
  Autopilot: applyAutopilot,
  Intention: applyIntention,
  ConnectCA: applyConnectCa,
  ConnectCALeaf: applyCaLeaf,
  ConfigEntry: applyConfigEntry,
  FederationState: applyFederationState,
};

export class StateStore {
  readonly #watches = new Watches();
  readonly #sessionListeners = new Set<(change: SessionChange) => void>();
  /** Replaced as a whole by a restore: nobody keeps a table. */
  #tables: Tables = newTables();
  #lastIndex = 0;
  #replacements = 0;

  /** Index of the last command applied, failed ones included. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** See coordinates.ts for what can be asked. */
  get coordinates(): CoordinateTable {
    return this.#tables.coordinates;
  }

  /** See prepared-query.ts for what can be asked. */
  get queries(): QueryTable {
    return this.#tables.queries;
  }

  /** See intention.ts for what can be asked. */
  get intentions(): IntentionTable {
    return this.#tables.intentions;
  }

  get autopilot(): AutopilotRow {
    return this.#tables.autopilot;
  }

  /** See connect-ca.ts. */
  get connectCa(): ConnectCaTables {
    return this.#tables.connectCa;
  }

  /** See config-entry.ts. */
  get configEntries(): ConfigEntryTable {
    return this.#tables.configEntries;
  }

  /** See federation-states.ts. */
  get federationStates(): FederationStateTable {
    return this.#tables.federationStates;
  }

  /** See acl.ts for what can be asked. */
  get acl(): AclTables {
    return this.#tables.acl;
  }

  get #catalog(): Catalog {
    return this.#tables.catalog;
  }

  get #kv(): KvTable {
    return this.#tables.kv;
  }

  get #sessions(): SessionTable {
    return this.#tables.sessions;
  }

  get #rows(): IndexRows {
    return this.#tables.rows;
  }

  /** Index of the newest deletion in the KV table; 0 when there was none. */
  get tombstoneIndex(): number {
    return this.#rows.get('tombstones');
  }

  /** How many watch keys have watchers; for tests and metrics. */
  get watchedKeys(): number {
    return this.#watches.size;
  }

  /**
   * Applies the command logged at `index`, which must be greater than the last, then wakes who watches what it
   * changed. A failed command consumes its index and changes nothing.
   * @throws CallError the command's own failure, in the peer's words.
   */
  apply<T extends CommandName>(index: number, command: CommandOf<T>): CommandResult<T> {
    invariant(index > this.#lastIndex, `command ${index} comes after ${this.#lastIndex}`);
    this.#lastIndex = index;
    const tx = new Transaction(index, this.#watches);
    let result: CommandResult<T>;
    try {
      result = appliers[command.type](this.#tables, tx, command.request);
    } catch (error) {
      tx.rollback();
      throw error;
    }
    tx.commit();
    for (const change of tx.sessionChanges) for (const listener of this.#sessionListeners) listener(change);
    return result;
  }

  /** How often another state was put in the place of this one: indexes from before mean nothing after it. */
  get replacements(): number {
    return this.#replacements;
  }

  /**
   * Puts a restored state in the place of this one and wakes everybody who watches anything. Who follows sessions sees
   * all old ones end, without locks to keep closed, and all new ones begin.
   * @param lastIndex index of the last command that is in it.
   */
  replace(tables: Tables, lastIndex: number): void {
    const before = this.#sessions.list;
    this.#tables = tables;
    this.#lastIndex = lastIndex;
    this.#replacements++;
    this.#watches.fireAll();
    const changes: readonly SessionChange[] = [
      ...before.map((session): SessionChange => ({ kind: 'ended', session, heldKeys: [] })),
      ...this.#sessions.list.map((session): SessionChange => ({ kind: 'created', session })),
    ];
    for (const change of changes) for (const listener of this.#sessionListeners) listener(change);
  }

  /**
   * Tells of every session that begins or ends, in order, after the command that did it.
   * @returns ends that.
   */
  onSessionChange(listener: (change: SessionChange) => void): () => void {
    this.#sessionListeners.add(listener);
    return () => {
      this.#sessionListeners.delete(listener);
    };
  }

  /** See {@link Watches.watch}. */
  watch(keys: readonly string[], callback: () => void): () => void {
    return this.#watches.watch(keys, callback);
  }

  /**
   * The state as it is now. KV is copied in O(1); the catalog costs one list of references over its nodes, services and
   * checks, of which unchanged nodes are reused from the last one.
   */
  snapshot(): StateSnapshot {
    return {
      lastIndex: this.#lastIndex,
      nodes: this.#catalog.nodeInfos,
      nodeRows: this.#catalog.nodeList,
      kv: this.#kv.clone(),
      sessions: this.#sessions.list,
      coordinates: this.coordinates.list().result,
      queries: this.queries.list().result,
      intentions: this.intentions.list().result,
      configEntries: this.configEntries.all,
      autopilot: this.autopilot.config,
      connectCa: this.connectCa.snapshot(),
      federationStates: this.federationStates.list().result,
      acl: this.acl.snapshot(),
      indexRows: this.#rows.all(),
    };
  }

  nodes(watch?: WatchList): Answer<readonly Node[]> {
    watch?.push(watchKeys.nodes);
    return this.#answer(this.#rows.get('nodes'), this.#catalog.nodeList);
  }

  /** The node's row by name, without index; undefined when it is unknown. */
  node(name: string): Node | undefined {
    return this.#catalog.node(name)?.node;
  }

  /** A node's check, without index. */
  nodeCheck(node: string, checkId: string): HealthCheck | undefined {
    return this.#catalog.node(node)?.checks.map.get(checkId.toLowerCase());
  }

  /** A node's service, without index. */
  nodeService(node: string, serviceId: string): NodeService | undefined {
    return this.#catalog.node(node)?.services.get(serviceId.toLowerCase())?.service;
  }

  /**
   * Service name → union of tags.
   * @param keep only instances on nodes for which it is true.
   */
  services(watch?: WatchList, keep?: (node: Node) => boolean): Answer<Readonly<Record<string, readonly string[]>>> {
    watch?.push(watchKeys.services);
    if (keep === undefined) return this.#answer(this.#rows.get('services'), this.#catalog.tagsByService);
    watch?.push(watchKeys.nodes);
    const kept = this.#catalog.nodes().filter((entry) => keep(entry.node));
    const tags = unionOfTags(kept.flatMap((entry) => entry.serviceList));
    return this.#answer(this.#rows.max('services', 'nodes'), Object.fromEntries(tags));
  }

  /** Instances of a service as the catalog lists them. */
  serviceNodes(name: string, watch?: WatchList): Answer<readonly ServiceNode[]> {
    watch?.push(watchKeys.service(name));
    const group = this.#catalog.service(name);
    return group === undefined
      ? this.#answer(this.#absentService(false), noRows)
      : this.#answer(this.#rows.get(serviceRow(group.name)), group.catalog);
  }

  /** Instances of a service with the checks that concern them. */
  serviceHealth(name: string, watch?: WatchList): Answer<readonly CheckServiceNode[]> {
    watch?.push(watchKeys.service(name));
    const group = this.#catalog.service(name);
    return group === undefined
      ? this.#answer(this.#absentService(true), noRows)
      : this.#answer(this.#rows.get(serviceRow(group.name)), group.health);
  }

  /** Proxies for the service and its Connect-native instances. */
  connectNodes(name: string, watch?: WatchList): Answer<readonly ServiceNode[]> {
    const group = this.#connectGroup(name, watch);
    return group === undefined
      ? this.#answer(this.#absentService(false), noRows)
      : this.#answer(this.#rowOfInstances(group), group.catalog);
  }

  connectHealth(name: string, watch?: WatchList): Answer<readonly CheckServiceNode[]> {
    const group = this.#connectGroup(name, watch);
    return group === undefined
      ? this.#answer(this.#absentService(true), noRows)
      : this.#answer(this.#rowOfInstances(group), group.health);
  }

  /** Instances that answer at an address, their own or their node's. */
  servicesAtAddress(address: string, watch?: WatchList): Answer<readonly ServiceNode[]> {
    watch?.push(watchKeys.services, watchKeys.nodes);
    const group = this.#catalog.atAddress(address);
    return this.#answer(this.#rows.max('nodes', 'services'), group?.catalog ?? noRows);
  }

  /** A node, by name or by a unique beginning of its id (2 characters or more), with its services. */
  nodeServices(
    nameOrId: string,
    watch?: WatchList,
  ): Answer<{
    readonly node: Node;
    readonly list: readonly NodeService[];
    readonly map: Readonly<Record<string, NodeService>>;
  } | null> {
    let entry = this.#catalog.node(nameOrId);
    if (entry === undefined && idPrefix.test(nameOrId)) {
      // A node may come whose id fits, or a second one that makes it ambiguous.
      watch?.push(watchKeys.nodes);
      entry = this.#catalog.nodeByIdPrefix(nameOrId);
    }
    watch?.push(watchKeys.node(entry?.key ?? nameOrId));
    if (entry === undefined) return this.#answer(0, null);
    return this.#answer(this.#rows.max('nodes', 'services'), {
      node: entry.node,
      list: entry.serviceList,
      map: entry.serviceMap,
    });
  }

  nodeChecks(name: string, watch?: WatchList): Answer<readonly HealthCheck[]> {
    watch?.push(watchKeys.checksOfNode(name));
    return this.#answer(this.#rows.get('checks'), this.#catalog.node(name)?.checks.answer ?? noRows);
  }

  serviceChecks(name: string, watch?: WatchList): Answer<readonly HealthCheck[]> {
    watch?.push(watchKeys.checksOfService(name));
    return this.#answer(this.#rows.get('checks'), this.#catalog.checksOfService(name));
  }

  /** Checks in a state; `any` for all. */
  checksInState(state: string, watch?: WatchList): Answer<readonly HealthCheck[]> {
    watch?.push(state === 'any' ? watchKeys.checks : watchKeys.checksInState(state));
    const result = state === 'any' ? this.#catalog.allChecks : this.#catalog.checksInState(state);
    return this.#answer(this.#rows.get('checks'), result);
  }

  /** One node with services and checks; an empty list when it is unknown. */
  nodeInfo(name: string, watch?: WatchList): Answer<readonly NodeInfo[]> {
    watch?.push(watchKeys.node(name), watchKeys.checksOfNode(name));
    const entry: NodeEntry | undefined = this.#catalog.node(name);
    return this.#answer(this.#rows.max('nodes', 'services', 'checks'), entry === undefined ? noRows : [entry.info]);
  }

  nodeDump(watch?: WatchList): Answer<readonly NodeInfo[]> {
    watch?.push(watchKeys.nodes, watchKeys.services, watchKeys.checks);
    return this.#answer(this.#rows.max('nodes', 'services', 'checks'), this.#catalog.nodeInfos);
  }

  /** The entry of a key in a list of one, or null. */
  kvGet(key: ByteString, watch?: WatchList): Answer<readonly DirEntry[] | null> {
    watch?.push(watchKeys.kv(key));
    const found = this.#kv.answer(key);
    return found === undefined ? this.#answer(this.#kvTableIndex(), null) : this.#answer(found[0].ModifyIndex, found);
  }

  /** Entries under a prefix, ordered by bytes; null when there is none. */
  kvList(prefix: ByteString, watch?: WatchList): Answer<readonly DirEntry[] | null> {
    const entries: DirEntry[] = [];
    const index = this.#kvScan(prefix, watch, (entry) => {
      entries.push(entry);
    });
    return this.#answer(index, entries.length === 0 ? null : entries);
  }

  /**
   * Names of the keys under a prefix; with a separator cut after its first occurrence behind the prefix, each once.
   * null when there is none.
   */
  kvKeys(prefix: ByteString, separator: ByteString, watch?: WatchList): Answer<readonly ByteString[] | null> {
    const keys: ByteString[] = [];
    const index = this.#kvScan(prefix, watch, ({ Key }) => {
      const at = separator === '' ? -1 : Key.indexOf(separator, prefix.length);
      const name = at < 0 ? Key : Key.slice(0, at + separator.length);
      if (keys.at(-1) !== name) keys.push(name);
    });
    return this.#answer(index, keys.length === 0 ? null : keys);
  }

  /**
   * The session in a list of one, or null.
   * @throws CallError when the id is not a UUID.
   */
  session(id: string, watch?: WatchList): Answer<readonly [Session] | null> {
    watch?.push(watchKeys.session(id));
    const found = this.#sessions.get(id);
    return this.#answer(this.#rows.get('sessions'), found === undefined ? null : [found]);
  }

  /** All sessions, ordered by id. */
  sessions(watch?: WatchList): Answer<readonly Session[]> {
    watch?.push(watchKeys.sessions);
    return this.#answer(this.#rows.get('sessions'), this.#sessions.list);
  }

  nodeSessions(node: string, watch?: WatchList): Answer<readonly Session[]> {
    watch?.push(watchKeys.sessionsOfNode(node));
    return this.#answer(this.#rows.get('sessions'), this.#sessions.ofNode(node));
  }

  /** Answers a transaction that only reads. */
  readTxn(ops: readonly TxnOp[]): TxnResponse {
    invariant(ops.every(isTxnRead), 'operations outside the log only read');
    return runTxn(this.#tables, new Transaction(this.#lastIndex, this.#watches), ops);
  }

  /** Keys and values left by deletions, for tests and snapshots. */
  tombstones(): readonly Tombstone[] {
    return this.#kv.tombstones();
  }

  #kvScan(prefix: ByteString, watch: WatchList, visit: (entry: DirEntry) => void): number {
    watch?.push(watchKeys.kvPrefix(prefix));
    let newest = 0;
    this.#kv.forPrefix(prefix, (entry) => {
      newest = Math.max(newest, entry.ModifyIndex);
      visit(entry);
    });
    if (prefix === '') return this.#kvTableIndex();
    newest = Math.max(newest, this.#kv.newestTombstone(prefix));
    return newest === 0 ? this.#kvTableIndex() : newest;
  }

  #kvTableIndex(): number {
    return this.#rows.max('kvs', 'tombstones');
  }

  /** A name without instances: the last time any name lost its last one, so that a later creation is greater. */
  #absentService(withChecks: boolean): number {
    const extinction = this.#rows.get(serviceLastExtinction);
    if (extinction !== 0) return extinction;
    return withChecks ? this.#rows.max('nodes', 'services', 'checks') : this.#rows.max('nodes', 'services');
  }

  #connectGroup(name: string, watch: WatchList): ServiceGroup | undefined {
    watch?.push(watchKeys.connect(name));
    const group = this.#catalog.connect(name);
    if (watch !== undefined && group !== undefined) {
      for (const row of this.#namesOf(group)) watch.push(watchKeys.service(row));
    }
    return group;
  }

  #namesOf(group: ServiceGroup): Set<string> {
    return new Set(group.catalog.map((row) => row.ServiceName));
  }

  #rowOfInstances(group: ServiceGroup): number {
    return this.#rows.max(...[...this.#namesOf(group)].map(serviceRow));
  }

  #answer<T>(index: number, result: T): Answer<T> {
    return { index: index < 1 ? 1 : index, result };
  }
}

/** At least two characters of a UUID. */
const idPrefix = /^[0-9a-f-]{2,36}$/i;
