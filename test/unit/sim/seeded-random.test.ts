import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';

const draw = (random: SeededRandom): unknown[] => [
  random.next(),
  random.uuid(),
  [...random.bytes(9)],
  random.fork().next(),
];

test('the same seed gives the same values, another seed gives others', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (seed) => {
      expect(draw(new SeededRandom(seed))).toEqual(draw(new SeededRandom(seed)));
      expect(draw(new SeededRandom(seed))).not.toEqual(draw(new SeededRandom((seed + 1) % Number.MAX_SAFE_INTEGER)));
    }),
  );
});

test('numbers lie in [0, 1) and spread evenly', () => {
  const random = new SeededRandom(1);
  const buckets = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const value = random.next();
    expect(value >= 0 && value < 1).toBe(true);
    buckets[Math.floor(value * 10)]!++;
  }
  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(150);
});

test('UUIDs are version 4 and do not repeat', () => {
  const random = new SeededRandom(7);
  const uuids = Array.from({ length: 200 }, () => random.uuid());
  for (const uuid of uuids)
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(uuids).size).toBe(200);
});
