import { afterEach, describe, expect, test } from 'vitest';
import { emptyConnect, emptyProxy, type HealthCheck, type NodeService } from '../../../src/model/index.ts';
import { type Harness, receiveUntil, start, stopAll } from './harness.ts';

afterEach(stopAll);

const service = (parts: Partial<NodeService> = {}): NodeService => ({
  Kind: '',
  ID: 'web-1',
  Service: 'web',
  Tags: null,
  Address: '',
  TaggedAddresses: null,
  Meta: null,
  Port: 80,
  Weights: null,
  EnableTagOverride: false,
  Proxy: emptyProxy,
  Connect: emptyConnect,
  CreateIndex: 3,
  ModifyIndex: 4,
  ...parts,
});
const check = (parts: Partial<HealthCheck> = {}): HealthCheck => ({
  Node: 'n1',
  CheckID: 'c1',
  Name: 'c1',
  Status: 'passing',
  Notes: '',
  Output: '',
  ServiceID: 'web-1',
  ServiceName: 'web',
  ServiceTags: null,
  Type: 'ttl',
  Definition: {},
  CreateIndex: 3,
  ModifyIndex: 4,
  ...parts,
});

function withService(harness: Harness, ...checks: HealthCheck[]): void {
  harness.services.set('web-1', service());
  for (const each of checks) harness.checks.set(each.CheckID, each);
  harness.changed();
}

describe('registering', () => {
  test('a body becomes a definition: any case, aliases, durations as text or nanoseconds', async () => {
    const { put, asked } = await start();
    const got = await put('/v1/agent/service/register?replace-existing-checks=true&token=t', {
      nAmE: 'web',
      tagged_addresses: { lan: { address: '10.0.0.1', PORT: 1 } },
      Meta: { Kept: 'AsIs', ['__proto__']: 'x' },
      Weights: null,
      Check: {},
      Checks: [
        { CheckID: 'a', HTTP: 'http://x/', Interval: 2_000_000_000, tls_skip_verify: true, Header: { X: ['y'] } },
        { TTL: '1m', deregister_critical_service_after: '2h' },
      ],
      Connect: { sidecar_service: { proxy: { upstreams: [{ destination_name: 'db', local_bind_port: 5 }] } } },
    });
    expect([got.status, got.body]).toEqual([200, '']);
    expect(asked).toEqual([
      [
        'registerService',
        {
          name: 'web',
          taggedAddresses: { lan: { Address: '10.0.0.1', Port: 1 } },
          meta: JSON.parse('{"Kept":"AsIs","__proto__":"x"}') as unknown,
          checks: [
            { id: 'a', http: 'http://x/', intervalMs: 2000, tlsSkipVerify: true, header: { X: ['y'] } },
            { ttlMs: 60_000, deregisterCriticalServiceAfterMs: 7_200_000 },
          ],
          connect: {
            sidecarService: {
              proxy: {
                MeshGateway: {},
                Expose: {},
                Upstreams: [
                  {
                    DestinationType: 'service',
                    DestinationName: 'db',
                    Datacenter: '',
                    LocalBindPort: 5,
                    Config: null,
                    MeshGateway: {},
                  },
                ],
              },
            },
          },
        },
        { token: 't', replaceExistingChecks: true },
      ],
    ]);
  });

  test.each([
    ['', 'Request decode failed: EOF'],
    ['{', 'Request decode failed: unexpected EOF'],
    ['{"Name":"x","Bogus":1}', 'Request decode failed: json: unknown field "Bogus"'],
    ['{"Name":"x","id":"i","check_id":"c"}', 'Request decode failed: json: unknown field "check_id"'],
    ['{"Name":"x","Check":{"TTL":"abc"}}', 'Request decode failed: time: invalid duration "abc"'],
    ['null', 'Missing service name'],
    ['{"Name":"x","Checks":[{}]}', 'Invalid check: TTL must be > 0 for TTL checks'],
    ['{"Name":"x","Address":"::"}', 'Invalid service address'],
  ])('the body %j is refused', async (body, message) => {
    const { put, asked } = await start();
    expect(await put('/v1/agent/service/register', body)).toMatchObject({ status: 400, body: message });
    expect(asked).toEqual([]);
  });

  test.each([
    ['[]', 'array'],
    ['"text"', 'string'],
    ['{"Port":"80"}', 'string'],
    ['{"Port":1.5}', 'number 1.5'],
    ['{"Tags":true}', 'bool'],
  ])('the body %s holds a value of the wrong type', async (body, kind) => {
    const { put } = await start();
    const got = await put('/v1/agent/service/register', body);
    expect(got.status).toBe(400);
    expect(got.body.startsWith(`Request decode failed: json: cannot unmarshal ${kind} into Go `)).toBe(true);
  });

  test('a check of its own is named by ID, trailing text is not read', async () => {
    const { put, asked } = await start();
    await put('/v1/agent/check/register', '{"ID":"i","Name":"n","Args":["true"],"Interval":"10s"} and so on');
    expect(asked).toEqual([
      ['registerCheck', { id: 'i', name: 'n', scriptArgs: ['true'], intervalMs: 10_000 }, { token: '' }],
    ]);
    expect(await put('/v1/agent/check/register', { TTL: '1s' })).toMatchObject({
      status: 400,
      body: 'Missing check name',
    });
  });
});

describe('changes', () => {
  test.each<[string, unknown, unknown[]]>([
    ['/v1/agent/service/deregister/a%2Fb', '', ['deregisterService', 'a/b']],
    ['/v1/agent/check/deregister/c', '', ['deregisterCheck', 'c']],
    ['/v1/agent/check/pass/c?note=fine', '', ['updateTtlCheck', 'c', 'passing', 'fine']],
    ['/v1/agent/check/warn/c', '', ['updateTtlCheck', 'c', 'warning', '']],
    ['/v1/agent/check/fail/c', '', ['updateTtlCheck', 'c', 'critical', '']],
    ['/v1/agent/check/update/c', { status: 'warning', output: 'slow' }, ['updateTtlCheck', 'c', 'warning', 'slow']],
    ['/v1/agent/maintenance?enable=t&reason=oil', '', ['setNodeMaintenance', true, 'oil', '']],
    ['/v1/agent/service/maintenance/web-1?enable=false', '', ['setServiceMaintenance', 'web-1', false, '', '']],
    ['/v1/agent/join/10.0.0.1?wan=1', '', ['join', '10.0.0.1', true]],
    ['/v1/agent/force-leave/n2?prune', '', ['forceLeave', 'n2', true]],
    ['/v1/agent/leave', '', ['leave']],
    ['/v1/agent/reload', '', ['reload']],
  ])('PUT %s', async (path, body, expected) => {
    const { put, asked } = await start();
    const got = await put(path, body);
    expect([got.status, got.body, got.headers['Content-Type']]).toEqual([200, '', undefined]);
    expect(asked).toEqual([expected]);
  });

  test.each([
    ['/v1/agent/service/deregister/', 500, 'ServiceID missing'],
    ['/v1/agent/check/deregister/', 500, 'CheckID missing'],
    ['/v1/agent/service/maintenance/', 400, 'Missing service ID'],
    ['/v1/agent/service/maintenance/web', 400, 'Missing value for enable'],
    ['/v1/agent/maintenance?enable=maybe', 400, 'Invalid value for enable: "maybe"'],
    ['/v1/agent/token/default', 401, 'ACL support disabled'],
  ])('PUT %s is refused', async (path, status, body) => {
    const { put, asked } = await start();
    expect(await put(path)).toMatchObject({ status, body });
    expect(asked).toEqual([]);
  });

  test('a status nobody knows is refused', async () => {
    const { put } = await start();
    expect(await put('/v1/agent/check/update/c', { Status: 'happy' })).toMatchObject({
      status: 400,
      body: "Invalid check status: 'happy'",
    });
  });

  test('bearer tokens count after the header and the parameter', async () => {
    const { send, asked } = await start();
    const body = '{"Name":"c","TTL":"1s"}';
    const bearer = { Authorization: 'bEaReR  b rest' };
    await send('PUT', '/v1/agent/check/register', { body, headers: bearer });
    await send('PUT', '/v1/agent/check/register', { body, headers: { ...bearer, 'X-Consul-Token': 'h' } });
    await send('PUT', '/v1/agent/check/register?token=q', { body, headers: { ...bearer, 'X-Consul-Token': 'h' } });
    await send('PUT', '/v1/agent/check/register', { body, headers: { Authorization: 'Basic b' } });
    expect(asked.map(([, , options]) => options)).toEqual([
      { token: 'b' },
      { token: 'h' },
      { token: 'q' },
      { token: '' },
    ]);
  });
});

describe('reading', () => {
  test('services have no indexes, and lists and maps are never null', async () => {
    const harness = await start();
    withService(harness);
    const got = await harness.get('/v1/agent/services');
    expect(got.body).toBe(
      '{"web-1":{"ID":"web-1","Service":"web","Tags":[],"Meta":{},"Port":80,"Address":"",' +
        '"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false}}',
    );
    expect((await harness.get('/v1/agent/services?filter=Port==81')).body).toBe('{}');
    expect(await harness.get('/v1/agent/services?filter=Bogus==1')).toMatchObject({
      status: 500,
      body: 'Failed to create boolean expression evaluator: Selector "Bogus" is not valid',
    });
  });

  test('a list shows a change at once', async () => {
    const harness = await start();
    withService(harness, check());
    expect((await harness.get('/v1/agent/services')).body).toContain('"Port":80');
    expect((await harness.get('/v1/agent/checks')).body).toContain('"Status":"passing"');
    harness.services.set('web-1', service({ Port: 81 }));
    harness.checks.set('c1', check({ Status: 'critical' }));
    harness.changed();
    expect((await harness.get('/v1/agent/services')).body).toContain('"Port":81');
    expect((await harness.get('/v1/agent/checks')).body).toContain('"Status":"critical"');
  });

  test('an unknown selector over checks fails only where there is a check', async () => {
    const harness = await start();
    expect(await harness.get('/v1/agent/checks?filter=Nope==1')).toMatchObject({ status: 200, body: '{}' });
    withService(harness, check());
    expect(await harness.get('/v1/agent/checks?filter=Nope==1')).toMatchObject({
      status: 500,
      body: 'Selector "Nope" is not valid',
    });
    const got = await harness.get('/v1/agent/checks?filter=Status==passing');
    expect(JSON.parse(got.body)).toEqual({
      c1: { ...check(), ServiceTags: [], CreateIndex: 0, ModifyIndex: 0 },
    });
  });

  test('pretty is asked for, or the default', async () => {
    const compact = await start();
    expect((await compact.get('/v1/agent/services?pretty')).body).toBe('{}\n');
    const pretty = await start({}, { pretty: true });
    withService(pretty);
    expect((await pretty.get('/v1/agent/services')).body).toMatch(/^\{\n {4}"web-1": \{\n {8}"ID": /);
  });

  test('one service is known by a hash that follows its content', async () => {
    const harness = await start();
    withService(harness);
    const first = await harness.get('/v1/agent/service/web-1');
    const hash = first.headers['X-Consul-Contenthash']!;
    expect(hash).toMatch(/^[0-9a-f]{16}$/);
    expect(JSON.parse(first.body)).toMatchObject({ ID: 'web-1', ContentHash: hash });
    harness.services.set('web-1', service({ ModifyIndex: 9 }));
    expect((await harness.get('/v1/agent/service/web-1')).headers['X-Consul-Contenthash']).toBe(hash);
    harness.services.set('web-1', service({ Port: 81 }));
    expect((await harness.get('/v1/agent/service/web-1')).headers['X-Consul-Contenthash']).not.toBe(hash);
    expect(await harness.get('/v1/agent/service/x')).toMatchObject({ status: 404, body: 'unknown service ID: x' });
    expect(await harness.get('/v1/agent/service/x?wait=abc')).toMatchObject({ status: 400, body: 'Invalid wait time' });
  });

  describe('with the hash of the present content, it waits', () => {
    async function waiting(): Promise<{ harness: Harness; hash: string; answer: ReturnType<Harness['get']> }> {
      const harness = await start();
      withService(harness);
      const hash = (await harness.get('/v1/agent/service/web-1')).headers['X-Consul-Contenthash']!;
      const answer = harness.get(`/v1/agent/service/web-1?hash=${hash}&wait=10s`);
      await expect.poll(() => harness.clock.pendingTimers).toBe(1);
      return { harness, hash, answer };
    }

    test('for a change', async () => {
      const { harness, hash, answer } = await waiting();
      harness.changed();
      expect(harness.clock.pendingTimers).toBe(1);
      harness.services.set('web-1', service({ Port: 81 }));
      harness.changed();
      expect((await answer).headers['X-Consul-Contenthash']).not.toBe(hash);
      expect(harness.clock.pendingTimers).toBe(0);
    });

    test('for the end of the service', async () => {
      const { harness, answer } = await waiting();
      harness.services.clear();
      harness.changed();
      expect(await answer).toMatchObject({ status: 404, body: 'unknown service ID: web-1' });
    });

    test('not longer than asked, and a sixteenth', async () => {
      const { harness, hash, answer } = await waiting();
      await harness.clock.advance(9_999);
      expect(harness.clock.pendingTimers).toBe(1);
      await harness.clock.advance(10_000 / 16 + 1);
      expect((await answer).headers['X-Consul-Contenthash']).toBe(hash);
    });
  });

  test('members of a segment or of the WAN that are not there', async () => {
    const self = { Config: { Server: false } };
    const { get } = await start({}, {}, { members: () => [], self: () => self as never });
    expect(await get('/v1/agent/members?segment=_all')).toMatchObject({ status: 200, body: '[]' });
    expect(await get('/v1/agent/members?wan=1')).toMatchObject({ status: 200, body: 'null' });
    expect(await get('/v1/agent/members?wan=1&segment=_all')).toMatchObject({ status: 200, body: 'null' });
    expect(await get('/v1/agent/members?segment=x')).toMatchObject({ status: 500, body: 'segment "x" not found' });
    self.Config.Server = true;
    expect(await get('/v1/agent/members?segment=x')).toMatchObject({
      status: 500,
      body: 'Network segments are not supported in this version of Consul',
    });
    expect(await get('/v1/agent/members?wan=1&segment=x')).toMatchObject({
      status: 400,
      body: 'Cannot provide a segment with wan=true',
    });
  });

  test('metrics are JSON unless Prometheus is asked for', async () => {
    let lines: string | null = null;
    const { get } = await start(
      {},
      {},
      { metrics: () => ({ Timestamp: 't' }) as never, prometheusMetrics: () => lines },
    );
    expect((await get('/v1/agent/metrics')).body).toBe('{"Timestamp":"t"}');
    const off = { status: 415, body: 'Prometheus is not enabled since its retention time is not positive' };
    expect(await get('/v1/agent/metrics?format=prometheus')).toMatchObject(off);
    lines = '# TYPE a gauge\n';
    for (const accept of ['application/openmetrics-text; version=0.0.1', 'text/html, text/plain; version=0.4.0']) {
      const got = await get('/v1/agent/metrics', { Accept: accept });
      expect([got.body, got.headers['Content-Type']]).toEqual([lines, 'text/plain; version=0.0.4; charset=utf-8']);
    }
    expect((await get('/v1/agent/metrics', { Accept: 'text/plain' })).body).toBe('{"Timestamp":"t"}');
  });

  test('the monitor sends its headers at once and lines as they come', async () => {
    let options: unknown;
    const { port, get } = await start(
      {},
      {},
      {
        monitor: (asked, onLine) => {
          options = asked;
          const timer = setImmediate(() => onLine('a line'));
          return () => clearImmediate(timer);
        },
      },
    );
    const received = await receiveUntil(
      port,
      'GET /v1/agent/monitor?loglevel=err&logjson HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n',
      'a line\n',
    );
    const head = received.split('\r\n\r\n')[0];
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\nVary: Accept-Encoding\r\n/);
    expect(head).not.toMatch(/Content-(Type|Encoding)/);
    expect(options).toEqual({ level: 'error', json: true });
    expect(await get('/v1/agent/monitor?loglevel=loud')).toMatchObject({
      status: 400,
      body: 'Bad request: Unknown log level: loud',
    });
  });

  test('the host is described', async () => {
    const { get } = await start();
    const host = JSON.parse((await get('/v1/agent/host')).body) as Record<string, Record<string, unknown>>;
    expect(Object.keys(host)).toEqual(['Memory', 'CPU', 'Host', 'Disk', 'CollectionTime', 'Errors']);
    expect(host['Memory']!['total']).toBeGreaterThan(0);
  });
});

describe('health of a local service', () => {
  test.each<[string, HealthCheck[], number]>([
    ['passing', [check()], 200],
    ['passing', [], 200],
    ['warning', [check({ Status: 'warning' })], 429],
    ['critical', [check({ Status: 'critical' }), check({ CheckID: 'c2', Status: 'warning' })], 503],
    ['critical', [check(), check({ CheckID: 'node', ServiceID: '', Status: 'critical' })], 503],
    ['passing', [check(), check({ CheckID: 'other', ServiceID: 'db', Status: 'critical' })], 200],
    ['maintenance', [check({ CheckID: '_service_maintenance:web-1', Status: 'critical' })], 503],
    ['maintenance', [check({ CheckID: '_node_maintenance', ServiceID: '', Status: 'critical' })], 503],
  ])('%s', async (word, checks, status) => {
    const harness = await start();
    withService(harness, ...checks);
    for (const path of ['id/web-1', 'name/web']) {
      const plain = await harness.get(`/v1/agent/health/service/${path}?format=text`);
      expect([plain.status, plain.body, plain.headers['Content-Type']]).toEqual([status, word, 'text/plain']);
      const asked = await harness.get(`/v1/agent/health/service/${path}`, { Accept: 'text/plain' });
      expect(asked.body).toBe(word);
    }
    const got = await harness.get('/v1/agent/health/service/id/web-1');
    expect([got.status, got.headers['X-Consul-Reason']]).toEqual([status, word]);
    expect(JSON.parse(got.body)).toMatchObject({ AggregatedStatus: word, Service: { ID: 'web-1' } });
  });

  test('the worst instance of a name counts', async () => {
    const harness = await start();
    withService(harness, check(), check({ CheckID: 'c2', ServiceID: 'web-2', Status: 'warning' }));
    harness.services.set('web-2', service({ ID: 'web-2' }));
    const got = await harness.get('/v1/agent/health/service/name/web');
    expect([got.status, got.headers['X-Consul-Reason']]).toEqual([429, 'warning']);
    expect((JSON.parse(got.body) as unknown[]).length).toBe(2);
  });

  test('a name that no header can hold', async () => {
    const { get } = await start();
    const got = await get('/v1/agent/health/service/id/%E5%90%8D');
    expect([got.status, got.headers['X-Consul-Reason']]).toEqual([
      404,
      `ServiceId ${Buffer.from('名').toString('latin1')} not found`,
    ]);
  });

  test('what is not there', async () => {
    const { get } = await start();
    const path = '/v1/agent/health/service';
    expect(await get(`${path}/id/none`)).toMatchObject({
      status: 404,
      body: '{"AggregatedStatus":"critical","Service":null,"Checks":null}',
    });
    expect(await get(`${path}/id/none?format=text`)).toMatchObject({
      status: 404,
      body: '"ServiceId none not found"',
    });
    expect(await get(`${path}/name/none`)).toMatchObject({ status: 404, body: '[]' });
    expect(await get(`${path}/name/none?format=text`)).toMatchObject({
      status: 404,
      body: 'ServiceName none Not Found',
    });
    expect(await get(`${path}/id/`)).toMatchObject({ status: 500, body: 'Bad request: Missing serviceID' });
    expect(await get(`${path}/name/`)).toMatchObject({ status: 500, body: 'Bad request: Missing service Name' });
  });
});
