/**
 * A session with a TTL has to be renewed. The leader keeps one timer for each and destroys it when twice the TTL has
 * passed: the second half is grace for slow networks and for a change of leader, which starts all timers anew
 * (reference/raft.md §3.7).
 */
import { parseGoDurationMs } from '../codec/index.ts';
import type { Session } from '../model/index.ts';
import type { Clock, Logger, Metrics, Timer } from '../ports/index.ts';
import type { SessionChange, StateStore } from '../state/index.ts';
import type { CommandLog } from './command-log.ts';

/** A session ends this many TTLs after its last renewal. */
export const ttlsUntilEnd = 2;
/** How often destroying an expired session is tried. */
export const destroyAttemptsMax = 6;
/** Pause after the first failed attempt, ms; doubles with every further one. */
export const destroyRetryMs = 10_000;

const activeGauge: readonly string[] = ['session_ttl', 'active'];
const invalidateSample: readonly string[] = ['session_ttl', 'invalidate'];

export class SessionTimers {
  readonly #store: StateStore;
  readonly #log: CommandLog;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #datacenter: string;
  /** By lower-cased session id; one for each session with a TTL. */
  readonly #timers = new Map<string, Timer>();
  #unsubscribe: (() => void) | undefined;

  constructor(options: {
    readonly store: StateStore;
    readonly log: CommandLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly datacenter: string;
  }) {
    this.#store = options.store;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#datacenter = options.datacenter;
  }

  /** Takes up the duty: every session gets its whole time. */
  start(): void {
    this.#unsubscribe ??= this.#store.onSessionChange((change) => this.#follow(change));
    for (const session of this.#store.sessions().result) this.renew(session);
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** Starts the session's time anew. */
  renew(session: Session): void {
    // Whoever does not lead keeps no time.
    if (this.#unsubscribe === undefined) return;
    const ttlMs = session.TTL === '' ? 0 : parseGoDurationMs(session.TTL);
    if (ttlMs > 0) this.#set(session.ID, ttlsUntilEnd * ttlMs, () => this.#expire(session.ID, 1));
  }

  #follow(change: SessionChange): void {
    if (change.kind === 'created') {
      this.renew(change.session);
      return;
    }
    const id = change.session.ID.toLowerCase();
    this.#timers.get(id)?.cancel();
    this.#timers.delete(id);
    this.#showActive();
  }

  #set(id: string, delayMs: number, then: () => Promise<void>): void {
    this.#timers.get(id.toLowerCase())?.cancel();
    this.#timers.set(
      id.toLowerCase(),
      this.#clock.after(delayMs, () => void then()),
    );
    this.#showActive();
  }

  /** When it works, the session's end clears its timer. */
  async #expire(id: string, attempt: number): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    try {
      const request = { Datacenter: this.#datacenter, Op: 'destroy', Session: { ID: id } } as const;
      await this.#log.propose({ type: 'Session', request });
      this.#logger.debug('session TTL expired', { session: id });
    } catch (error) {
      if (this.#unsubscribe === undefined) return;
      if (attempt >= destroyAttemptsMax) {
        this.#logger.error('giving up on an expired session; destroy it by hand', { session: id, error });
        return;
      }
      this.#logger.warn('failed to destroy an expired session, will try again', { session: id, error });
      this.#set(id, destroyRetryMs * 2 ** (attempt - 1), () => this.#expire(id, attempt + 1));
    } finally {
      this.#metrics.sample(invalidateSample, this.#clock.monotonicMs() - startMs);
    }
  }

  #showActive(): void {
    this.#metrics.gauge(activeGauge, this.#timers.size);
  }
}
