import { expect, test, vi } from 'vitest';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { SystemRandom } from '../../../src/node/system-random.ts';

test('a timer never fires before its time, however short', async () => {
  const clock = new SystemClock();
  for (const delayMs of [0, 0.4, 1.5, 3.2]) {
    const startMs = clock.monotonicMs();
    // The clock does not keep the process alive; the test does.
    const alive = setInterval(() => undefined, 1000);
    await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
    clearInterval(alive);
    expect(clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(delayMs);
  }
});

test('a delay above 2^31 ms does not fire at once, and a cancelled timer never does', async () => {
  const clock = new SystemClock();
  let fired = 0;
  const timers = [clock.after(2 ** 32, () => fired++), clock.after(0, () => fired++)];
  timers[1]!.cancel();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(fired).toBe(0);
  timers[0]!.cancel();
});

test('long delays share a few lengths, none of them shorter than what was asked for', () => {
  const set = vi.spyOn(globalThis, 'setTimeout');
  try {
    const clock = new SystemClock();
    for (const delayMs of [50, 59_999, 60_000, 300_000, 300_000.5, 300_001, 300_249, 300_251]) {
      clock.after(delayMs, () => undefined).cancel();
    }
    expect(set.mock.calls.map(([, delayMs]) => delayMs)).toEqual([
      50, 59_999, 60_000, 300_000, 300_250, 300_250, 300_250, 300_500,
    ]);
  } finally {
    set.mockRestore();
  }
});

test('real chance: UUIDs of version 4, bytes of the length asked, numbers below 1', () => {
  const random = new SystemRandom();
  expect(random.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  expect(random.uuid()).not.toBe(random.uuid());
  expect(random.bytes(5)).toHaveLength(5);
  const value = random.next();
  expect(value >= 0 && value < 1).toBe(true);
});
