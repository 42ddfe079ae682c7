/**
 * Deleted keys are remembered long enough for every watcher of their prefix to notice, then forgotten. The leader keeps
 * one timer per half minute in which something was deleted, and when it is over, tells all servers up to which index to
 * forget (reference/raft.md §3.8).
 */
import type { Clock, Logger, Timer } from '../ports/index.ts';
import { type StateStore, watchKeys } from '../state/index.ts';
import type { CommandLog } from './command-log.ts';

/** How long a deletion is remembered, ms: half as long again as the longest blocking query. */
export const tombstoneTtlMs = 15 * 60_000;
/** Deletions within so much time share a timer, ms. */
export const tombstoneGranularityMs = 30_000;

export class TombstoneGc {
  readonly #store: StateStore;
  readonly #log: CommandLog;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #datacenter: string;
  /** Due time (monotonic ms) → greatest index to forget then. At most ttl / granularity + 1 of them. */
  readonly #slots = new Map<number, { index: number; readonly timer: Timer }>();
  #cancelWatch: (() => void) | undefined;

  constructor(options: {
    readonly store: StateStore;
    readonly log: CommandLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly datacenter: string;
  }) {
    this.#store = options.store;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#datacenter = options.datacenter;
  }

  /** Begins, with whatever the log holds already. */
  start(): void {
    if (this.#store.tombstoneIndex > 0) this.#hint(this.#log.lastIndex);
    this.#watch();
  }

  stop(): void {
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
    for (const { timer } of this.#slots.values()) timer.cancel();
    this.#slots.clear();
  }

  #watch(): void {
    this.#cancelWatch = this.#store.watch([watchKeys.tombstones], () => {
      this.#hint(this.#store.tombstoneIndex);
      this.#watch();
    });
  }

  #hint(index: number): void {
    const nowMs = this.#clock.monotonicMs();
    const dueMs = Math.ceil((nowMs + tombstoneTtlMs) / tombstoneGranularityMs) * tombstoneGranularityMs;
    const slot = this.#slots.get(dueMs);
    if (slot !== undefined) {
      slot.index = Math.max(slot.index, index);
      return;
    }
    const timer = this.#clock.after(dueMs - nowMs, () => {
      void this.#expire(dueMs);
    });
    this.#slots.set(dueMs, { index, timer });
  }

  async #expire(dueMs: number): Promise<void> {
    const slot = this.#slots.get(dueMs);
    this.#slots.delete(dueMs);
    if (slot === undefined) return;
    try {
      const request = { Datacenter: this.#datacenter, Op: 'reap', ReapIndex: slot.index } as const;
      await this.#log.propose({ type: 'Tombstone', request });
    } catch (error) {
      // The next deletion's timer forgets these as well.
      this.#logger.warn('failed to reap tombstones', { index: slot.index, error });
    }
  }
}
