// `Txn.*`: what is refused before the log, what operations return, what they say when they fail.
import { beforeEach, describe, expect, test } from 'vitest';
import { CallError, type TxnOp, type TxnResponse } from '../../../src/model/index.ts';
import { check, service } from '../state/helpers.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
const txn = (...Ops: TxnOp[]): Promise<TxnResponse> => single.call('Txn.Apply', { Ops });
const kv = (Verb: string, Key: string, more: object = {}): TxnOp => ({ KV: { Verb, DirEnt: { Key, ...more } } });
const node = (Verb: string, Node: string, more: object = {}): TxnOp => ({
  Node: {
    Verb,
    Node: { ID: '', Node, Address: '192.0.2.1', Datacenter: 'dc1', TaggedAddresses: null, Meta: null, ...more },
  },
});
const svc = (Verb: string, Node: string, Service: string, more: object = {}): TxnOp => ({
  Service: { Verb, Node, Service: { ...service({ Service }), ...more } },
});
const chk = (Verb: string, Node: string, CheckID: string, more: object = {}): TxnOp => ({
  Check: { Verb, Check: { ...check({ Node, CheckID }), ...more } },
});
const errorsOf = async (...ops: TxnOp[]): Promise<readonly string[]> =>
  ((await txn(...ops)).Errors ?? []).map(({ OpIndex, What }) => `${OpIndex}: ${What}`);

beforeEach(async () => {
  single = singleServer();
  await single.server.start();
  await txn(
    node('set', 'n', { ID: '02000000-0000-4000-8000-000000000002' }),
    svc('set', 'n', 'web'),
    chk('set', 'n', 'c'),
    kv('set', 'k', { Value: Buffer.from('v') }),
  );
});

describe('texts of failures', () => {
  const other = '00000000-0000-4000-8000-00000000000f';
  test.each<[TxnOp, string]>([
    [kv('set', ''), 'Must provide key'],
    [kv('jump', 'k'), 'unknown KV verb "jump"'],
    [kv('get', 'a"\n\u0001\u00a0'), String.raw`key "a\"\n\x01�" doesn't exist`],
    [kv('cas', 'k', { ModifyIndex: 1 }), 'failed to set key "k", index is stale'],
    [kv('cas', 'k', { ModifyIndex: 0 }), 'failed to set key "k", index is stale'],
    [kv('cas', 'new', { ModifyIndex: 5 }), 'failed to set key "new", index is stale'],
    [kv('delete-cas', 'k', { ModifyIndex: 1 }), 'failed to delete key "k", index is stale'],
    [kv('check-index', 'k', { ModifyIndex: 1 }), 'failed index check for key "k", current modify index 4 != 1'],
    [kv('check-index', 'x', { ModifyIndex: 1 }), `failed to check index, key "x" doesn't exist`],
    [
      kv('check-session', 'k', { Session: other }),
      `failed session check for key "k", current session "" != "${other}"`,
    ],
    [kv('check-session', 'x', { Session: other }), `failed to check session, key "x" doesn't exist`],
    [kv('check-not-exists', 'k'), 'key "k" exists'],
    [kv('lock', 'k'), 'missing session'],
    [kv('lock', 'k', { Session: other }), `invalid session "${other}"`],
    [kv('unlock', 'k', { Session: other }), `failed to unlock key "k", lock isn't held, or is held by another session`],
    [node('set', ''), 'Must provide node'],
    [node('set', 'x', { ID: 'nope' }), 'Bad node ID: uuid string is wrong length'],
    [node('jump', 'x'), 'unknown Node verb "jump"'],
    [node('get', 'x'), `node "x" doesn't exist`],
    [node('cas', 'n', { ModifyIndex: 1 }), 'failed to set node "n", index is stale'],
    [node('delete-cas', 'n', { ModifyIndex: 1 }), 'failed to delete node "n", index is stale'],
    [node('delete-cas', 'x', { ModifyIndex: 0 }), 'failed to delete node "x", index is stale'],
    [svc('set', 'x', 'web'), 'Missing node registration'],
    [svc('set', 'n', '', { ID: 'id' }), 'Must provide service name with ID'],
    [svc('delete', 'n', '', { ID: 'web' }), 'Must provide service name with ID'],
    [svc('set', 'n', '', { ID: '' }), 'failed inserting service: object missing primary index'],
    [chk('set', 'n', '', { Name: '' }), 'failed inserting check: object missing primary index'],
    [svc('jump', 'n', 'web'), 'unknown Service verb "jump"'],
    [svc('get', 'n', 'x'), `service "x" on node "n" doesn't exist`],
    [svc('cas', 'n', 'web', { ModifyIndex: 1 }), 'failed to set service "web" on node "n", index is stale'],
    [svc('delete-cas', 'n', 'web', { ModifyIndex: 1 }), 'failed to delete service "web" on node "n", index is stale'],
    [chk('set', 'x', 'c'), 'Missing node registration'],
    [chk('set', 'n', 'c2', { ServiceID: 'x' }), 'Missing service registration'],
    [chk('jump', 'n', 'c'), 'unknown Check verb "jump"'],
    [chk('get', 'n', 'x'), `check "x" on node "n" doesn't exist`],
    [chk('cas', 'n', 'c', { ModifyIndex: 1 }), 'failed to set check "c" on node "n", index is stale'],
    [chk('delete-cas', 'n', 'x', { ModifyIndex: 0 }), 'failed to delete check "x" on node "n", index is stale'],
    [{}, 'no operation specified'],
  ])('%j', async (op, text) => {
    const before = JSON.stringify(single.store.nodeDump());
    expect(await errorsOf(kv('set', 'other'), op)).toEqual([`1: ${text}`]);
    expect(single.store.kvGet('other').result).toBe(null);
    expect(JSON.stringify(single.store.nodeDump())).toBe(before);
  });

  test('all that is wrong is told, as long as it gets so far', async () => {
    expect(await errorsOf(kv('get', 'x'), kv('set', 'y'), kv('cas', 'k', { ModifyIndex: 1 }))).toEqual([
      `0: key "x" doesn't exist`,
      '2: failed to set key "k", index is stale',
    ]);
    // What is refused before the log hides the rest.
    const { lastIndex } = single.store;
    expect(await errorsOf(kv('get', 'x'), kv('set', ''))).toEqual(['1: Must provide key']);
    expect(single.store.lastIndex).toBe(lastIndex);
  });

  test('a failed transaction uses up an index and wakes nobody', async () => {
    let woken = false;
    const watch: string[] = [];
    single.store.kvGet('other', watch);
    single.store.watch(watch, () => {
      woken = true;
    });
    const { lastIndex } = single.store;
    await txn(kv('set', 'other'), kv('get', 'missing'));
    expect([single.store.lastIndex, woken]).toEqual([lastIndex + 1, false]);
    await txn(kv('set', 'other'));
    expect(woken).toBe(true);
  });
});

describe('results', () => {
  test('writes of keys come without their value, reads with it, deletions not at all', async () => {
    const { Results } = await txn(
      kv('set', 'a', { Value: Buffer.from('1'), Flags: 2n ** 64n - 1n }),
      kv('get', 'a'),
      kv('get-tree', 'a'),
      kv('check-index', 'k', { ModifyIndex: 4 }),
      kv('check-not-exists', 'none'),
      kv('delete', 'k'),
      kv('delete-cas', 'k'),
      kv('delete-tree', 'a'),
    );
    const index = single.store.lastIndex;
    const a = { LockIndex: 0, Key: 'a', Flags: 2n ** 64n - 1n, Session: '', CreateIndex: index, ModifyIndex: index };
    expect(Results).toEqual([
      { KV: { ...a, Value: null } },
      { KV: { ...a, Value: Buffer.from('1') } },
      { KV: { ...a, Value: Buffer.from('1') } },
      { KV: { LockIndex: 0, Key: 'k', Flags: 0n, Session: '', Value: null, CreateIndex: 4, ModifyIndex: 4 } },
    ]);
    expect(single.store.kvList('').result).toBe(null);
  });

  test('compare-and-set writes where the index fits', async () => {
    const given = { ModifyIndex: 4 };
    const { Errors, Results } = await txn(
      kv('cas', 'k', given),
      node('cas', 'n', { ...given, Address: '192.0.2.2' }),
      svc('cas', 'n', 'web', { ...given, Port: 1 }),
      chk('cas', 'n', 'c', { ...given, Status: 'warning' }),
      node('cas', 'new'),
    );
    const index = single.store.lastIndex;
    expect(Errors).toBe(null);
    expect(Results).toMatchObject([
      { KV: { Key: 'k', CreateIndex: 4, ModifyIndex: index } },
      { Node: { Node: 'n', Address: '192.0.2.2', CreateIndex: 4, ModifyIndex: index } },
      { Service: { Port: 1, Weights: { Passing: 1, Warning: 1 }, CreateIndex: 4, ModifyIndex: index } },
      { Check: { Status: 'warning', CreateIndex: 4, ModifyIndex: index } },
      { Node: { Node: 'new', CreateIndex: index } },
    ]);
    expect(Results?.[1]).toEqual({ Node: single.store.node('n') });
  });

  test('nodes are found by ID too, and a service or check without ID gets its name', async () => {
    const { Results } = await txn(
      node('get', '', { ID: '02000000-0000-4000-8000-000000000002' }),
      svc('set', 'n', 'api', { ID: '' }),
      chk('set', 'n', '', { Name: 'named' }),
    );
    expect(Results).toMatchObject([
      { Node: { Node: 'n' } },
      { Service: { ID: 'api' } },
      { Check: { CheckID: 'named' } },
    ]);
  });

  test('deletions take what hangs on it along', async () => {
    const ID = await single.call('Session.Apply', { Op: 'create', Session: { Node: 'n', NodeChecks: ['c'] } });
    await txn(kv('lock', 'held', { Session: ID }));
    expect(
      (await txn(chk('delete', 'n', 'c'), svc('delete', 'n', 'web'), node('delete-cas', 'n', { ModifyIndex: 4 })))
        .Errors,
    ).toBe(null);
    expect(single.store.node('n')).toBe(undefined);
    expect(single.store.session(ID).result).toBe(null);
    expect(single.store.kvGet('held').result?.[0]?.Session).toBe('');
  });

  test('a session operation deletes the row and leaves its locks', async () => {
    const ID = await single.call('Session.Apply', { Op: 'create', Session: { Node: 'n' } });
    await txn(kv('lock', 'held', { Session: ID }));
    expect(await txn({ Session: { Verb: 'delete', Session: { ID } } })).toEqual({ Results: [], Errors: null });
    expect(single.store.session(ID).result).toBe(null);
    expect(single.store.kvGet('held').result?.[0]?.Session).toBe(ID);
    expect(await errorsOf({ Session: { Verb: 'delete', Session: { ID } } })).toEqual([
      '0: failed deleting session: not found',
    ]);
  });
});

describe('Txn.Read', () => {
  test('answers past the log, without index', async () => {
    const { lastIndex } = single.store;
    const reply = await single.call('Txn.Read', { Ops: [kv('get', 'k'), svc('get', 'n', 'web')] });
    expect(reply).toMatchObject({ Index: 0, KnownLeader: true, Errors: null });
    expect(reply.Results).toEqual([
      { KV: single.store.kvGet('k').result![0] },
      { Service: single.store.nodeService('n', 'web') },
    ]);
    expect(single.store.lastIndex).toBe(lastIndex);
  });

  test('collects errors as a write does', async () => {
    expect(await single.call('Txn.Read', { Ops: [kv('get', 'x'), kv('get', 'k')] })).toMatchObject({
      Results: null,
      Errors: [{ OpIndex: 0, What: `key "x" doesn't exist` }],
    });
  });

  test.each([kv('set', 'k'), node('set', 'x'), svc('delete', 'n', 'web'), chk('jump', 'n', 'c')])(
    'takes no write: %j',
    async (op) => {
      await expect(single.call('Txn.Read', { Ops: [op] })).rejects.toThrow(CallError);
      expect(single.store.kvGet('k').index).toBe(4);
    },
  );
});
