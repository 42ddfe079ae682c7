/**
 * A Lamport clock orders what happens in a pool without a common time: every message carries a number, and whoever
 * hears one counts on from there. serf keeps three of them, for intents, user events and queries
 * (reference/gossip.md §5.2).
 */

/**
 * Where counting ends. The field has 64 bits, numbers here are exact up to this; a pool that counts a message a
 * millisecond is here after 280,000 years, so who sends it is up to no good and must at least not break anything.
 */
const lamportTimeMax = Number.MAX_SAFE_INTEGER;

/** The time that follows `time`. */
export function lamportNext(time: number): number {
  return Math.min(time + 1, lamportTimeMax);
}

export class LamportClock {
  #time = 1;

  /** The time that the next message carries. */
  get time(): number {
    return this.#time;
  }

  /** Takes the current time and counts on. */
  take(): number {
    const time = this.#time;
    this.#time = lamportNext(time);
    return time;
  }

  /** Notes a time that somebody else has used. */
  witness(time: number): void {
    if (time >= this.#time) this.#time = lamportNext(time);
  }
}
