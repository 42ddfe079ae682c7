/**
 * The key/value table and its tombstones. A deleted key leaves a tombstone for a while, so that the index of a prefix
 * does not fall when its newest key goes: a watcher of the prefix sees the deletion (reference/raft.md §6.3).
 *
 * A key's answer, `[entry]`, is stored as one frozen array: the same object until the key is written again, so an
 * encoded form can be kept in a WeakMap keyed by the entry or by the array.
 */
import type { ByteString } from '../lib/index.ts';
import type { DirEntry } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import { OrderedMap } from './ordered-map.ts';
import type { Transaction } from './transaction.ts';
import { watchKeys } from './watches.ts';

export interface Tombstone {
  readonly Key: ByteString;
  readonly ModifyIndex: number;
}

type Stored = readonly [DirEntry];

export class KvTable {
  readonly #entries: OrderedMap<Stored>;
  readonly #tombstones: OrderedMap<Tombstone>;
  /** Locked keys, by session and key. */
  readonly #held: OrderedMap<ByteString>;

  constructor(
    entries = new OrderedMap<Stored>(),
    tombstones = new OrderedMap<Tombstone>(),
    held = new OrderedMap<ByteString>(),
  ) {
    this.#entries = entries;
    this.#tombstones = tombstones;
    this.#held = held;
  }

  get(key: ByteString): DirEntry | undefined {
    return this.#entries.get(key)?.[0];
  }

  /** The entry in a list of one. */
  answer(key: ByteString): readonly [DirEntry] | undefined {
    return this.#entries.get(key);
  }

  forPrefix(prefix: ByteString, visit: (entry: DirEntry) => void): void {
    this.#entries.forPrefix(prefix, ([entry]) => visit(entry));
  }

  /** Keys whose lock the session holds, in order. */
  heldBy(session: string): ByteString[] {
    const keys: ByteString[] = [];
    this.#held.forPrefix(heldKey(session, ''), (key) => {
      keys.push(key);
    });
    return keys;
  }

  /** The greatest index of a tombstone under `prefix`, 0 when there is none. */
  newestTombstone(prefix: ByteString): number {
    let newest = 0;
    this.#tombstones.forPrefix(prefix, (tombstone) => {
      newest = Math.max(newest, tombstone.ModifyIndex);
    });
    return newest;
  }

  tombstones(): Tombstone[] {
    return this.#tombstones.values();
  }

  put(rows: IndexRows, tx: Transaction, entry: DirEntry): void {
    const before = this.#entries.get(entry.Key);
    this.#write(entry.Key, Object.freeze([entry] as const));
    tx.onRollback(() => this.#write(entry.Key, before));
    rows.move(tx, 'kvs');
    tx.touchKv(entry.Key);
  }

  /** Deletes without leaving a tombstone. */
  remove(rows: IndexRows, tx: Transaction, key: ByteString): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#write(key, undefined);
    tx.onRollback(() => this.#write(key, before));
    rows.move(tx, 'kvs');
    tx.touchKv(key);
  }

  bury(rows: IndexRows, tx: Transaction, key: ByteString): void {
    const before = this.#tombstones.get(key);
    this.#tombstones.set(key, { Key: key, ModifyIndex: tx.index });
    tx.onRollback(() => putBack(this.#tombstones, key, before));
    rows.move(tx, 'tombstones');
    tx.touch(watchKeys.tombstones);
  }

  forget(tx: Transaction, tombstone: Tombstone): void {
    this.#tombstones.delete(tombstone.Key);
    tx.onRollback(() => this.#tombstones.set(tombstone.Key, tombstone));
  }

  /** All entries by key, one by one: millions take their time. The table must not be changed meanwhile; a copy is not. */
  *entries(): Generator<DirEntry> {
    for (const [entry] of this.#entries.eachValue()) yield entry;
  }

  /** A copy that later writes do not reach; O(1). */
  clone(): KvTable {
    return new KvTable(this.#entries.clone(), this.#tombstones.clone(), this.#held.clone());
  }

  #write(key: ByteString, stored: Stored | undefined): void {
    const holder = this.#entries.get(key)?.[0].Session ?? '';
    const nextHolder = stored?.[0].Session ?? '';
    putBack(this.#entries, key, stored);
    if (holder === nextHolder) return;
    if (holder !== '') this.#held.delete(heldKey(holder, key));
    if (nextHolder !== '') this.#held.set(heldKey(nextHolder, key), key);
  }
}

/** Session ids match without regard to case, keys exactly. */
function heldKey(session: string, key: ByteString): string {
  return `${session.toLowerCase()}\0${key}`;
}

function putBack<V>(map: OrderedMap<V>, key: string, before: V | undefined): void {
  if (before === undefined) map.delete(key);
  else map.set(key, before);
}
