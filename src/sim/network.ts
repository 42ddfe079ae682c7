/**
 * A network in memory on virtual time: packets and streams between hosts, with loss, delay, doubles, reordering,
 * partitions, hosts that stall, crash, or whose clock runs fast. Everything that is chance comes from one seed, so a
 * run is a function of it.
 */
import { invariant } from '../lib/index.ts';
import type {
  Clock,
  DatagramNetwork,
  DatagramSocket,
  Endpoint,
  Random,
  Stream,
  StreamEvents,
  StreamListener,
  StreamNetwork,
  Timer,
} from '../ports/index.ts';

/** How packets fare between two hosts. */
export interface LinkConditions {
  /** Share of packets that get lost, 0 to 1. Streams do not lose, they take longer. */
  readonly loss: number;
  /** Share of packets that arrive twice. */
  readonly duplicates: number;
  /** Share of packets that are overtaken by later ones. */
  readonly reordered: number;
  /** Each packet takes a time between these, ms. */
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
}

/** A quiet local network. */
export const calmLink: LinkConditions = { loss: 0, duplicates: 0, reordered: 0, delayMinMs: 0.1, delayMaxMs: 1 };

/** What went over a link, or out of a host. */
export interface Traffic {
  packets: number;
  packetBytes: number;
  lostPackets: number;
  streams: number;
  streamBytes: number;
}

/** Largest UDP payload, bytes. */
const packetBytesMax = 65_507;
/** How much later a packet comes that was overtaken, as a multiple of the longest delay. */
const reorderedDelay = 4;
/** Bytes on their way on one stream, each direction; beyond it the sender's queue grows. */
const windowBytes = 256 * 1024;
/** Above so many queued bytes a writer is told to wait. */
const queueBytesHigh = 64 * 1024;
/** A stream tries again after this long when nothing gets through, ms. */
const retryMs = 200;
/** A host that stalls keeps this many packets, as a socket buffer does; later ones are lost. */
const stalledPacketsMax = 4_096;
const firstFreePort = 32_768;

export class SimNetwork {
  readonly clock: Clock;
  readonly random: Random;
  /** Conditions of every link without its own. */
  conditions: LinkConditions;
  readonly #hosts = new Map<string, SimHost>();
  readonly #links = new Map<string, LinkConditions>();
  /** Group of each host while the network is split; hosts of different groups do not reach each other. */
  #groups: Map<string, number> | undefined;
  readonly #blocked = new Set<string>();
  readonly #linkTraffic: Map<string, Traffic> | undefined;

  /** @param options.countLinks keeps a count for each pair of hosts, which costs memory in large pools. */
  constructor(options: {
    readonly clock: Clock;
    readonly random: Random;
    readonly conditions?: LinkConditions;
    readonly countLinks?: boolean;
  }) {
    this.clock = options.clock;
    this.random = options.random;
    this.conditions = options.conditions ?? calmLink;
    this.#linkTraffic = options.countLinks === true ? new Map() : undefined;
  }

  /** The host at an address; made when it is new. @param clockRate 1.01 runs one percent fast. */
  host(address: string, clockRate = 1): SimHost {
    const known = this.#hosts.get(address);
    if (known !== undefined) return known;
    const host = new SimHost(this, address, clockRate);
    this.#hosts.set(address, host);
    return host;
  }

  /** Conditions from one host to another, in that direction only. */
  setLink(from: string, to: string, conditions: LinkConditions): void {
    this.#links.set(linkKey(from, to), conditions);
  }

  /** Lets nothing through from one host to another, in that direction only. */
  block(from: string, to: string): void {
    this.#blocked.add(linkKey(from, to));
  }

  /** Splits the network: hosts reach those of their own group only. Hosts in no group form one of their own. */
  partition(groups: readonly (readonly string[])[]): void {
    this.#groups = new Map(groups.flatMap((addresses, group) => addresses.map((address) => [address, group] as const)));
  }

  /** Ends partitions and blocks. */
  heal(): void {
    this.#groups = undefined;
    this.#blocked.clear();
  }

  /** What went from one host to another; undefined when nothing did, or links are not counted. */
  linkTraffic(from: string, to: string): Readonly<Traffic> | undefined {
    return this.#linkTraffic?.get(linkKey(from, to));
  }

  // What hosts need

  reaches(from: string, to: string): boolean {
    if (this.#groups !== undefined && this.#groups.get(from) !== this.#groups.get(to)) return false;
    return this.#blocked.size === 0 || !this.#blocked.has(linkKey(from, to));
  }

  existing(address: string): SimHost | undefined {
    return this.#hosts.get(address);
  }

  between(from: string, to: string): LinkConditions {
    if (this.#links.size === 0) return this.conditions;
    return this.#links.get(linkKey(from, to)) ?? this.conditions;
  }

  delayMs({ delayMinMs, delayMaxMs }: LinkConditions): number {
    return delayMinMs + this.random.next() * (delayMaxMs - delayMinMs);
  }

  count(from: SimHost, to: string, what: Partial<Traffic>): void {
    addTraffic(from.traffic, what);
    if (this.#linkTraffic === undefined) return;
    const key = linkKey(from.address, to);
    let link = this.#linkTraffic.get(key);
    if (link === undefined) this.#linkTraffic.set(key, (link = noTraffic()));
    addTraffic(link, what);
  }
}

/** One machine: an address, a clock, sockets. */
export class SimHost {
  readonly address: string;
  readonly clock: Clock;
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  /** What it sent. */
  readonly traffic: Traffic = noTraffic();
  readonly #network: SimNetwork;
  readonly #packetSockets = new Map<number, (packet: Uint8Array, from: Endpoint) => void>();
  readonly #listeners = new Map<number, (stream: Stream) => void>();
  readonly #connections = new Set<SimStream>();
  /** What waits while the host stalls: timers first, then what came in, as an event loop does it. */
  #stalled: { readonly timers: (() => void)[]; readonly packets: (() => void)[] } | undefined;
  /** Grows with every crash; what belongs to a former life does nothing any more. */
  #life = 0;
  #nextPort = firstFreePort;

  constructor(network: SimNetwork, address: string, clockRate: number) {
    this.#network = network;
    this.address = address;
    this.clock = {
      monotonicMs: () => network.clock.monotonicMs() * clockRate,
      wallMs: () => network.clock.wallMs(),
      after: (delayMs, callback) => this.#after(delayMs / clockRate, callback),
    };
    this.datagrams = { bind: async (at, onPacket) => this.#bind(at, onPacket) };
    this.streams = {
      connect: (to, options) => this.#connect(to, options),
      listen: async (at, onStream) => this.#listen(at, onStream),
    };
  }

  /** Stops the event loop: nothing runs and nothing is read until {@link resume}. */
  stall(): void {
    this.#stalled ??= { timers: [], packets: [] };
  }

  resume(): void {
    const stalled = this.#stalled;
    this.#stalled = undefined;
    for (const run of [...(stalled?.timers ?? []), ...(stalled?.packets ?? [])]) run();
  }

  /** Ends the process without a word: sockets close, timers never fire. The address may be used again. */
  crash(): void {
    this.#life++;
    this.#stalled = undefined;
    this.#packetSockets.clear();
    this.#listeners.clear();
    for (const stream of this.#connections) stream.reset();
    this.#connections.clear();
  }

  // Packets

  #bind(at: Endpoint, onPacket: (packet: Uint8Array, from: Endpoint) => void): DatagramSocket {
    const port = this.#claim(at, this.#packetSockets);
    const life = this.#life;
    this.#packetSockets.set(port, onPacket);
    const local = { address: at.address, port };
    const from = { address: this.address, port };
    let isOpen = true;
    return {
      local,
      send: (packet, to) => {
        if (isOpen && life === this.#life && packet.length <= packetBytesMax) this.#sendPacket(packet, from, to);
      },
      close: () => {
        if (isOpen && life === this.#life) this.#packetSockets.delete(port);
        isOpen = false;
      },
    };
  }

  #sendPacket(packet: Uint8Array, from: Endpoint, to: Endpoint): void {
    const network = this.#network;
    const conditions = network.between(this.address, to.address);
    network.count(this, to.address, { packets: 1, packetBytes: packet.length });
    const isLost = conditions.loss > 0 && network.random.next() < conditions.loss;
    if (isLost || !network.reaches(this.address, to.address)) {
      network.count(this, to.address, { lostPackets: 1 });
      return;
    }
    const isDouble = conditions.duplicates > 0 && network.random.next() < conditions.duplicates;
    for (let copy = 0; copy < (isDouble ? 2 : 1); copy++) {
      const isLate = conditions.reordered > 0 && network.random.next() < conditions.reordered;
      const delayMs = network.delayMs(conditions) + (isLate ? reorderedDelay * conditions.delayMaxMs : 0);
      const bytes = packet.slice();
      network.clock.after(delayMs, () => network.existing(to.address)?.arrive(bytes, from, to.port));
    }
  }

  /** A packet reaches this host. */
  arrive(packet: Uint8Array, from: Endpoint, port: number): void {
    if (this.#stalled === undefined) {
      this.#packetSockets.get(port)?.(packet, from);
      return;
    }
    if (this.#stalled.packets.length >= stalledPacketsMax) return;
    this.#stalled.packets.push(() => this.#packetSockets.get(port)?.(packet, from));
  }

  // Streams

  #listen(at: Endpoint, onStream: (stream: Stream) => void): StreamListener {
    const port = this.#claim(at, this.#listeners);
    const life = this.#life;
    this.#listeners.set(port, onStream);
    return {
      local: { address: at.address, port },
      close: async () => {
        if (life === this.#life && this.#listeners.get(port) === onStream) this.#listeners.delete(port);
      },
    };
  }

  #connect(to: Endpoint, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Stream> {
    const network = this.#network;
    const life = this.#life;
    const { signal } = options;
    return new Promise((resolve, reject) => {
      let isSettled = false;
      const settle = (run: () => void): void => {
        if (isSettled || life !== this.#life) return;
        isSettled = true;
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        run();
      };
      const onAbort = (): void => settle(() => reject(signal!.reason as Error));
      const timer = this.clock.after(options.timeoutMs, () =>
        settle(() => reject(new Error(`dial tcp ${to.address}:${to.port}: i/o timeout`))),
      );
      if (signal?.aborted === true) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      const attempt = (): void => {
        if (isSettled) return;
        if (!network.reaches(this.address, to.address) || !network.reaches(to.address, this.address)) {
          network.clock.after(retryMs, attempt);
          return;
        }
        const peer = network.existing(to.address);
        peer?.whenAwake(() => {
          const onStream = peer.#listeners.get(to.port);
          if (isSettled || life !== this.#life) return;
          if (onStream === undefined) {
            settle(() => reject(new Error(`dial tcp ${to.address}:${to.port}: connect: connection refused`)));
            return;
          }
          const here = new SimStream(network, this, { address: this.address, port: this.#nextPort++ }, to);
          const there = new SimStream(network, peer, to, here.local);
          SimStream.join(here, there);
          this.#connections.add(here);
          peer.#connections.add(there);
          network.count(this, to.address, { streams: 1 });
          onStream(there);
          network.clock.after(network.delayMs(network.between(to.address, this.address)), () =>
            this.whenAwake(() => settle(() => resolve(here))),
          );
        });
      };
      network.clock.after(network.delayMs(network.between(this.address, to.address)), attempt);
    });
  }

  /** Runs now, or when the host has woken up; never after a crash. */
  whenAwake(run: () => void): void {
    const life = this.#life;
    const guarded = (): void => {
      if (life === this.#life) run();
    };
    if (this.#stalled === undefined) guarded();
    else this.#stalled.packets.push(guarded);
  }

  forget(stream: SimStream): void {
    this.#connections.delete(stream);
  }

  // Time

  #after(delayMs: number, callback: () => void): Timer {
    const life = this.#life;
    let isPending = true;
    const run = (): void => {
      if (!isPending || life !== this.#life) return;
      isPending = false;
      callback();
    };
    const timer = this.#network.clock.after(delayMs, () => {
      if (this.#stalled === undefined) run();
      else this.#stalled.timers.push(run);
    });
    return {
      cancel: () => {
        isPending = false;
        timer.cancel();
      },
    };
  }

  #claim(at: Endpoint, taken: ReadonlyMap<number, unknown>): number {
    const isWildcard = at.address === '0.0.0.0' || at.address === '::';
    if (!isWildcard && at.address !== this.address) {
      throw new Error(`listen ${at.address}:${at.port}: cannot assign requested address`);
    }
    if (at.port !== 0) {
      if (taken.has(at.port)) throw new Error(`listen ${at.address}:${at.port}: address already in use`);
      return at.port;
    }
    while (this.#packetSockets.has(this.#nextPort) || this.#listeners.has(this.#nextPort)) this.#nextPort++;
    return this.#nextPort++;
  }
}

/** One side of a stream. */
class SimStream implements Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #network: SimNetwork;
  readonly #host: SimHost;
  peer!: SimStream;
  #events: StreamEvents | undefined;
  /** Written, not on the wire yet. */
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #inFlightBytes = 0;
  #mustDrain = false;
  #isEnding = false;
  #isEndSent = false;
  /** Arrived, not delivered yet. */
  readonly #inbox: (Uint8Array | 'end')[] = [];
  #hasDeliveredEnd = false;
  #isPaused = false;
  /** The last piece of ours arrives then: pieces do not overtake each other. */
  #lastArrivalMs = 0;
  #closed: { readonly error: Error | null } | undefined;
  #isCloseDelivered = false;

  constructor(network: SimNetwork, host: SimHost, local: Endpoint, remote: Endpoint) {
    this.#network = network;
    this.#host = host;
    this.local = local;
    this.remote = remote;
  }

  static join(a: SimStream, b: SimStream): void {
    a.peer = b;
    b.peer = a;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  subscribe(events: StreamEvents): void {
    this.#events = events;
    this.#soon(() => this.#deliver());
  }

  write(bytes: Uint8Array): boolean {
    invariant(!this.#isEnding || this.#closed !== undefined, 'no write follows the end of a stream');
    if (this.#closed !== undefined) return true;
    if (bytes.length > 0) {
      this.#queue.push(bytes.slice());
      this.#queuedBytes += bytes.length;
    }
    this.#pump();
    this.#mustDrain = this.#queuedBytes > queueBytesHigh;
    return !this.#mustDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#soon(() => this.#deliver());
  }

  end(): void {
    this.#isEnding = true;
    this.#pump();
  }

  destroy(): void {
    if (this.#closed !== undefined) return;
    if (this.#queuedBytes > 0) this.#send(() => this.peer.#close(resetError()));
    else if (!this.#isEndSent) this.#send(() => this.peer.#arrive('end'));
    this.#close(null);
  }

  /** The host crashed. */
  reset(): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error: null };
    this.#isCloseDelivered = true;
    this.#send(() => this.peer.#close(resetError()));
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#inFlightBytes < windowBytes && this.#closed === undefined) {
      const chunk = this.#queue.shift()!;
      const piece = chunk.subarray(0, windowBytes - this.#inFlightBytes);
      if (piece.length < chunk.length) this.#queue.unshift(chunk.subarray(piece.length));
      this.#queuedBytes -= piece.length;
      this.#inFlightBytes += piece.length;
      this.#network.count(this.#host, this.remote.address, { streamBytes: piece.length });
      this.#send(() => this.peer.#arrive(piece));
    }
    if (this.#isEnding && !this.#isEndSent && this.#queue.length === 0 && this.#closed === undefined) {
      this.#isEndSent = true;
      this.#send(() => this.peer.#arrive('end'));
      this.#closeWhenBothEnded();
    }
  }

  /** Something of ours reaches the peer, after what we sent before; it waits as long as there is no way. */
  #send(arrive: () => void): void {
    const { clock } = this.#network;
    const from = this.local.address;
    const to = this.remote.address;
    const conditions = this.#network.between(from, to);
    const lostOnce = conditions.loss > 0 && this.#network.random.next() < conditions.loss ? retryMs : 0;
    const atMs = Math.max(this.#lastArrivalMs, clock.monotonicMs() + this.#network.delayMs(conditions) + lostOnce);
    this.#lastArrivalMs = atMs;
    const attempt = (): void => {
      if (this.#network.reaches(from, to)) this.peer.#host.whenAwake(arrive);
      else clock.after(retryMs, attempt);
    };
    clock.after(atMs - clock.monotonicMs(), attempt);
  }

  #arrive(piece: Uint8Array | 'end'): void {
    if (this.#closed !== undefined) {
      // Nobody reads here any more, which the writer learns, as with TCP, from the answer to what it wrote.
      if (piece !== 'end') this.#send(() => this.peer.#close(resetError()));
      return;
    }
    this.#inbox.push(piece);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#events === undefined || this.#isCloseDelivered) return;
    while (this.#inbox.length > 0 && !this.#isPaused && this.#closed === undefined) {
      const piece = this.#inbox.shift()!;
      if (piece === 'end') {
        this.#hasDeliveredEnd = true;
        this.#events.onEnd();
        this.#closeWhenBothEnded();
      } else {
        this.peer.#consumed(piece.length);
        this.#events.onData(piece);
      }
    }
    if (this.#closed !== undefined && !this.#isCloseDelivered) {
      this.#isCloseDelivered = true;
      this.#events.onClose(this.#closed.error);
    }
  }

  #consumed(bytes: number): void {
    this.#inFlightBytes -= bytes;
    this.#soon(() => {
      if (this.#closed !== undefined) return;
      this.#pump();
      if (!this.#mustDrain || this.#queuedBytes > queueBytesHigh) return;
      this.#mustDrain = false;
      this.#events?.onDrain();
    });
  }

  #closeWhenBothEnded(): void {
    if (this.#isEndSent && this.#hasDeliveredEnd) this.#close(null);
  }

  #close(error: Error | null): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    this.#host.forget(this);
    this.#soon(() => this.#deliver());
  }

  /** Not inside the caller's step. */
  #soon(run: () => void): void {
    this.#network.clock.after(0, () => this.#host.whenAwake(run));
  }
}

function resetError(): Error {
  return new Error('read: connection reset by peer');
}

function linkKey(from: string, to: string): string {
  return `${from}>${to}`;
}

function noTraffic(): Traffic {
  return { packets: 0, packetBytes: 0, lostPackets: 0, streams: 0, streamBytes: 0 };
}

function addTraffic(total: Traffic, what: Partial<Traffic>): void {
  total.packets += what.packets ?? 0;
  total.packetBytes += what.packetBytes ?? 0;
  total.lostPackets += what.lostPackets ?? 0;
  total.streams += what.streams ?? 0;
  total.streamBytes += what.streamBytes ?? 0;
}
