/**
 * A leader cut off from the others must notice: it steps down when no majority answered it within the lease. That
 * bounds how long two servers both believe they lead; it is no licence to read (see verification.ts).
 */
import { quorumOf } from './configuration.ts';

/** Never look more often than this, ms (reference/raft.md §2.9). */
const checkIntervalMsMin = 10;

export interface LeaseState {
  readonly held: boolean;
  /** When to look again, ms from now. */
  readonly checkInMs: number;
}

/**
 * @param ages ms since each other voter last answered.
 * @param selfVotes whether the leader is a voter itself.
 */
export function leaseState(ages: readonly number[], selfVotes: boolean, leaseMs: number): LeaseState {
  const voters = ages.length + (selfVotes ? 1 : 0);
  const within = ages.filter((age) => age <= leaseMs);
  const contacted = within.length + (selfVotes ? 1 : 0);
  const longest = within.reduce((max, age) => Math.max(max, age), 0);
  return {
    held: contacted >= quorumOf(voters),
    checkInMs: Math.max(checkIntervalMsMin, leaseMs - longest),
  };
}
