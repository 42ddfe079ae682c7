/**
 * The first election of a new cluster (reference/raft.md §2.14, §3.1): when as many servers as expected see each other,
 * and none of them is part of a cluster already, they become the first configuration, once.
 */
import type { ConsulServer } from '../gossip/index.ts';
import { type Clock, type Logger, sleep } from '../ports/index.ts';
import { suffrage } from '../raft/index.ts';
import type { Consensus } from './command-log.ts';
import { isAlive, type LanServers, raftAddress } from './lan-servers.ts';

/** How often a server is asked whether it has peers. */
const asksMax = 6;
/** Pause after the first try without an answer, ms; doubles with every further one. */
const askPauseMs = 1_000;
/** Servers of lower versions have their address as id. */
const raftVersionWithIds = 3;

export class Bootstrapper {
  readonly #expect: number;
  readonly #self: { readonly id: string; readonly address: string };
  readonly #log: Consensus;
  readonly #lan: LanServers;
  readonly #peersOf: (server: ConsulServer) => Promise<readonly string[]>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  #isDone: boolean;
  #isAsking = false;

  constructor(parts: {
    /** Servers to wait for; 1 for a cluster of this server alone, 0 to wait until others take it in. */
    readonly expect: number;
    readonly self: { readonly id: string; readonly address: string };
    readonly log: Consensus;
    readonly lan: LanServers;
    /** Asks a server whom it has in its configuration. */
    readonly peersOf: (server: ConsulServer) => Promise<readonly string[]>;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#expect = parts.expect;
    this.#self = parts.self;
    this.#log = parts.log;
    this.#lan = parts.lan;
    this.#peersOf = parts.peersOf;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#isDone = parts.expect <= 0;
  }

  /** To be called at the start and whenever a server has joined. */
  async attempt(): Promise<void> {
    if (this.#isDone || this.#isAsking) return;
    if (this.#log.lastIndex > 0 || this.#log.peers.length > 0) {
      this.#isDone = true;
      return;
    }
    this.#isAsking = true;
    try {
      await this.#bootstrap();
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#logger.error('failed to bootstrap the cluster', { error });
    } finally {
      this.#isAsking = false;
    }
  }

  stop(): void {
    this.#isDone = true;
    this.#stopped.abort(new Error('the server stops'));
  }

  async #bootstrap(): Promise<void> {
    if (this.#expect === 1) {
      this.#isDone = true;
      const { id, address } = this.#self;
      await this.#log.bootstrap({ Servers: [{ Suffrage: suffrage.voter, ID: id, Address: address }] });
      return;
    }
    const servers = this.#candidates();
    if (servers === undefined) return;
    for (const server of servers) {
      if ((await this.#askedPeers(server)).length === 0) continue;
      this.#logger.info('a cluster exists already; this server waits to be taken in', { known: server.name });
      this.#isDone = true;
      return;
    }
    this.#isDone = true;
    // Somebody was faster: its entry has come, and is the same.
    if (this.#log.lastIndex > 0) return;
    const Servers = servers.map((server) => ({
      Suffrage: server.nonVoter ? suffrage.nonvoter : suffrage.voter,
      ID: server.raftVersion >= raftVersionWithIds ? server.id : raftAddress(server),
      Address: raftAddress(server),
    }));
    this.#logger.info('found the expected number of servers, bootstrapping', {
      servers: Servers.map(({ Address }) => Address).join(','),
    });
    await this.#log.bootstrap({ Servers });
  }

  /** The servers to begin with; undefined when it is too early, or somebody waits for something else. */
  #candidates(): readonly ConsulServer[] | undefined {
    const servers = this.#lan.all.filter(isAlive);
    for (const { name, expect, bootstrap } of servers) {
      if (expect !== 0 && expect !== this.#expect) {
        this.#logger.error('a server expects another number of servers; set bootstrap_expect alike on all', {
          server: name,
          expects: expect,
          here: this.#expect,
        });
        return undefined;
      }
      if (bootstrap) {
        this.#logger.error('a server is in bootstrap mode; bootstrap_expect does nothing beside it', { server: name });
        return undefined;
      }
    }
    return servers.filter(({ nonVoter }) => !nonVoter).length < this.#expect ? undefined : servers;
  }

  /** Whoever does not answer at all is taken for one that has none. */
  async #askedPeers(server: ConsulServer): Promise<readonly string[]> {
    for (let attempt = 1; attempt <= asksMax; attempt++) {
      try {
        return await this.#peersOf(server);
      } catch (error) {
        if (this.#stopped.signal.aborted) throw error;
        this.#logger.warn('failed to ask a server for its peers, asking again', { server: server.name, error });
        await sleep(this.#clock, askPauseMs * 2 ** (attempt - 1), this.#stopped.signal);
      }
    }
    return [];
  }
}
