/** What a pool tells its user (reference/gossip.md §5). */
import type { Member } from '../../model/index.ts';

export type MemberEventType = 'member-join' | 'member-leave' | 'member-failed' | 'member-update' | 'member-reap';

export interface MemberEvent {
  readonly type: MemberEventType;
  readonly members: readonly Member[];
}

export interface UserEventMessage {
  readonly type: 'user';
  readonly name: string;
  readonly payload: Uint8Array;
  readonly lTime: number;
  /** The sender asked that listeners see only the newest of the name. */
  readonly coalesce: boolean;
}

/** A question of another member, or of this one. */
export interface QueryEvent {
  readonly type: 'query';
  readonly name: string;
  readonly payload: Uint8Array;
  readonly lTime: number;
  readonly id: number;
  readonly sourceNode: string;
  /** Answers are worthless after this (monotonic ms). */
  readonly deadlineMs: number;
  /**
   * Answers, once.
   * @throws SerfError when it is too late, too long, or answered already.
   */
  respond(payload: Uint8Array): void;
}

export type SerfEvent = MemberEvent | UserEventMessage | QueryEvent;

/** An operation of the pool that cannot be done; the message says why. */
export class SerfError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SerfError';
  }
}
