// Port 8300 among peers that mean harm, both ways: a server under connections that are nearly right, and a client whose
// server answers whatever it likes. All in one process and on virtual time, so that limits of minutes cost nothing.
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { decodeShape, MsgpackError, type Shape } from '../../src/codec/index.ts';
import { parseConsulServer } from '../../src/gossip/index.ts';
import { CallError, consulMemberProtocol, type Member } from '../../src/model/index.ts';
import type { Metrics } from '../../src/ports/index.ts';
import {
  DirectorySnapshotStore,
  FileStableStore,
  NetworkTransport,
  RaftNode,
  SegmentedLog,
  suffrage,
} from '../../src/raft/index.ts';
import {
  createRpcClient,
  createRpcDialer,
  createRpcServer,
  requestSnapshot,
  RpcAcceptor,
  type RpcDial,
  RpcError,
  type RpcServerAddress,
  RpcPool,
  serveSnapshot,
} from '../../src/rpc/index.ts';
import {
  type CallServer,
  callServerBy,
  createRouter,
  createServer,
  insecureMethods,
  MemoryLog,
  serverMethods,
} from '../../src/server/index.ts';
import { createTlsClient, createTlsServer } from '../../src/node/tls-streams.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import { LanServers } from '../../src/server/lan-servers.ts';
import { FaultyDisk } from '../../src/sim/faulty-disk.ts';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../src/sim/virtual-clock.ts';
import { StateStore } from '../../src/state/index.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { silentLogger } from '../helpers/logger.ts';
import { type MemoryStream, record } from '../helpers/stream-pair.ts';
import { Draw, expectLevel, fuzzLimitMs, fuzzRequests, fuzzSeed, trippedOver } from './support/fuzz.ts';
import { absurdValue, bentConnection, bentRaft, connectionFrom, HostileServer } from './support/hostile-rpc.ts';
import { type RecordedCall, recordedCalls, recordedRaft, recordedSnapshots } from './support/recorded-rpc.ts';

/** Parts of a run, with a measurement of the heap after each. */
const rounds = 8;
/** An input takes this much of the processor at most (ms); usual are some hundredths. */
const inputLimitMs = 500;
/** What an agent at rest should not do at once (ms); told, as a busy machine does it too. */
const noticeableMs = 50;
const victim = '10.0.0.77';
/** How finely time passes where both ends of a connection must keep up with each other (ms). */
const stepMs = 5_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const noMetrics: Metrics = { count() {}, gauge() {}, sample() {} };
const methods: Readonly<Record<string, { readonly request: Shape<unknown>; readonly reply: Shape<unknown> }>> = {
  ...serverMethods,
  ...insecureMethods,
} as never;

/** Measures what inputs cost, and tells at the end. */
class Meter {
  readonly #name: string;
  readonly heaps: number[] = [];
  #inputs = 0;
  #slow = 0;
  #longestMs = 0;

  constructor(name: string) {
    this.#name = name;
  }

  async measured(input: () => Promise<void>): Promise<void> {
    const before = process.cpuUsage();
    await input();
    this.#count(before);
  }

  measuredSync(input: () => void): void {
    const before = process.cpuUsage();
    input();
    this.#count(before);
  }

  #count(before: NodeJS.CpuUsage): void {
    const { user, system } = process.cpuUsage(before);
    const ms = (user + system) / 1000;
    this.#inputs++;
    if (ms > noticeableMs) this.#slow++;
    this.#longestMs = Math.max(this.#longestMs, ms);
  }

  round(): void {
    collect();
    collect();
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    this.heaps.push(heapUsed + external + arrayBuffers);
  }

  tell(): void {
    const heaps = this.heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ');
    console.log(
      `${this.#name}: seed ${fuzzSeed}, ${this.#inputs} inputs, longest ${this.#longestMs.toFixed(0)} ms, ` +
        `${this.#slow} over ${noticeableMs} ms; heap and buffers after collection (MB): ${heaps}; ` +
        `resident ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MB`,
    );
    expect(this.#longestMs, `seed ${fuzzSeed}`).toBeLessThan(inputLimitMs);
    expectLevel(this.heaps);
  }
}

const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));
process.on('uncaughtException', (error) => unhandled.push(error));
afterEach(() => {
  expect(unhandled, `seed ${fuzzSeed}`).toEqual([]);
});

/** Everything crosses until nothing moves, promises included. */
async function settle(clock: VirtualClock, streams: readonly MemoryStream[], pieceBytes?: number): Promise<void> {
  for (let still = 0; still < 3;) {
    await clock.advance(0);
    still = streams.flatMap((one) => [one.step(pieceBytes), one.peer.step(pieceBytes)]).includes(true) ? 0 : still + 1;
  }
  // Compression works beside the event loop, and needs its turns.
  await new Promise((resolve) => setImmediate(resolve));
}

/** Time goes by while everything crosses. */
async function pass(clock: VirtualClock, streams: readonly MemoryStream[], ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    await clock.advance(Math.min(left, stepMs));
    await settle(clock, streams);
  }
}

describe('shapes', () => {
  const inputs = fuzzRequests * 4;
  test(
    `read ${inputs} bent bodies of ${recordedCalls.length} calls, or say what is wrong with them`,
    () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('shapes');
      let read = 0;
      for (let round = 1; round <= rounds; round++) {
        for (let at = 0; at < inputs / rounds; at++) {
          const call = draw.pick(recordedCalls);
          const isRequest = draw.chance(0.5);
          const shape = methods[draw.chance(0.95) ? call.method : draw.pick(recordedCalls).method];
          if (shape === undefined) continue;
          const body = isRequest ? call.request : call.reply;
          const bent = draw.chance(0.02) ? absurdValue(draw) : draw.mutated(body);
          meter.measuredSync(() => {
            try {
              decodeShape(isRequest ? shape.request : shape.reply, bent);
              read++;
            } catch (error) {
              if (error instanceof MsgpackError) return;
              throw new Error(`seed ${fuzzSeed}: ${call.method} ${bent.toString('hex')}`, { cause: error });
            }
          });
        }
        meter.round();
      }
      expect(read).toBeGreaterThan(inputs / 20);
      meter.tell();
    },
    fuzzLimitMs,
  );
});

/** A server with all its doors, alone, and in memory. */
function wholeServer() {
  const clock = new VirtualClock();
  const store = new StateStore();
  const log = new MemoryLog({ store, address: '10.0.0.1:8300', clock, metrics: noMetrics });
  const server = createServer({
    datacenter: 'dc1',
    nodeName: 'self',
    nodeId: '01000000-0000-4000-8000-000000000001',
    address: '10.0.0.1',
    serverPort: 8300,
    version: '1.8.7',
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    metrics: noMetrics,
    store,
    log,
    bootstrapExpect: 1,
  });
  const transport = new NetworkTransport({
    clock,
    logger: silentLogger,
    dial: () => Promise.reject(new Error('nobody there')),
  });
  const logger = silentLogger;
  const rpc = createRpcServer({ shapes: serverMethods, handler: server.rpc.handler, logger });
  const insecure = createRpcServer({ shapes: insecureMethods, handler: server.rpc.insecureHandler, logger });
  const acceptor = new RpcAcceptor({
    clock,
    logger,
    doors: {
      rpc: (stream) => rpc.serve(stream),
      raft: (stream) => transport.accept(stream),
      snapshot: (stream) => void serveSnapshot(stream, server.rpc.snapshotHandler, { clock, logger }),
      insecure: (stream) => insecure.serve(stream),
    },
    tls: null,
    verifyIncoming: false,
  });
  return { clock, server, acceptor };
}

describe('a server', () => {
  const connections = Math.ceil(fuzzRequests / 2);
  test(
    `serves others while ${connections} hostile connections come`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('server');
      let answered = 0;
      for (let round = 1; round <= rounds; round++) {
        // What a bent call that is none the less valid has written must not be taken for a leak.
        const { clock, server, acceptor } = wholeServer();
        await server.start();
        const streams: MemoryStream[] = [];
        const ours: MemoryStream[] = [];
        const dial: RpcDial = (_, selector) => {
          const { near, far } = connectionFrom(victim);
          acceptor.accept(far);
          near.write(Uint8Array.of(selector));
          ours.push(near);
          return Promise.resolve(near);
        };
        const pool = new RpcPool({ clock, dial });
        const client = createRpcClient({ pool, shapes: serverMethods, clock });
        const to = { name: 's1', datacenter: 'dc1', address: '10.0.0.1', port: 8300 };
        for (let at = 0; at < connections / rounds; at++) {
          const { near, far } = connectionFrom('10.6.6.6');
          const heard = record(near);
          const sent = bentConnection(draw);
          await meter.measured(async () => {
            acceptor.accept(far);
            near.write(sent);
            await settle(
              clock,
              [near],
              draw.chance(0.1) ? Math.ceil(sent.length / (1 + draw.integer(200))) : undefined,
            );
          });
          const said = heard.bytes.toString('latin1');
          if (trippedOver.test(said)) {
            throw new Error(`seed ${fuzzSeed}: ${sent.toString('hex')}\n${/[ -~]*$/.exec(said)?.[0]}`);
          }
          // Some stay for a while.
          if (draw.chance(0.5)) near.destroy();
          else if (draw.chance(0.3)) near.end();
          streams.push(near);
          if (streams.length > 60) {
            const old = streams.splice(0, 40);
            for (const one of old) one.destroy();
            await settle(clock, old);
          }
          if (draw.chance(0.01)) await pass(clock, [...streams, ...ours], draw.integer(20_000));
          if (at % 50 > 0) continue;
          const leader = client.call(to, 'Status.Leader', { Datacenter: 'dc1' });
          await settle(clock, ours);
          const late = clock.advance(1_000).then(() => 'late');
          expect(await Promise.race([leader, late])).toBe('10.0.0.1:8300');
          await late;
          answered++;
        }
        for (const stream of [...streams, ...ours]) stream.destroy();
        await settle(clock, [...streams, ...ours]);
        pool.close();
        // Closed connections are gone at once, and the waits of their callers with them.
        expect(acceptor.connectionCount, `seed ${fuzzSeed}`).toBe(0);
        await clock.advance(60_000);
        expect(server.blockingQueries, `seed ${fuzzSeed}`).toBe(0);
        server.stop();
        acceptor.close();
        meter.round();
      }
      expect(answered).toBeGreaterThanOrEqual(rounds);
      meter.tell();
    },
    fuzzLimitMs,
  );
});

/** A time of a call that waits for a change, its jitter, the time that every call has, and that for looking elsewhere. */
const callLimitMs = 600_000 * (1 + 1 / 16) + 60_000 + 20_000;

describe('a client', () => {
  const calls = Math.ceil(fuzzRequests / 10);
  test(
    `ends ${calls} calls in time, whatever the servers answer`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('client');
      const asked = recordedCalls.filter(({ method }) => Object.hasOwn(serverMethods, method));
      let fine = 0;
      for (let round = 1; round <= rounds; round++) {
        const clock = new VirtualClock();
        const streams: MemoryStream[] = [];
        let last: RecordedCall | undefined;
        const dial: RpcDial = (to, selector) => {
          if (draw.chance(0.05)) return Promise.reject(new Error('dial tcp: connect: connection refused'));
          const { near, far } = connectionFrom(to.address);
          void new HostileServer(far, draw, { asked: () => last });
          near.write(Uint8Array.of(selector));
          streams.push(near);
          return Promise.resolve(near);
        };
        const pool = new RpcPool({ clock, dial });
        const client = createRpcClient({ pool, shapes: serverMethods, clock });
        const router = createRouter({
          clock,
          random: draw,
          logger: silentLogger,
          metrics: noMetrics,
          callServer: callServerBy(client),
          pool,
          dial,
          datacenter: 'dc1',
          limits: () => ({ rpcRate: -1, rpcMaxBurst: 1000 }),
          rpcHoldTimeoutMs: 7_000,
          memberCount: () => 4,
        });
        for (const at of [1, 2, 3]) router.addServer(parseConsulServer(serverMember(at))!);
        router.start();
        for (let at = 0; at < calls / rounds; at++) {
          last = draw.pick(asked);
          const { method } = last;
          let request: unknown;
          try {
            request = decodeShape(methods[method]!.request, last.request);
          } catch {
            continue;
          }
          const state: { outcome: unknown } = { outcome: 'waiting' };
          await meter.measured(async () => {
            router.caller.call(method as never, request as never).then(
              () => (state.outcome = 'answered'),
              (error: unknown) => (state.outcome = error),
            );
            for (let passed = 0; state.outcome === 'waiting' && passed < callLimitMs; passed += stepMs) {
              await settle(clock, streams);
              if (state.outcome === 'waiting') await clock.advance(stepMs);
            }
          });
          expect(state.outcome, `seed ${fuzzSeed}: ${method} goes on for ever`).not.toBe('waiting');
          if (state.outcome === 'answered') fine++;
          else if (!(state.outcome instanceof CallError) || trippedOver.test(state.outcome.message)) {
            throw new Error(`seed ${fuzzSeed}: ${method}`, { cause: state.outcome });
          }
          for (let gone = 0; gone < streams.length;) {
            if (streams[gone]!.closed) streams.splice(gone, 1);
            else gone++;
          }
          // A server that breaks every connection must not leave them behind.
          expect(streams.length, `seed ${fuzzSeed}`).toBeLessThan(openConnectionsMax);
        }
        router.stop();
        pool.close();
        await pass(clock, streams, 400_000);
        expect(clock.pendingTimers, `seed ${fuzzSeed}`).toBe(0);
        meter.round();
      }
      expect(fine).toBeGreaterThan(calls / 20);
      meter.tell();
    },
    fuzzLimitMs,
  );
});

/** A router whose calls are only dialled. */
function createRouterOver(clock: VirtualClock, draw: Draw, dialled: (to: RpcServerAddress) => Promise<void>) {
  const router = createRouter({
    clock,
    random: draw,
    logger: silentLogger,
    metrics: noMetrics,
    callServer: (async (to: RpcServerAddress) => {
      await dialled(to).catch((error: unknown) => {
        throw new RpcError('connect', error instanceof Error ? error.message : String(error));
      });
      return '10.0.0.1:8300';
    }) as unknown as CallServer,
    pool: { forget: () => undefined },
    dial: () => Promise.reject(new Error('no snapshots here')),
    datacenter: 'dc1',
    limits: () => ({ rpcRate: -1, rpcMaxBurst: 1000 }),
    rpcHoldTimeoutMs: 7_000,
    memberCount: () => 4,
  });
  return {
    caller: router.caller,
    addServer: router.addServer.bind(router),
    removeServer: router.removeServer.bind(router),
    stop: router.stop.bind(router),
  };
}

/** To three servers, with some that are on their way out. */
const openConnectionsMax = 40;

function serverMember(at: number, tags: Readonly<Record<string, string>> = {}): Member {
  return {
    Name: `s${at}`,
    Addr: `10.0.0.${at}`,
    Port: 8301,
    Tags: {
      role: 'consul',
      dc: 'dc1',
      id: `0000000${at}-0000-4000-8000-000000000001`,
      port: '8300',
      vsn: '2',
      raft_vsn: '3',
      build: '1.8.7:1a2b3c4d',
      ...tags,
    },
    Status: 1,
    ...consulMemberProtocol,
  };
}

describe('snapshots', () => {
  const attempts = Math.ceil(fuzzRequests / 50);
  test(
    `of which ${attempts} are bent are restored or refused, and the server goes on`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('snapshots, restoring');
      let refused = 0;
      for (let round = 1; round <= rounds; round++) {
        const { clock, server } = wholeServer();
        await server.start();
        const target = { datacenter: 'dc1', token: '', stale: false };
        const saved = await ran(clock, async () => await bytesOf((await server.snapshots.save(target)).archive));
        const tar = gunzipSync(saved);
        for (let at = 0; at < attempts / rounds; at++) {
          const bent = draw.chance(0.3)
            ? draw.mutated(saved)
            : gzipSync(draw.chance(0.5) ? draw.mutated(tar) : bentTar(draw, tar));
          await meter.measured(async () => {
            try {
              await ran(clock, () =>
                server.snapshots.restore(target, inTurns([bent.subarray(0, 50), bent.subarray(50)])),
              );
            } catch (error) {
              refused++;
              if (!(error instanceof CallError) || trippedOver.test(error.message)) {
                throw new Error(`seed ${fuzzSeed}: ${bent.toString('hex')}`, { cause: error });
              }
            }
          });
          expect(await server.caller.call('Status.Leader', { Datacenter: 'dc1' })).toBe('10.0.0.1:8300');
        }
        server.stop();
        await clock.advance(1_000);
        meter.round();
      }
      expect(refused).toBeGreaterThan(attempts / 2);
      meter.tell();
    },
    fuzzLimitMs,
  );

  test(
    `that are asked for ${attempts} times come, or their failure does`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('snapshots, saving');
      for (let round = 1; round <= rounds; round++) {
        const clock = new VirtualClock();
        for (let at = 0; at < attempts / rounds; at++) {
          const { near, far } = connectionFrom('10.0.0.1');
          const { reply } = draw.pick(recordedSnapshots);
          let endless = draw.chance(0.3);
          far.subscribe({
            onData: () => {
              far.write(draw.chance(0.5) ? reply : draw.chance(0.2) ? absurdValue(draw) : draw.mutated(reply));
              if (draw.chance(0.2)) far.end();
              for (let left = draw.integer(20); left > 0; left--) far.write(draw.bytes(draw.integer(70_000)));
              if (draw.chance(0.2)) far.destroy();
            },
            onEnd: () => !endless && far.end(),
            onDrain: () => endless && far.write(draw.bytes(65_536)),
            onClose: () => (endless = false),
          });
          const state = { settled: false };
          const request = { Op: 0, Datacenter: 'dc1', Token: '', AllowStale: true };
          await meter.measured(async () => {
            requestSnapshot(near, request, { clock })
              .then(async ({ archive }) => {
                let pieces = 0;
                for await (const _ of archive) if (++pieces > 100) break;
              })
              .catch((error: unknown) => {
                if (trippedOver.test(String(error))) throw error;
              })
              .finally(() => (state.settled = true));
            for (let passed = 0; !state.settled && passed < 700_000; passed += stepMs) {
              await settle(clock, [near]);
              if (!state.settled) await clock.advance(stepMs);
            }
          });
          expect(state.settled, `seed ${fuzzSeed}`).toBe(true);
        }
        await clock.advance(700_000);
        expect(clock.pendingTimers, `seed ${fuzzSeed}`).toBe(0);
        meter.round();
      }
      meter.tell();
    },
    fuzzLimitMs,
  );
});

/** Lets time stand and everything else run until `work` is done. */
async function ran<T>(clock: VirtualClock, work: () => Promise<T>): Promise<T> {
  const state = { done: false };
  const result = work().finally(() => (state.done = true));
  result.catch(() => undefined);
  while (!state.done) {
    await clock.advance(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await result;
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

async function* inTurns(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** Another size in a header, with or without the sum that belongs to it. */
function bentTar(draw: Draw, tar: Buffer): Buffer {
  const bent = Buffer.from(tar);
  const header = 512 * draw.integer(tar.length / 512);
  bent.write(draw.pick(['00000000000', '77777777777', '00000001000', '-0000000001']), header + 124, 'latin1');
  if (draw.chance(0.8)) {
    bent.fill(0x20, header + 148, header + 156);
    const sum = bent.subarray(header, header + 512).reduce((total, byte) => total + byte, 0);
    bent.write(`${sum.toString(8).padStart(6, '0')}\0 `, header + 148, 'latin1');
  }
  return bent;
}

describe('servers that gossip names', () => {
  const members = fuzzRequests;
  test(
    `are ${members} times absurd, and calls go on to the one that is not`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('gossiped servers');
      const absurdTags = ['', '0', '-1', '65536', '8300x', '99999999999999999999', '9007199254740991', '\u0000', 'é'];
      const lan = new LanServers('dc1');
      let known = 0;
      for (let round = 1; round <= rounds; round++) {
        const clock = new VirtualClock();
        const network = new TcpNetwork();
        const asked: string[] = [];
        const { caller, ...router } = createRouterOver(clock, draw, async (to) => {
          if (to.name === 's1') {
            asked.push(to.name);
            return;
          }
          // Absurd ports end here and not in an exception of the network.
          if (to.port < 1 || to.port > 65_535) await network.connect(to, { timeoutMs: 1_000 });
          throw new Error('dial tcp: connect: connection refused');
        });
        router.addServer(parseConsulServer(serverMember(1))!);
        for (let at = 0; at < members / rounds; at++) {
          const tags = Object.fromEntries(
            ['port', 'vsn', 'raft_vsn', 'expect', 'wan_join_port', 'build', 'dc', 'id', 'ft_fs', 'sl_x', '__proto__']
              .filter(() => draw.chance(0.2))
              .map((name) => [name, draw.pick(absurdTags)]),
          );
          const member = {
            ...serverMember(2 + draw.integer(50), tags),
            Addr: draw.pick(['', '::', '0.0.0.0', '10.0.0.1', '255.255.255.255']),
          };
          meter.measuredSync(() => {
            lan.update(member);
            const server = parseConsulServer(member);
            if (server === null) return;
            known++;
            router.addServer(server);
            if (draw.chance(0.3)) router.removeServer(server);
          });
          if (at % 100 > 0) continue;
          const call = caller.call('Status.Leader', { Datacenter: 'dc1' });
          const late = clock.advance(20_000).then(() => 'late');
          await new Promise((resolve) => setImmediate(resolve));
          expect(await Promise.race([call, late]), `seed ${fuzzSeed}`).toBe('10.0.0.1:8300');
          await late;
        }
        expect(asked.length).toBeGreaterThan(0);
        router.stop();
        meter.round();
      }
      expect(lan.all.length).toBeLessThanOrEqual(52);
      expect(known).toBeGreaterThan(members / 10);
      meter.tell();
    },
    fuzzLimitMs,
  );
});

describe('TLS', () => {
  const attempts = Math.ceil(fuzzRequests / 20);
  test(
    `is tried ${attempts} times by who cannot, or breaks off, and works for who can`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('TLS');
      const authority = new TestAuthority();
      const { cert, key } = authority.issue('server.dc1.consul');
      const identity = () => ({ ca: authority.cert, cert, key });
      const clock = new SystemClock();
      const network = new TcpNetwork();
      const acceptor = new RpcAcceptor({
        clock,
        logger: silentLogger,
        doors: {
          rpc: (stream) =>
            createRpcServer({
              shapes: serverMethods,
              handler: () => Promise.resolve('10.0.0.1:8300'),
              logger: silentLogger,
            }).serve(stream),
        },
        tls: createTlsServer({ identity }),
        verifyIncoming: true,
        handshakeTimeoutMs: 2_000,
      });
      const listener = await network.listen({ address: '127.0.0.1', port: 0 }, (stream) => acceptor.accept(stream));
      // What a client says first, to be bent.
      const hello = await helloOf(network);
      const dial = createRpcDialer({
        network,
        tls: { client: createTlsClient({ identity }), verify: true, serverName: () => null },
      });
      const pool = new RpcPool({ clock, dial });
      const client = createRpcClient({ pool, shapes: serverMethods, clock });
      const to = { name: 's1', datacenter: 'dc1', address: '127.0.0.1', port: listener.local.port };
      try {
        for (let round = 1; round <= rounds; round++) {
          for (let at = 0; at < attempts / rounds; at++) {
            const bent = draw.chance(0.2) ? hello : draw.mutated(hello);
            const first = draw.chance(0.7) ? Buffer.of(3) : Buffer.alloc(0);
            await meter.measured(() => attempt(to.port, Buffer.concat([first, bent]), draw.integer(3)));
          }
          expect(await client.call(to, 'Status.Leader', { Datacenter: 'dc1' })).toBe('10.0.0.1:8300');
          meter.round();
        }
      } finally {
        pool.close();
        acceptor.close();
        await listener.close();
      }
      meter.tell();
    },
    fuzzLimitMs,
  );
});

/** The first bytes of a TLS client, as a listener hears them. */
async function helloOf(network: TcpNetwork): Promise<Buffer> {
  let heard: (bytes: Buffer) => void = () => undefined;
  const hello = new Promise<Buffer>((resolve) => (heard = resolve));
  const listener = await network.listen({ address: '127.0.0.1', port: 0 }, (stream) => {
    stream.subscribe({
      onData: (bytes) => {
        heard(Buffer.from(bytes));
        stream.destroy();
      },
      onEnd: () => undefined,
      onDrain: () => undefined,
      onClose: () => undefined,
    });
  });
  const socket = connectTls({ host: '127.0.0.1', port: listener.local.port, rejectUnauthorized: false });
  socket.on('error', () => undefined);
  const bytes = await hello;
  await listener.close();
  return bytes;
}

/** Sends bytes; then ends, resets, or waits until the other side has had enough. */
function attempt(port: number, bytes: Buffer, how: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.on('data', () => how === 1 && socket.resetAndDestroy());
    socket.write(bytes, () => {
      if (how === 0) socket.end();
      else setTimeout(() => socket.resetAndDestroy(), how * 5);
    });
  });
}

describe('between servers', () => {
  const connections = Math.ceil(fuzzRequests / 2);
  test(
    `${connections} hostile connections stop no server`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('raft, accepting');
      let answers = 0;
      for (let round = 1; round <= rounds; round++) {
        const clock = new VirtualClock();
        const disk = new FaultyDisk({ clock, random: new SeededRandom(round), latencyMs: 0 }).mount();
        await disk.makeDirectory('raft');
        const transport = new NetworkTransport({
          clock,
          logger: silentLogger,
          dial: () => Promise.reject(new Error('nobody there')),
        });
        const failures: Error[] = [];
        const node = await RaftNode.start({
          id: 'a',
          address: '10.0.0.1:8300',
          timing: {
            heartbeatTimeoutMs: 1_000,
            electionTimeoutMs: 1_000,
            leaderLeaseMs: 500,
            commitTimeoutMs: 50,
            appendEntriesMax: 64,
            snapshotIntervalMs: 120_000,
            snapshotThreshold: 8192,
            trailingLogs: 128,
          },
          clock,
          random: draw,
          logger: silentLogger,
          log: await SegmentedLog.open({ disk, directory: 'raft/log', logger: silentLogger }),
          stable: await FileStableStore.open(disk, 'raft', 'term'),
          snapshots: await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock }),
          // What a leader has committed is the leader's business, and not that of this test.
          stateMachine: {
            apply: () => null,
            snapshot: async function* snapshot() {},
            restore: async (pieces) => {
              for await (const _ of pieces) continue;
            },
          },
          transport,
          onFailure: (error) => failures.push(error),
        });
        // Alone it leads; among three that never answer it follows whoever speaks.
        const alone = round % 2 === 0;
        await node
          .bootstrap({
            Servers: ['a', 'b', 'c'].slice(0, alone ? 1 : 3).map((ID, at) => {
              return { Suffrage: suffrage.voter, ID, Address: `10.0.0.${at + 1}:8300` };
            }),
          })
          .catch(() => undefined);
        const streams: MemoryStream[] = [];
        for (let at = 0; at < connections / rounds; at++) {
          const { near, far } = connectionFrom('10.6.6.6');
          const heard = record(near);
          const sent = bentRaft(draw);
          await meter.measured(async () => {
            transport.accept(far);
            near.write(sent);
            await settle(clock, [near]);
          });
          if (heard.bytes.length > 0) answers++;
          if (failures.length > 0) {
            throw new Error(`seed ${fuzzSeed}: ${sent.toString('hex')}`, { cause: failures[0] });
          }
          if (draw.chance(0.7)) near.destroy();
          streams.push(near);
          if (streams.length > 30) {
            const old = streams.splice(0, 20);
            for (const one of old) one.destroy();
            await settle(clock, old);
          }
          if (draw.chance(0.02)) await clock.advance(draw.integer(3_000));
        }
        for (const one of streams) one.destroy();
        await settle(clock, streams);
        await node.close();
        meter.round();
      }
      expect(answers).toBeGreaterThan(connections / 20);
      meter.tell();
    },
    fuzzLimitMs,
  );

  const calls = Math.ceil(fuzzRequests / 10);
  test(
    `${calls} requests end in time, whatever the others answer`,
    async () => {
      const draw = new Draw(fuzzSeed);
      const meter = new Meter('raft, asking');
      const handled: Parameters<NetworkTransport['call']>[1][] = [];
      const decoder = new NetworkTransport({
        clock: new VirtualClock(),
        logger: silentLogger,
        dial: () => Promise.reject(new Error('no')),
      });
      decoder.serve((request) => {
        handled.push(request);
        return new Promise(() => undefined);
      });
      for (const { request } of recordedRaft) {
        const { near, far } = connectionFrom('10.0.0.9');
        decoder.accept(far);
        near.write(request);
        near.step();
      }
      const requests = handled.filter(({ rpc }) => rpc !== 'installSnapshot');
      for (let round = 1; round <= rounds; round++) {
        const clock = new VirtualClock();
        const streams: MemoryStream[] = [];
        const transport = new NetworkTransport({
          clock,
          logger: silentLogger,
          dial: () => {
            const { near, far } = connectionFrom('10.0.0.2');
            far.subscribe({
              onData: () => {
                const { answer } = draw.pick(recordedRaft);
                if (draw.chance(0.1)) far.destroy();
                else if (draw.chance(0.8))
                  far.write(draw.chance(0.4) ? answer : draw.chance(0.1) ? absurdValue(draw) : draw.mutated(answer));
              },
              onEnd: () => far.end(),
              onDrain: () => undefined,
              onClose: () => undefined,
            });
            streams.push(near);
            return Promise.resolve(near);
          },
        });
        for (let at = 0; at < calls / rounds; at++) {
          const state = { settled: false };
          await meter.measured(async () => {
            const peer = { id: 'b', address: '10.0.0.2:8300' };
            const size = draw.integer(200_000);
            const body = draw.chance(0.1) ? { size, pieces: inPieces(size) } : undefined;
            const request = body === undefined ? draw.pick(requests) : snapshotRequest(size);
            transport.call(peer, request, body).then(
              () => (state.settled = true),
              (error: unknown) => {
                state.settled = true;
                if (trippedOver.test(String(error))) throw error;
              },
            );
            for (let passed = 0; !state.settled && passed < 60_000; passed += 1_000) {
              await settle(clock, streams);
              if (!state.settled) await clock.advance(1_000);
            }
          });
          expect(state.settled, `seed ${fuzzSeed}`).toBe(true);
          if (streams.length > 10) streams.splice(0, streams.length, ...streams.filter(({ closed }) => !closed));
        }
        await transport.close();
        await settle(clock, streams);
        meter.round();
      }
      meter.tell();
    },
    fuzzLimitMs,
  );
});

async function* inPieces(bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; left -= 65_536) yield new Uint8Array(Math.min(left, 65_536));
}

function snapshotRequest(Size: number): Parameters<NetworkTransport['call']>[1] {
  return {
    rpc: 'installSnapshot',
    request: {
      Configuration: null,
      ConfigurationIndex: 1,
      LastLogIndex: 9,
      LastLogTerm: 2,
      Leader: '10.0.0.1:8300',
      Peers: null,
      ProtocolVersion: 3,
      Size,
      SnapshotVersion: 1,
      Term: 3,
    },
  };
}
