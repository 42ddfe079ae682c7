import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { httpOptionDefaults, type HttpOptions } from '../../../src/http/index.ts';
import { opensslCipherSuite } from '../../../src/lib/index.ts';
import { TestAuthority } from '../../helpers/certificates.ts';
import { type Harness, start, stopAll } from './harness.ts';

afterEach(stopAll);

const authority = new TestAuthority();
const pair = authority.issue('server');
const client = authority.issue('client');
const stranger = new TestAuthority('another authority').issue('stranger');

function tlsOf(more: Partial<NonNullable<HttpOptions['tls']>> = {}): NonNullable<HttpOptions['tls']> {
  return {
    ...pair,
    ca: [authority.cert],
    minVersion: 'tls12',
    cipherSuites: [],
    preferServerCipherSuites: false,
    verifyIncoming: false,
    handshakeTimeoutMs: 5_000,
    ...more,
  };
}

async function serve(more: Parameters<typeof tlsOf>[0] = {}): Promise<Harness> {
  return await start({ 'Status.Leader': () => '192.0.2.1:8300' }, { tls: tlsOf(more) }, {}, [
    { kind: 'tcp', host: '127.0.0.1', port: 0, tls: true },
  ]);
}

const trusting = { ca: authority.cert, checkServerIdentity: () => undefined };

async function shakeHands(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ...trusting, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

function get(port: number, options: ConnectionOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, path: '/v1/status/leader', agent: false, ...trusting, ...options },
      (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve(`${response.statusCode} ${body}`));
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** What comes back for raw bytes, until the other end closes. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return answer;
}

describe('the HTTPS listener', () => {
  test('serves the API', async () => {
    const { port } = await serve();
    expect(await get(port)).toBe('200 "192.0.2.1:8300"');
  });

  test('offers HTTP/1.1 to a client that would take HTTP/2', async () => {
    const { port } = await serve();
    const socket = await shakeHands(port, { ALPNProtocols: ['h2', 'http/1.1'] });
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.destroy();
  });

  test('tells who speaks plain HTTP', async () => {
    const { port } = await serve();
    const answer = await exchange(port, 'GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(answer).toContain('\r\n\r\nClient sent an HTTP request to an HTTPS server.');
  });

  test('survives what is neither, and a connection that ends at once', async () => {
    const { port } = await serve();
    expect(await exchange(port, '\u0016\u0003nonsense')).not.toContain('HTTP/');
    connectTcp(port, '127.0.0.1').end();
    expect(await get(port)).toMatch(/^200 /);
  });

  test('listens without a certificate and fails each handshake', async () => {
    const { port } = await serve({ cert: '', key: '', ca: [] });
    await expect(shakeHands(port)).rejects.toThrow(/handshake failure/);
  });

  test('closes a connection that says nothing for too long', async () => {
    const { port, clock } = await serve({ handshakeTimeoutMs: 3_000 });
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    while (clock.pendingTimers === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(3_000);
    await closed;
  });

  test.each([
    ['tls12', 'TLSv1.1', false],
    ['tls12', 'TLSv1.2', true],
    ['tls13', 'TLSv1.2', false],
    ['tls10', 'TLSv1', true],
  ] as const)('with %s takes %s: %j', async (minVersion, version, isTaken) => {
    const { port } = await serve({ minVersion });
    const shaken = shakeHands(port, { minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' });
    if (!isTaken) await expect(shaken).rejects.toThrow();
    else {
      const socket = await shaken;
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
  });

  test('takes only the suites named', async () => {
    const { port } = await serve({ cipherSuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'] });
    const socket = await shakeHands(port, { maxVersion: 'TLSv1.2' });
    expect(socket.getCipher().standardName).toBe('TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384');
    socket.destroy();
    const other = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' } as const;
    await expect(shakeHands(port, other)).rejects.toThrow(/handshake failure/);
  });

  test.each([
    [true, 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    [false, 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ])('with its own order preferred (%j) chooses %s', async (preferServerCipherSuites, chosen) => {
    const cipherSuites = ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'];
    const { port } = await serve({ cipherSuites, preferServerCipherSuites });
    const ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384';
    const socket = await shakeHands(port, { maxVersion: 'TLSv1.2', ciphers });
    expect(socket.getCipher().name).toBe(chosen);
    socket.destroy();
  });

  describe('that demands certificates of clients', () => {
    test('serves who has one', async () => {
      const { port } = await serve({ verifyIncoming: true });
      expect(await get(port, client)).toMatch(/^200 /);
    });

    test.each([
      ['nobody', {}],
      ['who has one of another authority', stranger],
    ])('refuses %s', async (_, presented) => {
      const { port, calls } = await serve({ verifyIncoming: true });
      await expect(get(port, presented)).rejects.toThrow();
      expect(calls).toEqual([]);
    });
  });

  test('takes new certificates and demands for the next connection; an open one stays', async () => {
    const harness = await serve();
    const open = await shakeHands(harness.port);
    const next = new TestAuthority('next authority');
    const renewed = tlsOf({ ...next.issue('server'), ca: [authority.cert], verifyIncoming: true });
    harness.server.reload({ ...httpOptionDefaults, datacenter: 'dc1', tls: renewed });
    await expect(get(harness.port, client)).rejects.toThrow(/signature|self-signed|certificate/i);
    expect(await get(harness.port, { ...client, ca: next.cert })).toMatch(/^200 /);
    await expect(get(harness.port, { ca: next.cert })).rejects.toThrow();
    open.write('GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const [answer] = (await once(open, 'data')) as [Buffer];
    expect(answer.toString()).toContain('200 OK');
  });

  test('keeps what it has when a reload brings what cannot be used', async () => {
    const harness = await serve();
    const broken = tlsOf({ key: authority.issue('other').key });
    expect(() => harness.server.reload({ ...httpOptionDefaults, datacenter: 'dc1', tls: broken })).toThrow(/key/);
    expect(await get(harness.port)).toMatch(/^200 /);
  });

  test('counts connections of one client before their handshake', async () => {
    const harness = await start({ 'Status.Leader': () => '' }, { tls: tlsOf(), maxConnsPerClient: 1 }, {}, [
      { kind: 'tcp', host: '127.0.0.1', port: 0, tls: true },
    ]);
    const first = connectTcp(harness.port, '127.0.0.1');
    await once(first, 'connect');
    await expect(get(harness.port)).rejects.toThrow();
    first.destroy();
  });
});

test.each([
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256', 'ECDHE-RSA-AES128-SHA256'],
  ['TLS_RSA_WITH_AES_256_CBC_SHA', 'AES256-SHA'],
  ['TLS_RSA_WITH_3DES_EDE_CBC_SHA', 'DES-CBC3-SHA'],
  ['TLS_ECDHE_RSA_WITH_RC4_128_SHA', 'ECDHE-RSA-RC4-SHA'],
  ['TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
])('OpenSSL calls %s %s', (name, openssl) => {
  expect(opensslCipherSuite(name)).toBe(openssl);
});
