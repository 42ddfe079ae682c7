// Sessions: what begins and ends them, what becomes of their locks; random commands against a simple model.
import {
  array,
  assert,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  property,
  record,
  shuffledSubarray,
} from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { CallError, type SessionRequest, type TxnOp } from '../../../src/model/index.ts';
import { type Command, type SessionChange, StateStore } from '../../../src/state/index.ts';
import { check, register, service } from './helpers.ts';

const dc = { Datacenter: 'dc1' };
const idOf = (n: number): string => `00000000-0000-4000-8000-00000000000${n}`;
const one = idOf(1);
const two = idOf(2);

let store: StateStore;
let changes: SessionChange[];
const apply = (command: Command): unknown => store.apply(store.lastIndex + 1, command);
const create = (Session: SessionRequest['Session']): unknown =>
  apply({ type: 'Session', request: { ...dc, Op: 'create', Session: { ID: one, Node: 'n', ...Session } } });
const destroy = (ID: string): unknown => apply({ type: 'Session', request: { ...dc, Op: 'destroy', Session: { ID } } });
const kvs = (
  Op: 'set' | 'lock' | 'unlock' | 'delete' | 'delete-tree',
  Key: string,
  Session = '',
  value = 'v',
): unknown => apply({ type: 'KVS', request: { ...dc, Op, DirEnt: { Key, Session, Value: Buffer.from(value) } } });
const entry = (key: string) => store.kvGet(key).result?.[0];
const ids = (): readonly string[] => store.sessions().result.map(({ ID }) => ID);

beforeEach(() => {
  store = new StateStore();
  changes = [];
  store.onSessionChange((change) => changes.push(change));
  register(store, {
    Node: 'n',
    Service: service({ Service: 'web' }),
    Checks: [
      check({ Node: 'n', CheckID: 'node-check' }),
      check({ Node: 'n', CheckID: 'web-check', ServiceID: 'web' }),
      check({ Node: 'n', CheckID: 'bad', Status: 'critical' }),
    ],
  });
});

describe('creating', () => {
  test('fills in what is not given', () => {
    expect(create({})).toBe(one);
    expect(store.session(one.toUpperCase()).result).toEqual([
      {
        ID: one,
        Name: '',
        Node: 'n',
        LockDelay: 0,
        Behavior: 'release',
        TTL: '',
        NodeChecks: null,
        ServiceChecks: null,
        Checks: null,
        CreateIndex: 2,
        ModifyIndex: 2,
      },
    ]);
    expect(changes).toEqual([{ kind: 'created', session: store.session(one).result![0] }]);
  });

  test.each<[string, SessionRequest['Session'], string]>([
    ['no ID', { ID: '' }, 'Missing session ID'],
    ['an unknown node', { Node: 'nobody' }, 'Missing node registration'],
    ['an unknown behavior', { Behavior: 'explode' }, 'Invalid session behavior: explode'],
    ['an unknown node check', { NodeChecks: ['nope'] }, "Missing check 'nope' registration"],
    [
      'an unknown service check',
      { ServiceChecks: [{ ID: 'nope', Namespace: '' }] },
      "Missing check 'nope' registration",
    ],
    ['an unknown check in the old form', { Checks: ['nope'] }, "Missing check 'nope' registration"],
    ['a critical check', { NodeChecks: ['node-check', 'BAD'] }, "Check 'BAD' is in critical state"],
  ])('with %s is refused', (_, session, problem) => {
    expect(() => create(session)).toThrow(new CallError(problem));
    expect(ids()).toEqual([]);
    expect(changes).toEqual([]);
  });

  test('an unknown operation is refused', () => {
    const request = { ...dc, Op: 'jump' as never, Session: { ID: one } };
    expect(() => apply({ type: 'Session', request })).toThrow("Invalid Session operation 'jump'");
  });
});

describe('a session ends', () => {
  const statusOf = (Status: string, CheckID = 'node-check', ServiceID = ''): Command => ({
    type: 'Register',
    request: {
      ...dc,
      Node: 'N',
      Address: '',
      SkipNodeUpdate: true,
      Check: check({ Node: 'N', CheckID, ServiceID, Status }),
    },
  });
  const gone = (request: object): Command => ({ type: 'Deregister', request: { ...dc, Node: 'N', ...request } });

  test.each<[string, Command]>([
    ['a node check turns critical', statusOf('critical', 'NODE-CHECK')],
    ['a service check turns critical', statusOf('critical', 'web-check', 'web')],
    ['a check is removed', gone({ CheckID: 'node-check' })],
    ['the service of a check is removed', gone({ ServiceID: 'web' })],
    ['its node is removed', gone({})],
    ['it is destroyed', { type: 'Session', request: { ...dc, Op: 'destroy', Session: { ID: one } } }],
  ])('when %s', (_, command) => {
    create({ NodeChecks: ['node-check'], ServiceChecks: [{ ID: 'web-check', Namespace: '' }], LockDelay: 5e9 });
    kvs('lock', 'b', one);
    kvs('lock', 'a', one);
    const [session] = store.session(one).result!;
    // Names in another case are the same names.
    apply(command);
    expect(ids()).toEqual([]);
    expect([entry('a')?.Session, entry('a')?.LockIndex, entry('a')?.ModifyIndex]).toEqual(['', 1, store.lastIndex]);
    expect(changes.at(-1)).toEqual({ kind: 'ended', session, heldKeys: ['a', 'b'] });
  });

  test('when its node takes another name', () => {
    const ID = '01000000-0000-4000-8000-00000000000a';
    register(store, { Node: 'old', ID });
    create({ Node: 'old' });
    register(store, { Node: 'new', ID });
    expect(ids()).toEqual([]);
  });

  test('but not for a warning, nor for what it is not bound to', () => {
    create({ NodeChecks: ['node-check'] });
    register(store, { Node: 'n', Check: check({ Node: 'n', CheckID: 'node-check', Status: 'warning' }) });
    register(store, {
      Node: 'n',
      Check: check({ Node: 'n', CheckID: 'web-check', ServiceID: 'web', Status: 'critical' }),
    });
    register(store, { Node: 'm', Check: check({ Node: 'm', CheckID: 'node-check', Status: 'critical' }) });
    expect(ids()).toEqual([one]);
  });

  test('and what it held goes with it when it says so', () => {
    create({ Behavior: 'delete' });
    kvs('lock', 'mine', one);
    kvs('set', 'other');
    destroy(one);
    expect(store.kvKeys('', '').result).toEqual(['other']);
    expect(store.tombstones()).toEqual([{ Key: 'mine', ModifyIndex: store.lastIndex }]);
  });

  test('unknown ones are destroyed already, but a word is no ID', () => {
    const before = store.sessions().index;
    expect(destroy(two)).toBe(null);
    expect(store.sessions().index).toBe(before);
    expect(() => destroy('x')).toThrow('failed session lookup: index error: UUID must be 36 characters');
    expect(() => store.session('x')).toThrow('failed session lookup: index error: UUID must be 36 characters');
  });
});

describe('watchers of sessions', () => {
  test.each<[string, (store: StateStore, watch: string[]) => { readonly index: number }, boolean]>([
    ['all', (store, watch) => store.sessions(watch), true],
    ['one', (store, watch) => store.session(one, watch), true],
    ['another', (store, watch) => store.session(two, watch), false],
    ['its node', (store, watch) => store.nodeSessions('N', watch), true],
    ['another node', (store, watch) => store.nodeSessions('m', watch), false],
  ])('%s', (_, query, wakes) => {
    for (const step of [() => create({}), () => destroy(one)]) {
      const watch: string[] = [];
      const { index } = query(store, watch);
      let woken = false;
      const cancel = store.watch(watch, () => {
        woken = true;
      });
      step();
      cancel();
      expect([woken, query(store, []).index > index]).toEqual([wakes, true]);
    }
  });
});

describe('a lock', () => {
  beforeEach(() => {
    create({});
    create({ ID: two });
  });

  test('is taken, kept, given back and taken by the next', () => {
    const seen: unknown[] = [];
    const note = (outcome: unknown): unknown =>
      seen.push([outcome, entry('k')?.LockIndex, entry('k')?.Session, String(entry('k')?.Value)]);
    note(kvs('lock', 'k', one, 'a'));
    note(kvs('lock', 'k', two, 'b'));
    note(kvs('lock', 'k', one, 'c'));
    note(kvs('unlock', 'k', two, 'd'));
    note(kvs('unlock', 'k', one, 'e'));
    note(kvs('unlock', 'k', one, 'f'));
    note(kvs('lock', 'k', two, 'g'));
    note(kvs('set', 'k', '', 'h'));
    expect(seen).toEqual([
      [true, 1, one, 'a'],
      [false, 1, one, 'a'],
      [true, 1, one, 'c'],
      [false, 1, one, 'c'],
      [true, 1, '', 'e'],
      [false, 1, '', 'e'],
      [true, 2, two, 'g'],
      // A plain write keeps the holder and forgets the count.
      [null, 0, two, 'h'],
    ]);
  });

  test('taken again with the same value writes nothing', () => {
    kvs('lock', 'k', one);
    const { index } = store.kvGet('k');
    expect(kvs('lock', 'k', one)).toBe(true);
    expect(store.kvGet('k').index).toBe(index);
  });

  test.each([
    ['lock', '', 'missing session'],
    ['unlock', '', 'missing session'],
    ['lock', idOf(9), `invalid session "${idOf(9)}"`],
    ['lock', 'word', 'failed session lookup: index error: UUID must be 36 characters'],
  ] as const)('%s in the name of "%s" is refused', (op, session, problem) => {
    expect(() => kvs(op, 'k', session)).toThrow(new CallError(problem));
  });
});

// ---- random commands

const nodes = ['n1', 'n2'];
const checks = ['c1', 'c2'];
const keys = ['a', 'a/b', 'b'];
const sessions = [1, 2, 3].map(idOf);

type Op =
  | { readonly op: 'status'; readonly node: string; readonly check: string; readonly critical: boolean }
  | { readonly op: 'drop-check'; readonly node: string; readonly check: string }
  | { readonly op: 'drop-node'; readonly node: string }
  | {
      readonly op: 'create';
      readonly id: string;
      readonly node: string;
      readonly bound: string[];
      readonly erase: boolean;
    }
  | { readonly op: 'destroy'; readonly id: string }
  | {
      readonly op: 'lock' | 'unlock' | 'set' | 'delete';
      readonly key: string;
      readonly id: string;
      readonly value: number;
    };

const simpleOp = oneof(
  record({
    op: constant('status' as const),
    node: constantFrom(...nodes),
    check: constantFrom(...checks),
    critical: boolean(),
  }),
  record({ op: constant('drop-check' as const), node: constantFrom(...nodes), check: constantFrom(...checks) }),
  record({ op: constant('drop-node' as const), node: constantFrom(...nodes) }),
  record({
    op: constant('create' as const),
    id: constantFrom(...sessions),
    node: constantFrom(...nodes),
    bound: shuffledSubarray(checks),
    erase: boolean(),
  }),
  record({ op: constant('destroy' as const), id: constantFrom(...sessions) }),
  record({
    op: constantFrom(
      'lock' as const,
      'lock' as const,
      'lock' as const,
      'unlock' as const,
      'set' as const,
      'delete' as const,
    ),
    key: constantFrom(...keys),
    id: constantFrom(...sessions),
    value: integer({ min: 1, max: 2 }),
  }),
);

interface Model {
  /** node → check → critical. */
  readonly nodes: Map<string, Map<string, boolean>>;
  readonly sessions: Map<string, { readonly node: string; readonly bound: readonly string[]; readonly erase: boolean }>;
  readonly kv: Map<string, { readonly value: number; readonly lockIndex: number; readonly session: string }>;
}

function commandOf(op: Op): Command {
  switch (op.op) {
    case 'status': {
      const Check = check({ Node: op.node, CheckID: op.check, Status: op.critical ? 'critical' : 'passing' });
      return { type: 'Register', request: { ...dc, Node: op.node, Address: '192.0.2.1', Check } };
    }
    case 'drop-check':
      return { type: 'Deregister', request: { ...dc, Node: op.node, CheckID: op.check } };
    case 'drop-node':
      return { type: 'Deregister', request: { ...dc, Node: op.node } };
    case 'create': {
      const Behavior = op.erase ? 'delete' : 'release';
      const Session = { ID: op.id, Node: op.node, NodeChecks: op.bound, Behavior };
      return { type: 'Session', request: { ...dc, Op: 'create', Session } };
    }
    case 'destroy':
      return { type: 'Session', request: { ...dc, Op: 'destroy', Session: { ID: op.id } } };
    default: {
      const DirEnt = { Key: op.key, Value: Buffer.from([op.value]), Session: op.id };
      return { type: 'KVS', request: { ...dc, Op: op.op, DirEnt } };
    }
  }
}

/** @returns what the command answers; undefined when it must fail. */
function applyToModel(op: Op, model: Model): unknown {
  const end = (id: string): void => {
    const { erase } = model.sessions.get(id)!;
    model.sessions.delete(id);
    for (const [key, row] of [...model.kv]) {
      if (row.session !== id) continue;
      if (erase) model.kv.delete(key);
      else model.kv.set(key, { ...row, session: '' });
    }
  };
  const endThose = (which: (session: { node: string; bound: readonly string[] }) => boolean): void => {
    for (const [id, session] of [...model.sessions]) if (which(session)) end(id);
  };
  switch (op.op) {
    case 'status': {
      const found = model.nodes.get(op.node) ?? new Map<string, boolean>();
      model.nodes.set(op.node, found.set(op.check, op.critical));
      if (op.critical) endThose(({ node, bound }) => node === op.node && bound.includes(op.check));
      return null;
    }
    case 'drop-check':
      model.nodes.get(op.node)?.delete(op.check);
      endThose(({ node, bound }) => node === op.node && bound.includes(op.check));
      return null;
    case 'drop-node':
      model.nodes.delete(op.node);
      endThose(({ node }) => node === op.node);
      return null;
    case 'create': {
      const found = model.nodes.get(op.node);
      if (found === undefined || op.bound.some((id) => found.get(id) !== false)) return undefined;
      model.sessions.set(op.id, { node: op.node, bound: op.bound, erase: op.erase });
      return op.id;
    }
    case 'destroy':
      if (model.sessions.has(op.id)) end(op.id);
      return null;
    case 'lock': {
      if (!model.sessions.has(op.id)) return undefined;
      const { session = '', lockIndex = 0 } = model.kv.get(op.key) ?? {};
      if (session !== '' && session !== op.id) return false;
      const count = session === '' ? lockIndex + 1 : lockIndex;
      model.kv.set(op.key, { value: op.value, lockIndex: count, session: op.id });
      return true;
    }
    case 'unlock': {
      const row = model.kv.get(op.key);
      if (row?.session !== op.id) return false;
      model.kv.set(op.key, { value: op.value, lockIndex: row.lockIndex, session: '' });
      return true;
    }
    case 'set':
      model.kv.set(op.key, { value: op.value, lockIndex: 0, session: model.kv.get(op.key)?.session ?? '' });
      return null;
    case 'delete':
      model.kv.delete(op.key);
      return null;
  }
}

function expectModel(state: StateStore, model: Model): void {
  const rows = state.kvList('').result ?? [];
  expect(rows.map(({ Key, Value, LockIndex, Session }) => [Key, Value![0], LockIndex, Session])).toEqual(
    [...model.kv]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, row]) => [key, row.value, row.lockIndex, row.session]),
  );
  const known = state.sessions().result.map(({ ID }) => ID);
  expect(known).toEqual([...model.sessions.keys()].toSorted());
  for (const { Session } of rows) if (Session !== '') expect(known, 'a lock survived its session').toContain(Session);
  for (const node of nodes) {
    const expected = [...model.sessions].filter(([, session]) => session.node === node).map(([id]) => id);
    expect(state.nodeSessions(node).result.map(({ ID }) => ID)).toEqual(expected.toSorted());
  }
}

/** Operations of a transaction that the simple ones can be told as. */
function txnOpOf(op: Op): TxnOp | undefined {
  if (op.op !== 'lock' && op.op !== 'unlock' && op.op !== 'set' && op.op !== 'delete') {
    const command = commandOf(op);
    if (command.type !== 'Register') return undefined;
    return { Check: { Verb: 'set', Check: command.request.Check! } };
  }
  return { KV: { Verb: op.op, DirEnt: { Key: op.key, Value: Buffer.from([op.value]), Session: op.id } } };
}

test('locks follow a simple model, and none survives its session; a failed command changes nothing', () => {
  assert(
    property(array(simpleOp, { minLength: 1, maxLength: 60 }), (ops) => {
      const state = new StateStore();
      const alive = new Set<string>();
      state.onSessionChange(({ kind, session }) => {
        if (kind === 'created') alive.add(session.ID);
        else alive.delete(session.ID);
      });
      const model: Model = { nodes: new Map(), sessions: new Map(), kv: new Map() };
      for (const op of ops) {
        // The leader gives no ID twice.
        if (op.op === 'create' && model.sessions.has(op.id)) continue;
        const expected = applyToModel(op, model);
        const run = (): unknown => state.apply(state.lastIndex + 1, commandOf(op));
        if (expected === undefined) expect(run).toThrow(CallError);
        else expect(run()).toBe(expected);
        expectModel(state, model);
        expect([...alive].toSorted()).toEqual([...model.sessions.keys()].toSorted());
      }
    }),
    { numRuns: 400 },
  );
});

test('a transaction does what its operations do one by one, or nothing at all', () => {
  const groups = array(array(simpleOp, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 12 });
  assert(
    property(groups, (txns) => {
      const state = new StateStore();
      let model: Model = { nodes: new Map(), sessions: new Map(), kv: new Map() };
      for (const ops of txns) {
        const asTxn = ops.map(txnOpOf);
        if (asTxn.some((op) => op === undefined)) {
          // Sessions and deregistration are commands of their own.
          for (const op of ops) {
            if (op.op === 'create' && model.sessions.has(op.id)) continue;
            if (applyToModel(op, model) !== undefined) state.apply(state.lastIndex + 1, commandOf(op));
          }
          continue;
        }
        const next = structuredClone(model);
        const missing = ops.findIndex((op) => 'check' in op && !next.nodes.has(op.node));
        const outcomes = ops.map((op) => applyToModel(op, next));
        const fails = missing >= 0 || outcomes.some((outcome) => outcome === undefined || outcome === false);
        const before = JSON.stringify([state.sessions(), state.kvList('').index, state.checksInState('any')]);
        const { Errors, Results } = state.apply(state.lastIndex + 1, {
          type: 'Txn',
          request: { ...dc, Ops: asTxn as TxnOp[] },
        });
        expect([Errors !== null, Results === null]).toEqual([fails, fails]);
        if (fails) {
          expect(JSON.stringify([state.sessions(), state.kvList('').index, state.checksInState('any')])).toBe(before);
        } else {
          model = next;
        }
        expectModel(state, model);
      }
    }),
    { numRuns: 400 },
  );
});
