import { beforeEach, describe, expect, test } from 'vitest';
import { autopilotDefaults, memberStatus, type ServerStats } from '../../../src/model/index.ts';
import { suffrage } from '../../../src/raft/index.ts';
import { Autopilot } from '../../../src/server/autopilot.ts';
import type { Consensus } from '../../../src/server/index.ts';
import { LanServers } from '../../../src/server/lan-servers.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { idOf, serverMember } from './members.ts';

const healthIntervalMs = 2000;
let clock: VirtualClock;
let store: StateStore;
let lan: LanServers;
let servers: { Suffrage: 0 | 1; ID: string; Address: string }[];
let stats: Map<string, ServerStats | Error>;
/** What a server says of itself. */
let answer: (name: string) => Promise<ServerStats>;
let done: string[];
let autopilot: Autopilot;

const well: ServerStats = { LastContact: '12.5ms', LastTerm: 3, LastIndex: 1000 };

beforeEach(() => {
  clock = new VirtualClock();
  store = new StateStore();
  lan = new LanServers('dc1');
  servers = [];
  stats = new Map();
  done = [];
  answer = async (name) => {
    const said = stats.get(name)!;
    if (said instanceof Error) throw said;
    return said;
  };
  for (const number of [1, 2, 3]) add(number);
  const log = {
    get configuration() {
      return { Servers: servers };
    },
    lastTerm: 3,
    lastIndex: 1000,
    leaderAddress: '10.0.0.1:8300',
    addVoter: async (id: string) => {
      done.push(`promote ${id}`);
      servers = servers.map((server) => (server.ID === id ? { ...server, Suffrage: suffrage.voter } : server));
    },
    removeServer: async (id: string) => {
      done.push(`remove ${id}`);
      servers = servers.filter(({ ID }) => ID !== id);
    },
  } as unknown as Consensus;
  autopilot = new Autopilot({
    store,
    log,
    lan,
    clock,
    logger: silentLogger,
    metrics: { count() {}, gauge() {}, sample() {} },
    healthIntervalMs,
    statsOf: ({ name }) => answer(name),
    forceLeave: async (name) => void done.push(`force-leave ${name}`),
  });
});

function add(number: number, Suffrage: 0 | 1 = suffrage.voter): void {
  servers.push({ Suffrage, ID: idOf(number), Address: `10.0.0.${number}:8300` });
  lan.update(serverMember(number));
  stats.set(`s${number}`, well);
}

function settings(more: Partial<typeof autopilotDefaults>): void {
  store.apply(store.lastIndex + 2, {
    type: 'Autopilot',
    request: {
      Datacenter: 'dc1',
      CAS: false,
      Config: { ...autopilotDefaults, ...more, CreateIndex: 0, ModifyIndex: 0 },
    },
  });
}

async function healthOf(number: number) {
  autopilot.start();
  await clock.advance(1);
  return autopilot.health.Servers.find(({ ID }) => ID === idOf(number));
}

describe('health', () => {
  test('is that of all servers', async () => {
    expect(autopilot.health).toEqual({ Healthy: false, FailureTolerance: 0, Servers: [] });
    expect(await healthOf(1)).toEqual({
      ID: idOf(1),
      Name: 's1',
      Address: '10.0.0.1:8300',
      SerfStatus: 'alive',
      Version: '1.8.7',
      Leader: true,
      LastContact: 12.5e6,
      LastTerm: 3,
      LastIndex: 1000,
      Healthy: true,
      Voter: true,
      StableSince: clock.wallMs() - 1,
    });
    expect(autopilot.health).toMatchObject({ Healthy: true, FailureTolerance: 1 });
    autopilot.stop();
    expect(autopilot.health.Servers).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  test.each<[string, Partial<ServerStats>, boolean]>([
    ['the leader itself', { LastContact: '0' }, true],
    ['as far away as may be', { LastContact: '200ms' }, true],
    ['further away', { LastContact: '200.1ms' }, false],
    ['one that never heard of a leader', { LastContact: 'never' }, false],
    ['one that says something else', { LastContact: 'recently' }, false],
    ['one of another term', { LastTerm: 2 }, false],
    ['as far behind as may be', { LastIndex: 750 }, true],
    ['further behind', { LastIndex: 749 }, false],
  ])('%s', async (_, more, expected) => {
    stats.set('s2', { ...well, ...more });
    expect((await healthOf(2))?.Healthy).toBe(expected);
    expect(autopilot.health).toMatchObject({ Healthy: expected, FailureTolerance: expected ? 1 : 0 });
  });

  test('follows the settings', async () => {
    settings({ LastContactThreshold: 1e9, MaxTrailingLogs: 900 });
    stats.set('s2', { ...well, LastContact: '900ms', LastIndex: 100 });
    expect((await healthOf(2))?.Healthy).toBe(true);
  });

  test('is none for whoever does not answer, is dead, or is unknown', async () => {
    stats.set('s2', new Error('connection refused'));
    lan.update(serverMember(3, { Status: memberStatus.failed }));
    servers.push({ Suffrage: suffrage.voter, ID: idOf(9), Address: '10.0.0.9:8300' });
    expect(await healthOf(2)).toMatchObject({ Healthy: false, SerfStatus: 'alive', LastIndex: 0 });
    expect(await healthOf(3)).toMatchObject({ Healthy: false, SerfStatus: 'failed' });
    expect(await healthOf(9)).toMatchObject({ Healthy: false, SerfStatus: 'none', Name: '' });
  });

  test('is asked anew every two seconds, and tells since when it is as it is', async () => {
    const since = (await healthOf(2))!.StableSince;
    await clock.advance(healthIntervalMs);
    expect(await healthOf(2)).toMatchObject({ StableSince: since });
    stats.set('s2', new Error('connection refused'));
    await clock.advance(healthIntervalMs);
    expect(await healthOf(2)).toMatchObject({ Healthy: false, StableSince: since + 2 * healthIntervalMs });
  });

  test('does not ask a server again that has not answered yet', async () => {
    let asked = 0;
    answer = (name) => {
      if (name === 's2') asked++;
      return name === 's2' ? new Promise(() => undefined) : Promise.resolve(well);
    };
    autopilot.start();
    await clock.advance(10 * healthIntervalMs);
    expect(asked).toBe(1);
  });
});

describe('promotion', () => {
  test('waits until a server has been well for long enough', async () => {
    add(4, suffrage.nonvoter);
    stats.set('s4', new Error('starting'));
    autopilot.start();
    await clock.advance(5_000);
    stats.set('s4', well);
    await clock.advance(14_999);
    expect(done).toEqual([]);
    await clock.advance(1);
    expect(done).toEqual([`promote ${idOf(4)}`]);
    await clock.advance(60_000);
    expect(done).toEqual([`promote ${idOf(4)}`]);
  });

  test('follows the settings', async () => {
    settings({ ServerStabilizationTime: 60e9 });
    add(4, suffrage.nonvoter);
    autopilot.start();
    await clock.advance(59_999);
    expect(done).toEqual([]);
    await clock.advance(10_000);
    expect(done).toEqual([`promote ${idOf(4)}`]);
  });
});

describe('dead servers', () => {
  const fail = (number: number) => lan.update(serverMember(number, { Status: memberStatus.failed }));
  const look = async (): Promise<string[]> => {
    autopilot.start();
    await autopilot.removeDeadServers();
    return done;
  };

  test('leave when the others can spare them', async () => {
    fail(2);
    expect(await look()).toEqual(['force-leave s2']);
  });

  test('that gossip does not know are taken out', async () => {
    lan.forget('s2');
    expect(await look()).toEqual([`remove ${idOf(2)}`]);
  });

  test('stay when too many are gone', async () => {
    fail(2);
    lan.forget('s3');
    expect(await look()).toEqual([]);
  });

  test('stay when fewer than the least number would be left', async () => {
    settings({ MinQuorum: 3 });
    fail(2);
    expect(await look()).toEqual([]);
  });

  test('that do not vote go at once', async () => {
    add(4, suffrage.nonvoter);
    fail(4);
    fail(2);
    fail(3);
    expect(await look()).toEqual(['force-leave s4']);
  });

  test('that are none of ours are nobody’s business here', async () => {
    lan.update(serverMember(8, { Status: memberStatus.failed }));
    expect(await look()).toEqual([]);
  });

  test('stay when cleaning up is off', async () => {
    settings({ CleanupDeadServers: false });
    fail(2);
    expect(await look()).toEqual([]);
  });

  test('are looked for every ten seconds', async () => {
    autopilot.start();
    fail(2);
    await clock.advance(9_999);
    expect(done).toEqual([]);
    await clock.advance(1);
    expect(done).toEqual(['force-leave s2']);
  });
});
