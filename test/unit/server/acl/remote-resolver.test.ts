// The rights of tokens as a client agent learns them: what it asks servers, what it remembers, what it does when none
// answers.
import { describe, expect, test } from 'vitest';
import {
  type ACLPolicy,
  type ACLRole,
  type ACLToken,
  CallError,
  emptyPolicy,
  emptyRole,
  emptyToken,
} from '../../../../src/model/index.ts';
import { createRemoteResolver, type RemoteAclSettings, type ServersCaller } from '../../../../src/server/index.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../../helpers/logger.ts';

const meta = { Index: 1, LastContact: 0, KnownLeader: true };
const settings: RemoteAclSettings = {
  enabled: true,
  defaultPolicy: 'deny',
  downPolicy: 'extend-cache',
  tokenTtlMs: 30_000,
  roleTtlMs: 30_000,
  policyTtlMs: 30_000,
};
const link = (ID: string) => ({ ID, Name: ID });

function world(parts: Partial<RemoteAclSettings> = {}) {
  const clock = new VirtualClock();
  const tokens = new Map<string, ACLToken>();
  const roles = new Map<string, ACLRole>();
  const policies = new Map<string, ACLPolicy>();
  const calls: string[] = [];
  const trouble: { error: Error | undefined; hold: Promise<void> } = { error: undefined, hold: Promise.resolve() };
  const answer = (method: string, request: Record<string, unknown>): unknown => {
    const found = <T>(table: ReadonlyMap<string, T>, ids: unknown): T[] =>
      (ids as string[]).flatMap((id) => table.get(id) ?? []);
    switch (method) {
      case 'ACL.TokenRead':
        expect(request).toMatchObject({ TokenIDType: 'secret', Token: request['TokenID'], AllowStale: true });
        return {
          ...meta,
          Token: tokens.get(request['TokenID'] as string) ?? null,
          Redacted: false,
          SourceDatacenter: request['TokenID'] === 'foreign' ? 'dc2' : 'dc1',
        };
      case 'ACL.RoleResolve':
        return { ...meta, Roles: found(roles, request['RoleIDs']) };
      case 'ACL.PolicyResolve':
        return { ...meta, Policies: found(policies, request['PolicyIDs']) };
      default:
        throw new Error(`unexpected ${method}`);
    }
  };
  const caller = {
    call: async (method: string, request: Record<string, unknown>) => {
      const ids = request['TokenID'] ?? request['RoleIDs'] ?? request['PolicyIDs'];
      calls.push(`${method} ${String(ids)}`);
      await trouble.hold;
      if (trouble.error !== undefined) throw trouble.error;
      return answer(method, request);
    },
  } as ServersCaller;
  const { logger, lines } = recordingLogger();
  const resolver = createRemoteResolver({
    caller,
    datacenter: 'dc1',
    clock,
    logger,
    settings: { ...settings, ...parts },
  });
  policies.set('p1', { ...emptyPolicy, ID: 'p1', Rules: 'key "a" { policy = "read" }' });
  policies.set('p2', { ...emptyPolicy, ID: 'p2', Rules: 'key "b" { policy = "write" }' });
  roles.set('r1', { ...emptyRole, ID: 'r1', Policies: [link('p2')] });
  tokens.set('secret', {
    ...emptyToken,
    AccessorID: 'accessor',
    SecretID: 'secret',
    Policies: [link('p1')],
    Roles: [link('r1')],
  });
  tokens.set('anonymous', { ...emptyToken, AccessorID: 'anon', SecretID: 'anonymous' });
  const may = async (right: 'key:read' | 'key:write', name: string, secret = 'secret') =>
    (await resolver.resolveToken(secret))?.may(right, name);
  return { clock, tokens, roles, policies, calls, trouble, resolver, lines, may };
}

const down = new CallError('No known Consul servers');

describe('rights', () => {
  test('come from policies, roles and their policies, each asked for once', async () => {
    const { may, calls } = world();
    expect([await may('key:read', 'a'), await may('key:write', 'a'), await may('key:write', 'b')]).toEqual([
      true,
      false,
      true,
    ]);
    expect(calls).toEqual(['ACL.TokenRead secret', 'ACL.RoleResolve r1', 'ACL.PolicyResolve p1,p2']);
  });

  test('are asked for by many at once with one question', async () => {
    const { may, calls } = world();
    await Promise.all(Array.from({ length: 20 }, () => may('key:read', 'a')));
    expect(calls).toHaveLength(3);
  });

  test('are asked for again when their time is over, and then are the new ones', async () => {
    const { clock, may, calls, policies } = world();
    expect(await may('key:write', 'a')).toBe(false);
    policies.set('p1', { ...emptyPolicy, ID: 'p1', ModifyIndex: 2, Rules: 'key "a" { policy = "write" }' });
    await clock.advance(29_000);
    expect(await may('key:write', 'a')).toBe(false);
    await clock.advance(2_000);
    expect(await may('key:write', 'a')).toBe(true);
    expect(calls).toHaveLength(6);
  });

  test('of tokens that share a policy need it once', async () => {
    const { may, calls, tokens } = world();
    tokens.set('other', { ...emptyToken, SecretID: 'other', Policies: [link('p1')] });
    await may('key:read', 'a');
    expect(await may('key:read', 'a', 'other')).toBe(true);
    expect(calls.slice(3)).toEqual(['ACL.TokenRead other']);
  });

  test('of nobody are those of the anonymous token', async () => {
    const { may, calls } = world();
    expect(await may('key:read', 'a', '')).toBe(false);
    expect(calls).toEqual(['ACL.TokenRead anonymous']);
  });

  test('are none where ACLs are off, here or at the servers', async () => {
    expect(await world({ enabled: false }).resolver.resolveToken('secret')).toBeNull();
    const { clock, resolver, trouble, calls } = world();
    trouble.error = new CallError('rpc error making call: ACL support disabled');
    expect(await resolver.resolveToken('secret')).toBeNull();
    await clock.advance(119_000);
    expect(await resolver.resolveToken('secret')).toBeNull();
    expect(calls).toHaveLength(1);
    trouble.error = undefined;
    await clock.advance(2_000);
    expect(await resolver.resolveToken('secret')).not.toBeNull();
  });
});

describe('there are no rights', () => {
  test.each(['allow', 'deny', 'manage'])('for the old word %s', async (word) => {
    const { resolver, calls } = world();
    await expect(resolver.resolveToken(word)).rejects.toThrow('Permission denied: Cannot resolve root ACL');
    expect(calls).toEqual([]);
  });

  test('for a token that is unknown, and for a while nobody is asked again', async () => {
    const { resolver, calls } = world();
    for (let i = 0; i < 3; i++) await expect(resolver.resolveToken('nobody')).rejects.toThrow(/^ACL not found$/);
    expect(calls).toEqual(['ACL.TokenRead nobody']);
  });

  test('for a token that was deleted, as soon as that is known', async () => {
    const { clock, resolver, trouble } = world();
    await resolver.resolveToken('secret');
    trouble.error = new CallError('rpc error making call: ACL not found');
    await clock.advance(31_000);
    await expect(resolver.resolveToken('secret')).rejects.toThrow('ACL not found');
    trouble.error = down;
    await expect(resolver.resolveToken('secret')).rejects.toThrow('ACL not found');
  });

  test('for a token whose time is over', async () => {
    const { clock, resolver, tokens } = world();
    const ExpirationTime = new Date(clock.wallMs() + 10_000).toISOString();
    tokens.set('short', { ...emptyToken, SecretID: 'short', ExpirationTime });
    expect(await resolver.resolveToken('short')).not.toBeNull();
    await clock.advance(11_000);
    await expect(resolver.resolveToken('short')).rejects.toThrow('ACL not found');
  });

  test('for a local token of another datacenter', async () => {
    const { resolver, tokens } = world();
    for (const SecretID of ['own', 'foreign']) tokens.set(SecretID, { ...emptyToken, SecretID, Local: true });
    expect(await resolver.resolveToken('own')).not.toBeNull();
    await expect(resolver.resolveToken('foreign')).rejects.toThrow(
      'Permission denied: This is a local token in datacenter "dc2"',
    );
  });
});

describe('while no server answers', () => {
  test.each([
    { downPolicy: 'extend-cache', known: true, unknown: false },
    { downPolicy: 'async-cache', known: true, unknown: false },
    { downPolicy: 'deny', known: false, unknown: false },
    { downPolicy: 'allow', known: true, unknown: true },
  ] as const)('$downPolicy: a known token may $known, an unknown one $unknown', async (row) => {
    const { clock, may, trouble, lines } = world({ downPolicy: row.downPolicy });
    await may('key:read', 'a');
    trouble.error = down;
    await clock.advance(31_000);
    expect(await may('key:read', 'a')).toBe(row.known);
    expect(await may('key:read', 'z', 'never seen')).toBe(row.unknown);
    expect(lines.some((line) => line.startsWith('ERROR Error resolving token'))).toBe(true);
  });

  test('a token never seen gets what the default policy says', async () => {
    const { may, trouble } = world({ defaultPolicy: 'allow' });
    trouble.error = down;
    expect(await may('key:write', 'a')).toBe(true);
  });

  test('what is known is good for another while, without asking each time', async () => {
    const { clock, may, trouble, calls } = world();
    await may('key:read', 'a');
    trouble.error = down;
    await clock.advance(31_000);
    await may('key:read', 'a');
    const asked = calls.length;
    await may('key:read', 'a');
    expect(calls).toHaveLength(asked);
  });

  test('async-cache answers at once and asks behind the answer', async () => {
    const { clock, may, trouble, policies } = world({ downPolicy: 'async-cache' });
    expect(await may('key:write', 'a')).toBe(false);
    policies.set('p1', { ...emptyPolicy, ID: 'p1', ModifyIndex: 2, Rules: 'key "a" { policy = "write" }' });
    await clock.advance(31_000);
    let release = (): void => undefined;
    trouble.hold = new Promise((resolve) => (release = resolve));
    expect(await may('key:write', 'a')).toBe(false);
    release();
    await clock.advance(1);
    expect(await may('key:write', 'a')).toBe(true);
  });
});

test('names the accessor of a token, and none of one that cannot be asked for', async () => {
  const { resolver, trouble } = world();
  expect(await resolver.accessorOf('secret')).toBe('accessor');
  expect(await resolver.accessorOf('')).toBe('anon');
  expect(await resolver.accessorOf('nobody')).toBe('');
  trouble.error = down;
  expect(await resolver.accessorOf('secret')).toBe('accessor');
  expect(await resolver.accessorOf('other')).toBe('');
});
