/**
 * Anti-entropy: carries local state to the servers' catalog. A partial sync sends what is known to differ, at once; a
 * full sync asks the servers what they have for this node and repairs both ways, because a server may have lost or
 * changed it (reference/agent.md §5, reference/server-rpc.md §6.3). One sync runs at a time, and it reads from the
 * leader: what it compares with is never older than what it has sent.
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
import { isServersFault } from '../server/index.ts';
import type { LocalState } from './local-state.ts';

/** Time between full syncs, plus as much again at random (ms). */
const fullSyncIntervalMs = 60_000;
/** After a sync that failed, a full one follows after this, twice as much after each further failure, plus as much … */
const retryMs = 3_000;
/** … again at random; the longest (ms). The first comes soon enough that a leader election goes unnoticed. */
const retryMsMax = 15_000;
/** After a change among the servers, at random up to this, so that not all agents come at once (ms). */
const serversChangedMs = 3_000;
/** Who registers may look up at once what a server that answers has; one that is silent holds nobody up for longer (ms). */
const answerWaitMs = 2_000;
/** Up to so many members what is random is not stretched; beyond, it grows by one for each doubling. */
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

type Fields = Readonly<Record<string, unknown>>;

export class AntiEntropy {
  readonly #state: LocalState;
  readonly #caller: NamedCaller;
  readonly #node: () => NodeIdentity;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #acl: SyncTokens | undefined;
  readonly #memberCount: () => number;
  #nodeInfoInSync = false;
  /** Counts changes of the node's info. */
  #nodeVersion = 0;
  /** What the run under way, or the next, still has to do. */
  #changesDue = false;
  #fullDue = false;
  #running: Promise<void> | undefined;
  /** For the next full sync; none while one is due or runs. */
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  /** The full sync to come must not wait for its turn. */
  #serversChanged = false;
  /** Syncs that failed in a row. */
  #failures = 0;
  /** What was told to be refused, with the reason: it is told once. */
  readonly #refusals = new Map<string, string>();
  #started = false;
  readonly #stopped = new AbortController();
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
    /** Members of the LAN pool. */
    readonly memberCount: () => number;
  }) {
    this.#state = dependencies.state;
    this.#caller = dependencies.caller;
    this.#node = dependencies.node;
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#logger = dependencies.logger;
    this.#acl = dependencies.acl;
    this.#memberCount = dependencies.memberCount;
  }

  /** Begins with a full sync: what the servers still know from an earlier life need not be sent. */
  start(): void {
    this.#started = true;
    this.#fullDue = true;
    void this.#run();
  }

  /** Ends at once; what is under way is given up. */
  stop(): void {
    this.#stopped.abort(new Error('the agent stops'));
    this.#timer?.cancel();
  }

  /** While paused (reload) nothing is begun; resuming does what came due. Pauses nest. */
  pause(): void {
    this.#paused++;
  }

  resume(): void {
    this.#paused--;
    this.trigger();
  }

  /** A server has come back, or another one leads: what failed may work now, and what it knows may differ. */
  serversChanged(): void {
    this.#serversChanged = true;
    if (this.#timer !== undefined) this.#schedule();
  }

  /** Sends changes soon; errors are logged and retried. */
  trigger(): void {
    void this.syncChanges();
  }

  /** Node metadata or addresses changed. */
  nodeInfoChanged(): void {
    this.#nodeVersion++;
    this.#nodeInfoInSync = false;
    this.trigger();
  }

  /**
   * Sends everything that differs now. Resolves when every change made before the call was tried; failures are logged,
   * stay marked and are retried, so a caller need not care.
   */
  syncChanges(): Promise<void> {
    this.#changesDue = true;
    return this.#run();
  }

  /** {@link syncChanges}, for whose answer a user waits: as long as servers answer, and for a moment where they do not. */
  async settled(): Promise<void> {
    const sent = this.syncChanges();
    if (this.#failures > 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(answerWaitMs, resolve);
      void sent.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  get #idle(): boolean {
    if (!this.#started || this.#paused > 0 || this.#stopped.signal.aborted) return true;
    return !(this.#changesDue || this.#fullDue);
  }

  async #run(): Promise<void> {
    if (this.#idle) return;
    await (this.#running ??= this.#rounds());
  }

  /** Never rejects. What comes due during a round is done by the next. */
  async #rounds(): Promise<void> {
    // A service and its checks are set in one turn: what begins after it sends them together.
    await Promise.resolve();
    while (!this.#idle) {
      const full = this.#fullDue;
      this.#changesDue = false;
      if (full) {
        this.#fullDue = false;
        this.#serversChanged = false;
      }
      try {
        if (full) await this.#compareWithServers();
        await this.#sendChanges();
        this.#failures = 0;
        if (full) this.#schedule();
      } catch (error) {
        if (this.#stopped.signal.aborted) break;
        const what = full ? 'failed to sync remote state' : 'failed to sync changes';
        this.#logger.named('anti_entropy').error(what, { error });
        this.#failures++;
        this.#schedule();
      }
    }
    // In the turn in which nothing was left to do: what comes due after it starts anew.
    this.#running = undefined;
  }

  /** Sets the time of the next full sync, unless it is due sooner. */
  #schedule(): void {
    const waitMs = this.#waitMs();
    const atMs = this.#clock.monotonicMs() + waitMs;
    if (this.#timer !== undefined && this.#timerMs <= atMs) return;
    this.#timer?.cancel();
    this.#timerMs = atMs;
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined;
      this.start();
    });
  }

  #waitMs(): number {
    const stagger = this.#random.next() * scaleFactor(this.#memberCount());
    if (this.#serversChanged) return stagger * serversChangedMs;
    if (this.#failures === 0) return fullSyncIntervalMs * (1 + stagger);
    return Math.min(retryMs * 2 ** (this.#failures - 1), retryMsMax) * (1 + stagger);
  }

  async #compareWithServers(): Promise<void> {
    const { Datacenter, Node } = this.#node();
    const request = { Datacenter, Node, Token: this.#agentToken() };
    const { signal } = this.#stopped;
    const [services, checks] = await Promise.all([
      this.#caller.call('Catalog.NodeServiceList', request, signal),
      this.#caller.call('Health.NodeChecks', request, signal),
    ]);
    const node = this.#node();
    const remoteNode = services.NodeServices.Node;
    this.#nodeInfoInSync =
      remoteNode !== null &&
      remoteNode.ID === node.ID &&
      sameValue(remoteNode.TaggedAddresses, node.TaggedAddresses) &&
      sameValue(remoteNode.Meta, node.Meta);
    if (this.#nodeInfoInSync) this.#logger.debug('Node info in sync');
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
        // The leader keeps it.
        if (service.ID === consulServiceId) continue;
        if (!state.removedServices.has(service.ID)) state.removedServices.set(service.ID, { token: '' });
        continue;
      }
      if (local.service.EnableTagOverride && !sameValue(local.service.Tags, service.Tags)) {
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
      const ignoreOutput = local.deferred !== undefined;
      if (sameCheck(local.check, check, ignoreOutput)) {
        if (local.deferred === undefined) state.markCheckInSync(check.CheckID, local.check);
        this.#logger.debug('Check in sync', { check: check.CheckID });
      } else state.markCheckDirty(check.CheckID);
    }
  }

  /** @throws what a server failed with; what it refuses is told and left to the next full sync. */
  async #sendChanges(): Promise<void> {
    const state = this.#state;
    // First of all, with the agent's own token: others may have no rights over the node.
    if (!this.#nodeInfoInSync) await this.#syncNodeInfo();
    for (const [id, removal] of [...state.removedServices]) {
      await this.#deregister({ ServiceID: id }, 'service', id);
      if (state.removedServices.get(id) === removal) state.removedServices.delete(id);
    }
    for (const id of [...state.dirtyServices]) await this.#syncService(id);
    for (const [id, removal] of [...state.removedChecks]) {
      await this.#deregister({ CheckID: id }, 'check', id);
      if (state.removedChecks.get(id) === removal) state.removedChecks.delete(id);
    }
    for (const id of [...state.dirtyChecks]) await this.#syncCheck(id);
  }

  async #syncNodeInfo(): Promise<void> {
    const token = this.#agentToken();
    const version = this.#nodeVersion;
    const refusal = await this.#attempt(() => this.#register({}, token));
    // A name that another node has: what came after would be registered at that one.
    if (refusal !== undefined && !isBlocked(refusal)) throw refusal;
    this.#nodeInfoInSync = version === this.#nodeVersion;
    if (refusal === undefined) this.#told('node', 'Synced node info', {});
    else await this.#refused('node', 'Node info update', { node: this.#node().Node }, refusal, token);
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
    const refusal = await this.#attempt(() => this.#register({ Service: service, Checks: checks }, token));
    state.markServiceInSync(id, service);
    for (const check of checks) state.markCheckInSync(check.CheckID, check);
    if (refusal !== undefined) {
      await this.#refused(`service ${id}`, 'Service registration', { service: id }, refusal, token);
      return;
    }
    this.#told(`service ${id}`, 'Synced service', { service: id });
    for (const { CheckID } of checks) this.#told(`check ${CheckID}`, 'Synced check', { check: CheckID });
  }

  async #syncCheck(id: string): Promise<void> {
    const state = this.#state;
    const local = state.checks.get(id);
    if (!local || local.inSync) return;
    const { check } = local;
    // A service that was registered after this round had sent the services: the next round sends both.
    if (state.services.get(check.ServiceID)?.inSync === false) return;
    const token = local.token || this.#userToken();
    // Without the service it belongs to, whose tags may have been overridden in the catalog.
    const refusal = await this.#attempt(() => this.#register({ Checks: [check] }, token));
    if (refusal?.message.includes(missingService) === true && state.services.get(check.ServiceID)?.inSync === true) {
      state.markServiceDirty(check.ServiceID);
      await this.#syncService(check.ServiceID);
      return;
    }
    state.markCheckInSync(id, check);
    if (refusal === undefined) this.#told(`check ${id}`, 'Synced check', { check: id });
    else await this.#refused(`check ${id}`, 'Check registration', { check: id }, refusal, token);
  }

  /**
   * Always with the agent's own token: who may write the node may take anything off it, also when the token of the
   * registration has gone.
   */
  async #deregister(
    what: { readonly ServiceID: string } | { readonly CheckID: string },
    kind: 'service' | 'check',
    id: string,
  ): Promise<void> {
    const { Datacenter, Node } = this.#node();
    const token = this.#agentToken();
    const refusal = await this.#attempt(async () => {
      await this.#caller.call('Catalog.Deregister', { Datacenter, Node, Token: token, ...what }, this.#stopped.signal);
    });
    const key = `removed ${kind} ${id}`;
    if (refusal === undefined || /Unknown (?:service|check)/.test(refusal.message)) {
      this.#told(key, `Deregistered ${kind}`, { [kind]: id });
      this.#refusals.delete(`${kind} ${id}`);
    } else {
      const name = kind === 'service' ? 'Service' : 'Check';
      await this.#refused(key, `${name} deregistration`, { [kind]: id }, refusal, token);
    }
  }

  async #register(
    content: { readonly Service?: Unindexed<NodeService>; readonly Checks?: readonly Unindexed<HealthCheck>[] },
    token: string,
  ): Promise<void> {
    const node = this.#node();
    await this.#caller.call(
      'Catalog.Register',
      {
        Datacenter: node.Datacenter,
        ID: node.ID,
        Node: node.Node,
        Address: node.Address,
        TaggedAddresses: node.TaggedAddresses,
        NodeMeta: node.Meta,
        SkipNodeUpdate: this.#nodeInfoInSync,
        Token: token,
        ...content,
      },
      this.#stopped.signal,
    );
  }

  /** @returns why the servers refuse; other failures are thrown. */
  async #attempt(write: () => Promise<void>): Promise<CallError | undefined> {
    try {
      await write();
      return undefined;
    } catch (error) {
      if (error instanceof CallError && !isServersFault(error)) return error;
      throw error;
    }
  }

  #told(key: string, text: string, fields: Fields): void {
    this.#refusals.delete(key);
    this.#logger.info(text, fields);
  }

  /**
   * Asking again changes nothing until somebody changes rights or registration: the next full sync does, and says
   * nothing if it hears the same.
   */
  async #refused(key: string, what: string, fields: Fields, refusal: CallError, token: string): Promise<void> {
    const reason = refusal.message.replace(passedOn, '');
    const known = this.#refusals.get(key) === reason;
    this.#refusals.set(key, reason);
    const accessorID = isBlocked(refusal) ? ((await this.#acl?.accessorOf(token)) ?? '') : undefined;
    const [text, more] =
      accessorID === undefined ? [`${what} failed.`, { error: refusal }] : [`${what} blocked by ACLs`, { accessorID }];
    if (known) this.#logger.debug(text, { ...fields, ...more });
    else this.#logger.warn(text, { ...fields, ...more });
  }

  #userToken(): string {
    return this.#acl?.user() ?? '';
  }

  #agentToken(): string {
    return this.#acl?.agent() ?? '';
  }
}

/** Of a check whose service the servers do not have. */
const missingService = 'Missing service registration';

/** Put before a refusal by each who passed it on: more of them when the server that is asked has ceased to lead. */
const passedOn = /^(?:rpc error making call: )+/;

function isBlocked({ message }: CallError): boolean {
  return message.includes('Permission denied') || message.includes('ACL not found');
}

/** 1 up to 128 members, then one more for each doubling, so that a big cluster's servers are not flooded. */
export function scaleFactor(members: number): number {
  return members <= scaleThreshold ? 1 : Math.ceil(Math.log2(members) - Math.log2(scaleThreshold)) + 1;
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
  // How a service came to be registered is the agent's own affair, and servers do not keep it.
  const strip = (service: NodeService): object => ({
    ...withoutIndexes(service),
    LocallyRegisteredAsSidecar: undefined,
  });
  return sameValue(strip(a), strip(b));
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
