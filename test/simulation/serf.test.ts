// Pools of serf members on a simulated network. Every seed is another run; PORTOLAN_SEEDS=1000 runs more, PORTOLAN_SEED=n
// one. What SWIM guarantees is simulated with a thousand seeds in memberlist.test.ts and memberlist-faults.test.ts.
import { describe, expect, test } from 'vitest';
import { Keyring, type KeyResult } from '../../src/gossip/index.ts';
import { memberStatus } from '../../src/model/index.ts';
import type { LinkConditions } from '../../src/sim/network.ts';
import { seedsOf } from '../helpers/settings.ts';
import { SerfCluster, type SimMember } from './support/serf-cluster.ts';

const seeds = seedsOf({ byHand: 20, inCi: 20 });
const noisy: LinkConditions = { loss: 0.1, duplicates: 0.1, reordered: 0.2, delayMinMs: 0.5, delayMaxMs: 20 };
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const text = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8');

const userEvents = ({ events }: SimMember): string[] =>
  events.flatMap((event) => (event.type === 'user' ? [`${event.name} ${text(event.payload)}`] : []));
const memberEvents = ({ events }: SimMember, name: string): string[] =>
  events.flatMap((event) =>
    event.type !== 'user' && event.type !== 'query' && event.members.some(({ Name }) => Name === name)
      ? [event.type]
      : [],
  );

describe.each(seeds)('seed %i', (seed) => {
  test('all see who joins, with its tags, and who changes them', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const pool = await cluster.startPool(6);
    const [first] = pool as [SimMember];
    await cluster.run(first.serf.setTags({ role: 'db', dc: 'east' }));
    await cluster.clock.advanceUntil(() => pool.every(({ serf }) => serf.member('n0')!.Tags['role'] === 'db'), 60_000);
    for (const member of pool) {
      expect(member.serf.members().length).toBe(6);
      if (member !== first) expect(memberEvents(member, 'n0')).toContain('member-update');
    }
  });

  test('who says goodbye has left, who is silent has failed', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const [leaver, victim, ...rest] = (await cluster.startPool(7)) as [SimMember, SimMember, ...SimMember[]];
    await cluster.leave(leaver);
    cluster.crash(victim);
    await cluster.untilAllSee(rest, [leaver], memberStatus.left);
    await cluster.untilAllSee(rest, [victim], memberStatus.failed);
    for (const member of rest) {
      // Who missed the goodbye is told with the next exchange of states.
      expect(memberEvents(member, leaver.name).at(-1)).toBe('member-leave');
      expect(memberEvents(member, victim.name)).toEqual(['member-join', 'member-failed']);
    }
    await cluster.run(rest[0]!.serf.removeFailedNode(victim.name));
    await cluster.untilAllSee(rest, [victim], memberStatus.left);
    // Nothing repairs a request to forget that a member has missed, so it is made again.
    const isForgotten = (): boolean => rest.every(({ serf }) => serf.member(leaver.name) === undefined);
    for (let attempt = 0; attempt < 6 && !isForgotten(); attempt++) {
      await cluster.run(rest[1]!.serf.removeFailedNode(leaver.name, { prune: true }));
      await cluster.clock.advance(5_000);
    }
    expect(isForgotten()).toBe(true);
  });

  test('nobody holds for failed, not even for a moment, who leaves', async () => {
    const cluster = new SerfCluster(seed);
    const [leaver, ...rest] = (await cluster.startPool(9)) as [SimMember, ...SimMember[]];
    await cluster.leave(leaver);
    // Who missed the end itself learns of it by the next exchange of states, or by asking in vain.
    await cluster.clock.advance(60_000);
    for (const member of rest) expect(memberEvents(member, leaver.name)).toEqual(['member-join', 'member-leave']);
  });

  test('a member that is forced out, but alive, stays', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const pool = await cluster.startPool(5);
    await cluster.run(pool[0]!.serf.removeFailedNode('n3'));
    await cluster.clock.advance(10_000);
    await cluster.untilAllSee(pool, pool, memberStatus.alive);
  });

  test('every user event is delivered exactly once', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const pool = await cluster.startPool(6);
    const sent: string[] = [];
    for (let i = 0; i < 30; i++) {
      const sender = pool[cluster.random.integer(pool.length)]!;
      sender.serf.userEvent(`e${i}`, bytes(`from ${sender.name}`), false);
      sent.push(`e${i} from ${sender.name}`);
      await cluster.clock.advance(cluster.random.integer(400));
    }
    // What gossip lost comes with the next exchanges of states.
    await cluster.clock.advanceUntil(() => pool.every((member) => userEvents(member).length >= 30), 300_000);
    await cluster.clock.advance(60_000);
    for (const member of pool) {
      expect(userEvents(member).toSorted()).toEqual(sent.toSorted());
      // Everything was told often enough, and forgotten.
      expect(member.serf.stats).toMatchObject({ intent_queue: '0', event_queue: '0', query_queue: '0' });
    }
  });

  test('a newcomer hears old events unless it says no', async () => {
    const cluster = new SerfCluster(seed);
    const [first] = (await cluster.startPool(3)) as [SimMember];
    first.serf.userEvent('old', bytes('1'), false);
    await cluster.clock.advance(5_000);
    const curious = await cluster.start('curious');
    await cluster.join(curious, first);
    const calm = await cluster.start('calm');
    await cluster.join(calm, first, true);
    first.serf.userEvent('new', bytes('2'), false);
    await cluster.clock.advance(60_000);
    expect(userEvents(curious)).toEqual(['old 1', 'new 2']);
    expect(userEvents(calm)).toEqual(['new 2']);
  });

  test('a query is acknowledged and answered by those who are meant', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const pool = await cluster.startPool(6);
    const answering = new Set<SimMember>();
    const answer = (): void => {
      for (const member of pool) {
        for (const event of member.events.splice(0)) {
          if (event.type !== 'query') continue;
          answering.add(member);
          event.respond(bytes(`${member.name} ${text(event.payload)}`));
        }
      }
    };
    const acked = new Set<string>();
    const answered = new Map<string, string>();
    // A question travels by gossip alone, and misses somebody now and then.
    for (let attempt = 0; attempt < 12 && Math.min(acked.size, answered.size) < pool.length; attempt++) {
      const handle = pool[0]!.serf.query('uptime', bytes('now'), { wantsAcks: true, relayFactor: 2, timeoutMs: 5_000 });
      for (let i = 0; i < 45; i++) {
        await cluster.clock.advance(100);
        answer();
      }
      await cluster.run(handle.finished);
      expect(new Set(handle.acks).size).toBe(handle.acks.length);
      for (const from of handle.acks) acked.add(from);
      for (const { from, payload } of handle.responses) answered.set(from, text(payload));
    }
    expect([...acked].toSorted()).toEqual(pool.map(({ name }) => name));
    expect(Object.fromEntries(answered)).toEqual(Object.fromEntries(pool.map(({ name }) => [name, `${name} now`])));
    answering.clear();
    for (let i = 0; i < 120; i++) {
      if (i % 20 === 0) pool[1]!.serf.query('uptime', bytes(''), { nodes: ['n2', 'n4'], tags: { role: '^w' } });
      await cluster.clock.advance(100);
      answer();
    }
    expect([...answering].map(({ name }) => name).toSorted()).toEqual(['n2', 'n4']);
  });

  test('both sides of a split give each other up and agree again after it', async () => {
    const cluster = new SerfCluster(seed);
    const pool = await cluster.startPool(7);
    const left = pool.slice(0, 3);
    const right = pool.slice(3);
    cluster.network.partition([left.map(({ address }) => address), right.map(({ address }) => address)]);
    await cluster.untilAllSee(left, right, memberStatus.failed);
    await cluster.untilAllSee(right, left, memberStatus.failed);
    left[0]!.serf.userEvent('in the dark', bytes('x'), false);
    await cluster.clock.advance(60_000);
    expect(userEvents(right[0]!)).toEqual([]);
    cluster.network.heal();
    await cluster.untilAllSee(pool, pool, memberStatus.alive, 600_000);
    await cluster.clock.advance(120_000);
    for (const member of pool) expect(userEvents(member)).toEqual(['in the dark x']);
  });

  test('a member that was restarted finds the pool by its snapshot, and hears nothing twice', async () => {
    const cluster = new SerfCluster(seed, noisy);
    const pool = await cluster.startPool(5);
    const [first, victim] = pool as [SimMember, SimMember];
    first.serf.userEvent('once', bytes(''), false);
    await cluster.clock.advance(20_000);
    expect(userEvents(victim)).toEqual(['once ']);
    cluster.crash(victim);
    await cluster.clock.advance(1_000);
    const reborn = await cluster.start(victim.name);
    const now = [first, reborn, ...pool.slice(2)];
    await cluster.untilAllSee(now, now, memberStatus.alive);
    await cluster.clock.advance(60_000);
    expect(userEvents(reborn)).toEqual([]);
  });

  test('a member that left comes back by itself only when told to', async () => {
    const cluster = new SerfCluster(seed);
    const [first, leaver, eager] = (await cluster.startPool(3)) as [SimMember, SimMember, SimMember];
    await cluster.leave(leaver);
    await cluster.leave(eager);
    const back = await cluster.start(leaver.name);
    const eagerBack = await cluster.start(eager.name, { rejoinAfterLeave: true });
    await cluster.untilAllSee([first], [eagerBack], memberStatus.alive);
    await cluster.clock.advance(30_000);
    expect(back.serf.members().length).toBe(1);
    expect(first.serf.member(leaver.name)!.Status).toBe(memberStatus.left);
    await cluster.join(back, first);
    await cluster.untilAllSee([first, back, eagerBack], [first, back, eagerBack], memberStatus.alive);
  });

  test('keys are rotated without a moment of deafness', async () => {
    const old = Buffer.alloc(32, 1);
    const next = Buffer.alloc(32, 2).toString('base64');
    const cluster = new SerfCluster(seed);
    const pool = await cluster.startPool(5, { keyring: new Keyring([old]) });
    const { keys } = pool[2]!.serf;
    // As an operator does when a member has missed the question.
    const untilAll = async (step: () => Promise<KeyResult>): Promise<KeyResult> => {
      let result = await cluster.run(step());
      for (let attempt = 0; attempt < 5 && result.error !== null; attempt++) result = await cluster.run(step());
      expect(result.error).toBeNull();
      return result;
    };
    await untilAll(() => keys.install(next));
    await untilAll(() => keys.use(next));
    await untilAll(() => keys.remove(old.toString('base64')));
    const listed = await untilAll(() => keys.list());
    expect([...listed.keys]).toEqual([[next, 5]]);
    expect([...listed.primaryKeys]).toEqual([[next, 5]]);
    await cluster.clock.advance(60_000);
    await cluster.untilAllSee(pool, pool, memberStatus.alive);
    for (const member of pool) {
      expect(member.keyring!.keys.length).toBe(1);
      for (const { name } of pool) expect(memberEvents(member, name)).not.toContain('member-failed');
    }
    cluster.crash(pool[4]!);
    const incomplete = await cluster.run(keys.list());
    expect(incomplete.error).toMatch(/^[1-4]\/5 nodes reported success$/);
  });

  test('of two members of one name the one that fewer know goes', async () => {
    const cluster = new SerfCluster(seed);
    const pool = await cluster.startPool(4);
    const [first] = pool as [SimMember];
    let lost = 0;
    const twin = await cluster.start('twin', { nodeName: 'n1', address: '10.0.0.99', onNameLost: () => lost++ });
    await cluster.run(twin.serf.join([first.address], false));
    await cluster.clock.advanceUntil(() => lost === 1, 60_000);
    expect(twin.serf.state).toBe('shutdown');
    await cluster.clock.advance(60_000);
    await cluster.untilAllSee(pool, pool, memberStatus.alive);
    expect(first.serf.member('n1')!.Addr).toBe(pool[1]!.address);
  });

  test('members learn where they stand', async () => {
    const cluster = new SerfCluster(seed, { loss: 0, duplicates: 0, reordered: 0, delayMinMs: 9, delayMaxMs: 11 });
    const pool = await cluster.startPool(5);
    await cluster.clock.advance(180_000);
    for (const { serf } of pool) {
      expect(serf.coordinate!.Error).toBeLessThan(1.5);
      for (const { name } of pool) expect(serf.cachedCoordinate(name), name).toBeDefined();
    }
  });

  test('a refused pool stays outside', async () => {
    const cluster = new SerfCluster(seed);
    const wanted = {
      mergeProblem: (members: readonly { readonly Name: string }[]) =>
        members.some(({ Name }) => Name === 'stranger') ? 'no strangers' : null,
    };
    const pool = await cluster.startPool(3, wanted);
    const stranger = await cluster.start('stranger');
    await cluster.run(stranger.serf.join([pool[0]!.address], false));
    await cluster.clock.advance(60_000);
    for (const { serf } of pool) expect(serf.member('stranger')).toBeUndefined();
  });
});

test('a quiet pool has no suspicion in ten minutes', async () => {
  const cluster = new SerfCluster(99);
  const pool = await cluster.startPool(8);
  await cluster.clock.advance(600_000);
  for (const { events, logLines } of pool) {
    expect(events.filter(({ type }) => type === 'member-failed')).toEqual([]);
    expect(logLines.filter((line) => /suspect/i.test(line))).toEqual([]);
  }
});

test('two runs of one seed are the same run', async () => {
  const run = async (): Promise<string> => {
    const cluster = new SerfCluster(5, noisy);
    const pool = await cluster.startPool(5);
    pool[0]!.serf.userEvent('e', bytes(''), false);
    await cluster.clock.advance(60_000);
    return pool.map(({ logLines }) => logLines.join('\n')).join('\n\n');
  };
  expect(await run()).toBe(await run());
});
