/**
 * KVS: set, compare-and-set, delete, compare-and-delete, delete a tree, lock, unlock. The rules, odd ones included,
 * are those of reference/raft.md §6.5 and §8.
 */
import type { ByteString } from '../lib/index.ts';
import { CallError, type DirEntry, type KVSRequest } from '../model/index.ts';
import type { IndexRows } from './index-rows.ts';
import type { KvTable } from './kv-table.ts';
import type { SessionTable } from './session-table.ts';
import type { Transaction } from './transaction.ts';

export interface KvTables {
  readonly kv: KvTable;
  readonly rows: IndexRows;
}

export interface LockTables extends KvTables {
  readonly sessions: SessionTable;
}

type Wanted = KVSRequest['DirEnt'];

export function applyKvs(tables: LockTables, tx: Transaction, request: KVSRequest): boolean | null {
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
      return lock(tables, tx, wanted);
    case 'unlock':
      return unlock(tables, tx, wanted);
    default:
      throw new CallError(`Invalid KVS operation '${request.Op as string}'`);
  }
}

/** Keeps the holder but takes the lock index of the request, which a plain set leaves at 0. */
export function set(tables: KvTables, tx: Transaction, wanted: Wanted): void {
  write(tables, tx, wanted, wanted.LockIndex ?? 0, tables.kv.get(wanted.Key)?.Session ?? '');
}

/** Writes the row unless it says the same already. */
function write({ kv, rows }: KvTables, tx: Transaction, wanted: Wanted, LockIndex: number, Session: string): void {
  const before = kv.get(wanted.Key);
  const Value = wanted.Value && wanted.Value.length > 0 ? wanted.Value : null;
  const Flags = wanted.Flags ?? 0n;
  if (
    before !== undefined &&
    before.LockIndex === LockIndex &&
    before.Flags === Flags &&
    before.Session === Session &&
    sameBytes(before.Value, Value)
  ) {
    return;
  }
  const entry: DirEntry = {
    LockIndex,
    Key: wanted.Key,
    Flags,
    Value,
    Session,
    CreateIndex: before?.CreateIndex ?? tx.index,
    ModifyIndex: tx.index,
  };
  kv.put(rows, tx, Object.freeze(entry));
}

/**
 * Takes the lock of a key and writes it. The holder may do so again and keeps its lock index; every new holder gets the
 * next one.
 * @returns false when another session holds it.
 */
export function lock(tables: LockTables, tx: Transaction, wanted: Wanted): boolean {
  const session = wanted.Session ?? '';
  if (session === '') throw new CallError('missing session');
  if (tables.sessions.get(session) === undefined) throw new CallError(`invalid session "${session}"`);
  const before = tables.kv.get(wanted.Key);
  if (before !== undefined && before.Session !== '' && before.Session !== session) return false;
  const again = before?.Session === session;
  write(tables, tx, wanted, (before?.LockIndex ?? 0) + (again ? 0 : 1), session);
  return true;
}

/**
 * Gives the lock up and writes the key; the lock index stays.
 * @returns false when the session does not hold it.
 */
export function unlock(tables: KvTables, tx: Transaction, wanted: Wanted): boolean {
  const session = wanted.Session ?? '';
  if (session === '') throw new CallError('missing session');
  const before = tables.kv.get(wanted.Key);
  if (before === undefined || before.Session !== session) return false;
  write(tables, tx, wanted, before.LockIndex, '');
  return true;
}

/** Frees a locked key whose session has ended; its value stays. */
export function releaseKey(tables: KvTables, tx: Transaction, key: ByteString): void {
  const before = tables.kv.get(key);
  if (before !== undefined) write(tables, tx, before, before.LockIndex, '');
}

export function compareAndSet(tables: KvTables, tx: Transaction, wanted: Wanted): boolean {
  // 0 means: only when it does not exist.
  if ((tables.kv.get(wanted.Key)?.ModifyIndex ?? 0) !== (wanted.ModifyIndex ?? 0)) return false;
  set(tables, tx, wanted);
  return true;
}

export function deleteKey({ kv, rows }: KvTables, tx: Transaction, key: ByteString): void {
  if (kv.get(key) === undefined) return;
  kv.bury(rows, tx, key);
  kv.remove(rows, tx, key);
}

/** What does not exist counts as deleted, whatever index was given. */
export function compareAndDelete(tables: KvTables, tx: Transaction, wanted: Wanted): boolean {
  const before = tables.kv.get(wanted.Key);
  if (before === undefined) return true;
  if (before.ModifyIndex !== (wanted.ModifyIndex ?? 0)) return false;
  deleteKey(tables, tx, wanted.Key);
  return true;
}

/** One tombstone for the whole prefix; none for the empty prefix, whose index is the table's anyway. */
export function deleteTree({ kv, rows }: KvTables, tx: Transaction, prefix: ByteString): void {
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
