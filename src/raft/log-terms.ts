/**
 * The term of every entry in the log, which is all that the rules of consensus ask about an entry. Terms only grow, so
 * a list of where each one begins is enough, however long the log.
 */
import { invariant } from '../lib/index.ts';
import { logStart, type LogPosition } from './log-entry.ts';

interface Run {
  readonly first: number;
  readonly term: number;
}

export class LogTerms {
  /** The entry before the first one we hold: its term is known, its content is gone. */
  #base: LogPosition = logStart;
  #runs: Run[] = [];
  #lastIndex = 0;

  /** Index of the first entry held, or of the one that would be. */
  get firstIndex(): number {
    return this.#base.index + 1;
  }

  get last(): LogPosition {
    return { index: this.#lastIndex, term: this.#runs.at(-1)?.term ?? this.#base.term };
  }

  /** The term of an entry; undefined when it was compacted away or does not exist yet. */
  term(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term;
    if (index < this.#base.index || index > this.#lastIndex) return undefined;
    return this.#runs.findLast(({ first }) => first <= index)?.term;
  }

  append(index: number, term: number): void {
    invariant(index === this.#lastIndex + 1, `entry ${index} does not follow ${this.#lastIndex}`);
    invariant(term >= this.last.term, `term ${term} of entry ${index} is below ${this.last.term} before it`);
    if (this.#runs.length === 0 || this.last.term !== term) this.#runs.push({ first: index, term });
    this.#lastIndex = index;
  }

  /** Forgets the entry `index` and all behind it. */
  truncateFrom(index: number): void {
    invariant(index > this.#base.index, `cannot cut the log at ${index}: it starts at ${this.firstIndex}`);
    this.#lastIndex = Math.min(this.#lastIndex, index - 1);
    while (this.#runs.length > 0 && this.#runs.at(-1)!.first > this.#lastIndex) this.#runs.pop();
  }

  /** Forgets the entries up to `index`, except the last one's term. */
  compactThrough(index: number): void {
    if (index <= this.#base.index) return;
    const term = this.term(index);
    invariant(term !== undefined, `cannot compact through ${index}: the log ends at ${this.#lastIndex}`);
    this.#base = { index, term };
    while (this.#runs.length > 1 && this.#runs[1]!.first <= index + 1) this.#runs.shift();
    if (this.#lastIndex === index) this.#runs = [];
  }

  /** Starts over behind `position`. */
  reset(position: LogPosition): void {
    this.#base = position;
    this.#runs = [];
    this.#lastIndex = position.index;
  }
}
