import { expect, test } from 'vitest';
import { LamportClock } from '../../../../src/gossip/serf/lamport-clock.ts';

test('a clock counts on from what it took, and from what it heard', () => {
  const clock = new LamportClock();
  expect(clock.time).toBe(1);
  expect(clock.take()).toBe(1);
  expect(clock.time).toBe(2);
  clock.witness(1);
  expect(clock.time).toBe(2);
  clock.witness(2);
  expect(clock.time).toBe(3);
  clock.witness(-1);
  expect(clock.time).toBe(3);
});

test('a clock stays exact at the end of its range', () => {
  const clock = new LamportClock();
  clock.witness(Number.MAX_SAFE_INTEGER);
  expect(clock.take()).toBe(Number.MAX_SAFE_INTEGER);
  expect(clock.time).toBe(Number.MAX_SAFE_INTEGER);
});
