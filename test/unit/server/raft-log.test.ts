import { beforeEach, describe, expect, test } from 'vitest';
import { byteStringFromUtf8 } from '../../../src/lib/index.ts';
import { CallError, type KVSRequest } from '../../../src/model/index.ts';
import {
  DirectorySnapshotStore,
  FileStableStore,
  RaftNode,
  raftOptions,
  SegmentedLog,
  suffrage,
} from '../../../src/raft/index.ts';
import { MeasuredState, RaftLog } from '../../../src/server/index.ts';
import type { Metrics } from '../../../src/ports/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { RaftNetwork } from '../../../src/sim/raft-network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { silentLogger } from '../../helpers/logger.ts';

const address = '10.0.0.1:8300';
const id = '01000000-0000-4000-8000-000000000001';
/** Names of what was measured, with the value of their label. */
let measured: string[];
const metrics: Metrics = {
  count: (name) => void measured.push(name.join('.')),
  gauge: () => undefined,
  sample: (name, _, labels = []) => void measured.push([...name, ...labels.map(({ value }) => value)].join('.')),
};
let clock: VirtualClock;
let store: StateStore;
let node: RaftNode;
let log: RaftLog;

beforeEach(async () => {
  measured = [];
  clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  store = new StateStore();
  const random = new SeededRandom(1);
  const disk = new FaultyDisk({ clock, random, latencyMs: 0 }).mount();
  const snapshots = await DirectorySnapshotStore.open({ disk, directory: 'snapshots', clock });
  node = await RaftNode.start({
    id,
    address,
    timing: raftOptions(1),
    clock,
    random,
    logger: silentLogger,
    log: await SegmentedLog.open({ disk, directory: 'log', logger: silentLogger }),
    stable: await FileStableStore.open(disk, '', 'term'),
    snapshots,
    stateMachine: new MeasuredState({ store, clock, metrics }),
    transport: new RaftNetwork({ clock, random, delayMs: 1, timeoutMs: 100 }).transport(address),
    onFailure: (error) => {
      throw error;
    },
  });
  log = new RaftLog({
    node,
    snapshots,
    clock,
    random,
    metrics,
  });
});

async function lead(): Promise<void> {
  await within(log.bootstrap({ Servers: [{ Suffrage: suffrage.voter, ID: id, Address: address }] }));
  await clock.advanceUntil(() => log.isLeader, 10_000);
}

async function within<T>(work: Promise<T>): Promise<T> {
  let isDone = false;
  const settled = work.finally(() => (isDone = true));
  settled.catch(() => undefined);
  await clock.advanceUntil(() => isDone, 60_000);
  return await settled;
}

const put = (key: string, Value: Uint8Array, Op: KVSRequest['Op'] = 'set', more: object = {}) =>
  within(
    log.propose({
      type: 'KVS',
      request: { Datacenter: 'dc1', Op, DirEnt: { Key: byteStringFromUtf8(key), Value, ...more } },
    }),
  );
const valueOf = (key: string) => store.kvGet(byteStringFromUtf8(key)).result?.[0]?.Value;

describe('before the first configuration', () => {
  test('nobody takes part, and nothing is taken', async () => {
    expect(log).toMatchObject({ isLeader: false, leaderAddress: '', peers: [], lastIndex: 0 });
    await expect(put('k', Buffer.from('v'))).rejects.toThrow(new CallError('No cluster leader'));
  });
});

describe('a log that leads', () => {
  beforeEach(lead);

  test('applies a command and gives its result', async () => {
    expect(await put('k', Buffer.from('v'))).toBe(null);
    expect(await put('k', Buffer.from('w'), 'cas', { ModifyIndex: 0 })).toBe(false);
    expect(Buffer.from(valueOf('k')!).toString()).toBe('v');
    expect(log).toMatchObject({ leaderAddress: address, peers: [address], lastContactNs: 0 });
  });

  test('measures what it does', async () => {
    await put('k', Buffer.from('v'));
    await within(log.barrier());
    await within(log.verifyLeader());
    expect(measured).toEqual([
      'raft.state.candidate',
      'raft.state.leader',
      'raft.apply',
      'raft.fsm.apply',
      'fsm.kvs.set',
      'raft.commitTime',
      'raft.barrier',
      'raft.verify_leader',
    ]);
  });

  test('throws the failure of a command', async () => {
    const session = '02000000-0000-4000-8000-000000000002';
    await expect(put('k', Buffer.from('v'), 'lock', { Session: session })).rejects.toThrow(
      new CallError(`invalid session "${session}"`),
    );
  });

  test.each([1, 524_288, 524_289, 3 * 524_288 + 7])('carries a value of %i bytes', async (bytes) => {
    const value = Buffer.alloc(bytes, 'x');
    await put('large', value);
    expect(value.equals(valueOf('large')!)).toBe(true);
  });

  test('proposals of one caller are applied in their order', async () => {
    const values = Array.from({ length: 20 }, (_, i) => String(i));
    const applied: string[] = [];
    await Promise.all(values.map((value) => put('k', Buffer.from(value)).then(() => applied.push(value))));
    expect(applied).toEqual(values);
    expect(Buffer.from(valueOf('k')!).toString()).toBe('19');
  });

  test('saves what was acknowledged, also twice without anything in between', async () => {
    await put('k', Buffer.from('v'));
    const first = await within(log.save());
    const second = await within(log.save());
    expect(second.meta.Index).toBeGreaterThan(first.meta.Index);
    let size = 0;
    for await (const piece of second.pieces()) size += piece.length;
    expect(size).toBe(second.meta.Size);
    expect(second.meta.Configuration.Servers).toMatchObject([{ ID: id }]);
  });

  test('goes back to what was saved, and on from there', async () => {
    await put('k', Buffer.from('before'));
    const saved = await within(log.save());
    await put('k', Buffer.from('after'));
    await put('other', Buffer.from('after'));
    const { lastIndex } = log;
    await within(log.restore(saved));
    expect(Buffer.from(valueOf('k')!).toString()).toBe('before');
    expect(valueOf('other')).toBeUndefined();
    expect(log.lastIndex).toBeGreaterThan(lastIndex);
    await put('k', Buffer.from('again'));
    expect(Buffer.from(valueOf('k')!).toString()).toBe('again');
  });

  test('keeps its last voter', async () => {
    await expect(within(log.removeServer(id))).rejects.toThrow('need at least one voter in configuration');
  });

  test('is refused when the node has stopped', async () => {
    await within(node.close());
    await expect(put('k', Buffer.from('v'))).rejects.toBeInstanceOf(CallError);
  });
});
