/** Tombstone: forgets deletions that every watcher has had time to see (reference/raft.md §3.8, §4.2). */
import type { TombstoneRequest } from './command.ts';
import type { KvTable } from './kv-table.ts';
import type { Transaction } from './transaction.ts';

export function applyTombstone({ kv }: { readonly kv: KvTable }, tx: Transaction, request: TombstoneRequest): null {
  for (const tombstone of kv.tombstones()) {
    if (tombstone.ModifyIndex <= request.ReapIndex) kv.forget(tx, tombstone);
  }
  return null;
}
