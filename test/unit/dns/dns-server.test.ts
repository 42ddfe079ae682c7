// Sockets: several queries a connection, idle limits, floods, and upstream resolvers that misbehave.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createDnsServer, defaultDnsOptions, type DnsOptions, type DnsServer } from '../../../src/dns/index.ts';
import { readMessage, recordType } from '../../../src/dns/message.ts';
import { writeMessage } from '../../../src/dns/message-writer.ts';
import { parseName } from '../../../src/dns/name.ts';
import { resolveRecursors } from '../../../src/dns/recursor.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import type { Clock } from '../../../src/ports/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';
import { waitUntil } from '../../helpers/wait.ts';
import { askTcp, askUdp, framed, startRecursor, unframed } from './dns-client.ts';
import { FakeCatalog } from './fake-catalog.ts';
import { silentMetrics } from './silent-metrics.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const host = '127.0.0.1';
/** Longest wait for something that is sure to come (ms). */
const patienceMs = 5000;

async function serve(changes: Partial<DnsOptions> = {}, clock: Clock = new SystemClock()) {
  const catalog = new FakeCatalog();
  catalog.register({ Node: 'n1', Address: '10.0.0.1' });
  const { logger, lines } = recordingLogger();
  const options = { ...defaultDnsOptions, nodeName: 'n', datacenter: 'dc1', ...changes };
  const random = new SeededRandom(1);
  const server = createDnsServer({ caller: catalog, options, clock, random, logger, metrics: silentMetrics });
  closing.push(() => server.stop());
  const [address] = await server.start([{ host, port: 0 }]);
  return { server, options, catalog, lines, port: address!.port };
}

function query(name: string, id = 1): Buffer {
  const sections = { answer: [], authority: [], additional: [] };
  return writeMessage(id, 0x0100, { name: parseName(name), type: recordType.A, class: 1 }, sections, {
    compress: true,
  });
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, host);
  socket.on('error', () => {});
  closing.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Messages that arrive on `socket` from now on. */
function collect(socket: Socket): Buffer[] {
  const messages: Buffer[] = [];
  let received = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const { messages: whole, rest } = unframed(Buffer.concat([received, chunk]));
    messages.push(...whole);
    received = Buffer.from(rest);
  });
  return messages;
}

/** Resolves when the connection is gone, also when it was reset. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

const codeAt = (reply: Buffer | null): number => readMessage(reply!).flags & 0xf;

describe('a TCP connection', () => {
  test('gets its answers in order, however the bytes arrive', async () => {
    const { port } = await serve();
    const socket = await open(port);
    const messages = collect(socket);
    const bytes = Buffer.concat([1, 2, 3].map((id) => framed(query('n1.node.consul', id))));
    for (const byte of bytes) {
      socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    await waitUntil('three answers', () => messages.length === 3, patienceMs);
    expect(messages.map((message) => readMessage(message).id)).toEqual([1, 2, 3]);
  });

  test('that the client has half closed still gets its answers, then ends', async () => {
    const { port } = await serve();
    const socket = connect({ port, host, allowHalfOpen: true });
    closing.push(() => socket.destroy());
    const messages = collect(socket);
    const end = once(socket, 'end');
    socket.end(Buffer.concat([1, 2, 3].map((id) => framed(query('n1.node.consul', id)))));
    await end;
    expect(messages).toHaveLength(3);
  });

  test('ends after 128 queries', async () => {
    const { port } = await serve();
    const socket = await open(port);
    const messages = collect(socket);
    socket.write(Buffer.concat(Array.from({ length: 130 }, (_, i) => framed(query('n1.node.consul', i)))));
    await closed(socket);
    expect(messages).toHaveLength(128);
  });

  test('ends after 2 s without a first query, and 8 s after the last', async () => {
    const clock = new VirtualClock();
    const { port } = await serve({}, clock);
    const idle = await open(port);
    await waitUntil('the idle limit', () => clock.pendingTimers === 1, patienceMs);
    let ended = false;
    idle.on('close', () => (ended = true));
    clock.advanceSync(1999);
    await new Promise(setImmediate);
    expect(ended).toBe(false);
    clock.advanceSync(1);
    await waitUntil('the end', () => ended, patienceMs);

    const used = await open(port);
    const messages = collect(used);
    used.write(framed(query('n1.node.consul')));
    await waitUntil('the answer', () => messages.length === 1, patienceMs);
    await waitUntil('the idle limit', () => clock.nextDueMs === clock.monotonicMs() + 8000, patienceMs);
    const end = closed(used);
    clock.advanceSync(8000);
    await end;
  });

  test('half a query counts as none', async () => {
    const clock = new VirtualClock();
    const { port } = await serve({}, clock);
    const socket = await open(port);
    socket.write(framed(query('n1.node.consul')).subarray(0, 9));
    await waitUntil('the idle limit', () => clock.pendingTimers === 1, patienceMs);
    const end = closed(socket);
    clock.advanceSync(2000);
    await end;
  });
});

test('a megabyte of garbage on TCP and UDP changes nothing', async () => {
  const { port } = await serve();
  const random = new SeededRandom(7);
  const udp = createSocket('udp4');
  closing.push(() => udp.close());
  for (let sent = 0; sent < 1_000_000; sent += 1000) {
    udp.send(random.bytes(1000), port, host);
    if (sent % 50_000 === 0) await new Promise(setImmediate);
  }
  const socket = await open(port);
  socket.resume();
  const end = closed(socket);
  socket.end(random.bytes(1_000_000));
  await end;
  expect(codeAt(await askUdp(port, query('n1.node.consul'), patienceMs))).toBe(0);
  expect(codeAt(await askTcp(port, query('n1.node.consul'), patienceMs))).toBe(0);
});

describe('start', () => {
  test('fails when an address is taken, and leaves nothing open', async () => {
    const { port } = await serve();
    const { logger } = recordingLogger();
    const free = await freePort();
    const other: DnsServer = createDnsServer({
      caller: new FakeCatalog(),
      options: { ...defaultDnsOptions, nodeName: 'n', datacenter: 'dc1' },
      clock: new SystemClock(),
      random: new SeededRandom(1),
      logger,
      metrics: silentMetrics,
    });
    const addresses = [
      { host, port: free },
      { host, port },
    ];
    await expect(other.start(addresses)).rejects.toThrow('EADDRINUSE');
    expect(await askTcp(free, query('n1.node.consul'), patienceMs)).toBeNull();
  });

  test('several addresses answer, IPv6 too', async () => {
    const { server } = await serve();
    const [second] = await server.start([{ host: '127.0.0.2', port: 0 }]);
    expect(second!.port).toBeGreaterThan(0);
    const six = await server.start([{ host: '::1', port: 0 }]);
    const socket = createSocket('udp6');
    closing.push(() => socket.close());
    socket.send(query('n1.node.consul'), six[0]!.port, '::1');
    const [reply] = (await once(socket, 'message')) as [Buffer];
    expect(codeAt(reply)).toBe(0);
  });
});

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

describe('recursors', () => {
  const answering = (name: string) => [{ name, type: 'A', answer: [`${name} 9 IN A 192.0.2.1`] }];

  test('are asked with the very query, over the client’s transport', async () => {
    const upstream = await startRecursor(answering('www.example.com.'));
    closing.push(() => upstream.stop());
    const { port } = await serve({ recursors: [`${host}:${upstream.port}`] });
    const sent = query('wWw.example.com', 0x7777);
    await askUdp(port, sent, patienceMs);
    await askTcp(port, sent, patienceMs);
    expect(upstream.asked).toEqual([
      { transport: 'udp', packet: sent },
      { transport: 'tcp', packet: sent },
    ]);
  });

  test('that are dead, silent, or answer nonsense or something else, are passed over', async () => {
    const clock = new VirtualClock();
    const silent = await startRecursor([{ name: '*', silent: true }]);
    const good = await startRecursor(answering('www.example.com.'));
    const forging = createSocket('udp4', (message, from) => {
      const wrongId = Buffer.from(message);
      wrongId.writeUInt16BE(message.readUInt16BE(0) ^ 1, 0);
      wrongId[2]! |= 0x80;
      const otherName = query('evil.example.com', message.readUInt16BE(0));
      otherName[2]! |= 0x80;
      const garbage = Buffer.concat([message.subarray(0, 2), Buffer.from('8180ffffffffffffffff', 'hex')]);
      for (const reply of [wrongId, otherName, message, garbage]) forging.send(reply, from.port, from.address);
    });
    await new Promise<void>((resolve) => forging.bind(0, host, resolve));
    closing.push(
      () => silent.stop(),
      () => good.stop(),
      () => forging.close(),
    );
    const ports = [await freePort(), silent.port, forging.address().port, good.port];
    const { port, lines } = await serve({ recursors: ports.map((each) => `${host}:${each}`) }, clock);
    const reply = askUdp(port, query('www.example.com'), patienceMs);
    await waitUntil('the silent one to be asked', () => silent.asked.length === 1, patienceMs);
    clock.advanceSync(2000);
    expect(readMessage((await reply)!).answer).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith('ERROR recurse failed'))).toHaveLength(3);
  });

  test('come and go with a reload; a bad one changes nothing', async () => {
    const upstream = await startRecursor(answering('www.example.com.'));
    closing.push(() => upstream.stop());
    const { server, options, port } = await serve();
    const ask = async (): Promise<number> => codeAt(await askUdp(port, query('www.example.com'), patienceMs));
    expect(await ask()).toBe(5);
    await server.reload({ ...options, recursors: [`${host}:${upstream.port}`] });
    expect(await ask()).toBe(0);
    await expect(server.reload({ ...options, recursors: ['::'] })).rejects.toThrow('Invalid recursor address: ::');
    expect(await ask()).toBe(0);
    await server.reload({ ...options, recursors: [] });
    expect(await ask()).toBe(5);
  });

  test('are limited in number of questions at a time', async () => {
    const silent = await startRecursor([{ name: '*', silent: true }]);
    closing.push(() => silent.stop());
    const { port, lines } = await serve({ recursors: [`${host}:${silent.port}`], recursorTimeoutMs: 60_000 });
    const socket = createSocket('udp4');
    closing.push(() => socket.close());
    let failed = 0;
    socket.on('message', () => failed++);
    for (let id = 0; id < 260; id++) socket.send(query('www.example.com', id), port, host);
    await waitUntil('four refusals', () => failed === 4, patienceMs);
    expect(lines.filter((line) => line.includes('256 queries are already waiting'))).toHaveLength(4);
  });

  test.each([
    ['10.0.0.1', '10.0.0.1', 53],
    ['10.0.0.1:5353', '10.0.0.1', 5353],
    ['fd00::1', 'fd00::1', 53],
    ['[fd00::1]:5353', 'fd00::1', 5353],
    ['[fd00::1]', 'fd00::1', 53],
  ])('%s is asked at %s, port %i', async (text, address, port) => {
    expect(await resolveRecursors([text, text])).toEqual([{ host: address, port, text }]);
  });

  test.each(['0.0.0.0', '::', '[::]:53', '10.0.0.1:0', '10.0.0.1:99999', 'unix:///run/x', '', 'no-such-host.invalid'])(
    '%j is refused',
    async (text) => {
      await expect(resolveRecursors([text])).rejects.toThrow(`Invalid recursor address: ${text}`);
    },
  );
});
