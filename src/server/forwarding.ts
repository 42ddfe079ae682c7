/**
 * From a call to who can answer it: this server, the leader, or a server of another datacenter
 * (reference/server-rpc.md §3.2, §3.3). While nobody leads, calls wait: an election is over in seconds, and most
 * clients never learn that there was one.
 */
import { splitHostPort } from '../lib/index.ts';
import { CallError } from '../model/index.ts';
import { type Clock, type Logger, type Metrics, type Random, sleep, type Timer } from '../ports/index.ts';
import { mayRetry, RpcError, type RpcServerAddress } from '../rpc/index.ts';
import { callKinds } from './call-kinds.ts';
import type { AnyCallName, AnyCallReply, AnyCallRequest, Cluster, InsecureCallName } from './cluster.ts';
import { type Consensus, neverHeardNs } from './command-log.ts';
import type { LanServers } from './lan-servers.ts';
import { noClusterLeader } from './raft-log.ts';

/** A random part of the hold time up to this one is waited between two tries. */
const pausesInHoldTime = 16;
/**
 * How long a write that is on its way to a leader may still be answered when another one leads, ms. One that is deposed
 * and alive passes it on or refuses it at once; of one that is frozen nobody will hear.
 */
const deposedGraceMs = 2_000;
/** Servers of another datacenter that one call tries when they cannot be reached. */
const remoteServersMax = 3;

const crossDcCounter: readonly string[] = ['rpc', 'cross-dc'];
const consistentSample: readonly string[] = ['rpc', 'consistentRead'];
const noPath = 'No path to datacenter';

type RoutedName = Exclude<AnyCallName, InsecureCallName>;

/** What routing looks at in a request. */
export interface Routed {
  readonly Datacenter?: string;
  /** Of `FederationState.Get`, whose Datacenter says what is asked for. */
  readonly TargetDatacenter?: string;
  readonly AllowStale?: boolean;
  readonly RequireConsistent?: boolean;
  readonly Token?: string;
}

export class Forwarding {
  readonly #datacenter: string;
  readonly #log: Consensus;
  readonly #lan: LanServers;
  readonly #cluster: Cluster | undefined;
  readonly #isReady: () => boolean;
  readonly #isLocalToken: (secret: string) => boolean;
  readonly #holdMs: number;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  /** Calls on their way to the leader: how to end those whose leader leads no more. */
  readonly #underWay = new Set<() => void>();
  readonly #unsubscribe: () => void;
  #isLeaving = false;
  #stopped = false;

  constructor(parts: {
    readonly datacenter: string;
    readonly log: Consensus;
    readonly lan: LanServers;
    readonly cluster: Cluster | undefined;
    /** Whether this server leads and has applied all that earlier leaders acknowledged. */
    readonly isReady: () => boolean;
    /** Whether a token means nothing in other datacenters. */
    readonly isLocalToken: (secret: string) => boolean;
    readonly holdMs: number;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly metrics: Metrics;
  }) {
    this.#metrics = parts.metrics;
    this.#datacenter = parts.datacenter;
    this.#log = parts.log;
    this.#lan = parts.lan;
    this.#cluster = parts.cluster;
    this.#isReady = parts.isReady;
    this.#isLocalToken = parts.isLocalToken;
    this.#holdMs = parts.holdMs;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#logger = parts.logger;
    this.#unsubscribe = parts.log.onLeadership(() => {
      for (const reconsider of this.#underWay) reconsider();
    });
  }

  /** Whether the call is to be answered from the state of this server without asking anybody. */
  isHere(method: RoutedName, request: Routed | null): boolean {
    const kind = callKinds[method];
    if (kind === 'any') return !request?.Datacenter || request.Datacenter === this.#datacenter;
    if (request === null || addressed(method, request) !== this.#datacenter) return false;
    if (this.#isReady()) return request.RequireConsistent !== true;
    // Whoever never heard of a leader has nothing to say.
    return kind === 'read' && request.AllowStale === true && this.#log.lastContactNs !== neverHeardNs;
  }

  /**
   * Gets an answer to a call that {@link isHere} denies.
   * @param answer answers here.
   * @throws CallError
   */
  async elsewhere<M extends RoutedName>(
    method: M,
    request: AnyCallRequest<M>,
    answer: () => Promise<AnyCallReply<M>>,
    signal: AbortSignal | undefined,
  ): Promise<AnyCallReply<M>> {
    const datacenter = addressed(method, request ?? {}) ?? '';
    if (datacenter !== this.#datacenter) return await this.#toDatacenter(datacenter, method, request, signal);
    const isRead = callKinds[method] !== 'write';
    const { RequireConsistent } = request as Routed;
    let deadlineMs: number | undefined;
    for (;;) {
      let failure: Error;
      try {
        if (this.#isReady()) {
          if (RequireConsistent === true) await this.#verify();
          return await answer();
        }
        const leader = this.#leader();
        if (leader !== undefined) return await this.#toLeader(leader, method, request, signal);
        const isSettling = this.#log.isLeader && RequireConsistent === true;
        failure = new CallError(isSettling ? 'Not ready to serve consistent reads' : noClusterLeader);
      } catch (error) {
        if (this.#stopped || !mayRetry(error, isRead)) throw asCallError(error);
        failure = asCallError(error);
      }
      // From the first failure on: a blocking query may have waited for minutes by then.
      const nowMs = this.#clock.monotonicMs();
      deadlineMs ??= nowMs + this.#holdMs;
      const pauseMs = this.#pauseMs();
      if (this.#isLeaving || this.#stopped || nowMs + pauseMs > deadlineMs) throw failure;
      await sleep(this.#clock, pauseMs, signal);
    }
  }

  /**
   * Who is to do what is not a call: servers to try, best first, or nobody when it is this one.
   * @throws CallError when there is no leader, or no way to the datacenter.
   */
  async locate(
    datacenter: string,
    { stale }: { readonly stale: boolean },
    signal?: AbortSignal,
  ): Promise<readonly RpcServerAddress[]> {
    if (datacenter !== this.#datacenter) return this.serversOf(datacenter);
    const deadlineMs = this.#clock.monotonicMs() + this.#holdMs;
    for (;;) {
      if (stale || this.#isReady()) return [];
      const leader = this.#leader();
      if (leader !== undefined) return [leader];
      const pauseMs = this.#pauseMs();
      if (this.#stopped || this.#clock.monotonicMs() + pauseMs > deadlineMs) throw new CallError(noClusterLeader);
      await sleep(this.#clock, pauseMs, signal);
    }
  }

  /** Servers of another datacenter. @throws CallError when there are none. */
  serversOf(datacenter: string): readonly RpcServerAddress[] {
    const wan = this.#cluster?.wan;
    const servers = wan?.serversOf(datacenter) ?? [];
    if (servers.length > 0) return servers;
    const isKnown = wan?.datacenters().includes(datacenter) === true;
    throw new CallError(isKnown ? 'Remote DC has no server currently reachable' : noPath);
  }

  /** Nobody tells this server any more who leads: its callers are to ask others. */
  leave(): void {
    this.#isLeaving = true;
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
  }

  #pauseMs(): number {
    return (this.#random.next() * this.#holdMs) / pausesInHoldTime;
  }

  #leader(): RpcServerAddress | undefined {
    const address = this.#log.leaderAddress;
    if (address === '' || this.#log.isLeader) return undefined;
    return this.#lan.at(address) ?? addressOnly(address, this.#datacenter);
  }

  async #verify(): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    try {
      await this.#log.verifyLeader();
      this.#metrics.sample(consistentSample, this.#clock.monotonicMs() - startMs);
    } catch (error) {
      // Nothing was read yet: whoever leads now can answer.
      throw new CallError(noClusterLeader, { cause: error });
    }
  }

  /**
   * One try at the leader. It ends when another one is elected: the old one may be frozen, and would be waited for
   * until its connection breaks.
   */
  async #toLeader<M extends RoutedName>(
    leader: RpcServerAddress,
    method: M,
    request: AnyCallRequest<M>,
    signal: AbortSignal | undefined,
  ): Promise<AnyCallReply<M>> {
    const address = this.#log.leaderAddress;
    const abort = new AbortController();
    const isRead = callKinds[method] !== 'write';
    let isDeposed = false;
    let grace: Timer | undefined;
    const giveUp = (): void => {
      isDeposed = true;
      abort.abort(new Error('another server leads now'));
    };
    const reconsider = (): void => {
      const { leaderAddress } = this.#log;
      if (leaderAddress === '' || leaderAddress === address) return;
      if (isRead) giveUp();
      else grace ??= this.#clock.after(deposedGraceMs, giveUp);
    };
    const onAbort = (): void => abort.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#underWay.add(reconsider);
    try {
      return await this.#cluster!.callServer(leader, method, request, { signal: abort.signal });
    } catch (error) {
      if (!isDeposed) throw error;
      this.#logger.debug('the leader changed during a call', { method });
      // A read may be asked again; of a write nobody knows what became of it.
      throw new CallError(isRead ? noClusterLeader : 'leadership lost while committing log', { cause: error });
    } finally {
      this.#underWay.delete(reconsider);
      grace?.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #toDatacenter<M extends RoutedName>(
    datacenter: string,
    method: M,
    request: AnyCallRequest<M>,
    signal: AbortSignal | undefined,
  ): Promise<AnyCallReply<M>> {
    const { Token } = (request ?? {}) as Routed;
    // What is a token here only would be unknown there; without it the call is anonymous.
    const sent = Token && this.#isLocalToken(Token) ? { ...request, Token: '' } : request;
    this.#metrics.count(crossDcCounter, 1, [{ name: 'datacenter', value: datacenter }]);
    let failure: unknown;
    for (const server of this.serversOf(datacenter).slice(0, remoteServersMax)) {
      try {
        return await this.#cluster!.callServer(server, method, sent, signal === undefined ? {} : { signal });
      } catch (error) {
        failure = error;
        if (!(error instanceof RpcError) || (error.kind !== 'connect' && error.kind !== 'stream')) break;
      }
    }
    throw asCallError(failure);
  }
}

/** The datacenter that is to answer. */
function addressed(method: RoutedName, request: Routed): string | undefined {
  return method === 'FederationState.Get' ? request.TargetDatacenter : request.Datacenter;
}

/** A leader that gossip does not know yet. */
function addressOnly(address: string, datacenter: string): RpcServerAddress | undefined {
  const parts = splitHostPort(address);
  return parts && { name: address, datacenter, address: parts.host, port: parts.port };
}

/** Texts of other servers travel as they are (§1.7). */
export function asCallError(error: unknown): Error {
  if (error instanceof RpcError) return new CallError(error.message, { cause: error });
  return error instanceof Error ? error : new CallError(String(error));
}
