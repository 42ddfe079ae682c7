/**
 * Timers for a process that may stall. After a pause (a stopped process, a long garbage collection) timers fire before
 * the packets that wait in the socket are read, and whoever acts on them declares others dead for its own absence.
 * A patient timer that notices that it is late lets the packets have their say first.
 */
import type { Clock, Timer } from '../../ports/index.ts';

/** Later than this is no jitter any more, ms. */
const lateMs = 100;
/** Time to read what waits in the socket and handle it, ms. */
const graceMs = 50;

export function afterPatiently(clock: Clock, delayMs: number, callback: () => void): Timer {
  const dueMs = clock.monotonicMs() + delayMs;
  let timer = clock.after(delayMs, () => {
    if (clock.monotonicMs() - dueMs <= lateMs) callback();
    else timer = clock.after(graceMs, callback);
  });
  return { cancel: () => timer.cancel() };
}

/** Calls `tick` again and again, the interval asked anew each time. */
export function repeat(clock: Clock, firstDelayMs: number, intervalMs: () => number, tick: () => void): Timer {
  let timer: Timer;
  const fire = (): void => {
    // Armed first: the tick may cancel it.
    timer = clock.after(intervalMs(), fire);
    tick();
  };
  timer = clock.after(firstDelayMs, fire);
  return { cancel: () => timer.cancel() };
}
