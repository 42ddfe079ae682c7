/**
 * Gossip waits here so that pings do not: probes are answered as they arrive, statements and user messages when there
 * is time, alive ones first because they save members (reference/gossip.md §4.14). Full queues drop what is new, and
 * no sender may fill more than its share, so one that floods us crowds out itself.
 */
import type { Clock, Timer } from '../../ports/index.ts';

/** Messages handled in one go; then sockets and timers get their turn. */
const batchSize = 256;
/** Part of a queue that one sender may hold. */
const senderShare = 0.5;

interface Waiting<T> {
  readonly message: T;
  readonly sender: string;
}

export class HandoffQueue<T> {
  readonly #clock: Clock;
  readonly #depth: number;
  readonly #handle: (message: T, sender: string) => void;
  readonly #onDrop: (sender: string) => void;
  #urgent: Waiting<T>[] = [];
  #rest: Waiting<T>[] = [];
  #held = new Map<string, number>();
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
    const queue = priority === 'urgent' ? this.#urgent : this.#rest;
    const held = this.#held.get(sender) ?? 0;
    if (queue.length >= this.#depth || held >= this.#depth * 2 * senderShare) {
      this.#onDrop(sender);
      return;
    }
    this.#held.set(sender, held + 1);
    queue.push({ message, sender });
    this.#timer ??= this.#clock.after(0, () => this.#drain());
  }

  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#urgent = [];
    this.#rest = [];
    this.#held.clear();
  }

  #drain(): void {
    this.#timer = undefined;
    const urgent = this.#urgent.splice(0, batchSize);
    const rest = this.#rest.splice(0, batchSize - urgent.length);
    if (this.length === 0) this.#held.clear();
    else for (const { sender } of [...urgent, ...rest]) this.#held.set(sender, this.#held.get(sender)! - 1);
    for (const { message, sender } of urgent) this.#handle(message, sender);
    for (const { message, sender } of rest) this.#handle(message, sender);
    if (this.length > 0) this.#timer ??= this.#clock.after(0, () => this.#drain());
  }
}
