/**
 * Persist before you promise. Everything that must reach the disk gets a number in order; an answer that depends on it
 * waits until that number and all before it are on the disk. Also knows how far the log is durable, which is what a
 * server may count for itself when it counts who has an entry.
 */

/** Writes in progress; `logEnd` is the last entry the log will have durable with it, undefined when it is no log write. */
interface Pending {
  readonly sequence: number;
  logEnd: number | undefined;
}

export class Durability<Held> {
  #issued = 0;
  #pending: Pending[] = [];
  readonly #done = new Set<number>();
  #durableIndex: number;
  #held: { readonly after: number; readonly what: Held }[] = [];

  /** @param durableIndex last entry that is on the disk at the start. */
  constructor(durableIndex: number) {
    this.#durableIndex = durableIndex;
  }

  /** Every entry up to this one is on the disk. */
  get durableIndex(): number {
    return this.#durableIndex;
  }

  /** Number of the newest write. */
  get issued(): number {
    return this.#issued;
  }

  /** Whether every write up to `sequence` is on the disk. */
  isDone(sequence: number): boolean {
    const oldest = this.#pending[0];
    return oldest === undefined || oldest.sequence > sequence;
  }

  /** A write of something else than the log begins. @returns its number. */
  issue(): number {
    this.#pending.push({ sequence: ++this.#issued, logEnd: undefined });
    return this.#issued;
  }

  /** A write that makes the log end at `logEnd` begins. */
  issueAppend(logEnd: number): number {
    this.#pending.push({ sequence: ++this.#issued, logEnd });
    return this.#issued;
  }

  /** A write that cuts the log off behind `logEnd` begins; what was cut no longer counts. */
  issueCut(logEnd: number): number {
    this.#durableIndex = Math.min(this.#durableIndex, logEnd);
    for (const pending of this.#pending) {
      if (pending.logEnd !== undefined) pending.logEnd = Math.min(pending.logEnd, logEnd);
    }
    return this.issueAppend(logEnd);
  }

  /** The log was replaced by a snapshot up to `index`, which is on the disk. */
  issueReset(index: number): number {
    const sequence = this.issueCut(0);
    this.#pending.at(-1)!.logEnd = index;
    return sequence;
  }

  /** Keeps `what` until the write `after` and all before it are done. */
  hold(after: number, what: Held): void {
    this.#held.push({ after, what });
  }

  /** The write `sequence` is on the disk. @returns what waited for it, oldest first. */
  complete(sequence: number): readonly Held[] {
    this.#done.add(sequence);
    while (this.#pending.length > 0 && this.#done.delete(this.#pending[0]!.sequence)) {
      const { logEnd } = this.#pending.shift()!;
      if (logEnd !== undefined) this.#durableIndex = Math.max(this.#durableIndex, logEnd);
    }
    const free = this.#held.filter(({ after }) => this.isDone(after));
    this.#held = this.#held.filter(({ after }) => !this.isDone(after));
    return free.map(({ what }) => what);
  }
}
