/** What goes into the core and what comes out (reference/style.md §4: timers are data, and nothing waits inside). */
import type { Configuration, ConfigurationChange } from './configuration.ts';
import type { LogEntry, LogPosition } from './log-entry.ts';
import type { RaftRequest, RaftResponse, RequestPreVoteRequest, RequestVoteRequest } from './messages.ts';
import type { HardState } from './stores.ts';

export type Role = 'follower' | 'candidate' | 'leader';

/** Why a request of the application was not taken. */
export type Refusal =
  | 'not leader'
  | 'leadership lost'
  | 'leadership transfer in progress'
  | 'restore in progress'
  | 'already bootstrapped'
  | 'no target'
  | 'transfer timed out'
  | 'too many changes'
  | { readonly invalid: string };

export interface Proposal {
  readonly id: number;
  readonly type: number;
  readonly data: Uint8Array | null;
  readonly extensions: Uint8Array | null;
}

/** Ids are the caller's; it gets them back with the outcome. */
export type RaftEvent =
  | { readonly kind: 'tick' }
  /** A write is on the disk. */
  | { readonly kind: 'persisted'; readonly sequence: number }
  | { readonly kind: 'request'; readonly replyId: number; readonly message: RaftRequest }
  /** @property sentIndex index of the snapshot that was sent, after `installSnapshot`. */
  | {
      readonly kind: 'response';
      readonly requestId: number;
      readonly message: RaftResponse;
      readonly sentIndex?: number;
    }
  /** @property unsupported the peer does not know this kind of request. */
  | { readonly kind: 'failed'; readonly requestId: number; readonly unsupported?: boolean }
  | { readonly kind: 'propose'; readonly proposals: readonly Proposal[] }
  | { readonly kind: 'change'; readonly id: number; readonly change: ConfigurationChange; readonly prevIndex: number }
  | { readonly kind: 'verify'; readonly id: number }
  | { readonly kind: 'transfer'; readonly id: number; readonly target: string | undefined }
  | { readonly kind: 'bootstrap'; readonly id: number; readonly configuration: Configuration }
  | { readonly kind: 'snapshotTaken'; readonly position: LogPosition }
  | {
      readonly kind: 'snapshotInstalled';
      readonly replyId: number;
      readonly position: LogPosition;
      readonly configuration: Configuration;
      readonly configurationIndex: number;
    }
  | { readonly kind: 'snapshotRefused'; readonly replyId: number; readonly error: string }
  /** The application replaces the state: nothing may be appended until `restoreEnd`. */
  | { readonly kind: 'restoreBegin'; readonly id: number; readonly archiveIndex: number }
  /** @property position of the snapshot that holds the new state; undefined when it came to nothing. */
  | { readonly kind: 'restoreEnd'; readonly position: LogPosition | undefined };

/** A request to send. Entries and snapshots are named, not held: the driver reads them from the stores. */
export type Outgoing =
  | {
      readonly rpc: 'appendEntries';
      readonly heartbeat: boolean;
      readonly term: number;
      readonly prev: LogPosition;
      /** Entries behind `prev` up to this index. */
      readonly through: number;
      readonly commitIndex: number;
    }
  | { readonly rpc: 'requestVote'; readonly request: RequestVoteRequest }
  | { readonly rpc: 'requestPreVote'; readonly request: RequestPreVoteRequest }
  | { readonly rpc: 'installSnapshot'; readonly term: number }
  | { readonly rpc: 'timeoutNow' };

/** To be done in this order; writes may go on together, their numbers tell which is which. */
export type Action =
  | { readonly kind: 'saveState'; readonly sequence: number; readonly state: HardState }
  | { readonly kind: 'append'; readonly sequence: number; readonly entries: readonly LogEntry[] }
  | { readonly kind: 'truncate'; readonly sequence: number; readonly from: number }
  | { readonly kind: 'resetLog'; readonly sequence: number; readonly nextIndex: number }
  | { readonly kind: 'compactLog'; readonly through: number }
  /** Every one is answered by exactly one `response` or `failed`. */
  | {
      readonly kind: 'send';
      readonly requestId: number;
      readonly to: { readonly id: string; readonly address: string };
      readonly message: Outgoing;
    }
  | { readonly kind: 'reply'; readonly replyId: number; readonly message: RaftResponse }
  | { readonly kind: 'replyError'; readonly replyId: number; readonly error: string; readonly message: RaftResponse }
  /** Take the body, restore from it, and say `snapshotInstalled` or `snapshotRefused`. */
  | { readonly kind: 'receiveSnapshot'; readonly replyId: number }
  /** Entries up to `index` may be applied. */
  | { readonly kind: 'commit'; readonly index: number }
  | { readonly kind: 'role'; readonly role: Role; readonly term: number; readonly leader: string }
  | { readonly kind: 'accepted'; readonly id: number; readonly index: number }
  | { readonly kind: 'refused'; readonly id: number; readonly reason: Refusal }
  /** A `verify` or `transfer` came true; for `verify`, what was committed by then is in `index`. */
  | { readonly kind: 'done'; readonly id: number; readonly index: number };
