/**
 * Who waits for the answer to which ping. Acks match by sequence number, the first one wins, and an entry ends with
 * its time (reference/gossip.md §4.3).
 */
import type { Clock, Timer } from '../../ports/index.ts';

interface Waiting {
  readonly onAck: (payload: Uint8Array) => void;
  readonly onNack: () => void;
  readonly timer: Timer | undefined;
}

export class AckTable {
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  #sequence: number;

  /** @param firstSequence where to begin: anywhere in 32 bits. */
  constructor(clock: Clock, firstSequence: number) {
    this.#clock = clock;
    this.#sequence = firstSequence;
  }

  get size(): number {
    return this.#waiting.size;
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }

  /** @param lifetimeMs when to forget it; undefined: `forget` will be called. */
  expect(
    sequence: number,
    lifetimeMs: number | undefined,
    onAck: (payload: Uint8Array) => void,
    onNack: () => void,
  ): void {
    const timer =
      lifetimeMs === undefined ? undefined : this.#clock.after(lifetimeMs, () => this.#waiting.delete(sequence));
    this.#waiting.set(sequence, { onAck, onNack, timer });
  }

  ack(sequence: number, payload: Uint8Array): void {
    const waiting = this.#waiting.get(sequence);
    this.forget(sequence);
    waiting?.onAck(payload);
  }

  nack(sequence: number): void {
    this.#waiting.get(sequence)?.onNack();
  }

  forget(sequence: number): void {
    this.#waiting.get(sequence)?.timer?.cancel();
    this.#waiting.delete(sequence);
  }

  clear(): void {
    for (const sequence of [...this.#waiting.keys()]) this.forget(sequence);
  }
}
