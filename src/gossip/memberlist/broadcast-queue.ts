/**
 * The transmit-limited queue: gossip spreads like a rumour, so each message is told a number of times that grows with
 * the logarithm of the pool and is then forgotten. What was told least goes first; among equals the longest that still
 * fits, so that packets are full (reference/gossip.md §4.9).
 */
import { retransmitLimit } from './formulas.ts';

export interface BroadcastOptions {
  /** A newer message of the same name replaces this one (memberlist: the node it is about). */
  readonly name?: string;
  /** The message was sent as often as it should be, was replaced, or dropped. Called once. */
  readonly onFinished?: () => void;
}

interface Entry {
  readonly message: Uint8Array;
  readonly name: string | undefined;
  readonly onFinished: (() => void) | undefined;
  /** Grows with every message queued. */
  readonly id: number;
  transmits: number;
}

export class BroadcastQueue {
  readonly #retransmitMultiplier: number;
  readonly #memberCount: () => number;
  readonly #lengthMax: number;
  /** By number of transmissions; inside a tier the longest first, ties newest first. */
  readonly #tiers: Entry[][] = [];
  readonly #named = new Map<string, Entry>();
  #length = 0;
  #nextId = 1;

  /**
   * @param options.memberCount the n of the formula, asked at each draw.
   * @param options.lengthMax messages held; beyond it those told most often, then the oldest, are dropped.
   */
  constructor(options: {
    readonly retransmitMultiplier: number;
    readonly memberCount: () => number;
    readonly lengthMax: number;
  }) {
    this.#retransmitMultiplier = options.retransmitMultiplier;
    this.#memberCount = options.memberCount;
    this.#lengthMax = options.lengthMax;
  }

  get length(): number {
    return this.#length;
  }

  /** Queues a message (not empty); it belongs to the queue now. */
  queue(message: Uint8Array, options: BroadcastOptions = {}): void {
    const { name, onFinished } = options;
    if (name !== undefined) {
      const replaced = this.#named.get(name);
      if (replaced !== undefined) {
        this.#remove(replaced);
        replaced.onFinished?.();
      }
    }
    const entry: Entry = { message, name, onFinished, id: this.#nextId++, transmits: 0 };
    if (name !== undefined) this.#named.set(name, entry);
    this.#insert(entry);
    if (this.#length > this.#lengthMax) this.prune(this.#lengthMax);
  }

  /** Messages for one packet: their lengths plus `overhead` each stay within `limit`. Every call counts as sending. */
  take(overhead: number, limit: number): Uint8Array[] {
    const taken: Uint8Array[] = [];
    if (this.#length === 0) return taken;
    const transmitLimit = retransmitLimit(this.#retransmitMultiplier, this.#memberCount());
    const again: Entry[] = [];
    const finished: Entry[] = [];
    let free = limit;
    for (const tier of this.#tiers) {
      for (let at = firstFitting(tier, 0, free - overhead); at < tier.length;) {
        // Neighbours are no longer than this one, so usually they fit too and leave together.
        let end = at;
        for (; end < tier.length && tier[end]!.message.length + overhead <= free; end++) {
          const entry = tier[end]!;
          taken.push(entry.message);
          free -= entry.message.length + overhead;
          entry.transmits++;
          (entry.transmits >= transmitLimit ? finished : again).push(entry);
        }
        tier.splice(at, end - at);
        at = firstFitting(tier, at, free - overhead);
      }
    }
    this.#length -= finished.length + again.length;
    for (const entry of again) this.#insert(entry);
    for (const entry of finished) {
      if (entry.name !== undefined && this.#named.get(entry.name) === entry) this.#named.delete(entry.name);
      entry.onFinished?.();
    }
    return taken;
  }

  /** Drops what was told most often, then the oldest, until `lengthMax` are left. */
  prune(lengthMax: number): void {
    const dropped: Entry[] = [];
    for (let at = this.#tiers.length - 1; at >= 0 && this.#length - dropped.length > lengthMax; at--) {
      const oldestFirst = this.#tiers[at]!.toSorted((a, b) => a.id - b.id);
      dropped.push(...oldestFirst.slice(0, this.#length - dropped.length - lengthMax));
    }
    for (const entry of dropped) this.#remove(entry);
    for (const entry of dropped) entry.onFinished?.();
  }

  #insert(entry: Entry): void {
    while (this.#tiers.length <= entry.transmits) this.#tiers.push([]);
    const tier = this.#tiers[entry.transmits]!;
    tier.splice(position(tier, entry), 0, entry);
    this.#length++;
  }

  #remove(entry: Entry): void {
    const tier = this.#tiers[entry.transmits]!;
    tier.splice(position(tier, entry), 1);
    this.#length--;
    if (entry.name !== undefined) this.#named.delete(entry.name);
  }
}

/** Index of the first entry from `from` on whose message has at most `bytes`. */
function firstFitting(tier: readonly Entry[], from: number, bytes: number): number {
  let low = from;
  let high = tier.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tier[middle]!.message.length > bytes) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where `entry` stands, or belongs, in its tier. */
function position(tier: readonly Entry[], entry: Entry): number {
  let low = 0;
  let high = tier.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = tier[middle]!;
    const before =
      other.message.length > entry.message.length ||
      (other.message.length === entry.message.length && other.id > entry.id);
    if (before) low = middle + 1;
    else high = middle;
  }
  return low;
}
