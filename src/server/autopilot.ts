/**
 * Autopilot: the leader watches how the servers are, lets new ones vote when they have been well for a while, and takes
 * dead ones out as long as the living can spare them (reference/raft.md §3.6).
 */
import { GoDurationError, parseGoDuration } from '../codec/index.ts';
import type { ConsulServer } from '../gossip/index.ts';
import {
  autopilotDefaults,
  type AutopilotConfig,
  memberStatus,
  type OperatorHealth,
  type ServerHealth,
  type ServerStats,
} from '../model/index.ts';
import type { Clock, Logger, Metrics, Timer } from '../ports/index.ts';
import { type Server as RaftServer, suffrage } from '../raft/index.ts';
import type { StateStore } from '../state/index.ts';
import type { Consensus } from './command-log.ts';
import { type LanServers, raftAddress } from './lan-servers.ts';

/** Between two questions after every server's health, ms. */
export const healthIntervalMsDefault = 2_000;
/** Who answers later is not well, ms. */
export const statsTimeoutMs = 1_000;
/** Between two looks for servers to promote or to take out, ms. */
export const promotionIntervalMs = 10_000;

const healthyGauge: readonly string[] = ['autopilot', 'healthy'];
const toleranceGauge: readonly string[] = ['autopilot', 'failure_tolerance'];
const nsPerMs = 1e6;
/** `LastContact` of a server that says it never heard from a leader, ns. */
const neverNs = -1;

type Settings = Omit<AutopilotConfig, 'CreateIndex' | 'ModifyIndex'>;

export interface AutopilotParts {
  readonly store: StateStore;
  readonly log: Consensus;
  readonly lan: LanServers;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly healthIntervalMs: number;
  /** Asks a server how its log stands. */
  readonly statsOf: (server: ConsulServer) => Promise<ServerStats>;
  /** Says on behalf of a failed server that it has left. */
  readonly forceLeave: (name: string) => Promise<void>;
}

export class Autopilot {
  readonly #parts: AutopilotParts;
  /** Last health by the server's id. */
  #health: ReadonlyMap<string, ServerHealth> = new Map();
  #healthTimer: Timer | undefined;
  #promotionTimer: Timer | undefined;
  #isRunning = false;
  #isAsking = false;
  #isRemoving = false;

  constructor(parts: AutopilotParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#askAll();
    this.#lookLater();
  }

  stop(): void {
    this.#isRunning = false;
    this.#healthTimer?.cancel();
    this.#promotionTimer?.cancel();
    this.#health = new Map();
  }

  /** How the servers of the configuration were when last asked; empty on whoever does not lead. */
  get health(): OperatorHealth {
    const { Servers } = this.#parts.log.configuration;
    const known = Servers.map(({ ID }) => this.#health.get(ID)).filter((one) => one !== undefined);
    const voters = known.filter(({ Voter }) => Voter);
    const spare = voters.filter(({ Healthy }) => Healthy).length - (Math.floor(voters.length / 2) + 1);
    return {
      Healthy: known.length > 0 && known.length === Servers.length && known.every(({ Healthy }) => Healthy),
      FailureTolerance: Math.max(0, spare),
      Servers: known,
    };
  }

  get #settings(): Settings {
    return this.#parts.store.autopilot.config ?? autopilotDefaults;
  }

  // --- health -------------------------------------------------------------------------------------------------------

  #askAll(): void {
    const { clock, healthIntervalMs } = this.#parts;
    this.#healthTimer = clock.after(healthIntervalMs, () => this.#askAll());
    if (this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask().finally(() => (this.#isAsking = false));
  }

  async #ask(): Promise<void> {
    const { log, lan, statsOf, logger, metrics } = this.#parts;
    const { Servers } = log.configuration;
    const stats = await Promise.all(
      Servers.map(async ({ ID, Address }) => {
        const server = lan.withId(ID) ?? lan.at(Address);
        if (server === undefined || server.status === memberStatus.left) return undefined;
        try {
          return await statsOf(server);
        } catch (error) {
          logger.debug('a server does not say how it is', { server: server.name, error });
          return undefined;
        }
      }),
    );
    if (!this.#isRunning) return;
    this.#health = new Map(Servers.map((server, i) => [server.ID, this.#healthOf(server, stats[i])]));
    const { Healthy, FailureTolerance } = this.health;
    metrics.gauge(healthyGauge, Healthy ? 1 : 0);
    metrics.gauge(toleranceGauge, FailureTolerance);
  }

  #healthOf({ ID, Address, Suffrage }: RaftServer, stats: ServerStats | undefined): ServerHealth {
    const { log, lan, clock } = this.#parts;
    const server = lan.withId(ID) ?? lan.at(Address);
    const isAlive = server?.status === memberStatus.alive;
    const LastContact = stats === undefined ? 0 : contactNs(stats.LastContact);
    const Healthy = isAlive && stats !== undefined && this.#isWell(stats, LastContact);
    const before = this.#health.get(ID);
    return {
      ID: server?.id ?? ID,
      Name: server?.name ?? '',
      Address,
      SerfStatus: serfStatusNames[server?.status ?? memberStatus.none],
      Version: server?.build ?? '',
      Leader: Address === log.leaderAddress,
      LastContact,
      LastTerm: stats?.LastTerm ?? 0,
      LastIndex: stats?.LastIndex ?? 0,
      Healthy,
      Voter: Suffrage === suffrage.voter,
      StableSince: before?.Healthy === Healthy ? before.StableSince : clock.wallMs(),
    };
  }

  #isWell({ LastTerm, LastIndex }: ServerStats, lastContactNs: number): boolean {
    const { log } = this.#parts;
    const { LastContactThreshold, MaxTrailingLogs } = this.#settings;
    if (lastContactNs < 0 || lastContactNs > LastContactThreshold || LastTerm !== log.lastTerm) return false;
    return log.lastIndex <= MaxTrailingLogs || LastIndex >= log.lastIndex - MaxTrailingLogs;
  }

  // --- who takes part -----------------------------------------------------------------------------------------------

  #lookLater(): void {
    this.#promotionTimer = this.#parts.clock.after(promotionIntervalMs, () => {
      void this.#promote().then(() => this.removeDeadServers());
      this.#lookLater();
    });
  }

  async #promote(): Promise<void> {
    const { log, clock, logger } = this.#parts;
    const stableMs = this.#settings.ServerStabilizationTime / nsPerMs;
    for (const { ID, Address, Suffrage } of log.configuration.Servers) {
      const health = this.#health.get(ID);
      if (!this.#isRunning || Suffrage === suffrage.voter || health === undefined || !health.Healthy) continue;
      if (clock.wallMs() - health.StableSince < stableMs) continue;
      logger.info('promoting a server to voter', { id: ID, address: Address });
      try {
        await log.addVoter(ID, Address);
      } catch (error) {
        logger.error('failed to promote a server', { id: ID, error });
      }
    }
  }

  /** Takes out servers that failed, or that gossip does not know, unless too many are gone to do without them. */
  async removeDeadServers(): Promise<void> {
    if (!this.#isRunning || this.#isRemoving || !this.#settings.CleanupDeadServers) return;
    this.#isRemoving = true;
    try {
      await this.#removeDead();
    } catch (error) {
      this.#parts.logger.error('failed to remove dead servers', { error });
    } finally {
      this.#isRemoving = false;
    }
  }

  async #removeDead(): Promise<void> {
    const { log, lan, logger, forceLeave } = this.#parts;
    const { Servers } = log.configuration;
    const voters = Servers.filter(({ Suffrage }) => Suffrage === suffrage.voter);
    const stale = Servers.filter(({ ID, Address }) => lan.at(Address) === undefined && lan.withId(ID) === undefined);
    const failed: ConsulServer[] = [];
    for (const server of lan.all.filter(({ status }) => status === memberStatus.failed)) {
      const configured = Servers.find(({ ID, Address }) => ID === server.id || Address === raftAddress(server));
      if (configured !== undefined && configured.Suffrage !== suffrage.voter) {
        logger.info('taking out a failed server that does not vote', { server: server.name });
        await forceLeave(server.name);
      } else if (configured !== undefined) failed.push(server);
    }
    const dead = stale.length + failed.length;
    if (dead === 0) return;
    const { MinQuorum } = this.#settings;
    if (voters.length - dead < MinQuorum || dead > (voters.length - 1) / 2) {
      logger.debug('too many servers are dead to take them out', { dead, voters: voters.length, minQuorum: MinQuorum });
      return;
    }
    for (const { name } of failed) {
      logger.info('taking out a failed server', { server: name });
      await forceLeave(name);
    }
    for (const { ID, Address } of stale) {
      logger.info('taking out a server that gossip does not know', { id: ID, address: Address });
      await log.removeServer(ID);
    }
  }
}

function contactNs(text: string): number {
  if (text === 'never') return neverNs;
  try {
    return parseGoDuration(text);
  } catch (error) {
    if (error instanceof GoDurationError) return neverNs;
    throw error;
  }
}

const serfStatusNames = ['none', 'alive', 'leaving', 'left', 'failed'] as const;
