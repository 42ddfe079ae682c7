import { mkdtempSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { AgentRequestError } from '../../../src/http/index.ts';
import { CallError } from '../../../src/model/index.ts';
import { meta, send, sendBytes, start, stopAll } from './harness.ts';

afterEach(stopAll);

const leader = { 'Status.Leader': () => '10.0.0.1:8300' };

/** Without the headers every HTTP server adds. */
function own(headers: Readonly<Record<string, string>>): Record<string, string> {
  const { Date: _, Connection: __, 'Content-Length': ___, 'Keep-Alive': ____, ...rest } = headers;
  return rest;
}

describe('paths', () => {
  test.each([
    ['/v1/kv/a//b', '/v1/kv/a/b'],
    ['/v1/kv/a/./b?recurse', '/v1/kv/a/b?recurse'],
    ['/v1/kv/up/../dot', '/v1/kv/dot'],
    ['/v1/kv/a%2F%2Fb', '/v1/kv/a/b'],
    ['/v1/kv', '/v1/kv/'],
    ['/v1/health/service', '/v1/health/service/'],
    ['/v1/kv/a//%C3%BC!', '/v1/kv/a/%C3%BC%21'],
  ])('%s is redirected to %s', async (path, location) => {
    const { send } = await start();
    const got = await send('GET', path);
    expect(got.status).toBe(301);
    expect(own(got.headers)).toEqual({ Location: location, 'Content-Type': 'text/html; charset=utf-8' });
    expect(got.body).toBe(`<a href="${location}">Moved Permanently</a>.\n\n`);
    const put = await send('PUT', path);
    expect([put.status, put.body, own(put.headers)]).toEqual([301, '', { Location: location }]);
  });

  test.each(['/nothing', '/v1', '/v1/', '/v1/catalog', '/v1/catalog/nodes/', '/v1/KV/x', '/v1/acl'])(
    '%s is unknown',
    async (path) => {
      const { get } = await start({}, { responseHeaders: { 'X-A': '1' } });
      const got = await get(path);
      expect([got.status, got.body, own(got.headers)]).toEqual([404, '', {}]);
    },
  );

  test.each(['/v1/kv/%0A', '/v1/kv/%00', '/v1/kv/%E2%80%A8', '/v1/kv/%C2%A0'])('%s is not printable', async (path) => {
    const { get } = await start();
    const got = await get(path);
    expect([got.status, got.body, own(got.headers)]).toEqual([400, '', {}]);
  });

  test('the filter for non-printable paths can be turned off', async () => {
    const { get, calls } = await start(
      { 'KVS.Get': () => ({ ...meta, Entries: null }) },
      { disableUnprintableFilter: true },
    );
    expect((await get('/v1/kv/a%0Ab')).status).toBe(404);
    expect(calls[0]?.request).toMatchObject({ Key: 'a\nb' });
  });

  test('an escape that cannot be decoded: 400 in the path, 500 in the query', async () => {
    const { get } = await start();
    expect((await get('/v1/kv/%zz')).status).toBe(400);
    const got = await get('/v1/kv/a?%zz');
    expect([got.status, got.body, own(got.headers)]).toEqual([500, '', { Vary: 'Accept-Encoding' }]);
  });

  test('the root says who is there', async () => {
    const { get } = await start();
    expect(await get('/')).toMatchObject({ status: 200, body: 'Consul Agent' });
  });
});

describe('methods', () => {
  test.each(['POST', 'PATCH', 'HEAD', 'TRACE', 'PROPFIND'])('%s is refused', async (method) => {
    const { send } = await start();
    const got = await send(method, '/v1/kv/x');
    expect(got.status).toBe(405);
    expect(own(got.headers)).toEqual({
      Vary: 'Accept-Encoding',
      Allow: 'OPTIONS,GET,PUT,DELETE',
      'Content-Type': 'text/plain; charset=utf-8',
    });
    expect(got.body).toBe(method === 'HEAD' ? '' : `method ${method} not allowed`);
  });

  test('a verb that nobody knows is refused in the same way', async () => {
    const { port } = await start();
    const got = await sendBytes(port, 'BREW /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(got).toMatch(/^HTTP\/1\.1 405 Method Not Allowed\r\n/);
    expect(got).toContain('\r\nAllow: OPTIONS,GET\r\n');
    expect(got).toMatch(/\r\n\r\nmethod BREW not allowed$/);
    expect(await sendBytes(port, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  });

  test('OPTIONS lists the methods', async () => {
    const { send } = await start();
    const got = await send('OPTIONS', '/v1/catalog/register');
    expect([got.status, got.body, own(got.headers)]).toEqual([
      200,
      '',
      { Vary: 'Accept-Encoding', Allow: 'OPTIONS,PUT' },
    ]);
  });
});

describe('configuration', () => {
  test('response headers stand on every answer of a known path, with canonical names', async () => {
    const { send, get } = await start(leader, {
      responseHeaders: { 'x-golden-test': 'yes', vary: 'mine' },
      translateWanAddrs: true,
    });
    const got = await get('/v1/status/leader');
    expect(own(got.headers)).toEqual({
      Vary: 'mine',
      'X-Golden-Test': 'yes',
      'X-Consul-Translate-Addresses': 'true',
      'Content-Type': 'application/json',
    });
    expect((await send('OPTIONS', '/v1/kv/x')).headers['X-Golden-Test']).toBe('yes');
    expect((await send('POST', '/v1/kv/x')).headers['X-Golden-Test']).toBe('yes');
  });

  test('response headers that no answer can carry are left out or made so, and stop nobody', async () => {
    const { get, send } = await start(leader, {
      responseHeaders: {
        'x-place': 'Tōkyō 東京',
        'x-lines': 'a\r\nSet-Cookie: b',
        'bad name': '1',
        ключ: '1',
        '': '1',
        'content-length': '3',
        'transfer-encoding': 'chunked',
      },
    });
    const got = await get('/v1/status/leader');
    expect(got.body).toBe('"10.0.0.1:8300"');
    expect(own(got.headers)).toEqual({
      Vary: 'Accept-Encoding',
      // UTF-8, which a client reads as Latin-1.
      'X-Place': Buffer.from('Tōkyō 東京').toString('latin1'),
      'X-Lines': 'a  Set-Cookie: b',
      'Content-Type': 'application/json',
    });
    expect((await send('PURGE', '/v1/kv/x')).status).toBe(405);
  });

  test('blocked endpoints are refused before the method is looked at', async () => {
    const { send, get } = await start(leader, { blockEndpoints: ['/v1/agent/mon', '/v1/kv/'] });
    for (const path of ['/v1/agent/monitor', '/v1/kv/x']) {
      expect(await send('POST', path)).toMatchObject({
        status: 403,
        body: 'Endpoint is blocked by agent configuration',
      });
    }
    expect((await get('/v1/status/leader')).status).toBe(200);
  });

  test('writes may be left to some networks', async () => {
    const { send, get } = await start(leader, { allowWriteHttpFrom: ['192.0.2.0/24'] });
    expect(await send('PUT', '/v1/kv/x')).toMatchObject({ status: 403, body: 'Access is restricted' });
    expect((await send('POST', '/v1/kv/x')).status).toBe(405);
    expect((await send('OPTIONS', '/v1/kv/x')).status).toBe(200);
    expect((await get('/v1/status/leader')).status).toBe(200);
  });

  test('a client with too many connections has the newest closed', async () => {
    const { port } = await start(leader, { maxConnsPerClient: 1 });
    const first = createConnection(port, '127.0.0.1');
    await new Promise((resolve) => first.once('connect', resolve));
    expect(await sendBytes(port, 'GET / HTTP/1.0\r\n\r\n').catch(() => '')).toBe('');
    first.destroy();
    await new Promise((resolve) => first.once('close', resolve));
    await expect
      .poll(() => sendBytes(port, 'GET / HTTP/1.0\r\n\r\n').catch(() => ''))
      .toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  test('a unix socket gets the mode asked for', async () => {
    const { server } = await start(leader);
    const path = join(mkdtempSync(join(tmpdir(), 'portolan-')), 'http.sock');
    await server.start([{ kind: 'unix', path, mode: 0o600 }]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await send({ socketPath: path }, 'GET', '/v1/status/leader')).toMatchObject({ body: '"10.0.0.1:8300"' });
  });
});

describe('compression', () => {
  test.each([
    ['gzip', true],
    ['deflate, gzip;q=0.5', true],
    ['gzip;q=0', false],
    ['deflate', false],
    ['br', false],
  ])('Accept-Encoding: %s', async (encoding, compressed) => {
    const { get } = await start(leader);
    const got = await get('/v1/status/leader', { 'Accept-Encoding': encoding });
    expect(got.headers['Content-Encoding']).toBe(compressed ? 'gzip' : undefined);
    expect(got.body).toBe('"10.0.0.1:8300"');
  });

  test('error texts are compressed, empty bodies are not', async () => {
    const { get } = await start({ 'KVS.Get': () => ({ ...meta, Entries: null }) });
    const refused = await get('/v1/kv/', { 'Accept-Encoding': 'gzip' });
    expect([refused.headers['Content-Encoding'], refused.body]).toEqual(['gzip', 'Missing key name']);
    const missing = await get('/v1/kv/x', { 'Accept-Encoding': 'gzip' });
    expect([missing.headers['Content-Encoding'], missing.body]).toEqual([undefined, '']);
  });

  test('a large answer arrives whole', async () => {
    const value = new Uint8Array(100_000).fill(65);
    const { get } = await start({
      'KVS.Get': () => ({
        ...meta,
        Entries: [{ Key: 'x', Value: value, Flags: 0n, LockIndex: 0, Session: '', CreateIndex: 1, ModifyIndex: 1 }],
      }),
    });
    const got = await get('/v1/kv/x?raw', { 'Accept-Encoding': 'gzip' });
    expect(got.bytes.equals(value)).toBe(true);
  });
});

describe('errors', () => {
  test.each([
    ['Permission denied', 403],
    ['rpc error making call: ACL not found', 403],
    ['No cluster leader', 500],
  ])('a call that fails with "%s" is answered with %d', async (message, status) => {
    const fail = (): never => {
      throw new CallError(message);
    };
    const { get } = await start({ 'KVS.Get': fail, 'Catalog.ListNodes': fail });
    const kv = await get('/v1/kv/x');
    expect([kv.status, kv.body]).toEqual([status, message]);
    expect(kv.headers['X-Consul-Index']).toBeUndefined();
    const nodes = await get('/v1/catalog/nodes');
    expect([nodes.status, nodes.body]).toEqual([status, message]);
    expect(own(nodes.headers)).toEqual({
      Vary: 'Accept-Encoding',
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Consul-Index': '1',
      'X-Consul-Knownleader': 'false',
      'X-Consul-Lastcontact': '0',
    });
  });

  test('what the agent refuses keeps its status', async () => {
    const { put } = await start({}, {}, { leave: () => Promise.reject(new AgentRequestError(418, 'no')) });
    expect(await put('/v1/agent/leave')).toMatchObject({ status: 418, body: 'no' });
  });
});

describe('the life of a request', () => {
  test('a blocking query ends when its client goes', async () => {
    let aborted: (() => void) | undefined;
    const ended = new Promise<void>((resolve) => (aborted = resolve));
    let called: (() => void) | undefined;
    const began = new Promise<void>((resolve) => (called = resolve));
    const { port } = await start({
      'KVS.Get': (_: never, signal?: AbortSignal) =>
        new Promise((_resolve, reject) => {
          called!();
          signal!.addEventListener('abort', () => {
            aborted!();
            reject(signal!.reason as Error);
          });
        }),
    });
    const client = new AbortController();
    const answer = send({ host: '127.0.0.1', port }, 'GET', '/v1/kv/x?index=5', { signal: client.signal });
    await began;
    client.abort();
    await expect(answer).rejects.toThrow();
    await ended;
  });

  test('a stop ends blocking queries and streams at once', async () => {
    let left = false;
    let called: (() => void) | undefined;
    const began = new Promise<void>((resolve) => (called = resolve));
    let streamed: (() => void) | undefined;
    const flowing = new Promise<void>((resolve) => (streamed = resolve));
    const { port, server } = await start(
      {
        'KVS.Get': (_: never, signal?: AbortSignal) =>
          new Promise((_resolve, reject) => {
            called!();
            signal!.addEventListener('abort', () => reject(signal!.reason as Error));
          }),
      },
      {},
      {
        monitor: (_options, onLine) => {
          onLine('hello');
          streamed!();
          return () => {
            left = true;
          };
        },
      },
    );
    const query = send({ host: '127.0.0.1', port }, 'GET', '/v1/kv/x?index=5').catch(() => 'broken');
    const stream = sendBytes(port, 'GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n');
    await Promise.all([began, flowing]);
    await server.stop();
    expect(await query).toBe('broken');
    const received = await stream.catch(() => '');
    expect(left).toBe(true);
    expect(received).not.toContain('Content-Encoding');
  });

  test('a stop does not wait long for a client that does not finish its request', async () => {
    const { port, server, clock, get } = await start(leader);
    const slow = sendBytes(port, 'GET /v1/status/leader HTTP/1.1\r\n').catch(() => '');
    expect((await get('/v1/status/leader')).status).toBe(200);
    const stopped = server.stop();
    await clock.advance(2_000);
    await stopped;
    expect(await slow).toBe('');
  });

  test('a KV value that is announced too large is refused before it is read', async () => {
    const { send, calls } = await start({}, { kvMaxValueSize: 100 });
    const got = await send('PUT', '/v1/kv/x', { body: 'x'.repeat(101) });
    expect([got.status, got.body]).toEqual([
      413,
      'Request body(101 bytes) too large, max size: 100 bytes. ' +
        'See https://www.consul.io/docs/agent/options.html#kv_max_value_size.',
    ]);
    expect(calls).toEqual([]);
  });

  test('the content type of a request does not matter', async () => {
    const { send, asked } = await start();
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'not a type', '']) {
      const got = await send('PUT', '/v1/agent/service/register', {
        headers: { 'Content-Type': type },
        body: '{"Name":"web"}',
      });
      expect(got).toMatchObject({ status: 200, body: '' });
    }
    expect(asked).toHaveLength(4);
  });
});

describe('connections', () => {
  const waiting = (signals: AbortSignal[]) => ({
    'KVS.Get': (_: never, signal?: AbortSignal) => {
      signals.push(signal!);
      return new Promise((_resolve, reject) => {
        signal!.addEventListener('abort', () => reject(signal!.reason as Error));
      });
    },
  });
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve));
  };

  test('the request of a pipeline whose turn it is ends with its connection, and those behind it never begin', async () => {
    const signals: AbortSignal[] = [];
    const { port } = await start(waiting(signals));
    const socket = createConnection(port, '127.0.0.1');
    socket.write('GET /v1/kv/a?index=9 HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(5));
    await until(() => signals.length === 1);
    socket.destroy();
    await until(() => signals[0]!.aborted);
    await new Promise((resolve) => setImmediate(resolve));
    expect(signals).toHaveLength(1);
  });

  test('many waiting requests raise no warning of a leak', async () => {
    const warnings: string[] = [];
    const note = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', note);
    const signals: AbortSignal[] = [];
    const { port } = await start(waiting(signals));
    const socket = createConnection(port, '127.0.0.1');
    socket.write('GET /v1/kv/a?index=9 HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20));
    await until(() => signals.length === 1);
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });
});
