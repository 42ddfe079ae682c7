/**
 * How sessions begin and end inside a transaction: the row, the locks that go with it, the index rows that move and the
 * watchers that wake (reference/raft.md §6.2, §6.6).
 */
import type { Session } from '../model/index.ts';
import { deleteKey, releaseKey, type KvTables } from './kvs.ts';
import type { QueryTable } from './prepared-query.ts';
import type { SessionTable } from './session-table.ts';
import type { Transaction } from './transaction.ts';
import { watchKeys } from './watches.ts';

export interface SessionTables extends KvTables {
  readonly sessions: SessionTable;
  readonly queries: QueryTable;
}

export function writeSession({ sessions, rows }: SessionTables, tx: Transaction, session: Session): void {
  sessions.put(tx, session);
  rows.move(tx, 'sessions');
  touchSession(tx, session);
  tx.sessionChanges.push({ kind: 'created', session });
}

/** Ends the session: what it held is released, or deleted with a tombstone; its prepared queries go with it. */
export function endSession(tables: SessionTables, tx: Transaction, session: Session): void {
  const heldKeys = tables.kv.heldBy(session.ID);
  removeRow(tables, tx, session);
  for (const key of heldKeys) {
    if (session.Behavior === 'delete') deleteKey(tables, tx, key);
    else releaseKey(tables, tx, key);
  }
  tables.queries.deleteOfSession(tx, session.ID);
  tx.sessionChanges.push({ kind: 'ended', session, heldKeys });
}

/** Deletes the row and leaves its locks as they are. */
export function removeSessionRow(tables: SessionTables, tx: Transaction, session: Session): void {
  removeRow(tables, tx, session);
  tx.sessionChanges.push({ kind: 'ended', session, heldKeys: [] });
}

export function endSessionsOfNode(tables: SessionTables, tx: Transaction, node: string): void {
  for (const session of tables.sessions.ofNode(node)) endSession(tables, tx, session);
}

/** For a check that is critical, or gone. */
export function endSessionsOfCheck(tables: SessionTables, tx: Transaction, node: string, checkId: string): void {
  for (const session of tables.sessions.ofCheck(node, checkId)) endSession(tables, tx, session);
}

function removeRow({ sessions, rows }: SessionTables, tx: Transaction, session: Session): void {
  sessions.remove(tx, session);
  rows.move(tx, 'sessions');
  touchSession(tx, session);
}

function touchSession(tx: Transaction, session: Session): void {
  tx.touch(watchKeys.sessions);
  tx.touch(watchKeys.session(session.ID));
  tx.touch(watchKeys.sessionsOfNode(session.Node));
}
