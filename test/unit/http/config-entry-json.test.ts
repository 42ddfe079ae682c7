import { describe, expect, test } from 'vitest';
import { encodeGoJson } from '../../../src/codec/index.ts';
import { configEntryView, decodeConfigEntry } from '../../../src/http/config-entry-json.ts';
import type { ConfigEntry } from '../../../src/model/index.ts';

describe('reading', () => {
  test('knows both spellings of every field, in any case', () => {
    const camel = {
      Kind: 'service-router',
      Name: 'x',
      Routes: [
        {
          Match: { HTTP: { PathPrefix: '/', QueryParam: [{ Name: 'q', Present: true }] } },
          Destination: { ServiceSubset: 'v1', RequestTimeout: '5s', RetryOnStatusCodes: [500] },
        },
      ],
    };
    const snake = {
      kind: 'service-router',
      NAME: 'x',
      routes: [
        {
          match: { http: { path_prefix: '/', query_param: [{ name: 'q', present: true }] } },
          destination: { service_subset: 'v1', request_timeout: 5e9, retry_on_status_codes: [500] },
        },
      ],
    };
    const entry = decodeConfigEntry(camel);
    expect(decodeConfigEntry(snake)).toEqual(entry);
    expect(entry).toMatchObject({ Routes: [{ Destination: { RequestTimeout: 5e9 } }] });
  });

  test.each([
    ['external_sni', 'ExternalSNI'],
    ['ExternalSNI', 'ExternalSNI'],
  ])('%s is %s', (given, name) => {
    expect(decodeConfigEntry({ Kind: 'service-defaults', Name: 'x', [given]: 's' })).toHaveProperty(name, 's');
  });

  test.each([
    [{}, 'Payload does not contain a kind/Kind key at the top level'],
    [null, 'Payload does not contain a kind/Kind key at the top level'],
    [[], "'' expected a map, got 'slice'"],
    ['x', "'' expected a map, got 'string'"],
    [1, "'' expected a map, got 'float64'"],
    [{ Kind: 5 }, 'Kind value in payload is not a string'],
    [{ Kind: 'mesh' }, 'invalid config entry kind: mesh'],
    [
      { Kind: 'service-splitter', Bogus: 1, Splits: [{ Odd: 2 }] },
      '2 errors occurred:\n\t* invalid config key "Bogus"\n\t* invalid config key "Splits[0].Odd"\n\n',
    ],
    [
      { Kind: 'service-splitter', namespace: 'x', Splits: [] },
      '1 error occurred:\n\t* invalid config key "namespace", namespaces are a consul enterprise feature\n\n',
    ],
    [
      { Kind: 'service-defaults', Expose: { Checks: 'yes', Paths: [{ ListenerPort: 'x' }] } },
      '2 error(s) decoding:\n\n* cannot parse \'Expose.Checks\' as bool: strconv.ParseBool: parsing "yes": invalid syntax\n' +
        '* cannot parse \'Expose.Paths[0].ListenerPort\' as int: strconv.ParseInt: parsing "x": invalid syntax',
    ],
    [
      { Kind: 'service-splitter', Splits: [{ Weight: 'x' }, { Weight: {} }, [1]] },
      "3 error(s) decoding:\n\n* 'Splits[1].Weight' expected type 'float32', got unconvertible type 'map[string]interface {}'\n" +
        "* 'Splits[2]' expected a map, got 'float64'\n" +
        '* cannot parse \'Splits[0].Weight\' as float: strconv.ParseFloat: parsing "x": invalid syntax',
    ],
    [
      { Kind: 'service-resolver', Subsets: 'x', ConnectTimeout: {} },
      "2 error(s) decoding:\n\n* 'ConnectTimeout' expected type 'time.Duration', got unconvertible type 'map[string]interface {}'\n" +
        "* 'Subsets' expected a map, got 'string'",
    ],
    [
      { Kind: 'service-resolver', ConnectTimeout: 'abc', Bogus: 1 },
      '1 error(s) decoding:\n\n* error decoding \'ConnectTimeout\': time: invalid duration "abc"',
    ],
    [
      { Kind: 'service-defaults', Protocol: {} },
      "1 error(s) decoding:\n\n* 'Protocol' expected type 'string', got unconvertible type 'map[string]interface {}'",
    ],
  ])('%j is refused', (body, message) => {
    expect(() => decodeConfigEntry(body)).toThrow(message);
  });

  test('numbers and texts stand for each other', () => {
    const body = { Kind: 'ingress-gateway', Name: 5, Listeners: { Port: '80', Services: [{ Name: 'a', Hosts: 'h' }] } };
    expect(decodeConfigEntry(body)).toEqual({
      Kind: 'ingress-gateway',
      Name: '5',
      Listeners: [{ Port: 80, Services: [{ Name: 'a', Hosts: ['h'] }] }],
    });
  });
});

test('a list of one stands for what is in it, an empty one for nothing', () => {
  const body = {
    Kind: 'service-resolver',
    Name: ['x'],
    Subsets: [],
    ConnectTimeout: ['1s'],
    Redirect: [{ Service: 'y' }],
  };
  expect(decodeConfigEntry(body)).toEqual({
    Kind: 'service-resolver',
    Name: 'x',
    ConnectTimeout: 1e9,
    Redirect: { Service: 'y' },
  });
});

describe('writing', () => {
  const indexes = { CreateIndex: 1, ModifyIndex: 2 };
  test.each<[ConfigEntry, string]>([
    [
      { Kind: 'service-defaults', Name: 'x', ...indexes },
      '{"Kind":"service-defaults","Name":"x","Protocol":"","MeshGateway":{},"Expose":{},"CreateIndex":1,"ModifyIndex":2}',
    ],
    [
      { Kind: 'proxy-defaults', Name: 'global', Config: { b: 1, a: 2 }, Meta: { k: 'v' }, ...indexes },
      '{"Kind":"proxy-defaults","Name":"global","Config":{"a":2,"b":1},"MeshGateway":{},"Expose":{},' +
        '"Meta":{"k":"v"},"CreateIndex":1,"ModifyIndex":2}',
    ],
    [
      { Kind: 'service-resolver', Name: 'x', ConnectTimeout: 7e9, Redirect: { Service: 'y' }, ...indexes },
      '{"Kind":"service-resolver","Name":"x","ConnectTimeout":"7s","Redirect":{"Service":"y"},' +
        '"CreateIndex":1,"ModifyIndex":2}',
    ],
    [
      { Kind: 'ingress-gateway', Name: 'x', Listeners: [{ Port: 80, Services: [{ Name: 'a' }] }], ...indexes },
      '{"Kind":"ingress-gateway","Name":"x","TLS":{"Enabled":false},"Listeners":[{"Port":80,"Protocol":"",' +
        '"Services":[{"Name":"a","Hosts":null}]}],"CreateIndex":1,"ModifyIndex":2}',
    ],
    [
      { Kind: 'service-router', Name: 'x', ...indexes },
      '{"Kind":"service-router","Name":"x","Routes":null,"CreateIndex":1,"ModifyIndex":2}',
    ],
  ])('%j', (entry, text) => {
    expect(encodeGoJson(configEntryView(entry))).toBe(text);
  });
});
