/** Entries of the replicated log, with the names they have on the wire (reference/raft.md §1.4, §2.10). */

/** What an entry is; other numbers are refused. */
export const logTypes = {
  command: 0,
  noop: 1,
  /** Deprecated: a raw list of voters' addresses (protocol 2). */
  addPeer: 2,
  /** Deprecated, like {@link logTypes.addPeer}; also what protocol 2 bootstraps with. */
  removePeer: 3,
  barrier: 4,
  configuration: 5,
} as const;

export interface LogEntry {
  readonly Index: number;
  readonly Term: number;
  readonly Type: number;
  readonly Data: Uint8Array | null;
  readonly Extensions: Uint8Array | null;
}

/** Where an entry stands: its index and the term of the leader that made it. */
export interface LogPosition {
  readonly index: number;
  readonly term: number;
}

/** Before the first entry. */
export const logStart: LogPosition = { index: 0, term: 0 };

/** Bytes an entry counts for where entries are bounded by their size. */
export function entryBytes(entry: LogEntry): number {
  return entryOverheadBytes + (entry.Data?.length ?? 0) + (entry.Extensions?.length ?? 0);
}

/** The fields besides data and extensions, as an object in memory and on the disk, roughly. */
const entryOverheadBytes = 64;
