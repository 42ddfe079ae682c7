/**
 * When is an entry safe? When a majority of voters has it on the disk, and it is of the leader's own term: an older
 * entry that a majority has may still be overwritten by a leader of a term in between (the Raft paper, §5.4.2), so it
 * becomes safe only with a newer one behind it.
 */
import { quorumOf } from './configuration.ts';

/**
 * The commit index that the voters' logs allow (reference/raft.md §2.9).
 * @param matches for each voter, the last entry known to be on its disk; the leader's own included.
 * @param ownTermStart index of the leader's first entry.
 * @param current commit index so far.
 */
export function commitIndexFor(matches: readonly number[], ownTermStart: number, current: number): number {
  if (matches.length === 0) return current;
  const ascending = matches.toSorted((a, b) => a - b);
  const held = ascending[ascending.length - quorumOf(ascending.length)]!;
  return held >= ownTermStart ? Math.max(current, held) : current;
}
