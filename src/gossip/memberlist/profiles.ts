/**
 * Timing for the three kinds of network memberlist knows (reference/gossip.md §4.1). Every member of a pool should use
 * the same profile: a member's own suspicion time decides how long others have to speak up for themselves.
 */
export interface MemberlistProfile {
  /** Bounds a whole stream exchange, connecting included, ms. */
  readonly streamTimeoutMs: number;
  /** One member is probed each interval, ms. */
  readonly probeIntervalMs: number;
  /** Wait for the direct ack before others are asked to try, ms. */
  readonly probeTimeoutMs: number;
  /** Members asked to probe on our behalf. */
  readonly indirectChecks: number;
  /** A probe of a member that understands it also tries a stream. */
  readonly streamPings: boolean;
  readonly suspicionMultiplier: number;
  readonly suspicionMaxMultiplier: number;
  readonly retransmitMultiplier: number;
  readonly gossipIntervalMs: number;
  /** Members gossiped to each interval. */
  readonly gossipNodes: number;
  /** How long a dead member still gets gossip (it may be alive and wants to refute), and is remembered, ms. */
  readonly gossipToTheDeadMs: number;
  /** Base of the push/pull interval, ms; 0 turns it off. */
  readonly pushPullIntervalMs: number;
  /** The health score stays below this. */
  readonly awarenessMax: number;
  /** After so long a dead member's name may be taken from another address, ms; 0: never. */
  readonly deadNodeReclaimMs: number;
  /** Statements waiting to be handled, per priority. */
  readonly handoffQueueDepth: number;
  /** Largest packet to send, bytes; fits one Ethernet frame. */
  readonly packetBytesMax: number;
  readonly compress: boolean;
}

export const lanProfile: MemberlistProfile = {
  streamTimeoutMs: 10_000,
  probeIntervalMs: 1_000,
  probeTimeoutMs: 500,
  indirectChecks: 3,
  streamPings: true,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  retransmitMultiplier: 4,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  gossipToTheDeadMs: 30_000,
  pushPullIntervalMs: 30_000,
  awarenessMax: 8,
  deadNodeReclaimMs: 0,
  handoffQueueDepth: 1024,
  packetBytesMax: 1400,
  compress: true,
};

export const wanProfile: MemberlistProfile = {
  ...lanProfile,
  streamTimeoutMs: 30_000,
  probeIntervalMs: 5_000,
  probeTimeoutMs: 3_000,
  suspicionMultiplier: 6,
  gossipIntervalMs: 500,
  gossipNodes: 4,
  gossipToTheDeadMs: 60_000,
  pushPullIntervalMs: 60_000,
};

export const localProfile: MemberlistProfile = {
  ...lanProfile,
  streamTimeoutMs: 1_000,
  probeTimeoutMs: 200,
  indirectChecks: 1,
  suspicionMultiplier: 3,
  retransmitMultiplier: 2,
  gossipIntervalMs: 100,
  gossipToTheDeadMs: 15_000,
  pushPullIntervalMs: 15_000,
};
