import type { Random } from '../ports/index.ts';

/** Every "random timeout T" is uniform in [T, 2T), so that servers do not act at once (reference/raft.md §2.1). */
export function randomTimeout(timeoutMs: number, random: Random): number {
  return timeoutMs * (1 + random.next());
}
