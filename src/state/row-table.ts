/**
 * A table of rows with one unique key and one index row: intentions, config entries and the like. It is read whole or by
 * key; whoever watches the table is woken by every write, whoever watches a row by writes of that row
 * (reference/raft.md §6.1-§6.3).
 */
import type { IndexRows } from './index-rows.ts';
import { OrderedMap } from './ordered-map.ts';
import type { Transaction } from './transaction.ts';

export class RowTable<T> {
  readonly #name: string;
  readonly #rows: IndexRows;
  readonly #keyOf: (row: T) => string;
  readonly #byKey = new OrderedMap<T>();
  #list: readonly T[] | undefined;

  /**
   * @param name of the table and of its index row.
   * @param keyOf a row's key, as it is compared.
   */
  constructor(name: string, rows: IndexRows, keyOf: (row: T) => string) {
    this.#name = name;
    this.#rows = rows;
    this.#keyOf = keyOf;
  }

  /** All rows in key order; the same array until one changes. */
  get list(): readonly T[] {
    return (this.#list ??= Object.freeze(this.#byKey.values()));
  }

  /** Index of the last write; 1 when there was none. */
  get index(): number {
    return Math.max(1, this.#rows.get(this.#name));
  }

  get(key: string): T | undefined {
    return this.#byKey.get(key);
  }

  /** Rows whose keys begin with `prefix`, in key order. */
  ofPrefix(prefix: string): readonly T[] {
    const found: T[] = [];
    this.#byKey.forPrefix(prefix, (row) => {
      found.push(row);
    });
    return found;
  }

  /** What to watch for any change of the table. */
  get watchKey(): string {
    return `table:${this.#name}`;
  }

  /** What to watch for changes of one row, there or not. */
  rowWatchKey(key: string): string {
    return `table:${this.#name}:${key}`;
  }

  put(tx: Transaction, row: T): void {
    const key = this.#keyOf(row);
    this.#write(tx, key, row);
  }

  /** Does nothing when there is no such row. */
  remove(tx: Transaction, key: string): void {
    if (this.#byKey.has(key)) this.#write(tx, key, undefined);
  }

  #write(tx: Transaction, key: string, row: T | undefined): void {
    const before = this.#byKey.get(key);
    this.#replace(key, row);
    tx.onRollback(() => this.#replace(key, before));
    this.#rows.move(tx, this.#name);
    tx.touch(this.watchKey);
    tx.touch(this.rowWatchKey(key));
  }

  #replace(key: string, row: T | undefined): void {
    if (row === undefined) this.#byKey.delete(key);
    else this.#byKey.set(key, row);
    this.#list = undefined;
  }
}
