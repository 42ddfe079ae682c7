/**
 * A server: named calls answered from replicated state, and the leader's duties. It knows nothing of sockets; front
 * doors and the RPC port call it the same way (DESIGN rule 3).
 */
import {
  type AutopilotConfig,
  CallError,
  type CallName,
  type CallReply,
  type CallRequest,
  type Member,
  type NamedCaller,
} from '../model/index.ts';
import type { Clock, Logger, Metrics, Random } from '../ports/index.ts';
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
import { BlockingQueries, defaultQueryTimeMsDefault, maxQueryTimeMsDefault } from './blocking-queries.ts';
import { catalogHandlers } from './catalog.ts';
import type { Cluster } from './cluster.ts';
import type { Consensus } from './command-log.ts';
import type { AutoEncryptSettings } from './auto-encrypt.ts';
import type { ServerRpc } from './server-rpc.ts';
import type { Snapshots } from './snapshots.ts';
import { coordinateHandlers, coordinatePeriodMsDefault, CoordinateUpdates, storedDistances } from './coordinate.ts';
import { configEntryHandlers } from './config-entry.ts';
import type { Endpoint, Handlers } from './endpoint.ts';
import { createConnectCa } from './connect-ca.ts';
import { discoveryChainHandlers } from './discovery-chain.ts';
import { federationStateHandlers, FederationStateUpkeep } from './federation-state.ts';
import { gatewayHandlers } from './gateways.ts';
import { healthHandlers } from './health.ts';
import { internalHandlers } from './internal.ts';
import { intentionHandlers } from './intention.ts';
import { keyringHandlers, type KeyringOperation, noKeyring } from './keyring.ts';
import { kvsHandlers } from './kvs.ts';
import { LockDelays } from './lock-delays.ts';
import { noDistances } from './near.ts';
import { preparedQueryHandlers } from './prepared-query.ts';
import { reconcileMember, type ReconciledMember, serverMeta } from './reconcile.ts';
import { SessionTimers } from './session-timers.ts';
import { sessionHandlers, sessionTtlMinMsDefault } from './session.ts';
import { operatorHandlers } from './operator.ts';
import { statusHandlers } from './status.ts';
import { TombstoneGc } from './tombstone-gc.ts';
import { txnHandlers } from './txn.ts';
import { type BroadcastEvent, userEventHandlers } from './user-event.ts';

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
  /** Wait of a blocking query that names none, ms; default 5 min. */
  readonly defaultQueryTimeMs?: number;
  /** Longest wait, ms; default 10 min. */
  readonly maxQueryTimeMs?: number;
  /** Whether to be the certificate authority of a mesh (`connect.enabled`). */
  readonly connectEnabled?: boolean;
  /** Autopilot's settings to begin with; the first leader writes them into the state, where they can be changed. */
  readonly autopilot?: Omit<AutopilotConfig, 'CreateIndex' | 'ModifyIndex'>;
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
   */
  finishLeave(): Promise<void>;
  /** Ends duties and every waiting query; calls that come later fail. Does not stop the log. */
  stop(): void;
}

export function createServer(options: ServerOptions): Server {
  const { datacenter, store, log, clock, random, metrics } = options;
  const logger = options.logger.named('server');
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
  // One datacenter is all there is: no other to fail over to.
  const others = {
    logger,
    byDistance: () => [],
    executeRemote: () => Promise.reject(new CallError('No path to datacenter')),
  };
  const connectCa = createConnectCa(endpoint, { random, enabled: options.connectEnabled ?? false });
  const timers = new SessionTimers({ store, log, clock, logger, metrics, datacenter });
  const resolver = new AclResolver({ settings: options.acl ?? aclSettingsOff, datacenter, store, clock });
  const aclEndpoint = { ...endpoint, resolver, random };
  const reaper = new TokenReaper(aclEndpoint, logger);
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
    ...coordinateHandlers(endpoint, { updates, nodeName: options.nodeName, disabled }),
    ...preparedQueryHandlers(endpoint, { random, others }),
    ...intentionHandlers(endpoint, { random }),
    ...configEntryHandlers(endpoint),
    ...operatorHandlers(endpoint),
    ...connectCa.handlers,
    ...discoveryChainHandlers(endpoint, connectCa.trustDomain),
    ...gatewayHandlers(endpoint),
    ...federationStateHandlers(endpoint),
    ...keyringHandlers(endpoint, options.keyring ?? noKeyring({ nodeName: options.nodeName, datacenter, wan: true })),
    ...internalHandlers(endpoint),
  };
  const handlers = enforced(unguarded, { resolver, store });
  const federation = new FederationStateUpkeep({
    store,
    log,
    clock,
    logger,
    datacenter,
    follow: options.connectEnabled ?? false,
  });
  const gc = new TombstoneGc({ store, log, clock, logger, datacenter });
  let stopped = false;

  const reconcile = async (member: ReconciledMember): Promise<void> => {
    const command = reconcileMember(store, datacenter, member);
    if (command === undefined) return;
    logger.info('reconciling member', { node: member.name, status: member.status });
    await log.propose(command);
  };

  return {
    caller: {
      call<M extends CallName>(method: M, request: CallRequest<M>, signal?: AbortSignal): Promise<CallReply<M>> {
        if (stopped) return Promise.reject(stoppedError());
        if (!Object.hasOwn(handlers, method)) return Promise.reject(new CallError(`rpc: can't find method ${method}`));
        try {
          return handlers[method](request, signal);
        } catch (error) {
          return Promise.reject(error);
        }
      },
    },
    store,
    get blockingQueries() {
      return queries.waiting;
    },
    reconcile,
    resolveToken: (secret) => resolver.resolve(secret),
    accessorOf: (secret) => store.acl.tokenRecord(secret)?.AccessorID ?? '',
    async start() {
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
      await connectCa.start();
      await federation.start();
      await reconcile({
        name: options.nodeName,
        address: options.address,
        id: options.nodeId,
        status: 'alive',
        server: { port: options.serverPort, meta: serverMeta(options.version) },
      });
    },
    stop() {
      stopped = true;
      reaper.stop();
      gc.stop();
      federation.stop();
      timers.stop();
      lockDelays.stop();
      updates.stop();
      queries.stop(stoppedError());
    },
  };
}

function stoppedError(): CallError {
  return new CallError('No cluster leader: this server has stopped');
}
