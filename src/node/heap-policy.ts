/**
 * A small heap while there is little to do, a fast one under load. An agent sits idle on most hosts, and there its
 * memory is what it costs. Under load the same thrift makes it collect ever again what a larger young generation lets
 * die by itself: a quarter of the processor time of an answer. V8 asks for the flag at each collection, so it may
 * change while the process runs.
 */
import { setFlagsFromString } from 'node:v8';

/** How often the load is looked at (ms). */
const lookMs = 1_000;
/** Share of the time the event loop has work from which on, for so many looks in a row, speed matters more. */
export const busyShare = 0.4;
export const busyLooks = 3;
/** Below it for so many looks in a row, memory does again. */
export const calmShare = 0.2;
export const calmLooks = 10;

export type HeapMode = 'small' | 'fast';

/** Decides by what each look shows; begins small. */
export class HeapPolicy {
  #mode: HeapMode = 'small';
  #busy = 0;
  #calm = 0;

  /** @param share of the time since the last look in which there was work. */
  observe(share: number): HeapMode {
    this.#calm = share < calmShare ? this.#calm + 1 : 0;
    this.#busy = share >= busyShare ? this.#busy + 1 : 0;
    if (this.#busy >= busyLooks) this.#mode = 'fast';
    else if (this.#calm >= calmLooks) this.#mode = 'small';
    return this.#mode;
  }
}

/**
 * Follows the load of this process until it ends; keeps no process alive. The heap is small from the first statement of
 * the bundle on (.ci/build.mjs), before anything has made it grow.
 */
export function followLoad(): void {
  const policy = new HeapPolicy();
  let mode: HeapMode = 'small';
  let before = performance.eventLoopUtilization();
  setInterval(() => {
    const now = performance.eventLoopUtilization();
    const next = policy.observe(performance.eventLoopUtilization(now, before).utilization);
    before = now;
    if (next === mode) return;
    mode = next;
    setFlagsFromString(mode === 'small' ? '--optimize-for-size' : '--no-optimize-for-size');
  }, lookMs).unref();
}
