/** What servers say to each other, with the names of the wire (reference/raft.md §1.4). */
import type { LogEntry } from './log-entry.ts';

/** The version spoken; 2 is understood as well. */
export const protocolVersion = 3;

/** First byte of a request. */
export const rpcTypes = {
  appendEntries: 0,
  requestVote: 1,
  installSnapshot: 2,
  timeoutNow: 3,
  requestPreVote: 4,
} as const;

export interface AppendEntriesRequest {
  /** null in a heartbeat. */
  readonly Entries: readonly LogEntry[] | null;
  /** The leader's address. */
  readonly Leader: string;
  readonly LeaderCommitIndex: number;
  readonly PrevLogEntry: number;
  readonly PrevLogTerm: number;
  readonly ProtocolVersion: number;
  readonly Term: number;
}

export interface AppendEntriesResponse {
  readonly LastLog: number;
  readonly NoRetryBackoff: boolean;
  readonly ProtocolVersion: number;
  readonly Success: boolean;
  readonly Term: number;
}

export interface RequestVoteRequest {
  /** The candidate's address. */
  readonly Candidate: string;
  readonly LastLogIndex: number;
  readonly LastLogTerm: number;
  readonly LeadershipTransfer: boolean;
  readonly ProtocolVersion: number;
  readonly Term: number;
}

export interface RequestVoteResponse {
  readonly Granted: boolean;
  readonly Peers: Uint8Array | null;
  readonly ProtocolVersion: number;
  readonly Term: number;
}

/** Of later releases: would you vote for me? Nobody's term moves. */
export interface RequestPreVoteRequest {
  readonly Addr: string;
  readonly ID: string;
  readonly LastLogIndex: number;
  readonly LastLogTerm: number;
  readonly ProtocolVersion: number;
  readonly Term: number;
}

export interface RequestPreVoteResponse {
  readonly Granted: boolean;
  readonly ProtocolVersion: number;
  readonly Term: number;
}

/** The state follows the request, exactly `Size` bytes. */
export interface InstallSnapshotRequest {
  readonly Configuration: Uint8Array | null;
  readonly ConfigurationIndex: number;
  readonly LastLogIndex: number;
  readonly LastLogTerm: number;
  readonly Leader: string;
  readonly Peers: Uint8Array | null;
  readonly ProtocolVersion: number;
  readonly Size: number;
  readonly SnapshotVersion: number;
  readonly Term: number;
}

export interface InstallSnapshotResponse {
  readonly ProtocolVersion: number;
  readonly Success: boolean;
  readonly Term: number;
}

export interface TimeoutNowRequest {
  readonly ProtocolVersion: number;
}

export interface TimeoutNowResponse {
  readonly ProtocolVersion: number;
}

/** A request with its type; `installSnapshot` without its body. */
export type RaftRequest =
  | { readonly rpc: 'appendEntries'; readonly request: AppendEntriesRequest }
  | { readonly rpc: 'requestVote'; readonly request: RequestVoteRequest }
  | { readonly rpc: 'requestPreVote'; readonly request: RequestPreVoteRequest }
  | { readonly rpc: 'installSnapshot'; readonly request: InstallSnapshotRequest }
  | { readonly rpc: 'timeoutNow'; readonly request: TimeoutNowRequest };

export type RaftResponse =
  | { readonly rpc: 'appendEntries'; readonly response: AppendEntriesResponse }
  | { readonly rpc: 'requestVote'; readonly response: RequestVoteResponse }
  | { readonly rpc: 'requestPreVote'; readonly response: RequestPreVoteResponse }
  | { readonly rpc: 'installSnapshot'; readonly response: InstallSnapshotResponse }
  | { readonly rpc: 'timeoutNow'; readonly response: TimeoutNowResponse };

/** A heartbeat says only that the leader lives; the peer knows it by this very pattern. */
export function isHeartbeat(request: AppendEntriesRequest): boolean {
  return (
    request.Term !== 0 &&
    request.Leader !== '' &&
    request.PrevLogEntry === 0 &&
    request.PrevLogTerm === 0 &&
    request.LeaderCommitIndex === 0 &&
    (request.Entries === null || request.Entries.length === 0)
  );
}
