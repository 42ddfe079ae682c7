// `Session.*`, the leader's timers, and locks that stay closed for a while.
import { array, asyncProperty, assert, constant, constantFrom, integer, oneof, record } from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { CallError, type SessionRequest } from '../../../src/model/index.ts';
import { type Consensus, MemoryLog } from '../../../src/server/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
const create = (Session: SessionRequest['Session'] = {}, on = single): Promise<string> =>
  on.call('Session.Apply', { Op: 'create', Session: { Node: 'self', ...Session } });
const destroy = (ID: string, on = single): Promise<string> =>
  on.call('Session.Apply', { Op: 'destroy', Session: { ID } });
const lock = (Key: string, Session: string, on = single): Promise<boolean> =>
  on.call('KVS.Apply', { Op: 'lock', DirEnt: { Key, Session } });
const exists = async (SessionID: string, on = single): Promise<boolean> =>
  (await on.call('Session.Get', { SessionID })).Sessions !== null;

beforeEach(async () => {
  single = singleServer();
  await single.server.start();
});

describe('named calls', () => {
  test('a session is made, found and destroyed', async () => {
    const ID = await create({ Name: 'x', NodeChecks: ['serfHealth'] });
    const { Sessions, Index, KnownLeader } = await single.call('Session.Get', { SessionID: '', Session: ID });
    expect(Sessions).toMatchObject([{ ID, Name: 'x', Node: 'self', Behavior: 'release', NodeChecks: ['serfHealth'] }]);
    expect([Index, KnownLeader]).toEqual([single.store.lastIndex, true]);
    expect((await single.call('Session.List', { SessionID: '' })).Sessions).toEqual(Sessions);
    expect((await single.call('Session.NodeSessions', { Node: 'SELF' })).Sessions).toEqual(Sessions);
    expect((await single.call('Session.NodeSessions', { Node: 'other' })).Sessions).toEqual([]);
    expect(await destroy(ID)).toBe('');
    expect(await destroy(ID)).toBe('');
    expect(await single.call('Session.Get', { SessionID: ID })).toMatchObject({ Sessions: null, Index: Index + 1 });
  });

  test('a waiting reader of a session is woken by its end', async () => {
    const ID = await create();
    const { Index } = await single.call('Session.Get', { SessionID: ID });
    const waiting = single.call('Session.Get', { SessionID: ID, MinQueryIndex: Index });
    await create();
    await destroy(ID);
    expect(await waiting).toMatchObject({ Sessions: null, Index: Index + 2 });
  });

  test('renewing answers without freshness, and null for what is unknown', async () => {
    const ID = await create({ TTL: '10s' });
    expect(await single.call('Session.Renew', { SessionID: ID })).toMatchObject({
      Sessions: [{ ID }],
      KnownLeader: false,
      Index: single.store.lastIndex,
    });
    await destroy(ID);
    expect((await single.call('Session.Renew', { SessionID: ID })).Sessions).toBe(null);
  });

  test.each<[object, string]>([
    [{ Op: 'create', Session: {} }, 'Must provide Node'],
    [{ Op: 'destroy', Session: {} }, 'Must provide ID'],
    [{ Op: 'jump', Session: {} }, "Invalid Session operation 'jump'"],
    [{ Op: 'create', Session: { Node: 'self', Behavior: 'explode' } }, "Invalid Behavior setting 'explode'"],
    [
      { Op: 'create', Session: { Node: 'self', TTL: '1s' } },
      "Invalid Session TTL '1000000000', must be between [10s=24h0m0s]",
    ],
    [
      { Op: 'create', Session: { Node: 'self', TTL: '25h' } },
      "Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]",
    ],
    [
      { Op: 'create', Session: { Node: 'self', TTL: 'abc' } },
      `Session TTL 'abc' invalid: time: invalid duration "abc"`,
    ],
    [{ Op: 'create', Session: {}, Datacenter: 'dc2' }, 'No path to datacenter'],
  ])('%j is refused', async (request, problem) => {
    await expect(single.call('Session.Apply', request as never)).rejects.toThrow(new CallError(problem));
  });

  test.each(['0', '0s', '0m', '10s', '24h'])('a TTL of %s is allowed', async (TTL) => {
    expect(await exists(await create({ TTL }))).toBe(true);
  });

  test('the shortest TTL can be configured', async () => {
    const lenient = singleServer({ sessionTtlMinMs: 1000 });
    await lenient.server.start();
    expect(await exists(await create({ TTL: '1s' }, lenient), lenient)).toBe(true);
    await expect(create({ TTL: '500ms' }, lenient)).rejects.toThrow('must be between [1s=24h0m0s]');
  });
});

describe('a session with a TTL', () => {
  test('ends at twice its TTL after the last renewal', async () => {
    const ID = await create({ TTL: '10s' });
    await single.clock.advance(19_999);
    await single.call('Session.Renew', { SessionID: ID });
    await single.clock.advance(19_999);
    expect(await exists(ID)).toBe(true);
    await single.clock.advance(1);
    expect(await exists(ID)).toBe(false);
  });

  test('that ended otherwise leaves no timer, and neither does a stopped server', async () => {
    const before = single.clock.pendingTimers;
    const ID = await create({ TTL: '10s' });
    await create({ TTL: '20s' });
    expect(single.clock.pendingTimers).toBe(before + 2);
    await destroy(ID);
    expect(single.clock.pendingTimers).toBe(before + 1);
    single.server.stop();
    expect(single.clock.pendingTimers).toBe(0);
  });

  test('gets its whole time from a new leader', async () => {
    const ID = await create({ TTL: '10s' });
    await single.clock.advance(15_000);
    single.server.stop();
    const { store, clock } = single;
    const next = singleServer({
      store,
      clock,
      log: new MemoryLog({ store, address: 'x', clock, metrics: silentMetrics }),
    });
    // A server that does not lead yet keeps no time.
    await next.call('Session.Renew', { SessionID: ID });
    await next.server.start();
    await clock.advance(19_999);
    expect(store.session(ID).result).not.toBe(null);
    await clock.advance(1);
    expect(store.session(ID).result).toBe(null);
  });

  test('is destroyed again and again when the log refuses, up to six times', async () => {
    const clock = new VirtualClock();
    const store = new StateStore();
    const inner = new MemoryLog({ store, address: 'x', clock, metrics: silentMetrics });
    const attemptsMs: number[] = [];
    const log: Consensus = Object.assign(Object.create(inner) as MemoryLog, {
      propose: async (command: Parameters<Consensus['propose']>[0]) => {
        if (command.type === 'Session' && (command.request as SessionRequest).Op === 'destroy') {
          attemptsMs.push(clock.monotonicMs());
          throw new CallError('No cluster leader');
        }
        return await inner.propose(command);
      },
    });
    const stubborn = singleServer({ clock, store, log });
    await stubborn.server.start();
    const ID = await create({ TTL: '10s' }, stubborn);
    await clock.advance(2 * 3600_000);
    expect(attemptsMs).toEqual([20_000, 30_000, 50_000, 90_000, 170_000, 330_000]);
    expect(store.session(ID).result).not.toBe(null);
  });
});

describe('the lock delay', () => {
  test.each([
    ['is the session’s own', 15e9, 15_000],
    ['is a minute at most', 90e9, 60_000],
    ['may be nothing', 0, 0],
  ])('%s', async (_, LockDelay, delayMs) => {
    const first = await create({ LockDelay });
    const second = await create();
    await lock('k', first);
    await destroy(first);
    if (delayMs > 0) {
      await single.clock.advance(delayMs - 1);
      const { lastIndex } = single.store;
      expect(await lock('k', second)).toBe(false);
      expect(single.store.lastIndex).toBe(lastIndex);
      expect(
        await single.call('Txn.Apply', { Ops: [{ KV: { Verb: 'lock', DirEnt: { Key: 'k', Session: second } } }] }),
      ).toEqual({ Results: null, Errors: [{ OpIndex: 0, What: 'failed to lock key "k" due to lock delay' }] });
      await single.call('KVS.Apply', { Op: 'set', DirEnt: { Key: 'k' } });
      await single.clock.advance(1);
    }
    expect(await lock('k', second)).toBe(true);
  });

  test('holds for keys that were deleted with their session', async () => {
    const first = await create({ LockDelay: 5e9, Behavior: 'delete' });
    await lock('k', first);
    await destroy(first);
    expect(await lock('k', await create())).toBe(false);
  });

  test('does not concern a lock that was given back', async () => {
    const first = await create({ LockDelay: 15e9 });
    await lock('k', first);
    await single.call('KVS.Apply', { Op: 'unlock', DirEnt: { Key: 'k', Session: first } });
    await destroy(first);
    expect(await lock('k', await create())).toBe(true);
  });

  test('follows a simple model', async () => {
    const keys = ['a', 'b'];
    const op = oneof(
      record({ op: constant('create' as const), delayS: integer({ min: 0, max: 90 }) }),
      record({ op: constant('lock' as const), key: constantFrom(...keys), which: integer({ min: 0, max: 3 }) }),
      record({ op: constant('destroy' as const), which: integer({ min: 0, max: 3 }) }),
      record({ op: constant('wait' as const), seconds: integer({ min: 0, max: 40 }) }),
    );
    await assert(
      asyncProperty(array(op, { minLength: 5, maxLength: 40 }), async (ops) => {
        const own = singleServer();
        await own.server.start();
        const alive: { readonly id: string; readonly delayMs: number }[] = [];
        const holders = new Map<string, string>();
        const closedUntilMs = new Map<string, number>();
        for (const step of ops) {
          const nowMs = own.clock.monotonicMs();
          const chosen = 'which' in step && alive.length > 0 ? alive[step.which % alive.length] : undefined;
          if (step.op === 'create') {
            const id = await create({ LockDelay: step.delayS * 1e9 }, own);
            alive.push({ id, delayMs: Math.min(step.delayS, 60) * 1000 });
          } else if (step.op === 'wait') {
            await own.clock.advance(step.seconds * 1000);
          } else if (chosen !== undefined && step.op === 'lock') {
            const holder = holders.get(step.key);
            const closed = (closedUntilMs.get(step.key) ?? 0) > nowMs;
            const expected = !closed && (holder === undefined || holder === chosen.id);
            expect(await lock(step.key, chosen.id, own)).toBe(expected);
            if (expected) holders.set(step.key, chosen.id);
          } else if (chosen !== undefined) {
            await destroy(chosen.id, own);
            alive.splice(alive.indexOf(chosen), 1);
            for (const [key, holder] of [...holders]) {
              if (holder !== chosen.id) continue;
              holders.delete(key);
              closedUntilMs.set(key, nowMs + chosen.delayMs);
            }
          }
        }
        own.server.stop();
      }),
      { numRuns: 100 },
    );
  });
});

const silentMetrics = { count() {}, gauge() {}, sample() {} };
