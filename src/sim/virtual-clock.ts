/**
 * Time that moves only when a test moves it. Timers fire in order of their due time, equal ones in the order they
 * were set, so a run is a function of its seed. Between two timers the promises that the first one settled must run
 * (a real event loop would have run them too); `advance` waits for that, `advanceSync` is for callback-only code.
 */
import { Heap, invariant } from '../lib/index.ts';
import type { Clock, Timer } from '../ports/index.ts';

/** Promise turns granted after each timer: more than any chain of awaits in our code, and cheap. */
const microtaskTurns = 64;

/** 2020-09-13T12:26:40Z: easy to recognise in output. */
const wallStartMsDefault = 1_600_000_000_000;

interface PendingTimer {
  callback: (() => void) | undefined;
}

export class VirtualClock implements Clock {
  readonly #timers = new Heap<PendingTimer>();
  readonly #drain: () => Promise<void>;
  #nowMs = 0;
  #wallOffsetMs: number;
  #pending = 0;

  /**
   * @param options.wallStartMs wall time at the start.
   * @param options.drain waits until promises have run; give `() => new Promise(setImmediate)` where real I/O takes
   *   part. Default: a fixed number of promise turns.
   */
  constructor(options: { readonly wallStartMs?: number; readonly drain?: () => Promise<void> } = {}) {
    this.#wallOffsetMs = options.wallStartMs ?? wallStartMsDefault;
    this.#drain = options.drain ?? drainMicrotasks;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  /** Moves wall time only, as an administrator or a time server does. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    invariant(delayMs >= 0, `a delay is not negative, got ${delayMs}`);
    const timer: PendingTimer = { callback };
    this.#timers.push(this.#nowMs + delayMs, timer);
    this.#pending++;
    return {
      cancel: () => {
        if (timer.callback === undefined) return;
        timer.callback = undefined;
        this.#pending--;
      },
    };
  }

  /** Timers that wait; a test at its end can see that none was left behind. */
  get pendingTimers(): number {
    return this.#pending;
  }

  /** When the next timer is due (monotonic ms); undefined when none waits. */
  get nextDueMs(): number | undefined {
    this.#dropCancelled();
    return this.#timers.peek()?.key;
  }

  /** Moves `ms` ahead, firing every timer on the way and letting promises run after each. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await this.#drain();
    while (this.#fireNext(untilMs)) await this.#drain();
    this.#nowMs = untilMs;
  }

  /** {@link advance} without letting promises run. */
  advanceSync(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /**
   * Advances from timer to timer until `condition` holds.
   * @throws when it does not hold within `limitMs` or nothing is left to fire.
   */
  async advanceUntil(condition: () => boolean, limitMs: number): Promise<void> {
    const untilMs = this.#nowMs + limitMs;
    await this.#drain();
    while (!condition()) {
      if (!this.#fireNext(untilMs)) throw new Error(`the condition did not hold within ${limitMs} ms of virtual time`);
      await this.#drain();
    }
  }

  /** Fires the next timer due by `untilMs`; false when there is none. */
  #fireNext(untilMs: number): boolean {
    this.#dropCancelled();
    const next = this.#timers.peek();
    if (next === undefined || next.key > untilMs) return false;
    this.#timers.pop();
    this.#nowMs = Math.max(this.#nowMs, next.key);
    const callback = next.value.callback!;
    next.value.callback = undefined;
    this.#pending--;
    callback();
    return true;
  }

  #dropCancelled(): void {
    for (let next = this.#timers.peek(); next !== undefined; next = this.#timers.peek()) {
      if (next.value.callback !== undefined) return;
      this.#timers.pop();
    }
  }
}

async function drainMicrotasks(): Promise<void> {
  for (let turn = 0; turn < microtaskTurns; turn++) await Promise.resolve();
}
