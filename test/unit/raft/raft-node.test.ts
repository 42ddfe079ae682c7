// Servers as their users see them, on simulated disks and a simulated network where nothing goes wrong unasked.
import { describe, expect, test, vi } from 'vitest';
import {
  type Configuration,
  DirectorySnapshotStore,
  FileStableStore,
  RaftNode,
  raftOptions,
  SegmentedLog,
  suffrage,
} from '../../../src/raft/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { RaftNetwork } from '../../../src/sim/raft-network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { ListMachine, quiet } from './support.ts';

class Cluster {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(5);
  readonly network = new RaftNetwork({ clock: this.clock, random: this.random.fork(), delayMs: 5, timeoutMs: 500 });
  readonly disks = new Map<string, FaultyDisk>();
  readonly nodes = new Map<string, RaftNode>();
  readonly machines = new Map<string, ListMachine>();

  async start(id: string, trailingLogs = 10_240): Promise<RaftNode> {
    const faulty =
      this.disks.get(id) ?? new FaultyDisk({ clock: this.clock, random: this.random.fork(), latencyMs: 1 });
    this.disks.set(id, faulty);
    const disk = faulty.mount();
    const machine = new ListMachine();
    const starting = (async () => {
      await disk.makeDirectory('raft');
      return await RaftNode.start({
        id,
        address: `${id}:8300`,
        timing: { ...raftOptions(1), trailingLogs },
        clock: this.clock,
        random: this.random.fork(),
        logger: quiet,
        log: await SegmentedLog.open({ disk, directory: 'raft/log', logger: quiet, segmentBytes: 512 }),
        stable: await FileStableStore.open(disk, 'raft', 'vote'),
        snapshots: await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock: this.clock }),
        stateMachine: machine,
        transport: this.network.transport(`${id}:8300`),
        onFailure: (error) => {
          throw error;
        },
      });
    })();
    const node = await this.settle(starting);
    this.nodes.set(id, node);
    this.machines.set(id, machine);
    return node;
  }

  /** Lets time go on until `promise` settles. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const state = { settled: false };
    const done = (): void => void (state.settled = true);
    promise.then(done, done);
    for (let turn = 0; !state.settled && turn < 5000; turn++) await this.clock.advance(5);
    return await promise;
  }

  async leader(): Promise<RaftNode> {
    const find = (): RaftNode | undefined => [...this.nodes.values()].find((node) => node.isLeader);
    await this.clock.advanceUntil(() => find() !== undefined, 20_000);
    return find()!;
  }

  async write(text: string): Promise<number> {
    return (await this.settle((await this.leader()).propose(Buffer.from(text)))).index;
  }

  async stop(id: string): Promise<void> {
    const node = this.nodes.get(id)!;
    this.nodes.delete(id);
    await this.settle(node.close());
  }
}

const members = (...ids: readonly string[]): Configuration => ({
  Servers: ids.map((id) => ({ Suffrage: suffrage.voter, ID: id, Address: `${id}:8300` })),
});

async function founded(...ids: readonly string[]): Promise<Cluster> {
  const cluster = new Cluster();
  for (const id of ids) await cluster.start(id);
  await cluster.settle(cluster.nodes.get(ids[0]!)!.bootstrap(members(...ids)));
  await cluster.leader();
  // The others learn who is in the cluster.
  await cluster.clock.advance(300);
  return cluster;
}

describe('a single server', () => {
  test('does nothing before it is bootstrapped', async () => {
    const cluster = new Cluster();
    const node = await cluster.start('a');
    await cluster.clock.advance(60_000);
    expect([node.role, node.term, node.lastIndex, node.leaderAddress]).toEqual(['follower', 0, 0, '']);
    await expect(node.propose(Buffer.from('x'))).rejects.toMatchObject({ code: 'not-leader' });
    expect(node.stats()).toMatchObject({ last_contact: 'never', num_peers: '0', state: 'Follower' });
  });

  test('has the configuration at 1, its no-op at 2 and the first command behind', async () => {
    const cluster = await founded('a');
    expect(await cluster.write('one')).toBe(3);
    const entry = await cluster.settle(cluster.nodes.get('a')!.propose(Buffer.from('two')));
    expect(entry).toEqual({ index: 4, result: 2 });
  });

  test('has after a restart all that it had, and takes more', async () => {
    const cluster = await founded('a');
    for (const text of ['one', 'two', 'three']) await cluster.write(text);
    await cluster.stop('a');
    const node = await cluster.start('a');
    await cluster.leader();
    await cluster.settle(node.barrier());
    expect(cluster.machines.get('a')!.applied).toEqual(['one', 'two', 'three']);
    expect(node.configuration).toEqual({ index: 1, configuration: members('a') });
    await cluster.write('four');
    expect(cluster.machines.get('a')!.applied).toHaveLength(4);
  });

  test('starts from its snapshot, and goes on behind it', async () => {
    const cluster = await founded('a');
    for (let i = 0; i < 50; i++) await cluster.write(`command ${i}`);
    const node = cluster.nodes.get('a')!;
    const meta = await cluster.settle(node.snapshot());
    expect(meta).toMatchObject({ Index: 52, Configuration: members('a'), ConfigurationIndex: 1 });
    await expect(cluster.settle(node.snapshot())).rejects.toMatchObject({ code: 'nothing-new' });
    await cluster.write('after');
    await cluster.stop('a');
    const again = await cluster.start('a');
    expect(again.stats()).toMatchObject({ last_snapshot_index: '52' });
    await cluster.leader();
    await cluster.settle(again.barrier());
    expect(cluster.machines.get('a')!.applied).toHaveLength(51);
  });

  test('gives way while it writes a snapshot that takes its time', async () => {
    const cluster = await founded('a');
    let spentMs = 0;
    const realMs = cluster.clock.monotonicMs.bind(cluster.clock);
    vi.spyOn(cluster.clock, 'monotonicMs').mockImplementation(() => realMs() + spentMs);
    cluster.machines.get('a')!.snapshot = async function* () {
      for (let piece = 0; piece < 100; piece++) {
        spentMs += 1;
        yield Buffer.from('x');
      }
    };
    const after = vi.spyOn(cluster.clock, 'after');
    const meta = await cluster.settle(cluster.nodes.get('a')!.snapshot());
    expect(meta.Size).toBe(100);
    expect(after.mock.calls.filter(([delayMs]) => delayMs === 0)).toHaveLength(50);
  });

  test('can be bootstrapped once', async () => {
    const cluster = await founded('a');
    await expect(cluster.settle(cluster.nodes.get('a')!.bootstrap(members('a')))).rejects.toMatchObject({
      code: 'already-bootstrapped',
    });
  });

  test('takes over the state of an archive, as its next entry', async () => {
    const cluster = await founded('a');
    await cluster.write('old');
    const node = cluster.nodes.get('a')!;
    const pieces = async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('["restored"]');
    };
    await cluster.settle(node.restore({ index: 500, pieces }));
    expect(cluster.machines.get('a')!.applied).toEqual(['restored']);
    expect(node.stats()).toMatchObject({ last_snapshot_index: '501' });
    await cluster.write('new');
    await cluster.stop('a');
    await cluster.start('a');
    await cluster.settle((await cluster.leader()).barrier());
    expect(cluster.machines.get('a')!.applied).toEqual(['restored', 'new']);
  });

  test('keeps its state when an archive is none', async () => {
    const cluster = await founded('a');
    await cluster.write('old');
    const node = cluster.nodes.get('a')!;
    const pieces = async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('no state');
    };
    await expect(cluster.settle(node.restore({ index: 1, pieces }))).rejects.toThrow('JSON');
    await cluster.write('new');
    expect(cluster.machines.get('a')!.applied).toEqual(['old', 'new']);
  });

  test('refuses everything once it is closed', async () => {
    const cluster = await founded('a');
    const node = cluster.nodes.get('a')!;
    await cluster.stop('a');
    await expect(node.propose(Buffer.from('x'))).rejects.toMatchObject({ code: 'shutdown' });
    expect(node.isLeader).toBe(false);
  });
});

describe('three servers', () => {
  test('have one leader, and the same state', async () => {
    const cluster = await founded('a', 'b', 'c');
    for (const text of ['one', 'two']) await cluster.write(text);
    await cluster.clock.advance(500);
    expect([...cluster.nodes.values()].filter((node) => node.isLeader)).toHaveLength(1);
    for (const machine of cluster.machines.values()) expect(machine.applied).toEqual(['one', 'two']);
    const leader = await cluster.leader();
    for (const node of cluster.nodes.values()) expect(node.leaderAddress).toBe(leader.leaderAddress);
    const follower = [...cluster.nodes.values()].find((node) => !node.isLeader)!;
    await expect(follower.propose(Buffer.from('x'))).rejects.toThrow('node is not the leader');
    await expect(follower.verifyLeader()).rejects.toMatchObject({ code: 'not-leader' });
    expect(follower.stats()).toMatchObject({ state: 'Follower', num_peers: '2', last_log_index: '4' });
    expect(follower.lastContactMs).toBeLessThan(200);
    expect(leader.stats()).toMatchObject({ state: 'Leader', last_contact: '0' });
    await cluster.settle(leader.verifyLeader());
  });

  test('go on without one, and it catches up', async () => {
    const cluster = await founded('a', 'b', 'c');
    const first = await cluster.leader();
    const id = [...cluster.nodes].find(([, node]) => node === first)![0];
    await cluster.stop(id);
    const index = await cluster.write('without');
    await cluster.start(id);
    await cluster.clock.advanceUntil(() => cluster.nodes.get(id)!.appliedIndex >= index, 20_000);
    expect(cluster.machines.get(id)!.applied).toEqual(['without']);
  });

  test('tell the leader when it is cut off: its writes are in doubt, and it leads no more', async () => {
    const cluster = await founded('a', 'b', 'c');
    const leader = await cluster.leader();
    const id = [...cluster.nodes].find(([, node]) => node === leader)![0];
    cluster.network.partition(new Map([[`${id}:8300`, 1]]));
    const lost = leader.propose(Buffer.from('lost'));
    const unsure = leader.verifyLeader();
    unsure.catch(() => {});
    await expect(cluster.settle(lost)).rejects.toMatchObject({ code: 'leadership-lost' });
    await expect(unsure).rejects.toMatchObject({ code: 'leadership-lost' });
    expect(leader.isLeader).toBe(false);
    const next = await cluster.leader();
    await cluster.settle(next.propose(Buffer.from('kept')));
    cluster.network.heal();
    await cluster.clock.advance(5000);
    for (const machine of cluster.machines.values()) expect(machine.applied).toEqual(['kept']);
  });

  test('hand leadership over', async () => {
    const cluster = await founded('a', 'b', 'c');
    const leader = await cluster.leader();
    const target = [...cluster.nodes].find(([, node]) => node !== leader)![0];
    const seen: string[] = [];
    const stop = cluster.nodes.get(target)!.onLeadership(({ role }) => seen.push(role));
    await cluster.settle(leader.transferLeadership(target));
    await cluster.clock.advanceUntil(() => cluster.nodes.get(target)!.isLeader, 5000);
    expect(seen).toContain('leader');
    stop();
    await expect(cluster.settle(cluster.nodes.get(target)!.transferLeadership('nobody'))).rejects.toThrow(
      'cannot find peer',
    );
  });

  test('send a snapshot to whoever is too far behind', async () => {
    const cluster = new Cluster();
    for (const id of ['a', 'b', 'c']) await cluster.start(id, 5);
    await cluster.settle(cluster.nodes.get('a')!.bootstrap(members('a', 'b', 'c')));
    await cluster.write('first');
    const behind = [...cluster.nodes].find(([, node]) => !node.isLeader)![0];
    await cluster.stop(behind);
    for (let i = 0; i < 60; i++) await cluster.write(`command ${i}`);
    await cluster.settle((await cluster.leader()).snapshot());
    const index = await cluster.write('last');
    const node = await cluster.start(behind, 5);
    await cluster.clock.advanceUntil(() => node.appliedIndex >= index, 30_000);
    expect(node.stats()['last_snapshot_index']).not.toBe('0');
    expect(cluster.machines.get(behind)!.applied).toHaveLength(62);
    expect(node.configuration.configuration).toEqual(members('a', 'b', 'c'));
  });

  test('all take over the state of an archive', async () => {
    const cluster = await founded('a', 'b', 'c');
    await cluster.write('old');
    const pieces = async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('["restored"]');
    };
    await cluster.settle((await cluster.leader()).restore({ index: 90, pieces }));
    await cluster.write('new');
    await cluster.clock.advance(5000);
    for (const machine of cluster.machines.values()) expect(machine.applied).toEqual(['restored', 'new']);
  });
});

describe('members', () => {
  test('come as non-voters, become voters, and go', async () => {
    const cluster = await founded('a');
    await cluster.write('one');
    const b = await cluster.start('b');
    const leader = cluster.nodes.get('a')!;
    const added = await cluster.settle(leader.addNonvoter('b', 'b:8300'));
    await cluster.clock.advanceUntil(() => b.appliedIndex >= added, 5000);
    expect(cluster.machines.get('b')!.applied).toEqual(['one']);
    expect(leader.stats()).toMatchObject({
      latest_configuration: '[{Suffrage:Voter ID:a Address:a:8300} {Suffrage:Nonvoter ID:b Address:b:8300}]',
      latest_configuration_index: String(added),
      num_peers: '0',
    });
    await expect(cluster.settle(leader.addVoter('b', 'b:8300', added - 1))).rejects.toThrow(
      'configuration changed since',
    );
    await cluster.settle(leader.addVoter('b', 'b:8300', added));
    expect(leader.stats()).toMatchObject({ num_peers: '1' });
    await cluster.settle(leader.demoteVoter('b'));
    await cluster.settle(leader.removeServer('b'));
    expect(leader.configuration.configuration).toEqual(members('a'));
    await expect(cluster.settle(leader.removeServer('a'))).rejects.toThrow('need at least one voter');
  });

  test('one change waits for the other', async () => {
    const cluster = await founded('a');
    for (const id of ['b', 'c']) await cluster.start(id);
    const leader = cluster.nodes.get('a')!;
    const changes = [leader.addVoter('b', 'b:8300'), leader.addVoter('c', 'c:8300')];
    const [first, second] = await cluster.settle(Promise.all(changes));
    expect(second).toBeGreaterThan(first!);
    expect(leader.configuration.configuration).toEqual(members('a', 'b', 'c'));
  });

  test('a leader that goes leads until that is agreed, and no longer', async () => {
    const cluster = await founded('a', 'b', 'c');
    const leader = await cluster.leader();
    const id = [...cluster.nodes].find(([, node]) => node === leader)![0];
    await cluster.settle(leader.removeServer(id));
    expect(leader.isLeader).toBe(false);
    const term = leader.term;
    const next = await cluster.leader();
    expect(next.configuration.configuration.Servers).toHaveLength(2);
    await cluster.clock.advance(20_000);
    // Who was taken out does not stand for election again.
    expect(leader.term).toBeLessThanOrEqual(term + 1);
    expect(leader.role).toBe('follower');
  });
});
