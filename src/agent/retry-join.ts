/**
 * Joining a pool at the start. `start_join` has one attempt and must succeed; `retry_join` goes on in the background
 * until it has joined once, or its attempts are used up and the agent ends, so that a supervisor sees it
 * (reference/agent.md §3.7).
 */
import type { JoinResult } from '../gossip/index.ts';
import { type Clock, type Logger, sleep } from '../ports/index.ts';

export interface RetryJoinOptions {
  readonly cluster: 'LAN' | 'WAN';
  /** Addresses, and strings that a cloud turns into addresses. */
  readonly entries: readonly string[];
  readonly intervalMs: number;
  /** Attempts after the first; 0 = without end. */
  readonly retriesMax: number;
  /** Turns an entry into addresses. @throws Error when they cannot be found. */
  readonly discover: (entry: string) => Promise<readonly string[]>;
  readonly join: (addresses: readonly string[]) => Promise<JoinResult>;
  /** The attempts are used up. */
  readonly onExhausted: (error: Error) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Runs in the background until it has joined or `stop` is called. */
export class RetryJoin {
  readonly #options: RetryJoinOptions;
  readonly #stop = new AbortController();

  constructor(options: RetryJoinOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.entries.length > 0) void this.#run();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { cluster, intervalMs, retriesMax, clock, logger } = this.#options;
    const { signal } = this.#stop;
    logger.info('Joining cluster...', { cluster });
    for (let attempt = 0; !signal.aborted; attempt++) {
      const addresses = await this.#addresses();
      let problem = 'No servers to join';
      if (addresses.length > 0) {
        const { joined, errors } = await this.#join(addresses);
        if (signal.aborted) return;
        if (joined > 0) {
          const num_agents = joined;
          logger.info('Join cluster completed. Synced with initial agents', { cluster, num_agents });
          return;
        }
        problem = errors.join('; ');
      }
      if (retriesMax > 0 && attempt >= retriesMax) {
        const error = new Error(`agent: max join ${cluster} retry exhausted, exiting`);
        logger.error('Retry join failed', { error });
        this.#options.onExhausted(error);
        return;
      }
      logger.warn('Join cluster failed, will retry', {
        cluster,
        retry_interval: `${intervalMs / 1000}s`,
        error: problem,
      });
      await sleep(clock, intervalMs, signal).catch(() => undefined);
    }
  }

  async #join(addresses: readonly string[]): Promise<JoinResult> {
    try {
      return await this.#options.join(addresses);
    } catch (error) {
      return { joined: 0, errors: [error instanceof Error ? error.message : String(error)] };
    }
  }

  async #addresses(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const entry of this.#options.entries) {
      try {
        found.push(...(await this.#options.discover(entry)));
      } catch (error) {
        this.#options.logger.error('Cannot discover address', { error });
      }
    }
    return found;
  }
}
