/**
 * Lifeguard's local health: a member that misses answers it should have had suspects itself first, and gives others
 * more time (reference/gossip.md §4.5). The only effect is on the probe interval.
 */
export class Awareness {
  readonly #max: number;
  #score = 0;

  /** @param max the score stays below this. */
  constructor(max: number) {
    this.#max = max;
  }

  /** 0 is healthy. */
  get score(): number {
    return this.#score;
  }

  apply(delta: number): void {
    this.#score = Math.min(Math.max(this.#score + delta, 0), this.#max - 1);
  }

  scale(intervalMs: number): number {
    return intervalMs * (this.#score + 1);
  }
}

/**
 * What a failed probe says about ourselves: intermediaries that promised a nack and sent none point at us. Without such
 * intermediaries every failure counts a little.
 */
export function failedProbeDelta(nacksExpected: number, nacksReceived: number): number {
  return nacksExpected > 0 ? Math.max(0, nacksExpected - nacksReceived) : 1;
}
