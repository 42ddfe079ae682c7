import { beforeEach, describe, expect, test } from 'vitest';
import { type Intention, intentionPrecedence } from '../../../src/model/index.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
beforeEach(() => {
  single = singleServer();
});

function create(SourceName: string, DestinationName: string, Action = 'allow', more: Partial<Intention> = {}) {
  return single.call('Intention.Apply', {
    Op: 'create',
    Intention: { SourceName, DestinationName, Action, ...more },
  });
}

async function read(IntentionID: string): Promise<Intention> {
  return (await single.call('Intention.Get', { IntentionID })).Intentions[0]!;
}

async function match(Type: 'source' | 'destination', ...names: readonly string[]) {
  const Entries = names.map((Name) => ({ Namespace: 'default', Name }));
  const { Matches } = await single.call('Intention.Match', { Match: { Type, Entries } });
  return Matches.map((list) => list?.map(({ SourceName, DestinationName }) => `${SourceName}>${DestinationName}`));
}

async function allowed(SourceName: string, DestinationName: string): Promise<boolean> {
  const ends = { SourceNS: 'default', DestinationNS: 'default', SourceName, DestinationName };
  return (await single.call('Intention.Check', { Check: { ...ends, SourceType: 'consul' } })).Allowed;
}

test.each([
  ['default', 'a', 'default', 'b', 9],
  ['default', '*', 'default', 'b', 8],
  ['*', '*', 'default', 'b', 7],
  ['default', 'a', 'default', '*', 6],
  ['default', '*', 'default', '*', 5],
  ['*', '*', 'default', '*', 4],
  ['default', 'a', '*', '*', 3],
  ['default', '*', '*', '*', 2],
  ['*', '*', '*', '*', 1],
])('%s/%s => %s/%s has precedence %i', (SourceNS, SourceName, DestinationNS, DestinationName, precedence) => {
  expect(intentionPrecedence({ SourceNS, SourceName, DestinationNS, DestinationName })).toBe(precedence);
});

describe('creating', () => {
  test('fills in what is left out', async () => {
    const intention = await read(await create('web', 'db'));
    expect(intention).toMatchObject({ SourceNS: 'default', DestinationNS: 'default', SourceType: 'consul', Meta: {} });
    expect(intention).toMatchObject({ Precedence: 9, CreatedAt: intention.UpdatedAt });
    expect(intention.Hash).toHaveLength(32);
  });

  test.each([
    [{}, ['SourceName must be set', 'DestinationName must be set', "Action must be set to 'allow' or 'deny'"]],
    [
      { SourceName: 'a*', DestinationName: 'b', Action: 'deny' },
      ["SourceName: wildcard character '*' cannot be used with partial values"],
    ],
    [
      { SourceName: 'a', SourceNS: '*', DestinationName: 'b', Action: 'deny' },
      ['SourceName: exact value cannot follow wildcard namespace'],
    ],
    [
      { SourceName: 'a', DestinationName: 'b', Action: 'deny', SourceType: 'x' },
      ["SourceType must be set to 'consul'"],
    ],
    [
      { SourceName: 'a', DestinationName: 'b', Action: 'deny', Description: 'x'.repeat(513) },
      ['Description exceeds maximum length 512'],
    ],
    [
      { SourceName: 'a', DestinationName: 'b', Action: 'deny', Meta: { k: 'x'.repeat(513) } },
      ['Meta value for key "k" exceeds maximum length 512'],
    ],
  ])('%j is refused', async (intention, problems) => {
    const apply = single.call('Intention.Apply', { Op: 'create', Intention: intention });
    const head = problems.length === 1 ? '1 error' : `${problems.length} errors`;
    const lines = problems.map((problem) => `\t* ${problem}\n`).join('');
    await expect(apply).rejects.toThrow(`${head} occurred:\n${lines}\n`);
  });

  test('with an ID is refused', async () => {
    await expect(create('a', 'b', 'allow', { ID: 'x' })).rejects.toThrow('ID must be empty when creating');
  });

  test('a second one between the same services is refused and changes nothing', async () => {
    const id = await create('web', 'db');
    await expect(create('WEB', 'db', 'deny')).rejects.toThrow(
      `duplicate intention found: ALLOW default/web => default/db (ID: ${id}, Precedence: 9)`,
    );
    expect(single.store.intentions.list().result).toHaveLength(1);
  });
});

describe('updating', () => {
  test('keeps the time of creation and nothing else that is left out', async () => {
    const ID = await create('web', 'db', 'allow', { Description: 'd', Meta: { k: 'v' } });
    const before = await read(ID);
    await single.clock.advance(60_000);
    await single.call('Intention.Apply', {
      Op: 'update',
      Intention: { ID, SourceName: '*', DestinationName: 'db', Action: 'deny' },
    });
    const after = await read(ID);
    expect(after).toMatchObject({ Description: '', Meta: {}, Precedence: 8, CreatedAt: before.CreatedAt });
    expect(after.UpdatedAt > before.UpdatedAt).toBe(true);
    expect(after.CreateIndex).toBe(before.CreateIndex);
    expect(after.ModifyIndex).toBeGreaterThan(before.ModifyIndex);
    expect(after.Hash).not.toEqual(before.Hash);
  });

  test.each(['update', 'delete'] as const)('%s of an unknown one is refused', async (Op) => {
    const ID = 'eeeeeeee-0000-4000-8000-000000000002';
    const verb = Op === 'update' ? 'modify' : 'delete';
    await expect(single.call('Intention.Apply', { Op, Intention: { ID } })).rejects.toThrow(
      `Cannot ${verb} non-existent intention: '${ID}'`,
    );
  });
});

describe('reading', () => {
  beforeEach(async () => {
    await create('*', '*', 'deny');
    await create('web', '*', 'deny');
    await create('*', 'db', 'deny');
    await create('web', 'db');
  });

  test('matches list the most exact first, and null where nothing fits', async () => {
    expect(await match('destination', 'db', 'cache')).toEqual([
      ['web>db', '*>db', 'web>*', '*>*'],
      ['web>*', '*>*'],
    ]);
    expect(await match('source', 'web')).toEqual([['web>db', '*>db', 'web>*', '*>*']]);
    for (const { ID } of single.store.intentions.list().result) {
      await single.call('Intention.Apply', { Op: 'delete', Intention: { ID } });
    }
    expect(await match('source', 'web')).toEqual([undefined]);
  });

  test.each([
    ['web', 'db', true],
    ['api', 'db', false],
    ['web', 'cache', false],
  ])('%s may reach %s: %s', async (source, destination, may) => {
    expect(await allowed(source, destination)).toBe(may);
  });

  test('a filter narrows the list but not its index', async () => {
    const all = await single.call('Intention.List', {});
    const some = await single.call('Intention.List', { Filter: 'Action == allow' });
    expect(all.Intentions).toHaveLength(4);
    expect(some.Intentions).toHaveLength(1);
    expect(some.Index).toBe(all.Index);
  });

  test('without an intention everybody may', async () => {
    single = singleServer();
    expect(await allowed('a', 'b')).toBe(true);
  });

  test('a list that is waited for comes with the next change', async () => {
    const { Index } = await single.call('Intention.List', {});
    const waiting = single.call('Intention.List', { MinQueryIndex: Index });
    await create('a', 'b');
    expect((await waiting).Intentions).toHaveLength(5);
  });

  test('one that is not there is an error', async () => {
    const get = (IntentionID: string) => single.call('Intention.Get', { IntentionID });
    await expect(get('eeeeeeee-0000-4000-8000-000000000002')).rejects.toThrow('Intention not found');
    await expect(get('nonsense')).rejects.toThrow('index error: UUID must be 36 characters');
  });
});
