import { describe, expect, test } from 'vitest';
import { aclSyntax } from '../../../../src/model/index.ts';
import { parseRules, rulesBytesMax, translateRules } from '../../../../src/server/acl/rules.ts';

describe('the policy language', () => {
  test('reads exact names, prefixes and single resources from HCL', () => {
    const text = `
      acl = "read"
      operator = "write"
      key_prefix "a/" { policy = "list" }
      key "a/b" { policy = "DENY" }
      service "web" { policy = "write" intentions = "deny" }`;
    expect(parseRules(text)).toEqual({
      names: [
        { resource: 'key', match: 'exact', name: 'a/b', access: 'deny' },
        { resource: 'key', match: 'prefix', name: 'a/', access: 'list' },
        { resource: 'service', match: 'exact', name: 'web', access: 'write', intentions: 'deny' },
      ],
      singles: { acl: 'read', operator: 'write' },
    });
  });

  test.each([
    ['blocks', '{"node_prefix":{"":{"policy":"read"}},"keyring":"read"}'],
    ['lists of blocks', '{"node_prefix":[{"":[{"policy":"read"}]}],"keyring":"read"}'],
  ])('reads JSON with %s', (_, text) => {
    expect(parseRules(text)).toEqual({
      names: [{ resource: 'node', match: 'prefix', name: '', access: 'read' }],
      singles: { keyring: 'read' },
    });
  });

  test('names of keys are bytes', () => {
    expect(parseRules('key "ü" { policy = "read" }').names[0]?.name).toBe('\u00c3\u00bc');
  });

  test('in the old syntax every name is a prefix, and prefix blocks mean nothing', () => {
    const text = 'key "a" { policy = "read" } key_prefix "b" { policy = "write" }';
    expect(parseRules(text, aclSyntax.legacy).names).toEqual([
      { resource: 'key', match: 'prefix', name: 'a', access: 'read' },
    ]);
  });

  test.each([
    ['nonsense {', /^Failed to parse ACL rules: /],
    ['{"key":', /^Failed to parse ACL rules: /],
    ['key { policy = "read" }', /^Failed to parse ACL rules: key must be written as/],
    ['key "a" { policy = "maybe" }', /^Invalid key policy: "maybe" for "a"$/],
    ['key "a" { }', /^Invalid key policy: "" for "a"$/],
    ['service_prefix "" { policy = "list" }', /^Invalid service_prefix policy: /],
    ['service "a" { policy = "read" intentions = "x" }', /^Invalid service intentions policy: /],
    ['acl = "list"', /^Invalid acl policy: /],
    ['operator = 3', /^Invalid operator policy: 3$/],
    [`# ${'x'.repeat(rulesBytesMax)}`, /bytes, \d+ are allowed$/],
  ])('refuses %.40s', (text, expected) => {
    expect(() => parseRules(text)).toThrow(expected);
  });

  test('translates the old syntax', () => {
    const text = 'key "a" { policy = "read" }\nservice "" { policy = "write" }\noperator = "read"';
    expect(translateRules(text)).toBe(
      'key_prefix "a" {\n  policy = "read"\n}\n\nservice_prefix "" {\n  policy = "write"\n}\n\noperator = "read"',
    );
  });

  test('does not translate what is no rule text', () => {
    expect(() => translateRules('key {')).toThrow(/^Failed to parse ACL rules: /);
    expect(() => translateRules('key "a" { policy = "x" }')).toThrow(/^Invalid key policy/);
  });
});
