// One suite for both kinds of each port: what the simulated network promises, the real one keeps.
import { describe, expect, test } from 'vitest';
import { TcpNetwork } from '../../../src/node/tcp-network.ts';
import { UdpNetwork } from '../../../src/node/udp-network.ts';
import type { DatagramNetwork, Endpoint, Stream, StreamNetwork } from '../../../src/ports/index.ts';
import { SimNetwork } from '../../../src/sim/network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const address = '127.0.0.1';
const anyPort: Endpoint = { address, port: 0 };
const timeoutMs = 5_000;

interface World {
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  /** Lets time pass until `condition` holds. */
  readonly until: (condition: () => boolean) => Promise<void>;
  /** Lets a moment pass. */
  readonly turn: () => Promise<void>;
  /** Settles a promise that needs time to pass. */
  readonly settle: <T>(promise: Promise<T>) => Promise<T>;
}

const worlds: readonly (readonly [string, () => World])[] = [
  [
    'simulated',
    () => {
      const clock = new VirtualClock();
      const host = new SimNetwork({ clock, random: new SeededRandom(1) }).host(address);
      const until = (condition: () => boolean): Promise<void> => clock.advanceUntil(condition, 10_000);
      return {
        datagrams: host.datagrams,
        streams: host.streams,
        until,
        turn: () => clock.advance(1),
        settle: async (promise) => {
          let isSettled = false;
          const done = (): void => {
            isSettled = true;
          };
          promise.then(done, done);
          await until(() => isSettled);
          return promise;
        },
      };
    },
  ],
  [
    'real',
    () => ({
      datagrams: new UdpNetwork(),
      streams: new TcpNetwork(),
      until: async (condition) => {
        while (!condition()) await new Promise((resolve) => setImmediate(resolve));
      },
      turn: () => new Promise((resolve) => setImmediate(resolve)),
      settle: (promise) => promise,
    }),
  ],
];

/** One end of a stream, and what happened on it. */
function record(stream: Stream): { readonly data: Buffer[]; ended: boolean; drained: number; closed?: Error | null } {
  const seen: { readonly data: Buffer[]; ended: boolean; drained: number; closed?: Error | null } = {
    data: [],
    ended: false,
    drained: 0,
  };
  stream.subscribe({
    onData: (bytes) => seen.data.push(Buffer.from(bytes)),
    onEnd: () => {
      seen.ended = true;
    },
    onDrain: () => {
      seen.drained++;
    },
    onClose: (error) => {
      expect(seen.closed, 'closed once').toBeUndefined();
      seen.closed = error;
    },
  });
  return seen;
}

describe.each(worlds)('%s packets', (_, makeWorld) => {
  test('arrive whole, with the sender they came from, and can be answered', async () => {
    const { datagrams, until, settle } = makeWorld();
    const seen: { readonly text: string; readonly from: Endpoint }[] = [];
    const server = await settle(
      datagrams.bind(anyPort, (packet, from) => {
        seen.push({ text: Buffer.from(packet).toString(), from });
        server.send(Buffer.from('pong'), from);
      }),
    );
    const answers: string[] = [];
    const client = await settle(datagrams.bind(anyPort, (packet) => answers.push(Buffer.from(packet).toString())));
    expect(server.local.port).toBeGreaterThan(0);
    client.send(Buffer.from('ping'), server.local);
    await until(() => answers.length === 1);
    expect(seen).toEqual([{ text: 'ping', from: client.local }]);
    expect(answers).toEqual(['pong']);
    server.close();
    client.close();
  });

  test('keep their bytes when the sender reuses its buffer', async () => {
    const { datagrams, until, settle } = makeWorld();
    const seen: Uint8Array[] = [];
    const server = await settle(datagrams.bind(anyPort, (packet) => seen.push(packet)));
    server.send(Buffer.alloc(1_400, 1), server.local);
    server.send(Buffer.alloc(1_400, 2), server.local);
    await until(() => seen.length === 2);
    const kinds = seen.map((packet) => [packet.length, ...new Set(packet)]);
    expect(kinds.toSorted((a, b) => a[1]! - b[1]!)).toEqual([
      [1_400, 1],
      [1_400, 2],
    ]);
    server.close();
  });

  test('a port is bound once, and is free after close', async () => {
    const { datagrams, settle } = makeWorld();
    const first = await settle(datagrams.bind(anyPort, () => {}));
    await expect(settle(datagrams.bind(first.local, () => {}))).rejects.toThrow('address already in use');
    first.close();
    first.close();
    const again = await settle(datagrams.bind(first.local, () => {}));
    expect(again.local).toEqual(first.local);
    again.close();
  });

  test('what cannot be sent is lost without an error', async () => {
    const { datagrams, until, settle } = makeWorld();
    let arrived = 0;
    const socket = await settle(datagrams.bind(anyPort, () => arrived++));
    socket.send(new Uint8Array(70_000), socket.local);
    socket.send(new Uint8Array(3), { address, port: 0 });
    socket.send(new Uint8Array(3), socket.local);
    await until(() => arrived > 0);
    expect(arrived).toBe(1);
    socket.close();
    expect(() => socket.send(new Uint8Array(3), socket.local)).not.toThrow();
  });

  test('an address that is not ours cannot be bound', async () => {
    const { datagrams, settle } = makeWorld();
    await expect(settle(datagrams.bind({ address: '192.0.2.1', port: 0 }, () => {}))).rejects.toThrow(
      'cannot assign requested address',
    );
  });
});

describe.each(worlds)('%s streams', (_, makeWorld) => {
  async function pair(): Promise<{
    readonly world: World;
    readonly here: Stream;
    readonly there: Stream;
    readonly close: () => Promise<void>;
  }> {
    const world = makeWorld();
    let there: Stream | undefined;
    const listener = await world.settle(world.streams.listen(anyPort, (stream) => (there = stream)));
    const here = await world.settle(world.streams.connect(listener.local, { timeoutMs }));
    await world.until(() => there !== undefined);
    return { world, here, there: there!, close: () => listener.close() };
  }

  test('carry bytes in order both ways and end each half on its own', async () => {
    const { world, here, there, close } = await pair();
    const seenHere = record(here);
    const seenThere = record(there);
    here.write(Buffer.from('a'));
    here.write(Buffer.from('bc'));
    here.end();
    await world.until(() => seenThere.ended);
    expect(Buffer.concat(seenThere.data).toString()).toBe('abc');
    expect(seenThere.closed).toBeUndefined();
    there.write(Buffer.from('still here'));
    there.end();
    await world.until(() => seenHere.closed !== undefined && seenThere.closed !== undefined);
    expect(Buffer.concat(seenHere.data).toString()).toBe('still here');
    expect([seenHere.ended, seenHere.closed, seenThere.closed]).toEqual([true, null, null]);
    await close();
  });

  test('know both ends', async () => {
    const { here, there, close } = await pair();
    expect(here.remote).toEqual(there.local);
    expect(there.remote).toEqual(here.local);
    here.destroy();
    there.destroy();
    await close();
  });

  test('lose nothing that comes before anyone subscribes, nor when the reader changes', async () => {
    const { world, here, there, close } = await pair();
    here.write(Buffer.from('early'));
    const idle = record(here);
    const first = record(there);
    await world.until(() => first.data.length > 0);
    const second = record(there);
    here.write(Buffer.from('late'));
    await world.until(() => second.data.length > 0);
    expect(Buffer.concat(first.data).toString() + Buffer.concat(second.data).toString()).toBe('earlylate');
    expect(idle.data).toEqual([]);
    here.destroy();
    await world.until(() => second.ended);
    there.end();
    await world.until(() => second.closed !== undefined);
    expect([first.ended, first.closed]).toEqual([false, undefined]);
    await close();
  });

  test('a paused reader slows the writer, and everything arrives in the end', async () => {
    const { world, here, there, close } = await pair();
    const seenHere = record(here);
    const seenThere = record(there);
    there.pause();
    const chunk = Buffer.alloc(64 * 1024, 7);
    let written = 0;
    while (here.write(chunk)) {
      written++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    written++;
    expect(here.queuedBytes).toBeGreaterThan(0);
    there.resume();
    await world.until(() => seenHere.drained > 0);
    here.end();
    await world.until(() => seenThere.ended);
    expect(Buffer.concat(seenThere.data).length).toBe(written * chunk.length);
    there.destroy();
    await close();
  });

  test('destroy ends both sides', async () => {
    const { world, here, there, close } = await pair();
    const seenHere = record(here);
    const seenThere = record(there);
    here.destroy();
    await world.until(() => seenHere.closed !== undefined);
    expect(seenHere.closed).toBeNull();
    await world.until(() => seenThere.ended);
    // The end of one side is no news about the other until it writes.
    while (seenThere.closed === undefined) {
      there.write(Buffer.from('anyone?'));
      await world.turn();
    }
    expect(seenHere.data).toEqual([]);
    expect(() => here.write(Buffer.from('x'))).not.toThrow();
    await close();
  });

  test('nobody listening refuses', async () => {
    const world = makeWorld();
    const listener = await world.settle(world.streams.listen(anyPort, () => {}));
    await listener.close();
    await expect(world.settle(world.streams.connect(listener.local, { timeoutMs }))).rejects.toThrow(
      `dial tcp ${address}:${listener.local.port}: connect: connection refused`,
    );
  });

  test('connecting can be given up', async () => {
    const world = makeWorld();
    const reason = new Error('changed my mind');
    const options = { timeoutMs, signal: AbortSignal.abort(reason) };
    await expect(world.settle(world.streams.connect({ address, port: 9 }, options))).rejects.toBe(reason);
  });

  test('a port is listened on once', async () => {
    const world = makeWorld();
    const listener = await world.settle(world.streams.listen(anyPort, () => {}));
    await expect(world.settle(world.streams.listen(listener.local, () => {}))).rejects.toThrow('already in use');
    await listener.close();
  });
});
