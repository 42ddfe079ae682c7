// Expressions and answers of the recorded conversations (golden/http/filter-*.json), without the HTTP around them.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileFilter, FilterError } from '../../../src/codec/index.ts';
import type { FilterFields } from '../../../src/model/index.ts';
import {
  checkServiceNodeFilterFields,
  healthCheckFilterFields,
  intentionFilterFields,
  nodeFilterFields,
  nodeServiceFilterFields,
  serviceNodeFilterFields,
} from '../../../src/model/index.ts';

const selected = (expression: string, fields: FilterFields, records: Readonly<Record<string, object>>): string[] => {
  const filter = compileFilter(expression, fields);
  return Object.keys(records).filter((name) => filter(records[name]!));
};

const serviceNodes = {
  f1: {
    Node: 'flt-1',
    Datacenter: 'dc1',
    NodeMeta: { os: 'linux' },
    ServiceTags: ['a', 'b'],
    ServicePort: 80,
    ServiceMeta: { env: 'prod', 'my-key': 'dash' },
    ServiceWeights: { Passing: 1, Warning: 1 },
    ServiceEnableTagOverride: false,
    ServiceConnect: {},
    ServiceKind: '',
    ServiceAddress: '',
  },
  f2: {
    Node: 'flt-2',
    Datacenter: 'dc1',
    NodeMeta: { os: 'bsd' },
    ServiceTags: ['b'],
    ServicePort: 81,
    ServiceMeta: { env: 'dev' },
    ServiceWeights: { Passing: 1, Warning: 1 },
    ServiceEnableTagOverride: true,
    ServiceConnect: {},
    ServiceKind: '',
    ServiceAddress: '',
  },
  f3: {
    Node: 'flt-3',
    Datacenter: 'dc1',
    NodeMeta: null,
    ServiceTags: [],
    ServicePort: 82,
    ServiceMeta: {},
    ServiceWeights: { Passing: 7, Warning: 1 },
    ServiceEnableTagOverride: false,
    ServiceConnect: {},
    ServiceKind: '',
    ServiceAddress: '',
  },
};

const entries = {
  n1: {
    Node: { Node: 'fn-1' },
    Service: { ID: 'n1', Proxy: { MeshGateway: {}, Expose: {} }, Connect: {} },
    Checks: [
      { Name: 'a', Status: 'critical' },
      { Name: 'b', Status: 'passing' },
    ],
  },
  n2: {
    Node: { Node: 'fn-2' },
    Service: { ID: 'n2', Proxy: { MeshGateway: {}, Expose: {} }, Connect: {} },
    Checks: [],
  },
  n3: {
    Node: { Node: 'fn-3' },
    Service: {
      ID: 'n3',
      Kind: 'connect-proxy',
      TaggedAddresses: { lan: { Address: '192.0.2.1', Port: 5 } },
      Connect: {},
      Proxy: {
        DestinationServiceName: 'fn-app',
        Upstreams: [
          { DestinationName: 'u1', LocalBindPort: 5 },
          { DestinationName: 'u2', LocalBindPort: 6 },
        ],
        MeshGateway: {},
        Expose: {},
      },
    },
    Checks: [{ Name: 'a', Status: 'passing' }],
  },
};

describe('compileFilter', () => {
  test.each([
    ['ServicePort == 80', 'f1'],
    ['ServicePort != 80', 'f2 f3'],
    ['ServicePort == 0x50', undefined],
    ['ServicePort == "0x50"', 'f1'],
    ['ServicePort == "0120"', 'f1'],
    ['ServiceMeta.env == prod', 'f1'],
    ['ServiceMeta["my-key"] == dash', 'f1'],
    ['ServiceMeta[ `my-key` ]==dash', 'f1'],
    ['ServiceMeta.env == "prod" or ServiceMeta.env == `dev`', 'f1 f2'],
    ['ServiceMeta.env != prod', 'f2 f3'],
    ['ServiceMeta.none == ""', ''],
    ['ServiceMeta.none != "x"', 'f1 f2 f3'],
    ['ServiceMeta.none matches ".*"', 'f1 f2 f3'],
    ['ServiceMeta.none not matches ".*"', 'f1 f2 f3'],
    ['"x" in ServiceMeta.none', ''],
    ['"x" not in ServiceMeta.none', 'f1 f2 f3'],
    ['ServiceMeta.constructor == x', ''],
    ['constructor in ServiceMeta', ''],
    ['a in ServiceTags', 'f1'],
    ['"b" in ServiceTags and not "a" in ServiceTags', 'f2'],
    ['ServiceTags contains b', 'f1 f2'],
    ['ServiceTags not contains b', 'f3'],
    ['b not in ServiceTags', 'f3'],
    ['ServiceTags is empty', 'f3'],
    ['ServiceTags is not empty', 'f1 f2'],
    ['ServiceMeta is empty', 'f3'],
    ['env in ServiceMeta', 'f1 f2'],
    ['NodeMeta.os matches "^(linux|bsd)$"', 'f1 f2 f3'],
    ['os in NodeMeta and NodeMeta.os matches "^(linux|bsd)$"', 'f1 f2'],
    ['NodeMeta.os not matches "^l"', 'f2 f3'],
    ['Node == "flt-1" or (Node == "flt-2" and ServicePort == 81)', 'f1 f2'],
    ['not ServicePort == 80 and ServiceTags is empty', 'f3'],
    ['not not ServicePort == 80', 'f1'],
    ['ServiceEnableTagOverride == true', 'f2'],
    ['ServiceEnableTagOverride == t', 'f2'],
    ['ServiceWeights.Passing == 7', 'f3'],
    ['"lt-2" in Node', 'f2'],
    ['Node contains "lt-3"', 'f3'],
    [String.raw`Node == "fl\x74-1"`, 'f1'],
    ['Datacenter == dc1 and ServiceKind == ""', 'f1 f2 f3'],
    ['ServiceConnect.Native == false', 'f1 f2 f3'],
    ['ServiceAddress == ""', 'f1 f2 f3'],
    ['  ( ServicePort==82 )  ', 'f3'],
    ['Datacenter == dc1\n\tand\rServicePort == 82', 'f3'],
  ])('instances: %s', (expression, expected) => {
    if (expected === undefined) {
      expect(() => compileFilter(expression, serviceNodeFilterFields)).toThrow(FilterError);
    } else {
      expect(selected(expression, serviceNodeFilterFields, serviceNodes).join(' ')).toBe(expected);
    }
  });

  test.each([
    ['Checks.Status == critical', 'n1'],
    ['Checks.Status == passing', 'n1 n3'],
    ['Checks.Status != critical', 'n1 n3'],
    ['Checks.Status != passing', 'n1'],
    ['not Checks.Status == critical', 'n2 n3'],
    ['Checks.Name matches "^b"', 'n1'],
    ['Checks.Name not matches "^b"', 'n1 n3'],
    ['Checks.Status == warning', ''],
    ['Checks is not empty', 'n1 n3'],
    ['Checks is empty', 'n2'],
    ['Service.Proxy.Upstreams.DestinationName == u2', 'n3'],
    ['Service.Proxy.Upstreams is empty', 'n1 n2'],
    ['Service.Proxy.Upstreams.LocalBindPort != 5', 'n3'],
    ['Service.Proxy.DestinationServiceName == "fn-app"', 'n3'],
    ['Service.Connect.Native == false', 'n1 n2 n3'],
    ['Service.Kind != "connect-proxy"', 'n1 n2'],
    ['Service.TaggedAddresses.lan.Port == 5', 'n3'],
    ['lan in Service.TaggedAddresses', 'n3'],
    ['Node.Node == "fn-2" and Checks is empty', 'n2'],
  ])('health entries: %s', (expression, expected) => {
    expect(selected(expression, checkServiceNodeFilterFields, entries).join(' ')).toBe(expected);
  });

  test('a service without the selected block does not match (the peer drops the connection)', () => {
    expect(selected('Proxy.MeshGateway.Mode == ""', nodeServiceFilterFields, { web: { ID: 'web' } })).toEqual([]);
    expect(selected('Connect.Native == false', nodeServiceFilterFields, { web: { ID: 'web' } })).toEqual([]);
  });

  test.each([
    [serviceNodeFilterFields, 'Bogus == 1', 'Selector "Bogus" is not valid'],
    [serviceNodeFilterFields, 'ServiceMeta == 1', 'Invalid match operator "Equal" for selector "ServiceMeta"'],
    [serviceNodeFilterFields, 'ServicePort is empty', 'Invalid match operator "Is Empty" for selector "ServicePort"'],
    [
      serviceNodeFilterFields,
      'ServicePort == abc',
      'Failed to coerce value "abc" for selector "ServicePort": strconv.ParseInt: parsing "abc": invalid syntax',
    ],
    [
      serviceNodeFilterFields,
      'ServicePort == 9223372036854775808',
      'Failed to coerce value "9223372036854775808" for selector "ServicePort": ' +
        'strconv.ParseInt: parsing "9223372036854775808": value out of range',
    ],
    [serviceNodeFilterFields, 'ServicePort matches "8"', 'Invalid match operator "Matches" for selector "ServicePort"'],
    [serviceNodeFilterFields, 'ServiceTags == a', 'Invalid match operator "Equal" for selector "ServiceTags"'],
    [serviceNodeFilterFields, 'ServicePort contains a', 'Invalid match operator "In" for selector "ServicePort"'],
    [
      serviceNodeFilterFields,
      'Node matches "("',
      'Failed to compile regular expression "(": error parsing regexp: missing closing ): `(`',
    ],
    [
      serviceNodeFilterFields,
      'ServiceEnableTagOverride == maybe',
      'Failed to coerce value "maybe" for selector "ServiceEnableTagOverride": ' +
        'strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    [serviceNodeFilterFields, 'CreateIndex == 1', 'Selector "CreateIndex" is not valid'],
    [serviceNodeFilterFields, 'ServiceMeta.a.b == 1', 'Selector "ServiceMeta.a.b" is not valid'],
    [serviceNodeFilterFields, 'constructor == 1', 'Selector "constructor" is not valid'],
    [checkServiceNodeFilterFields, 'ServiceID == x', 'Selector "ServiceID" is not valid'],
    [checkServiceNodeFilterFields, 'Node == x', 'Invalid match operator "Equal" for selector "Node"'],
    [healthCheckFilterFields, 'CheckId == x', 'Selector "CheckId" is not valid'],
    [nodeServiceFilterFields, 'ServiceName == x', 'Selector "ServiceName" is not valid'],
    [intentionFilterFields, 'Nope == x', 'Selector "Nope" is not valid'],
  ])('%# %s: %s', (fields, expression, message) => {
    expect(() => compileFilter(expression, fields)).toThrow(new FilterError(message, 'field'));
  });

  test.each([
    ['Node == ', '1:9 (8): no match found'],
    ['Node = x', '1:6 (5): no match found'],
    ['(Node == x', '1:11 (10): no match found'],
    ['Node == "x', '1:9 (8): rule "string"'],
    ['Node == x and', '1:14 (13): no match found'],
    ['Node == x\nand y', '2:6 (15): no match found'],
    ['lt-2 in Node', '1:3 (2): no match found'],
    ['Meta[k]==a', '1:6 (5): rule "index": Invalid index'],
    ['Node == _x', '1:9 (8): no match found'],
    ['', '1:1 (0): no match found'],
    [String.raw`Node == "\q"`, '1:9 (8): rule "string": invalid syntax'],
    [`${'('.repeat(500)}Node == x`, '1:251 (250): nested deeper'],
    [`${'not '.repeat(500)}Node == x`, '1:1001 (1000): nested deeper'],
    ['x'.repeat(20_000), '1:1 (0): expression is longer'],
  ])('syntax error in %.30j', (expression, message) => {
    expect(() => compileFilter(expression, nodeFilterFields)).toThrow(message);
  });

  test('a chain of a thousand alternatives is no nesting', () => {
    const expression = Array.from({ length: 1000 }, (_, i) => `Port == ${i}`).join(' or ');
    expect(compileFilter(expression, nodeServiceFilterFields)({ Port: 999 })).toBe(true);
  });

  test('any text is a filter or a FilterError', () => {
    const word = fc.constantFrom(
      ...'Node Meta .a ["a"] == != not and or in is empty matches contains ( ) "x" `y` -1 1.5 " \\ [ x'.split(' '),
      ' ',
      '  ',
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 20 }), (words) => {
        try {
          compileFilter(words.join(''), nodeFilterFields)({ Node: 'x' });
        } catch (error) {
          expect(error).toBeInstanceOf(FilterError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('hundreds of the worst regular expressions', () => {
  const worst = Array.from({ length: 200 }, (_, n) => `Output matches "(a?){400}${n}$"`).join(' or ');
  const record = { Output: 'a'.repeat(4_000) };

  test('are given up, and the next evaluation begins anew', () => {
    const filter = compileFilter(worst, healthCheckFilterFields);
    const refusal = /take too long on so many records/;
    expect(() => filter(record)).toThrow(refusal);
    expect(() => filter({ Output: 'x' })).toThrow(refusal);
    filter.renew();
    expect(filter({ Output: 'x' })).toBe(false);
  });

  test('do not stand in the way of ordinary ones on many records', () => {
    const filter = compileFilter(
      'Node matches "^node-[0-9]+$" and Output matches "HTTP.*200"',
      healthCheckFilterFields,
    );
    const checks = Array.from({ length: 50_000 }, (_, n) => ({ Node: `node-${n}`, Output: 'HTTP GET: 200 OK' }));
    expect(checks.every((check) => filter(check))).toBe(true);
  });
});
