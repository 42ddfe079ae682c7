// The checker accepts what one object could have done, and rejects every planted violation.
import { array, assert, boolean, constantFrom, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type KvInput, kvModel, type KvOutput, type KvPair, type KvState } from '../../chaos/support/kv-model.ts';
import { checkHistory, type Operation } from '../../chaos/support/linearizability.ts';

type KvHistory = readonly Operation<KvInput, KvOutput>[];

const pair = (value: string, index: number, lock: Partial<KvPair> = {}): KvOutput => ({
  pair: { value, session: '', lockIndex: 0, ...lock, index },
});
const none: KvOutput = { pair: null };
const done: KvOutput = { done: true };
const refused: KvOutput = { done: false };
const op = (startMs: number, endMs: number, input: KvInput, output: KvOutput | undefined) => ({
  startMs,
  endMs,
  input,
  output,
});
const unknown = (startMs: number, input: KvInput) => op(startMs, Number.POSITIVE_INFINITY, input, undefined);
const get = { kind: 'get' } as const;
const set = (value: string): KvInput => ({ kind: 'set', value });
const cas = (index: number, value: string): KvInput => ({ kind: 'cas', index, value });
const acquire = (session: string, value: string): KvInput => ({ kind: 'acquire', session, value });
const release = (session: string, value: string): KvInput => ({ kind: 'release', session, value });
const remove = { kind: 'delete' } as const;

const good: Readonly<Record<string, KvHistory>> = {
  nothing: [],
  'reads of an absent key': [op(0, 1, get, none), op(2, 3, remove, done), op(4, 5, get, none)],
  'a read during a write sees either': [
    op(0, 10, set('a'), done),
    op(1, 2, get, none),
    op(3, 4, get, pair('a', 7)),
    op(5, 6, get, pair('a', 7)),
  ],
  'writes that overlap come in either order': [
    op(0, 10, set('a'), done),
    op(0, 10, set('b'), done),
    op(11, 12, get, pair('a', 9)),
  ],
  'a write without an answer was done late': [
    unknown(0, set('a')),
    op(1, 2, get, none),
    op(3, 4, set('b'), done),
    op(5, 6, get, pair('b', 3)),
    op(7, 8, get, pair('a', 4)),
  ],
  'a write without an answer was never done': [unknown(0, set('a')), op(1, 2, get, none), op(9, 10, get, none)],
  'of two that compare with the same index, one is done': [
    op(0, 1, set('a'), done),
    op(2, 3, get, pair('a', 5)),
    op(4, 9, cas(5, 'b'), refused),
    op(4, 9, cas(5, 'c'), done),
    op(10, 11, get, pair('c', 8)),
  ],
  'a cas of an absent key': [op(0, 1, cas(0, 'a'), done), op(2, 3, cas(0, 'b'), refused)],
  'a lock goes from hand to hand': [
    op(0, 1, acquire('s', 'a'), done),
    op(2, 3, acquire('t', 'b'), refused),
    op(4, 5, get, pair('a', 5, { session: 's', lockIndex: 1 })),
    op(6, 7, acquire('s', 'c'), done),
    op(8, 9, release('s', 'd'), done),
    op(10, 11, release('s', 'e'), refused),
    op(12, 13, acquire('t', 'f'), done),
    op(14, 15, get, pair('f', 9, { session: 't', lockIndex: 2 })),
  ],
  'a set leaves the lock and forgets its count': [
    op(0, 1, acquire('s', 'a'), done),
    op(2, 3, set('b'), done),
    op(4, 5, get, pair('b', 5, { session: 's' })),
  ],
};

const bad: Readonly<Record<string, KvHistory>> = {
  'an acknowledged write is lost': [op(0, 1, set('a'), done), op(2, 3, get, none)],
  'a read goes back in time': [op(0, 10, set('a'), done), op(1, 2, get, pair('a', 5)), op(3, 4, get, none)],
  'a stale read': [op(0, 1, set('a'), done), op(2, 3, set('b'), done), op(4, 5, get, pair('a', 5))],
  'readers disagree about the order of two writes': [
    op(0, 20, set('a'), done),
    op(0, 20, set('b'), done),
    op(1, 2, get, pair('a', 5)),
    op(3, 4, get, pair('b', 6)),
    op(5, 6, get, pair('a', 5)),
  ],
  'a value that nobody wrote': [op(0, 1, set('a'), done), op(2, 3, get, pair('x', 5))],
  'a write without an answer is done twice': [
    unknown(0, set('a')),
    op(1, 2, get, pair('a', 3)),
    op(3, 4, set('b'), done),
    op(5, 6, get, pair('a', 7)),
  ],
  'two that compare with the same index are both done': [
    op(0, 1, set('a'), done),
    op(2, 3, get, pair('a', 5)),
    op(4, 9, cas(5, 'b'), done),
    op(4, 9, cas(5, 'c'), done),
  ],
  'a cas is refused though nothing changed': [
    op(0, 1, set('a'), done),
    op(2, 3, get, pair('a', 5)),
    op(4, 5, cas(5, 'b'), refused),
  ],
  'a lock with two owners': [op(0, 1, acquire('s', 'a'), done), op(2, 3, acquire('t', 'b'), done)],
  'a lock is refused though it is free': [op(0, 1, acquire('s', 'a'), refused)],
  'somebody else releases a lock': [op(0, 1, acquire('s', 'a'), done), op(2, 3, release('t', 'b'), done)],
  'one state with two indexes': [op(0, 1, set('a'), done), op(2, 3, get, pair('a', 5)), op(4, 5, get, pair('a', 6))],
  'an index goes down': [
    op(0, 1, set('a'), done),
    op(2, 3, get, pair('a', 5)),
    op(4, 5, set('b'), done),
    op(6, 7, get, pair('b', 4)),
  ],
  'a lock count that is not counted': [
    op(0, 1, acquire('s', 'a'), done),
    op(2, 3, get, pair('a', 5, { session: 's', lockIndex: 2 })),
  ],
  'a deleted key comes back': [op(0, 1, set('a'), done), op(2, 3, remove, done), op(4, 5, get, pair('a', 5))],
};

describe('the checker of histories', () => {
  test.each(Object.entries(good))('accepts: %s', (_, history) => {
    expect(checkHistory(kvModel, history)).toEqual({ kind: 'linearizable' });
  });

  test.each(Object.entries(bad))('rejects: %s', (_, history) => {
    expect(checkHistory(kvModel, history)).toMatchObject({ kind: 'violation' });
  });

  test('gives up at its limit', () => {
    const history = Array.from({ length: 20 }, (_, at) => op(0, 100, set(`v${at}`), done));
    const impossible = [...history, op(101, 102, get, none)];
    expect(checkHistory(kvModel, impossible, 1_000)).toEqual({ kind: 'undecided' });
  });

  const sessions = constantFrom('s', 't');
  const commands = array(
    record({
      kind: constantFrom('get', 'get', 'set', 'cas', 'delete', 'acquire', 'release'),
      session: sessions,
      /** How long before and after the moment of its effect it was under way. */
      before: integer({ min: 0, max: 30 }),
      after: integer({ min: 0, max: 30 }),
      lost: boolean(),
    }),
    { maxLength: 60 },
  );

  /** What one object does, each operation at its own moment, told by clients that overlap. */
  const played = commands.map((list) => {
    let state: KvState & { readonly at: number } = { ...kvModel.initial, at: 0 };
    let seenIndex = 0;
    const history: Operation<KvInput, KvOutput>[] = [];
    list.forEach(({ kind, session, before, after, lost }, at) => {
      const value = `v${at}`;
      const moment = at * 10;
      const input: KvInput =
        kind === 'get' || kind === 'delete'
          ? { kind }
          : kind === 'set'
            ? { kind, value }
            : kind === 'cas'
              ? { kind, index: seenIndex, value }
              : { kind, session, value };
      // The object itself knows the index of its state.
      const knows = { ...state, index: state.value === null ? undefined : state.at };
      let output: KvOutput;
      if (kind === 'get') {
        const { value, session, lockIndex } = state;
        output = { pair: value === null ? null : { value, session, lockIndex, index: state.at } };
      } else {
        const next = kvModel.step(knows, input, { done: true });
        output = { done: next !== undefined };
        if (next !== undefined) state = { ...next, at: at + 1 };
      }
      const startMs = kind === 'cas' ? moment : moment - before;
      if (kind === 'get') seenIndex = state.value === null ? 0 : state.at;
      // A client knows what it has read: a read ends before the cas that uses it.
      const endMs = kind === 'get' ? moment : moment + after;
      history.push(lost && kind !== 'get' ? unknown(startMs, input) : op(startMs, endMs, input, output));
    });
    return history;
  });

  test('accepts whatever one object did', () => {
    assert(
      property(played, (history) => {
        expect(checkHistory(kvModel, history)).toEqual({ kind: 'linearizable' });
      }),
    );
  });

  test('rejects whatever one object did, and then a read of something else', () => {
    assert(
      property(played, (history) => {
        const after = history.length * 10 + 1_000;
        const spoilt = [...history, op(after, after + 1, get, pair('nobody', 1_000_000))];
        expect(checkHistory(kvModel, spoilt)).toMatchObject({ kind: 'violation' });
      }),
      { numRuns: 30 },
    );
  });
});
