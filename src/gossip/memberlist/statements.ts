/**
 * SWIM's rules for what members say about each other: alive, suspect, dead (reference/gossip.md §4.7). Incarnations
 * order the statements about one node; only the node itself raises its own, which is how it refutes what others say.
 */
import type { Clock, Logger, Metrics, Random } from '../../ports/index.ts';
import { addressTextOf, isAddress, sameBytes } from './address.ts';
import type { Awareness } from './awareness.ts';
import { BroadcastQueue } from './broadcast-queue.ts';
import { MemberRecord, MemberTable, versionBytesOf } from './member-table.ts';
import {
  type Alive,
  alive,
  type Dead,
  dead,
  encodeMessage,
  messageType,
  type PushPullNode,
  type Suspect,
  suspect,
} from './messages.ts';
import type { MemberlistProfile } from './profiles.ts';
import { Suspicion, suspicionTimes } from './suspicion.ts';
import { type MemberlistDelegate, type MemberlistMember, type MemberState, metaBytesMax } from './types.ts';
import { sameVersions, versionBytesLength, versionsOf } from './versions.ts';

/** Longest name we take, bytes: host names have 253. */
const nameBytesMax = 512;
/** Most members we remember; no pool known has half as many. */
const recordsMax = 65_536;
/** The last incarnation. It cannot be refuted, so nobody is believed who claims it of us. */
const incarnationLast = 0xffff_ffff;
/** Statements waiting to be spread: one a member, so more than there are members are never needed. */
const broadcastsMax = recordsMax;

/** Accusers answered in one gossip interval: more than there are, and too few to make others suffer by us. */
const remindersMax = 8;

const noBytes: Uint8Array = new Uint8Array();
const states: readonly MemberState[] = ['alive', 'suspect', 'dead', 'left'];

export class Statements {
  readonly table: MemberTable;
  readonly broadcasts: BroadcastQueue;
  readonly #selfName: string;
  readonly #profile: MemberlistProfile;
  readonly #awareness: Awareness;
  readonly #delegate: Partial<MemberlistDelegate>;
  readonly #isAllowed: (address: string) => boolean;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #remind: (accuser: MemberlistMember, message: Uint8Array) => void;
  #self: MemberRecord | undefined;
  #isLeaving = false;
  /** Accusers told directly that we live, and since when they are counted, monotonic ms. */
  #reminders = { count: 0, sinceMs: 0 };

  constructor(options: {
    readonly name: string;
    readonly profile: MemberlistProfile;
    readonly awareness: Awareness;
    readonly delegate: Partial<MemberlistDelegate>;
    readonly isAllowed: (address: string) => boolean;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Sends one statement to one member. */
    readonly remind: (accuser: MemberlistMember, message: Uint8Array) => void;
  }) {
    this.#selfName = options.name;
    this.#remind = options.remind;
    this.#profile = options.profile;
    this.#awareness = options.awareness;
    this.#delegate = options.delegate;
    this.#isAllowed = options.isAllowed;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.table = new MemberTable(options.random);
    this.broadcasts = new BroadcastQueue({
      retransmitMultiplier: options.profile.retransmitMultiplier,
      memberCount: () => this.table.size,
      lengthMax: broadcastsMax,
    });
  }

  /** The own record. @throws Error before `introduceSelf`. */
  get self(): MemberRecord {
    if (this.#self === undefined) throw new Error('memberlist: not started');
    return this.#self;
  }

  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  /** Stops all suspicions. */
  stop(): void {
    for (const record of this.table.all()) record.suspicion?.cancel();
  }

  /** Puts ourselves into the table and announces us. */
  introduceSelf(member: MemberlistMember): void {
    this.#self = new MemberRecord(member, this.#clock.monotonicMs());
    this.table.add(this.#self);
    this.#broadcastAlive(member);
    this.#delegate.notifyJoin?.(member);
  }

  /** Takes members as known for long: nothing is announced of them. */
  introduceKnown(members: readonly MemberlistMember[]): void {
    for (const member of members) {
      if (this.table.get(member.name) !== undefined) continue;
      this.table.add(new MemberRecord(member, this.#clock.monotonicMs()));
      this.#delegate.notifyJoin?.(member);
    }
  }

  /** Announces new meta of ours. @param onSent it was spread, or a newer statement about us took over. */
  updateSelf(meta: Uint8Array, onSent: () => void): void {
    const { member } = this.self;
    const updated = { ...member, meta, incarnation: nextIncarnation(member.incarnation) };
    this.table.replace(this.self, updated);
    this.#broadcastAlive(updated, onSent);
    if (!sameBytes(member.meta, meta)) this.#delegate.notifyUpdate?.(updated);
  }

  /** Announces that we go. @param onSent as in `updateSelf`. */
  leave(onSent: () => void): void {
    this.#isLeaving = true;
    const { name, incarnation } = this.self.member;
    this.#bury(this.self, { Incarnation: incarnation, Node: name, From: name }, onSent);
  }

  /** @param sender address it came from, when that is known. */
  alive(message: Alive, sender?: string): void {
    const name = message.Node;
    if (name === this.#selfName && this.#isLeaving) return;
    const known = this.table.get(name);
    if (known !== undefined && known !== this.#self && isOldNews(message, known.member)) return;
    const stated = this.#memberOf(message, known?.member);
    if (stated === undefined) return;
    if (sender !== undefined && !this.#isAllowed(sender)) {
      this.#logger.debug('dropping alive message from a network that is not allowed', { node: name, from: sender });
      return;
    }
    const refused = name === this.#selfName ? null : (this.#delegate.notifyAlive?.(stated) ?? null);
    if (refused !== null) {
      this.#logger.warn('ignoring alive message', { node: name, reason: refused });
      return;
    }
    if (known === undefined) {
      this.#admit(stated);
      return;
    }
    const moved = !sameAddress(known.member, stated);
    if (moved && (!this.#mayReplace(known) || !this.#addressAllowed(stated))) {
      this.#conflict(known.member, stated);
      return;
    }
    if (known === this.#self) {
      if (stated.incarnation < known.member.incarnation) return;
      this.#endSuspicion(known);
      const isEcho =
        stated.incarnation === known.member.incarnation &&
        sameBytes(stated.meta, known.member.meta) &&
        sameVersions(stated, known.member);
      if (!isEcho) this.#refute(stated.incarnation, 'alive');
      return;
    }
    if (!moved && stated.incarnation <= known.member.incarnation) return;
    this.#endSuspicion(known);
    const before = known.member;
    this.#metrics.count(['memberlist', 'msg', 'alive']);
    this.#broadcastAlive(stated);
    if (before.state !== 'alive') known.stateChangedMs = this.#clock.monotonicMs();
    this.table.replace(known, stated);
    if (before.state === 'dead' || before.state === 'left') this.#delegate.notifyJoin?.(stated);
    else if (!sameBytes(before.meta, stated.meta)) this.#delegate.notifyUpdate?.(stated);
  }

  suspect(message: Suspect): void {
    const record = this.table.get(message.Node);
    if (record === undefined || this.#isOutdated(message, record)) return;
    if (record.suspicion !== undefined && message.Incarnation === record.member.incarnation) {
      if (record.suspicion.confirm(message.From)) this.#broadcastSuspect(message);
      return;
    }
    if (!record.isPresent) return;
    if (record === this.#self) {
      this.#logger.warn('refuting a suspect message', { from: message.From });
      this.#refute(message.Incarnation, 'suspect');
      this.#remindAccuser(message.From);
      return;
    }
    // Of a higher incarnation: it has refuted what we suspect, unheard by us, so this is another suspicion.
    this.#endSuspicion(record);
    this.#metrics.count(['memberlist', 'msg', 'suspect']);
    this.#broadcastSuspect(message);
    const changedMs = this.#clock.monotonicMs();
    record.stateChangedMs = changedMs;
    this.table.replace(record, { ...record.member, state: 'suspect', incarnation: message.Incarnation });
    const times = suspicionTimes(this.#profile, this.table.size);
    record.suspicion = new Suspicion(this.#clock, message.From, times, (confirmations) => {
      if (record.member.state !== 'suspect' || record.stateChangedMs !== changedMs) return;
      if (times.k > 0 && confirmations < times.k) this.#metrics.count(['memberlist', 'degraded', 'timeout']);
      this.#logger.info('marking as failed, suspect timeout reached', { node: record.name, confirmations });
      this.dead({ Incarnation: record.member.incarnation, Node: record.name, From: this.#selfName });
    });
  }

  dead(message: Dead): void {
    const record = this.table.get(message.Node);
    if (record === undefined || this.#isOutdated(message, record)) return;
    this.#endSuspicion(record);
    if (!record.isPresent) return;
    if (record === this.#self) {
      this.#logger.warn('refuting a dead message', { from: message.From });
      this.#refute(message.Incarnation, 'dead');
      this.#remindAccuser(message.From);
      return;
    }
    this.#bury(record, message);
  }

  /** The members of a push/pull; entries that could harm us or others are left out. */
  remoteMembers(nodes: readonly PushPullNode[]): MemberlistMember[] {
    return nodes.flatMap((node) => {
      const state = states[node.State];
      const member = this.#memberOf({ ...node, Node: node.Name }, this.table.get(node.Name)?.member);
      return member === undefined || state === undefined ? [] : [{ ...member, state }];
    });
  }

  /** Takes over what a peer holds. */
  merge(members: readonly MemberlistMember[]): void {
    for (const member of members) {
      const { name: Node, incarnation: Incarnation } = member;
      switch (member.state) {
        case 'alive':
          this.alive(aliveOf(member));
          break;
        case 'left':
          this.dead({ Incarnation, Node, From: Node });
          break;
        // A peer's verdict is hearsay: the node gets its chance to refute here too.
        case 'dead':
        case 'suspect':
          this.suspect({ Incarnation, Node, From: this.#selfName });
      }
    }
  }

  /** A new name. */
  #admit(stated: MemberlistMember): void {
    // The record would begin with incarnation 0, and only a higher one is news.
    if (stated.incarnation === 0 || !this.#addressAllowed(stated)) return;
    if (this.table.size >= recordsMax) {
      this.#metrics.count(['memberlist', 'records', 'dropped']);
      return;
    }
    this.#metrics.count(['memberlist', 'msg', 'alive']);
    this.table.add(new MemberRecord(stated, this.#clock.monotonicMs()));
    this.#broadcastAlive(stated);
    this.#delegate.notifyJoin?.(stated);
  }

  /** Whether a statement is about an earlier incarnation; who says such a thing of us has missed our refutation. */
  #isOutdated(message: Suspect | Dead, record: MemberRecord): boolean {
    if (message.Incarnation >= record.member.incarnation) return false;
    if (record === this.#self && !this.#isLeaving) this.#remindAccuser(message.From);
    return true;
  }

  /**
   * Tells an accuser directly that we live. Gossip may miss the one member that waits for our refutation, does not
   * repeat it, and the peers' rules know no answer to an accusation of the past: it would hold us for failed until the
   * next push/pull.
   */
  #remindAccuser(name: string): void {
    const accuser = this.table.get(name);
    if (accuser === undefined || accuser === this.#self || !accuser.isPresent) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#reminders.sinceMs >= this.#profile.gossipIntervalMs)
      this.#reminders = { count: 0, sinceMs: nowMs };
    if (this.#reminders.count++ >= remindersMax) return;
    this.#remind(accuser.member, encodeMessage(messageType.alive, alive, aliveOf(this.self.member)));
  }

  /** Raises our incarnation above what was said of us. */
  #refute(accusedIncarnation: number, statement: string): void {
    if (accusedIncarnation >= incarnationLast) {
      this.#logger.warn('ignoring a statement about us that cannot be refuted', { statement });
      return;
    }
    const { member } = this.self;
    this.#awareness.apply(1);
    const refuted: MemberlistMember = {
      ...member,
      incarnation: nextIncarnation(Math.max(member.incarnation, accusedIncarnation)),
    };
    this.table.replace(this.self, refuted);
    this.#broadcastAlive(refuted);
  }

  #bury(record: MemberRecord, message: Dead, onSent?: () => void): void {
    this.#metrics.count(['memberlist', 'msg', 'dead']);
    this.broadcasts.queue(encodeMessage(messageType.dead, dead, message), {
      name: message.Node,
      ...(onSent === undefined ? {} : { onFinished: onSent }),
    });
    record.stateChangedMs = this.#clock.monotonicMs();
    this.table.replace(record, {
      ...record.member,
      incarnation: message.Incarnation,
      state: message.Node === message.From ? 'left' : 'dead',
    });
    this.#delegate.notifyLeave?.(record.member);
  }

  /** Whether another address may take over the name. */
  #mayReplace(record: MemberRecord): boolean {
    const { deadNodeReclaimMs } = this.#profile;
    if (record.member.state === 'left') return true;
    if (record.member.state !== 'dead' || deadNodeReclaimMs === 0) return false;
    return this.#clock.monotonicMs() - record.stateChangedMs > deadNodeReclaimMs;
  }

  #addressAllowed(member: MemberlistMember): boolean {
    if (this.#isAllowed(member.address)) return true;
    this.#logger.warn('rejected a node from a network that is not allowed', {
      node: member.name,
      address: member.address,
    });
    return false;
  }

  #conflict(existing: MemberlistMember, other: MemberlistMember): void {
    this.#logger.error('conflicting address: another node claims the name of a member', {
      node: existing.name,
      mine: `${existing.address}:${existing.port}`,
      theirs: `${other.address}:${other.port}`,
      state: existing.state,
    });
    this.#delegate.notifyConflict?.(existing, other);
  }

  #endSuspicion(record: MemberRecord): void {
    record.suspicion?.cancel();
    record.suspicion = undefined;
  }

  #broadcastAlive(member: MemberlistMember, onSent?: () => void): void {
    this.broadcasts.queue(encodeMessage(messageType.alive, alive, aliveOf(member)), {
      name: member.name,
      ...(onSent === undefined ? {} : { onFinished: onSent }),
    });
  }

  #broadcastSuspect(message: Suspect): void {
    this.broadcasts.queue(encodeMessage(messageType.suspect, suspect, message), { name: message.Node });
  }

  /**
   * The member an alive statement describes; undefined when it must not be repeated to anyone: peers crash on short
   * version bytes (gossip.md §8, trap 9).
   */
  #memberOf(message: Alive, known: MemberlistMember | undefined): MemberlistMember | undefined {
    const versionBytes = message.Vsn ?? noBytes;
    const addressBytes = message.Addr ?? noBytes;
    const meta = message.Meta ?? noBytes;
    const isSound =
      message.Node !== '' &&
      message.Node.length <= nameBytesMax &&
      versionBytes.length === versionBytesLength &&
      isAddress(addressBytes) &&
      meta.length <= metaBytesMax;
    const versions = versionsOf(versionBytes);
    const { min, max } = versions.protocol;
    if (!isSound || min === 0 || max === 0 || min > max) {
      this.#metrics.count(['memberlist', 'msg', 'malformed']);
      this.#logger.warn('ignoring an alive message with unusable fields', {
        node: message.Node.slice(0, nameBytesMax),
      });
      return undefined;
    }
    const sameAddress = known !== undefined && sameBytes(known.addressBytes, addressBytes);
    return {
      name: message.Node,
      address: sameAddress ? known.address : addressTextOf(addressBytes),
      addressBytes: sameAddress ? known.addressBytes : addressBytes,
      // Port 0 stands for the port that everyone in the pool uses.
      port: message.Port === 0 ? (this.#self?.member.port ?? 0) : message.Port,
      meta,
      state: 'alive',
      incarnation: message.Incarnation,
      ...versions,
    };
  }
}

function aliveOf(member: MemberlistMember): Alive {
  return {
    Incarnation: member.incarnation,
    Node: member.name,
    Addr: member.addressBytes,
    Port: member.port,
    Meta: member.meta.length === 0 ? null : member.meta,
    Vsn: versionBytesOf(member),
  };
}

/** Most gossip says what is known already; this is told before anything is made of it. */
function isOldNews(message: Alive, known: MemberlistMember): boolean {
  return (
    message.Incarnation <= known.incarnation &&
    message.Port === known.port &&
    message.Addr !== null &&
    sameBytes(message.Addr, known.addressBytes)
  );
}

function sameAddress(a: MemberlistMember, b: MemberlistMember): boolean {
  return a.port === b.port && sameBytes(a.addressBytes, b.addressBytes);
}

function nextIncarnation(incarnation: number): number {
  return Math.min(incarnation + 1, incarnationLast);
}
