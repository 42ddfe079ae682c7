import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sleep } from '../../../src/ports/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

describe('the virtual clock', () => {
  test('fires timers by due time, equal ones in the order they were set', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 60 }), (delays) => {
        const clock = new VirtualClock();
        const fired: { delay: number; index: number; at: number }[] = [];
        for (const [index, delay] of delays.entries()) {
          clock.after(delay, () => fired.push({ delay, index, at: clock.monotonicMs() }));
        }
        clock.advanceSync(50);
        expect(fired).toHaveLength(delays.length);
        for (const { delay, at } of fired) expect(at).toBe(delay);
        for (let i = 1; i < fired.length; i++) {
          const [before, after] = [fired[i - 1]!, fired[i]!];
          expect(before.delay < after.delay || before.index < after.index).toBe(true);
        }
        expect(clock.pendingTimers).toBe(0);
      }),
    );
  });

  test('does not fire a cancelled timer, nor one that is not due', () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const cancelled = clock.after(5, () => fired.push('cancelled'));
    clock.after(10, () => fired.push('due'));
    clock.after(11, () => fired.push('later'));
    cancelled.cancel();
    cancelled.cancel();
    expect(clock.nextDueMs).toBe(10);
    clock.advanceSync(10);
    expect(fired).toEqual(['due']);
    expect(clock.pendingTimers).toBe(1);
  });

  test('lets promises run between two timers, so that a loop of sleeps keeps time', async () => {
    const clock = new VirtualClock();
    const at: number[] = [];
    void (async () => {
      for (let i = 0; i < 5; i++) {
        await sleep(clock, 10);
        at.push(clock.monotonicMs());
      }
    })();
    await clock.advance(45);
    expect(at).toEqual([10, 20, 30, 40]);
    expect(clock.monotonicMs()).toBe(45);
  });

  test('advanceUntil stops at the timer that made the condition true, and fails when nothing does', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const tick = (): void => {
      count++;
      clock.after(100, tick);
    };
    clock.after(100, tick);
    await clock.advanceUntil(() => count === 3, 10_000);
    expect(clock.monotonicMs()).toBe(300);
    await expect(clock.advanceUntil(() => count === 99, 1000)).rejects.toThrow('within 1000 ms');
  });

  test('wall time may jump, monotonic time does not', () => {
    const clock = new VirtualClock({ wallStartMs: 1000 });
    clock.advanceSync(5);
    clock.jumpWall(-500);
    expect([clock.monotonicMs(), clock.wallMs()]).toEqual([5, 505]);
  });
});
