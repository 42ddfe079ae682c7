// Our client and our server over a wire in memory: what each says is held against recorded bytes.
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shapes as forms } from '../../../src/codec/index.ts';
import type { Stream } from '../../../src/ports/index.ts';
import {
  callTimeoutMs,
  createRpcClient,
  createRpcServer,
  mayRetry,
  RpcAcceptor,
  type RpcDial,
  RpcError,
  type RpcHandler,
  RpcPool,
  type RpcServerAddress,
  YamuxSession,
} from '../../../src/rpc/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger, silentLogger } from '../../helpers/logger.ts';
import { type MemoryStream, record, streamPair } from '../../helpers/stream-pair.ts';

const { bytes, index, int, list, str, struct } = forms;
const nothing = struct({});
const shapes = {
  'Status.Ping': { request: nothing, reply: nothing },
  'Status.Leader': { request: struct({ Datacenter: str }), reply: str },
  'Test.Echo': { request: struct({ Text: str, Bytes: bytes }), reply: struct({ Text: str, Bytes: bytes }) },
  'Test.Wait': { request: struct({ Key: str, MinQueryIndex: index, MaxQueryTime: int }), reply: list(str) },
} as const;
const server: RpcServerAddress = { name: 's1', datacenter: 'dc1', address: '127.0.0.2', port: 8300 };

/** A server behind a first byte, and a client with a pool, on virtual time. */
function world(options: { readonly handler?: RpcHandler; readonly refuse?: () => boolean } = {}) {
  const clock = new VirtualClock();
  const calls: string[] = [];
  const waiting = new Map<
    string,
    { readonly answer: (reply: readonly string[]) => void; readonly signal: AbortSignal }
  >();
  const handler: RpcHandler =
    options.handler ??
    (async (method, request, { signal }) => {
      calls.push(method);
      if (method === 'Test.Echo') return request;
      if (method === 'Status.Leader') return '127.0.0.71:8300';
      if (method !== 'Test.Wait') return {};
      const { Key } = request as { readonly Key: string };
      if (Key === 'fail') throw new Error('No cluster leader');
      return new Promise((answer) => waiting.set(Key, { answer, signal }));
    });
  const acceptor = new RpcAcceptor({
    clock,
    logger: silentLogger,
    doors: { rpc: (stream) => createRpcServer({ shapes, handler, logger: silentLogger }).serve(stream) },
    tls: null,
    verifyIncoming: false,
  });
  const connections: { readonly a: MemoryStream; readonly b: MemoryStream }[] = [];
  const settles: ((pieceBytes?: number) => void)[] = [];
  const dial: RpcDial = async (_, selector) => {
    if (options.refuse?.() === true) throw new Error('dial tcp 127.0.0.2:8300: connect: connection refused');
    const { a, b, settle } = streamPair();
    connections.push({ a, b });
    settles.push(settle);
    acceptor.accept(b);
    a.write(Uint8Array.of(selector));
    return a;
  };
  const pool = new RpcPool({ clock, dial });
  const client = createRpcClient({ pool, shapes, clock });
  /** Lets bytes cross and promises run until both have nothing to do. */
  const settle = async (pieceBytes?: number): Promise<void> => {
    for (let turn = 0; turn < 6; turn++) {
      await clock.advance(0);
      for (const each of settles) each(pieceBytes);
    }
    await clock.advance(0);
  };
  return { clock, pool, client, acceptor, connections, calls, waiting, settle };
}

/** A peer that says `answer` to the first thing it hears. */
function answerWith(stream: Stream, answer: Uint8Array): void {
  let asked = false;
  const onData = (): void => {
    if (!asked) stream.write(answer);
    asked = true;
  };
  stream.subscribe({ onData, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
}

/** What became of a promise, without waiting for it. */
function outcome<T>(promise: Promise<T>) {
  const seen: { value?: T; error?: Error } = {};
  promise.then(
    (value) => (seen.value = value),
    (error: Error) => (seen.error = error),
  );
  return seen;
}

describe('a call', () => {
  test('is answered', async () => {
    const { client, settle } = world();
    const leader = outcome(client.call(server, 'Status.Leader', { Datacenter: 'dc1' }));
    await settle(1);
    expect(leader).toEqual({ value: '127.0.0.71:8300' });
  });

  test("ends with the server's error, and the next one takes another stream", async () => {
    const { client, settle, connections } = world();
    const failed = outcome(client.call(server, 'Test.Wait', { Key: 'fail' }));
    await settle();
    expect(failed.error).toMatchObject({ kind: 'server', message: 'rpc error making call: No cluster leader' });
    const next = outcome(client.call(server, 'Status.Ping', {}));
    await settle();
    expect(next.value).toEqual({});
    expect(connections).toHaveLength(1);
  });

  test('shares the connection with the others, and the opening of it', async () => {
    const { client, settle, connections, waiting } = world();
    const all = ['a', 'b', 'c'].map((Key) => outcome(client.call(server, 'Test.Wait', { Key })));
    await settle();
    expect(connections).toHaveLength(1);
    for (const key of ['c', 'a', 'b']) waiting.get(key)!.answer([key]);
    await settle();
    expect(all).toEqual([{ value: ['a'] }, { value: ['b'] }, { value: ['c'] }]);
  });

  test('keeps its stream for the next call', async () => {
    const { client, settle, connections } = world();
    const seen = connections;
    for (let i = 0; i < 3; i++) {
      const call = outcome(client.call(server, 'Status.Ping', {}));
      await settle();
      expect(call.value).toEqual({});
    }
    expect(seen).toHaveLength(1);
  });

  test('that nobody answers ends in time, and its stream with it', async () => {
    const { client, settle, clock, waiting } = world();
    const call = outcome(client.call(server, 'Test.Wait', { Key: 'x' }));
    await settle();
    for (let second = 0; second < 60; second++) {
      await clock.advance(1_000);
      await settle();
    }
    expect(call.error).toMatchObject({ kind: 'timeout', message: 'rpc error making call: i/o deadline reached' });
    expect(waiting.get('x')!.signal.aborted).toBe(true);
  });

  test('may block as long as it asks for', () => {
    expect(callTimeoutMs({ MinQueryIndex: 0, MaxQueryTime: 10e9 })).toBe(60_000);
    expect(callTimeoutMs({ MinQueryIndex: 1, MaxQueryTime: 160e9 })).toBe(170_000 + 60_000);
    expect(callTimeoutMs({ MinQueryIndex: 1 })).toBe(318_750 + 60_000);
    expect(callTimeoutMs({ MinQueryIndex: 1, MaxQueryTime: 86_400e9 })).toBe(637_500 + 60_000);
    expect(callTimeoutMs(undefined)).toBe(60_000);
  });

  test('that is given up aborts the work of the server', async () => {
    const { client, settle, waiting, clock } = world();
    const abort = new AbortController();
    const call = outcome(client.call(server, 'Test.Wait', { Key: 'x' }, { signal: abort.signal }));
    await settle();
    abort.abort(new Error('enough'));
    await settle();
    expect(call.error).toMatchObject({ kind: 'aborted', message: 'rpc error making call: enough' });
    expect(waiting.get('x')!.signal.aborted).toBe(true);
    const early = outcome(client.call(server, 'Status.Ping', {}, { signal: abort.signal }));
    await settle();
    expect(early.error).toMatchObject({ kind: 'aborted' });
    await clock.advance(0);
  });

  test('fails at once when the connection ends, and the next one dials again', async () => {
    const { client, settle, connections } = world();
    const call = outcome(client.call(server, 'Test.Wait', { Key: 'x' }));
    await settle();
    connections[0]!.b.destroy();
    await settle();
    expect(call.error).toMatchObject({ kind: 'lost', message: 'rpc error making call: EOF' });
    const next = outcome(client.call(server, 'Status.Ping', {}));
    await settle();
    expect(next.value).toEqual({});
    expect(connections).toHaveLength(2);
  });

  test('says that nobody listens, to everybody who waited for the connection', async () => {
    let refusing = true;
    const { client, settle, pool } = world({ refuse: () => refusing });
    const calls = [1, 2].map(() => outcome(client.call(server, 'Status.Ping', {})));
    await settle();
    for (const { error } of calls) {
      expect(error).toMatchObject({
        kind: 'connect',
        message: 'rpc error getting client: failed to get conn: dial tcp 127.0.0.2:8300: connect: connection refused',
      });
    }
    expect(pool.size).toBe(0);
    refusing = false;
    const next = outcome(client.call(server, 'Status.Ping', {}));
    await settle();
    expect(next.value).toEqual({});
  });

  test('refuses an answer that is nonsense', async () => {
    const clock = new VirtualClock();
    const { a, b, settle } = streamPair();
    const peer = new YamuxSession(b, {
      clock,
      role: 'server',
      onStream: (stream) => answerWith(stream, Buffer.from('c1c1', 'hex')),
    });
    const pool = new RpcPool({ clock, dial: async () => a });
    const call = outcome(createRpcClient({ pool, shapes, clock }).call(server, 'Status.Ping', {}));
    for (let i = 0; i < 4; i++) {
      await clock.advance(0);
      settle();
    }
    expect(call.error?.message).toMatch(/^rpc error making call: msgpack decode error/);
    expect(pool.size).toBe(0);
    peer.close();
  });
});

describe('the pool', () => {
  test('closes a connection that nobody used for 127 s, and leaves no timer', async () => {
    const { client, settle, pool, clock, connections } = world();
    const call = outcome(client.call(server, 'Status.Ping', {}));
    await settle();
    expect(call.value).toEqual({});
    for (let second = 0; second < 126; second++) {
      await clock.advance(1_000);
      await settle();
    }
    expect(pool.size).toBe(1);
    await clock.advance(1_000);
    await settle();
    expect(pool.size).toBe(0);
    expect(connections[0]!.b.closed).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  test('keeps no more idle streams than it should', async () => {
    const { client, settle, waiting, connections } = world();
    const all = Array.from({ length: 40 }, (_, at) => outcome(client.call(server, 'Test.Wait', { Key: `${at}` })));
    await settle();
    for (const { answer } of waiting.values()) answer([]);
    await settle();
    expect(all.every(({ value }) => value !== undefined)).toBe(true);
    expect(connections).toHaveLength(1);
  });

  test('opens no more streams than a server takes before it has answered for them; the calls beyond wait', async () => {
    const clock = new VirtualClock();
    const wires = [streamPair(), streamPair()];
    const taken = wires.map((): Stream[] => []);
    let dialled = 0;
    const pool = new RpcPool({ clock, dial: async () => wires[dialled++]!.a });
    const client = createRpcClient({ pool, shapes, clock });
    const call = () => outcome(client.call(server, 'Test.Wait', { Key: 'x' }));
    const accept = (at: number) =>
      new YamuxSession(wires[at]!.b, { clock, role: 'server', onStream: (stream) => taken[at]!.push(stream) });
    const calls = Array.from({ length: 600 }, call);
    await clock.advance(0);
    const peer = accept(0);
    for (const count of [256, 512, 600]) {
      wires[0]!.settle();
      expect(taken[0]).toHaveLength(count);
      await clock.advance(0);
    }
    expect(calls.every(({ error }) => error === undefined)).toBe(true);

    const later = Array.from({ length: 300 }, call);
    await clock.advance(0);
    peer.close();
    wires[0]!.settle();
    await clock.advance(0);
    // Nothing was sent for the last ones.
    expect(later.filter(({ error }) => error !== undefined)).toHaveLength(256);
    accept(1);
    wires[1]!.settle();
    expect(taken[1]).toHaveLength(44);
    pool.close();
    wires[1]!.settle();
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('ends every call when it closes', async () => {
    const { client, settle, pool, clock } = world();
    const call = outcome(client.call(server, 'Test.Wait', { Key: 'x' }));
    await settle();
    pool.close();
    await settle();
    expect(call.error).toMatchObject({ kind: 'lost' });
    await expect(client.call(server, 'Status.Ping', {})).rejects.toThrow('rpc error: shutdown');
    await settle();
    expect(clock.pendingTimers).toBe(0);
  });
});

test('a call is tried again where that helps and does no harm', () => {
  const lost = new RpcError('lost', 'EOF');
  const refused = new RpcError('connect', 'connection refused');
  const leaderless = new RpcError('server', 'No cluster leader');
  const denied = new RpcError('server', 'Permission denied');
  expect([lost, refused, leaderless, denied].map((error) => mayRetry(error, true))).toEqual([true, true, true, false]);
  expect([lost, refused, leaderless, denied].map((error) => mayRetry(error, false))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

interface Recorded {
  readonly method: string;
  readonly request_header_hex: string;
  readonly request_body_hex: string;
  readonly response_header_hex: string;
  readonly response_body_hex: string;
}

/** A server on a stream that is written to directly. */
function bare(handler: RpcHandler = async () => ({})) {
  const wire = streamPair();
  createRpcServer({ shapes, handler, logger: silentLogger }).serve(wire.b);
  const seen = record(wire.a);
  const settle = async (pieceBytes?: number): Promise<void> => {
    for (let turn = 0; turn < 4; turn++) {
      wire.settle(pieceBytes);
      await new Promise(setImmediate);
    }
    wire.settle(pieceBytes);
  };
  return { ...wire, seen, settle };
}

const pingRequest = '82a353657101ad536572766963654d6574686f64ab5374617475732e50696e6780';
const pingReply = '83a54572726f72a0a353657101ad536572766963654d6574686f64ab5374617475732e50696e6780';

describe('the server', () => {
  test('answers as the real one, byte for byte', async () => {
    const { vectors } = JSON.parse(readFileSync('test/fixtures/rpc/status.json', 'utf8')) as {
      readonly vectors: readonly Recorded[];
    };
    const known = vectors.filter(({ method }) => method in shapes);
    expect(known.length).toBeGreaterThan(1);
    for (const vector of known) {
      const { a, seen, settle } = bare(async (method) => (method === 'Status.Leader' ? '127.0.0.71:8300' : {}));
      a.write(Buffer.from(vector.request_header_hex + vector.request_body_hex, 'hex'));
      await settle(5);
      expect(seen.bytes.toString('hex')).toBe(vector.response_header_hex + vector.response_body_hex);
    }
  });

  test('answers one after another, in the order asked', async () => {
    const answers: (() => void)[] = [];
    const { a, seen, settle } = bare(() => new Promise((resolve) => answers.push(() => resolve({}))));
    a.write(Buffer.from(pingRequest + pingRequest, 'hex'));
    await settle();
    expect(answers).toHaveLength(1);
    answers[0]!();
    await settle();
    expect(seen.bytes.toString('hex')).toBe(pingReply);
    expect(answers).toHaveLength(2);
    a.end();
    await settle();
    expect(seen.ended).toBe(false);
    answers[1]!();
    await settle();
    expect(seen.bytes.toString('hex')).toBe(pingReply + pingReply);
    expect(seen.ended).toBe(true);
  });

  test.each([
    ['Status.Nope', "rpc: can't find method Status.Nope"],
    ['Nope.Ping', "rpc: can't find service Nope.Ping"],
    ['Nope', 'rpc: service/method request ill-formed: Nope'],
    ['Status.constructor', "rpc: can't find method Status.constructor"],
  ])('says what %s is, and ends the stream', async (method, text) => {
    const { a, seen, settle } = bare();
    const head = Buffer.concat([
      Buffer.from('82a353657101ad536572766963654d6574686f64', 'hex'),
      Buffer.from([0xa0 | method.length]),
      Buffer.from(method),
    ]);
    a.write(Buffer.concat([head, Buffer.from('80', 'hex')]));
    await settle();
    expect(seen.bytes.toString('latin1')).toContain(text);
    expect(seen.bytes.at(-1)).toBe(0x80);
    expect(seen.ended).toBe(true);
  });

  test('goes on after an error of the call', async () => {
    let count = 0;
    const { a, seen, settle } = bare(async () => {
      if (count++ === 0) throw new Error('');
      return {};
    });
    a.write(Buffer.from(pingRequest + pingRequest, 'hex'));
    await settle();
    expect(seen.bytes.toString('latin1')).toContain('rpc: the call failed');
    expect(seen.bytes.toString('hex').endsWith(pingReply)).toBe(true);
    expect(seen.ended).toBe(false);
  });

  test('refuses a body of the wrong form', async () => {
    const { a, seen, settle } = bare();
    a.write(Buffer.from(pingRequest.slice(0, -2) + 'a178', 'hex'));
    await settle();
    expect(seen.bytes.toString('latin1')).toContain(
      'rpc: error decoding the request of Status.Ping: msgpack decode error',
    );
    expect(seen.ended).toBe(true);
  });

  test.each([['06'], ['16030100'], ['c1'], ['81a353657101'.replace('01', 'a178')]])(
    'closes a stream that does not begin with a head: %s',
    async (hex) => {
      const { a, seen, settle } = bare();
      a.write(Buffer.from(hex, 'hex'));
      await settle();
      expect(seen.bytes).toHaveLength(0);
      expect(seen.ended).toBe(true);
    },
  );
});

const runs = Number(process.env['PORTOLAN_FUZZ'] ?? 150);

test('a server survives whatever comes on a connection, and the next client is served', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('00', '04'),
      fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 5 }),
      fc.integer({ min: 1, max: 50 }),
      async (selector, changes, piece) => {
        const { client, settle, acceptor, clock } = world();
        const { a, b, settle: cross } = streamPair();
        const multiplexed = '000100010000000100000000000000000000000100000042';
        const message = Buffer.from(
          selector + (selector === '04' ? multiplexed : '') + pingRequest + pingRequest,
          'hex',
        );
        for (const [at, value] of changes) message[1 + (at % (message.length - 1))] = value;
        acceptor.accept(b);
        a.write(message);
        record(a);
        cross(piece);
        await clock.advance(0);
        cross(piece);
        const good = outcome(client.call(server, 'Status.Ping', {}));
        await settle();
        expect(good.value).toEqual({});
      },
    ),
    { numRuns: runs },
  );
});

test('a client survives whatever a server answers, and each call ends', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 4 }),
      fc.nat(70),
      fc.integer({ min: 1, max: 50 }),
      fc.boolean(),
      async (changes, length, piece, raw) => {
        const clock = new VirtualClock();
        const { a, b, settle } = streamPair();
        const answer = Buffer.from((raw ? '000000000000000100000028' : '') + pingReply, 'hex');
        for (const [at, value] of changes) answer[at % answer.length] = value;
        const cut = answer.subarray(0, length);
        if (raw) answerWith(b, cut);
        else void new YamuxSession(b, { clock, role: 'server', onStream: (stream) => answerWith(stream, cut) });
        const pool = new RpcPool({ clock, dial: async () => a });
        const call = outcome(createRpcClient({ pool, shapes, clock }).call(server, 'Status.Ping', {}));
        await clock.advance(0);
        settle(piece);
        await clock.advance(200_000);
        expect('value' in call || call.error instanceof RpcError).toBe(true);
        pool.close();
        settle(piece);
        await clock.advance(0);
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: runs },
  );
});

describe('the first byte', () => {
  function door(options: { readonly verifyIncoming?: boolean; readonly connectionsPerClientMax?: number } = {}) {
    const clock = new VirtualClock();
    const { logger, lines } = recordingLogger();
    const taken: { readonly kind: string; readonly stream: Stream }[] = [];
    const take = (kind: string) => (stream: Stream) => void taken.push({ kind, stream });
    const acceptor = new RpcAcceptor({
      clock,
      logger,
      doors: { rpc: take('rpc'), raft: take('raft'), snapshot: take('snapshot') },
      tls: null,
      verifyIncoming: false,
      ...options,
    });
    const open = async (...pieces: readonly string[]) => {
      const wire = streamPair();
      acceptor.accept(wire.b);
      for (const piece of pieces) wire.a.write(Buffer.from(piece, 'hex'));
      const seen = record(wire.a);
      await clock.advance(0);
      wire.settle();
      await clock.advance(0);
      wire.settle();
      return { ...wire, seen };
    };
    return { clock, acceptor, open, taken, lines };
  }

  test.each([
    ['00', 'rpc'],
    ['01', 'raft'],
    ['05', 'snapshot'],
  ])('%s is %s, and what follows is not lost', async (byte, kind) => {
    const { open, taken } = door();
    const { settle, a } = await open(`${byte}aabb`, 'cc');
    expect(taken.map((each) => each.kind)).toEqual([kind]);
    const seen = record(taken[0]!.stream);
    settle();
    a.write(Buffer.from('dd', 'hex'));
    a.end();
    settle();
    expect(seen.bytes.toString('hex')).toBe('aabbccdd');
    expect(seen.ended).toBe(true);
  });

  test.each(['02', '03', '06', '07', '08', '09', '16', '63', 'ff'])('%s is closed at once', async (byte) => {
    const { open, taken, acceptor, clock } = door();
    const { seen } = await open(byte);
    expect(seen.closed).toBeDefined();
    expect(taken).toEqual([]);
    expect(acceptor.connectionCount).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('in plain counts for nothing when TLS is demanded', async () => {
    const { open, lines } = door({ verifyIncoming: true });
    expect((await open('04')).seen.closed).toBeDefined();
    expect(lines.join()).toContain('verify_incoming');
  });

  test('has 5 s to come', async () => {
    const { open, clock, acceptor } = door();
    const { seen, settle } = await open();
    await clock.advance(4_999);
    settle();
    expect(seen.closed).toBeUndefined();
    await clock.advance(1);
    settle();
    expect(seen.closed).toBeDefined();
    expect(acceptor.connectionCount).toBe(0);
  });

  test('does not come from the 101st connection of one address', async () => {
    const { open, acceptor } = door();
    const first = await open('00');
    for (let i = 1; i < 100; i++) await open('00');
    expect((await open('00')).seen.closed).toBeDefined();
    expect(acceptor.connectionCount).toBe(100);
    first.b.destroy();
    expect((await open('00')).seen.closed).toBeUndefined();
  });

  test('comes no more once the server stops', async () => {
    const { open, acceptor } = door();
    const { seen, settle } = await open('00');
    acceptor.close();
    settle();
    expect(seen.closed).toBeDefined();
    expect((await open('00')).seen.closed).toBeDefined();
  });
});
