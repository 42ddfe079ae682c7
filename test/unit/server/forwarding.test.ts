import { beforeEach, describe, expect, test } from 'vitest';
import { CallError } from '../../../src/model/index.ts';
import { RpcError, type RpcServerAddress } from '../../../src/rpc/index.ts';
import type { CallServer, Cluster, Consensus, Wan } from '../../../src/server/index.ts';
import { Forwarding } from '../../../src/server/forwarding.ts';
import { LanServers } from '../../../src/server/lan-servers.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { serverMember } from './members.ts';

const holdMs = 7000;
const own = '10.0.0.1:8300';
const other = '10.0.0.2:8300';
const third = '10.0.0.3:8300';

let clock: VirtualClock;
let state: { isLeader: boolean; leaderAddress: string; lastContactNs: number; isReady: boolean };
let changeLeader: (to: string) => void;
/** What the other servers say; the name of the server asked, and what. */
let asked: string[];
let says: (server: string, attempt: number, signal: AbortSignal | undefined) => Promise<unknown>;
let verifies: () => Promise<void>;
let forwarding: Forwarding;
let wan: Wan | undefined;
const localTokens = new Set<string>();

beforeEach(() => {
  clock = new VirtualClock();
  state = { isLeader: false, leaderAddress: other, lastContactNs: 5, isReady: false };
  asked = [];
  says = async (server) => `from ${server}`;
  verifies = async () => {};
  wan = undefined;
  const listeners: (() => void)[] = [];
  changeLeader = (to) => {
    state.leaderAddress = to;
    state.isLeader = to === own;
    state.isReady = to === own;
    for (const listener of listeners) listener();
  };
  const log = {
    get isLeader() {
      return state.isLeader;
    },
    get leaderAddress() {
      return state.leaderAddress;
    },
    get lastContactNs() {
      return state.lastContactNs;
    },
    verifyLeader: () => verifies(),
    onLeadership: (listener: () => void) => {
      listeners.push(listener);
      return () => undefined;
    },
  } as unknown as Consensus;
  const lan = new LanServers('dc1');
  for (const number of [1, 2, 3]) lan.update(serverMember(number));
  const call = async (
    to: RpcServerAddress,
    method: string,
    request: { readonly Token?: string },
    options: { signal?: AbortSignal },
  ) => {
    asked.push(`${to.name} ${method}${request.Token === undefined ? '' : ` ${request.Token}`}`);
    return await says(to.name, asked.length, options.signal);
  };
  const cluster = {
    callServer: call as unknown as CallServer,
    get wan() {
      return wan;
    },
  } as unknown as Cluster;
  forwarding = new Forwarding({
    datacenter: 'dc1',
    log,
    lan,
    cluster,
    isReady: () => state.isReady,
    isLocalToken: (secret) => localTokens.has(secret),
    holdMs,
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    metrics: { count() {}, gauge() {}, sample() {} },
  });
});

const get = (more: object = {}, signal?: AbortSignal) =>
  forwarding.elsewhere(
    'KVS.Get',
    { Datacenter: 'dc1', Key: 'k', ...more },
    () => Promise.resolve('here' as never),
    signal,
  ) as unknown as Promise<string>;
const put = () =>
  forwarding.elsewhere(
    'KVS.Apply',
    { Datacenter: 'dc1', Op: 'set', DirEnt: { Key: 'k' } },
    () => Promise.resolve('here' as never),
    undefined,
  ) as unknown as Promise<string>;

/** Lets virtual time go on until `work` is done. @returns what it said and how long it took. */
async function timed(work: Promise<unknown>): Promise<{ readonly said: unknown; readonly tookMs: number }> {
  const began = clock.monotonicMs();
  let isDone = false;
  const said = work
    .catch((error: unknown) => (error as Error).message)
    .finally(() => {
      isDone = true;
    });
  await clock.advanceUntil(() => isDone, 600_000);
  return { said: await said, tookMs: clock.monotonicMs() - began };
}

describe('a call stays here', () => {
  const stale = { Datacenter: 'dc1', AllowStale: true };
  test.each([
    ['a read on the leader', 'KVS.Get', { Datacenter: 'dc1' }, { isReady: true }, true],
    ['a write on the leader', 'KVS.Apply', { Datacenter: 'dc1' }, { isReady: true }, true],
    [
      'a consistent read on the leader',
      'KVS.Get',
      { Datacenter: 'dc1', RequireConsistent: true },
      { isReady: true },
      false,
    ],
    ['a read on a leader that is not ready', 'KVS.Get', { Datacenter: 'dc1' }, { isLeader: true }, false],
    ['a read on a follower', 'KVS.Get', { Datacenter: 'dc1' }, {}, false],
    ['a stale read on a follower', 'KVS.Get', stale, {}, true],
    ['a stale read without a leader', 'KVS.Get', stale, { leaderAddress: '' }, true],
    ['a stale read on who never heard of one', 'KVS.Get', stale, { lastContactNs: Number.MAX_SAFE_INTEGER }, false],
    ['a write that would do stale', 'KVS.Apply', stale, {}, false],
    ['what only the leader knows', 'Session.Renew', stale, {}, false],
    ['what every server knows', 'Status.Leader', { Datacenter: '' }, { leaderAddress: '' }, true],
    ['what every server of another datacenter knows', 'Status.Leader', { Datacenter: 'dc2' }, {}, false],
    ['a call without arguments', 'Status.RaftStats', null, {}, true],
    ['a call for another datacenter', 'KVS.Get', { Datacenter: 'dc2', AllowStale: true }, { isReady: true }, false],
    ['a call for none', 'KVS.Get', { Datacenter: '' }, { isReady: true }, false],
    [
      'a question about another datacenter',
      'FederationState.Get',
      { Datacenter: 'dc2', TargetDatacenter: 'dc1' },
      { isReady: true },
      true,
    ],
  ] as const)('%s', (_, method, request, situation, expected) => {
    Object.assign(state, situation);
    expect(forwarding.isHere(method, request)).toBe(expected);
  });
});

describe('a follower', () => {
  test('asks the leader', async () => {
    expect(await get()).toBe('from s2');
    expect(await put()).toBe('from s2');
    expect(asked).toEqual(['s2 KVS.Get', 's2 KVS.Apply']);
  });

  test('asks a leader that gossip does not know at its address', async () => {
    state.leaderAddress = '[2001:db8::1]:8300';
    expect(await get()).toBe('from [2001:db8::1]:8300');
  });

  test('waits for a leader, then asks it', async () => {
    state.leaderAddress = '';
    clock.after(3000, () => changeLeader(third));
    const { said, tookMs } = await timed(get());
    expect(said).toBe('from s3');
    expect(tookMs).toBeGreaterThanOrEqual(3000);
    expect(tookMs).toBeLessThan(3000 + holdMs / 16);
  });

  test('answers itself when it has become the leader meanwhile', async () => {
    state.leaderAddress = '';
    clock.after(1000, () => changeLeader(own));
    expect((await timed(put())).said).toBe('here');
  });

  test('gives up waiting after the hold time', async () => {
    state.leaderAddress = '';
    const { said, tookMs } = await timed(put());
    expect(said).toBe('No cluster leader');
    expect(tookMs).toBeLessThanOrEqual(holdMs);
    expect(tookMs).toBeGreaterThan(holdMs - holdMs / 16);
  });

  test('waits no longer than its caller', async () => {
    state.leaderAddress = '';
    const abort = new AbortController();
    clock.after(500, () => abort.abort(new Error('the client has gone')));
    const { said, tookMs } = await timed(get({}, abort.signal));
    expect(said).toBe('the client has gone');
    expect(tookMs).toBe(500);
  });

  test.each([
    ['a leader that is none any more', new RpcError('server', 'No cluster leader'), true, true],
    ['a refused connection', new RpcError('connect', 'connection refused'), true, true],
    ['a lost connection', new RpcError('lost', 'EOF'), true, false],
    ['the failure of the call', new RpcError('server', 'Permission denied'), false, false],
  ])('%s', async (_, failure, retriesReads, retriesWrites) => {
    says = async (server, attempt) => {
      if (attempt === 1) throw failure;
      return `from ${server}`;
    };
    expect((await timed(get())).said).toBe(retriesReads ? 'from s2' : failure.message);
    asked = [];
    expect((await timed(put())).said).toBe(retriesWrites ? 'from s2' : failure.message);
  });

  test('counts the hold time from the failure, not from the beginning of a blocking query', async () => {
    says = async (server, attempt, signal) => {
      if (attempt > 1) return `from ${server}`;
      return await new Promise((_, reject) => {
        clock.after(120_000, () => reject(new RpcError('lost', 'EOF')));
        signal?.addEventListener('abort', () => reject(new RpcError('aborted', 'aborted')));
      });
    };
    expect((await timed(get({ MinQueryIndex: 1 }))).said).toBe('from s2');
  });

  const frozenAtFirst = async (server: string, attempt: number, signal: AbortSignal | undefined): Promise<string> => {
    if (attempt > 1) return `from ${server}`;
    return await new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(new RpcError('aborted', 'aborted')));
    });
  };

  test('asks the next leader when the one it asked leads no more', async () => {
    says = frozenAtFirst;
    clock.after(2000, () => changeLeader(third));
    const { said, tookMs } = await timed(get());
    expect(said).toBe('from s3');
    expect(tookMs).toBeLessThan(2000 + holdMs / 16);
  });

  test('gives a write up whose leader is gone, because nobody knows what became of it', async () => {
    says = frozenAtFirst;
    clock.after(2000, () => changeLeader(third));
    const { said, tookMs } = await timed(put());
    expect(said).toBe('leadership lost while committing log');
    expect(tookMs).toBe(4000);
    expect(asked).toEqual(['s2 KVS.Apply']);
  });

  test('takes the answer of a leader that was deposed meanwhile', async () => {
    says = async (server) => await new Promise((resolve) => clock.after(3000, () => resolve(`from ${server}`)));
    clock.after(2000, () => changeLeader(third));
    expect((await timed(put())).said).toBe('from s2');
  });
});

describe('a leader', () => {
  test('asks the others before a consistent answer', async () => {
    changeLeader(own);
    let verified = 0;
    verifies = async () => void verified++;
    expect(await get({ RequireConsistent: true })).toBe('here');
    expect(verified).toBe(1);
  });

  test('that cannot be sure is none', async () => {
    changeLeader(own);
    verifies = async () => {
      verifies = async () => {};
      changeLeader(other);
      throw new CallError('leadership lost while committing log');
    };
    expect((await timed(get({ RequireConsistent: true }))).said).toBe('from s2');
  });

  test('that is not ready in time says so', async () => {
    Object.assign(state, { isLeader: true, leaderAddress: own });
    expect((await timed(get({ RequireConsistent: true }))).said).toBe('Not ready to serve consistent reads');
    expect((await timed(get())).said).toBe('No cluster leader');
  });
});

describe('another datacenter', () => {
  const server = (name: string): RpcServerAddress => ({ name, datacenter: 'dc2', address: '192.0.2.1', port: 8300 });

  test.each(['', 'dc9'])('%j cannot be reached', async (Datacenter) => {
    await expect(get({ Datacenter })).rejects.toThrow(new CallError('No path to datacenter'));
    wan = { datacenters: () => ['dc1', 'dc2'], serversOf: () => [], coordinates: () => [] };
    await expect(get({ Datacenter })).rejects.toThrow(new CallError('No path to datacenter'));
  });

  test('whose servers are gone cannot be reached', async () => {
    wan = { datacenters: () => ['dc1', 'dc2'], serversOf: () => [], coordinates: () => [] };
    await expect(get({ Datacenter: 'dc2' })).rejects.toThrow('Remote DC has no server currently reachable');
  });

  test('is asked at its first server that can be reached', async () => {
    wan = { datacenters: () => ['dc1', 'dc2'], serversOf: () => [server('a'), server('b')], coordinates: () => [] };
    says = async (name) => {
      if (name === 'a') throw new RpcError('connect', 'connection refused');
      return `from ${name}`;
    };
    expect(await get({ Datacenter: 'dc2' })).toBe('from b');
    says = async () => {
      throw new RpcError('server', 'Permission denied');
    };
    await expect(get({ Datacenter: 'dc2' })).rejects.toThrow(/Permission denied$/);
    expect(asked).toHaveLength(3);
  });

  test('does not see tokens that mean nothing there', async () => {
    wan = { datacenters: () => ['dc1', 'dc2'], serversOf: () => [server('a')], coordinates: () => [] };
    localTokens.add('local');
    await get({ Datacenter: 'dc2', Token: 'local' });
    await get({ Datacenter: 'dc2', Token: 'global' });
    expect(asked).toEqual(['a KVS.Get ', 'a KVS.Get global']);
  });
});
