/**
 * A session says that somebody is alive, and locks are held in its name: it ends with its node, with any check it is
 * bound to, or when nobody renews it in time, and what it held is free again (reference/raft.md §6.6).
 */
import type { RaftIndex } from './catalog.ts';
import type { DCRequest, WriteRequest } from './query.ts';

/** What becomes of the keys a session holds when it ends: their locks are released, or the keys go with it. */
export const sessionBehaviors = ['release', 'delete'] as const;
export type SessionBehavior = (typeof sessionBehaviors)[number];

export interface SessionServiceCheck {
  readonly ID: string;
  /** Always "" here. */
  readonly Namespace: string;
}

export interface Session extends RaftIndex {
  /** UUID, made by the leader. */
  readonly ID: string;
  readonly Name: string;
  readonly Node: string;
  /** How long after its end its locks stay closed, ns. Stored as given; {@link lockDelayNsMax} counts at most. */
  readonly LockDelay: number;
  readonly Behavior: SessionBehavior;
  /** Go duration; "" or zero = it lives until something ends it. */
  readonly TTL: string;
  /** Ids of checks that it is bound to; any of them turning critical ends it. */
  readonly NodeChecks: readonly string[] | null;
  readonly ServiceChecks: readonly SessionServiceCheck[] | null;
  /** The same in the form of clients before 1.7. */
  readonly Checks: readonly string[] | null;
}

/** Longest time that a lock stays closed after its session ended, ns. */
export const lockDelayNsMax = 60e9;

export interface SessionRequest extends WriteRequest {
  readonly Op: 'create' | 'destroy';
  /** What is left out has its zero value; `destroy` looks at the ID only. */
  readonly Session: Partial<Omit<Session, 'Behavior'>> & { readonly Behavior?: string };
}

export interface SessionSpecificRequest extends DCRequest {
  readonly SessionID: string;
  /** The same, for and from servers before 1.7. */
  readonly Session?: string;
}

/** Every check a session is bound to. */
export function sessionCheckIds(session: Pick<Session, 'Checks' | 'NodeChecks' | 'ServiceChecks'>): readonly string[] {
  return [
    ...(session.Checks ?? []),
    ...(session.NodeChecks ?? []),
    ...(session.ServiceChecks ?? []).map(({ ID }) => ID),
  ];
}
