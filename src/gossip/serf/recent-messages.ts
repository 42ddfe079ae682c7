/**
 * Gossip brings every message several times, and exchanges of states bring old ones back. A ring of slots, one for
 * each of the last Lamport times, remembers what was taken, so that each message is delivered once; what is older than
 * the ring cannot be told from a repetition and is dropped (reference/gossip.md §5.5, §5.6).
 */

/** Slots of the ring; the peers send the ring of events in every exchange of states, so all have the same. */
export const recentTimes = 512;
/** Messages of one Lamport time; more of them are dropped. Members that send at once choose the same time. */
const messagesPerTimeMax = 256;

export interface RecentSlot<T> {
  readonly lTime: number;
  readonly messages: readonly T[];
}

export class RecentMessages<T> {
  readonly #isSame: (a: T, b: T) => boolean;
  readonly #slots: ({ readonly lTime: number; readonly messages: T[] } | null)[];
  #timeMin = 0;

  constructor(isSame: (a: T, b: T) => boolean) {
    this.#isSame = isSame;
    this.#slots = Array.from({ length: recentTimes }, () => null);
  }

  /** The ring as it travels. */
  get slots(): readonly (RecentSlot<T> | null)[] {
    return this.#slots;
  }

  /** Messages of earlier times are not wanted; never goes back. */
  ignoreBefore(lTime: number): void {
    this.#timeMin = Math.max(this.#timeMin, lTime);
  }

  /**
   * Takes a message.
   * @param clockTime the Lamport clock after it has witnessed `lTime`.
   * @returns whether it is new.
   */
  take(lTime: number, message: T, clockTime: number): boolean {
    if (lTime < this.#timeMin) return false;
    if (clockTime > recentTimes && lTime < clockTime - recentTimes) return false;
    const at = lTime % recentTimes;
    const slot = this.#slots[at];
    if (slot?.lTime !== lTime) {
      this.#slots[at] = { lTime, messages: [message] };
      return true;
    }
    if (slot.messages.length >= messagesPerTimeMax) return false;
    if (slot.messages.some((known) => this.#isSame(known, message))) return false;
    slot.messages.push(message);
    return true;
  }
}
