// Catalog, health and KV: what is asked of the servers, and how records are shown.
import { afterEach, describe, expect, test } from 'vitest';
import {
  type CheckServiceNode,
  type DirEntry,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  type Node,
} from '../../../src/model/index.ts';
import { meta, start, stopAll } from './harness.ts';

afterEach(stopAll);

const index = { CreateIndex: 5, ModifyIndex: 6 };
const node: Node = {
  ID: '',
  Node: 'n1',
  Address: '10.0.0.1',
  Datacenter: 'dc1',
  TaggedAddresses: null,
  Meta: null,
  ...index,
};
const check = (Status: string): HealthCheck => ({
  Node: 'n1',
  CheckID: 'c',
  Name: 'c',
  Status,
  Notes: '',
  Output: '<&>',
  ServiceID: 'web',
  ServiceName: 'web',
  ServiceTags: null,
  Type: 'http',
  Definition: { Interval: 10e9, TTL: 5e9, HTTP: 'http://x/', Header: {}, TLSSkipVerify: false },
  ...index,
});
const entry = (status: string): CheckServiceNode => ({
  Node: node,
  Service: {
    Kind: '',
    ID: 'web',
    Service: 'web',
    Tags: null,
    Address: '',
    TaggedAddresses: {},
    Meta: null,
    Port: 80,
    Weights: null,
    EnableTagOverride: false,
    Proxy: emptyProxy,
    Connect: emptyConnect,
    ...index,
  },
  Checks: [check(status)],
});
const nodeJson =
  '{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,' +
  '"CreateIndex":5,"ModifyIndex":6}';
const entryJson =
  `{"Node":${nodeJson},"Service":{"ID":"web","Service":"web","Tags":[],"Address":"","Meta":null,"Port":80,` +
  '"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},' +
  '"CreateIndex":5,"ModifyIndex":6},"Checks":[{"Node":"n1","CheckID":"c","Name":"c","Status":"passing","Notes":"",' +
  String.raw`"Output":"\u003c\u0026\u003e",` +
  '"ServiceID":"web","ServiceName":"web","ServiceTags":[],"Type":"http",' +
  '"Definition":{"Interval":"10s","HTTP":"http://x/","TTL":5000000000},"CreateIndex":5,"ModifyIndex":6}]}';

describe('parameters of reads', () => {
  test.each<[string, object]>([
    ['', { Datacenter: 'dc1' }],
    ['?dc=dc2&token=t', { Datacenter: 'dc2', Token: 't' }],
    ['?stale', { Datacenter: 'dc1', AllowStale: true }],
    ['?consistent=no', { Datacenter: 'dc1', RequireConsistent: true }],
    ['?max_stale=10s', { Datacenter: 'dc1', AllowStale: true }],
    ['?index=7&wait=1.5s', { Datacenter: 'dc1', MinQueryIndex: 7, MaxQueryTime: 1.5e9 }],
    ['?index=18446744073709551615&wait=-1s', { Datacenter: 'dc1', MinQueryIndex: Number.MAX_SAFE_INTEGER }],
    [
      '?filter=Node==n1;near=_agent',
      { Datacenter: 'dc1', Filter: 'Node==n1', Source: { Datacenter: 'dc1', Node: 'n1' } },
    ],
    ['?node-meta=a:b:c&node-meta=d', { Datacenter: 'dc1', NodeMetaFilters: { a: 'b:c', d: '' } }],
    ['?cached', { Datacenter: 'dc1' }],
  ])('catalog/nodes%s', async (query, request) => {
    const { get, calls } = await start({ 'Catalog.ListNodes': () => ({ ...meta, Nodes: [] }) });
    expect(await get(`/v1/catalog/nodes${query}`)).toMatchObject({ status: 200, body: '[]' });
    expect(calls).toHaveLength(1);
    expect({ ...calls[0]!.request }).toEqual(request);
    expect(calls[0]!.signal === undefined).toBe(!query.includes('index'));
  });

  test.each([
    ['stale&consistent', 'Cannot specify ?stale with ?consistent, conflicting semantics.'],
    ['max_stale=5s&consistent', 'Cannot specify ?stale with ?consistent, conflicting semantics.'],
    ['cached&consistent', 'Cannot specify ?cached with ?consistent, conflicting semantics.'],
    ['max_stale=abc', 'Invalid max_stale value "abc"'],
    ['wait=5', 'Invalid wait time'],
    ['wait=abc&index=abc', 'Invalid wait time'],
    ['index=-1', 'Invalid index'],
    ['index=18446744073709551616', 'Invalid index'],
    [`index=${'9'.repeat(1000)}`, 'Invalid index'],
  ])('?%s is refused', async (query, message) => {
    const { get, calls } = await start();
    for (const path of ['/v1/catalog/nodes', '/v1/kv/x', '/v1/health/node/n', '/v1/status/leader']) {
      const got = await get(`${path}?${query}`);
      expect([got.status, got.body, got.headers['X-Consul-Index']]).toEqual([400, message, undefined]);
    }
    expect(calls).toEqual([]);
  });

  test.each(['max-age=abc', 'max-age=-1', 'must-revalidate, stale-if-error=x'])('Cache-Control: %s', async (value) => {
    const { get } = await start();
    expect(await get('/v1/kv/x', { 'Cache-Control': value })).toMatchObject({
      status: 400,
      body: 'Invalid Cache-Control header.',
    });
  });

  test('namespaces are refused, except where nobody looks', async () => {
    const { get } = await start({ 'Catalog.ListNodes': () => ({ ...meta, Nodes: [] }) });
    const hint = 'Namespaces are a Consul Enterprise feature';
    expect(await get('/v1/catalog/services?ns=x')).toMatchObject({
      status: 400,
      body: `Bad request: Invalid query parameter: "ns" - ${hint}`,
    });
    expect(await get('/v1/kv/x', { 'X-Consul-Namespace': 'x' })).toMatchObject({
      status: 400,
      body: `Bad request: Invalid header: "X-Consul-Namespace" - ${hint}`,
    });
    expect((await get('/v1/catalog/nodes?ns=x')).status).toBe(200);
    expect((await get('/v1/internal/federation-states?ns=x')).body).not.toContain('Enterprise');
    expect((await get('/v1/agent/connect/ca/roots?ns=x')).body).not.toContain('Enterprise');
    expect((await get('/v1/agent/service/x?stale&consistent')).body).toBe('unknown service ID: x');
  });

  test('an answer too stale is asked for once more, from the leader', async () => {
    const { get, calls } = await start({
      'Catalog.ListNodes': (request: { AllowStale?: boolean }) => ({
        ...meta,
        LastContact: request.AllowStale === true ? 6e9 : 0,
        Nodes: [],
      }),
    });
    const got = await get('/v1/catalog/nodes?max_stale=5s');
    expect(calls.map(({ request }) => 'AllowStale' in request)).toEqual([true, false]);
    expect(got.headers).toMatchObject({ 'X-Consul-Effective-Consistency': 'leader', 'X-Consul-Lastcontact': '0' });
    const old = await get('/v1/catalog/nodes?max_stale=7s');
    expect(old.headers).toMatchObject({
      'X-Consul-Effective-Consistency': 'stale',
      'X-Consul-Lastcontact': '6000',
    });
  });

  test('discovery_max_stale makes catalog and health reads stale unless they say otherwise', async () => {
    const { get, calls } = await start(
      { 'Catalog.ListNodes': () => ({ ...meta, Nodes: [] }), 'KVS.Get': () => ({ ...meta, Entries: null }) },
      { discoveryMaxStaleMs: 5000 },
    );
    for (const path of ['/v1/catalog/nodes', '/v1/catalog/nodes?leader', '/v1/catalog/nodes?cached', '/v1/kv/x']) {
      await get(path);
    }
    expect(calls.map(({ request }) => 'AllowStale' in request)).toEqual([true, false, false, false]);
  });
});

describe('health/service', () => {
  const call = { 'Health.ServiceNodes': () => ({ ...meta, Nodes: [entry('passing')] }) };

  test('shows instances in the fields and the order of the recorded answers', async () => {
    const { get } = await start(call);
    const got = await get('/v1/health/service/web');
    expect(got.body).toBe(`[${entryJson}]`);
    expect(got.headers).toMatchObject({
      'Content-Type': 'application/json',
      'X-Consul-Index': '7',
      'X-Consul-Knownleader': 'true',
      'X-Consul-Lastcontact': '0',
      'X-Consul-Effective-Consistency': 'leader',
    });
    expect((await get('/v1/health/service/web?pretty')).body).toBe(
      `${JSON.stringify([JSON.parse(entryJson)], null, 4).replaceAll(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)}\n`,
    );
  });

  test('asks for tags, kinds and nothing twice', async () => {
    const { get, calls } = await start(call);
    await get('/v1/health/service/web?tag=a&tag=');
    await get('/v1/health/connect/web');
    await get('/v1/health/ingress/a%2Fb');
    expect(calls.map(({ request }) => request)).toEqual([
      { Datacenter: 'dc1', ServiceName: 'web', ServiceTags: ['a', ''], TagFilter: true },
      { Datacenter: 'dc1', ServiceName: 'web', Connect: true },
      { Datacenter: 'dc1', ServiceName: 'a/b', Ingress: true },
    ]);
  });

  test('passing leaves out instances with any other check', async () => {
    const list = [entry('passing'), entry('warning'), { ...entry('passing'), Checks: [] }];
    const { get } = await start({ 'Health.ServiceNodes': () => ({ ...meta, Nodes: list }) });
    const count = async (query: string): Promise<number> =>
      (JSON.parse((await get(`/v1/health/service/web${query}`)).body) as unknown[]).length;
    expect(await count('')).toBe(3);
    expect(await count('?passing')).toBe(2);
    expect(await count('?passing=T')).toBe(2);
    expect(await count('?passing=0')).toBe(3);
    expect(await get('/v1/health/service/web?passing=no')).toMatchObject({
      status: 400,
      body: 'Invalid value for ?passing',
    });
  });

  test('a cached read is told apart, if the cache is in use', async () => {
    const { get, server } = await start(call);
    expect((await get('/v1/health/service/web?cached')).headers['X-Cache']).toBe('MISS');
    expect((await get('/v1/health/service/web')).headers['X-Cache']).toBeUndefined();
    server.reload({
      ...(await import('../../../src/http/index.ts')).httpOptionDefaults,
      datacenter: 'dc1',
      useCache: false,
    });
    expect((await get('/v1/health/service/web?cached')).headers['X-Cache']).toBeUndefined();
  });

  test.each([
    ['/v1/health/service/', 'Missing service name'],
    ['/v1/health/checks/', 'Missing service name'],
    ['/v1/health/node/', 'Missing node name'],
    ['/v1/health/state/', 'Missing check state'],
    ['/v1/catalog/service/', 'Missing service name'],
    ['/v1/catalog/connect/', 'Missing service name'],
    ['/v1/catalog/node/', 'Missing node name'],
    ['/v1/catalog/node-services/', 'Missing node name'],
    ['/v1/internal/ui/node/', 'Missing node name'],
    ['/v1/kv/', 'Missing key name'],
  ])('%s lacks its name', async (path, message) => {
    const { get } = await start();
    expect(await get(path)).toMatchObject({ status: 400, body: message });
  });
});

describe('catalog', () => {
  test('a registration reaches the servers in wire form', async () => {
    const { put, calls } = await start({ 'Catalog.Register': () => null });
    const got = await put('/v1/catalog/register?token=t', {
      node: 'n',
      ADDRESS: '10.0.0.9',
      SERVICE: { service: 's', port: 9, CreateIndex: 3 },
      Check: { Name: 'c', Definition: { Interval: '10s', TimeoutDuration: 5 } },
      Token: 'in the body it does not count',
    });
    expect([got.status, got.body]).toEqual([200, 'true']);
    expect(calls[0]!.request).toEqual({
      Datacenter: 'dc1',
      Token: 't',
      Node: 'n',
      Address: '10.0.0.9',
      Service: {
        Kind: '',
        ID: '',
        Service: 's',
        Tags: null,
        Address: '',
        TaggedAddresses: null,
        Meta: null,
        Port: 9,
        Weights: null,
        EnableTagOverride: false,
        Proxy: emptyProxy,
        Connect: emptyConnect,
      },
      Check: {
        Node: '',
        CheckID: '',
        Name: 'c',
        Status: '',
        Notes: '',
        Output: '',
        ServiceID: '',
        ServiceName: '',
        ServiceTags: null,
        Type: '',
        Definition: { Interval: 10e9, Timeout: 5 },
      },
    });
  });

  test('a deregistration names its datacenter itself, an address is tolerated', async () => {
    const { put, calls } = await start({ 'Catalog.Deregister': () => null });
    await put('/v1/catalog/deregister', { Node: 'n', ServiceID: 's', Address: 'x', Datacenter: 'dc2' });
    expect(calls[0]!.request).toEqual({ Datacenter: 'dc2', Node: 'n', ServiceID: 's' });
  });

  test.each([
    ['{', 'unexpected EOF'],
    ['{"Node":"x","Bogus":1}', 'json: unknown field "Bogus"'],
    ['{"Namespace":"t"}', 'json: unknown field "Namespace" - Namespaces are a Consul Enterprise feature'],
    ['{"Check":{"Definition":{"Interval":"abc"}}}', 'time: invalid duration "abc"'],
  ])('the body %s is refused', async (body, message) => {
    const { put } = await start();
    expect(await put('/v1/catalog/register', body)).toMatchObject({
      status: 400,
      body: `Request decode failed: ${message}`,
    });
  });

  test('what is known of one node', async () => {
    const services = { web: entry('passing').Service };
    const { get } = await start({
      'Catalog.NodeServices': (request: { Node: string }) => ({
        ...meta,
        NodeServices: request.Node === 'n1' ? { Node: node, Services: services } : null,
      }),
      'Catalog.NodeServiceList': () => ({ ...meta, NodeServices: { Node: null, Services: null } }),
    });
    expect((await get('/v1/catalog/node/n1')).body).toContain(`{"Node":${nodeJson},"Services":{"web":{"ID":"web"`);
    expect((await get('/v1/catalog/node/n2')).body).toBe('null');
    expect((await get('/v1/catalog/node-services/n2')).body).toBe('{"Node":null,"Services":null}');
  });

  test('services come in order of their names, whatever filter is given', async () => {
    const { get, calls } = await start({
      'Catalog.ListServices': () => ({ ...meta, Services: { web: ['a'], consul: [] } }),
    });
    expect((await get('/v1/catalog/services?filter=Bogus==')).body).toBe('{"consul":[],"web":["a"]}');
    expect(calls[0]!.request).toEqual({ Datacenter: 'dc1' });
  });

  test('the UI gets an old answer rather than none', async () => {
    const { get, calls } = await start({
      'Internal.NodeDump': (request: { AllowStale?: boolean }) => {
        if (request.AllowStale !== true) throw new Error('rpc error making call: No cluster leader');
        return { ...meta, Dump: [] };
      },
      'Internal.NodeInfo': () => ({ ...meta, Dump: [] }),
    });
    expect(await get('/v1/internal/ui/nodes')).toMatchObject({ status: 200, body: '[]' });
    expect(calls).toHaveLength(2);
    const none = await get('/v1/internal/ui/node/none');
    expect([none.status, none.body, none.headers['X-Consul-Index']]).toEqual([404, '', undefined]);
  });
});

describe('kv', () => {
  const stored = (parts: Partial<DirEntry> = {}): DirEntry => ({
    LockIndex: 0,
    Key: 'a',
    Flags: 2n ** 64n - 1n,
    Value: Buffer.from('hi'),
    Session: '',
    ...index,
    ...parts,
  });

  test('an entry keeps 64 bits of flags, and its value in base64', async () => {
    const { get } = await start({ 'KVS.Get': () => ({ ...meta, Entries: [stored()] }) });
    expect((await get('/v1/kv/a')).body).toBe(
      '[{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":"aGk=","CreateIndex":5,"ModifyIndex":6}]',
    );
  });

  test('an empty value is null, a session is shown, the key is UTF-8', async () => {
    const entries = [stored({ Value: new Uint8Array(), Session: 's', Key: '\u00c3\u00bc\u00ff' })];
    const { get } = await start({ 'KVS.List': () => ({ ...meta, Entries: entries }) });
    expect(JSON.parse((await get('/v1/kv/?recurse')).body)).toMatchObject([
      { Key: 'ü\ufffd', Value: null, Session: 's' },
    ]);
  });

  test('a raw value comes as it is', async () => {
    const { get } = await start({
      'KVS.Get': () => ({ ...meta, Entries: [stored({ Value: Uint8Array.of(0, 255) })] }),
    });
    const got = await get('/v1/kv/a?raw');
    expect([...got.bytes]).toEqual([0, 255]);
    expect(got.headers).toMatchObject({
      'Content-Type': 'text/plain',
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': 'sandbox',
    });
  });

  test.each([
    ['/v1/kv/%ff%2Fb%20c+d', '\u00ff/b c+d'],
    ['/v1/kv/gr%C3%BC', 'gr\u00c3\u00bc'],
    ['/v1/kv/folder/', 'folder/'],
    ['/v1/kv/100%25', '100%'],
  ])('the key of %s is bytes', async (path, Key) => {
    const { get, calls } = await start({ 'KVS.Get': () => ({ ...meta, Entries: [] }) });
    const got = await get(path);
    expect([got.status, got.body, got.headers['X-Consul-Index']]).toEqual([404, '', '7']);
    expect(calls[0]!.request).toEqual({ Datacenter: 'dc1', Key });
  });

  test.each<[string, string, string, number, string]>([
    ['?keys', '', '', 200, '["a"]'],
    ['p?keys&separator=/&seperator=-', 'p', '/', 200, '["a"]'],
    ['p?keys&seperator=-', 'p', '-', 200, '["a"]'],
    ['p?recurse&keys', 'p', '', 200, '["a"]'],
  ])('names under %s', async (path, Prefix, Seperator, status, body) => {
    const { get, calls } = await start({ 'KVS.ListKeys': () => ({ ...meta, Keys: ['a'] }) });
    expect(await get(`/v1/kv/${path}`)).toMatchObject({ status, body });
    expect(calls[0]!.request).toEqual({ Datacenter: 'dc1', Prefix, Seperator });
  });

  test('no names: 404 below a prefix, an empty list at the top', async () => {
    const { get } = await start({ 'KVS.ListKeys': () => ({ ...meta, Keys: null }) });
    expect(await get('/v1/kv/?keys')).toMatchObject({ status: 200, body: '[]' });
    expect(await get('/v1/kv/p?keys')).toMatchObject({ status: 404, body: '' });
  });

  test.each<[string, string, object, boolean, string]>([
    ['PUT', '', { Op: 'set', DirEnt: { Key: 'a', Flags: 0n, Value: Buffer.from('v') } }, false, 'true'],
    [
      'PUT',
      '?flags=18446744073709551615&cas=7',
      { Op: 'cas', DirEnt: { Key: 'a', Flags: 2n ** 64n - 1n, Value: Buffer.from('v'), ModifyIndex: 7 } },
      false,
      'false',
    ],
    [
      'PUT',
      '?acquire=s',
      { Op: 'lock', DirEnt: { Key: 'a', Flags: 0n, Value: Buffer.from('v'), Session: 's' } },
      true,
      'true',
    ],
    [
      'PUT',
      '?release=s',
      { Op: 'unlock', DirEnt: { Key: 'a', Flags: 0n, Value: Buffer.from('v'), Session: 's' } },
      false,
      'false',
    ],
    ['DELETE', '', { Op: 'delete', DirEnt: { Key: 'a' } }, false, 'true'],
    ['DELETE', '?recurse', { Op: 'delete-tree', DirEnt: { Key: 'a' } }, false, 'true'],
    ['DELETE', '?cas=0', { Op: 'delete-cas', DirEnt: { Key: 'a', ModifyIndex: 0 } }, false, 'false'],
  ])('%s a%s', async (method, query, request, applied, body) => {
    const { send, calls } = await start({ 'KVS.Apply': () => applied });
    const got = await send(method, `/v1/kv/a${query}`, { body: method === 'PUT' ? 'v' : '' });
    expect([got.status, got.body]).toEqual([200, body]);
    expect(calls[0]!.request).toEqual({ Datacenter: 'dc1', ...request });
  });

  test.each([
    ['PUT', '?release=b&cas=0&flags=1', 400, 'Conflicting flags: cas=0&flags=1&release=b'],
    ['DELETE', '?recurse&cas=1', 400, 'Conflicting flags: cas=1&recurse='],
    ['PUT', '?flags=', 500, 'strconv.ParseUint: parsing "": invalid syntax'],
    ['PUT', '?cas=abc', 500, 'strconv.ParseUint: parsing "abc": invalid syntax'],
    [
      'PUT',
      '?flags=18446744073709551616',
      500,
      'strconv.ParseUint: parsing "18446744073709551616": value out of range',
    ],
  ])('%s a%s is refused', async (method, query, status, body) => {
    const { send, calls } = await start();
    expect(await send(method, `/v1/kv/a${query}`, { body: method === 'PUT' ? 'v' : '' })).toMatchObject({
      status,
      body,
    });
    expect(calls).toEqual([]);
  });
});
