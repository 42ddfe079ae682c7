// `/v1/txn`: which call it becomes, what each operation carries, what is refused, how results are shown.
import { afterEach, describe, expect, test } from 'vitest';
import { emptyConnect, emptyProxy } from '../../../src/model/index.ts';
import { meta, start, stopAll } from './harness.ts';

afterEach(stopAll);

const done = () => ({ Results: [], Errors: null });
const read = () => ({ ...meta, Index: 0, Results: [], Errors: null });

describe('the call', () => {
  const get = { KV: { Verb: 'get', Key: 'k' } };
  test.each<[string, unknown[], boolean]>([
    ['nothing', [], false],
    ['empty objects', [{}, null], false],
    ['reads', [get, { Node: { Verb: 'get' } }, { Service: { Verb: 'get' } }, { Check: { Verb: 'get' } }], false],
    ['checks of keys', ['check-index', 'check-session', 'check-not-exists'].map((Verb) => ({ KV: { Verb } })), false],
    ['an unknown verb of a key', [{ KV: { Verb: 'jump' } }], false],
    ...['set', 'cas', 'lock', 'unlock', 'delete', 'delete-cas', 'delete-tree'].map(
      (Verb): [string, unknown[], boolean] => [Verb, [get, { KV: { Verb } }], true],
    ),
    ['an unknown verb of a node', [get, { Node: { Verb: 'jump' } }], true],
    ['a service', [{ Service: { Verb: 'set' } }], true],
    ['a check', [{ Check: { Verb: 'delete' } }], true],
    ['several in one, of which the first kind counts', [{ Node: { Verb: 'set' }, KV: { Verb: 'get' } }], false],
  ])('for %s', async (_, ops, writes) => {
    const { put, calls } = await start({ 'Txn.Apply': done, 'Txn.Read': read });
    const reply = await put('/v1/txn?dc=dc2&token=t&stale', ops);
    expect(calls[0]?.method).toBe(writes ? 'Txn.Apply' : 'Txn.Read');
    expect(calls[0]?.request).toMatchObject({ Datacenter: 'dc2', Token: 't', ...(writes ? {} : { AllowStale: true }) });
    expect(reply.headers['X-Consul-Knownleader']).toBe(writes ? undefined : 'true');
    expect(reply.headers['X-Consul-Index']).toBe(undefined);
    expect(reply.body).toBe(
      writes
        ? '{"Results":[],"Errors":null}'
        : '{"Results":[],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}',
    );
  });

  test('carries whole records', async () => {
    const { put, calls } = await start({ 'Txn.Apply': done });
    await put(
      '/v1/txn',
      `[{"KV":{"verb":"cas","KEY":"\u00e9","value":"aGk=","Flags":18446744073709551615,"Index":7,"Session":"s","Namespace":"x"}},
        {"Node":{"Verb":"set","Node":{"Node":"n","Address":"a","Meta":{"k":"v"},"CreateIndex":1,"ModifyIndex":2}}},
        {"Service":{"Verb":"set","Node":"n","Service":{"Kind":"connect-proxy","ID":"i","Service":"s","Tags":["t"],
          "TaggedAddresses":{},"Weights":{"Passing":2,"Warning":3},"Port":1,"Proxy":{},"Connect":{},"ModifyIndex":3}}},
        {"Check":{"Verb":"set","Check":{"Node":"n","CheckID":"c","Type":"http","ServiceTags":[],
          "Definition":{"HTTP":"http://x/","Interval":"10s","TimeoutDuration":5,"Bogus":1},"ModifyIndex":4}}}]`,
    );
    expect(calls[0]?.request).toEqual({
      Datacenter: 'dc1',
      Ops: [
        {
          KV: {
            Verb: 'cas',
            DirEnt: {
              Key: '\u00c3\u00a9',
              Value: Buffer.from('hi'),
              Flags: 2n ** 64n - 1n,
              Session: 's',
              ModifyIndex: 7,
            },
          },
        },
        {
          Node: {
            Verb: 'set',
            Node: {
              ID: '',
              Node: 'n',
              Address: 'a',
              Datacenter: 'dc1',
              TaggedAddresses: null,
              Meta: { k: 'v' },
              ModifyIndex: 2,
            },
          },
        },
        {
          Service: {
            Verb: 'set',
            Node: 'n',
            Service: {
              Kind: '',
              ID: 'i',
              Service: 's',
              Tags: ['t'],
              Address: '',
              TaggedAddresses: null,
              Meta: null,
              Port: 1,
              Weights: { Passing: 2, Warning: 3 },
              EnableTagOverride: false,
              Proxy: emptyProxy,
              Connect: emptyConnect,
              ModifyIndex: 3,
            },
          },
        },
        {
          Check: {
            Verb: 'set',
            Check: {
              Node: 'n',
              CheckID: 'c',
              Name: '',
              Status: '',
              Notes: '',
              Output: '',
              ServiceID: '',
              ServiceName: '',
              ServiceTags: [],
              Type: '',
              Definition: { HTTP: 'http://x/', Interval: 10e9, Timeout: 5 },
              ModifyIndex: 4,
            },
          },
        },
      ],
    });
  });
});

describe('refusals', () => {
  const set = (Value: string): string => JSON.stringify([{ KV: { Verb: 'set', Key: 'k', Value } }]);
  const docs = 'See https://www.consul.io/docs/agent/options.html#txn_max_req_len.';
  test.each<[string, number, string | RegExp]>([
    ['', 400, 'Failed to parse body: EOF'],
    ['{}', 400, /^Failed to parse body: json: cannot unmarshal object into Go /],
    ['[{"Bogus":{}}]', 400, 'Failed to parse body: json: unknown field "Bogus"'],
    ['[{"KV":{"Bogus":1}}]', 400, 'Failed to parse body: json: unknown field "Bogus"'],
    ['[{"KV":{"Flags":-1}}]', 400, /^Failed to parse body: json: cannot unmarshal number -1 into Go struct field /],
    ['[{"KV":{"Flags":1.5}}]', 400, /^Failed to parse body: json: cannot unmarshal number 1\.5 into Go struct field /],
    ['[{"KV":{"Flags":"1"}}]', 400, /^Failed to parse body: json: cannot unmarshal string into Go struct field /],
    [set('not base64!'), 400, 'Failed to parse body: illegal base64 data at input byte 3'],
    [JSON.stringify(Array.from({ length: 65 }, () => ({}))), 413, 'Transaction contains too many operations (65 > 64)'],
    [set('eHh4eHh4eHh4eHg='), 413, 'Value for key "k" is too large (11 > 10 bytes)'],
    [' '.repeat(401), 413, `Request body(401 bytes) too large, max size: 400 bytes. ${docs}`],
  ])('%.40s', async (body, status, text) => {
    const { put } = await start({}, { kvMaxValueSize: 10, txnMaxRequestSize: 400 });
    const reply = await put('/v1/txn', body);
    expect(reply.status).toBe(status);
    if (typeof text === 'string') expect(reply.body).toBe(text);
    else expect(reply.body).toMatch(text);
  });

  test('a chunked body that grows too large', async () => {
    const { send } = await start({}, { kvMaxValueSize: 10, txnMaxRequestSize: 400 });
    const headers = { 'Transfer-Encoding': 'chunked' };
    const reply = await send('PUT', '/v1/txn', { headers, body: ' '.repeat(401) });
    expect([reply.status, reply.body]).toEqual([413, `Request body too large, max size: 400 bytes. ${docs}`]);
  });

  test('the limit of a value counts where it is larger', async () => {
    const { put } = await start({ 'Txn.Read': read }, { kvMaxValueSize: 500, txnMaxRequestSize: 400 });
    expect((await put('/v1/txn', `[${' '.repeat(450)}]`)).status).toBe(200);
  });
});

describe('answers', () => {
  test('failures are a conflict', async () => {
    const { put } = await start({
      'Txn.Apply': () => ({ Results: null, Errors: [{ OpIndex: 1, What: 'key "k" exists' }] }),
    });
    const reply = await put('/v1/txn', [{ KV: { Verb: 'set', Key: 'k' } }]);
    expect([reply.status, reply.body]).toEqual([
      409,
      String.raw`{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"k\" exists"}]}`,
    ]);
  });

  test('null lists stay null', async () => {
    const index = { CreateIndex: 1, ModifyIndex: 2 };
    const KV = { LockIndex: 0, Key: '\u00c3\u00a9', Flags: 2n ** 64n - 1n, Value: null, Session: '', ...index };
    const Service = {
      Kind: '',
      ID: 'i',
      Service: 's',
      Tags: null,
      Address: '',
      TaggedAddresses: null,
      Meta: null,
      Port: 0,
      Weights: { Passing: 1, Warning: 1 },
      EnableTagOverride: false,
      Proxy: emptyProxy,
      Connect: emptyConnect,
      ...index,
    };
    const Check = {
      Node: 'n',
      CheckID: 'c',
      Name: 'c',
      Status: 'passing',
      Notes: '',
      Output: '',
      ServiceID: '',
      ServiceName: '',
      ServiceTags: null,
      Type: '',
      Definition: {},
      ...index,
    };
    const { put } = await start({ 'Txn.Apply': () => ({ Results: [{ KV }, { Service }, { Check }], Errors: null }) });
    const { body } = await put('/v1/txn', [{ KV: { Verb: 'set', Key: 'k' } }]);
    expect(body).toContain(
      '{"KV":{"LockIndex":0,"Key":"\u00e9","Flags":18446744073709551615,"Value":null,"CreateIndex":1,',
    );
    expect(body).toContain('{"Service":{"ID":"i","Service":"s","Tags":null,');
    expect(body).toContain('"ServiceTags":null,');
  });
});
