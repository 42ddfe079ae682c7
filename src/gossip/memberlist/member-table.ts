/**
 * All records, with the three orders they are needed in: by name, at random (gossip and indirect probes), and in the
 * shuffled round in which they are probed (reference/gossip.md §4.2, §4.3). Nothing here walks all of them per packet.
 */
import { encodeShape } from '../../codec/index.ts';
import type { Random } from '../../ports/index.ts';
import { pushPullNode } from './messages.ts';
import type { Suspicion } from './suspicion.ts';
import type { MemberlistMember, MemberState } from './types.ts';

/** Numbers of the states on the wire (gossip.md §3.2). */
export const stateNumbers: Readonly<Record<MemberState, number>> = { alive: 0, suspect: 1, dead: 2, left: 3 };

export class MemberRecord {
  #member: MemberlistMember;
  /** When the state last changed, monotonic ms. */
  stateChangedMs: number;
  suspicion: Suspicion | undefined;
  /** Place in the table's list; the table's own. */
  position = 0;

  constructor(member: MemberlistMember, nowMs: number) {
    this.#member = member;
    this.stateChangedMs = nowMs;
  }

  get member(): MemberlistMember {
    return this.#member;
  }

  get name(): string {
    return this.#member.name;
  }

  get isPresent(): boolean {
    return isPresent(this.#member);
  }

  /** For the table only, which counts. */
  replace(member: MemberlistMember): void {
    this.#member = member;
  }
}

/** Encoded members, as long as those live. */
const encodedMembers = new WeakMap<MemberlistMember, Uint8Array>();

/** A member as push/pull sends it; encoded once, because members never change. */
export function encodedMember(member: MemberlistMember): Uint8Array {
  let encoded = encodedMembers.get(member);
  if (encoded === undefined) {
    encoded = encodeShape(pushPullNode, {
      Name: member.name,
      Addr: member.addressBytes,
      Port: member.port,
      Meta: member.meta.length === 0 ? null : member.meta,
      Incarnation: member.incarnation,
      State: stateNumbers[member.state],
      Vsn: versionBytesOf(member),
    }).slice();
    encodedMembers.set(member, encoded);
  }
  return encoded;
}

/** Alive, or suspect, which is alive until proven otherwise. */
export function isPresent({ state }: MemberlistMember): boolean {
  return state === 'alive' || state === 'suspect';
}

/** The six version bytes of a member (gossip.md §3.2). */
export function versionBytesOf({ protocol, delegate }: MemberlistMember): Uint8Array {
  return Uint8Array.of(protocol.min, protocol.max, protocol.current, delegate.min, delegate.max, delegate.current);
}

export class MemberTable {
  readonly #random: Random;
  readonly #byName = new Map<string, MemberRecord>();
  /** In no order; drawing from it shuffles it. */
  readonly #all: MemberRecord[] = [];
  #round: MemberRecord[] = [];
  #roundAt = 0;
  #present = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#all.length;
  }

  /** Members alive or suspect. */
  get present(): number {
    return this.#present;
  }

  get(name: string): MemberRecord | undefined {
    return this.#byName.get(name);
  }

  all(): readonly MemberRecord[] {
    return this.#all;
  }

  add(record: MemberRecord): void {
    this.#byName.set(record.name, record);
    record.position = this.#all.length;
    this.#all.push(record);
    if (record.isPresent) this.#present++;
    // At a random place of the round, so that members that came together are not probed in a burst by everyone.
    const at = this.#integer(this.#round.length + 1);
    this.#round.push(record);
    const last = this.#round.length - 1;
    this.#round[last] = this.#round[at]!;
    this.#round[at] = record;
  }

  replace(record: MemberRecord, member: MemberlistMember): void {
    this.#present += Number(isPresent(member)) - Number(record.isPresent);
    record.replace(member);
  }

  /** Up to `count` different records in random order for which `accept` holds. */
  choose(count: number, accept: (record: MemberRecord) => boolean): MemberRecord[] {
    const chosen: MemberRecord[] = [];
    // A shuffle that stops as soon as it has enough: few steps when most fit, and still complete when few do.
    for (let at = 0; at < this.#all.length && chosen.length < count; at++) {
      const other = at + this.#integer(this.#all.length - at);
      const record = this.#all[other]!;
      this.#place(this.#all[at]!, other);
      this.#place(record, at);
      if (accept(record)) chosen.push(record);
    }
    return chosen;
  }

  /**
   * The next record to probe for which `accept` holds, each once a round.
   * @param isExpired records to forget, asked when a round begins.
   */
  nextToProbe(
    accept: (record: MemberRecord) => boolean,
    isExpired: (record: MemberRecord) => boolean,
  ): MemberRecord | undefined {
    for (let checked = this.#all.length; checked > 0; checked--) {
      if (this.#roundAt >= this.#round.length) this.#startRound(isExpired);
      const record = this.#round[this.#roundAt++];
      if (record !== undefined && accept(record)) return record;
    }
    return undefined;
  }

  #startRound(isExpired: (record: MemberRecord) => boolean): void {
    for (const record of this.#round) if (isExpired(record)) this.#remove(record);
    this.#round = [...this.#all];
    for (let at = this.#round.length - 1; at > 0; at--) {
      const other = this.#integer(at + 1);
      const record = this.#round[at]!;
      this.#round[at] = this.#round[other]!;
      this.#round[other] = record;
    }
    this.#roundAt = 0;
  }

  #remove(record: MemberRecord): void {
    this.#byName.delete(record.name);
    const last = this.#all.pop()!;
    if (last !== record) this.#place(last, record.position);
    if (record.isPresent) this.#present--;
  }

  #place(record: MemberRecord, position: number): void {
    this.#all[position] = record;
    record.position = position;
  }

  #integer(below: number): number {
    return Math.floor(this.#random.next() * below);
  }
}
