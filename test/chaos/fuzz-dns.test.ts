// The DNS server under packets that are nearly right, over UDP and TCP: it answers on, in time, and nothing stays.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
import { fuzzPacket, recordedQueries, registrations } from './support/dns-packets.ts';
import {
  Draw,
  expectLevel,
  expectSound,
  fuzzLimitMs,
  fuzzRequests,
  fuzzSeed,
  HeapGauge,
  residentBytes,
} from './support/fuzz.ts';

const ports = { http: 21_710, dns: 21_711 } as const;
const packets = fuzzRequests * 10;
/** One in so many goes over TCP, all of a burst in one connection. */
const tcpShare = 20;
/** Packets sent before one that must be answered; about what a default receive buffer holds. */
const burst = 64;
/** Bursts under way at the same time. */
const parallel = 2;
/** A kernel may drop packets, a question that must be answered like any other: it is asked again after this (ms). */
const askAgainMs = 500;
/** Longest answer to a whole query (ms); a test machine may be busy. */
const answerLimitMs = 20_000;
const rounds = 10;
const probeId = 0xbeef;

const gauge = new HeapGauge();
const agent = new AgentProcess({
  ports,
  env: gauge.env,
  args: ['-registrator=false', '-log-level=err', '-server-port=21712', '-serf-lan-port=21713', '-serf-wan-port=21714'],
});
beforeAll(async () => {
  await agent.start();
  for (const { method = 'PUT', path, body } of registrations) {
    expect((await agent.request(method, path, body)).status).toBe(200);
  }
});
afterAll(async () => {
  await agent.close();
  gauge.close();
});

/** A question whose answer says that everything before it has been read. */
const probe = Buffer.concat([
  Buffer.from([probeId >> 8, probeId & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...['web', 'service', 'consul'].map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)])),
  Buffer.from([0, 0, 33, 0, 1]),
]);

/** Packets that the kernel threw away because the agent had not read the ones before. */
function droppedPackets(): number {
  const local = `:${ports.dns.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/udp', 'utf8').split('\n');
  // Only the agent's socket has this as its own port; the count is the last column.
  const row = rows.find((text) => text.trim().split(/\s+/)[1]?.endsWith(local) === true);
  return Number(row?.trim().split(/\s+/).at(-1));
}

/** Sends `sent` and the probe without waiting, until the latter is answered. @returns the number of answers */
function overUdp(socket: UdpSocket, sent: readonly Buffer[]): Promise<number> {
  return new Promise((done, fail) => {
    let answers = 0;
    const timer = setTimeout(() => end(() => fail(new Error(`no answer in ${answerLimitMs} ms`))), answerLimitMs);
    const again = setInterval(() => socket.send(probe), askAgainMs);
    const onMessage = (answer: Buffer): void => {
      answers++;
      if (answer.readUInt16BE(0) === probeId && answer.readUInt16BE(6) > 0) end(() => done(answers));
    };
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      clearInterval(again);
      socket.off('message', onMessage);
      settle();
    };
    socket.on('message', onMessage);
    for (const packet of [...sent, probe]) socket.send(packet);
  });
}

/** The same over TCP; a packet that is none ends the connection, so the probe goes over one of its own. */
function overTcp(sent: readonly Buffer[]): Promise<void> {
  const framed = (packet: Buffer): Buffer =>
    Buffer.concat([Buffer.of(packet.length >> 8, packet.length & 0xff), packet]);
  const spoken = (bytes: Buffer, until: (received: number) => boolean): Promise<void> =>
    new Promise((done, fail) => {
      let received = 0;
      const socket = connect(ports.dns, '127.0.0.1');
      const timer = setTimeout(() => socket.destroy(new Error(`no answer in ${answerLimitMs} ms`)), answerLimitMs);
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (until(received)) socket.destroy();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return;
        clearTimeout(timer);
        fail(error);
      });
      socket.on('close', () => {
        clearTimeout(timer);
        done();
      });
      socket.end(bytes);
    });
  return spoken(Buffer.concat(sent.map(framed)), () => false).then(() => spoken(framed(probe), (bytes) => bytes > 12));
}

test(
  `${packets} packets made of ${recordedQueries.length} queries`,
  async () => {
    const workers = await Promise.all(
      Array.from({ length: parallel }, async (_, at) => {
        const socket = createSocket('udp4');
        await new Promise<void>((done) => socket.connect(ports.dns, '127.0.0.1', done));
        return { socket, draw: new Draw(fuzzSeed + at) };
      }),
    );
    const heaps: number[] = [];
    let sent = 0;
    let answers = 0;
    const work = async ({ socket, draw }: (typeof workers)[number], until: number): Promise<void> => {
      while (sent < until) {
        const next = Array.from({ length: Math.min(burst, until - sent) }, () => fuzzPacket(draw));
        sent += next.length;
        try {
          if (draw.integer(tcpShare) === 0) await overTcp(next);
          else {
            const answered = await overUdp(socket, next);
            answers += answered;
          }
        } catch (error) {
          expectSound(agent);
          const shown = next.map((packet) => packet.toString('hex')).join('\n');
          throw new Error(`seed ${fuzzSeed}, up to packet ${sent}:\n${shown}`, { cause: error });
        }
      }
    };
    const started = performance.now();
    try {
      for (let round = 1; round <= rounds; round++) {
        await Promise.all(workers.map((worker) => work(worker, Math.floor((packets * round) / rounds))));
        expectSound(agent);
        heaps.push(await gauge.heapBytes(agent));
      }
    } finally {
      for (const { socket } of workers) socket.close();
      const seconds = (performance.now() - started) / 1000;
      console.log(
        `fuzz-dns: seed ${fuzzSeed}, ${sent} packets in ${seconds.toFixed(0)} s, ${answers} answers over UDP, ` +
          `${droppedPackets()} dropped by the kernel; ` +
          `heap after collection (MB): ${heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ')}; ` +
          `resident ${(residentBytes(agent) / 2 ** 20).toFixed(0)} MB`,
      );
    }
    expect(answers).toBeGreaterThan(packets / 4);
    expectLevel(heaps);
    expect((await agent.dns('web.service.consul', 'SRV')).length).toBeGreaterThan(0);
  },
  fuzzLimitMs,
);
