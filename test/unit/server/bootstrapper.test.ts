import { beforeEach, describe, expect, test } from 'vitest';
import { memberStatus } from '../../../src/model/index.ts';
import { type Configuration, suffrage } from '../../../src/raft/index.ts';
import { Bootstrapper } from '../../../src/server/bootstrapper.ts';
import type { Consensus } from '../../../src/server/index.ts';
import { LanServers } from '../../../src/server/lan-servers.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { idOf, serverMember } from './members.ts';

let clock: VirtualClock;
let lan: LanServers;
let log: { lastIndex: number; peers: string[] };
let configured: Configuration[];
let peersOf: (server: string) => Promise<readonly string[]>;

beforeEach(() => {
  clock = new VirtualClock();
  lan = new LanServers('dc1');
  log = { lastIndex: 0, peers: [] };
  configured = [];
  peersOf = async () => [];
});

const member = (number: number, more: Parameters<typeof serverMember>[1] = {}) =>
  serverMember(number, { bootstrapExpect: 3, ...more });

function bootstrapper(expect = 3): Bootstrapper {
  return new Bootstrapper({
    expect,
    self: { id: idOf(1), address: '10.0.0.1:8300' },
    log: Object.assign(log, {
      bootstrap: async (configuration: Configuration) => void configured.push(configuration),
    }) as unknown as Consensus,
    lan,
    peersOf: (server) => peersOf(server.name),
    clock,
    logger: silentLogger,
  });
}

async function attempt(on: Bootstrapper): Promise<void> {
  let isDone = false;
  void on.attempt().finally(() => (isDone = true));
  await clock.advanceUntil(() => isDone, 600_000);
}

const voter = (number: number) => ({ Suffrage: suffrage.voter, ID: idOf(number), Address: `10.0.0.${number}:8300` });

test('one expected server is a cluster of its own', async () => {
  await attempt(bootstrapper(1));
  expect(configured).toEqual([{ Servers: [voter(1)] }]);
});

test('one that is not to begin waits to be taken in', async () => {
  for (const number of [1, 2, 3]) lan.update(member(number, { bootstrapExpect: 0 }));
  await attempt(bootstrapper(0));
  expect(configured).toEqual([]);
});

describe('three expected servers', () => {
  test('begin when they have found each other, once', async () => {
    const on = bootstrapper();
    for (const number of [1, 2]) lan.update(member(number));
    await attempt(on);
    expect(configured).toEqual([]);
    lan.update(member(3));
    await attempt(on);
    await attempt(on);
    expect(configured).toEqual([{ Servers: [voter(1), voter(2), voter(3)] }]);
  });

  test('do not count those who do not vote, dead ones and those of other datacenters', async () => {
    for (const number of [1, 2]) lan.update(member(number));
    lan.update(member(3, { nonVoter: true }));
    lan.update({ ...member(4), Status: memberStatus.failed });
    lan.update(member(5, { datacenter: 'dc2' }));
    await attempt(bootstrapper());
    expect(configured).toEqual([]);
    lan.update(member(6));
    await attempt(bootstrapper());
    expect(configured[0]?.Servers).toContainEqual({ ...voter(3), Suffrage: suffrage.nonvoter });
    expect(configured[0]?.Servers).toHaveLength(4);
  });

  test.each([
    ['expects another number', { bootstrapExpect: 5 }],
    ['begins by itself', { bootstrap: true, bootstrapExpect: 0 }],
  ])('wait while one of them %s', async (_, more) => {
    for (const number of [1, 2]) lan.update(member(number));
    lan.update(member(3, more));
    await attempt(bootstrapper());
    expect(configured).toEqual([]);
  });

  test('leave it when one of them is in a cluster already', async () => {
    for (const number of [1, 2, 3]) lan.update(member(number));
    peersOf = async (name) => (name === 's2' ? ['10.0.0.9:8300'] : []);
    const on = bootstrapper();
    await attempt(on);
    peersOf = async () => [];
    await attempt(on);
    expect(configured).toEqual([]);
  });

  test('leave it when the entry of a faster one has come', async () => {
    for (const number of [1, 2, 3]) lan.update(member(number));
    peersOf = async () => {
      log.lastIndex = 1;
      return [];
    };
    await attempt(bootstrapper());
    expect(configured).toEqual([]);
  });

  test('ask one that does not answer six times, then go on without its answer', async () => {
    for (const number of [1, 2, 3]) lan.update(member(number));
    const askedAtMs: number[] = [];
    peersOf = async (name) => {
      if (name !== 's3') return [];
      askedAtMs.push(clock.monotonicMs());
      throw new Error('connection refused');
    };
    await attempt(bootstrapper());
    expect(askedAtMs).toEqual([0, 1000, 3000, 7000, 15_000, 31_000]);
    expect(configured).toHaveLength(1);
  });

  test('stop asking when the server stops', async () => {
    for (const number of [1, 2, 3]) lan.update(member(number));
    peersOf = () => Promise.reject(new Error('connection refused'));
    const on = bootstrapper();
    clock.after(2000, () => on.stop());
    await attempt(on);
    expect(configured).toEqual([]);
    expect(clock.monotonicMs()).toBe(2000);
  });
});

test.each([
  ['a log', { lastIndex: 7, peers: [] }],
  ['a configuration', { lastIndex: 0, peers: ['10.0.0.1:8300'] }],
])('a server that has %s does not begin again', async (_, has) => {
  Object.assign(log, has);
  await attempt(bootstrapper(1));
  expect(configured).toEqual([]);
});
