import { describe, expect, test } from 'vitest';
import { CallError, type KVSRequest } from '../../../src/model/index.ts';
import { StateStore } from '../../../src/state/index.ts';

function kvs(
  store: StateStore,
  Op: KVSRequest['Op'],
  DirEnt: Omit<KVSRequest['DirEnt'], 'Value'> & { Value?: string },
) {
  const entry = { ...DirEnt, Value: DirEnt.Value === undefined ? null : Buffer.from(DirEnt.Value) };
  return store.apply(store.lastIndex + 1, { type: 'KVS', request: { Datacenter: 'dc1', Op, DirEnt: entry } });
}

describe('set', () => {
  test('keeps all 64 bits of the flags and the creation index', () => {
    const store = new StateStore();
    const Flags = 0xffff_ffff_ffff_fffen;
    kvs(store, 'set', { Key: 'k', Value: '1', Flags });
    kvs(store, 'set', { Key: 'k', Value: '2', Flags });
    expect(store.kvGet('k')).toMatchObject({ index: 2, result: [{ Flags, CreateIndex: 1, ModifyIndex: 2 }] });
  });

  test.each([
    ['the same value', { Value: '1' }, false],
    ['another value', { Value: '2' }, true],
    ['other flags', { Value: '1', Flags: 1n }, true],
    ['another lock index', { Value: '1', LockIndex: 3 }, true],
    ['no value', {}, true],
  ])('with %s', (_, given, changes) => {
    const store = new StateStore();
    kvs(store, 'set', { Key: 'k', Value: '1' });
    const before = store.kvGet('k').result;
    kvs(store, 'set', { Key: 'k', ...given });
    expect(store.kvGet('k').index).toBe(changes ? 2 : 1);
    expect(store.kvGet('k').result === before).toBe(!changes);
  });

  test('stores an empty value as none', () => {
    const store = new StateStore();
    kvs(store, 'set', { Key: 'k', Value: '' });
    expect(store.kvGet('k').result?.[0]?.Value).toBeNull();
  });
});

test.each([
  ['cas', 0, 'absent', true],
  ['cas', 5, 'absent', false],
  ['cas', 0, 'present', false],
  ['cas', 1, 'present', true],
  ['delete-cas', 5, 'absent', true],
  ['delete-cas', 0, 'present', false],
  ['delete-cas', 1, 'present', true],
] as const)('%s with index %i on a key that is %s: %s', (op, ModifyIndex, state, applied) => {
  const store = new StateStore();
  kvs(store, 'set', { Key: state === 'present' ? 'k' : 'other', Value: '1' });
  expect(kvs(store, op, { Key: 'k', Value: '2', ModifyIndex })).toBe(applied);
  const after = store.kvGet('k').result?.[0]?.Value;
  const deleted = op === 'delete-cas' && applied;
  expect(after && Buffer.from(after).toString()).toBe(
    deleted || (state === 'absent' && !applied) ? undefined : applied ? '2' : '1',
  );
});

test.each([
  ['lock', '', 'missing session'],
  ['lock', 'short', 'failed session lookup: index error: UUID must be 36 characters'],
  ['lock', '00000000-0000-0000-0000-000000000000', 'invalid session "00000000-0000-0000-0000-000000000000"'],
  ['unlock', '', 'missing session'],
] as const)('%s with session "%s" fails: %s', (op, Session, text) => {
  const store = new StateStore();
  expect(() => kvs(store, op, { Key: 'k', Session })).toThrow(new CallError(text));
  expect(store.lastIndex).toBe(1);
});

test('unlock of what the session does not hold is false', () => {
  const Session = '00000000-0000-0000-0000-000000000000';
  expect(kvs(new StateStore(), 'unlock', { Key: 'k', Session })).toBe(false);
});

describe('lists', () => {
  const store = new StateStore();
  for (const Key of ['web/a/1', 'web/a/2', 'web/b/1', 'web/c', 'web/', 'webx', 'web-d-1', 'web-d-2', 'w\u00ff']) {
    kvs(store, 'set', { Key, Value: '1' });
  }

  test('are ordered by bytes', () => {
    expect(store.kvKeys('', '').result).toEqual([
      'web-d-1',
      'web-d-2',
      'web/',
      'web/a/1',
      'web/a/2',
      'web/b/1',
      'web/c',
      'webx',
      'w\u00ff',
    ]);
  });

  test.each([
    ['web/', '/', ['web/', 'web/a/', 'web/b/', 'web/c']],
    ['web', '/', ['web-d-1', 'web-d-2', 'web/', 'webx']],
    ['web', '-d-', ['web-d-', 'web/', 'web/a/1', 'web/a/2', 'web/b/1', 'web/c', 'webx']],
    ['nope', '/', null],
  ])('keys under %s with separator %s', (prefix, separator, expected) => {
    expect(store.kvKeys(prefix, separator).result).toEqual(expected);
  });
});

test('the index of a prefix sees deletions until they are reaped', () => {
  const store = new StateStore();
  kvs(store, 'set', { Key: 'p/1' }); // 1
  kvs(store, 'set', { Key: 'p/2' }); // 2
  kvs(store, 'delete', { Key: 'p/2' }); // 3
  kvs(store, 'set', { Key: 'q' }); // 4
  kvs(store, 'delete-tree', { Key: 'q' }); // 5
  expect(store.kvList('p/').index).toBe(3);
  expect(store.tombstones().map((tombstone) => tombstone.Key)).toEqual(['p/2', 'q']);
  const reap = (ReapIndex: number) =>
    store.apply(store.lastIndex + 1, { type: 'Tombstone', request: { Datacenter: 'dc1', Op: 'reap', ReapIndex } });
  reap(3);
  expect(store.tombstones().map((tombstone) => tombstone.Key)).toEqual(['q']);
  expect(store.kvList('p/').index).toBe(1);
  expect(store.kvList('q').index).toBe(5);
});

test('a snapshot keeps the state of its moment', () => {
  const store = new StateStore();
  kvs(store, 'set', { Key: 'k', Value: '1' });
  store.apply(2, { type: 'Register', request: { Datacenter: 'dc1', Node: 'N', Address: '192.0.2.1' } });
  const snapshot = store.snapshot();
  kvs(store, 'delete-tree', { Key: '' });
  store.apply(4, { type: 'Deregister', request: { Datacenter: 'dc1', Node: 'N' } });
  expect(snapshot.lastIndex).toBe(2);
  expect([...snapshot.kv.entries()].map((entry) => entry.Key)).toEqual(['k']);
  expect(snapshot.nodes.map((node) => node.Node)).toEqual(['N']);
  expect(snapshot.indexRows).toEqual([
    { Key: 'kvs', Value: 1 },
    { Key: 'nodes', Value: 2 },
  ]);
});
