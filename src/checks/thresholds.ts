/**
 * Hysteresis between a check's runs and its status (reference/agent.md §4.3): a result counts only when it was the same
 * kind so many times in a row. Passing and warning are one kind, critical the other. Both counters start full, so the
 * very first result counts at once.
 */
import type { CheckStatus } from '../model/index.ts';

export interface Verdict {
  readonly counts: boolean;
  /** Results of this kind in a row, and how many are needed. */
  readonly inARow: number;
  readonly needed: number;
}

export class Thresholds {
  readonly #successNeeded: number;
  readonly #failuresNeeded: number;
  #successes: number;
  #failures: number;

  constructor(options: { readonly successBeforePassing: number; readonly failuresBeforeCritical: number }) {
    this.#successNeeded = options.successBeforePassing;
    this.#failuresNeeded = options.failuresBeforeCritical;
    this.#successes = this.#successNeeded;
    this.#failures = this.#failuresNeeded;
  }

  judge(status: CheckStatus): Verdict {
    if (status === 'critical') {
      this.#successes = 0;
      this.#failures++;
      return { counts: this.#failures >= this.#failuresNeeded, inARow: this.#failures, needed: this.#failuresNeeded };
    }
    this.#failures = 0;
    this.#successes++;
    return { counts: this.#successes >= this.#successNeeded, inARow: this.#successes, needed: this.#successNeeded };
  }
}
