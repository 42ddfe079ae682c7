import { describe, expect, test } from 'vitest';
import type { MemberlistMember } from '../../../../src/gossip/memberlist/index.ts';
import { type Intent, MemberTable } from '../../../../src/gossip/serf/member-table.ts';
import { encodeTags } from '../../../../src/gossip/serf/tags.ts';
import { memberStatus } from '../../../../src/model/index.ts';
import type { Metrics } from '../../../../src/ports/index.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../../helpers/logger.ts';

const hourMs = 3_600_000;
const silentMetrics: Metrics = { count() {}, gauge() {}, sample() {} };

function node(name: string, tags: Readonly<Record<string, string>> = {}): MemberlistMember {
  return {
    name,
    address: '10.0.0.1',
    addressBytes: Uint8Array.of(10, 0, 0, 1),
    port: 7946,
    meta: encodeTags(tags),
    state: 'alive',
    protocol: { min: 1, max: 5, current: 2 },
    delegate: { min: 2, max: 5, current: 5 },
    incarnation: 1,
  };
}

function setUp(options: { readonly leaving?: boolean } = {}) {
  const clock = new VirtualClock();
  const events: string[] = [];
  const table = new MemberTable({
    self: 'self',
    clock,
    logger: silentLogger,
    metrics: silentMetrics,
    isLeaving: () => options.leaving ?? false,
    pruneDelayMs: 6_000,
    reconnectTimeoutMs: 72 * hourMs,
    tombstoneTimeoutMs: 24 * hourMs,
    emit: (type, member) => events.push(`${type} ${member.Name}`),
  });
  table.joined(node('self'));
  table.joined(node('a', { role: 'web' }));
  events.length = 0;
  return { clock, events, table, status: (name = 'a') => table.member(name)?.Status };
}

const join = (lTime: number, of = 'a'): Intent => ({ type: 'join', node: of, lTime, prune: false });
const leave = (lTime: number, of = 'a', prune = false): Intent => ({ type: 'leave', node: of, lTime, prune });

describe('a member', () => {
  test('that stops answering has failed', () => {
    const { events, table, status } = setUp();
    table.gone(node('a'));
    expect(status()).toBe(memberStatus.failed);
    table.gone(node('a'));
    expect(events).toEqual(['member-failed a']);
  });

  test('that stops answering after it said so has left', () => {
    const { events, table, status } = setUp();
    expect(table.intent(leave(3))).toBe('spread');
    expect(status()).toBe(memberStatus.leaving);
    table.gone(node('a'));
    expect(status()).toBe(memberStatus.left);
    expect(events).toEqual(['member-leave a']);
  });

  test('that failed and answers again is alive', () => {
    const { events, table, status } = setUp();
    table.gone(node('a'));
    table.joined(node('a', { role: 'db' }));
    expect(status()).toBe(memberStatus.alive);
    expect(table.member('a')!.Tags).toEqual({ role: 'db' });
    expect(events).toEqual(['member-failed a', 'member-join a']);
  });

  test('that failed is declared gone by a leave intent', () => {
    const { events, table, status } = setUp();
    table.gone(node('a'));
    table.intent(leave(1));
    expect(status()).toBe(memberStatus.left);
    expect(events).toEqual(['member-failed a', 'member-leave a']);
  });

  test('that is leaving stays when it says so later', () => {
    const { table, status } = setUp();
    table.intent(leave(3));
    expect(table.intent(join(3))).toBe('none');
    expect(status()).toBe(memberStatus.leaving);
    expect(table.intent(join(4))).toBe('spread');
    expect(status()).toBe(memberStatus.alive);
  });

  test('that is said to leave and still answers a minute later has not meant it', () => {
    const { clock, events, table, status } = setUp();
    table.intent(leave(3));
    clock.advanceSync(60_000);
    table.reap();
    expect(status()).toBe(memberStatus.leaving);
    clock.advanceSync(1);
    table.reap();
    expect(status()).toBe(memberStatus.alive);
    expect(events).toEqual([]);
  });

  test('is not moved by intents of old', () => {
    const { table, status } = setUp();
    table.intent(join(5));
    expect(table.intent(leave(5))).toBe('none');
    expect(table.intent(leave(4))).toBe('none');
    expect(status()).toBe(memberStatus.alive);
    expect(table.statusTimes().get('a')).toBe(5);
  });

  test('changes its tags', () => {
    const { events, table } = setUp();
    table.updated(node('a', { role: 'db' }));
    expect(table.member('a')!.Tags).toEqual({ role: 'db' });
    expect(events).toEqual(['member-update a']);
  });
});

describe('intents about nodes that are not known yet', () => {
  test('are applied when the node appears', () => {
    const { table, status } = setUp();
    expect(table.intent(join(7, 'b'))).toBe('spread');
    expect(table.intent(join(7, 'b'))).toBe('none');
    expect(table.intent(leave(8, 'b'))).toBe('spread');
    expect(table.intent(join(7, 'b'))).toBe('none');
    table.joined(node('b'));
    expect(status('b')).toBe(memberStatus.leaving);
    expect(table.statusTimes().get('b')).toBe(8);
  });

  test('are forgotten after five minutes', () => {
    const { clock, table, status } = setUp();
    table.intent(leave(8, 'b'));
    clock.advanceSync(5 * 60_000 + 1);
    table.reap();
    table.joined(node('b'));
    expect(status('b')).toBe(memberStatus.alive);
  });

  test('are bounded', () => {
    const { table } = setUp();
    for (let i = 0; i < 4096; i++) expect(table.intent(join(1, `n${i}`))).toBe('spread');
    expect(table.intent(join(1, 'one-more'))).toBe('none');
    expect(table.intent(join(2, 'n0'))).toBe('spread');
  });
});

describe('this node', () => {
  test('contradicts whoever says that it leaves', () => {
    const { table, status } = setUp();
    expect(table.intent(leave(9, 'self'))).toBe('refute');
    expect(status('self')).toBe(memberStatus.alive);
  });

  test('does not while it really leaves', () => {
    const { table, status } = setUp({ leaving: true });
    expect(table.intent(leave(9, 'self'))).toBe('spread');
    expect(status('self')).toBe(memberStatus.leaving);
  });
});

describe('memory of members', () => {
  test('of failed ones lasts as long as they are tried', () => {
    const { clock, events, table } = setUp();
    table.gone(node('a'));
    clock.advanceSync(72 * hourMs);
    table.reap();
    expect(table.member('a')).toBeDefined();
    clock.advanceSync(1);
    table.reap();
    expect(table.member('a')).toBeUndefined();
    expect(events).toEqual(['member-failed a', 'member-reap a']);
  });

  test('of those that left lasts as long as a tombstone', () => {
    const { clock, events, table } = setUp();
    table.intent(leave(1));
    table.gone(node('a'));
    clock.advanceSync(24 * hourMs + 1);
    table.reap();
    expect(events).toEqual(['member-leave a', 'member-reap a']);
    expect(table.members.map(({ Name }) => Name)).toEqual(['self']);
  });

  test('ends at once when a failed member is pruned', () => {
    const { events, table } = setUp();
    table.gone(node('a'));
    table.intent(leave(1, 'a', true));
    expect(events).toEqual(['member-failed a', 'member-leave a', 'member-reap a']);
  });

  test('ends later when a member is pruned that is still there', () => {
    const { clock, events, table } = setUp();
    table.intent(leave(1, 'a', true));
    clock.advanceSync(5_999);
    expect(table.member('a')).toBeDefined();
    clock.advanceSync(1);
    expect(events).toEqual(['member-reap a']);
  });

  test('does not end when the pruned member says that it stays', () => {
    const { clock, table, status } = setUp();
    table.intent(leave(1, 'a', true));
    table.intent(join(2));
    clock.advanceSync(10_000);
    expect(status()).toBe(memberStatus.alive);
  });
});
