// The client against a fake agent on loopback: what it puts on the wire, and how it words what goes wrong.
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import {
  AgentClient,
  AgentConnectionError,
  type ClientFlags,
  resolveClientOptions,
  UnexpectedResponseError,
} from '../../../src/client/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listen(server: Server, where?: string): Promise<string> {
  await new Promise<void>((resolve) => {
    if (where === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(where, resolve);
  });
  closers.push(() => server.closeAllConnections());
  closers.push(() => server.close());
  return where === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix://${where}`;
}

function clientOf(httpAddr: string, flags: ClientFlags = {}, env: NodeJS.ProcessEnv = {}): AgentClient {
  const client = new AgentClient(resolveClientOptions(env, { httpAddr, ...flags }), new SystemClock());
  closers.push(() => client.close());
  return client;
}

/** An agent that keeps what it was asked and always gives the same answer. */
async function fakeAgent(listener: RequestListener): Promise<{ address: string; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const address = await listen(
    createServer((request, response) => {
      seen.push(request);
      listener(request, response);
    }),
  );
  return { address, seen };
}

describe('a request on the wire', () => {
  test('carries the token, basic authentication, datacenter and namespace, and accepts gzip', async () => {
    const { address, seen } = await fakeAgent((_, response) => response.end('{}'));
    const client = clientOf(
      address,
      { token: 't-1', datacenter: 'dc2', namespace: 'team' },
      { CONSUL_HTTP_AUTH: 'me:secret' },
    );
    await client.request('GET', '/v1/agent/self');
    expect(seen[0]!.url).toBe('/v1/agent/self?dc=dc2&ns=team');
    expect(seen[0]!.headers).toMatchObject({
      'x-consul-token': 't-1',
      authorization: `Basic ${Buffer.from('me:secret').toString('base64')}`,
      'accept-encoding': 'gzip',
    });
  });

  test('has path and query escaped as Go escapes them, names sorted, flags without value', async () => {
    const { address, seen } = await fakeAgent((_, response) => response.end());
    await clientOf(address).request('PUT', "/v1/kv/a b/ü%(c):d,e;f=g@h$i&j+k'*?", {
      query: { recurse: true, near: undefined, stale: false, a: "x y'&z", 'node-meta': ['k:1', 'l:2'], cas: 5n },
    });
    expect(seen[0]!.url).toBe(
      '/v1/kv/a%20b/%C3%BC%25%28c%29:d,e;f=g@h$i&j+k%27%2A%3F?a=x+y%27%26z&cas=5&node-meta=k%3A1&node-meta=l%3A2&recurse=',
    );
  });

  test('sends its body with a length, and a length of 0 where a body is expected', async () => {
    const bodies: string[] = [];
    const { address, seen } = await fakeAgent((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => bodies.push(text));
      request.on('end', () => response.end());
    });
    const client = clientOf(address);
    await client.request('PUT', '/v1/kv/k', { body: 'grüß' });
    await client.request('PUT', '/v1/agent/leave');
    expect(bodies).toEqual(['grüß']);
    expect(seen.map(({ headers }) => headers['content-length'])).toEqual(['6', '0']);
  });

  test('goes over a unix socket', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-client-'));
    closers.push(() => rmSync(dir, { recursive: true }));
    const address = await listen(
      createServer((request, response) => response.end(JSON.stringify(request.url))),
      join(dir, 's'),
    );
    expect(await clientOf(address).json('GET', '/v1/status/leader')).toBe('/v1/status/leader');
  });
});

describe('an answer', () => {
  test('is unpacked, and 64-bit integers keep all digits', async () => {
    const { address } = await fakeAgent((_, response) => {
      response.setHeader('Content-Encoding', 'gzip');
      response.end(gzipSync('[{"Flags":18446744073709551615}]'));
    });
    expect(await clientOf(address).json('GET', '/v1/kv/k')).toMatchObject([{ Flags: 18446744073709551615n }]);
  });

  test('without a body is null as JSON', async () => {
    const { address } = await fakeAgent((_, response) => response.end());
    expect(await clientOf(address).json('PUT', '/v1/agent/reload')).toBeNull();
  });

  test('that is not 2xx is an error with code and untrimmed text', async () => {
    const { address } = await fakeAgent((_, response) => response.writeHead(500).end('1 error occurred:\n\n'));
    const failure = clientOf(address).json('GET', '/v1/catalog/nodes');
    await expect(failure).rejects.toThrow(new UnexpectedResponseError(500, '1 error occurred:\n\n'));
    await expect(failure).rejects.toThrow('Unexpected response code: 500 (1 error occurred:\n\n)');
  });

  test('streams line by line, uncompressed', async () => {
    const { address, seen } = await fakeAgent((_, response) => {
      response.write('one\n');
      response.end('two\n');
    });
    const { body } = await clientOf(address).stream('GET', '/v1/agent/monitor');
    let text = '';
    for await (const chunk of body) text += String(chunk);
    expect(text).toBe('one\ntwo\n');
    expect(seen[0]!.headers['accept-encoding']).toBeUndefined();
  });

  test('as a stream that is refused gives the same error as any other', async () => {
    const { address } = await fakeAgent((_, response) =>
      response.writeHead(400).end('Bad request: Unknown log level: x'),
    );
    await expect(clientOf(address).stream('GET', '/v1/agent/monitor')).rejects.toThrow(
      'Unexpected response code: 400 (Bad request: Unknown log level: x)',
    );
  });
});

describe('no answer', () => {
  /** A port of loopback on which nobody listens. */
  async function closedPort(): Promise<number> {
    const server = createTcpServer();
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  test('is worded as Go words it: connection refused', async () => {
    const port = await closedPort();
    const failure = clientOf(`127.0.0.1:${port}`).request('GET', '/v1/kv/a', { query: { dc: 'x' } });
    await expect(failure).rejects.toThrow(
      new AgentConnectionError(
        `Get "http://127.0.0.1:${port}/v1/kv/a?dc=x": dial tcp 127.0.0.1:${port}: connect: connection refused`,
      ),
    );
  });

  test('missing unix socket', async () => {
    await expect(clientOf('unix://./nosock').request('PUT', '/v1/agent/leave')).rejects.toThrow(
      'Put "http://.%2Fnosock/v1/agent/leave": dial unix ./nosock: connect: no such file or directory',
    );
  });

  test('HTTP where HTTPS was expected', async () => {
    const { address } = await fakeAgent((_, response) => response.end());
    await expect(clientOf(`https://${address}`).request('GET', '/v1/agent/self')).rejects.toThrow(
      `Get "https://${address}/v1/agent/self": http: server gave HTTP response to HTTPS client`,
    );
  });

  test('a peer that hangs up is EOF, before and inside a body', async () => {
    const { address } = await fakeAgent((request, response) => {
      if (request.url === '/half') response.writeHead(200, { 'Content-Length': 10 }).write('abc');
      setImmediate(() => request.socket.destroy());
    });
    await expect(clientOf(address).request('GET', '/none')).rejects.toThrow(`Get "http://${address}/none": EOF`);
    await expect(clientOf(address).request('GET', '/half')).rejects.toThrow(AgentConnectionError);
  });

  test('a truncated compressed answer is an error, not a hang', async () => {
    const { address } = await fakeAgent((request, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).write(gzipSync('x'.repeat(1000)).subarray(0, 15));
      setImmediate(() => request.socket.destroy());
    });
    await expect(clientOf(address).request('GET', '/')).rejects.toThrow(AgentConnectionError);
  });

  test('ends at the time limit, except for blocking queries', async () => {
    const clock = new VirtualClock();
    let asked = (): void => undefined;
    const { address } = await fakeAgent(() => asked());
    const client = new AgentClient(resolveClientOptions({}, { httpAddr: address }), clock);
    closers.push(() => client.close());
    const arrived = new Promise<void>((resolve) => (asked = resolve));
    const failure = expect(client.request('GET', '/v1/kv/a', { timeoutMs: 500 })).rejects.toThrow(
      'context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
    );
    await arrived;
    await clock.advance(500);
    await failure;

    const abort = new AbortController();
    const arrivedAgain = new Promise<void>((resolve) => (asked = resolve));
    const blocked = expect(
      client.request('GET', '/v1/kv/a', { query: { index: 7 }, signal: abort.signal }),
    ).rejects.toThrow('context canceled');
    await arrivedAgain;
    await clock.advance(3_600_000);
    abort.abort();
    await blocked;
  });
});
