/**
 * The one way to change replicated state: propose a command to the log, get its result when it has been applied.
 * Endpoints know this port only; behind it stands one process's memory, or consensus among servers.
 */
import type { Configuration, SnapshotMeta } from '../raft/index.ts';
import type { CommandName, CommandOf, CommandResult } from '../state/index.ts';

/** Age of the last contact of a server that never had one: as long ago as can be said. */
export const neverHeardNs = Number.MAX_SAFE_INTEGER;

export interface CommandLog {
  /**
   * Appends the command and resolves with its result once it is durable and applied here. Proposals of one caller are
   * applied in the order they were made.
   * @throws CallError the command's own failure (it consumed an index and changed nothing), or `No cluster leader` when
   * it was not taken; with other texts of consensus it may still come true.
   */
  propose<T extends CommandName>(command: CommandOf<T>): Promise<CommandResult<T>>;
  /** Index of the last entry in the log. */
  readonly lastIndex: number;
  /** Term of the last entry in the log. */
  readonly lastTerm: number;
  /** Whether this server may propose. */
  readonly isLeader: boolean;
  /** `host:port` of the leader; "" when there is none. */
  readonly leaderAddress: string;
  /** `host:port` of every server in the configuration. */
  readonly peers: readonly string[];
  /** Who takes part, committed or not; empty before the first bootstrap. */
  readonly configuration: Configuration;
  /** Index of the configuration in force. */
  readonly configurationIndex: number;
  /** The leader's term. */
  readonly term: number;
  /**
   * Takes a server out of the configuration, by its id.
   * @throws CallError when no voter would be left, or no leader is there to do it.
   */
  removeServer(id: string): Promise<void>;
  /** Nanoseconds since this server heard from the leader; 0 on the leader, {@link neverHeardNs} when it never did. */
  readonly lastContactNs: number;
}

/** An archive's state: with its place in the log, as often as it is read. */
export interface SavedState {
  readonly meta: SnapshotMeta;
  /** The state from its start; `meta.Size` bytes. */
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

/** The log with all that servers do to agree on it; the leader's duties and snapshots stand on this. */
export interface Consensus extends CommandLog {
  /** Resolves when everything before it is applied here; leader only. */
  barrier(): Promise<void>;
  /** Resolves when a majority has vouched, after this call, that this server leads and its state is up to date. */
  verifyLeader(): Promise<void>;
  addVoter(id: string, address: string): Promise<void>;
  addNonvoter(id: string, address: string): Promise<void>;
  /** Hands leadership to the voter that is furthest. */
  transferLeadership(): Promise<void>;
  /** Gives a new cluster its first configuration. */
  bootstrap(configuration: Configuration): Promise<void>;
  /** Calls `listener` after every change of leader or of this server's role. @returns ends that. */
  onLeadership(listener: () => void): () => void;
  /** The state as of now, on the leader including everything acknowledged before. */
  save(): Promise<SavedState>;
  /** Replaces the state of the whole cluster; leader only. Resolves when a majority has it. */
  restore(archive: SavedState): Promise<void>;
  /** The `raft` section of `info`. */
  stats(): Readonly<Record<string, string>>;
}
