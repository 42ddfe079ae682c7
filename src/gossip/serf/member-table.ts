/**
 * What this node believes of every member, and since when. memberlist says who answers; the intents, each with a
 * Lamport time, say who means to be there: a member that stops answering after it said so has left, any other has
 * failed. A failed member is tried again for days, one that left is remembered for a day so that old messages do not
 * bring it back (reference/gossip.md §5.4, §5.11).
 */
import { type Member, type MemberStatus, memberStatus } from '../../model/index.ts';
import type { Clock, Logger, Metrics } from '../../ports/index.ts';
import type { MemberlistMember } from '../memberlist/index.ts';
import type { MemberEventType } from './events.ts';
import { decodeTags } from './tags.ts';

/** An intent about a node that is not yet known is kept so long, ms. */
const intentKeptMs = 5 * 60_000;
/**
 * A leave takes seconds; who still answers after so long has been forced out by somebody, with a Lamport time that was
 * no news to it, and cannot contradict, ms. The peers show it as leaving for ever; only what this node shows differs.
 */
const leavingMsMax = 60_000;
/** Intents kept for unknown nodes; more are dropped, the next exchange of states brings them again. */
const intentsMax = 4096;
/** A member that is back so soon flaps; only counted, ms. */
const flapMs = 60_000;

export interface Intent {
  readonly type: 'join' | 'leave';
  readonly node: string;
  readonly lTime: number;
  /** Of a leave: forget the member altogether. */
  readonly prune: boolean;
}

/** What is to be done after an intent: tell others, contradict it, or nothing. */
export type IntentEffect = 'spread' | 'refute' | 'none';

interface Entry {
  member: Member;
  addressBytes: Uint8Array;
  /** Of the last intent. */
  statusTime: number;
  /** When it began to leave, left or failed (monotonic ms). */
  goneAtMs: number;
}

export class MemberTable {
  readonly #entries = new Map<string, Entry>();
  readonly #intents = new Map<string, { readonly intent: Intent; readonly atMs: number }>();
  readonly #self: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #isLeaving: () => boolean;
  readonly #pruneDelayMs: number;
  readonly #reconnectTimeoutMs: number;
  readonly #tombstoneTimeoutMs: number;
  readonly #emit: (type: MemberEventType, member: Member) => void;
  #list: readonly Member[] | undefined;

  constructor(options: {
    readonly self: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Whether this node itself has begun to leave. */
    readonly isLeaving: () => boolean;
    /** A pruned member that is still there gets so long to say goodbye, ms. */
    readonly pruneDelayMs: number;
    readonly reconnectTimeoutMs: number;
    readonly tombstoneTimeoutMs: number;
    readonly emit: (type: MemberEventType, member: Member) => void;
  }) {
    this.#self = options.self;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#isLeaving = options.isLeaving;
    this.#pruneDelayMs = options.pruneDelayMs;
    this.#reconnectTimeoutMs = options.reconnectTimeoutMs;
    this.#tombstoneTimeoutMs = options.tombstoneTimeoutMs;
    this.#emit = options.emit;
  }

  /** All members, whatever their state; the same array until one changes. */
  get members(): readonly Member[] {
    this.#list ??= Object.freeze([...this.#entries.values()].map(({ member }) => member));
    return this.#list;
  }

  get size(): number {
    return this.#entries.size;
  }

  member(name: string): Member | undefined {
    return this.#entries.get(name)?.member;
  }

  /** The address of a member as it travels. */
  addressBytes(name: string): Uint8Array | undefined {
    return this.#entries.get(name)?.addressBytes;
  }

  withStatus(status: MemberStatus): readonly Member[] {
    return this.members.filter((member) => member.Status === status);
  }

  get hasOthersAlive(): boolean {
    return this.members.some(({ Name, Status }) => Name !== this.#self && Status === memberStatus.alive);
  }

  /** Lamport time of the last intent of each member. */
  statusTimes(): ReadonlyMap<string, number> {
    return new Map([...this.#entries].map(([name, { statusTime }]) => [name, statusTime]));
  }

  /** memberlist sees a member that it did not. */
  joined(node: MemberlistMember): void {
    const known = this.#entries.get(node.name);
    if (known !== undefined) {
      if (known.member.Status === memberStatus.failed && this.#clock.monotonicMs() - known.goneAtMs < flapMs) {
        this.#metrics.count(['serf', 'member', 'flap']);
      }
      known.addressBytes = node.addressBytes;
      this.#set(known, toMember(node, memberStatus.alive));
      this.#tell('member-join', known.member);
      return;
    }
    const intent = this.#intents.get(node.name)?.intent;
    const entry: Entry = {
      member: toMember(node, intent?.type === 'leave' ? memberStatus.leaving : memberStatus.alive),
      addressBytes: node.addressBytes,
      statusTime: intent?.lTime ?? 0,
      goneAtMs: this.#clock.monotonicMs(),
    };
    this.#entries.set(node.name, entry);
    this.#list = undefined;
    this.#tell('member-join', entry.member);
  }

  /** memberlist misses a member. */
  gone(node: MemberlistMember): void {
    const entry = this.#entries.get(node.name);
    if (entry === undefined) return;
    const { Status } = entry.member;
    if (Status === memberStatus.leaving) this.#depart(entry, memberStatus.left, 'member-leave');
    else if (Status === memberStatus.alive) this.#depart(entry, memberStatus.failed, 'member-failed');
  }

  /** A member has other tags. */
  updated(node: MemberlistMember): void {
    const entry = this.#entries.get(node.name);
    if (entry === undefined) return;
    entry.addressBytes = node.addressBytes;
    this.#set(entry, toMember(node, entry.member.Status));
    this.#tell('member-update', entry.member);
  }

  /** Somebody says that a node has joined or leaves; the Lamport time is witnessed already. */
  intent(intent: Intent): IntentEffect {
    const entry = this.#entries.get(intent.node);
    if (entry === undefined) return this.#keep(intent) ? 'spread' : 'none';
    if (intent.lTime <= entry.statusTime) return 'none';
    const { Status } = entry.member;
    if (intent.type === 'join') {
      entry.statusTime = intent.lTime;
      if (Status === memberStatus.leaving) this.#setStatus(entry, memberStatus.alive);
      return 'spread';
    }
    // An old intent of ours, from before a restart, or somebody forces us out: we are here.
    if (intent.node === this.#self && !this.#isLeaving()) return 'refute';
    entry.statusTime = intent.lTime;
    if (Status === memberStatus.alive) {
      entry.goneAtMs = this.#clock.monotonicMs();
      this.#setStatus(entry, memberStatus.leaving);
    } else if (Status === memberStatus.failed) this.#depart(entry, memberStatus.left, 'member-leave', ' (forced)');
    if (intent.prune) this.#prune(entry);
    return 'spread';
  }

  /** Forgets members that are gone for too long, and intents about nodes that never came. */
  reap(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const entry of [...this.#entries.values()]) {
      const goneMs = nowMs - entry.goneAtMs;
      const { Status } = entry.member;
      if (
        (Status === memberStatus.failed && goneMs > this.#reconnectTimeoutMs) ||
        (Status === memberStatus.left && goneMs > this.#tombstoneTimeoutMs)
      ) {
        this.#erase(entry);
      } else if (Status === memberStatus.leaving && goneMs > leavingMsMax && !this.#isSelf(entry)) {
        this.#setStatus(entry, memberStatus.alive);
      }
    }
    for (const [name, { atMs }] of this.#intents) {
      if (nowMs - atMs > intentKeptMs) this.#intents.delete(name);
    }
  }

  #isSelf({ member }: Entry): boolean {
    return member.Name === this.#self;
  }

  #keep(intent: Intent): boolean {
    const kept = this.#intents.get(intent.node);
    if (kept === undefined ? this.#intents.size >= intentsMax : intent.lTime <= kept.intent.lTime) return false;
    this.#intents.set(intent.node, { intent, atMs: this.#clock.monotonicMs() });
    return true;
  }

  #prune(entry: Entry): void {
    if (entry.member.Status === memberStatus.left) {
      this.#erase(entry);
      return;
    }
    this.#clock.after(this.#pruneDelayMs, () => {
      const { Name, Status } = entry.member;
      // It may have said that it stays.
      const goes = Status === memberStatus.leaving || Status === memberStatus.left;
      if (goes && this.#entries.get(Name) === entry) this.#erase(entry);
    });
  }

  #erase(entry: Entry): void {
    this.#entries.delete(entry.member.Name);
    this.#list = undefined;
    this.#tell('member-reap', entry.member);
  }

  #depart(entry: Entry, status: MemberStatus, type: MemberEventType, how = ''): void {
    entry.goneAtMs = this.#clock.monotonicMs();
    this.#setStatus(entry, status);
    this.#tell(type, entry.member, how);
  }

  #setStatus(entry: Entry, Status: MemberStatus): void {
    this.#set(entry, Object.freeze({ ...entry.member, Status }));
  }

  #set(entry: Entry, member: Member): void {
    entry.member = member;
    this.#list = undefined;
  }

  #tell(type: MemberEventType, member: Member, how = ''): void {
    const { word, metric, showsAddress } = eventWords[type];
    this.#logger.info(`serf: ${word}${how}: ${member.Name}${showsAddress ? ` ${member.Addr}` : ''}`);
    this.#metrics.count(['serf', 'member', metric]);
    this.#emit(type, member);
  }
}

/** Words of the log and of the metrics, as the peers'. */
const eventWords: Readonly<
  Record<MemberEventType, { readonly word: string; readonly metric: string; readonly showsAddress: boolean }>
> = {
  'member-join': { word: 'EventMemberJoin', metric: 'join', showsAddress: true },
  'member-leave': { word: 'EventMemberLeave', metric: 'left', showsAddress: true },
  'member-failed': { word: 'EventMemberFailed', metric: 'failed', showsAddress: true },
  'member-update': { word: 'EventMemberUpdate', metric: 'update', showsAddress: false },
  'member-reap': { word: 'EventMemberReap', metric: 'reap', showsAddress: false },
};

/** memberlist's record as serf shows it. */
export function toMember(node: MemberlistMember, Status: MemberStatus): Member {
  return Object.freeze({
    Name: node.name,
    Addr: node.address,
    Port: node.port,
    Tags: decodeTags(node.meta),
    Status,
    ProtocolMin: node.protocol.min,
    ProtocolMax: node.protocol.max,
    ProtocolCur: node.protocol.current,
    DelegateMin: node.delegate.min,
    DelegateMax: node.delegate.max,
    DelegateCur: node.delegate.current,
  });
}
