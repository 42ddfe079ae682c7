/**
 * Requests between servers over streams (reference/raft.md §1.2, §1.6). Nothing says which answer belongs to which
 * request but their order, so a connection is a queue. Each peer gets two: one for entries, where many requests are on
 * the way at once, and one for heartbeats and votes, which must not wait behind entries. A snapshot gets its own.
 */
import { MsgpackStream } from '../codec/msgpack/index.ts';
import { PeerBudget } from '../lib/index.ts';
import type { Clock, Logger, Stream, Timer } from '../ports/index.ts';
import { isHeartbeat, type RaftRequest, type RaftResponse } from './messages.ts';
import {
  requestTimeoutMs,
  ServerConnection,
  snapshotBytesPerTimeout,
  unfinishedBytesMax,
} from './server-connection.ts';
import type { RaftAnswer, RaftPeer, RaftTransport, SnapshotBody } from './transport.ts';
import { decodeAnswer, encodeRequest, type RaftRpc } from './wire.ts';

/** A connection nobody used for this long is closed: its peer may be gone for good. */
const idleMs = 30_000;

/** Answers are small. */
const answerBytesMax = 1024 * 1024;

export interface NetworkTransportOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Opens a stream to a peer's raft, past the first byte of the port. */
  readonly dial: (peer: RaftPeer) => Promise<Stream>;
}

interface Lanes {
  readonly address: string;
  readonly entries: Lane;
  readonly control: Lane;
}

export class NetworkTransport implements RaftTransport {
  readonly #options: NetworkTransportOptions;
  readonly #lanes = new Map<string, Lanes>();
  readonly #snapshots = new Set<Lane>();
  readonly #accepted = new Set<ServerConnection>();
  readonly #unfinished = new PeerBudget(unfinishedBytesMax);
  #handler: ((request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>) | undefined;
  #closed = false;

  constructor(options: NetworkTransportOptions) {
    this.#options = options;
  }

  call(to: RaftPeer, request: RaftRequest, body?: SnapshotBody): Promise<RaftResponse> {
    if (this.#closed) return Promise.reject(new Error('the raft transport is closed'));
    if (body !== undefined) return this.#sendSnapshot(to, request, body);
    const lanes = this.#lanesTo(to);
    const isEntries = request.rpc === 'appendEntries' && !isHeartbeat(request.request);
    return (isEntries ? lanes.entries : lanes.control).call(request);
  }

  serve(handler: (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>): void {
    this.#handler = handler;
  }

  /** Takes a stream that a peer opened, past the first byte of the port. */
  accept(stream: Stream): void {
    if (this.#closed || this.#handler === undefined) {
      stream.destroy();
      return;
    }
    const { clock, logger } = this.#options;
    const connection = new ServerConnection(stream, {
      handler: this.#handler,
      clock,
      logger,
      unfinished: this.#unfinished,
      onClosed: () => this.#accepted.delete(connection),
    });
    this.#accepted.add(connection);
    connection.start();
  }

  close(): Promise<void> {
    this.#closed = true;
    const reason = new Error('the raft transport is closed');
    for (const { entries, control } of this.#lanes.values()) {
      entries.close(reason);
      control.close(reason);
    }
    for (const lane of this.#snapshots) lane.close(reason);
    for (const connection of this.#accepted) connection.close();
    this.#lanes.clear();
    return Promise.resolve();
  }

  #lanesTo(peer: RaftPeer): Lanes {
    const known = this.#lanes.get(peer.id);
    if (known?.address === peer.address) return known;
    if (known !== undefined) {
      const moved = new Error(`server ${peer.id} moved to ${peer.address}`);
      known.entries.close(moved);
      known.control.close(moved);
    }
    const lanes = {
      address: peer.address,
      entries: new Lane(this.#options, peer),
      control: new Lane(this.#options, peer),
    };
    this.#lanes.set(peer.id, lanes);
    return lanes;
  }

  async #sendSnapshot(to: RaftPeer, request: RaftRequest, body: SnapshotBody): Promise<RaftResponse> {
    const lane = new Lane(this.#options, to);
    this.#snapshots.add(lane);
    try {
      const timeoutMs = requestTimeoutMs * Math.max(1, body.size / snapshotBytesPerTimeout);
      const answer = lane.call(request, timeoutMs);
      // An answer before the end of the body is a refusal; it says why.
      await Promise.race([lane.sendBody(body.pieces), answer]);
      return await answer;
    } finally {
      this.#snapshots.delete(lane);
      lane.close(new Error('the snapshot was sent'));
    }
  }
}

interface Call {
  readonly rpc: RaftRpc;
  readonly deadlineMs: number;
  readonly resolve: (response: RaftResponse) => void;
  readonly reject: (error: Error) => void;
}

/** One connection to a peer, dialled when it is needed, and the requests on it that wait for their answers. */
class Lane {
  readonly #options: NetworkTransportOptions;
  readonly #peer: RaftPeer;
  #stream: Stream | undefined;
  #dialling: Promise<void> | undefined;
  #unsent: Uint8Array[] = [];
  #calls: Call[] = [];
  #answers = new MsgpackStream(answerBytesMax);
  /** The first of the two values of an answer. */
  #error: Uint8Array | undefined;
  #timer: Timer | undefined;
  #drained: (() => void) | undefined;
  #broken: Error | undefined;

  constructor(options: NetworkTransportOptions, peer: RaftPeer) {
    this.#options = options;
    this.#peer = peer;
  }

  call(message: RaftRequest, timeoutMs = requestTimeoutMs): Promise<RaftResponse> {
    return new Promise((resolve, reject) => {
      const deadlineMs = this.#options.clock.monotonicMs() + timeoutMs;
      this.#calls.push({ rpc: message.rpc, deadlineMs, resolve, reject });
      if (this.#calls.length === 1) this.#watch();
      this.#write(encodeRequest(message));
    });
  }

  /** Writes the body of a snapshot behind its request, as fast as the peer takes it. */
  async sendBody(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#dialling;
    for await (const piece of pieces) {
      if (this.#broken !== undefined) throw this.#broken;
      const stream = this.#stream;
      if (stream === undefined) throw new Error(`no connection to server ${this.#peer.id}`);
      if (!stream.write(piece)) await new Promise<void>((resolve) => (this.#drained = resolve));
    }
  }

  close(reason: Error): void {
    this.#broken = reason;
    this.#break(reason);
  }

  #write(bytes: Uint8Array): void {
    if (this.#stream !== undefined) {
      this.#stream.write(bytes);
      return;
    }
    this.#unsent.push(bytes);
    this.#dialling ??= this.#dial();
  }

  async #dial(): Promise<void> {
    try {
      const stream = await this.#options.dial(this.#peer);
      if (this.#calls.length === 0 || this.#broken !== undefined) {
        stream.destroy();
        return;
      }
      this.#stream = stream;
      stream.subscribe({
        onData: (bytes) => this.#stream === stream && this.#receive(bytes),
        onEnd: () => this.#stream === stream && this.#break(new Error('EOF')),
        onDrain: () => this.#drained?.(),
        onClose: (error) => this.#stream === stream && this.#break(error ?? new Error('EOF')),
      });
      for (const bytes of this.#unsent) stream.write(bytes);
      this.#unsent = [];
    } catch (error) {
      this.#break(error as Error);
    } finally {
      this.#dialling = undefined;
      // Asked again while the last dial came to nothing.
      if (this.#stream === undefined && this.#unsent.length > 0) this.#dialling = this.#dial();
    }
  }

  #receive(bytes: Uint8Array): void {
    try {
      this.#answers.push(bytes);
      for (let value = this.#answers.next(); value !== undefined; value = this.#answers.next()) this.#take(value);
    } catch (error) {
      this.#break(error as Error);
    }
  }

  #take(value: Uint8Array): void {
    if (this.#error === undefined) {
      this.#error = value;
      return;
    }
    const error = this.#error;
    this.#error = undefined;
    const call = this.#calls.shift();
    if (call === undefined) throw new Error('an answer without a request');
    if (this.#calls.length === 0) this.#watch();
    try {
      call.resolve(decodeAnswer(call.rpc, error, value));
    } catch (failure) {
      call.reject(failure as Error);
    }
  }

  /** Looks after the oldest request, or after a connection that nobody uses. */
  #watch(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const oldest = this.#calls[0];
    const dueMs = oldest?.deadlineMs ?? clock.monotonicMs() + idleMs;
    this.#timer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      const now = this.#calls[0];
      if (now === undefined || now.deadlineMs <= clock.monotonicMs()) this.#break(new Error('i/o timeout'));
      else this.#watch();
    });
  }

  /** Gives the connection up; the next request dials again. */
  #break(error: Error): void {
    this.#timer?.cancel();
    const calls = this.#calls;
    this.#calls = [];
    this.#unsent = [];
    this.#stream?.destroy();
    this.#stream = undefined;
    this.#answers = new MsgpackStream(answerBytesMax);
    this.#error = undefined;
    this.#drained?.();
    for (const { reject } of calls) reject(error);
  }
}
