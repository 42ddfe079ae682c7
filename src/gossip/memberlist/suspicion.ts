/**
 * Lifeguard's suspicion: it starts long, and each member that independently suspects the same node makes it shorter
 * (reference/gossip.md §4.6). A single slow accuser so has to wait, while a dead node, whom all miss, goes quickly.
 */
import type { Clock, Timer } from '../../ports/index.ts';
import { suspicionMinMs, suspicionRemainingMs } from './formulas.ts';
import { afterPatiently } from './timers.ts';

export interface SuspicionTimes {
  readonly minMs: number;
  readonly maxMs: number;
  /** Confirmations that bring it down to the minimum; 0: it starts there. */
  readonly k: number;
}

/** @param n records held, ourselves and the dead included. */
export function suspicionTimes(
  profile: {
    readonly suspicionMultiplier: number;
    readonly suspicionMaxMultiplier: number;
    readonly probeIntervalMs: number;
  },
  n: number,
): SuspicionTimes {
  const { suspicionMultiplier, suspicionMaxMultiplier, probeIntervalMs } = profile;
  // The accuser and the accused cannot confirm.
  const k = n - 2 < suspicionMultiplier - 2 ? 0 : suspicionMultiplier - 2;
  const minMs = suspicionMinMs(suspicionMultiplier, n, probeIntervalMs);
  return { minMs, maxMs: suspicionMaxMultiplier * minMs, k };
}

export class Suspicion {
  readonly #clock: Clock;
  readonly #times: SuspicionTimes;
  readonly #onTimeout: (confirmations: number) => void;
  readonly #startedMs: number;
  /** Who suspects; the first accuser is among them but is no confirmation. */
  readonly #accusers = new Set<string>();
  #confirmations = 0;
  #timer: Timer;

  constructor(clock: Clock, from: string, times: SuspicionTimes, onTimeout: (confirmations: number) => void) {
    this.#clock = clock;
    this.#times = times;
    this.#onTimeout = onTimeout;
    this.#startedMs = clock.monotonicMs();
    this.#accusers.add(from);
    this.#timer = this.#arm(times.k === 0 ? times.minMs : times.maxMs);
  }

  /** Counts a confirmation. @returns whether it is news, to be told on. */
  confirm(from: string): boolean {
    const { k, minMs, maxMs } = this.#times;
    if (this.#confirmations >= k || this.#accusers.has(from)) return false;
    this.#accusers.add(from);
    this.#confirmations++;
    const elapsedMs = this.#clock.monotonicMs() - this.#startedMs;
    const remainingMs = suspicionRemainingMs(this.#confirmations, k, elapsedMs, minMs, maxMs);
    this.#timer.cancel();
    this.#timer = this.#arm(Math.max(0, remainingMs));
    return true;
  }

  cancel(): void {
    this.#timer.cancel();
  }

  #arm(delayMs: number): Timer {
    return afterPatiently(this.#clock, delayMs, () => this.#onTimeout(this.#confirmations));
  }
}
