// Three and five servers from the first election to the replacement of their machines, on a virtual clock.
import { describe, expect, test } from 'vitest';
import { byteStringFromUtf8 } from '../../src/lib/index.ts';
import { autopilotDefaults, type CallReply } from '../../src/model/index.ts';
import { suffrage } from '../../src/raft/index.ts';
import { seedsOf } from '../helpers/settings.ts';
import { electionMs, isUnclear, type Machine, ServerCluster, suspicionMs } from './support/server-cluster.ts';

const key = byteStringFromUtf8;
const put = (cluster: ServerCluster, at: Machine, name: string, value: string) =>
  cluster.call(at, 'KVS.Apply', { Op: 'set', DirEnt: { Key: key(name), Value: Buffer.from(value) } });
const get = async (cluster: ServerCluster, at: Machine, name: string, how: object = {}) => {
  const { Entries } = await cluster.call(at, 'KVS.Get', { Key: key(name), ...how });
  return Entries === null ? null : Buffer.from(Entries[0]?.Value ?? []).toString();
};
const votersOf = (machine: Machine) =>
  machine
    .process!.node.configuration.configuration.Servers.filter(({ Suffrage }) => Suffrage === suffrage.voter)
    .map(({ Address }) => Address)
    .toSorted();

function expectEqualStates(cluster: ServerCluster): void {
  const [first, ...others] = cluster.alive.map((machine) => cluster.stateOf(machine));
  for (const other of others) expect(other).toBe(first);
}

describe.each([3, 5])('%i servers', (expected) => {
  test('find each other, elect one, and register all of them', async () => {
    const cluster = await ServerCluster.start({ seed: expected, expect: expected });
    await cluster.clock.advance(2_000);
    const { leader, followers } = cluster;
    expect(followers).toHaveLength(expected - 1);
    for (const machine of cluster.alive) expect(votersOf(machine)).toHaveLength(expected);
    expect(cluster.events).toEqual([`consul:new-leader ${leader!.name}`]);
    const { Nodes } = await cluster.call(followers[0]!, 'Health.ServiceNodes', { ServiceName: 'consul' });
    expect(Nodes.map(({ Node }) => Node.ID).toSorted()).toEqual(cluster.machines.map(({ id }) => id).toSorted());
    await cluster.untilEqual();
    expectEqualStates(cluster);
    expect(cluster.failure).toBeUndefined();
  });

  test('answer at whichever server is asked', async () => {
    const cluster = await ServerCluster.start({ seed: 10 + expected, expect: expected });
    for (const [number, machine] of cluster.alive.entries()) {
      await put(cluster, machine, `k${number}`, machine.name);
      for (const other of cluster.alive) {
        expect(await get(cluster, other, `k${number}`)).toBe(machine.name);
        expect(await get(cluster, other, `k${number}`, { RequireConsistent: true })).toBe(machine.name);
      }
    }
    const [follower] = cluster.followers;
    const stale = await cluster.call(follower!, 'KVS.Get', { Key: key('k0'), AllowStale: true });
    expect(stale.KnownLeader).toBe(true);
    expect(stale.LastContact).toBeGreaterThan(0);
    const fresh = await cluster.call(follower!, 'KVS.Get', { Key: key('k0') });
    expect(fresh).toMatchObject({ KnownLeader: true, LastContact: 0 });
    for (const machine of cluster.alive) {
      expect(await cluster.call(machine, 'Status.Leader', {})).toBe(`${cluster.leader!.address}:8300`);
      expect(await cluster.call(machine, 'Status.Peers', {})).toHaveLength(expected);
    }
  });

  test('go on when the leader dies, and lose nothing that was acknowledged', async () => {
    const cluster = await ServerCluster.start({ seed: 20 + expected, expect: expected });
    const [follower] = cluster.followers;
    await put(cluster, follower!, 'before', '1');
    const began = cluster.clock.monotonicMs();
    const dead = cluster.leader!;
    cluster.kill(dead);
    await put(cluster, follower!, 'after', '2');
    expect(cluster.clock.monotonicMs() - began).toBeLessThan(electionMs);
    for (const machine of cluster.alive) {
      expect(await get(cluster, machine, 'before')).toBe('1');
      expect(await get(cluster, machine, 'after')).toBe('2');
    }
    await cluster.clock.advance(suspicionMs);
    const { HealthChecks } = await cluster.call(follower!, 'Health.NodeChecks', { Node: dead.name });
    expect(HealthChecks).toMatchObject([{ CheckID: 'serfHealth', Status: 'critical' }]);
    await cluster.join(dead);
    await cluster.untilLed();
    await cluster.untilEqual();
    expectEqualStates(cluster);
  });

  test('go on when the leader is frozen, whose calls are asked anew or given up', async () => {
    const cluster = await ServerCluster.start({ seed: 30 + expected, expect: expected });
    const [follower] = cluster.followers;
    await put(cluster, follower!, 'k', '1');
    const frozen = cluster.leader!;
    cluster.freeze(frozen);
    const began = cluster.clock.monotonicMs();
    const write = put(cluster, follower!, 'k', '2');
    write.catch(() => undefined);
    expect(await get(cluster, follower!, 'k')).toBe('1');
    await expect(write).rejects.toThrow('leadership lost');
    expect(cluster.clock.monotonicMs() - began).toBeLessThan(electionMs);
    await put(cluster, follower!, 'k', '3');
    cluster.thaw(frozen);
    await cluster.untilLed();
    expect(await get(cluster, frozen, 'k')).toBe('3');
    await cluster.untilEqual();
    expectEqualStates(cluster);
  });

  test('keep their leader when one comes back that heard of nobody for long', async () => {
    const cluster = await ServerCluster.start({ seed: 35 + expected, expect: expected });
    const leader = cluster.leader!;
    const { term } = leader.process!.node;
    const [away] = cluster.followers as [Machine];
    cluster.freeze(away);
    await cluster.clock.advance(60_000);
    cluster.thaw(away);
    await cluster.clock.advance(60_000);
    expect(cluster.leader).toBe(leader);
    expect(cluster.machines.map(({ process }) => process!.node.term)).toEqual(cluster.machines.map(() => term));
  });
});

describe('sessions', () => {
  const session = async (cluster: ServerCluster, at: Machine) => {
    await cluster.call(at, 'Catalog.Register', { Node: 'n', Address: '192.0.2.1' });
    return await cluster.call(at, 'Session.Apply', { Op: 'create', Session: { Node: 'n', TTL: '10s', LockDelay: 0 } });
  };
  const exists = async (cluster: ServerCluster, at: Machine, SessionID: string) =>
    (await cluster.call(at, 'Session.Get', { SessionID })).Sessions !== null;

  test('outlive their leader, get their whole time anew, and end when nobody renews them', async () => {
    const cluster = await ServerCluster.start({ seed: 41, expect: 3 });
    const [follower] = cluster.followers;
    const id = await session(cluster, follower!);
    for (let i = 0; i < 5; i++) {
      await cluster.clock.advance(9_000);
      await cluster.call(follower!, 'Session.Renew', { SessionID: id });
    }
    await cluster.clock.advance(15_000);
    cluster.kill(cluster.leader!);
    const leader = await cluster.untilLed();
    await cluster.clock.advance(15_000);
    expect(await exists(cluster, leader, id)).toBe(true);
    await cluster.clock.advance(10_000);
    expect(await exists(cluster, leader, id)).toBe(false);
  });

  test('keep a lock closed for its delay under the next leader too', async () => {
    const cluster = await ServerCluster.start({ seed: 42, expect: 3 });
    const [follower] = cluster.followers;
    const lock = (Session: string) =>
      cluster.call(follower!, 'KVS.Apply', { Op: 'lock', DirEnt: { Key: key('l'), Session } });
    await cluster.call(follower!, 'Catalog.Register', { Node: 'n', Address: '192.0.2.1' });
    const create = (LockDelay: number) =>
      cluster.call(follower!, 'Session.Apply', { Op: 'create', Session: { Node: 'n', LockDelay } });
    const first = await create(30e9);
    const second = await create(0);
    expect(await lock(first)).toBe(true);
    await cluster.call(follower!, 'Session.Apply', { Op: 'destroy', Session: { ID: first } });
    cluster.kill(cluster.leader!);
    expect(await lock(second)).toBe(false);
    await cluster.clock.advance(30_000);
    expect(await lock(second)).toBe(true);
  });
});

describe('the members of the cluster', () => {
  const health = (cluster: ServerCluster, at: Machine): Promise<CallReply<'Operator.ServerHealth'>> =>
    cluster.call(at, 'Operator.ServerHealth', {});

  test('a failed server is found ill, replaced by a new one that votes when it has proved itself, and forgotten', async () => {
    const cluster = await ServerCluster.start({ seed: 51, expect: 3 });
    await cluster.clock.advance(8_000);
    const [victim, witness] = cluster.followers as [Machine, Machine];
    expect(await health(cluster, witness)).toMatchObject({ Healthy: true, FailureTolerance: 1 });
    cluster.kill(victim);
    await cluster.clock.advance(suspicionMs + 2_500);
    const ill = await health(cluster, witness);
    expect(ill).toMatchObject({ Healthy: false, FailureTolerance: 0 });
    expect(ill.Servers.find(({ ID }) => ID === victim.id)).toMatchObject({ Healthy: false, SerfStatus: 'failed' });

    const fresh = cluster.machine();
    await cluster.join(fresh);
    await cluster.clock.advance(8_000);
    const { Servers } = await cluster.call(witness, 'Operator.RaftGetConfiguration', {});
    expect(Servers.find(({ ID }) => ID === fresh.id)).toMatchObject({ Node: fresh.name, Voter: false });
    await cluster.clock.advance(25_000);
    const alive = cluster.alive.map(({ address }) => `${address}:8300`).toSorted();
    for (const machine of cluster.alive) expect(votersOf(machine)).toEqual(alive);
    expect(alive).toContain(`${fresh.address}:8300`);
    expect((await cluster.call(witness, 'Catalog.NodeServices', { Node: victim.name })).NodeServices).toBe(null);
    expect(await health(cluster, witness)).toMatchObject({ Healthy: true, FailureTolerance: 1 });
    await cluster.untilEqual();
    expectEqualStates(cluster);
    for (const machine of cluster.alive) expect(machine.process!.server.stats().raft).toMatchObject({ num_peers: '2' });
  });

  test('stay when too many are dead to do without them', async () => {
    const cluster = await ServerCluster.start({ seed: 52, expect: 5 });
    const [a, b, c] = cluster.followers as [Machine, Machine, Machine];
    cluster.kill(a);
    await cluster.clock.advance(30_000);
    expect(votersOf(cluster.leader!)).toHaveLength(4);
    cluster.kill(b);
    cluster.kill(c);
    await cluster.clock.advance(30_000);
    expect(cluster.alive.map(votersOf).map(({ length }) => length)).toEqual([4, 4]);
    await expect(put(cluster, cluster.alive[0]!, 'k', 'v')).rejects.toThrow('No cluster leader');
  });

  test('as few as the operator wants at least', async () => {
    const cluster = await ServerCluster.start({
      seed: 53,
      expect: 5,
      server: { autopilot: { ...autopilotDefaults, MinQuorum: 5 } },
    });
    cluster.kill(cluster.followers[0]!);
    await cluster.clock.advance(60_000);
    expect(votersOf(cluster.leader!)).toHaveLength(5);
  });

  test('one that comes back at another address takes its place again', async () => {
    const cluster = await ServerCluster.start({ seed: 54, expect: 3 });
    const [old] = cluster.followers as [Machine];
    cluster.kill(old);
    await cluster.clock.advance(suspicionMs + 1_000);
    const moved = cluster.machine({ name: old.name, id: old.id, address: '10.0.1.1' });
    await cluster.join(moved);
    await cluster.clock.advance(30_000);
    for (const machine of cluster.alive) expect(votersOf(machine)).toContain('10.0.1.1:8300');
    for (const machine of cluster.alive) expect(votersOf(machine)).not.toContain(`${old.address}:8300`);
  });

  test('one that comes back as somebody else at its old address takes its place', async () => {
    const cluster = await ServerCluster.start({ seed: 55, expect: 3 });
    const [old] = cluster.followers as [Machine];
    cluster.kill(old);
    await cluster.clock.advance(1_000);
    const reborn = cluster.machine({ name: old.name, address: old.address });
    await cluster.join(reborn);
    await cluster.clock.advance(30_000);
    const { Servers } = await cluster.call(cluster.leader!, 'Operator.RaftGetConfiguration', {});
    expect(Servers.map(({ ID }) => ID)).toContain(reborn.id);
    expect(Servers.map(({ ID }) => ID)).not.toContain(old.id);
    expect(Servers.every(({ Voter }) => Voter)).toBe(true);
  });

  test('an operator removes one, by id or by address', async () => {
    const cluster = await ServerCluster.start({
      seed: 56,
      expect: 5,
      server: { autopilot: { ...autopilotDefaults, CleanupDeadServers: false } },
    });
    const [a, b] = cluster.followers as [Machine, Machine];
    cluster.kill(a);
    cluster.kill(b);
    await cluster.clock.advance(suspicionMs + 1_000);
    const [witness] = cluster.followers as [Machine];
    await cluster.call(witness, 'Operator.RaftRemovePeerByID', { ID: a.id });
    await cluster.call(witness, 'Operator.RaftRemovePeerByAddress', { Address: `${b.address}:8300` });
    expect(votersOf(cluster.leader!)).toHaveLength(3);
    await expect(cluster.call(witness, 'Operator.RaftRemovePeerByID', { ID: a.id })).rejects.toThrow(
      `id "${a.id}" was not found in the Raft configuration`,
    );
  });

  test('the leader leaves: another leads, and nobody waits long', async () => {
    const cluster = await ServerCluster.start({ seed: 57, expect: 3 });
    const { leader, followers } = cluster;
    await cluster.within(leader!.process!.server.prepareLeave());
    const began = cluster.clock.monotonicMs();
    await put(cluster, followers[0]!, 'k', 'v');
    expect(cluster.clock.monotonicMs() - began).toBeLessThan(electionMs);
    expect(votersOf(cluster.leader!)).toEqual(followers.map(({ address }) => `${address}:8300`).toSorted());
  });
});

describe('a snapshot', () => {
  const target = { datacenter: 'dc1', token: '', stale: false };
  const collected = async (archive: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> => {
    const pieces: Uint8Array[] = [];
    for await (const piece of archive) pieces.push(piece);
    return pieces;
  };
  async function* again(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* pieces;
  }

  test('is saved by any server, and all go back to it', async () => {
    const cluster = await ServerCluster.start({ seed: 61, expect: 3 });
    const [a, b] = cluster.followers as [Machine, Machine];
    const door = (machine: Machine) => machine.process!.server.snapshots;
    await put(cluster, a, 'k', 'before');
    const saving = door(a).save(target);
    const archive = await cluster.withThreads(saving.then((saved) => collected(saved.archive)));
    await put(cluster, a, 'k', 'after');
    await put(cluster, a, 'other', 'after');
    const index = (await cluster.call(a, 'KVS.Get', { Key: key('k') })).Index;
    const blocking = { Datacenter: 'dc1', Key: key('k'), MinQueryIndex: index };
    const waiting = b.process!.server.caller.call('KVS.Get', blocking);
    await cluster.clock.advance(100);
    await cluster.withThreads(door(b).restore(target, again(archive)));
    expect((await cluster.within(waiting)).Index).toBeLessThan(index);
    for (const machine of cluster.alive) {
      expect(await get(cluster, machine, 'k')).toBe('before');
      expect(await get(cluster, machine, 'other')).toBe(null);
    }
    await put(cluster, b, 'k', 'again');
    await cluster.untilEqual();
    expectEqualStates(cluster);
    await cluster.clock.advance(61_000);
    const { Nodes } = await cluster.call(a, 'Health.ServiceNodes', { ServiceName: 'consul' });
    expect(Nodes).toHaveLength(3);
  });

  test('of a server without a leader is what it knows', async () => {
    const cluster = await ServerCluster.start({ seed: 62, expect: 3 });
    await put(cluster, cluster.leader!, 'k', 'v');
    await cluster.untilEqual();
    const [last] = cluster.followers as [Machine];
    for (const machine of cluster.alive) if (machine !== last) cluster.kill(machine);
    await cluster.clock.advance(5_000);
    const { snapshots } = last.process!.server;
    await expect(cluster.within(snapshots.save(target))).rejects.toThrow('No cluster leader');
    const { meta } = await cluster.withThreads(snapshots.save({ ...target, stale: true }));
    expect(meta.KnownLeader).toBe(false);
    expect(meta.Index).toBeGreaterThan(0);
  });
});

const seeds = seedsOf({ byHand: 20, inCi: 100 });

test(
  `whatever dies meanwhile, what was acknowledged is there and all servers say the same (${seeds.length} seeds)`,
  async () => {
    for (const seed of seeds) {
      const cluster = await ServerCluster.start({ seed: 1000 + seed, expect: seed % 2 === 0 ? 5 : 3 });
      const { random } = cluster;
      const acknowledged = new Map<string, string>();
      const unclear = new Set<string>();
      const load = { isOver: false };
      const client = async (number: number): Promise<void> => {
        for (let i = 0; !load.isOver; i++) {
          const { alive } = cluster;
          const machine = alive[random.integer(alive.length)];
          await new Promise<void>((resolve) => cluster.clock.after(1 + random.next() * 200, resolve));
          const name = `c${number}/${i % 7}`;
          const { server } = machine?.process ?? {};
          if (server === undefined) continue;
          const value = `${seed}-${number}-${i}`;
          const isDead = (): boolean => machine?.process?.server !== server;
          const ended = (async () => {
            while (!isDead() && !load.isOver) await new Promise<void>((resolve) => cluster.clock.after(50, resolve));
            throw new Error('EOF');
          })();
          ended.catch(() => undefined);
          try {
            const request = { Op: 'set' as const, DirEnt: { Key: key(name), Value: Buffer.from(value) } };
            await Promise.race([server.caller.call('KVS.Apply', { Datacenter: 'dc1', ...request }), ended]);
            acknowledged.set(name, value);
            unclear.delete(name);
          } catch (error) {
            if (isUnclear(error) || (error as Error).message === 'EOF') unclear.add(name);
          }
        }
      };
      const running = [client(0), client(1), client(2)];
      const quorum = Math.floor(cluster.machines.length / 2) + 1;
      for (let round = 0; round < 6; round++) {
        await cluster.clock.advance(random.next() * 3_000);
        const victim = random.next() < 0.6 ? cluster.leader : cluster.alive[random.integer(cluster.alive.length)];
        const isFrozen = random.next() < 0.3;
        if (victim !== undefined && cluster.alive.length > quorum) {
          if (isFrozen) cluster.freeze(victim);
          else cluster.kill(victim);
        }
        await cluster.clock.advance(random.next() * 3_000);
        if (victim !== undefined && isFrozen) cluster.thaw(victim);
        for (const machine of cluster.machines) {
          if (machine.process === undefined && random.next() < 0.7) await cluster.join(machine);
        }
      }
      for (const machine of cluster.machines) if (machine.process === undefined) await cluster.join(machine);
      load.isOver = true;
      await cluster.within(Promise.all(running), 60_000);
      await cluster.untilLed();
      await cluster.untilEqual();
      const said = `seed ${seed}`;
      expect(acknowledged.size, said).toBeGreaterThan(0);
      expect(cluster.failure, said).toBeUndefined();
      for (const [name, value] of acknowledged) {
        if (!unclear.has(name)) expect(await get(cluster, cluster.followers[0]!, name), `${said} ${name}`).toBe(value);
      }
      expectEqualStates(cluster);
    }
  },
  60_000 + seeds.length * 20_000,
);
