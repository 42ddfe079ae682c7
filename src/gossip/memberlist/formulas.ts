/**
 * How memberlist scales with the number of members `n` (reference/gossip.md §4.6, §4.9, §4.10). Pure arithmetic, equal
 * to the peers' to the millisecond: members that disagreed here would disagree about who is dead.
 */

/** Above this many members push/pull becomes rarer, because each exchange becomes longer. */
const pushPullScaleThreshold = 32;

/** Shortest suspicion, ms: `multiplier` probe intervals, more in large pools. */
export function suspicionMinMs(multiplier: number, n: number, probeIntervalMs: number): number {
  const scale = Math.max(1, Math.log10(Math.max(1, n)));
  // Three decimals, as the peers' integer arithmetic leaves.
  return Math.trunc((multiplier * Math.trunc(scale * 1000) * probeIntervalMs) / 1000);
}

/**
 * Time left for a suspicion that others share, ms; zero or less: it is over.
 * @param confirmations independent ones so far, at most `k`.
 * @param k confirmations at which the shortest time is reached, 1 or more.
 */
export function suspicionRemainingMs(
  confirmations: number,
  k: number,
  elapsedMs: number,
  minMs: number,
  maxMs: number,
): number {
  const share = Math.log(confirmations + 1) / Math.log(k + 1);
  return Math.max(minMs, Math.floor(maxMs - share * (maxMs - minMs))) - elapsedMs;
}

/** How often one broadcast is sent before it is dropped. */
export function retransmitLimit(multiplier: number, n: number): number {
  return multiplier * Math.ceil(Math.log10(n + 1));
}

/** Time between two push/pull exchanges, ms. */
export function pushPullScaledMs(intervalMs: number, n: number): number {
  if (n <= pushPullScaleThreshold) return intervalMs;
  return intervalMs * (Math.ceil(Math.log2(n) - Math.log2(pushPullScaleThreshold)) + 1);
}
