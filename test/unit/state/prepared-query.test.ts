// Stored queries: which one a name finds, what a template becomes, what may not be stored, what ends one.
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { CallError, namePrefixMatch, type PreparedQuery } from '../../../src/model/index.ts';
import { type Command, StateStore } from '../../../src/state/index.ts';
import { register } from './helpers.ts';

const dc = { Datacenter: 'dc1' };
const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const one = idOf(1);
const two = idOf(2);

let store: StateStore;
const apply = (command: Command): unknown => store.apply(store.lastIndex + 1, command);

type Given = Partial<Omit<PreparedQuery, 'Service' | 'Template'>> & {
  readonly Service?: Partial<PreparedQuery['Service']>;
  readonly Template?: Partial<PreparedQuery['Template']>;
};

function query(given: Given): PreparedQuery {
  return {
    ID: one,
    Name: '',
    Session: '',
    Token: '',
    DNS: { TTL: '' },
    CreateIndex: 0,
    ModifyIndex: 0,
    ...given,
    Template: { Type: '', Regexp: '', RemoveEmptyTags: false, ...given.Template },
    Service: {
      Service: 'web',
      Failover: { NearestN: 0, Datacenters: null },
      OnlyPassing: false,
      IgnoreCheckIDs: null,
      Near: '',
      Tags: null,
      NodeMeta: null,
      ServiceMeta: null,
      Connect: false,
      ...given.Service,
    },
  };
}

const template = (given: Given): PreparedQuery =>
  query({ ...given, Template: { Type: namePrefixMatch, ...given.Template } });
const set = (Query: PreparedQuery): unknown =>
  apply({ type: 'PreparedQuery', request: { ...dc, Op: 'create', Query } });
const resolved = (idOrName: string): string | undefined => store.queries.resolve(idOrName, 'alpha')?.Service.Service;

beforeEach(() => {
  store = new StateStore();
  register(store, { Node: 'n' });
});

describe('a name finds', () => {
  test('its own query before every template, in any letter case', () => {
    set(template({ ID: one, Name: 'geo-', Service: { Service: 'by-prefix' } }));
    set(query({ ID: two, Name: 'Geo-DB', Service: { Service: 'exact' } }));
    expect(resolved('geo-db')).toBe('exact');
    expect(resolved('GEO-other')).toBe('by-prefix');
    expect(resolved('other')).toBeUndefined();
  });

  test('a query by its id, but no template', () => {
    set(query({ ID: one, Name: 'a' }));
    set(template({ ID: two, Name: 'b' }));
    expect(resolved(one)).toBe('web');
    expect(() => resolved(two)).toThrow(
      new CallError('prepared query templates can only be resolved up by name, not by ID'),
    );
    expect(resolved(idOf(9))).toBeUndefined();
  });

  test('the template with the longest prefix', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 4 });
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 1 }), name, (prefixes, asked) => {
        store = new StateStore();
        for (const [i, Name] of prefixes.entries()) {
          set(template({ ID: idOf(i), Name, Service: { Service: `of-${Name}` } }));
        }
        const longest = prefixes
          .filter((prefix) => asked.startsWith(prefix))
          .toSorted((a, b) => b.length - a.length)
          .at(0);
        expect(resolved(asked)).toBe(longest === undefined ? undefined : `of-${longest}`);
      }),
    );
  });
});

describe('a template', () => {
  test('is filled in everywhere but in names of metadata', () => {
    set(
      template({
        Name: 'geo-',
        Template: { Regexp: '^geo-(.*?)-([^-]+)$', RemoveEmptyTags: true },
        Service: {
          Service: 'db-${match(1)}',
          Near: '${match(2)}',
          Tags: ['${match(9)}', '${name.suffix}', '!${agent.segment}'],
          IgnoreCheckIDs: ['${name.prefix}'],
          NodeMeta: { '${x}': '${name.full}' },
          ServiceMeta: { k: '$${name.full}' },
          Failover: { NearestN: 2, Datacenters: ['${match(2)}'] },
        },
      }),
    );
    expect(store.queries.resolve('geo-big-eu', 'alpha')).toMatchObject({
      ID: one,
      Name: 'geo-',
      Service: {
        Service: 'db-big',
        Near: 'eu',
        Tags: ['big-eu', '!alpha'],
        IgnoreCheckIDs: ['geo-'],
        NodeMeta: { '${x}': 'geo-big-eu' },
        ServiceMeta: { k: '${name.full}' },
        Failover: { NearestN: 2, Datacenters: ['eu'] },
      },
    });
    expect(store.queries.resolve('geo-', '')?.Service).toMatchObject({ Service: 'db-', Near: '', Tags: ['!'] });
    expect(store.queries.get(one).result?.Service.Service).toBe('db-${match(1)}');
  });

  test.each<readonly [Given, string]>([
    [{ Template: { Type: 'nope' } }, "Bad Template.Type 'nope'"],
    [{ Template: { Regexp: '(' } }, 'Bad Regexp: error parsing regexp: missing closing ): `(`'],
    [
      { Service: { Tags: ['a', '${'] } },
      "Bad format '${' in Service.Tags[1]: parse error at 1:3: expected an expression",
    ],
    [{ Service: { Near: '${nope}' } }, "Bad evaluation for '${nope}' in Service.Near: unknown variable accessed: nope"],
  ])('%j is refused: %s', (given, problem) => {
    expect(() => set(template({ Name: 'x', ...given }))).toThrow(
      new CallError(`failed compiling template: ${problem}`),
    );
    expect(store.queries.list().result).toEqual([]);
  });
});

test.each<readonly [string, PreparedQuery, string]>([
  ['a name that is taken', query({ ID: two, Name: 'TAKEN' }), "name 'TAKEN' aliases an existing query name"],
  ['the id of another query', query({ ID: two, Name: one }), `name '${one}' aliases an existing query ID`],
  ['an unknown session', query({ ID: two, Name: 'x', Session: two }), `invalid session "${two}"`],
  ['no id', query({ ID: '' }), 'Missing Query ID'],
  ['half an id', query({ ID: 'x' }), 'failed prepared query lookup: index error: UUID must be 36 characters'],
])('%s cannot be stored', (_, wanted, problem) => {
  set(query({ ID: one, Name: 'taken' }));
  expect(() => set(wanted)).toThrow(new CallError(problem));
  expect(store.queries.list().result).toMatchObject([{ ID: one }]);
});

test('there is one template for all names', () => {
  set(template({ ID: one }));
  expect(() => set(template({ ID: two }))).toThrow('a query template with an empty name already exists');
  set(template({ ID: one, Service: { Service: 'changed' } }));
  expect(resolved('anything')).toBe('changed');
});

test('an update keeps the index of creation and frees the old name', () => {
  set(query({ ID: one, Name: 'old' }));
  const created = store.lastIndex;
  apply({ type: 'PreparedQuery', request: { ...dc, Op: 'update', Query: query({ ID: one, Name: 'new' }) } });
  expect(store.queries.get(one)).toMatchObject({
    index: created + 1,
    result: { Name: 'new', CreateIndex: created, ModifyIndex: created + 1 },
  });
  expect(resolved('old')).toBeUndefined();
  expect(resolved('new')).toBe('web');
});

describe('a query goes', () => {
  const watched = (): { readonly woken: () => boolean } => {
    const keys: string[] = [];
    store.queries.get(one, keys);
    let woken = false;
    store.watch(keys, () => (woken = true));
    return { woken: () => woken };
  };

  test('when it is deleted, and wakes its watchers', () => {
    set(query({ Name: 'a' }));
    const { woken } = watched();
    set(query({ ID: two, Name: 'b' }));
    expect(woken()).toBe(false);
    apply({ type: 'PreparedQuery', request: { ...dc, Op: 'delete', Query: query({ ID: one }) } });
    expect(woken()).toBe(true);
    expect(store.queries.get(one)).toEqual({ index: store.lastIndex, result: undefined });
  });

  test('with its session, and only with that', () => {
    for (const ID of [one, two]) {
      apply({ type: 'Session', request: { ...dc, Op: 'create', Session: { ID, Node: 'n' } } });
    }
    set(query({ ID: one, Session: one }));
    set(query({ ID: two, Session: two }));
    const { woken } = watched();
    apply({ type: 'Session', request: { ...dc, Op: 'destroy', Session: { ID: one } } });
    expect(woken()).toBe(true);
    expect(store.queries.list()).toMatchObject({ index: store.lastIndex, result: [{ ID: two }] });
    apply({ type: 'Deregister', request: { ...dc, Node: 'n' } });
    expect(store.queries.list().result).toEqual([]);
  });
});
