// Connections that want little, slowly, or everything at once: others are served meanwhile, and nothing of them stays.
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { expectSound, HeapGauge, residentBytes } from './support/fuzz.ts';

const ports = { http: 21_720, dns: 21_721 } as const;
const idleConnections = 5_000;
/** Connections from one address; the default limit is 200. */
const perAddress = 150;
/** Memory that the process may hold for each idle connection (bytes): socket, parser, bookkeeping. */
const idleBytesMax = 40 * 1024;
/** What a collected heap may differ by when nothing has changed (bytes). */
const heapNoiseBytes = 4 * 2 ** 20;
/** Longest time that a head may take: the server's limit, how often it looks, and a busy machine (ms). */
const slowHeadLimitMs = 90_000;

const gauge = new HeapGauge();
const agent = new AgentProcess({
  ports,
  env: gauge.env,
  args: ['-registrator=false', '-log-level=err', '-server-port=21722', '-serf-lan-port=21723', '-serf-wan-port=21724'],
});
const open = new Set<Socket>();

beforeAll(async () => {
  await agent.start();
  await agent.request('PUT', '/v1/agent/service/register', { Name: 'kept', Port: 80 });
  await agent.request('PUT', '/v1/kv/kept', 'value');
});
afterAll(async () => {
  for (const socket of open) socket.destroy();
  await agent.close();
  gauge.close();
});

function connected(port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  return new Promise((done, fail) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.once('error', fail);
    socket.once('connect', () => {
      socket.off('error', fail);
      socket.on('error', () => undefined);
      done(socket);
    });
  });
}

/** All that comes until the other side ends. */
function received(socket: Socket): Promise<string> {
  return new Promise((done) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('close', () => done(text));
  });
}

async function stillServes(): Promise<void> {
  expectSound(agent);
  expect((await agent.get('/v1/kv/kept?raw')).text).toBe('"value"');
  expect((await agent.dns('kept.service.consul', 'SRV')).length).toBe(1);
}

/** Closes them, and waits until the agent has seen it: its own sockets are counted. */
async function closeAll(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy();
  await waitUntil('the sockets to close', () => sockets.every((socket) => !open.has(socket)));
}

test.each([
  ['HTTP', ports.http],
  ['DNS', ports.dns],
])(`${idleConnections} idle connections to %s`, async (_, port) => {
  const [heapBefore, residentBefore] = [await gauge.heapBytes(agent), residentBytes(agent)];
  const sockets: Socket[] = [];
  for (let at = 0; at < idleConnections; at += 100) {
    const localAddress = `127.0.1.${1 + Math.floor(at / perAddress)}`;
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => connected(port, localAddress)))));
  }
  await stillServes();
  expect((residentBytes(agent) - residentBefore) / idleConnections).toBeLessThan(idleBytesMax);
  await closeAll(sockets);
  await stillServes();
  await waitUntil(
    'the heap to be what it was',
    async () => (await gauge.heapBytes(agent)) < heapBefore + heapNoiseBytes,
  );
});

test('one address has 200 connections and is refused more, until one closes', async () => {
  const sockets = await Promise.all(Array.from({ length: 200 }, () => connected(ports.http, '127.0.2.1')));
  const refused = await received(await connected(ports.http, '127.0.2.1'));
  expect(refused).toBe('');
  await stillServes();
  await closeAll(sockets.slice(0, 1));
  await waitUntil('a connection to be taken', async () => {
    const socket = await connected(ports.http, '127.0.2.1');
    const text = received(socket);
    socket.end('GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    return (await text).startsWith('HTTP/1.1 200 ');
  });
  await closeAll(sockets);
});

test(
  'heads that never end are cut off, and hold up nobody',
  async () => {
    const sockets = await Promise.all(Array.from({ length: 100 }, () => connected(ports.http)));
    const answers = sockets.map(received);
    for (const socket of sockets) socket.write('GET /v1/status/leader HTTP/1.1\r\nX-Slow: ');
    const drip = setInterval(() => {
      for (const socket of sockets) if (open.has(socket)) socket.write('x');
    }, 1_000);
    try {
      await stillServes();
      for (const answer of await Promise.all(answers)) expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    } finally {
      clearInterval(drip);
    }
    await stillServes();
  },
  slowHeadLimitMs,
);

test('a client that has said all it had to say, and closed its half, is answered', async () => {
  const socket = await connected(ports.http);
  const answer = received(socket);
  socket.end('GET /v1/kv/kept?raw HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(await answer).toMatch(/^HTTP\/1\.1 200 [^]*"value"$/);
});

test('blocking queries whose clients are gone, or have closed their half, do not stay', async () => {
  const index = 'GET /v1/kv/watched?index=1000000&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n';
  const before = await gauge.heapBytes(agent);
  for (let round = 0; round < 10; round++) {
    const sockets = await Promise.all(Array.from({ length: 150 }, () => connected(ports.http)));
    for (const [at, socket] of sockets.entries()) {
      socket.resume();
      if (at % 2 === 0) socket.write(index);
      else socket.end(index);
    }
    await stillServes();
    await closeAll(sockets);
  }
  await agent.request('PUT', '/v1/kv/watched', 'now');
  await stillServes();
  await waitUntil('the heap to be what it was', async () => (await gauge.heapBytes(agent)) < before + heapNoiseBytes);
});

test('pipelined requests are answered in their order', async () => {
  // Two requests each; no more than 128 may wait.
  const count = 50;
  const socket = await connected(ports.http);
  const answer = received(socket);
  const requests = Array.from(
    { length: count },
    (_, at) =>
      `PUT /v1/kv/pipe?flags=${at} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv` +
      `GET /v1/kv/pipe HTTP/1.1\r\nHost: x\r\n\r\n`,
  );
  socket.write(`${requests.join('')}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const flags = [...(await answer).matchAll(/"Flags": (\d+)/g)].map(([, number]) => Number(number));
  expect(flags).toEqual(Array.from({ length: count }, (_, at) => at));
  await stillServes();
});

test('a client that asks on and on and never reads is not answered without end', async () => {
  const before = residentBytes(agent);
  const value = 'x'.repeat(500_000);
  await agent.request('PUT', '/v1/kv/large', value);
  const sockets = await Promise.all(Array.from({ length: 10 }, () => connected(ports.http)));
  for (const socket of sockets) {
    socket.pause();
    // 5 GB of answers in all.
    socket.write('GET /v1/kv/large HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_000));
  }
  for (let round = 0; round < 20; round++) await stillServes();
  expect(residentBytes(agent) - before).toBeLessThan(300 * 2 ** 20);
  await closeAll(sockets);
  await stillServes();
});
