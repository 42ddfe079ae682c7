/**
 * When a session ends without releasing its locks, its owner may still believe it holds them. So they stay closed for
 * the session's lock delay. Time cannot be part of replicated state: every server notes the delays as it applies
 * commands, and the leader asks before it proposes a lock (reference/raft.md §3.11). They are lost with the process.
 */
import { type ByteString, Heap } from '../lib/index.ts';
import { lockDelayNsMax } from '../model/index.ts';
import type { Clock } from '../ports/index.ts';
import type { SessionChange, StateStore } from '../state/index.ts';

const nsPerMs = 1_000_000;

export class LockDelays {
  readonly #clock: Clock;
  /** Key → when it may be locked again (monotonic ms). */
  readonly #untilMs = new Map<ByteString, number>();
  /** The same by time, to forget what is over; a key that was delayed again is in it twice. */
  readonly #ends = new Heap<ByteString>();
  readonly #unsubscribe: () => void;

  constructor(options: { readonly store: StateStore; readonly clock: Clock }) {
    this.#clock = options.clock;
    this.#unsubscribe = options.store.onSessionChange((change) => this.#note(change));
  }

  /** Whether the key may not be locked yet. */
  isDelayed(key: ByteString): boolean {
    const untilMs = this.#untilMs.get(key);
    return untilMs !== undefined && untilMs > this.#clock.monotonicMs();
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#untilMs.size;
  }

  stop(): void {
    this.#unsubscribe();
  }

  #note(change: SessionChange): void {
    this.#forgetOver();
    if (change.kind !== 'ended' || change.session.LockDelay <= 0) return;
    const untilMs = this.#clock.monotonicMs() + Math.min(change.session.LockDelay, lockDelayNsMax) / nsPerMs;
    for (const key of change.heldKeys) {
      this.#untilMs.set(key, untilMs);
      this.#ends.push(untilMs, key);
    }
  }

  #forgetOver(): void {
    const nowMs = this.#clock.monotonicMs();
    for (let next = this.#ends.peek(); next !== undefined && next.key <= nowMs; next = this.#ends.peek()) {
      this.#ends.pop();
      if ((this.#untilMs.get(next.value) ?? Infinity) <= nowMs) this.#untilMs.delete(next.value);
    }
  }
}
