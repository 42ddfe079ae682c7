// A member of a gossip pool under packets and streams that are nearly right, plain and encrypted: it neither trips nor
// grows nor lets its event loop wait, and answers all the while. PORTOLAN_FUZZ=1000000 for ten million packets.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { createSerf, Keyring, lanProfile, type Serf } from '../../src/gossip/index.ts';
import { encrypt } from '../../src/gossip/memberlist/encryption.ts';
import { addCrc, compressMessage, makeCompound } from '../../src/gossip/memberlist/framing.ts';
import { ack, decodeBody, encodeMessage, messageType, ping } from '../../src/gossip/memberlist/messages.ts';
import { openPacket, type Security } from '../../src/gossip/memberlist/packet.ts';
import { encodeMessage as encodeSerf, messageType as serfType, userEvent } from '../../src/gossip/serf/messages.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import type { DatagramNetwork, Endpoint, Logger, Stream, StreamEvents, StreamNetwork } from '../../src/ports/index.ts';
import { silentLogger } from '../helpers/logger.ts';
import { Draw, expectLevel, fuzzLimitMs, fuzzRequests, fuzzSeed, trippedOver } from './support/fuzz.ts';

/** Half of them plain, half encrypted. */
const packets = fuzzRequests * 5;
/** What Node reads from a socket before timers and other sockets have their turn. */
const packetsPerTurn = 32;
/** One in so many is a stream. */
const streamShare = 50;
/** Longest time that the event loop may be kept busy in one turn, ms that its thread was running. */
const turnLimitMs = 50;
/** From so many packets on it says how far it is. */
const longRun = 1_000_000;
const rounds = 10;
const key = new Uint8Array(16).fill(5);
const noBytes = new Uint8Array();
const own: Endpoint = { address: '10.0.0.1', port: 7946 };
/** Peers that the packets come from. */
const senders = 16;
const honest: Endpoint = { address: '10.0.9.9', port: 7946 };

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Vector {
  readonly transport: 'udp' | 'tcp';
  readonly hex: string;
  readonly keys?: readonly { readonly hex: string }[];
  readonly decoded: { readonly encryption?: { readonly plainHex: string } };
}

const vectors = ['memberlist-udp', 'memberlist-tcp', 'encryption', 'serf-messages'].flatMap(
  (name) =>
    JSON.parse(readFileSync(join(import.meta.dirname, `../fixtures/gossip/${name}.json`), 'utf8')) as readonly Vector[],
);
/** Recorded packets and streams without their encryption. */
const recorded = (transport: 'udp' | 'tcp'): readonly Uint8Array[] =>
  vectors
    .filter((vector) => vector.transport === transport)
    .map(({ hex, decoded }) => Buffer.from(decoded.encryption?.plainHex ?? hex, 'hex'));
const wholePackets = recorded('udp');
const streams = recorded('tcp');
const plainSecurity: Security = { keyring: undefined, verifyIncoming: false, verifyOutgoing: false, label: noBytes };
/** The messages inside them, which a wrong byte further out would hide. */
const messages = wholePackets.flatMap((packet) => {
  const found: Uint8Array[] = [];
  openPacket(
    packet,
    plainSecurity,
    (type, body) => found.push(Buffer.concat([Buffer.of(type), body])),
    () => {},
  );
  return found;
});

/** Time that the thread of the event loop has been running, whatever else this machine does, ms. */
function threadMs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}

/** A network of one member, into which the test puts what it likes. */
class Wire {
  onPacket: (packet: Uint8Array, from: Endpoint) => void = () => {};
  onStream: (stream: Stream) => void = () => {};
  /** What the member sends to the honest peer. */
  onAnswer: (packet: Uint8Array) => void = () => {};
  readonly datagrams: DatagramNetwork = {
    bind: async (local, onPacket) => {
      this.onPacket = onPacket;
      return {
        local,
        send: (packet, to) => {
          if (to.address === honest.address) this.onAnswer(packet);
        },
        close() {},
      };
    },
  };
  readonly streams: StreamNetwork = {
    connect: () => Promise.reject(new Error('connection refused')),
    listen: async (local, onStream) => {
      this.onStream = onStream;
      return { local, close: async () => {} };
    },
  };

  /** Somebody connects, sends these pieces and waits for the end. */
  connect(pieces: readonly Uint8Array[], remote: Endpoint): void {
    let events: StreamEvents | undefined;
    let isClosed = false;
    const close = (): void => {
      if (isClosed) return;
      isClosed = true;
      queueMicrotask(() => events?.onClose(null));
    };
    this.onStream({
      local: own,
      remote,
      queuedBytes: 0,
      subscribe: (given) => (events = given),
      write: () => true,
      pause() {},
      resume() {},
      end: close,
      destroy: close,
    });
    for (const piece of pieces) if (!isClosed) events?.onData(piece);
    if (!isClosed) events?.onEnd();
  }
}

class Fuzzer {
  readonly #draw: Draw;
  readonly #keyring: Keyring | undefined;

  constructor(draw: Draw, keyring: Keyring | undefined) {
    this.#draw = draw;
    this.#keyring = keyring;
  }

  packet(): Uint8Array {
    const draw = this.#draw;
    return this.#sealed(draw.chance(0.3) ? draw.mutated(draw.pick(wholePackets)) : this.#wrapped());
  }

  stream(): readonly Uint8Array[] {
    const draw = this.#draw;
    const plain = draw.chance(0.9) ? draw.mutated(draw.pick(streams)) : draw.pick(streams);
    let stream: Uint8Array = draw.chance(0.2) && plain.length > 0 ? compressMessage(plain) : plain;
    if (this.#keyring !== undefined && draw.chance(0.8)) {
      const header = Buffer.alloc(5);
      header[0] = messageType.encrypt;
      header.writeUInt32BE(stream.length + 29, 1);
      stream = Buffer.concat([header, encrypt(1, key, draw.bytes(12), stream, header)]);
    }
    const cut = draw.integer(stream.length + 1);
    return [stream.subarray(0, cut), stream.subarray(cut)];
  }

  /** Messages that are nearly right in layers that are right. */
  #wrapped(): Uint8Array {
    const draw = this.#draw;
    const parts = Array.from({ length: 1 + draw.integer(3) }, () => {
      const message = draw.pick(messages);
      return draw.chance(0.7) ? draw.mutated(message) : message;
    }).filter(({ length }) => length > 0);
    if (parts.length === 0) return noBytes;
    let packet = parts.length === 1 ? parts[0]! : makeCompound(parts);
    if (draw.chance(0.1)) packet = compressMessage(packet);
    return draw.chance(0.2) ? addCrc(packet) : packet;
  }

  #sealed(packet: Uint8Array): Uint8Array {
    if (this.#keyring === undefined || this.#draw.chance(0.2)) return packet;
    const sealed = encrypt(this.#draw.chance(0.1) ? 0 : 1, key, this.#draw.bytes(12), packet, noBytes);
    if (this.#draw.chance(0.05)) sealed[this.#draw.integer(sealed.length)]! ^= 1;
    return sealed;
  }
}

/** Lines that say that the member tripped over itself. */
function watchingLogger(tripped: string[]): Logger {
  const watch = (message: string, fields: object = {}): void => {
    const text = `${message} ${Object.values(fields).map(String).join(' ')}`;
    if (trippedOver.test(text)) tripped.push(text);
  };
  const logger: Logger = { ...silentLogger, debug: watch, info: watch, warn: watch, error: watch, named: () => logger };
  return logger;
}

async function startMember(wire: Wire, keyring: Keyring | undefined, logger: Logger, onUser: (name: string) => void) {
  const serf: Serf = createSerf({
    nodeName: 'subject',
    tags: { role: 'web' },
    bind: own,
    profile: lanProfile,
    ...(keyring === undefined ? {} : { keyring }),
    onEvent: (event) => {
      if (event.type === 'user') onUser(event.name);
      if (event.type === 'query') event.respond(noBytes);
    },
    clock: new SystemClock(),
    random: new SystemRandom(),
    datagrams: wire.datagrams,
    streams: wire.streams,
    logger,
    metrics: { count() {}, gauge() {}, sample() {} },
  });
  await serf.start();
  return serf;
}

const sealedFor = (keyring: Keyring | undefined, packet: Uint8Array, draw: Draw): Uint8Array =>
  keyring === undefined ? packet : encrypt(1, key, draw.bytes(12), packet, noBytes);

describe.each([
  ['plain', undefined],
  ['encrypted', new Keyring([key])],
] as const)('a member of a pool, %s,', (kind, keyring) => {
  test('survives what is nearly right', { timeout: fuzzLimitMs }, async () => {
    const draw = new Draw(fuzzSeed);
    const wire = new Wire();
    const tripped: string[] = [];
    const serf = await startMember(wire, keyring, watchingLogger(tripped), () => {});
    const fuzzer = new Fuzzer(draw, keyring);
    const security: Security = { keyring, verifyIncoming: true, verifyOutgoing: true, label: noBytes };
    let answered = -1;
    wire.onAnswer = (packet) =>
      openPacket(
        packet,
        security,
        (type, body) => {
          if (type === messageType.ack) answered = decodeBody(ack, body).SeqNo;
        },
        () => {},
      );
    const heaps: number[] = [];
    const longest = { ms: 0, at: 0 };
    let sequence = 0;
    let busyMs = threadMs();
    for (let round = 0; round < rounds; round++) {
      for (let sent = 0; sent < packets / rounds; sent += packetsPerTurn) {
        for (let i = 0; i < packetsPerTurn; i++) {
          const from = { address: `10.0.1.${draw.integer(senders)}`, port: own.port };
          if (draw.integer(streamShare) === 0) wire.connect(fuzzer.stream(), from);
          else wire.onPacket(fuzzer.packet(), from);
        }
        // Whoever asks in the midst of it has an answer at once.
        const request = { SeqNo: ++sequence, Node: 'subject', SourceAddr: null, SourcePort: 0, SourceNode: '' };
        wire.onPacket(sealedFor(keyring, encodeMessage(messageType.ping, ping, request), draw), honest);
        if (answered !== sequence) throw new Error(`ping ${sequence} has no answer; seed ${fuzzSeed}`);
        await turn();
        const nowMs = threadMs();
        if (nowMs - busyMs > longest.ms) Object.assign(longest, { ms: nowMs - busyMs, at: sequence });
        busyMs = nowMs;
      }
      collect();
      heaps.push(process.memoryUsage().heapUsed);
      if (packets >= longRun)
        console.log(`gossip fuzz, ${kind}: round ${round + 1} of ${rounds}, longest turn ${longest.ms.toFixed(1)} ms`);
      busyMs = threadMs();
    }
    console.log(
      `gossip fuzz, ${kind}: ${packets} packets and streams, ${serf.members().length} members, longest turn ` +
        `${longest.ms.toFixed(1)} ms, heap ${heaps.map((bytes) => (bytes / 2 ** 20).toFixed(0)).join(' ')} MB; seed ${fuzzSeed}`,
    );
    expect(tripped.slice(0, 3), `seed ${fuzzSeed}`).toEqual([]);
    expect(serf.state).toBe('alive');
    expect(longest.ms, `turn ${longest.at}, seed ${fuzzSeed}`).toBeLessThan(turnLimitMs);
    expectLevel(heaps);
    await serf.shutdown();
  });

  test('hears others while one floods it', async () => {
    const draw = new Draw(fuzzSeed);
    const wire = new Wire();
    const heard: string[] = [];
    const serf = await startMember(wire, keyring, silentLogger, (name) => heard.push(name));
    const event = (name: string, lTime: number): Uint8Array =>
      Buffer.concat([
        Buffer.of(messageType.user),
        encodeSerf(serfType.userEvent, userEvent, { LTime: lTime, Name: name, Payload: null, CC: false }),
      ]);
    const flood = sealedFor(keyring, makeCompound(Array.from({ length: 20 }, (_, i) => event(`flood ${i}`, 1))), draw);
    for (let i = 0; i < 100; i++) {
      // Far more than the queue holds, before the one message that matters.
      for (let copy = 0; copy < 200; copy++) wire.onPacket(flood, { address: '10.0.1.1', port: own.port });
      wire.onPacket(sealedFor(keyring, event(`honest ${i}`, i + 2), draw), honest);
      for (let turns = 0; turns < 20 && !heard.includes(`honest ${i}`); turns++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    expect(heard.filter((name) => name.startsWith('honest')).length).toBe(100);
    await serf.shutdown();
  });
});
