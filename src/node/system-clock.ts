/**
 * The real clock. Node's timers end at 2^31 ms (a longer delay fires at once) and may fire a millisecond early by
 * `performance.now`; both are hidden here: `after` never calls back before its time.
 */
import type { Clock, Timer } from '../ports/index.ts';

/** Longest delay `setTimeout` takes, ms. */
const timerDelayMsMax = 2 ** 31 - 1;

export class SystemClock implements Clock {
  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  after(delayMs: number, callback: () => void): Timer {
    const dueMs = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    const arm = (remainingMs: number): void => {
      handle = setTimeout(
        () => {
          const leftMs = dueMs - performance.now();
          if (leftMs > 0) arm(leftMs);
          else callback();
        },
        Math.min(Math.ceil(remainingMs), timerDelayMsMax),
      );
      handle.unref();
    };
    arm(delayMs);
    return {
      cancel() {
        clearTimeout(handle);
      },
    };
  }
}
