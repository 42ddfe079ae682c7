/**
 * Anti-entropy: carries local state to the servers' catalog. A partial sync sends what is known to differ, at once; a
 * full sync asks the servers what they have for this node and repairs both ways, because a server may have lost or
 * changed it (reference/agent.md §5, reference/server-rpc.md §6.3).
 */
import type { Clock, Logger, Random, Timer } from '../ports/index.ts';
import {
  CallError,
  consulServiceId,
  type HealthCheck,
  type NamedCaller,
  type NodeService,
  serfHealthCheckId,
  type Unindexed,
} from '../model/index.ts';
import type { LocalState } from './local-state.ts';

/** Time between full syncs, plus as much again at random (ms); scaled by the cluster's size. */
const fullSyncIntervalMs = 60_000;
/** After a failed full sync, plus as much again at random (ms). */
const fullSyncRetryMs = 15_000;
/** After a failed partial sync (ms): soon enough that a leader election goes unnoticed. */
const partialSyncRetryMs = 3_000;
/** After a change among the servers, at random up to this, so that not all agents come at once (ms); scaled. */
const serversChangedMs = 3_000;
/** Up to so many members the interval is not stretched; beyond, it grows by one for each doubling. */
const scaleThreshold = 128;

/** What the servers should know about the node itself. */
export interface NodeIdentity {
  readonly ID: string;
  readonly Node: string;
  readonly Address: string;
  readonly Datacenter: string;
  readonly TaggedAddresses: Readonly<Record<string, string>>;
  readonly Meta: Readonly<Record<string, string>>;
}

/** The agent's own tokens, as the sync needs them. */
export interface SyncTokens {
  /** For what was registered without a token. */
  readonly user: () => string;
  /** For the node, and for taking things off it. */
  readonly agent: () => string;
  /** The accessor of a token, to be named in logs; "" when it is not known. */
  readonly accessorOf: (token: string) => Promise<string>;
}

export class AntiEntropy {
  readonly #state: LocalState;
  readonly #caller: NamedCaller;
  readonly #node: () => NodeIdentity;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #acl: SyncTokens | undefined;
  readonly #isServer: boolean;
  readonly #checkUpdateIntervalMs: () => number;
  readonly #memberCount: () => number;
  #nodeInfoInSync = false;
  #running: Promise<void> | undefined;
  #again = false;
  #fullTimer: Timer | undefined;
  /** The full sync to come must not wait for its turn. */
  #fullSyncSoon = false;
  #retryTimer: Timer | undefined;
  #stopped = false;
  #paused = 0;

  constructor(dependencies: {
    readonly state: LocalState;
    readonly caller: NamedCaller;
    readonly node: () => NodeIdentity;
    readonly clock: Clock;
    readonly random: Random;
    /** The `agent` logger. */
    readonly logger: Logger;
    /** What calls are made with where a registration brought no token; without it none. */
    readonly acl?: SyncTokens;
    /** A server's own `consul` service is managed by the leader and left alone. */
    readonly isServer: boolean;
    readonly checkUpdateIntervalMs: () => number;
    readonly memberCount: () => number;
  }) {
    this.#state = dependencies.state;
    this.#caller = dependencies.caller;
    this.#node = dependencies.node;
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#logger = dependencies.logger;
    this.#acl = dependencies.acl;
    this.#isServer = dependencies.isServer;
    this.#checkUpdateIntervalMs = dependencies.checkUpdateIntervalMs;
    this.#memberCount = dependencies.memberCount;
  }

  /** Begins with a full sync. */
  start(): void {
    void this.#fullSyncNow();
  }

  stop(): void {
    this.#stopped = true;
    this.#fullTimer?.cancel();
    this.#retryTimer?.cancel();
  }

  /** While paused (reload) nothing is sent; resuming sends what has changed. Pauses nest. */
  pause(): void {
    this.#paused++;
  }

  resume(): void {
    this.#paused--;
    if (this.#paused === 0) this.trigger();
  }

  /** A server has come back, or another one leads: what failed may work now, and what it knows may differ. */
  serversChanged(): void {
    this.#fullSyncSoon = true;
    // While one runs there is no timer; its end looks at the flag.
    if (this.#fullTimer !== undefined) this.#scheduleFullSync(fullSyncIntervalMs);
  }

  /** Sends changes soon; errors are logged and retried. */
  trigger(): void {
    void this.syncChanges();
  }

  /** Node metadata or addresses changed. */
  nodeInfoChanged(): void {
    this.#nodeInfoInSync = false;
    this.trigger();
  }

  /**
   * Sends everything that differs now. Resolves when every change made before the call was tried; failures are logged,
   * stay marked and are retried, so a caller need not care.
   */
  async syncChanges(): Promise<void> {
    if (this.#stopped || this.#paused > 0) return;
    if (this.#running) {
      // The run under way may have passed what just changed: one more round covers it.
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#syncLoop();
    return this.#running;
  }

  async #syncLoop(): Promise<void> {
    try {
      // A service and its checks are set in one turn: what begins after it sends them together.
      await Promise.resolve();
      do {
        this.#again = false;
        await this.#sendChanges();
      } while (this.#again && !this.#stopped && this.#paused === 0);
    } catch (error) {
      this.#logger.named('anti_entropy').error('failed to sync changes', { error });
      this.#scheduleRetry();
    } finally {
      this.#running = undefined;
    }
  }

  #scheduleRetry(): void {
    if (this.#stopped) return;
    this.#retryTimer?.cancel();
    this.#retryTimer = this.#clock.after(partialSyncRetryMs * (1 + this.#random.next()), () => this.trigger());
  }

  async #fullSyncNow(): Promise<void> {
    if (this.#stopped) return;
    this.#fullTimer = undefined;
    this.#fullSyncSoon = false;
    let delayMs = fullSyncIntervalMs;
    try {
      if (this.#paused === 0) {
        await this.#compareWithServers();
        await this.syncChanges();
      }
    } catch (error) {
      this.#logger.named('anti_entropy').error('failed to sync remote state', { error });
      delayMs = fullSyncRetryMs;
    }
    this.#scheduleFullSync(delayMs);
  }

  #scheduleFullSync(intervalMs: number): void {
    if (this.#stopped) return;
    this.#fullTimer?.cancel();
    const waitMs = this.#fullSyncSoon
      ? this.#random.next() * serversChangedMs
      : intervalMs + this.#random.next() * intervalMs;
    this.#fullTimer = this.#clock.after(waitMs * scaleFactor(this.#memberCount()), () => void this.#fullSyncNow());
  }

  async #compareWithServers(): Promise<void> {
    const node = this.#node();
    const request = { Datacenter: node.Datacenter, Node: node.Node, AllowStale: false, Token: this.#agentToken() };
    const [services, checks] = await Promise.all([
      this.#caller.call('Catalog.NodeServiceList', request),
      this.#caller.call('Health.NodeChecks', request),
    ]);
    const remoteNode = services.NodeServices.Node;
    this.#nodeInfoInSync =
      remoteNode !== null &&
      remoteNode.ID === node.ID &&
      remoteNode.Address === node.Address &&
      sameMap(remoteNode.TaggedAddresses, node.TaggedAddresses) &&
      sameMap(remoteNode.Meta, node.Meta);
    this.#compareServices(services.NodeServices.Services ?? []);
    this.#compareChecks(checks.HealthChecks);
  }

  #compareServices(remote: readonly NodeService[]): void {
    const state = this.#state;
    const remoteIds = new Set(remote.map(({ ID }) => ID));
    for (const id of state.services.keys()) {
      if (!remoteIds.has(id)) state.markServiceDirty(id);
    }
    for (const service of remote) {
      const local = state.services.get(service.ID);
      if (!local) {
        if (this.#isServer && service.ID === consulServiceId) continue;
        if (!state.removedServices.has(service.ID)) state.removedServices.set(service.ID, { token: '' });
        continue;
      }
      if (local.service.EnableTagOverride && !sameList(local.service.Tags, service.Tags)) {
        state.overrideTags(service.ID, service.Tags);
      }
      const current = state.services.get(service.ID)!.service;
      if (sameService(current, service)) {
        state.markServiceInSync(service.ID, current);
        this.#logger.debug('Service in sync', { service: service.ID });
      } else state.markServiceDirty(service.ID);
    }
  }

  #compareChecks(remote: readonly HealthCheck[]): void {
    const state = this.#state;
    const remoteIds = new Set(remote.map(({ CheckID }) => CheckID));
    for (const id of state.checks.keys()) {
      if (!remoteIds.has(id)) state.markCheckDirty(id);
    }
    for (const check of remote) {
      const local = state.checks.get(check.CheckID);
      if (!local) {
        if (check.CheckID === serfHealthCheckId) {
          this.#logger.debug('Skipping remote check since it is managed automatically', { check: serfHealthCheckId });
          continue;
        }
        if (!state.removedChecks.has(check.CheckID)) state.removedChecks.set(check.CheckID, { token: '' });
        continue;
      }
      // An output that waits for its deferred write is no difference.
      const ignoreOutput = this.#checkUpdateIntervalMs() > 0;
      if (sameCheck(local.check, check, ignoreOutput)) {
        if (local.deferred === undefined) state.markCheckInSync(check.CheckID, local.check);
        this.#logger.debug('Check in sync', { check: check.CheckID });
      } else state.markCheckDirty(check.CheckID);
    }
  }

  async #sendChanges(): Promise<void> {
    const state = this.#state;
    let firstError: unknown;
    const attempt = async (
      what: string,
      fields: Readonly<Record<string, unknown>>,
      action: () => Promise<void>,
    ): Promise<void> => {
      try {
        await action();
      } catch (error) {
        firstError ??= error;
        this.#logger.warn(`${what} failed.`, { ...fields, error });
      }
    };
    for (const [id, { token }] of state.removedServices) {
      await attempt('Deregistering service', { service: id }, async () => {
        const done = await this.#deregister({ ServiceID: id }, 'Service', { service: id });
        if (state.removedServices.get(id)?.token === token) state.removedServices.delete(id);
        if (done) this.#logger.info('Deregistered service', { service: id });
      });
    }
    for (const id of [...state.dirtyServices]) {
      await attempt('Syncing service', { service: id }, () => this.#syncService(id));
    }
    for (const [id, { token }] of state.removedChecks) {
      await attempt('Deregistering check', { check: id }, async () => {
        const done = await this.#deregister({ CheckID: id }, 'Check', { check: id });
        if (state.removedChecks.get(id)?.token === token) state.removedChecks.delete(id);
        if (done) this.#logger.info('Deregistered check', { check: id });
      });
    }
    for (const id of [...state.dirtyChecks]) {
      await attempt('Syncing check', { check: id }, () => this.#syncCheck(id));
    }
    if (!this.#nodeInfoInSync) await attempt('Syncing node info', {}, () => this.#syncNodeInfo());
    if (firstError !== undefined) this.#scheduleRetry();
  }

  async #syncService(id: string): Promise<void> {
    const state = this.#state;
    const local = state.services.get(id);
    if (!local || local.inSync) return;
    const { service } = local;
    // Checks of the service travel with it, so that it never shows up without them.
    const checks = [...state.checkIdsOf(id)]
      .map((checkId) => state.checks.get(checkId)!)
      .filter((entry) => !entry.inSync && entry.token === local.token)
      .map((entry) => entry.check);
    const token = local.token || this.#userToken();
    const blocked = await this.#blocked(() => this.#register({ Service: service, Checks: checks }, token));
    // Asking again changes nothing until somebody changes the rights: the next full sync tries it.
    state.markServiceInSync(id, service);
    if (blocked) await this.#warnBlocked('Service registration', { service: id }, token);
    else this.#logger.info('Synced service', { service: id });
    for (const check of checks) {
      state.markCheckInSync(check.CheckID, check);
      if (!blocked) this.#logger.info('Synced check', { check: check.CheckID });
    }
  }

  async #syncCheck(id: string): Promise<void> {
    const local = this.#state.checks.get(id);
    if (!local || local.inSync) return;
    const { check } = local;
    const token = local.token || this.#userToken();
    const blocked = await this.#blocked(() => this.#register({ Checks: [check] }, token));
    this.#state.markCheckInSync(id, check);
    if (blocked) await this.#warnBlocked('Check registration', { check: id }, token);
    else this.#logger.info('Synced check', { check: id });
  }

  async #syncNodeInfo(): Promise<void> {
    const token = this.#agentToken();
    const blocked = await this.#blocked(() => this.#register({}, token));
    this.#nodeInfoInSync = true;
    if (blocked) await this.#warnBlocked('Node info update', { node: this.#node().Node }, token);
    else this.#logger.info('Synced node info');
  }

  #userToken(): string {
    return this.#acl?.user() ?? '';
  }

  #agentToken(): string {
    return this.#acl?.agent() ?? '';
  }

  /** Whether the servers refused for want of rights; other failures are thrown. */
  async #blocked(write: () => Promise<void>): Promise<boolean> {
    try {
      await write();
      return false;
    } catch (error) {
      const text = error instanceof CallError ? error.message : '';
      if (text.includes('Permission denied') || text.includes('ACL not found')) return true;
      throw error;
    }
  }

  async #warnBlocked(what: string, fields: Readonly<Record<string, unknown>>, token: string): Promise<void> {
    const accessorID = (await this.#acl?.accessorOf(token)) ?? '';
    this.#logger.warn(`${what} blocked by ACLs`, { ...fields, accessorID });
  }

  async #register(
    content: { readonly Service?: Unindexed<NodeService>; readonly Checks?: readonly Unindexed<HealthCheck>[] },
    token: string,
  ): Promise<void> {
    const node = this.#node();
    await this.#caller.call('Catalog.Register', {
      Datacenter: node.Datacenter,
      ID: node.ID,
      Node: node.Node,
      Address: node.Address,
      TaggedAddresses: node.TaggedAddresses,
      NodeMeta: node.Meta,
      SkipNodeUpdate: this.#nodeInfoInSync,
      Token: token,
      ...content,
    });
    this.#nodeInfoInSync = true;
  }

  /**
   * Always with the agent's own token: who may write the node may take anything off it, also when the token of the
   * registration has gone. Resolves with false when that is not enough.
   */
  async #deregister(
    what: { readonly ServiceID: string } | { readonly CheckID: string },
    kind: string,
    fields: Readonly<Record<string, unknown>>,
  ): Promise<boolean> {
    const node = this.#node();
    const token = this.#agentToken();
    const blocked = await this.#blocked(async () => {
      await this.#caller.call('Catalog.Deregister', {
        Datacenter: node.Datacenter,
        Node: node.Node,
        Token: token,
        ...what,
      });
    });
    if (blocked) await this.#warnBlocked(`${kind} deregistration`, fields, token);
    return !blocked;
  }
}

/** 1 up to 128 members, then one more for each doubling, so that a big cluster's servers are not flooded. */
export function scaleFactor(members: number): number {
  return members <= scaleThreshold ? 1 : Math.ceil(Math.log2(members) - Math.log2(scaleThreshold)) + 1;
}

function sameMap(a: Readonly<Record<string, string>> | null, b: Readonly<Record<string, string>> | null): boolean {
  return sameValue(a ?? {}, b ?? {});
}

function sameList(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return sameValue(a ?? [], b ?? []);
}

/** Deep equality; a missing field, null and an empty list or map are the same here: servers do not keep them apart reliably. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isEmpty(a) && isEmpty(b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (!sameValue(left[key], right[key])) return false;
  }
  return true;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function sameService(a: NodeService, b: NodeService): boolean {
  return sameValue(withoutIndexes(a), withoutIndexes(b));
}

function sameCheck(a: HealthCheck, b: HealthCheck, ignoreOutput: boolean): boolean {
  const strip = (check: HealthCheck): object => ({
    ...withoutIndexes(check),
    Definition: undefined,
    Type: undefined,
    ServiceTags: undefined,
    ...(ignoreOutput ? { Output: undefined } : {}),
  });
  return sameValue(strip(a), strip(b));
}

function withoutIndexes<T extends object>(record: T): object {
  return { ...record, CreateIndex: undefined, ModifyIndex: undefined };
}
