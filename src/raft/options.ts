/** Figures of consensus, with the peer's defaults at its usual multiplier (reference/raft.md §2.1). */

export interface RaftOptions {
  /** A follower that heard nothing for this long (at random up to twice) stands for election, ms. */
  readonly heartbeatTimeoutMs: number;
  /** An election without result is repeated after this long (at random up to twice), ms. */
  readonly electionTimeoutMs: number;
  /** A leader that reached no majority for this long steps down, ms. At most the heartbeat timeout. */
  readonly leaderLeaseMs: number;
  /** An idle leader tells followers the commit index after this long (at random up to twice), ms. */
  readonly commitTimeoutMs: number;
  /** Entries in one AppendEntries. */
  readonly appendEntriesMax: number;
  /** How often a server looks whether a snapshot is due (at random up to twice), ms. */
  readonly snapshotIntervalMs: number;
  /** Entries since the last snapshot that make one due. */
  readonly snapshotThreshold: number;
  /** Entries kept after a snapshot, for followers that are a little behind. */
  readonly trailingLogs: number;
}

/** The default of `performance.raft_multiplier`: patient with slow machines. */
export const raftMultiplierDefault = 5;

const secondMs = 1000;

/** @param multiplier `performance.raft_multiplier`, 1 to 10. */
export function raftOptions(multiplier: number = raftMultiplierDefault): RaftOptions {
  return {
    heartbeatTimeoutMs: secondMs * multiplier,
    electionTimeoutMs: secondMs * multiplier,
    leaderLeaseMs: 500 * multiplier,
    commitTimeoutMs: 50,
    appendEntriesMax: 64,
    snapshotIntervalMs: 30 * secondMs,
    snapshotThreshold: 16_384,
    trailingLogs: 10_240,
  };
}
