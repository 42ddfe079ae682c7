// Pools of members in peace, on a bad network and with slow members, from one seed each. A failure names its seed and
// how to run that one alone; `PORTOLAN_SEEDS=n` runs that many.
import { expect, test } from 'vitest';
import { Pool, stateOf } from '../unit/gossip/memberlist/support.ts';
import { forEachSeed, limitMs, seeds, Watch } from './support/memberlist-runs.ts';

test(
  'without faults nobody ever suspects anybody',
  async () => {
    await forEachSeed(async (seed) => {
      const pool = new Pool(seed);
      await pool.grow(3 + (seed % 10));
      await new Watch(pool).advance(60_000, () => pool.members);
      expect(pool.agrees()).toBe(true);
      for (const { log, memberlist } of pool.members) {
        expect(log.filter((line) => /suspect|fail/.test(line))).toEqual([]);
        expect(memberlist.localMember.incarnation).toBe(1);
      }
    });
  },
  limitMs,
);

test(
  'loss, doubles and late packets alone kill nobody',
  async () => {
    await forEachSeed(async (seed) => {
      const conditions = { loss: 0.05, duplicates: 0.05, reordered: 0.1, delayMinMs: 1, delayMaxMs: 20 };
      const pool = new Pool(seed, { conditions });
      await pool.grow(3 + (seed % 10));
      await new Watch(pool).advance(60_000, () => pool.members);
      for (const { events } of pool.members) expect(events.filter((event) => event.startsWith('dead'))).toEqual([]);
    });
  },
  limitMs,
);

test(
  'slow members are not held for dead, nor do they kill others',
  async () => {
    await forEachSeed(async (seed) => {
      const pool = new Pool(seed);
      const members = await pool.grow(6 + (seed % 7));
      const slow = members.slice(0, 1 + (seed % 3));
      for (let round = 0; round < 6; round++) {
        for (const { host } of slow) host.stall();
        await pool.clock.advance(1_500);
        for (const { host } of slow) host.resume();
        await pool.clock.advance(1_000);
      }
      await pool.clock.advance(15_000);
      expect(pool.agrees()).toBe(true);
      const healthy = members.filter((member) => !slow.includes(member)).map(({ name }) => name);
      const falsePositives = members.flatMap(({ events }) =>
        events.filter((event) => healthy.some((name) => event === `dead ${name}`)),
      );
      expect(falsePositives).toEqual([]);
    });
  },
  limitMs,
);

test('a pool of 200 agrees on join and crash, with the same load on each', async () => {
  const pool = new Pool(seeds[0]!);
  const members = await pool.grow(200);
  await pool.clock.advance(10_000);
  const before = members.map(({ host }) => host.traffic.packets);
  await pool.clock.advance(10_000);
  const perSecond = members.map(({ host }, i) => (host.traffic.packets - before[i]!) / 10);
  // A probe and an answer each second on average, whatever the size of the pool; nothing to gossip.
  expect(Math.max(...perSecond)).toBeLessThan(8);
  members[100]!.host.crash();
  const rest = members.filter((_, i) => i !== 100);
  await pool.clock.advanceUntil(() => rest.every((member) => stateOf(member, 'm100') === 'dead'), 60_000);
}, 120_000);
