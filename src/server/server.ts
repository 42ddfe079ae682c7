/**
 * A server: named calls answered from replicated state, and the leader's duties. It knows nothing of sockets; front
 * doors and the RPC port call it the same way (DESIGN rule 3).
 */
import { newLeaderEvent } from '../gossip/index.ts';
import {
  type AutopilotConfig,
  CallError,
  type ConfigEntryBody,
  type Member,
  memberStatus,
  type NamedCaller,
  normalConfigEntry,
} from '../model/index.ts';
import {
  type Clock,
  type FileStore,
  type HttpClient,
  type Logger,
  type Metrics,
  type Random,
  sleep,
} from '../ports/index.ts';
import { votersOf } from '../raft/index.ts';
import { rpcHoldTimeoutMs } from '../rpc/index.ts';
import type { StateStore } from '../state/index.ts';
import {
  aclHandlers,
  AclResolver,
  type AclSettings,
  aclSettingsOff,
  type Authorizer,
  enforced,
  initialiseAcl,
  TokenReaper,
} from './acl/index.ts';
import { aloneMembers } from './alone.ts';
import type { AutoEncryptSettings } from './auto-encrypt.ts';
import { Autopilot, healthIntervalMsDefault, statsTimeoutMs } from './autopilot.ts';
import { BlockingQueries, defaultQueryTimeMsDefault, maxQueryTimeMsDefault } from './blocking-queries.ts';
import { Bootstrapper } from './bootstrapper.ts';
import { catalogHandlers } from './catalog.ts';
import type {
  AnyCallName,
  AnyCallReply,
  AnyCallRequest,
  CallServer,
  Cluster,
  InsecureCallName,
  Wan,
} from './cluster.ts';
import type { Consensus } from './command-log.ts';
import { configEntryHandlers } from './config-entry.ts';
import { createConnectCa } from './connect-ca.ts';
import { coordinateHandlers, coordinatePeriodMsDefault, CoordinateUpdates, storedDistances } from './coordinate.ts';
import { discoveryChainHandlers } from './discovery-chain.ts';
import type { Endpoint, Handlers } from './endpoint.ts';
import { federationStateHandlers, FederationStateUpkeep } from './federation-state.ts';
import { Forwarding } from './forwarding.ts';
import { gatewayHandlers } from './gateways.ts';
import { healthHandlers } from './health.ts';
import { intentionHandlers } from './intention.ts';
import { internalHandlers } from './internal.ts';
import { keyringHandlers, type KeyringOperation, noKeyring } from './keyring.ts';
import { kvsHandlers } from './kvs.ts';
import { LanServers, raftAddress } from './lan-servers.ts';
import { Leadership } from './leadership.ts';
import { LockDelays } from './lock-delays.ts';
import { MemberReconciler, type MemberNews } from './member-reconciler.ts';
import { noDistances } from './near.ts';
import { operatorHandlers } from './operator.ts';
import { preparedQueryHandlers } from './prepared-query.ts';
import type { OtherDatacenters } from './query-failover.ts';
import { noClusterLeader } from './raft-log.ts';
import { insecureHandlers, raftStats, serverCallHandlers } from './server-calls.ts';
import type { ServerRpc } from './server-rpc.ts';
import { sessionHandlers, sessionTtlMinMsDefault } from './session.ts';
import { SessionTimers } from './session-timers.ts';
import { ServerSnapshots, type Snapshots } from './snapshots.ts';
import { statusHandlers } from './status.ts';
import { TombstoneGc } from './tombstone-gc.ts';
import { txnHandlers } from './txn.ts';
import { type BroadcastEvent, userEventHandlers } from './user-event.ts';

/** `performance.leave_drain_time`, ms. */
const leaveDrainMsDefault = 5_000;
/** How long a server that leaves waits to be taken out of the configuration, ms, and how often it looks. */
const leaveWaitMs = 5_000;
const leaveLookMs = 50;

export interface ServerOptions {
  readonly datacenter: string;
  readonly nodeName: string;
  /** UUID of this node. */
  readonly nodeId: string;
  /** Address that this server advertises, without port. */
  readonly address: string;
  /** RPC port, as the service `consul` shows it. */
  readonly serverPort: number;
  /** Consul version to be compatible with, as the service `consul` shows it. */
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The state that `log` applies to. */
  readonly store: StateStore;
  readonly log: Consensus;
  /** The members this server sees and the calls it can make; without it the server is alone. */
  readonly cluster?: Cluster;
  /**
   * Servers to wait for before the first election (`bootstrap_expect`); 1 makes this server a cluster of its own
   * (`bootstrap`), 0, the default, waits until others take it in.
   */
  readonly bootstrapExpect?: number;
  /** `performance.rpc_hold_timeout`, ms: how long calls wait for a leader; default 7 s. */
  readonly rpcHoldTimeoutMs?: number;
  /** For clients that have no certificate yet (`auto_encrypt.allow_tls`); without it their calls are refused. */
  readonly autoEncrypt?: AutoEncryptSettings;
  /** Off by default. `masterToken`: secret of a token that has all rights from the start, "" for none. */
  readonly acl?: AclSettings & { readonly masterToken: string };
  /** Asks those who vouch for who logs in (auth methods); without it only methods that need nobody can be had. */
  readonly http?: HttpClient;
  /** The data directory, from which an operator may allow another ACL bootstrap. */
  readonly files?: FileStore;
  /** Wait of a blocking query that names none, ms; default 5 min. */
  readonly defaultQueryTimeMs?: number;
  /** Longest wait, ms; default 10 min. */
  readonly maxQueryTimeMs?: number;
  /** Whether to be the certificate authority of a mesh (`connect.enabled`). */
  readonly connectEnabled?: boolean;
  /** Autopilot's settings to begin with; the first leader writes them into the state, where they can be changed. */
  readonly autopilot?: Omit<AutopilotConfig, 'CreateIndex' | 'ModifyIndex'>;
  /** Config entries to begin with (`config_entries.bootstrap`); a leader writes those that are not there. */
  readonly configEntries?: readonly ConfigEntryBody[];
  /** Between two questions of the leader after the servers' health, ms; default 2 s. */
  readonly serverHealthIntervalMs?: number;
  /** Asks gossip about its keys; without it nothing is encrypted. */
  readonly keyring?: KeyringOperation;
  /** Sends a user event to all members; without it nobody hears of one. */
  readonly broadcastEvent?: BroadcastEvent;
  /** Shortest TTL a session may have, ms; default 10 s. */
  readonly sessionTtlMinMs?: number;
  /** How long coordinates are collected before they are written, ms; default 5 s. */
  readonly coordinatePeriodMs?: number;
  /** Take no coordinates, sort nothing by distance. */
  readonly disableCoordinates?: boolean;
}

export interface Server {
  readonly caller: NamedCaller;
  readonly store: StateStore;
  /**
   * The rights of a token, null while ACLs are off.
   * @throws CallError `ACL not found`.
   */
  resolveToken(secret: string): Authorizer | null;
  /** The accessor of a token, to be named in logs; "" when there is none. */
  accessorOf(secret: string): string;
  /** How many blocking queries wait at present. */
  readonly blockingQueries: number;
  /** Answers calls that come over port 8300. */
  readonly rpc: ServerRpc;
  /** Saves and restores the state as an archive, here or, unless `stale`, where the leader is. */
  readonly snapshots: Snapshots;
  /** The sections `consul` and `raft` of `info`. */
  stats(): {
    readonly consul: Readonly<Record<string, string>>;
    readonly raft: Readonly<Record<string, string>>;
  };
  /**
   * From now on takes up the leader's duties whenever this server leads, and bootstraps when it is to.
   * Resolves when the first duties are done if this server leads already, else at once.
   */
  start(): Promise<void>;
  /**
   * Gossip's LAN pool says something about a member: call it for every member event, also those of this server.
   * @param kind `reaped` when the member was forgotten.
   */
  memberChanged(member: Member, kind?: 'changed' | 'reaped'): void;
  /** Before gossip leaves: gives up leadership and the place among the voters, if others can go on. */
  prepareLeave(): Promise<void>;
  /**
   * After gossip has left: refuses calls, and waits for a while until the others have taken this server out of the
   * configuration (reference/raft.md §3.5).
   * @param drainMs `performance.leave_drain_time`: how long callers have to notice; default 5 s.
   */
  finishLeave(drainMs?: number): Promise<void>;
  /** Ends duties and every waiting query; calls that come later fail. Does not stop the log. */
  stop(): void;
}

const noHttp: HttpClient = () => Promise.reject(new Error('this server has no way to other web servers'));

export function createServer(options: ServerOptions): Server {
  const { datacenter, nodeName, nodeId, store, log, clock, random, metrics, cluster } = options;
  const logger = options.logger.named('server');
  const wan = cluster?.wan;
  const members = cluster === undefined ? aloneMembers(options) : () => cluster.members();
  // Filled at the start: gossip may be made after this server.
  const lan = new LanServers(datacenter);

  const queries = new BlockingQueries({
    store,
    clock,
    random,
    metrics,
    defaultQueryTimeMs: options.defaultQueryTimeMs ?? defaultQueryTimeMsDefault,
    maxQueryTimeMs: options.maxQueryTimeMs ?? maxQueryTimeMsDefault,
  });
  const lockDelays = new LockDelays({ store, clock });
  const disabled = options.disableCoordinates ?? false;
  const distancesFrom = disabled ? noDistances : storedDistances(store);
  const endpoint: Endpoint = { datacenter, store, log, queries, clock, metrics, distancesFrom, lockDelays };
  const updates = new CoordinateUpdates({
    log,
    clock,
    logger,
    periodMs: options.coordinatePeriodMs ?? coordinatePeriodMsDefault,
  });
  const connectCa = createConnectCa(endpoint, { random, enabled: options.connectEnabled ?? false });
  const timers = new SessionTimers({ store, log, clock, logger, metrics, datacenter });
  const resolver = new AclResolver({ settings: options.acl ?? aclSettingsOff, datacenter, store, clock });
  const aclEndpoint = { ...endpoint, resolver, random, http: options.http ?? noHttp, files: options.files, logger };
  const reaper = new TokenReaper(aclEndpoint, logger);
  const federation = new FederationStateUpkeep({
    store,
    log,
    clock,
    logger,
    datacenter,
    follow: options.connectEnabled ?? false,
  });
  const gc = new TombstoneGc({ store, log, clock, logger, datacenter });

  const ask: CallServer = (to, method, request, asking) =>
    cluster === undefined
      ? Promise.reject(new CallError(noClusterLeader))
      : cluster.callServer(to, method, request, asking);
  const autopilot = new Autopilot({
    store,
    log,
    lan,
    clock,
    logger,
    metrics,
    statsOf: (server) =>
      server.id === nodeId
        ? Promise.resolve(raftStats(log))
        : ask(server, 'Status.RaftStats', null, { timeoutMs: statsTimeoutMs }),
    forceLeave: async (name) => await cluster?.forceLeave(name),
    healthIntervalMs: options.serverHealthIntervalMs ?? healthIntervalMsDefault,
  });
  const reconciler = new MemberReconciler({
    datacenter,
    nodeName,
    store,
    log,
    lan,
    logger,
    onServerAdded: () => void autopilot.removeDeadServers(),
  });
  const bootstrapper = new Bootstrapper({
    expect: options.bootstrapExpect ?? 0,
    self: { id: nodeId, address: raftAddress({ address: options.address, port: options.serverPort }) },
    log,
    lan,
    peersOf: (server) =>
      server.id === nodeId ? Promise.resolve(log.peers) : ask(server, 'Status.Peers', { Datacenter: datacenter }),
    clock,
    logger,
  });

  const revoke = (): void => {
    reaper.stop();
    gc.stop();
    timers.stop();
    autopilot.stop();
    federation.stop();
  };
  const leadership = new Leadership<MemberNews>({
    log,
    clock,
    logger,
    metrics,
    duties: {
      announce: () => {
        if (cluster !== undefined) options.broadcastEvent?.(newLeaderEvent, Buffer.from(nodeName));
      },
      establish: async () => {
        if (options.acl?.enabled === true) {
          await initialiseAcl(aclEndpoint, options.acl.masterToken, logger);
          reaper.start();
        }
        gc.start();
        timers.start();
        if (options.autopilot !== undefined && store.autopilot.config === undefined) {
          const Config = { ...options.autopilot, CreateIndex: 0, ModifyIndex: 0 };
          await log.propose({ type: 'Autopilot', request: { Datacenter: datacenter, Config, CAS: false } });
        }
        for (const Entry of options.configEntries ?? []) {
          // Only what nobody has written yet.
          const given = { ...normalConfigEntry(Entry), ModifyIndex: 0 };
          await log.propose({
            type: 'ConfigEntry',
            request: { Datacenter: datacenter, Op: 'upsert-cas', Entry: given },
          });
        }
        autopilot.start();
        await connectCa.start();
        await federation.start();
      },
      revoke,
      reconcileAll: async (signal) => {
        const all = members();
        lan.replace(all);
        await reconciler.all(all, signal);
      },
      reconcileOne: (news) => reconciler.one(news),
    },
  });
  const forwarding = new Forwarding({
    datacenter,
    log,
    lan,
    cluster,
    isReady: () => leadership.isReady,
    isLocalToken: (secret) => resolver.enabled && store.acl.tokenRecord(secret)?.Local === true,
    holdMs: options.rpcHoldTimeoutMs ?? rpcHoldTimeoutMs,
    clock,
    random,
    logger,
    metrics,
  });
  const otherDatacenters = (): readonly string[] => wan?.datacenters().filter((name) => name !== datacenter) ?? [];
  const others: OtherDatacenters = {
    logger,
    byDistance: otherDatacenters,
    executeRemote: (request) => answer('PreparedQuery.ExecuteRemote', request),
  };

  const unguarded: Handlers = {
    ...aclHandlers(aclEndpoint),
    ...statusHandlers(endpoint),
    ...catalogHandlers(endpoint),
    ...healthHandlers(endpoint),
    ...kvsHandlers(endpoint),
    ...txnHandlers(endpoint),
    ...userEventHandlers(endpoint, options.broadcastEvent ?? (() => undefined)),
    ...sessionHandlers(endpoint, {
      timers,
      random,
      ttlMinMs: options.sessionTtlMinMs ?? sessionTtlMinMsDefault,
    }),
    ...coordinateHandlers(endpoint, { updates, nodeName, disabled }),
    ...preparedQueryHandlers(endpoint, { random, others }),
    ...intentionHandlers(endpoint, { random }),
    ...configEntryHandlers(endpoint),
    ...operatorHandlers(endpoint, { lan, autopilot }),
    ...connectCa.handlers,
    ...discoveryChainHandlers(endpoint, connectCa.trustDomain),
    ...gatewayHandlers(endpoint),
    ...federationStateHandlers(endpoint),
    ...keyringHandlers(endpoint, {
      operate: options.keyring ?? noKeyring({ nodeName, datacenter, wan: true }),
      others: otherDatacenters,
      ask: (request) => answer('Internal.KeyringOperation', request),
    }),
    ...internalHandlers(endpoint),
    ...(wan && wanHandlers(wan)),
  };
  const handlers: AnyHandlers = {
    ...enforced(unguarded, { resolver, store }),
    ...serverCallHandlers(aclEndpoint, connectCa),
  };
  const insecure = insecureHandlers(datacenter, connectCa, options.autoEncrypt);
  const snapshots = new ServerSnapshots({
    log,
    forwarding,
    cluster,
    resolver,
    clock,
    logger,
    onRestored: () => leadership.reestablish(),
  });

  let stopped: CallError | undefined;
  const answer = <M extends keyof AnyHandlers>(
    method: M,
    request: AnyCallRequest<M>,
    signal?: AbortSignal,
  ): Promise<AnyCallReply<M>> => {
    if (stopped !== undefined) return Promise.reject(stopped);
    if (!Object.hasOwn(handlers, method)) return Promise.reject(new CallError(`rpc: can't find method ${method}`));
    const handler = handlers[method] as AnyHandler<M>;
    try {
      if (forwarding.isHere(method, request)) return handler(request, signal);
    } catch (error) {
      return Promise.reject(error);
    }
    return forwarding.elsewhere(method, request, () => handler(request, signal), signal);
  };
  const stop = (reason: CallError): void => {
    if (stopped !== undefined) return;
    stopped = reason;
    bootstrapper.stop();
    leadership.stop();
    forwarding.stop();
    revoke();
    lockDelays.stop();
    updates.stop();
    queries.stop(reason);
  };
  let led = false;

  return {
    caller: { call: answer },
    store,
    snapshots,
    rpc: {
      handler: (method, request, { signal }) => answer(method as keyof AnyHandlers, request as never, signal),
      insecureHandler: (method, request, { signal }) => insecure[method as InsecureCallName](request as never, signal),
      snapshotHandler: snapshots.handler,
    },
    get blockingQueries() {
      return queries.waiting;
    },
    resolveToken: (secret) => resolver.resolve(secret),
    accessorOf: (secret) => store.acl.tokenRecord(secret)?.AccessorID ?? '',
    stats: () => ({
      consul: {
        acl: resolver.enabled ? 'enabled' : 'disabled',
        bootstrap: String(options.bootstrapExpect === 1),
        known_datacenters: String(wan?.datacenters().length ?? 1),
        leader: String(log.isLeader),
        leader_addr: log.leaderAddress,
        server: 'true',
      },
      raft: log.stats(),
    }),
    async start() {
      lan.replace(members());
      void bootstrapper.attempt();
      await leadership.start();
    },
    memberChanged(member, kind = 'changed') {
      const isReaped = kind === 'reaped';
      if (isReaped) lan.forget(member.Name);
      else if (lan.update(member) && member.Status === memberStatus.alive) void bootstrapper.attempt();
      leadership.enqueue({ member, isReaped });
    },
    async prepareLeave() {
      led = log.isLeader;
      if (!led || votersOf(log.configuration).length < 2) return;
      forwarding.leave();
      try {
        await log.removeServer(nodeId);
      } catch (error) {
        logger.error('failed to leave the configuration; the others will take this server out', { error });
      }
    },
    async finishLeave(drainMs = leaveDrainMsDefault) {
      stop(new CallError(`${noClusterLeader}: this server is leaving`));
      await sleep(clock, drainMs);
      if (led || log.peers.length < 2) return;
      const address = raftAddress({ address: options.address, port: options.serverPort });
      const deadlineMs = clock.monotonicMs() + leaveWaitMs;
      while (log.peers.includes(address)) {
        if (clock.monotonicMs() >= deadlineMs) {
          logger.warn('the others have not taken this server out of the configuration yet', { address });
          return;
        }
        await sleep(clock, leaveLookMs);
      }
    },
    stop: () => stop(new CallError(`${noClusterLeader}: this server has stopped`)),
  };
}

/** How other datacenters are, from the WAN pool. */
function wanHandlers(wan: Wan): Partial<Handlers> {
  return {
    'Catalog.ListDatacenters': () => Promise.resolve(wan.datacenters()),
    'Coordinate.ListDatacenters': () => Promise.resolve(wan.coordinates()),
  };
}

type SecureCallName = Exclude<AnyCallName, InsecureCallName>;
type AnyHandler<M extends SecureCallName> = (
  request: AnyCallRequest<M>,
  signal: AbortSignal | undefined,
) => Promise<AnyCallReply<M>>;
type AnyHandlers = { readonly [M in SecureCallName]: AnyHandler<M> };
