import { afterEach, expect, test } from 'vitest';
import { TcpNetwork } from '../../../src/node/tcp-network.ts';
import { createTlsClient, createTlsServer, type TlsIdentity } from '../../../src/node/tls-streams.ts';
import type { Stream, StreamListener, TlsStream } from '../../../src/ports/index.ts';
import { TestAuthority } from '../../helpers/certificates.ts';
import { type Recorder, record } from '../../helpers/stream-pair.ts';
import { waitUntil } from '../../helpers/wait.ts';

const network = new TcpNetwork();
const authority = new TestAuthority();
const stranger = new TestAuthority('another authority');
const identity = (name: string, from = authority): TlsIdentity => ({ ca: authority.cert, ...from.issue(name) });
const timeoutMs = 5_000;
const listeners: StreamListener[] = [];
const streams: Stream[] = [];

afterEach(async () => {
  for (const stream of streams.splice(0)) stream.destroy();
  for (const listener of listeners.splice(0)) await listener.close();
});

/** Both ends of a TCP connection, each with TLS begun on it. */
async function meet(options: {
  readonly client?: TlsIdentity;
  readonly clientCertificate?: 'required' | 'ignored';
  readonly serverName?: string | null;
  readonly verify?: boolean;
  readonly endsInside?: boolean;
  readonly alpn?: { readonly client: readonly string[]; readonly server: readonly string[] };
}): Promise<{ client: PromiseSettledResult<TlsStream>; server: PromiseSettledResult<TlsStream> }> {
  const tls = createTlsServer({ identity: () => identity('server.dc1.consul') });
  let accepted!: (stream: Stream) => void;
  const incoming = new Promise<Stream>((resolve) => (accepted = resolve));
  const listener = await network.listen({ address: '127.0.0.1', port: 0 }, accepted);
  listeners.push(listener);
  const outgoing = await network.connect(listener.local, { timeoutMs });
  const { client, clientCertificate = 'ignored', serverName = null, verify, endsInside, alpn } = options;
  const [clientSide, serverSide] = await Promise.allSettled([
    createTlsClient({ identity: () => client ?? { ca: authority.cert, cert: '', key: '' } }).connect(outgoing, {
      serverName,
      timeoutMs,
      ...(verify === undefined ? {} : { verify }),
      ...(endsInside === undefined ? {} : { endsInside }),
      ...(alpn === undefined ? {} : { alpn: alpn.client }),
    }),
    tls.accept(await incoming, { clientCertificate, timeoutMs, ...(alpn === undefined ? {} : { alpn: alpn.server }) }),
  ]);
  streams.push(outgoing, await incoming);
  return { client: clientSide, server: serverSide };
}

function fulfilled(result: PromiseSettledResult<TlsStream>): TlsStream {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

test('carries bytes both ways, each half ending on its own', async () => {
  const sides = await meet({ serverName: 'server.dc1.consul' }).catch(() => undefined);
  // The helper's certificates have a name for humans only: the name is not verified by them.
  const { client, server } = sides?.client.status === 'fulfilled' ? sides : await meet({});
  const [a, b] = [fulfilled(client), fulfilled(server)];
  const [seenA, seenB] = [record(a), record(b)];
  const large = Buffer.alloc(3_000_000, 'x');
  a.write(large);
  a.end();
  await waitUntil('the end of one half', () => seenB.ended);
  expect(seenB.bytes.equals(large)).toBe(true);
  b.write(Buffer.from('answer'));
  b.end();
  await waitUntil('the end of the other', () => seenA.ended && seenA.closed !== undefined);
  expect(seenA.bytes.toString()).toBe('answer');
  expect(a.remote).toEqual(b.local);
});

test('back-pressure reaches the writer through TLS', async () => {
  const { client, server } = await meet({});
  const [a, b] = [fulfilled(client), fulfilled(server)];
  b.pause();
  const seenB: Recorder = record(b);
  const seenA = record(a);
  b.pause();
  const piece = Buffer.alloc(1_000_000);
  let written = 0;
  while (a.write(piece) && written < 64) written++;
  expect(written).toBeLessThan(64);
  b.resume();
  await waitUntil('room again', () => seenA.drained > 0);
  expect(seenB.bytes.length).toBeGreaterThan(0);
});

test('nothing is lost that came before somebody read, though both halves have ended', async () => {
  for (const size of [10_000, 3_000_000]) {
    const { client, server } = await meet({});
    const [a, b] = [fulfilled(client), fulfilled(server)];
    const seenB = record(b);
    a.end();
    const large = Buffer.alloc(size, 'x');
    b.write(large);
    b.end();
    await waitUntil('the end of one half', () => seenB.ended);
    // What the network did not take yet waits for the reader.
    await waitUntil('the other side to be done', () => size > 10_000 || seenB.closed !== undefined);
    const seenA = record(a);
    await waitUntil('the close', () => seenA.closed !== undefined);
    expect(seenA.bytes.length).toBe(size);
  }
});

test('a half that ends below TLS is the end for the peer, whose answer comes whole', async () => {
  const { client, server } = await meet({ endsInside: false });
  const [a, b] = [fulfilled(client), fulfilled(server)];
  const [seenA, seenB] = [record(a), record(b)];
  const large = Buffer.alloc(3_000_000, 'x');
  a.write(large);
  a.end();
  a.write(Buffer.from('too late'));
  await waitUntil('the end of one half', () => seenB.ended);
  expect(seenB.bytes.equals(large)).toBe(true);
  b.write(large);
  b.end();
  await waitUntil('both to be closed', () => seenA.closed !== undefined && seenB.closed !== undefined);
  expect(seenA.bytes.equals(large)).toBe(true);
});

test('a client certificate is asked for where it is required', async () => {
  const none = await meet({ clientCertificate: 'required' });
  expect(none.server.status).toBe('rejected');
  const wrong = await meet({ clientCertificate: 'required', client: identity('client', stranger) });
  expect(wrong.server.status).toBe('rejected');
  const right = await meet({ clientCertificate: 'required', client: identity('client') });
  expect([right.client.status, right.server.status]).toEqual(['fulfilled', 'fulfilled']);
});

test('a server of another authority is refused, unless nothing is verified', async () => {
  const client = { ...identity('client'), ca: stranger.cert };
  expect((await meet({ client })).client.status).toBe('rejected');
  expect((await meet({ client, verify: false })).client.status).toBe('fulfilled');
});

test('a server of another name is refused when the name counts', async () => {
  const { client } = await meet({ serverName: 'server.dc2.consul' });
  expect(client.status).toBe('rejected');
});

test('both sides learn what ALPN chose', async () => {
  const { client, server } = await meet({ alpn: { client: ['x', 'consul/raft'], server: ['consul/raft', 'y'] } });
  expect([fulfilled(client).alpn, fulfilled(server).alpn]).toEqual(['consul/raft', 'consul/raft']);
  const without = await meet({});
  expect(fulfilled(without.client).alpn).toBeNull();
});

test('a handshake that does not come ends in time', async () => {
  let accepted!: (stream: Stream) => void;
  const incoming = new Promise<Stream>((resolve) => (accepted = resolve));
  const listener = await network.listen({ address: '127.0.0.1', port: 0 }, accepted);
  listeners.push(listener);
  const silent = await network.connect(listener.local, { timeoutMs });
  streams.push(silent);
  const tls = createTlsServer({ identity: () => identity('server') });
  await expect(tls.accept(await incoming, { clientCertificate: 'ignored', timeoutMs: 50 })).rejects.toThrow(
    'TLS handshake timeout',
  );
});

test('garbage in place of a handshake is refused and harms no other', async () => {
  const tls = createTlsServer({ identity: () => identity('server') });
  const connections: Stream[] = [];
  const listener = await network.listen({ address: '127.0.0.1', port: 0 }, (stream) => connections.push(stream));
  listeners.push(listener);
  const dial = async (): Promise<{ here: Stream; there: Stream }> => {
    const before = connections.length;
    const here = await network.connect(listener.local, { timeoutMs });
    const there = await waitUntil('the connection', () => connections[before]);
    streams.push(here, there);
    return { here, there };
  };
  const bad = await dial();
  const refused = tls.accept(bad.there, { clientCertificate: 'ignored', timeoutMs });
  bad.here.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await expect(refused).rejects.toThrow();
  const good = await dial();
  const client = createTlsClient({ identity: () => ({ ca: authority.cert, cert: '', key: '' }) });
  const both = await Promise.all([
    client.connect(good.here, { serverName: null, timeoutMs }),
    tls.accept(good.there, { clientCertificate: 'ignored', timeoutMs }),
  ]);
  expect(both).toHaveLength(2);
});
