/**
 * A client agent's way to the servers: every named call travels to one of those that gossip knows. The first of the
 * list gets all calls until it fails; while there is no leader a call is tried again for some seconds; from time to
 * time another server is turned to (reference/server-rpc.md §6.1, §6.2).
 */
import type { ConsulServer } from '../../gossip/index.ts';
import { hostPort } from '../../lib/index.ts';
import { CallError, noKnownServers, rpcRateLimitExceeded } from '../../model/index.ts';
import { type Clock, type Logger, type Metrics, type Random, sleep, type Timer } from '../../ports/index.ts';
import {
  type Archive,
  requestSnapshot,
  type RpcDial,
  RpcError,
  type RpcPool,
  type RpcServerAddress,
  selectors,
  snapshotOps,
  type SnapshotReply,
} from '../../rpc/index.ts';
import type { AnyCallReply, AnyCallRequest, CallServer } from '../cluster.ts';
import { refuseFatal } from './fatal-requests.ts';
import { RateLimit, type RpcLimits } from './rate-limit.ts';
import { isRead, isServersFault, nextTry } from './retry.ts';
import { rebalanceDelayMs, ServerList } from './server-list.ts';

/** A pause between two tries is random, up to this part of the time in which tries are made. */
const pausePart = 1 / 16;
/** A server that takes longer for a call that does not wait for a change is asked whether it is there (ms). */
const patienceMs = 5_000;
/** How long it has to say so, and how long a server has that is to be the next to turn to (ms). */
const pingTimeoutMs = 5_000;

/** Any call of port 8300 but those that need no certificate. */
export type ServersCallName = Parameters<CallServer>[1];

/** A `NamedCaller` that also knows the calls without a front door. */
export interface ServersCaller {
  /** @throws CallError, the signal's reason. */
  call<M extends ServersCallName>(
    method: M,
    request: AnyCallRequest<M>,
    signal?: AbortSignal,
  ): Promise<AnyCallReply<M>>;
}

export interface RouterOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** The `agent` logger. */
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly callServer: CallServer;
  /** Of `callServer`: connections to servers that are gone or silent are given up. */
  readonly pool: Pick<RpcPool, 'forget'>;
  /** For snapshots, which have a connection of their own. */
  readonly dial: RpcDial;
  readonly datacenter: string;
  readonly limits: () => RpcLimits;
  /** How long a call is tried again while there is no leader (`performance.rpc_hold_timeout`). */
  readonly rpcHoldTimeoutMs: number;
  /** Members of the LAN pool. */
  readonly memberCount: () => number;
  /** Called when a server has come, or has come back: what failed may work now. */
  readonly onServerUp?: () => void;
}

export interface Router {
  /** Every named call travels to a server. */
  readonly caller: ServersCaller;
  /** Servers in the order in which they are turned to. */
  readonly servers: readonly ConsulServer[];
  /** A server of this datacenter is alive, or its tags or address have changed. Others are ignored. */
  addServer(server: ConsulServer): void;
  /** A server has failed or left. */
  removeServer(server: Pick<ConsulServer, 'name'>): void;
  /**
   * Saves a snapshot, or restores the given one.
   * @throws CallError, the signal's reason.
   */
  snapshot(
    request: { readonly Op: 'save' | 'restore'; readonly Datacenter: string; readonly Token: string } & {
      readonly AllowStale: boolean;
    },
    options?: { readonly archive?: Archive; readonly signal?: AbortSignal },
  ): Promise<{ readonly reply: SnapshotReply; readonly archive: AsyncIterable<Uint8Array> }>;
  /** For `info`. */
  stats(): Readonly<Record<string, string>>;
  /** Begins to turn to another server from time to time. */
  start(): void;
  /** Calls that come later fail. Those that run end with the pool. */
  stop(): void;
}

export function createRouter(options: RouterOptions): Router {
  return new ClientRouter(options);
}

class ClientRouter implements Router {
  readonly caller: ServersCaller;
  readonly #options: RouterOptions;
  readonly #logger: Logger;
  readonly #managerLogger: Logger;
  readonly #list: ServerList;
  readonly #limit: RateLimit;
  /** Servers that are being asked whether they are there. */
  readonly #asked = new Set<string>();
  readonly #stopped = new AbortController();
  #rebalanceTimer: Timer | undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#logger = options.logger.named('client');
    this.#managerLogger = options.logger.named('manager');
    this.#list = new ServerList(options.random);
    this.#limit = new RateLimit(options.clock, options.limits);
    this.caller = { call: (method, request, signal) => this.#call(method, request, signal) };
  }

  get servers(): readonly ConsulServer[] {
    return this.#list.all;
  }

  addServer(server: ConsulServer): void {
    if (server.datacenter !== this.#options.datacenter || this.#stopped.signal.aborted) return;
    const known = this.#list.add(server);
    if (known !== undefined && samePlace(known, server)) return;
    if (known !== undefined) this.#options.pool.forget(addressOf(known));
    this.#logger.info('adding server', { server: describe(server) });
    this.#options.onServerUp?.();
  }

  removeServer({ name }: Pick<ConsulServer, 'name'>): void {
    const known = this.#list.remove(name);
    if (known === undefined) return;
    this.#logger.info('removing server', { server: describe(known) });
    this.#options.pool.forget(addressOf(known));
  }

  stats(): Readonly<Record<string, string>> {
    return { server: 'false', known_servers: String(this.#list.size) };
  }

  start(): void {
    const { clock, random, memberCount } = this.#options;
    const delayMs = rebalanceDelayMs(memberCount(), this.#list.size, random);
    this.#rebalanceTimer = clock.after(delayMs, () => void this.#rebalance());
  }

  stop(): void {
    this.#rebalanceTimer?.cancel();
    this.#list.clear();
    this.#stopped.abort(new CallError('the agent stops'));
  }

  async snapshot(
    { Op, ...request }: Parameters<Router['snapshot']>[0],
    { archive, signal }: NonNullable<Parameters<Router['snapshot']>[1]> = {},
  ): ReturnType<Router['snapshot']> {
    const { clock, dial } = this.#options;
    const server = this.#take(new Set());
    try {
      const stream = await dial(addressOf(server), selectors.snapshot, signal).catch((error: unknown) => {
        throw new RpcError('connect', error instanceof Error ? error.message : String(error));
      });
      return await requestSnapshot(
        stream,
        { ...request, Op: snapshotOps[Op] },
        { clock, ...(archive === undefined ? {} : { archive }), ...(signal === undefined ? {} : { signal }) },
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#failed(server, 'Snapshot', error);
    }
  }

  async #call<M extends ServersCallName>(
    method: M,
    request: AnyCallRequest<M>,
    signal: AbortSignal | undefined,
  ): Promise<AnyCallReply<M>> {
    refuseFatal(method, request);
    const { clock, random, rpcHoldTimeoutMs } = this.#options;
    const read = isRead(method);
    const startMs = clock.monotonicMs();
    const tried = new Set<string>();
    let giveUpMs: number | undefined;
    for (;;) {
      this.#stopped.signal.throwIfAborted();
      const server = this.#take(tried);
      let failure: CallError;
      try {
        const rest = giveUpMs === undefined ? request : withRestOfWait(request, clock.monotonicMs() - startMs);
        return await this.#try(server, method, rest, signal);
      } catch (error) {
        signal?.throwIfAborted();
        failure = this.#failed(server, method, error);
        // A query that has waited for minutes has as much time to find another server as one that fails at once.
        giveUpMs ??= clock.monotonicMs() + rpcHoldTimeoutMs;
        const next = nextTry(error, read);
        if (next === 'never' || clock.monotonicMs() >= giveUpMs) throw failure;
        tried.add(server.name);
        if (next === 'elsewhere') {
          if (this.#list.next(tried) === undefined) throw failure;
          continue;
        }
      }
      tried.clear();
      await sleep(clock, random.next() * rpcHoldTimeoutMs * pausePart, signal);
    }
  }

  /** @throws CallError */
  #take(tried: ReadonlySet<string>): ConsulServer {
    const { metrics } = this.#options;
    const server = this.#list.next(tried);
    if (server === undefined) {
      this.#managerLogger.warn('No servers available');
      throw new CallError(noKnownServers);
    }
    metrics.count(['client', 'rpc']);
    if (!this.#limit.take()) {
      metrics.count(['client', 'rpc', 'exceeded']);
      throw new CallError(rpcRateLimitExceeded);
    }
    return server;
  }

  async #try<M extends ServersCallName>(
    server: ConsulServer,
    method: M,
    request: AnyCallRequest<M>,
    signal: AbortSignal | undefined,
  ): Promise<AnyCallReply<M>> {
    const { callServer, clock } = this.#options;
    const patience = waits(request) ? undefined : clock.after(patienceMs, () => void this.#ask(server));
    try {
      return await callServer(addressOf(server), method, request, signal === undefined ? {} : { signal });
    } finally {
      patience?.cancel();
    }
  }

  /** Counts and tells a failure, and turns to another server if this one is the reason. */
  #failed(server: ConsulServer, method: string, error: unknown): CallError {
    if (!(error instanceof RpcError)) throw error;
    const failure = new CallError(error.message, { cause: error });
    const fault = isServersFault(error);
    this.#options.metrics.count(['client', 'rpc', 'failed'], 1, [{ name: 'server', value: server.name }]);
    const fields = { method, server: hostPort(server.address, server.port), error: error.message };
    // What a server refuses is told where it was asked for.
    if (fault) this.#logger.error('RPC failed to server', fields);
    else this.#logger.debug('RPC failed to server', fields);
    if (fault) this.#list.failed(server.name);
    return failure;
  }

  /** Whether a silent server is there at all; if not, nobody shall wait for it any longer. */
  async #ask(server: ConsulServer): Promise<void> {
    if (this.#asked.has(server.name)) return;
    this.#asked.add(server.name);
    try {
      if (await this.#isAlive(server)) return;
      this.#list.failed(server.name);
      this.#options.pool.forget(addressOf(server));
    } finally {
      this.#asked.delete(server.name);
    }
  }

  async #isAlive(server: ConsulServer): Promise<boolean> {
    try {
      await this.#options.callServer(addressOf(server), 'Status.Ping', {}, { timeoutMs: pingTimeoutMs });
      return true;
    } catch (error) {
      this.#managerLogger.debug('pinging server failed', { server: describe(server), error });
      return false;
    }
  }

  async #rebalance(): Promise<void> {
    const order = this.#list.shuffled();
    let first: ConsulServer | undefined;
    for (const server of order) {
      if (await this.#isAlive(server)) {
        first = server;
        break;
      }
    }
    if (this.#stopped.signal.aborted) return;
    if (first !== undefined) {
      this.#list.reorder(order, first.name);
      this.#managerLogger.debug('Rebalanced servers, new active server', {
        number_of_servers: this.#list.size,
        active_server: describe(first),
      });
    } else if (order.length > 0) this.#managerLogger.debug('No healthy servers during rebalance, aborting');
    this.start();
  }
}

function addressOf({ name, datacenter, address, port }: ConsulServer): RpcServerAddress {
  return { name, datacenter, address, port };
}

function samePlace(a: ConsulServer, b: ConsulServer): boolean {
  return a.address === b.address && a.port === b.port && a.id === b.id;
}

/** As the peer's log names a server. */
function describe({ name, address, port, datacenter }: ConsulServer): string {
  return `${name} (Addr: tcp/${hostPort(address, port)}) (DC: ${datacenter})`;
}

interface Waits {
  readonly MinQueryIndex?: number;
  readonly MaxQueryTime?: number;
}

/** Whether a call waits for a change. */
function waits(request: unknown): boolean {
  return ((request as Waits | null)?.MinQueryIndex ?? 0) > 0;
}

/** The same request for another server, which shall wait no longer than the first would have. */
function withRestOfWait<R>(request: R, waitedMs: number): R {
  const { MaxQueryTime = 0 } = (request ?? {}) as Waits;
  if (MaxQueryTime <= 0 || !waits(request)) return request;
  return { ...request, MaxQueryTime: Math.max(shortestWaitNs, MaxQueryTime - Math.round(waitedMs * 1e6)) };
}

/** Nothing at all would mean the longest wait. */
const shortestWaitNs = 1e6;
