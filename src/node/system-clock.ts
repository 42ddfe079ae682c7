/**
 * The real clock. Node's timers end at 2^31 ms (a longer delay fires at once) and may fire a millisecond early by
 * `performance.now`; both are hidden here: `after` never calls back before its time.
 */
import type { Clock, Timer } from '../ports/index.ts';

/** Longest delay `setTimeout` takes, ms. */
const timerDelayMsMax = 2 ** 31 - 1;
/**
 * Node keeps a list for every length of delay until that delay is over, also when all its timers were cancelled.
 * Blocking queries wait for minutes and a random rest, so there would soon be a list for every millisecond of them,
 * several megabytes: delays from this on (ms) end on multiples of the grain.
 */
const longDelayMs = 60_000;
const grainMs = 250;

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
        Math.min(shared(remainingMs), timerDelayMsMax),
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

/** The delay that a timer is set to: not shorter, and equal for many. */
function shared(delayMs: number): number {
  return delayMs < longDelayMs ? Math.ceil(delayMs) : Math.ceil(delayMs / grainMs) * grainMs;
}
