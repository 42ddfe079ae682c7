import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { aclSyntax } from '../../../../src/model/index.ts';
import { Authorizer, type DefaultPolicy, type NameRight } from '../../../../src/server/acl/authorizer.ts';
import { type Access, type NameRule, parseRules } from '../../../../src/server/acl/rules.ts';

const of = (defaultPolicy: DefaultPolicy, ...texts: readonly string[]): Authorizer =>
  new Authorizer(
    texts.map((text) => parseRules(text)),
    defaultPolicy,
  );

describe('an authorizer', () => {
  const rules = `
    key_prefix "kv/ro/" { policy = "read" } key_prefix "kv/rw/" { policy = "write" }
    key_prefix "kv/ls/" { policy = "list" } key "kv/rw/secret" { policy = "deny" } key "kv/exact" { policy = "write" }
    service "web" { policy = "write" } service_prefix "" { policy = "read" } service "hidden" { policy = "deny" }
    service "api" { policy = "read" intentions = "write" } operator = "read"`;
  const cases: readonly (readonly [NameRight, string, boolean])[] = [
    ['key:read', 'kv/ro/a', true],
    ['key:write', 'kv/ro/a', false],
    ['key:list', 'kv/ro/', false],
    ['key:list', 'kv/ls/', true],
    ['key:list', 'kv/rw/', true],
    ['key:write', 'kv/ls/a', false],
    ['key:read', 'kv/ls/a', true],
    ['key:write', 'kv/rw/a', true],
    ['key:read', 'kv/rw/secret', false],
    ['key:write', 'kv/rw/secret/more', true],
    ['key:write', 'kv/exact', true],
    ['key:write', 'kv/exact/sub', false],
    ['key:read', 'other', false],
    ['service:write', 'web', true],
    ['service:write', 'web2', false],
    ['service:read', 'web2', true],
    ['service:read', 'hidden', false],
    ['intention:read', 'web', true],
    ['intention:write', 'web', false],
    ['intention:write', 'api', true],
    ['intention:read', 'hidden', false],
    ['node:read', 'n', false],
  ];
  test.each(cases)('%s on %s: %s', (right, name, expected) => {
    expect(of('deny', rules).may(right, name)).toBe(expected);
  });

  test.each([
    ['allow', true],
    ['deny', false],
  ] as const)('default %s decides where no rule fits, never over ACLs', (defaultPolicy, expected) => {
    const authorizer = of(defaultPolicy);
    expect(authorizer.may('node:write', 'n')).toBe(expected);
    expect(authorizer.maySingle('operator:write')).toBe(expected);
    expect(authorizer.maySingle('keyring:read')).toBe(expected);
    expect(authorizer.maySingle('acl:read')).toBe(false);
    expect(authorizer.maySingle('acl:write')).toBe(false);
    expect(authorizer.mayWriteKeysUnder('')).toBe(expected);
  });

  test('single rights: write includes read, deny wins over the default', () => {
    expect(of('deny', 'acl = "write"').maySingle('acl:read')).toBe(true);
    expect(of('deny', 'acl = "read"').maySingle('acl:write')).toBe(false);
    expect(of('allow', 'operator = "deny"').maySingle('operator:read')).toBe(false);
  });

  test.each([
    ['deny', 'write'],
    ['write', 'list'],
    ['list', 'read'],
  ] as const)('of two policies about the same, %s wins over %s, in either order', (strong, weak) => {
    const one = `key "a" { policy = "${strong}" }`;
    const other = `key "a" { policy = "${weak}" }`;
    for (const authorizer of [of('deny', one, other), of('deny', other, one)]) {
      expect(authorizer.may('key:read', 'a')).toBe(strong !== 'deny');
      expect(authorizer.may('key:list', 'a')).toBe(strong !== 'deny');
      expect(authorizer.may('key:write', 'a')).toBe(strong === 'write');
    }
  });

  test('what one policy says about intentions stands beside what another says about the service', () => {
    const authorizer = of(
      'deny',
      'service "a" { policy = "deny" }',
      'service "a" { policy = "read" intentions = "write" }',
    );
    expect(authorizer.may('service:read', 'a')).toBe(false);
    expect(authorizer.may('intention:write', 'a')).toBe(true);
  });

  test('intentions of all services: any right reads them, only the right over all writes them', () => {
    expect(of('deny', 'service "a" { policy = "read" }').may('intention:read', '*')).toBe(true);
    expect(of('deny', 'service "a" { policy = "read" intentions = "write" }').may('intention:write', '*')).toBe(false);
    const all = 'service_prefix "" { policy = "read" intentions = "write" }';
    expect(of('deny', all).may('intention:write', '*')).toBe(true);
    expect(of('deny', all, 'service "a" { policy = "read" }').may('intention:write', '*')).toBe(false);
    expect(of('allow', 'service_prefix "" { policy = "deny" }').may('intention:read', '*')).toBe(false);
  });

  test.each([
    ['key_prefix "a/" { policy = "write" }', 'a/', true],
    ['key_prefix "a/" { policy = "write" }', 'a/b/', true],
    ['key_prefix "a/" { policy = "write" }', 'a', false],
    ['key_prefix "a/" { policy = "write" } key "a/x" { policy = "deny" }', 'a/', false],
    ['key_prefix "a/" { policy = "write" } key_prefix "a/x" { policy = "read" }', 'a/', false],
    ['key_prefix "a/" { policy = "write" } key "a/x" { policy = "write" }', 'a/', true],
    ['key "a/" { policy = "write" }', 'a/', false],
  ])('%s: deleting everything under %s: %s', (text, prefix, expected) => {
    expect(of('deny', text).mayWriteKeysUnder(prefix)).toBe(expected);
  });

  test('keeps a narrowed list beside the list, and the list itself when all of it is visible', () => {
    const authorizer = of('deny', 'node "a" { policy = "read" }');
    const rows = ['a', 'b'];
    const visible = (name: string): boolean => authorizer.may('node:read', name);
    expect(authorizer.keep(rows, visible)).toEqual(['a']);
    expect(authorizer.keep(rows, visible)).toBe(authorizer.keep(rows, visible));
    const all = ['a'];
    expect(authorizer.keep(all, visible)).toBe(all);
  });

  const access = fc.constantFrom<Access>('deny', 'read', 'list', 'write');
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 4 });
  const rule = fc.record({
    resource: fc.constant('key' as const),
    match: fc.constantFrom('exact' as const, 'prefix' as const),
    name,
    access,
  });
  /** The rules that decide about a name, told the slow way. */
  const deciding = (rules: readonly NameRule[], asked: string): readonly NameRule[] => {
    const exact = rules.filter((one) => one.match === 'exact' && one.name === asked);
    if (exact.length > 0) return exact;
    const prefixes = rules.filter((one) => one.match === 'prefix' && asked.startsWith(one.name));
    const longest = Math.max(...prefixes.map((one) => one.name.length));
    return prefixes.filter((one) => one.name.length === longest);
  };

  test('never grants more than its rules', () => {
    fc.assert(
      fc.property(fc.array(fc.array(rule, { maxLength: 6 }), { maxLength: 3 }), name, (policies, asked) => {
        const authorizer = new Authorizer(
          policies.map((names) => ({ names, singles: {} })),
          'deny',
        );
        const found = deciding(policies.flat(), asked);
        const granted = (wanted: readonly Access[]): boolean =>
          found.every((one) => one.access !== 'deny') && found.some((one) => wanted.includes(one.access));
        expect(authorizer.may('key:write', asked)).toBe(granted(['write']));
        expect(authorizer.may('key:list', asked)).toBe(granted(['write', 'list']));
        expect(authorizer.may('key:read', asked)).toBe(granted(['write', 'list', 'read']));
      }),
    );
  });

  test('deleting under a prefix is never granted where one key under it may not be written', () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 6 }), name, name, (names, prefix, rest) => {
        const authorizer = new Authorizer([{ names, singles: {} }], 'deny');
        fc.pre(authorizer.mayWriteKeysUnder(prefix));
        expect(authorizer.may('key:write', prefix + rest)).toBe(true);
      }),
    );
  });

  test('a rule more never gives rights that it does not name', () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 6 }), rule, name, (names, added, asked) => {
        const before = new Authorizer([{ names, singles: {} }], 'deny');
        const after = new Authorizer([{ names: [...names, added], singles: {} }], 'deny');
        fc.pre(!(added.match === 'exact' ? asked === added.name : asked.startsWith(added.name)));
        expect(after.may('key:read', asked)).toBe(before.may('key:read', asked));
      }),
    );
  });

  test('rules of the old syntax give what their translation gives', () => {
    const legacy = new Authorizer([parseRules('service "a" { policy = "write" }', aclSyntax.legacy)], 'deny');
    expect(legacy.may('service:write', 'abc')).toBe(true);
    expect(legacy.may('service:write', 'b')).toBe(false);
  });
});
