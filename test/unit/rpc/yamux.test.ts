import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Stream } from '../../../src/ports/index.ts';
import { YamuxSession } from '../../../src/rpc/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { record, type Recorder, streamPair } from '../../helpers/stream-pair.ts';

function pair() {
  const clock = new VirtualClock();
  const wire = streamPair();
  const accepted: { readonly stream: Stream; readonly seen: Recorder }[] = [];
  const closed: { client?: Error | null; server?: Error | null } = {};
  const client = new YamuxSession(wire.a, { clock, role: 'client', onClose: (error) => (closed.client = error) });
  const server = new YamuxSession(wire.b, {
    clock,
    role: 'server',
    onStream: (stream) => accepted.push({ stream, seen: record(stream) }),
    onClose: (error) => (closed.server = error),
  });
  return { clock, ...wire, client, server, accepted, closed };
}

/** One end of a session, and raw bytes at the other. */
function raw(role: 'client' | 'server' = 'server') {
  const clock = new VirtualClock();
  const wire = streamPair();
  const accepted: { readonly stream: Stream; readonly seen: Recorder }[] = [];
  let closed: { readonly error: Error | null } | undefined;
  const session = new YamuxSession(wire.b, {
    clock,
    role,
    ...(role === 'server' && { onStream: (stream: Stream) => accepted.push({ stream, seen: record(stream) }) }),
    onClose: (error) => (closed = { error }),
  });
  const received = record(wire.a);
  return {
    clock,
    session,
    accepted,
    wire,
    received,
    closed: () => closed,
    send: (...frames: Uint8Array[]): void => {
      for (const bytes of frames) wire.a.write(bytes);
      wire.settle();
    },
    frames: (): string[] => framesOf(received.bytes),
  };
}

const types = ['data', 'window', 'ping', 'goaway'];

function framesOf(bytes: Buffer): string[] {
  const out: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const type = bytes[at + 1]!;
    const length = bytes.readUInt32BE(at + 8);
    out.push(`${types[type]} ${bytes.readUInt16BE(at + 2)} ${bytes.readUInt32BE(at + 4)} ${length}`);
    at += 12 + (type === 0 ? length : 0);
  }
  return out;
}

function frame(
  type: 'data' | 'window' | 'ping' | 'goaway',
  flags: number,
  id: number,
  lengthOrData: number | Uint8Array,
): Buffer {
  const head = Buffer.alloc(12);
  head[1] = types.indexOf(type);
  head.writeUInt16BE(flags, 2);
  head.writeUInt32BE(id, 4);
  if (typeof lengthOrData === 'number') {
    head.writeUInt32BE(lengthOrData, 8);
    return head;
  }
  head.writeUInt32BE(lengthOrData.length, 8);
  return Buffer.concat([head, lengthOrData]);
}

const syn = 1;
const ack = 2;
const fin = 4;
const rst = 8;

describe('a stream', () => {
  test('is announced with its first byte and not before', () => {
    const { session, frames, wire } = raw('client');
    const stream = session.open();
    wire.settle();
    expect(frames()).toEqual([]);
    stream.write(Buffer.from('hi'));
    wire.settle();
    expect(frames()).toEqual(['window 1 1 0', 'data 0 1 2']);
  });

  test('that was never used ends without a word', () => {
    const { session, frames, wire } = raw('client');
    const first = record(session.open());
    const [ended, destroyed] = [session.open(), session.open()];
    ended.end();
    destroyed.destroy();
    wire.settle();
    expect(frames()).toEqual([]);
    expect(session.streamCount).toBe(1);
    expect(first.closed).toBeUndefined();
  });

  test('carries bytes both ways and ends in halves', () => {
    const { client, accepted, settle } = pair();
    const stream = client.open();
    const seen = record(stream);
    stream.write(Buffer.from('ping'));
    stream.end();
    settle();
    expect(accepted[0]!.seen).toMatchObject({ ended: true, closed: undefined });
    expect(accepted[0]!.seen.bytes.toString()).toBe('ping');
    accepted[0]!.stream.write(Buffer.from('pong'));
    accepted[0]!.stream.end();
    settle();
    expect(seen.bytes.toString()).toBe('pong');
    expect(seen).toMatchObject({ ended: true, closed: { error: null } });
    expect(accepted[0]!.seen.closed).toEqual({ error: null });
    expect(client.streamCount).toBe(0);
  });

  test('that is destroyed is gone on both sides', () => {
    const { client, server, accepted, settle } = pair();
    const stream = client.open();
    const seen = record(stream);
    stream.write(Buffer.from('x'));
    settle();
    stream.destroy();
    settle();
    expect(seen.closed).toEqual({ error: null });
    expect(accepted[0]!.seen.closed?.error?.message).toBe('stream reset');
    expect(server.streamCount).toBe(0);
  });

  test('sends no more than the window, and goes on when it opens', () => {
    const { session, frames, wire, send } = raw('client');
    const stream = session.open();
    const seen = record(stream);
    expect(stream.write(Buffer.alloc(600_000))).toBe(false);
    wire.settle();
    const sent = (): number =>
      frames()
        .filter((line) => line.startsWith('data'))
        .reduce((sum, line) => sum + Number(line.split(' ')[3]), 0);
    expect(sent()).toBe(262_144);
    send(frame('window', ack, 1, 131_072));
    expect(sent()).toBe(393_216);
    expect(seen.drained).toBe(0);
    send(frame('window', 0, 1, 131_072));
    expect(seen.drained).toBe(1);
    send(frame('window', 0, 1, 131_072));
    expect(sent()).toBe(600_000);
    expect(stream.queuedBytes).toBe(0);
  });

  test('gives window back when half of it is consumed', () => {
    const { send, frames } = raw();
    send(frame('window', syn, 1, 0), frame('data', 0, 1, Buffer.alloc(131_071)));
    expect(frames()).toEqual(['window 2 1 0']);
    send(frame('data', 0, 1, Buffer.alloc(1)));
    expect(frames()).toEqual(['window 2 1 0', 'window 0 1 131072']);
  });

  test('that is paused takes no window and loses nothing', () => {
    const { send, frames, accepted } = raw();
    send(frame('data', syn, 1, Buffer.from('a')));
    accepted[0]!.stream.pause();
    send(frame('data', 0, 1, Buffer.alloc(200_000)), frame('window', fin, 1, 0));
    expect(accepted[0]!.seen.bytes.length).toBe(1);
    expect(accepted[0]!.seen.ended).toBe(false);
    accepted[0]!.stream.resume();
    expect(accepted[0]!.seen.bytes.length).toBe(200_001);
    expect(accepted[0]!.seen.ended).toBe(true);
    expect(frames()).toEqual(['window 2 1 0']);
  });

  test('takes nothing of what came under its number before it was opened', () => {
    const { session, send, frames } = raw('client');
    const early = frame('data', fin, 1, Buffer.alloc(262_144, 'x'));
    send(early.subarray(0, 100));
    const stream = session.open();
    const seen = record(stream);
    stream.write(Buffer.from('hi'));
    send(early.subarray(100));
    expect([seen.bytes.length, seen.ended, session.closed]).toEqual([0, false, false]);
    send(frame('data', ack, 1, Buffer.from('answer')));
    expect(seen.bytes.toString()).toBe('answer');
    expect(frames()).toEqual(['window 1 1 0', 'data 0 1 2']);
  });

  test('takes turns with its neighbours when the connection is full', () => {
    const { session, frames, wire } = raw('client');
    wire.a.pause();
    for (let i = 0; i < 5; i++) session.open().write(Buffer.alloc(262_144));
    const streams = [session.open(), session.open()];
    for (const stream of streams) stream.write(Buffer.alloc(100_000));
    wire.a.resume();
    wire.settle();
    const data = frames().filter((line) => line.startsWith('data') && /^data 0 (11|13) /.test(line));
    expect(data.map((line) => line.split(' ')[2])).toEqual(['11', '13', '11', '13', '11', '13', '11', '13']);
  });
});

describe('the session', () => {
  test('acknowledges every stream, even one whose request ends with it', () => {
    const { send, frames } = raw();
    send(frame('data', syn | fin, 1, Buffer.from('x')));
    expect(frames()).toEqual(['window 2 1 0']);
  });

  test('serves a stream while its neighbour stays silent, and outlives streams that end unused', () => {
    const { send, accepted, closed } = raw();
    send(frame('window', syn, 1, 0), frame('data', syn, 3, Buffer.from('x')));
    expect(accepted[1]!.seen.bytes.toString()).toBe('x');
    send(frame('window', rst, 1, 0), frame('window', syn, 5, 0), frame('window', fin, 5, 0));
    expect(closed()).toBeUndefined();
    expect(accepted[2]!.seen.ended).toBe(true);
  });

  test('answers pings with their value', () => {
    const { send, frames } = raw();
    send(frame('ping', syn, 0, 77));
    expect(frames()).toEqual(['ping 2 0 77']);
  });

  test('pings every 30 s and gives up 10 s after one that is not answered', async () => {
    const { clock, frames, send, wire, closed } = raw();
    await clock.advance(30_000);
    wire.settle();
    expect(frames()).toEqual(['ping 1 0 0']);
    send(frame('ping', ack, 0, 0));
    await clock.advance(30_000);
    wire.settle();
    expect(frames()).toEqual(['ping 1 0 0', 'ping 1 0 1']);
    await clock.advance(9_999);
    expect(closed()).toBeUndefined();
    await clock.advance(1);
    expect(closed()?.error?.message).toBe('keepalive timeout');
    expect(clock.pendingTimers).toBe(0);
  });

  test('after a go-away of 0 keeps its streams and opens none', () => {
    const { session, send, closed, wire } = raw('client');
    const stream = session.open();
    stream.write(Buffer.from('x'));
    send(frame('goaway', 0, 0, 0));
    expect(session.usable).toBe(false);
    expect(() => session.open()).toThrow('remote end is not accepting connections');
    expect(stream.write(Buffer.from('y'))).toBe(true);
    wire.settle();
    expect(closed()).toBeUndefined();
    send(frame('goaway', 0, 0, 2));
    expect(closed()).toBeDefined();
  });

  test.each<[string, (Uint8Array | string)[]]>([
    ['another version', ['010200000000000000000001']],
    ['an unknown type', ['000400000000000000000000']],
    ['a stream opened twice', [frame('window', syn, 1, 0), frame('window', syn, 1, 0)]],
    ['a stream ended twice', [frame('window', syn, 1, 0), frame('window', fin, 1, 0), frame('window', fin, 1, 0)]],
    ['more data than the window', [frame('window', syn, 1, 0), frame('data', 0, 1, 262_145)]],
    [
      'a window without end',
      [frame('window', syn, 1, 0), frame('window', 0, 1, 0xffff_ffff), frame('window', 0, 1, 0xffff_ffff)],
    ],
  ])('ends for %s', (_, frames) => {
    const { send, closed, received } = raw();
    send(...frames.map((bytes) => (typeof bytes === 'string' ? Buffer.from(bytes, 'hex') : bytes)));
    expect(closed()?.error?.message).toMatch(/^yamux protocol error: /);
    expect(received.closed).toBeDefined();
  });

  test.each<[string, Uint8Array[]]>([
    ['data for a stream it does not know', [frame('data', 0, 9, Buffer.from('abc')), frame('window', 0, 9, 5)]],
    ['empty data', [frame('data', 0, 1, Buffer.alloc(0))]],
    [
      'ids that are even, zero or descending',
      [frame('window', syn, 8, 0), frame('window', syn, 0, 0), frame('window', syn, 4, 0)],
    ],
    ['the end of a stream it does not know', [frame('window', fin, 9, 0), frame('window', rst, 9, 0)]],
  ])('lives on after %s', (_, frames) => {
    const { send, accepted, closed } = raw();
    send(frame('window', syn, 1, 0), ...frames, frame('data', 0, 1, Buffer.from('still here')));
    expect(accepted[0]!.seen.bytes.toString()).toBe('still here');
    expect(closed()).toBeUndefined();
  });

  test('refuses streams beyond its limit, and those of a server', () => {
    const server = raw();
    for (let i = 0; i < 2049; i++) server.send(frame('window', syn, i * 2 + 1, 0));
    expect(server.session.streamCount).toBe(2048);
    expect(server.frames().at(-1)).toBe('window 8 4097 0');
    const client = raw('client');
    client.send(frame('window', syn, 2, 0));
    expect(client.frames()).toEqual(['window 8 2 0']);
  });

  test('opens no more than 256 streams that nobody acknowledged, and ends when that lasts 75 s', async () => {
    const { session, clock, send, closed } = raw('client');
    for (let i = 0; i < 256; i++) session.open().write(Buffer.from('x'));
    expect(() => session.open()).toThrow('streams exhausted');
    send(frame('window', ack, 1, 0));
    expect(() => session.open()).not.toThrow();
    for (let second = 0; second < 75; second++) {
      await clock.advance(1000);
      for (let value = 0; value < 3; value++) send(frame('ping', ack, 0, value));
    }
    expect(closed()?.error?.message).toMatch(/was not acknowledged/);
    expect(clock.pendingTimers).toBe(0);
  });

  test('gives up a peer that asks without end and reads no answer', () => {
    const { wire, closed } = raw();
    wire.a.pause();
    const pings = Buffer.concat(Array.from({ length: 100_000 }, (_, value) => frame('ping', syn, 0, value)));
    for (let i = 0; i < 10 && closed() === undefined; i++) {
      wire.a.write(pings);
      wire.settle();
    }
    expect(closed()?.error?.message).toBe('the peer asks and does not read the answers');
  });

  test('gives up a connection that takes nothing for 10 s', async () => {
    const { clock, session, closed, wire } = raw('client');
    wire.a.pause();
    for (let i = 0; i < 10; i++) session.open().write(Buffer.alloc(200_000));
    await clock.advance(10_000);
    expect(closed()?.error?.message).toBe('connection write timeout');
    expect(clock.pendingTimers).toBe(0);
  });

  test('takes its streams along when the connection ends', () => {
    const { client, a, settle, accepted, closed } = pair();
    const seen = record(client.open());
    const stream = client.open();
    stream.write(Buffer.from('x'));
    settle();
    a.destroy(new Error('read ECONNRESET'));
    settle();
    expect(seen.closed?.error?.message).toBe('read ECONNRESET');
    expect(accepted[0]!.seen.closed?.error?.message).toBe('EOF');
    expect(closed.client?.message).toBe('read ECONNRESET');
    expect(() => client.open()).toThrow('session shutdown');
    expect(stream.write(Buffer.from('late'))).toBe(true);
  });
});

interface Exchange {
  readonly name: string;
  readonly sent_hex: readonly string[];
  readonly received_hex: string;
  readonly peer_closed: boolean;
}

describe('recorded sessions of the real server', () => {
  const { vectors } = JSON.parse(readFileSync('test/fixtures/rpc/connection.json', 'utf8')) as {
    readonly vectors: readonly Exchange[];
  };

  test.each(vectors.filter(({ name }) => name.startsWith('mux-')).map((vector) => [vector.name, vector] as const))(
    '%s: a client takes what the server sent',
    (name, vector) => {
      const { session, wire, closed } = raw('client');
      const streams = [session.open(), session.open()].map((stream) => ({ stream, seen: record(stream) }));
      for (const { stream } of streams) stream.write(Buffer.from('x'));
      wire.a.write(Buffer.from(vector.received_hex, 'hex'));
      wire.settle(3);
      expect(closed()).toBeUndefined();
      const bytes = streams.reduce((sum, { seen }) => sum + seen.bytes.length, 0);
      expect(bytes > 0, name).toBe(/a353657/.test(vector.received_hex));
    },
  );
});

const runs = Number(process.env['PORTOLAN_FUZZ'] ?? 300);

describe('whatever comes', () => {
  test('any cutting of the bytes gives the same', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.uint8Array({ minLength: 1, maxLength: 5000 })), { maxLength: 12 }),
        fc.integer({ min: 1, max: 40 }),
        (writes, piece) => {
          const { client, accepted, settle, a } = pair();
          const streams = Array.from({ length: 4 }, () => client.open());
          const expected = new Map<string, Buffer>();
          for (const stream of streams) record(stream);
          const order: number[] = [];
          for (const [at, bytes] of writes) {
            if (!order.includes(at)) order.push(at);
            streams[at]!.write(bytes);
            expected.set(`${at}`, Buffer.concat([expected.get(`${at}`) ?? Buffer.alloc(0), bytes]));
          }
          settle(piece);
          expect(accepted.map(({ seen }) => seen.bytes)).toEqual(order.map((at) => expected.get(`${at}`)));
          expect(a.closed).toBe(false);
        },
      ),
      { numRuns: Math.min(runs, 2000) },
    );
  });

  test('a bad peer ends its session at most', () => {
    const valid = fc.tuple(
      fc.constantFrom(0, 1, 2, 3),
      fc.nat(15),
      fc.nat(6),
      fc.oneof(fc.nat(40), fc.nat(300_000), fc.constant(0xffff_ffff)),
      fc.uint8Array({ maxLength: 60 }),
    );
    fc.assert(
      fc.property(
        fc.array(valid, { maxLength: 40 }),
        fc.integer({ min: 1, max: 64 }),
        fc.boolean(),
        (frames, piece, asClient) => {
          const { session, wire, clock, accepted, closed } = raw(asClient ? 'client' : 'server');
          if (asClient) for (let i = 0; i < 3; i++) session.open().write(Buffer.from('x'));
          for (const [type, flags, id, length, payload] of frames) {
            const head = frame(types[type] as 'data', flags, id, length);
            wire.a.write(Buffer.concat([head, payload]));
            for (const { stream } of accepted) {
              if (payload.length % 3 === 0) stream.write(payload);
              if (payload.length % 7 === 1) stream.end();
              if (payload.length % 11 === 2) stream.pause();
              if (payload.length % 13 === 3) stream.destroy();
            }
          }
          wire.settle(piece);
          clock.advanceSync(400_000);
          expect(closed()).toBeDefined();
          expect(session.streamCount).toBe(0);
          expect(clock.pendingTimers).toBe(0);
          for (const { seen } of accepted) expect(seen.closed).toBeDefined();
        },
      ),
      { numRuns: runs },
    );
  });
});
