// How the acl commands name, print and change what the API gives; whole conversations are replayed in test/golden.
import { afterEach, describe, expect, test } from 'vitest';
import { goTime, mergeBy, parseNodeIdentities, parseServiceIdentities } from '../../../src/cli/acl.ts';
import { CliError } from '../../../src/cli/command.ts';
import { formatAuthMethod } from '../../../src/cli/commands/acl-auth-method.ts';
import { formatBindingRule } from '../../../src/cli/commands/acl-binding-rule.ts';
import { formatRole } from '../../../src/cli/commands/acl-role.ts';
import { formatToken } from '../../../src/cli/commands/acl-token.ts';
import { type FakeAgent, fakeAgent } from './in-process.ts';

const id = (digit: string): string => '11111111-1111-1111-1111-111111111111'.replaceAll('1', digit);
const index = { CreateIndex: 5, ModifyIndex: 9 };

describe('identities', () => {
  test('of services: a name, and datacenters behind a colon', () => {
    expect(parseServiceIdentities(['web', 'db:dc1,dc2'])).toEqual([
      { ServiceName: 'web' },
      { ServiceName: 'db', Datacenters: ['dc1', 'dc2'] },
    ]);
    expect(() => parseServiceIdentities(['a:b:c'])).toThrow('Malformed -service-identity argument: "a:b:c"');
  });
  test('of nodes: a name and one datacenter', () => {
    expect(parseNodeIdentities(['n1:dc1'])).toEqual([{ NodeName: 'n1', Datacenter: 'dc1' }]);
    for (const text of ['n1', 'a:b:c']) expect(() => parseNodeIdentities([text])).toThrow(CliError);
  });
});

test('what is merged is there once, by ID or name', () => {
  const before = [{ ID: 'a', Name: 'one' }];
  const added = [{ Name: 'one' }, { ID: 'a' }, { Name: 'two' }];
  expect(mergeBy<{ ID?: string; Name?: string }>(before, added, ['ID', 'Name'])).toEqual([...before, { Name: 'two' }]);
});

test('times as Go prints them', () => {
  expect(goTime('2026-11-20T09:55:02.054507717Z')).toBe('2026-11-20 09:55:02.054507717 +0000 UTC');
  expect(goTime('2026-11-20T09:55:02+01:00')).toBe('2026-11-20 09:55:02+01:00');
});

test('a token with everything', () => {
  const token = {
    ...index,
    AccessorID: id('1'),
    SecretID: id('2'),
    Description: 'x',
    Local: true,
    AuthMethod: 'j',
    CreateTime: '2026-01-02T03:04:05Z',
    ExpirationTime: '2026-01-03T03:04:05Z',
    Hash: Buffer.from([1, 255]).toString('base64'),
    Policies: [{ ID: id('3'), Name: 'p' }],
    Roles: [{ ID: id('4'), Name: 'r' }],
    ServiceIdentities: [{ ServiceName: 'web', Datacenters: null }],
    NodeIdentities: [{ NodeName: 'n', Datacenter: 'dc1' }],
    Rules: 'key "" {}',
  };
  expect(formatToken(token, true)).toBe(`AccessorID:       ${id('1')}
SecretID:         ${id('2')}
Description:      x
Local:            true
Auth Method:      j
Create Time:      2026-01-02 03:04:05 +0000 UTC
Expiration Time:  2026-01-03 03:04:05 +0000 UTC
Hash:             01ff
Create Index:     5
Modify Index:     9
Policies:
   ${id('3')} - p
Roles:
   ${id('4')} - r
Service Identities:
   web (Datacenters: all)
Node Identities:
   n (Datacenter: dc1)
Rules:
key "" {}`);
});

test('roles, auth methods and binding rules, with their indexes', () => {
  expect(formatRole({ ...index, ID: 'i', Name: 'n', Description: '' }, true)).toBe(
    'ID:           i\nName:         n\nDescription:  \nCreate Index: 5\nModify Index: 9\n',
  );
  const method = {
    ...index,
    Name: 'j',
    Type: 'jwt',
    Description: 'd',
    MaxTokenTTL: '1h0m0s',
    Config: { a: { b: [1] } },
  };
  expect(formatAuthMethod(method, true)).toBe(
    'Name:          j\nType:          jwt\nDescription:   d\nMaxTokenTTL:   1h0m0s\nCreate Index:  5\nModify Index:  9\nConfig:\n{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}',
  );
  const rule = { ...index, ID: 'i', AuthMethod: 'j', Description: '', BindType: 'role', BindName: 'b', Selector: 's' };
  expect(formatBindingRule(rule, false)).toBe(
    'ID:           i\nAuthMethod:   j\nDescription:  \nBindType:     role\nBindName:     b\nSelector:     s\n',
  );
});

describe('against an agent', () => {
  let agent: FakeAgent;
  afterEach(() => agent.close());
  const tokens = [id('1'), id('2'), '11112222-0000-0000-0000-000000000000'].map((AccessorID) => ({ AccessorID }));

  test.each([
    ['1111', 'Partial token ID is not unique'],
    ['9', 'No such token ID with prefix: 9'],
  ])('the beginning %s of an ID: %s', async (text, problem) => {
    agent = await fakeAgent({ 'GET /v1/acl/tokens': { json: tokens } });
    expect(await agent.run(['acl', 'token', 'delete', `-id=${text}`])).toMatchObject({
      exit: 1,
      stderr: `Error determining token ID: ${problem}\n`,
    });
  });

  test('an update replaces what is granted, and keeps what it is told to merge', async () => {
    const before = {
      ...index,
      AccessorID: id('2'),
      SecretID: id('3'),
      Description: 'old',
      Local: false,
      CreateTime: '2026-01-02T03:04:05Z',
      Policies: [{ ID: id('4'), Name: 'p' }],
      NodeIdentities: [{ NodeName: 'n', Datacenter: 'dc1' }],
    };
    agent = await fakeAgent({
      'GET /v1/acl/tokens': { json: tokens },
      [`GET /v1/acl/token/${id('2')}`]: { json: before },
      [`PUT /v1/acl/token/${id('2')}`]: { json: before },
    });
    const words = ['acl', 'token', 'update', '-id=2222', '-policy-name=q', '-merge-policies', '-role-name=r'];
    expect((await agent.run(words)).exit).toBe(0);
    expect(JSON.parse(agent.asked.at(-1)!.body)).toMatchObject({
      Description: 'old',
      Policies: [{ ID: id('4'), Name: 'p' }, { Name: 'q' }],
      Roles: [{ Name: 'r' }],
      NodeIdentities: [],
      ServiceIdentities: [],
    });
  });

  test('a lifetime is sent in nanoseconds, a lifetime of an auth method as text', async () => {
    agent = await fakeAgent({});
    await agent.run(['acl', 'token', 'create', '-policy-name=p', '-expires-ttl=90m']);
    expect(JSON.parse(agent.asked[0]!.body)).toMatchObject({ ExpirationTTL: 5_400_000_000_000 });
    await agent.run(['acl', 'auth-method', 'create', '-name=j', '-type=jwt', '-max-token-ttl=90m', '-config={"a":1}']);
    expect(JSON.parse(agent.asked[1]!.body)).toMatchObject({ MaxTokenTTL: '1h30m0s', Config: { a: 1 } });
  });
});
