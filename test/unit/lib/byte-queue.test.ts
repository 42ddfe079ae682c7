import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteQueue, PeerBudget } from '../../../src/lib/index.ts';

describe('a byte queue', () => {
  test('gives back what was put in, in order, however it was cut', () => {
    const piece = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 4_000, max: 5_000 }));
    const step = fc.oneof(
      piece.map((bytes) => ({ push: bytes })),
      fc.constant('shift' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new ByteQueue();
        const sent: number[] = [];
        const taken: number[] = [];
        for (const each of steps) {
          if (each === 'shift') taken.push(...(queue.shift() ?? []));
          else {
            const bytes = Uint8Array.from({ length: each.push }, (_, at) => (sent.length + at) & 0xff);
            sent.push(...bytes);
            queue.push(bytes);
          }
          expect(queue.bytes).toBe(sent.length - taken.length);
        }
        for (let rest = queue.shift(); rest !== undefined; rest = queue.shift()) taken.push(...rest);
        expect(taken).toEqual(sent);
        expect(queue.bytes).toBe(0);
      }),
    );
  });

  test('puts small pieces together', () => {
    const queue = new ByteQueue();
    for (let at = 0; at < 100_000; at++) queue.push(Uint8Array.of(at & 0xff));
    let pieces = 0;
    while (queue.shift() !== undefined) pieces++;
    expect(pieces).toBeLessThan(10);
  });

  test('takes back what was read too far', () => {
    const queue = new ByteQueue();
    queue.push(Uint8Array.of(3, 4));
    queue.unshift(Uint8Array.of(1, 2));
    expect([...queue.shift()!, ...queue.shift()!]).toEqual([1, 2, 3, 4]);
  });

  test('keeps what was taken as it was', () => {
    const queue = new ByteQueue();
    queue.push(Uint8Array.of(1));
    queue.push(Uint8Array.of(2));
    const taken = queue.shift()!;
    queue.push(Uint8Array.of(9));
    queue.push(Uint8Array.of(9));
    expect([...taken]).toEqual([1, 2]);
  });
});

describe('a budget', () => {
  test('is for each peer, and comes back', () => {
    const budget = new PeerBudget(100);
    expect(budget.change('a', 100)).toBe(true);
    expect(budget.change('b', 1)).toBe(true);
    expect(budget.change('a', 1)).toBe(false);
    expect(budget.change('a', -101)).toBe(true);
    expect(budget.held('a')).toBe(0);
    expect(budget.change('a', 100)).toBe(true);
  });
});
