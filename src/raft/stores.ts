/** What consensus keeps on the disk, as the driver sees it. */
import type { Configuration } from './configuration.ts';
import type { LogEntry } from './log-entry.ts';

/**
 * The log. Changes take effect for `read` at once and are on the disk, in the order they were made, when their promise
 * resolves. A rejected change means the disk is broken: the server must stop.
 */
export interface LogStore {
  /** Index of the oldest entry; 0 when there is none. */
  readonly firstIndex: number;
  /** Index of the newest entry; 0 when there is none. */
  readonly lastIndex: number;
  /** Adds entries; the first one's index is `lastIndex + 1` (any, when the log is empty). */
  append(entries: readonly LogEntry[]): Promise<void>;
  /** Removes the entry with this index and all after it. */
  truncateFrom(index: number): Promise<void>;
  /** Entries up to this index may go; some of them may stay for a while. */
  compactThrough(index: number): Promise<void>;
  /** Removes everything; the next entry will have index `nextIndex`. */
  reset(nextIndex: number): Promise<void>;
  /**
   * Entries from `from` to `through`, as many as `bytesMax` allows (at least one).
   * @throws LogCompactedError when `from` is no longer there; LogCorruptionError when what is there is damaged.
   */
  read(from: number, through: number, bytesMax: number): Promise<readonly LogEntry[]>;
  close(): Promise<void>;
}

/** The entry asked for has been compacted away; a snapshot covers it. */
export class LogCompactedError extends Error {
  constructor(index: number, firstIndex: number) {
    super(`log entry ${index} was compacted away; the log starts at ${firstIndex}`);
    this.name = 'LogCompactedError';
  }
}

/** What was acknowledged as stored cannot be read back. */
export class LogCorruptionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LogCorruptionError';
  }
}

/** Promises a server made to others and must keep over a restart (reference/raft.md §2.2). */
export interface HardState {
  readonly currentTerm: number;
  /** Term of the last vote; 0 when it never voted. */
  readonly votedTerm: number;
  /** Address voted for in that term. */
  readonly votedFor: string;
}

export interface StableStore {
  /** @throws Error when the file is damaged beyond doubt. */
  read(): Promise<HardState>;
  /** On the disk when it resolves. Writes take effect in the order they were asked for. */
  write(state: HardState): Promise<void>;
  close(): Promise<void>;
}

/** `meta.json` of a snapshot (reference/raft.md §5.1). */
export interface SnapshotMeta {
  readonly Version: number;
  /** `<term>-<index>-<unix ms>`, the directory's name. */
  readonly ID: string;
  readonly Index: number;
  readonly Term: number;
  /** Base64 of a msgpack array of the voters' addresses. */
  readonly Peers: string;
  readonly Configuration: Configuration;
  readonly ConfigurationIndex: number;
  /** Bytes of `state.bin`. */
  readonly Size: number;
  /** Base64 of CRC-64/XZ of `state.bin`, 8 bytes big-endian; absent in an archive. */
  readonly CRC?: string;
}

/** Where a snapshot stands in the log and who was in the cluster. */
export interface SnapshotPoint {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
  readonly configurationIndex: number;
}

/** A snapshot being written; invisible until `commit`. */
export interface SnapshotSink {
  write(bytes: Uint8Array): Promise<void>;
  /** Bytes so far. */
  readonly size: number;
  /** The snapshot is complete, on the disk and the newest when this resolves. */
  commit(): Promise<SnapshotMeta>;
  /** Throws it away. */
  abort(): Promise<void>;
}

export interface SnapshotStore {
  create(point: SnapshotPoint): Promise<SnapshotSink>;
  /** Complete snapshots, newest first. */
  list(): Promise<readonly SnapshotMeta[]>;
  /** The state in pieces. Iteration throws at the end when the checksum does not match. */
  read(meta: SnapshotMeta): AsyncIterable<Uint8Array>;
}
