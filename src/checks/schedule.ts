/**
 * When a check runs (reference/agent.md §4.1): first after a random part of its interval, so that a thousand checks
 * registered at once do not run at once, then one interval after the previous run ended, so that a slow check never
 * overlaps itself.
 */
import type { Random } from '../ports/index.ts';

/** Shortest interval, ms; a shorter one is raised to it. */
export const intervalMsMin = 1000;

export function effectiveIntervalMs(intervalMs: number): number {
  return Math.max(intervalMs, intervalMsMin);
}

/** In [0, interval). */
export function firstDelayMs(intervalMs: number, random: Random): number {
  return random.next() * intervalMs;
}
