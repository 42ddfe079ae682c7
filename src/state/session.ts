/**
 * Session: create one on a node that is registered, bound to checks that are there and not critical; or destroy one.
 * Destroying an unknown session succeeds (reference/raft.md §6.6).
 */
import { CallError, type Session, sessionBehaviors, sessionCheckIds, type SessionRequest } from '../model/index.ts';
import type { Catalog } from './catalog.ts';
import { endSession, type SessionTables, writeSession } from './session-writes.ts';
import type { Transaction } from './transaction.ts';

export function applySession(
  tables: SessionTables & { readonly catalog: Catalog },
  tx: Transaction,
  request: SessionRequest,
): string | null {
  switch (request.Op) {
    case 'create':
      return createSession(tables, tx, request.Session);
    case 'destroy': {
      const session = tables.sessions.get(request.Session.ID ?? '');
      if (session !== undefined) endSession(tables, tx, session);
      return null;
    }
    default:
      throw new CallError(`Invalid Session operation '${request.Op as string}'`);
  }
}

function createSession(
  tables: SessionTables & { readonly catalog: Catalog },
  tx: Transaction,
  wanted: SessionRequest['Session'],
): string {
  if (!wanted.ID) throw new CallError('Missing session ID');
  const Behavior = sessionBehaviors.find((known) => known === (wanted.Behavior || 'release'));
  if (Behavior === undefined) throw new CallError(`Invalid session behavior: ${wanted.Behavior}`);
  const session: Session = {
    ID: wanted.ID,
    Name: wanted.Name ?? '',
    Node: wanted.Node ?? '',
    LockDelay: wanted.LockDelay ?? 0,
    Behavior,
    TTL: wanted.TTL ?? '',
    NodeChecks: wanted.NodeChecks ?? null,
    ServiceChecks: wanted.ServiceChecks ?? null,
    Checks: wanted.Checks ?? null,
    CreateIndex: tx.index,
    ModifyIndex: tx.index,
  };
  const node = tables.catalog.node(session.Node);
  if (node === undefined) throw new CallError('Missing node registration');
  for (const id of sessionCheckIds(session)) {
    const check = node.checks.map.get(id.toLowerCase());
    if (check === undefined) throw new CallError(`Missing check '${id}' registration`);
    if (check.Status === 'critical') throw new CallError(`Check '${id}' is in critical state`);
  }
  writeSession(tables, tx, Object.freeze(session));
  return session.ID;
}
