/**
 * KVS: set, compare-and-set, delete, compare-and-delete, delete a tree, lock, unlock. The rules, odd ones included,
 * are those of reference/raft.md §6.5 and §8.
 */
import type { ByteString } from '../lib/index.ts';
import { CallError, type DirEntry, type KVSRequest } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import type { KvTable } from './kv-table.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

export interface KvTables {
  readonly kv: KvTable;
  readonly rows: IndexRows;
}

type Wanted = KVSRequest['DirEnt'];

export function applyKvs(tables: KvTables, tx: Transaction, request: KVSRequest): boolean | null {
  const wanted = request.DirEnt;
  switch (request.Op) {
    case 'set':
      set(tables, tx, wanted);
      return null;
    case 'cas':
      return compareAndSet(tables, tx, wanted);
    case 'delete':
      deleteKey(tables, tx, wanted.Key);
      return null;
    case 'delete-cas':
      return compareAndDelete(tables, tx, wanted);
    case 'delete-tree':
      deleteTree(tables, tx, wanted.Key);
      return null;
    case 'lock':
      requireSession(wanted.Session ?? '');
      return false;
    case 'unlock':
      if (!wanted.Session) throw new CallError('missing session');
      // Nobody holds a lock without a session; what is not held by the caller is not released.
      return false;
    default:
      throw new CallError(`Invalid KVS operation '${request.Op as string}'`);
  }
}

/** @throws CallError always, in the peer's words: no session exists. */
function requireSession(id: string): void {
  if (id === '') throw new CallError('missing session');
  if (!isUuid(id)) throw new CallError('failed session lookup: index error: UUID must be 36 characters');
  throw new CallError(`invalid session "${id}"`);
}

/** Keeps the holder but takes the lock index of the request, which a plain set leaves at 0. */
function set({ kv, rows }: KvTables, tx: Transaction, wanted: Wanted): void {
  const before = kv.get(wanted.Key);
  const Value = wanted.Value && wanted.Value.length > 0 ? wanted.Value : null;
  const LockIndex = wanted.LockIndex ?? 0;
  const Flags = wanted.Flags ?? 0n;
  if (
    before !== undefined &&
    before.LockIndex === LockIndex &&
    before.Flags === Flags &&
    sameBytes(before.Value, Value)
  ) {
    return;
  }
  const entry: DirEntry = {
    LockIndex,
    Key: wanted.Key,
    Flags,
    Value,
    Session: before?.Session ?? '',
    CreateIndex: before?.CreateIndex ?? tx.index,
    ModifyIndex: tx.index,
  };
  kv.put(rows, tx, Object.freeze(entry));
}

function compareAndSet(tables: KvTables, tx: Transaction, wanted: Wanted): boolean {
  // 0 means: only when it does not exist.
  if ((tables.kv.get(wanted.Key)?.ModifyIndex ?? 0) !== (wanted.ModifyIndex ?? 0)) return false;
  set(tables, tx, wanted);
  return true;
}

function deleteKey({ kv, rows }: KvTables, tx: Transaction, key: ByteString): void {
  if (kv.get(key) === undefined) return;
  kv.bury(rows, tx, key);
  kv.remove(rows, tx, key);
}

/** What does not exist counts as deleted, whatever index was given. */
function compareAndDelete(tables: KvTables, tx: Transaction, wanted: Wanted): boolean {
  const before = tables.kv.get(wanted.Key);
  if (before === undefined) return true;
  if (before.ModifyIndex !== (wanted.ModifyIndex ?? 0)) return false;
  deleteKey(tables, tx, wanted.Key);
  return true;
}

/** One tombstone for the whole prefix; none for the empty prefix, whose index is the table's anyway. */
function deleteTree({ kv, rows }: KvTables, tx: Transaction, prefix: ByteString): void {
  const keys: ByteString[] = [];
  kv.forPrefix(prefix, (entry) => {
    keys.push(entry.Key);
  });
  if (keys.length === 0) return;
  for (const key of keys) kv.remove(rows, tx, key);
  if (prefix !== '') kv.bury(rows, tx, prefix);
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return Buffer.compare(a, b) === 0;
}
