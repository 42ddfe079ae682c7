import { describe, expect, test } from 'vitest';
import { StateStore, watchKeys } from '../../../src/state/index.ts';
import { register, service } from './helpers.ts';

function set(store: StateStore, Key: string): void {
  const request = {
    Datacenter: 'dc1',
    Op: 'set',
    DirEnt: { Key, Value: Buffer.from(String(store.lastIndex)) },
  } as const;
  store.apply(store.lastIndex + 1, { type: 'KVS', request });
}

test('a watch is called once, after the command, however much it touched', () => {
  const store = new StateStore();
  const seen: number[] = [];
  store.watch([watchKeys.nodes, watchKeys.services, watchKeys.service('web')], () => seen.push(store.nodes().index));
  register(store, { Node: 'N', Service: service({ Service: 'web' }) });
  register(store, { Node: 'M', Service: service({ Service: 'web' }) });
  expect(seen).toEqual([1]);
  expect(store.watchedKeys).toBe(0);
});

test('a cancelled watch is not called and leaves nothing behind', () => {
  const store = new StateStore();
  let called = false;
  const cancel = store.watch([watchKeys.nodes, watchKeys.kvPrefix('a/')], () => (called = true));
  cancel();
  cancel();
  register(store, { Node: 'N' });
  set(store, 'a/b');
  expect([called, store.watchedKeys]).toEqual([false, 0]);
});

test('a callback may watch again, and waits for the next command', () => {
  const store = new StateStore();
  let calls = 0;
  const again = (): void => {
    calls++;
    store.watch([watchKeys.nodes], again);
  };
  store.watch([watchKeys.nodes], again);
  register(store, { Node: 'N' });
  expect(calls).toBe(1);
  register(store, { Node: 'M' });
  expect(calls).toBe(2);
});

describe('a KV write wakes its key and every prefix above it, nothing else', () => {
  test.each([
    [watchKeys.kv('a/b'), true],
    [watchKeys.kvPrefix('a/b'), true],
    [watchKeys.kvPrefix('a/'), true],
    [watchKeys.kvPrefix(''), true],
    [watchKeys.kv('a/'), false],
    [watchKeys.kv('a/B'), false],
    [watchKeys.kvPrefix('a/b/'), false],
    [watchKeys.kvPrefix('b'), false],
  ])('%s: %s', (key, woken) => {
    const store = new StateStore();
    let called = false;
    store.watch([key], () => (called = true));
    set(store, 'a/b');
    expect(called).toBe(woken);
  });
});

test('ten thousand watchers of one service are all woken by it and none by another', () => {
  const store = new StateStore();
  let woken = 0;
  for (let i = 0; i < 10_000; i++) store.watch([watchKeys.service('web')], () => woken++);
  expect(store.watchedKeys).toBe(1);
  register(store, { Node: 'N', Service: service({ Service: 'api' }) });
  expect(woken).toBe(0);
  register(store, { Node: 'N', Service: service({ Service: 'Web' }) });
  expect(woken).toBe(10_000);
});
