// Random commands against a naive model: what is answered, which indexes move, who is woken, which objects stay.
import {
  type Arbitrary,
  array,
  assert,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  property,
  record,
} from 'fast-check';
import { expect, test } from 'vitest';
import { CallError } from '../../../src/model/index.ts';
import { type Answer, type Command, StateStore } from '../../../src/state/index.ts';
import { check, service } from './helpers.ts';

const nodeNames = ['n1', 'n2', 'N3'];
const serviceNames = ['web', 'api'];
const statuses = ['passing', 'critical'];
const keys = ['', 'a', 'a/b', 'a/b/c', 'ab', 'b', '\u00ff'];

/** An id says its service and a check's id its owner, so no write moves a row from one list to another unseen. */
type Op =
  | { readonly op: 'node'; readonly node: string; readonly meta: string }
  | { readonly op: 'service'; readonly node: string; readonly name: string; readonly port: number }
  | { readonly op: 'check'; readonly node: string; readonly of: string; readonly status: string }
  | { readonly op: 'broken'; readonly node: string; readonly name: string }
  | { readonly op: 'drop-node' | 'drop-service' | 'drop-check'; readonly node: string; readonly name: string }
  | { readonly op: 'set' | 'delete' | 'delete-tree'; readonly key: string; readonly value: number }
  | { readonly op: 'cas' | 'delete-cas'; readonly key: string; readonly value: number; readonly fits: boolean };

const node = constantFrom(...nodeNames);
const name = constantFrom(...serviceNames);
const key = constantFrom(...keys.slice(1));
const value = integer({ min: 1, max: 2 });
const opArbitrary: Arbitrary<Op> = oneof(
  record({ op: constant('node' as const), node, meta: constantFrom('x', 'y') }),
  record({ op: constant('service' as const), node, name, port: value }),
  record({
    op: constant('check' as const),
    node,
    of: constantFrom('', ...serviceNames),
    status: constantFrom(...statuses),
  }),
  record({ op: constant('broken' as const), node, name }),
  record({ op: constantFrom('drop-node' as const, 'drop-service' as const, 'drop-check' as const), node, name }),
  record({ op: constantFrom('set' as const, 'delete' as const), key, value }),
  record({ op: constant('delete-tree' as const), key: constantFrom(...keys), value }),
  record({ op: constantFrom('cas' as const, 'delete-cas' as const), key, value, fits: boolean() }),
);

interface ModelNode {
  meta: string;
  readonly services: Map<string, number>;
  readonly checks: Map<string, string>;
}

interface Model {
  readonly nodes: Map<string, ModelNode>;
  readonly kv: Map<string, number>;
}

function commandOf(op: Op, store: StateStore, model: Model): Command {
  const dc = { Datacenter: 'dc1' };
  switch (op.op) {
    case 'node':
      return { type: 'Register', request: { ...dc, Node: op.node, Address: '192.0.2.1', NodeMeta: { m: op.meta } } };
    case 'service': {
      const Service = service({ Service: op.name, Port: op.port });
      return { type: 'Register', request: { ...dc, Node: op.node, Address: '', SkipNodeUpdate: true, Service } };
    }
    case 'check': {
      const Check = check({ Node: op.node, CheckID: `c-${op.of}`, ServiceID: op.of, Status: op.status });
      return { type: 'Register', request: { ...dc, Node: op.node, Address: '', SkipNodeUpdate: true, Check } };
    }
    case 'broken': {
      // Everything before the last check is fine, and must be taken back.
      const Checks = [
        check({ Node: op.node, CheckID: 'c-', Status: 'warning' }),
        check({ Node: op.node, CheckID: 'bad', ServiceID: 'nowhere' }),
      ];
      const Service = service({ Service: op.name, Port: 99 });
      return { type: 'Register', request: { ...dc, Node: op.node, Address: '198.51.100.1', Service, Checks } };
    }
    case 'drop-node':
      return { type: 'Deregister', request: { ...dc, Node: op.node } };
    case 'drop-service':
      return { type: 'Deregister', request: { ...dc, Node: op.node, ServiceID: op.name } };
    case 'drop-check': {
      const ids = [...(model.nodes.get(op.node)?.checks.keys() ?? [])];
      return { type: 'Deregister', request: { ...dc, Node: op.node, CheckID: ids[0] ?? 'none' } };
    }
    default: {
      const ModifyIndex = 'fits' in op && op.fits ? (store.kvGet(op.key).result?.[0]?.ModifyIndex ?? 0) : 1_000_000;
      const DirEnt = { Key: op.key, Value: Buffer.from([op.value]), ModifyIndex };
      return { type: 'KVS', request: { ...dc, Op: op.op, DirEnt } };
    }
  }
}

/** The same on the model; false when the command must fail. */
function applyToModel(op: Op, model: Model): boolean {
  const { nodes, kv } = model;
  const ensure = (): ModelNode => {
    const known = nodes.get('node' in op ? op.node : '');
    const entry = known ?? { meta: '', services: new Map<string, number>(), checks: new Map<string, string>() };
    if (known === undefined && 'node' in op) nodes.set(op.node, entry);
    return entry;
  };
  switch (op.op) {
    case 'node':
      ensure().meta = op.meta;
      return true;
    case 'service':
      ensure().services.set(op.name, op.port);
      return true;
    case 'check':
      if (op.of !== '' && nodes.get(op.node)?.services.has(op.of) !== true) return false;
      ensure().checks.set(`c-${op.of}`, op.status);
      return true;
    case 'broken':
      return false;
    case 'drop-node':
      nodes.delete(op.node);
      return true;
    case 'drop-service':
      nodes.get(op.node)?.services.delete(op.name);
      nodes.get(op.node)?.checks.delete(`c-${op.name}`);
      return true;
    case 'drop-check': {
      const first = [...(nodes.get(op.node)?.checks.keys() ?? [])][0];
      if (first !== undefined) nodes.get(op.node)!.checks.delete(first);
      return true;
    }
    case 'set':
      kv.set(op.key, op.value);
      return true;
    case 'cas':
      if (op.fits) kv.set(op.key, op.value);
      return true;
    case 'delete':
      kv.delete(op.key);
      return true;
    case 'delete-cas':
      if (op.fits) kv.delete(op.key);
      return true;
    case 'delete-tree':
      for (const stored of kv.keys()) if (stored.startsWith(op.key)) kv.delete(stored);
      return true;
  }
}

type Query = (store: StateStore, watch?: string[]) => Answer<unknown>;
const queries: Readonly<Record<string, Query>> = {
  nodes: (store, watch) => store.nodes(watch),
  services: (store, watch) => store.services(watch),
  any: (store, watch) => store.checksInState('any', watch),
  dump: (store, watch) => store.nodeDump(watch),
  ...Object.fromEntries(
    nodeNames.flatMap((name): [string, Query][] => [
      [`node ${name}`, (store, watch) => store.nodeServices(name.toLowerCase(), watch)],
      [`checks of node ${name}`, (store, watch) => store.nodeChecks(name, watch)],
      [`info of node ${name}`, (store, watch) => store.nodeInfo(name, watch)],
    ]),
  ),
  ...Object.fromEntries(
    [...serviceNames, 'never'].flatMap((name): [string, Query][] => [
      [`catalog ${name}`, (store, watch) => store.serviceNodes(name, watch)],
      [`health ${name}`, (store, watch) => store.serviceHealth(name.toUpperCase(), watch)],
      [`checks of service ${name}`, (store, watch) => store.serviceChecks(name, watch)],
    ]),
  ),
  ...Object.fromEntries(
    statuses.map((status): [string, Query] => [status, (store, watch) => store.checksInState(status, watch)]),
  ),
  ...Object.fromEntries(
    keys.flatMap((key): [string, Query][] => [
      [`key ${key}`, (store, watch) => store.kvGet(key, watch)],
      [`prefix ${key}`, (store, watch) => store.kvList(key, watch)],
      [`names ${key}`, (store, watch) => store.kvKeys(key, '/', watch)],
    ]),
  ),
};
/** Answers that stay the same object while they say the same. */
const kept = /^(catalog|health|key|nodes$|any$|passing$|checks)/;
/** Answers whose index, while they say something, moves for their own watchers only. */
const precise = /^(catalog|health|nodes$)/;
/** Answers whose index falls to 1 when what they are about vanishes (reference/http-api.md §4.2). */
const falls = /^node /;

function expectAnswers(store: StateStore, model: Model): void {
  const sorted = [...model.nodes].toSorted(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
  expect(store.nodes().result.map((row) => row.Node)).toEqual(sorted.map(([name]) => name));
  for (const name of serviceNames) {
    const expected = sorted.flatMap(([node, { services, checks }]) =>
      services.has(name)
        ? [[node, services.get(name), [checks.get('c-'), checks.get(`c-${name}`)].filter(Boolean)]]
        : [],
    );
    const health = store.serviceHealth(name).result;
    expect(health.map((row) => [row.Node.Node, row.Service.Port, row.Checks.map(({ Status }) => Status)])).toEqual(
      expected,
    );
    expect(store.serviceNodes(name).result.map((row) => [row.Node, row.ServicePort])).toEqual(
      expected.map(([node, port]) => [node, port]),
    );
  }
  for (const status of statuses) {
    const count = sorted.flatMap(([, { checks }]) => [...checks.values()].filter((has) => has === status)).length;
    expect(store.checksInState(status).result.length).toBe(count);
  }
  const entries = [...model.kv].toSorted(([a], [b]) => (a < b ? -1 : 1));
  expect((store.kvList('').result ?? []).map((entry) => [entry.Key, entry.Value?.[0]])).toEqual(entries);
}

function textOf(result: unknown): string {
  return JSON.stringify(result, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}

test('answers follow a simple model; a watcher misses nothing and is woken for nothing; indexes do not fall', () => {
  assert(
    property(array(opArbitrary, { minLength: 1, maxLength: 40 }), (ops) => {
      const store = new StateStore();
      // No log has a command at 1: that is the index of an answer about nothing.
      store.apply(1, { type: 'Tombstone', request: { Datacenter: 'dc1', Op: 'reap', ReapIndex: 0 } });
      const model: Model = { nodes: new Map(), kv: new Map() };
      for (const op of ops) {
        const woken = new Set<string>();
        const before = new Map<string, { readonly answer: Answer<unknown>; readonly text: string }>();
        const cancels = Object.entries(queries).map(([name, query]) => {
          const watch: string[] = [];
          const answer = query(store, watch);
          before.set(name, { answer, text: textOf(answer.result) });
          return store.watch(watch, () => woken.add(name));
        });
        const command = commandOf(op, store, model);
        const fine = applyToModel(op, model);
        const apply = (): unknown => store.apply(store.lastIndex + 1, command);
        if (fine) apply();
        else expect(apply).toThrow(CallError);
        for (const cancel of cancels) cancel();
        expect(store.watchedKeys).toBe(0);
        expectAnswers(store, model);
        for (const [name, query] of Object.entries(queries)) {
          const now = query(store);
          // Deleting a tree leaves one tombstone, above a deeper prefix; an older one below it may then be the newest
          // that this prefix sees, and the peer's index falls as well (reference/http-api.md §4.2).
          const deeper = /^(?:prefix|names) (.*)$/.exec(name)?.[1];
          if (op.op === 'delete-tree' && deeper?.startsWith(op.key) === true && deeper !== op.key) continue;
          const then = before.get(name)!;
          const changed = textOf(now.result) !== then.text;
          const moved = now.index !== then.answer.index;
          const about = `${name} at ${JSON.stringify(op)}`;
          if (changed) expect([moved, woken.has(name)], `missed: ${about}`).toEqual([true, true]);
          if (!fine) expect([moved, woken.has(name)], `moved by a failure: ${about}`).toEqual([false, false]);
          if (moved && precise.test(name) && then.text !== '[]') {
            expect(woken.has(name), `moved unseen: ${about}`).toBe(true);
          }
          if (woken.has(name)) expect(moved, `woken for nothing: ${about}`).toBe(true);
          if (!falls.test(name)) expect(now.index, `fell: ${about}`).toBeGreaterThanOrEqual(then.answer.index);
          if (fine && !changed && kept.test(name)) {
            expect(now.result === then.answer.result, `not kept: ${about}`).toBe(true);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});
