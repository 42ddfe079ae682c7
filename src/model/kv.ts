import type { ByteString } from '../lib/index.ts';
import type { RaftIndex } from './catalog.ts';

/** One key of the KV store. */
export interface DirEntry extends RaftIndex {
  readonly LockIndex: number;
  readonly Key: ByteString;
  /** All 64 bits belong to the client. */
  readonly Flags: bigint;
  /** null and empty are the same on the JSON side (`null`). */
  readonly Value: Uint8Array | null;
  /** ID of the session that holds the lock, "" when free. */
  readonly Session: string;
}

export const kvOps = ['set', 'delete', 'delete-tree', 'cas', 'delete-cas', 'lock', 'unlock'] as const;
export type KvOp = (typeof kvOps)[number];
