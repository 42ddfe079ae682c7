import { describe, expect, test } from 'vitest';
import { EventCoalescer } from '../../../../src/gossip/serf/coalesce.ts';
import type { MemberEventType, SerfEvent } from '../../../../src/gossip/serf/events.ts';
import type { Member } from '../../../../src/model/index.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';

function setUp() {
  const clock = new VirtualClock();
  const delivered: string[] = [];
  const coalescer = new EventCoalescer(clock, (event) => {
    if (event.type === 'user') delivered.push(`user ${event.name}@${event.lTime}`);
    else if (event.type !== 'query') delivered.push(`${event.type} ${event.members.map(({ Name }) => Name).join(',')}`);
  });
  const member = (type: MemberEventType, Name: string): void => coalescer.push({ type, members: [{ Name } as Member] });
  const user = (name: string, lTime: number, coalesce = true): void =>
    coalescer.push({ type: 'user', name, payload: new Uint8Array(), lTime, coalesce } satisfies SerfEvent);
  return { clock, delivered, member, user };
}

describe('gathered events', () => {
  test('go out when it is quiet, by kind', () => {
    const { clock, delivered, member } = setUp();
    member('member-join', 'a');
    member('member-failed', 'c');
    clock.advanceSync(500);
    member('member-join', 'b');
    clock.advanceSync(999);
    expect(delivered).toEqual([]);
    clock.advanceSync(1);
    expect(delivered).toEqual(['member-join a,b', 'member-failed c']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('go out after three seconds of noise', () => {
    const { clock, delivered, member } = setUp();
    for (let i = 0; i < 7; i++) {
      member('member-join', `n${i}`);
      clock.advanceSync(500);
    }
    expect(delivered).toEqual(['member-join n0,n1,n2,n3,n4,n5']);
  });

  test('tell only the last that happened to a member, and nothing when that is what was told', () => {
    const { clock, delivered, member } = setUp();
    member('member-join', 'a');
    clock.advanceSync(1000);
    member('member-failed', 'a');
    member('member-join', 'a');
    clock.advanceSync(1000);
    expect(delivered).toEqual(['member-join a']);
    member('member-update', 'a');
    clock.advanceSync(1000);
    member('member-update', 'a');
    clock.advanceSync(1000);
    expect(delivered.slice(1)).toEqual(['member-update a', 'member-update a']);
  });

  test('of a user keep the newest of a name, all of one time', () => {
    const { clock, delivered, user } = setUp();
    user('deploy', 3);
    user('deploy', 5);
    user('deploy', 5);
    user('deploy', 4);
    user('other', 1);
    clock.advanceSync(1000);
    expect(delivered).toEqual(['user deploy@5', 'user deploy@5', 'user other@1']);
  });

  test('do not hold back those that must not wait', () => {
    const { delivered, user } = setUp();
    user('now', 1, false);
    expect(delivered).toEqual(['user now@1']);
  });
});
