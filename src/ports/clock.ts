/** A pending timer; cancelling one that has fired or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as the project sees it. Two clocks, because wall time jumps (reference/style.md §4). */
export interface Clock {
  /** Milliseconds from an arbitrary start; never goes back. For intervals and timeouts. */
  monotonicMs(): number;
  /** Milliseconds since 1970 UTC. Only for what people and other programs see. */
  wallMs(): number;
  /**
   * Calls `callback` once after `delayMs` (>= 0), not before, and after minutes up to a quarter of a second later. A
   * real timer does not keep the process alive.
   */
  after(delayMs: number, callback: () => void): Timer;
}

/** Waits on `clock`; rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal!.reason as Error);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
