import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RecentMessages, recentTimes } from '../../../../src/gossip/serf/recent-messages.ts';

const ring = (): RecentMessages<string> => new RecentMessages((a, b) => a === b);

describe('the ring of recent messages', () => {
  test('takes a message once, and others of its time', () => {
    const recent = ring();
    expect(recent.take(5, 'a', 6)).toBe(true);
    expect(recent.take(5, 'a', 6)).toBe(false);
    expect(recent.take(5, 'b', 6)).toBe(true);
  });

  test('gives the slot to another time', () => {
    const recent = ring();
    recent.take(5, 'a', 6);
    expect(recent.take(5 + recentTimes, 'b', 5 + recentTimes)).toBe(true);
    expect(recent.slots[5]).toEqual({ lTime: 5 + recentTimes, messages: ['b'] });
  });

  test('drops what is older than it remembers', () => {
    const recent = ring();
    expect(recent.take(10, 'a', 10 + recentTimes)).toBe(true);
    expect(recent.take(9, 'a', 10 + recentTimes)).toBe(false);
  });

  test('drops what is not wanted', () => {
    const recent = ring();
    recent.ignoreBefore(7);
    recent.ignoreBefore(3);
    expect(recent.take(6, 'a', 8)).toBe(false);
    expect(recent.take(7, 'a', 8)).toBe(true);
  });

  test('is bounded however many messages one time has', () => {
    const recent = ring();
    for (let i = 0; i < 1000; i++) recent.take(5, `${i}`, 6);
    expect(recent.slots[5]!.messages.length).toBe(256);
  });

  test('delivers nothing twice, in whatever order messages come', () => {
    const message = fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.constantFrom('a', 'b'));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 300 }), (messages) => {
        const recent = ring();
        const delivered = new Set<string>();
        let clockTime = 1;
        for (const [lTime, text] of [...messages, ...messages]) {
          clockTime = Math.max(clockTime, lTime + 1);
          if (!recent.take(lTime, text, clockTime)) continue;
          const id = `${lTime} ${text}`;
          // Another time may have had the slot meanwhile; then, and only then, old ones look new: peers do the same.
          if (delivered.has(id))
            expect(messages.some(([other]) => other !== lTime && (other - lTime) % 512 === 0)).toBe(true);
          delivered.add(id);
        }
      }),
    );
  });
});
