/** Saving the state of all as a file, and going back to it (reference/raft.md §5.3, §5.4). */
import type { QueryMeta } from '../model/index.ts';

export interface SnapshotTarget {
  readonly datacenter: string;
  readonly token: string;
  /** Any server may answer. */
  readonly stale: boolean;
}

export interface Snapshots {
  /** @returns the compressed archive, and what is to be said about it; `Index` is the snapshot's. @throws CallError */
  save(target: SnapshotTarget, signal?: AbortSignal): Promise<{ meta: QueryMeta; archive: AsyncIterable<Uint8Array> }>;
  /** Replaces the state of the whole cluster by that of a compressed archive. @throws CallError */
  restore(target: SnapshotTarget, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
}
