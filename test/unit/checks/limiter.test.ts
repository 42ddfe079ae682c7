import { expect, test } from 'vitest';
import { Limiter } from '../../../src/checks/limiter.ts';
import { sleep } from '../../../src/ports/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

test('never more than its number run, in the order they came, and all run', async () => {
  const clock = new VirtualClock();
  const limiter = new Limiter(3);
  const started: number[] = [];
  let running = 0;
  let most = 0;
  for (let index = 0; index < 20; index++) {
    const task = async (): Promise<void> => {
      started.push(index);
      most = Math.max(most, ++running);
      await sleep(clock, 10 + (index % 4));
      running--;
      if (index === 5) throw new Error('one fails');
    };
    limiter.run(task).catch(() => undefined);
  }
  await clock.advance(1000);
  expect(started).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect([most, running]).toEqual([3, 0]);
});
