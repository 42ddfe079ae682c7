/**
 * Gossip waits here so that pings do not: probes are answered as they arrive, statements and user messages when there
 * is time, alive ones first because they save members (reference/gossip.md §4.14). Full queues drop what is new, and
 * no sender may fill more than its share of either, so one that floods us crowds out itself.
 */
import type { Clock, Timer } from '../../ports/index.ts';

/** Messages handled in one go; then sockets and timers get their turn. */
const batchSize = 256;
/** Of these so many are for what is not urgent, so that a flood of alive messages does not stop it. */
const restBatchSize = batchSize / 4;
/** Part of each queue that one sender may hold. */
const senderShare = 0.5;

interface Waiting<T> {
  readonly message: T;
  readonly sender: string;
}

/** The messages of one priority, in the order they came. */
class Lane<T> {
  #waiting: Waiting<T>[] = [];
  readonly #held = new Map<string, number>();

  get length(): number {
    return this.#waiting.length;
  }

  /** @returns whether there was room for it. */
  push(waiting: Waiting<T>, depth: number): boolean {
    const held = this.#held.get(waiting.sender) ?? 0;
    if (this.#waiting.length >= depth || held >= depth * senderShare) return false;
    this.#held.set(waiting.sender, held + 1);
    this.#waiting.push(waiting);
    return true;
  }

  take(count: number): readonly Waiting<T>[] {
    const taken = this.#waiting.splice(0, count);
    for (const { sender } of taken) {
      const held = this.#held.get(sender)! - 1;
      if (held > 0) this.#held.set(sender, held);
      else this.#held.delete(sender);
    }
    return taken;
  }

  clear(): void {
    this.#waiting = [];
    this.#held.clear();
  }
}

export class HandoffQueue<T> {
  readonly #clock: Clock;
  readonly #depth: number;
  readonly #handle: (message: T, sender: string) => void;
  readonly #onDrop: (sender: string) => void;
  readonly #urgent = new Lane<T>();
  readonly #rest = new Lane<T>();
  #timer: Timer | undefined;

  /** @param depth messages per priority. */
  constructor(
    clock: Clock,
    depth: number,
    handle: (message: T, sender: string) => void,
    onDrop: (sender: string) => void,
  ) {
    this.#clock = clock;
    this.#depth = depth;
    this.#handle = handle;
    this.#onDrop = onDrop;
  }

  get length(): number {
    return this.#urgent.length + this.#rest.length;
  }

  push(message: T, sender: string, priority: 'urgent' | 'rest'): void {
    const lane = priority === 'urgent' ? this.#urgent : this.#rest;
    if (!lane.push({ message, sender }, this.#depth)) {
      this.#onDrop(sender);
      return;
    }
    this.#timer ??= this.#clock.after(0, () => this.#drain());
  }

  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#urgent.clear();
    this.#rest.clear();
  }

  #drain(): void {
    this.#timer = undefined;
    const urgent = this.#urgent.take(batchSize - Math.min(this.#rest.length, restBatchSize));
    const rest = this.#rest.take(batchSize - urgent.length);
    for (const { message, sender } of urgent) this.#handle(message, sender);
    for (const { message, sender } of rest) this.#handle(message, sender);
    if (this.length > 0) this.#timer ??= this.#clock.after(0, () => this.#drain());
  }
}
