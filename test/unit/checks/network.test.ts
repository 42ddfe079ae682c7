// HTTP, TCP and gRPC checks against servers of this process, on loopback.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { dialErrorText, splitHostPort } from '../../../src/checks/dial-error.ts';
import { decodeHealthStatus, encodeHealthRequest, grpcRunner } from '../../../src/checks/grpc.ts';
import { type HttpCheckOptions, httpRunner, userAgentDefault } from '../../../src/checks/http.ts';
import type { CheckResult, CheckRunner } from '../../../src/checks/runner.ts';
import { tcpRunner } from '../../../src/checks/tcp.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';

const clock = new SystemClock();
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function once(runner: CheckRunner, signal = new AbortController().signal): Promise<CheckResult> {
  const results: CheckResult[] = [];
  await runner.run((result) => results.push(result), signal);
  expect(results).toHaveLength(1);
  return results[0]!;
}

function http(url: string, more: Partial<HttpCheckOptions> = {}): CheckRunner {
  return httpRunner({
    url,
    method: 'GET',
    header: {},
    body: '',
    timeoutMs: 10_000,
    outputBytesMax: 4096,
    skipVerify: false,
    serverName: undefined,
    userAgent: userAgentDefault,
    tls: {},
    clock,
    ...more,
  });
}

type Seen = IncomingMessage & { body: string; from: number | undefined };

/** A server whose requests are kept. */
async function serve(listener: RequestListener): Promise<{ port: number; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = [];
    const from = request.socket.remotePort;
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      seen.push(Object.assign(request, { body: Buffer.concat(chunks).toString(), from }));
      listener(request, response);
    });
  });
  const port = await listen(server);
  cleanups.push(() => server.closeAllConnections());
  return { port, seen };
}

describe('an HTTP check', () => {
  test.each([
    [200, 'passing', '200 OK'],
    [204, 'passing', '204 No Content'],
    [429, 'warning', '429 Too Many Requests'],
    [404, 'critical', '404 Not Found'],
    [500, 'critical', '500 Internal Server Error'],
    [304, 'critical', '304 Not Modified'],
  ])('%i is %s', async (code, status, line) => {
    const { port } = await serve((_request, response) =>
      response.writeHead(code).end(code === 200 ? 'all fine\n' : ''),
    );
    const url = `http://127.0.0.1:${port}/path?x=1`;
    expect(await once(http(url))).toEqual({
      status,
      output: `HTTP GET ${url}: ${line} Output: ${code === 200 ? 'all fine\n' : ''}`,
    });
  });

  test('sends the peer’s header lines on a connection of its own', async () => {
    const { port, seen } = await serve((_request, response) => response.end());
    await once(http(`http://127.0.0.1:${port}/`));
    await once(http(`http://127.0.0.1:${port}/`));
    expect(seen[0]!.headers).toEqual({
      host: `127.0.0.1:${port}`,
      'user-agent': 'Consul Health Check',
      accept: 'text/plain, text/*, */*',
      'accept-encoding': 'gzip',
      connection: 'close',
    });
    expect(seen[0]!.from).not.toBe(seen[1]!.from);
  });

  test('sends its own header lines, repeated ones too, and a body with any method', async () => {
    const { port, seen } = await serve((_request, response) => response.end());
    const header = { Host: ['virtual.example'], 'X-Many': ['a', 'b'], accept: ['application/json'] };
    await once(http(`http://user:secret@127.0.0.1:${port}/`, { method: 'PUT', header, body: '{"a":1}' }));
    const [request] = seen;
    expect(request).toMatchObject({ method: 'PUT', body: '{"a":1}' });
    expect(request!.headers).toMatchObject({
      host: 'virtual.example',
      accept: 'application/json',
      'content-length': '7',
      authorization: `Basic ${Buffer.from('user:secret').toString('base64')}`,
    });
    const raw = request!.rawHeaders;
    expect(raw.filter((_text, at) => at % 2 === 1 && raw[at - 1] === 'X-Many')).toEqual(['a', 'b']);
  });

  test('keeps the end of the body, unzipped', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(`${'x'.repeat(10_000)}the end`));
    });
    expect((await once(http(`http://127.0.0.1:${port}/`, { outputBytesMax: 7 }))).output).toMatch(/Output: the end$/);
  });

  test('a body that breaks off does not change the verdict', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': '100' }).write('half');
      setTimeout(() => response.destroy(), 20);
    });
    expect(await once(http(`http://127.0.0.1:${port}/`))).toMatchObject({
      status: 'passing',
      output: expect.stringMatching(/Output: half$/),
    });
  });

  test('follows redirects, up to ten', async () => {
    const { port, seen } = await serve((request, response) => {
      const left = Number(request.url!.slice(1));
      if (left === 0) response.end('arrived');
      else response.writeHead(left % 2 === 0 ? 302 : 307, { Location: `/${left - 1}` }).end();
    });
    const base = `http://127.0.0.1:${port}`;
    expect((await once(http(`${base}/10`, { method: 'POST', body: 'x' }))).output).toBe(
      `HTTP POST ${base}/10: 200 OK Output: arrived`,
    );
    expect(seen.map(({ method, body }) => `${method} ${body}`).slice(0, 2)).toEqual(['POST x', 'GET ']);
    expect(await once(http(`${base}/11`))).toEqual({
      status: 'critical',
      output: `Get "${base}/11": stopped after 10 redirects`,
    });
  });

  test('does not carry credentials to another host', async () => {
    const other = await serve((_request, response) => response.end());
    const { port } = await serve((_request, response) => {
      response.writeHead(302, { Location: `http://127.0.0.1:${other.port}/` }).end();
    });
    await once(http(`http://127.0.0.1:${port}/`, { header: { Authorization: ['Bearer x'], 'X-Plain': ['y'] } }));
    expect(other.seen[0]!.headers).not.toHaveProperty('authorization');
    expect(other.seen[0]!.headers).toHaveProperty('x-plain', 'y');
  });

  test('says in Go’s words why it failed', async () => {
    const closed = await closedPort();
    const { port } = await serve((request) => request.socket.destroy());
    const cases: [string, string][] = [
      [
        `http://127.0.0.1:${closed}/`,
        `Get "http://127.0.0.1:${closed}/": dial tcp 127.0.0.1:${closed}: connect: connection refused`,
      ],
      [
        `http://u:secret@127.0.0.1:${closed}/`,
        `Get "http://u:xxxxx@127.0.0.1:${closed}/": dial tcp 127.0.0.1:${closed}: connect: connection refused`,
      ],
      [`http://127.0.0.1:${port}/`, `Get "http://127.0.0.1:${port}/": EOF`],
      ['ftp://127.0.0.1/', 'Get "ftp://127.0.0.1/": unsupported protocol scheme "ftp"'],
    ];
    for (const [url, output] of cases) expect(await once(http(url))).toEqual({ status: 'critical', output });
  });

  test('ends at its timeout, and at an abort', async () => {
    const { port } = await serve(() => undefined);
    const url = `http://127.0.0.1:${port}/`;
    expect(await once(http(url, { timeoutMs: 50 }))).toEqual({
      status: 'critical',
      output: `Get "${url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
    });
    const abort = new AbortController();
    const running = once(http(url), abort.signal);
    setTimeout(() => abort.abort(new Error('removed')), 20);
    await expect(running).rejects.toThrow('removed');
  });

  test('verifies certificates: unknown authority, skipped, own CA, other name', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-tls-'));
    cleanups.push(() => rmSync(dir, { recursive: true }));
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=named.example',
        '-addext',
        'subjectAltName=DNS:named.example',
        '-keyout',
        join(dir, 'key.pem'),
        '-out',
        join(dir, 'cert.pem'),
      ],
      { stdio: 'ignore' },
    );
    const cert = readFileSync(join(dir, 'cert.pem'));
    const port = await listen(
      createHttpsServer({ cert, key: readFileSync(join(dir, 'key.pem')) }, (_request, response) =>
        response.end('safe'),
      ),
    );
    const url = `https://127.0.0.1:${port}/`;
    const output = async (more: Partial<HttpCheckOptions>): Promise<string> => (await once(http(url, more))).output;
    expect(await output({})).toBe(`Get "${url}": x509: certificate signed by unknown authority`);
    expect(await output({ skipVerify: true })).toBe(`HTTP GET ${url}: 200 OK Output: safe`);
    expect(await output({ tls: { ca: cert }, serverName: 'named.example' })).toBe(
      `HTTP GET ${url}: 200 OK Output: safe`,
    );
    expect(await output({ tls: { ca: cert } })).toContain('altnames');
  });
});

describe('a TCP check', () => {
  const tcp = (target: string, timeoutMs = 10_000): CheckRunner => tcpRunner({ target, timeoutMs, clock });

  test('passes when it can connect', async () => {
    const port = await listen(createTcpServer());
    expect(await once(tcp(`127.0.0.1:${port}`))).toEqual({
      status: 'passing',
      output: `TCP connect 127.0.0.1:${port}: Success`,
    });
    expect((await once(tcp(`localhost:${port}`))).status).toBe('passing');
  });

  test('is critical when it cannot', async () => {
    const port = await closedPort();
    expect(await once(tcp(`127.0.0.1:${port}`))).toEqual({
      status: 'critical',
      output: `dial tcp 127.0.0.1:${port}: connect: connection refused`,
    });
    expect((await once(tcp('no-port'))).output).toBe('dial tcp: address no-port: missing port in address');
  });

  test('an abort ends it', async () => {
    const abort = new AbortController();
    const running = once(tcp('127.0.0.1:1'), abort.signal);
    abort.abort(new Error('removed'));
    await expect(running).rejects.toThrow('removed');
  });
});

describe('a gRPC check', () => {
  const runner = (target: string, timeoutMs = 10_000): CheckRunner =>
    grpcRunner({
      target,
      timeoutMs,
      useTls: false,
      skipVerify: false,
      serverName: undefined,
      userAgent: userAgentDefault,
      tls: {},
      clock,
    });

  /** A health service: names → status; `slow` never answers. */
  async function serveHealth(services: Readonly<Record<string, number>>): Promise<number> {
    const server = new grpc.Server();
    const definition = {
      Check: {
        path: '/grpc.health.v1.Health/Check',
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: Buffer) => value,
        requestDeserialize: (value: Buffer) => value,
        responseSerialize: (value: Buffer) => value,
        responseDeserialize: (value: Buffer) => value,
      },
    };
    server.addService(definition, {
      Check: ((call, callback) => {
        const name = call.request.subarray(2).toString();
        if (name === 'slow') return;
        const status = services[name];
        if (status === undefined) callback({ code: grpc.status.NOT_FOUND, details: 'unknown service' });
        else callback(null, Buffer.from([0x08, status]));
      }) as grpc.handleUnaryCall<Buffer, Buffer>,
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    cleanups.push(() => server.forceShutdown());
    return port;
  }

  test('SERVING passes, all else is critical', async () => {
    const port = await serveHealth({ '': 1, web: 1, sick: 2 });
    const at = `127.0.0.1:${port}`;
    expect(await once(runner(at))).toEqual({ status: 'passing', output: `gRPC check ${at}: success` });
    expect(await once(runner(`${at}/web`))).toEqual({ status: 'passing', output: `gRPC check ${at}/web: success` });
    expect((await once(runner(`${at}/sick`))).output).toBe("gRPC application didn't report service healthy");
    expect((await once(runner(`${at}/nope`))).output).toBe('rpc error: code = NotFound desc = unknown service');
    expect((await once(runner(`${at}/slow`, 50))).output).toBe(
      'rpc error: code = DeadlineExceeded desc = context deadline exceeded',
    );
  });

  test('nobody there is Unavailable', async () => {
    const result = await once(runner(`127.0.0.1:${await closedPort()}`));
    expect(result).toMatchObject({
      status: 'critical',
      output: expect.stringMatching(/^rpc error: code = Unavailable desc = /),
    });
  });

  test('the two messages by hand', () => {
    expect(encodeHealthRequest('')).toEqual(Buffer.alloc(0));
    expect(encodeHealthRequest('web')).toEqual(Buffer.from([0x0a, 3, 0x77, 0x65, 0x62]));
    expect(encodeHealthRequest('x'.repeat(200)).subarray(0, 3)).toEqual(Buffer.from([0x0a, 0xc8, 0x01]));
    expect(decodeHealthStatus(Buffer.alloc(0))).toBe(0);
    expect(decodeHealthStatus(Buffer.from([0x08, 0x01]))).toBe(1);
    expect(decodeHealthStatus(Buffer.from([0x12, 0x02, 0x61, 0x62, 0x08, 0x02]))).toBe(2);
    expect(() => decodeHealthStatus(Buffer.from([0x08, 0x80]))).toThrow('cut off');
  });
});

test.each([
  ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
  ['[::1]:443', { host: '::1', port: 443 }],
  [':8080', { host: '', port: 8080 }],
  ['::1:80', undefined],
  ['host', undefined],
  ['host:99999', undefined],
])('%s is split into host and port', (text, expected) => {
  expect(splitHostPort(text)).toEqual(expected);
});

test('dial errors of several addresses tell the first', () => {
  const one = Object.assign(new Error('x'), { code: 'ECONNREFUSED', address: '::1', port: 80 });
  const error = Object.assign(new AggregateError([one]), { code: 'ECONNREFUSED' });
  expect(dialErrorText(error, 'localhost:80')).toBe('dial tcp [::1]:80: connect: connection refused');
});
