/**
 * Wall time finer than a millisecond, to compare with the engine's event times. `Date.now()` is whole milliseconds;
 * the moment at which it ticks sets the offset of the monotonic clock, to a few microseconds.
 */
let offsetMs = 0;

/** Sets the offset anew; takes up to one millisecond of spinning. Before each sample, so that no drift adds up. */
export function calibrate(): void {
  const before = Date.now();
  let now = before;
  while (now === before) now = Date.now();
  offsetMs = now - performance.now();
}

/** Unix time, ms. */
export function wallMs(): number {
  return offsetMs + performance.now();
}
