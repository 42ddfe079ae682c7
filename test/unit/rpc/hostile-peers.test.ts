// What one peer can make the other keep, on port 8300: the limits, and that they are of that peer alone.
import { describe, expect, test } from 'vitest';
import { encodeShape, shapes as forms } from '../../../src/codec/index.ts';
import {
  createRpcClient,
  createRpcServer,
  type RpcDial,
  RpcPool,
  type RpcServerAddress,
  YamuxSession,
} from '../../../src/rpc/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';
import { MemoryStream, type Recorder, record, streamPair } from '../../helpers/stream-pair.ts';

const { bytes, str, struct } = forms;
const shapes = {
  'Test.Ask': { request: struct({ Data: bytes }), reply: struct({ Data: bytes }) },
} as const;
const MiB = 1024 * 1024;
const requestHead = encodeShape(struct({ ServiceMethod: str }), { ServiceMethod: 'Test.Ask' });

/** The begin of `{Data: …}` with so many bytes to come. */
function begun(length: number): Buffer {
  const head = Buffer.from('81a444617461db00000000', 'hex');
  head.writeUInt32BE(length, 7);
  return head;
}

function connectionFrom(address: string) {
  const [from, to] = [
    { address, port: 40_000 },
    { address: '10.0.0.1', port: 8300 },
  ];
  const near = new MemoryStream(from, to);
  const far = new MemoryStream(to, from);
  near.peer = far;
  far.peer = near;
  return { near, far };
}

/** Lets everything cross. */
function cross(...streams: readonly MemoryStream[]): void {
  while (streams.flatMap((one) => [one.step(), one.peer.step()]).includes(true));
}

/** A server of Test.Ask, and streams to it. */
function asked(handler: () => Promise<unknown> = () => Promise.resolve({ Data: null })) {
  const { logger, lines } = recordingLogger();
  const server = createRpcServer({ shapes, handler, logger });
  const from = (address: string): { readonly near: MemoryStream; readonly heard: Recorder } => {
    const { near, far } = connectionFrom(address);
    server.serve(far);
    return { near, heard: record(near) };
  };
  return { from, lines };
}

describe('a server', () => {
  test('does not keep the beginnings of requests without end, and serves others meanwhile', () => {
    const { from, lines } = asked();
    const piece = Buffer.alloc(60 * MiB);
    const hostile = Array.from({ length: 5 }, () => from('10.6.6.6'));
    for (const { near } of hostile) {
      near.write(requestHead);
      near.write(begun(63 * MiB));
      near.write(piece);
      cross(near);
    }
    expect(hostile.map(({ near }) => near.closed)).toEqual([false, false, false, false, true]);
    expect(lines).toEqual([expect.stringContaining('begins more than it ends from=10.6.6.6')]);
    const other = from('10.0.0.7');
    other.near.write(requestHead);
    other.near.write(Buffer.from('80', 'hex'));
    cross(other.near);
    // What the first ones held is free again when they are gone.
    for (const { near } of hostile) near.destroy();
    cross(...hostile.map(({ near }) => near));
    const again = from('10.6.6.6');
    again.near.write(requestHead);
    again.near.write(begun(63 * MiB));
    again.near.write(piece);
    cross(again.near);
    expect([other.near.closed, again.near.closed]).toEqual([false, false]);
  });

  test('does not keep answers that nobody takes', async () => {
    const answer = { Data: new Uint8Array(100 * MiB) };
    const { from, lines } = asked(() => Promise.resolve(answer));
    const hostile = Array.from({ length: 3 }, () => from('10.6.6.6'));
    for (const { near } of hostile) {
      near.pause();
      near.write(requestHead);
      near.write(Buffer.from('80', 'hex'));
      near.step();
      near.step();
      await new Promise(setImmediate);
    }
    expect(hostile.map(({ near }) => near.peer.closed)).toEqual([false, false, true]);
    expect(lines).toHaveLength(1);
  });

  test('reads no name of a method that is longer than any', () => {
    const { from } = asked();
    const { near, heard } = from('10.6.6.6');
    near.write(encodeShape(struct({ ServiceMethod: str }), { ServiceMethod: 'x'.repeat(100_000) }));
    cross(near);
    expect(heard.ended).toBe(true);
    expect(heard.bytes).toHaveLength(0);
  });
});

const server: RpcServerAddress = { name: 's1', datacenter: 'dc1', address: '10.0.0.1', port: 8300 };

/** A client whose connections end at `onStream`. */
function asking(onSession: (stream: MemoryStream, clock: VirtualClock) => void) {
  const clock = new VirtualClock();
  const connections: MemoryStream[] = [];
  const dial: RpcDial = () => {
    const { near, far } = connectionFrom('10.0.0.9');
    connections.push(near);
    onSession(far, clock);
    return Promise.resolve(near);
  };
  const pool = new RpcPool({ clock, dial });
  const client = createRpcClient({ pool, shapes, clock });
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 4; turn++) {
      await clock.advance(0);
      cross(...connections);
    }
    await clock.advance(0);
  };
  return { clock, connections, pool, client, settle };
}

/** Answers whatever is asked, on every stream. */
function answering(answer: readonly Uint8Array[]) {
  return (stream: MemoryStream, clock: VirtualClock): void => {
    void new YamuxSession(stream, {
      clock,
      role: 'server',
      onStream: (one) => {
        one.subscribe({
          onData: () => {
            for (const part of answer) one.write(part);
          },
          onEnd: () => one.end(),
          onDrain: () => undefined,
          onClose: () => undefined,
        });
      },
    });
  };
}

describe('a client', () => {
  const responseHead = encodeShape(struct({ ServiceMethod: str, Error: str }), {
    ServiceMethod: 'Test.Ask',
    Error: '',
  });

  test('keeps only so much of the answers of a server, all together', async () => {
    const { client, settle } = asking(answering([responseHead, begun(120 * MiB), Buffer.alloc(70 * MiB)]));
    const calls = [1, 2].map(() => client.call(server, 'Test.Ask', {}).then(String, String));
    await settle();
    expect(await Promise.race(calls)).toContain('the answers of this server exceed 134217728 bytes');
  });

  test('reads no error that is longer than any', async () => {
    const long = encodeShape(struct({ ServiceMethod: str, Error: str }), {
      ServiceMethod: 'Test.Ask',
      Error: 'x'.repeat(100_000),
    });
    const { client, settle } = asking(answering([long, Uint8Array.of(0x80)]));
    const call = client.call(server, 'Test.Ask', {}).then(String, String);
    await settle();
    expect(await call).toBe('RpcError: rpc error making call: msgpack decode error: a value of more than 65536 bytes');
  });

  test('leaves no connection behind to a server that goes away from each', async () => {
    // Go-away, in order: no further streams.
    const goAway = Buffer.from('000300000000000000000000', 'hex');
    const { client, clock, connections, settle } = asking((stream) => {
      record(stream);
      stream.write(goAway);
    });
    for (let call = 0; call < 20; call++) {
      const outcome = client.call(server, 'Test.Ask', {}, { timeoutMs: 1 }).catch(String);
      await settle();
      await clock.advance(1);
      await settle();
      expect(await outcome).toContain('i/o deadline reached');
    }
    expect(connections.length).toBeGreaterThan(10);
    expect(connections.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(1);
  });
});

describe('a session', () => {
  test('reads over what follows the end of a stream', () => {
    const { a, b, settle } = streamPair();
    const heard: Recorder[] = [];
    void new YamuxSession(b, {
      clock: new VirtualClock(),
      role: 'server',
      onStream: (stream) => heard.push(record(stream)),
    });
    record(a);
    a.write(Buffer.from('000000050000000100000001', 'hex'));
    a.write(Buffer.from('41', 'hex'));
    a.write(Buffer.from('000000000000000100000001', 'hex'));
    a.write(Buffer.from('42', 'hex'));
    settle();
    expect(heard[0]).toMatchObject({ ended: true });
    expect(heard[0]!.bytes.toString()).toBe('A');
  });
});
