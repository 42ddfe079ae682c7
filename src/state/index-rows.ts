/**
 * The index of an answer tells a watcher whether anything it can see has changed. Rows hold the log index of the last
 * write per table, per service and per kind; clients see them, so they move exactly as the peer's do
 * (reference/raft.md §6.1-§6.3).
 */
import type { Transaction } from './transaction.ts';

export interface IndexRow {
  /** As last written: `nodes`, `service.web`. */
  readonly Key: string;
  readonly Value: number;
}

export const serviceLastExtinction = 'service_last_extinction';
export const serviceRow = (name: string): string => `service.${name}`;
/** `typical` stands for the empty kind. */
export const kindRow = (kind: string): string => `service_kind.${kind === '' ? 'typical' : kind}`;

export class IndexRows {
  /** By lower-cased key: names compare without regard to case. */
  readonly #rows = new Map<string, IndexRow>();

  /** While a snapshot is restored a row only rises: records stand in order of names, not of indexes. */
  restoring = false;

  /** 0 when the row was never written. */
  get(key: string): number {
    return this.#rows.get(key)?.Value ?? this.#rows.get(key.toLowerCase())?.Value ?? 0;
  }

  /** The greatest of the rows. */
  max(...keys: readonly string[]): number {
    let value = 0;
    for (const key of keys) value = Math.max(value, this.get(key));
    return value;
  }

  /** Moves the row to the transaction's index. */
  move(tx: Transaction, key: string): void {
    this.set(tx, key, tx.index);
  }

  /** Moves the row to a value that is not the transaction's index. */
  set(tx: Transaction, key: string, value: number): void {
    const lower = key.toLowerCase();
    const before = this.#rows.get(lower);
    if (before?.Value === value && before.Key === key) return;
    if (this.restoring && (before?.Value ?? 0) > value) return;
    this.#rows.set(lower, { Key: key, Value: value });
    tx.onRollback(() => this.#putBack(lower, before));
  }

  /** Takes over a row of a snapshot, which is right whatever the records have made of it. */
  restore(row: IndexRow): void {
    this.#rows.set(row.Key.toLowerCase(), Object.freeze(row));
  }

  delete(tx: Transaction, key: string): void {
    const lower = key.toLowerCase();
    const before = this.#rows.get(lower);
    if (before === undefined) return;
    this.#rows.delete(lower);
    tx.onRollback(() => this.#putBack(lower, before));
  }

  /** All rows ordered by key; costs a sort. */
  all(): IndexRow[] {
    return [...this.#rows.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  }

  #putBack(lower: string, before: IndexRow | undefined): void {
    if (before === undefined) this.#rows.delete(lower);
    else this.#rows.set(lower, before);
  }
}
