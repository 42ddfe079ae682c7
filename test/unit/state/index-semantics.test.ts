// The sequence of writes that was sent to the real server, and every index that moved with each: replayed as a table.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CallError, type KVSRequest } from '../../../src/model/index.ts';
import { type Command, StateStore } from '../../../src/state/index.ts';

interface Step {
  readonly step: string;
  readonly request: { readonly method: string; readonly path: string; readonly body?: unknown } | null;
  readonly response?: unknown;
  readonly index_changes: Readonly<Record<string, number>>;
}
const recording = JSON.parse(
  readFileSync(new URL('../../fixtures/raft/index-semantics.json', import.meta.url), 'utf8'),
) as { readonly steps: readonly Step[] };

/** Recorded queries that the store answers; the others belong to tables that it does not have. */
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
  last: (store) => store.lastIndex,
};

function commandOf(request: NonNullable<Step['request']>): Command {
  const url = new URL(request.path, 'http://localhost');
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
  const cas = url.searchParams.get('cas');
  const plain = request.method === 'PUT' ? 'set' : url.searchParams.has('recurse') ? 'delete-tree' : 'delete';
  const compared = request.method === 'PUT' ? 'cas' : 'delete-cas';
  const kvs: KVSRequest = {
    Datacenter: 'dc1',
    Op: cas === null ? plain : compared,
    DirEnt: {
      Key: url.pathname.slice('/v1/kv/'.length),
      Value: request.method === 'PUT' ? Buffer.from(request.body as string) : null,
      ...(cas === null ? {} : { ModifyIndex: Number(cas) }),
    },
  };
  return { type: 'KVS', request: kvs };
}

/** Up to here the recording uses the catalog and KV only. */
const lastStep = recording.steps.findIndex(({ step }) => step === 'kv set after');
const steps = recording.steps.slice(1, lastStep + 1);

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
    expect(steps.length).toBe(39);
    expect(Object.keys(expected).toSorted()).toEqual(Object.keys(queries).toSorted());
  });

  test.each(steps.map((step, at) => [at + 1, step.step, step] as const))('%i %s', (_, __, step) => {
    const logged = step.index_changes['last'];
    // What the endpoint refuses never reaches the log.
    if (logged !== undefined) {
      let outcome: unknown;
      try {
        outcome = store.apply(logged, commandOf(step.request!)) ?? true;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        outcome = error.message;
      }
      expect(outcome).toBe(step.response);
    }
    take(step.index_changes);
    expect(Object.fromEntries(Object.entries(queries).map(([name, query]) => [name, query(store)]))).toEqual(expected);
  });
});
