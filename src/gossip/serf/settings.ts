/** Limits and times of a pool; all members should have the same (reference/gossip.md §5.5, §5.6, §5.11, §5.12). */
import type { VersionRange } from '../memberlist/index.ts';

const hourMs = 3_600_000;

export interface SerfSettings {
  /** Versions of serf's own protocol that are announced. */
  readonly delegateVersions: VersionRange;
  /** A failed member is tried again, and remembered, for so long, ms. */
  readonly reconnectTimeoutMs: number;
  /** A member that left is remembered for so long, ms. */
  readonly tombstoneTimeoutMs: number;
  /** Between two attempts to reach a failed member, ms. */
  readonly reconnectIntervalMs: number;
  readonly reapIntervalMs: number;
  /** How long to wait for a message of ours to be spread, ms. */
  readonly broadcastTimeoutMs: number;
  /** How long a leaving member still answers, so that all can hear of it first, ms. */
  readonly leavePropagateDelayMs: number;
  /** Between two looks at the queues, ms. */
  readonly queueCheckIntervalMs: number;
  /** A queue longer than this is warned of. */
  readonly queueDepthWarning: number;
  /** A queue is cut to this, unless {@link queueDepthMin} is set. */
  readonly queueDepthMax: number;
  /** When above 0: a queue is cut to twice the number of members, but not below this. */
  readonly queueDepthMin: number;
  /** Name and payload of a user event together, and the whole message, bytes. */
  readonly userEventBytesMax: number;
  readonly queryBytesMax: number;
  readonly queryResponseBytesMax: number;
  /** Whether two nodes with one name ask the others which of them is to go. */
  readonly resolvesNameConflicts: boolean;
}

/** As the serf agent. */
export const serfSettings: SerfSettings = {
  delegateVersions: { min: 2, max: 5, current: 5 },
  reconnectTimeoutMs: 24 * hourMs,
  tombstoneTimeoutMs: 24 * hourMs,
  reconnectIntervalMs: 30_000,
  reapIntervalMs: 15_000,
  broadcastTimeoutMs: 5_000,
  leavePropagateDelayMs: 1_000,
  queueCheckIntervalMs: 30_000,
  queueDepthWarning: 128,
  queueDepthMax: 4096,
  queueDepthMin: 0,
  userEventBytesMax: 512,
  queryBytesMax: 1024,
  queryResponseBytesMax: 1024,
  resolvesNameConflicts: true,
};

/** As a Consul agent of version 1.8, LAN and WAN alike. */
export const consulSettings: SerfSettings = {
  ...serfSettings,
  delegateVersions: { min: 2, max: 5, current: 4 },
  reconnectTimeoutMs: 72 * hourMs,
  leavePropagateDelayMs: 3_000,
  queueDepthWarning: 1_000_000,
  queueDepthMin: 4096,
  resolvesNameConflicts: false,
};
