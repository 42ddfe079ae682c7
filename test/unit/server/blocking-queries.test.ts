// Clients that watch as clients do: each asks again with the index it got. Whatever is written at the same time, each
// ends with what a plain read says, and came back only when its index had moved (reference/raft.md §6.3).
import {
  type Arbitrary,
  array,
  assert as assertProperty,
  asyncProperty,
  constant,
  constantFrom,
  integer,
  oneof,
  record,
} from 'fast-check';
import { expect, test } from 'vitest';
import { check, service } from '../state/helpers.ts';
import { type Single, singleServer } from './single.ts';

const nodeNames = ['n1', 'n2'];
const serviceNames = ['web', 'api'];
const keys = ['a', 'a/b', 'b'];

type Write =
  | { readonly op: 'service' | 'drop-service'; readonly node: string; readonly name: string; readonly port: number }
  | { readonly op: 'check'; readonly node: string; readonly status: string }
  | { readonly op: 'set' | 'delete'; readonly key: string; readonly value: number }
  | { readonly op: 'session'; readonly node: string };

const node = constantFrom(...nodeNames);
const value = integer({ min: 1, max: 2 });
const write: Arbitrary<Write> = oneof(
  record({
    op: constantFrom('service' as const, 'service' as const, 'drop-service' as const),
    node,
    name: constantFrom(...serviceNames),
    port: value,
  }),
  record({ op: constant('check' as const), node, status: constantFrom('passing', 'critical') }),
  record({ op: constantFrom('set' as const, 'set' as const, 'delete' as const), key: constantFrom(...keys), value }),
  record({ op: constant('session' as const), node }),
);

function send({ call }: Single, given: Write): Promise<unknown> {
  switch (given.op) {
    case 'service':
      return call('Catalog.Register', {
        Node: given.node,
        Address: '192.0.2.1',
        Service: service({ Service: given.name, Port: given.port }),
      });
    case 'drop-service':
      return call('Catalog.Deregister', { Node: given.node, ServiceID: given.name });
    case 'check':
      return call('Catalog.Register', {
        Node: given.node,
        Address: '192.0.2.1',
        Check: check({ Node: given.node, CheckID: 'c', Status: given.status }),
      });
    case 'set':
    case 'delete':
      return call('KVS.Apply', { Op: given.op, DirEnt: { Key: given.key, Value: Buffer.from([given.value]) } });
    case 'session':
      // A node that nobody has registered yet has no sessions: the refusal is an answer too.
      return call('Session.Apply', { Op: 'create', Session: { Node: given.node } }).catch(() => undefined);
  }
}

type Query = (single: Single, MinQueryIndex: number) => Promise<{ readonly Index: number }>;

const queries: Readonly<Record<string, Query>> = {
  nodes: ({ call }, MinQueryIndex) => call('Catalog.ListNodes', { MinQueryIndex }),
  services: ({ call }, MinQueryIndex) => call('Catalog.ListServices', { MinQueryIndex }),
  sessions: ({ call }, MinQueryIndex) => call('Session.List', { SessionID: '', MinQueryIndex }),
  all: ({ call }, MinQueryIndex) => call('KVS.List', { Key: '', MinQueryIndex }),
  ...Object.fromEntries(
    [...serviceNames, 'nowhere'].flatMap((ServiceName): [string, Query][] => [
      [
        `health ${ServiceName}`,
        ({ call }, MinQueryIndex) => call('Health.ServiceNodes', { ServiceName, MinQueryIndex }),
      ],
      [
        `catalog ${ServiceName}`,
        ({ call }, MinQueryIndex) => call('Catalog.ServiceNodes', { ServiceName, MinQueryIndex }),
      ],
    ]),
  ),
  ...Object.fromEntries(
    [...keys, 'none'].flatMap((Key): [string, Query][] => [
      [`key ${Key}`, ({ call }, MinQueryIndex) => call('KVS.Get', { Key, MinQueryIndex })],
      [`prefix ${Key}`, ({ call }, MinQueryIndex) => call('KVS.List', { Key, MinQueryIndex })],
    ]),
  ),
};

/** Lets everything that is ready happen; nothing here waits for a timer. */
const settle = (): Promise<void> => new Promise((done) => setImmediate(done));

const textOf = (reply: object): string =>
  JSON.stringify(reply, (_, item: unknown) => (typeof item === 'bigint' ? String(item) : item));

/** What it says. The index of an answer about nothing moves with the tables, and nobody need be told of that. */
const saidBy = ({ Index, ...said }: { readonly Index: number }): string => {
  const nothing = Object.values(said).some((part) => part === null || (Array.isArray(part) && part.length === 0));
  return nothing ? textOf(said) : `${Index}: ${textOf(said)}`;
};

class Watcher {
  readonly name: string;
  reply: { readonly Index: number } | undefined;
  returns = 0;
  readonly #query: Query;
  #ended = false;

  constructor(name: string, query: Query) {
    this.name = name;
    this.#query = query;
  }

  async run(single: Single): Promise<void> {
    while (!this.#ended) {
      const index = this.reply?.Index ?? 0;
      const reply = await this.#query(single, index).catch(() => undefined);
      if (reply === undefined) return;
      if (this.#ended) return;
      expect(reply.Index, `${this.name} came back with the index it had`).toBeGreaterThan(index);
      this.reply = reply;
      this.returns++;
    }
  }

  end(): void {
    this.#ended = true;
  }
}

test('watchers miss nothing, and come back only when their index has moved', async () => {
  await assertProperty(
    asyncProperty(
      array(array(write, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 }),
      async (batches) => {
        const single = singleServer();
        await single.server.start();
        const watchers = Object.entries(queries).map(([name, query]) => new Watcher(name, query));
        const failures: unknown[] = [];
        const runs = watchers.map((watcher) => watcher.run(single).catch((error: unknown) => failures.push(error)));
        await settle();
        for (const batch of batches) {
          const before = watchers.map(({ reply, returns }) => ({ index: reply!.Index, returns }));
          await Promise.all(batch.map((each) => send(single, each)));
          await settle();
          for (const [at, watcher] of watchers.entries()) {
            const { index, returns } = before[at]!;
            const now = await queries[watcher.name]!(single, 0);
            const about = `${watcher.name} after ${JSON.stringify(batch)}`;
            expect(saidBy(watcher.reply!), about).toBe(saidBy(now));
            expect(now.Index, `${about}: the index fell`).toBeGreaterThanOrEqual(index);
            // One return for each move at most, none without.
            expect(watcher.returns - returns, `${about}: returns`).toBeLessThanOrEqual(
              now.Index > index ? batch.length : 0,
            );
          }
        }
        for (const watcher of watchers) watcher.end();
        single.server.stop();
        await Promise.all(runs);
        expect(failures).toEqual([]);
      },
    ),
    { numRuns: 60 },
  );
});
