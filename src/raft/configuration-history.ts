/**
 * The configurations that may still matter: the last committed one, and what the log holds behind it. Storing an entry
 * brings a configuration into force, cutting the log takes it back.
 */
import { invariant } from '../lib/index.ts';
import { type Configuration, emptyConfiguration } from './configuration.ts';

export interface IndexedConfiguration {
  /** Index of its entry; 0 for none. */
  readonly index: number;
  readonly configuration: Configuration;
}

export class ConfigurationHistory {
  /** Ascending; the first is the last one that is committed, or none at all. Never empty. */
  #known: IndexedConfiguration[];

  constructor(committed: IndexedConfiguration = { index: 0, configuration: emptyConfiguration }) {
    this.#known = [committed];
  }

  /** What is in force. */
  get latest(): IndexedConfiguration {
    return this.#known.at(-1)!;
  }

  get committed(): IndexedConfiguration {
    return this.#known[0]!;
  }

  get latestIsCommitted(): boolean {
    return this.#known.length === 1;
  }

  stored(index: number, configuration: Configuration): void {
    invariant(index > this.latest.index, `configuration ${index} does not follow ${this.latest.index}`);
    // A leader stores the next one only when the last one is committed.
    this.#known = [this.latest, { index, configuration }];
  }

  truncatedFrom(index: number): void {
    invariant(this.committed.index < index, `the committed configuration ${this.committed.index} was cut off`);
    this.#known = this.#known.filter((known) => known.index < index);
  }

  committedThrough(index: number): void {
    if (this.latest.index <= index) this.#known = [this.latest];
  }

  installed(configuration: IndexedConfiguration): void {
    this.#known = [configuration];
  }
}
