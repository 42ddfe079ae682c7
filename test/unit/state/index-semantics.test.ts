// The sequence of writes that was sent to the real server, and every index that moved with each: replayed as a table.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CallError, type KvOp, type TxnOp } from '../../../src/model/index.ts';
import { type Command, serviceDump, StateStore } from '../../../src/state/index.ts';

interface Step {
  readonly step: string;
  readonly request: { readonly method: string; readonly path: string; readonly body?: unknown } | null;
  readonly response?: unknown;
  readonly index_changes: Readonly<Record<string, number>>;
}
const recording = JSON.parse(
  readFileSync(new URL('../../fixtures/raft/index-semantics.json', import.meta.url), 'utf8'),
) as { readonly steps: readonly Step[] };

/** The recorded queries, and what the store says of them; no answer of the API has the index 0. */
const queries: Readonly<Record<string, (store: StateStore) => number>> = {
  nodes: (store) => store.nodes().index,
  services: (store) => store.services().index,
  svcA: (store) => store.serviceNodes('A').index,
  hA: (store) => store.serviceHealth('A').index,
  chkA: (store) => store.serviceChecks('A').index,
  nodeN: (store) => store.nodeServices('N').index,
  hnodeN: (store) => store.nodeChecks('N').index,
  any: (store) => store.checksInState('any').index,
  missing: (store) => store.serviceHealth('zzz').index,
  cmissing: (store) => store.serviceNodes('zzz').index,
  kvk: (store) => store.kvGet('k').index,
  kvp: (store) => store.kvList('p/').index,
  kvall: (store) => store.kvList('').index,
  kvkeys: (store) => store.kvKeys('p/', '').index,
  uin: (store) => store.nodeDump().index,
  sess: (store) => store.sessions().index,
  nsess: (store) => store.nodeSessions('N').index,
  ui: (store) => serviceDump(store, undefined).index,
  pq: (store) => Math.max(1, store.queries.list().index),
  coord: (store) => Math.max(1, store.coordinates.list().index),
  ceweb: (store) => Math.max(1, store.configEntries.list('service-defaults').index),
  last: (store) => store.lastIndex,
};

/** The command that the endpoint made of the request; a session's ID is the one it answered with. */
function commandOf(request: NonNullable<Step['request']>, response: unknown): Command {
  const url = new URL(request.path, 'http://localhost');
  const dc = { Datacenter: 'dc1' };
  if (url.pathname === '/v1/catalog/register') {
    const body = request.body as Record<string, unknown>;
    const checks = (body['Checks'] ?? []) as object[];
    return {
      type: 'Register',
      request: {
        Datacenter: 'dc1',
        ...body,
        Checks: checks.map((check) => ({ Node: body['Node'], ...check })),
      } as never,
    };
  }
  if (url.pathname === '/v1/catalog/deregister') {
    return { type: 'Deregister', request: { Datacenter: 'dc1', ...(request.body as { readonly Node: string }) } };
  }
  if (url.pathname === '/v1/session/create') {
    const { LockDelay, ...body } = request.body as { readonly LockDelay: string };
    const Session = {
      ...body,
      ...(response as { readonly ID: string }),
      LockDelay: Number.parseInt(LockDelay, 10) * 1e9,
    };
    return { type: 'Session', request: { ...dc, Op: 'create', Session } };
  }
  if (url.pathname.startsWith('/v1/session/destroy/')) {
    const ID = url.pathname.slice('/v1/session/destroy/'.length);
    return { type: 'Session', request: { ...dc, Op: 'destroy', Session: { ID } } };
  }
  if (url.pathname === '/v1/txn') return { type: 'Txn', request: { ...dc, Ops: (request.body as object[]).map(opOf) } };
  const cas = url.searchParams.get('cas');
  const session = url.searchParams.get('acquire') ?? url.searchParams.get('release');
  const plain = request.method === 'PUT' ? 'set' : url.searchParams.has('recurse') ? 'delete-tree' : 'delete';
  const compared = request.method === 'PUT' ? 'cas' : 'delete-cas';
  const locking = url.searchParams.has('acquire') ? 'lock' : 'unlock';
  const Op: KvOp = session !== null ? locking : cas === null ? plain : compared;
  const kvs = {
    ...dc,
    Op,
    DirEnt: {
      Key: url.pathname.slice('/v1/kv/'.length),
      Value: request.method === 'PUT' ? Buffer.from(request.body as string) : null,
      ...(cas === null ? {} : { ModifyIndex: Number(cas) }),
      ...(session === null ? {} : { Session: session }),
    },
  };
  return { type: 'KVS', request: kvs };
}

/** An operation of a transaction, with the fields that the endpoint fills in. */
function opOf(given: object): TxnOp {
  const [[kind, op]] = Object.entries(given) as [[string, Record<string, unknown>]];
  const record = op[kind] as object;
  return {
    [kind]: {
      ...op,
      [kind]: kind === 'Node' ? { ID: '', Datacenter: 'dc1', TaggedAddresses: null, Meta: null, ...record } : record,
    },
  };
}

const steps = recording.steps.slice(1);

describe('every index moves as it does on the real server', () => {
  const store = new StateStore();
  // What the recorded server had written before the first step: itself at 5, its agent's node metadata at 7.
  const self = { Datacenter: 'dc1', Node: 's1', Address: '127.0.0.1' };
  store.apply(5, {
    type: 'Register',
    request: {
      ...self,
      Service: { ID: 'consul', Service: 'consul' } as never,
      Check: { Node: 's1', CheckID: 'serfHealth', Status: 'passing' } as never,
    },
  });
  store.apply(7, { type: 'Register', request: { ...self, NodeMeta: { 'consul-network-segment': '' } } });
  const expected: Record<string, number> = {};
  const take = (changes: Readonly<Record<string, number>>): void => {
    for (const [name, index] of Object.entries(changes)) if (name in queries) expected[name] = index;
  };
  take(recording.steps[0]!.index_changes);

  test('the recording is there', () => {
    expect(steps.length).toBe(51);
    expect(Object.keys(expected).toSorted()).toEqual(Object.keys(queries).toSorted());
  });

  test.each(steps.map((step, at) => [at + 1, step.step, step] as const))('%i %s', (_, __, step) => {
    const logged = step.index_changes['last'];
    // What the endpoint refuses never reaches the log.
    if (logged !== undefined) {
      let outcome: unknown;
      try {
        const command = commandOf(step.request!, step.response);
        outcome = store.apply(logged, command) ?? true;
        if (command.type === 'Session' && command.request.Op === 'create') outcome = { ID: outcome };
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        outcome = error.message;
      }
      // Records hold more than their JSON shows.
      if (typeof step.response === 'object') expect(outcome).toMatchObject(step.response!);
      else expect(outcome).toBe(step.response);
    }
    take(step.index_changes);
    expect(Object.fromEntries(Object.entries(queries).map(([name, query]) => [name, query(store)]))).toEqual(expected);
  });
});
