import { beforeEach, describe, expect, test } from 'vitest';
import { type Member, memberStatus } from '../../../src/model/index.ts';
import { suffrage } from '../../../src/raft/index.ts';
import { type Consensus, MemoryLog } from '../../../src/server/index.ts';
import { LanServers } from '../../../src/server/lan-servers.ts';
import { MemberReconciler } from '../../../src/server/member-reconciler.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { clientMember, idOf, serverMember } from './members.ts';

const never = new AbortController().signal;
let store: StateStore;
let lan: LanServers;
let servers: { Suffrage: 0 | 1; ID: string; Address: string }[];
/** What was done to the configuration. */
let done: string[];
let reconciler: MemberReconciler;
let added = 0;

beforeEach(() => {
  store = new StateStore();
  lan = new LanServers('dc1');
  servers = [1, 2, 3].map((number) => configured(number));
  done = [];
  added = 0;
  const clock = new VirtualClock();
  const metrics = { count() {}, gauge() {}, sample() {} };
  const memory = new MemoryLog({ store, address: '10.0.0.1:8300', clock, metrics });
  const log: Consensus = Object.assign(Object.create(memory) as MemoryLog, {
    addVoter: async (id: string, address: string) => void done.push(`voter ${id} ${address}`),
    addNonvoter: async (id: string, address: string) => void done.push(`nonvoter ${id} ${address}`),
    removeServer: async (id: string) => void done.push(`remove ${id}`),
    propose: memory.propose.bind(memory),
  });
  Object.defineProperty(log, 'configuration', { get: () => ({ Servers: servers }) });
  Object.defineProperty(log, 'lastIndex', { get: () => store.lastIndex });
  reconciler = new MemberReconciler({
    datacenter: 'dc1',
    nodeName: 's1',
    store,
    log,
    lan,
    logger: silentLogger,
    onServerAdded: () => added++,
  });
});

function configured(number: number, more: object = {}): (typeof servers)[number] {
  return { Suffrage: suffrage.voter, ID: idOf(number), Address: `10.0.0.${number}:8300`, ...more };
}

async function see(member: Member, isReaped = false): Promise<void> {
  if (isReaped) lan.forget(member.Name);
  else lan.update(member);
  await reconciler.one({ member, isReaped });
}

const statusOf = (node: string) => store.nodeCheck(node, 'serfHealth')?.Status;

describe('the catalog', () => {
  test('has a client as long as it is a member', async () => {
    await see(clientMember(1));
    expect(store.node('c1')).toMatchObject({ Address: '10.0.1.1' });
    expect(statusOf('c1')).toBe('passing');
    await see(clientMember(1, { Status: memberStatus.failed }));
    expect(statusOf('c1')).toBe('critical');
    await see(clientMember(1, { Status: memberStatus.leaving }));
    expect(statusOf('c1')).toBe('critical');
    await see(clientMember(1, { Status: memberStatus.left }));
    expect(store.node('c1')).toBeUndefined();
  });

  test('forgets a member that gossip forgot, whatever became of it', async () => {
    await see(clientMember(1, { Status: memberStatus.alive }));
    await see(clientMember(1, { Status: memberStatus.failed }), true);
    expect(store.node('c1')).toBeUndefined();
  });

  test.each([
    ['of another datacenter', clientMember(1, { datacenter: 'dc2' })],
    ['servers of another datacenter', serverMember(9, { datacenter: 'dc2' })],
    ['servers of a segment', serverMember(9, { tags: { segment: 'alpha' } })],
    ['with another role', { ...clientMember(1), Tags: { role: 'cook', dc: 'dc1' } }],
  ])('does not have members %s', async (_, member) => {
    await see(member);
    expect(store.nodes().result).toEqual([]);
    expect(done).toEqual([]);
  });

  test('is brought in line as a whole, nodes that nobody knows any more included', async () => {
    await see(clientMember(1));
    await see(clientMember(2));
    store.apply(store.lastIndex + 1, {
      type: 'Register',
      request: { Datacenter: 'dc1', Node: 'external', Address: '192.0.2.1' },
    });
    await reconciler.all([clientMember(2), clientMember(3)], never);
    expect(store.nodes().result.map(({ Node }) => Node)).toEqual(['c2', 'c3', 'external']);
    const { lastIndex } = store;
    await reconciler.all([clientMember(2), clientMember(3)], never);
    expect(store.lastIndex).toBe(lastIndex);
  });

  test('one bad member does not keep the others out', async () => {
    await see(serverMember(2));
    const thief: Member = { ...clientMember(7), Name: 'thief', Tags: { ...clientMember(7).Tags, id: 'no uuid' } };
    await reconciler.all([serverMember(2), thief, clientMember(3)], never);
    expect(store.nodes().result.map(({ Node }) => Node)).toContain('c3');
  });
});

describe('the configuration', () => {
  test('stays when a known server is seen', async () => {
    for (const number of [1, 2, 3]) await see(serverMember(number));
    expect(done).toEqual([]);
    expect(store.serviceHealth('consul').result).toHaveLength(3);
  });

  test('takes a new server that does not vote yet', async () => {
    await see(serverMember(4));
    expect(done).toEqual([`nonvoter ${idOf(4)} 10.0.0.4:8300`]);
    expect(added).toBe(1);
  });

  test('lets a new server vote at once while there are old ones', async () => {
    await see(serverMember(2, { tags: { raft_vsn: '2' } }));
    done = [];
    await see(serverMember(4));
    expect(done).toEqual([`voter ${idOf(4)} 10.0.0.4:8300`]);
  });

  test('knows an old server by its address', async () => {
    await see(serverMember(4, { tags: { raft_vsn: '2' } }));
    expect(done).toEqual(['voter 10.0.0.4:8300 10.0.0.4:8300']);
  });

  test.each([
    [
      'at another address',
      serverMember(2, { Addr: '10.0.9.2' }),
      [`remove ${idOf(2)}`, `nonvoter ${idOf(2)} 10.0.9.2:8300`],
    ],
    [
      'with another id',
      serverMember(2, { nodeId: idOf(7) }),
      [`remove ${idOf(2)}`, `nonvoter ${idOf(7)} 10.0.0.2:8300`],
    ],
  ])('takes a server that comes back %s in its own place', async (_, member, expected) => {
    await see(member);
    expect(done).toEqual(expected);
  });

  test('has one server in bootstrap mode', async () => {
    await see(serverMember(1, { bootstrap: true }));
    await see(serverMember(4, { bootstrap: true }));
    expect(done).toEqual([]);
  });

  test('is left alone by a small cluster’s own leader', async () => {
    servers = [configured(1, { ID: 'earlier' }), configured(2)];
    await see(serverMember(1));
    expect(done).toEqual([]);
  });

  test.each([
    ['that left', serverMember(2, { Status: memberStatus.left }), false, [`remove ${idOf(2)}`]],
    ['that was forgotten', serverMember(2, { Status: memberStatus.failed }), true, [`remove ${idOf(2)}`]],
    ['that failed', serverMember(2, { Status: memberStatus.failed }), false, []],
    ['that left and was none of them', serverMember(9, { Status: memberStatus.left }), false, []],
    ['that is the leader itself', serverMember(1, { Status: memberStatus.left }), false, []],
  ])('a server %s', async (_, member, isReaped, expected) => {
    await see(member, isReaped);
    expect(done).toEqual(expected);
  });

  test('loses a server that only the catalog remembers', async () => {
    await see(serverMember(2));
    lan.forget('s2');
    await reconciler.all([serverMember(1)], never);
    expect(done).toEqual([`remove ${idOf(2)}`]);
    expect(store.node('s2')).toBeUndefined();
  });
});
