/**
 * What memberlist shows to the layer above (serf) and what it asks of it. memberlist knows who is there and carries
 * bytes; what the bytes mean, and what a member's meta says, is the delegate's business (reference/gossip.md §1).
 */
import type { Clock, DatagramNetwork, Endpoint, Logger, Metrics, Random, StreamNetwork } from '../../ports/index.ts';
import type { Keyring } from './keyring.ts';
import type { MemberlistProfile } from './profiles.ts';

/** As in push/pull: suspect members still count as present (gossip.md §3.2). */
export type MemberState = 'alive' | 'suspect' | 'dead' | 'left';

/** A range of protocol versions a member understands, and the one it speaks. */
export interface VersionRange {
  readonly min: number;
  readonly max: number;
  readonly current: number;
}

/** One member as it stood at one moment; a change makes a new object. */
export interface MemberlistMember {
  readonly name: string;
  /** IP address as text, IPv4-mapped forms shown as IPv4. */
  readonly address: string;
  /** The same as it travels, 4 or 16 bytes. Peers compare these bytes: never normalise them (gossip.md §3.2). */
  readonly addressBytes: Uint8Array;
  readonly port: number;
  /** At most {@link metaBytesMax} bytes, opaque here. */
  readonly meta: Uint8Array;
  readonly state: MemberState;
  readonly protocol: VersionRange;
  readonly delegate: VersionRange;
  readonly incarnation: number;
}

/** Limit of a member's meta on the wire, bytes (gossip.md §1). */
export const metaBytesMax = 512;

/**
 * The layer above. Every method is called inside one step of the core and returns at once; it may call back into
 * {@link Memberlist} except from `notifyMerge` and `notifyAlive`. All are optional.
 */
export interface MemberlistDelegate {
  /** Meta of the local member, at most `limit` bytes; asked at start and by `updateNode`. */
  nodeMeta(limit: number): Uint8Array;
  /** A user message arrived, by packet or by stream; the bytes follow its type byte and are the delegate's to keep. */
  notifyMessage(message: Uint8Array): void;
  /**
   * User messages for a packet that is being filled. Their lengths plus `overhead` each must not exceed `limit` together.
   * None may be empty.
   */
  broadcasts(overhead: number, limit: number): readonly Uint8Array[];
  /** State for a push/pull exchange; empty when there is none. */
  localState(isJoin: boolean): Uint8Array;
  /** The peer's state of a push/pull exchange; not called when the peer sent none. */
  mergeRemoteState(state: Uint8Array, isJoin: boolean): void;
  /** A member is there that was not, itself included. */
  notifyJoin(member: MemberlistMember): void;
  /** A member died or left (`state` tells). */
  notifyLeave(member: MemberlistMember): void;
  /** A member changed its meta. */
  notifyUpdate(member: MemberlistMember): void;
  /** Another node claims the name of a member at a different address; `existing` stays (gossip.md §4.12). */
  notifyConflict(existing: MemberlistMember, other: MemberlistMember): void;
  /** All members a joining peer knows, before any of them is merged. @returns why the merge is refused, or null. */
  notifyMerge(peers: readonly MemberlistMember[]): string | null;
  /** A member about to be taken as alive. @returns why its message is ignored, or null. */
  notifyAlive(peer: MemberlistMember): string | null;
  /** Rides on every ack; at most a few hundred bytes. */
  ackPayload(): Uint8Array;
  /** A direct probe was answered. @param rttMs round trip time. @param payload the answer's `ackPayload`. */
  notifyPingComplete(other: MemberlistMember, rttMs: number, payload: Uint8Array): void;
}

export interface MemberlistOptions {
  /** Unique in the pool, not empty. */
  readonly name: string;
  /** Where to listen, packets and streams alike; port 0 takes a free one. */
  readonly bind: Endpoint;
  /** What peers are told; default: what it is bound to. Needed when bound to a wildcard address. */
  readonly advertise?: Endpoint;
  /** Timing; start from `lanProfile`, `wanProfile` or `localProfile`. */
  readonly profile: MemberlistProfile;
  /** Version range of the layer above; default 0, 0, 0. Serf agents: 2, 5, 5, Consul: 2, 5, 4 (gossip.md §4.11). */
  readonly delegateVersions?: VersionRange;
  readonly delegate?: Partial<MemberlistDelegate>;
  /** Turns encryption on. */
  readonly keyring?: Keyring;
  /** Refuse what is not encrypted (default true; meaningless without a keyring). */
  readonly verifyIncoming?: boolean;
  /** Encrypt what is sent (default true; meaningless without a keyring). */
  readonly verifyOutgoing?: boolean;
  /** Pool label of memberlist 0.3 and later, at most 255 bytes (gossip.md §3.8); default none, as Consul 1.8 has none. */
  readonly label?: string;
  /** Networks members may be in, `10.0.0.0/8`; empty or missing allows all (gossip.md §4.15). */
  readonly allowedNetworks?: readonly string[];
  /** Looks up a host name for `join`; without it only IP addresses can be joined. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /**
   * Alive members to begin with, as if gossip had told of them long ago. Large pools are simulated this way: thousands
   * of members share these objects, and none spends its time telling what everyone knows.
   */
  readonly knownMembers?: readonly MemberlistMember[];
  readonly clock: Clock;
  readonly random: Random;
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface JoinResult {
  /** Addresses that answered. */
  readonly joined: number;
  /** One text for each that did not. */
  readonly errors: readonly string[];
}

export interface Memberlist {
  readonly name: string;
  /** Where packets and streams arrive; valid after `start`. */
  readonly local: Endpoint;
  /** The local member; valid after `start`. */
  readonly localMember: MemberlistMember;
  /** Keys in use; undefined without encryption. Changes take effect at once. */
  readonly keyring: Keyring | undefined;
  /** 0 (healthy) to awarenessMax − 1. */
  readonly healthScore: number;
  /** Members alive or suspect, the local one included. */
  readonly numAlive: number;
  /** All records, dead and left ones too: the n of the formulas. */
  readonly numRecords: number;
  /** Statements waiting to be spread; a gauge of how busy the pool is. */
  readonly queuedBroadcasts: number;

  /** Binds and begins. @throws Error when an address cannot be bound or the options make no sense. */
  start(): Promise<void>;
  /**
   * Exchanges state with every address given (`host`, `host:port`, `[v6]:port`, `name/host:port`), in turn. An answer
   * does not mean admission: a peer that refuses the merge says nothing (gossip.md §3.7).
   */
  join(addresses: readonly string[]): Promise<JoinResult>;
  /**
   * Tells the pool that this member goes; keeps answering until `shutdown`.
   * @param timeoutMs how long to wait for the message to be spread.
   * @throws Error on timeout; the member counts as leaving all the same.
   */
  leave(timeoutMs: number): Promise<void>;
  /** Stops at once without a word (peers will see a failure unless `leave` went first). */
  shutdown(): Promise<void>;
  /** Every record, the local one included, in no particular order. */
  members(): readonly MemberlistMember[];
  member(name: string): MemberlistMember | undefined;
  /** Up to `count` different members in random order for which `accept` holds. */
  randomMembers(count: number, accept: (member: MemberlistMember) => boolean): readonly MemberlistMember[];
  /**
   * Re-reads the delegate's meta and announces it under a new incarnation.
   * @throws Error when it is too long, or was not spread within `timeoutMs` (it still is being spread).
   */
  updateNode(timeoutMs: number): Promise<void>;
  /** One user message by packet; may be lost. */
  sendBestEffort(to: Endpoint, message: Uint8Array): void;
  /** One user message by stream. @throws Error when the peer cannot be reached. */
  sendReliable(to: Endpoint, message: Uint8Array): Promise<void>;
}
