/**
 * Many streams over one connection, as every client of port 8300 speaks to a server (reference/server-rpc.md §1.5).
 * Frames of 12 bytes head carry data, windows and pings. Each direction of a stream has a window of 256 KiB, so a slow
 * reader holds up its own stream and no other; pings find out a dead peer.
 *
 * Where the peer is known to misbehave this does not copy it: every stream is accepted, acknowledged and served at
 * once, whatever its neighbours do. And as a real server takes a stream that ends before its first byte as a reason to
 * close the whole connection, a stream here is not announced before its first byte is written.
 */
import type { Clock, Endpoint, Stream, StreamEvents, Timer } from '../ports/index.ts';
import { ByteQueue, invariant } from '../lib/index.ts';

const headerBytes = 12;
const protocolVersion = 0;

const frameData = 0;
const frameWindow = 1;
const framePing = 2;
const frameGoAway = 3;

const flagSyn = 1;
const flagAck = 2;
const flagFin = 4;
const flagRst = 8;

const goAwayNormal = 0;
const goAwayProtocolError = 1;

/** Window of each direction of a stream at its start, bytes; fixed by the protocol. */
const windowBytes = 262_144;
/** A reader that has taken this many bytes tells the writer. */
const windowUpdateBytes = windowBytes / 2;
/** A window that peers add up beyond this is nonsense. */
const windowBytesMax = 2 ** 32;
/** Largest data frame that is sent: small enough that streams take turns. */
const dataFrameBytesMax = 32_768;
/** Frames below this are put together into one write. */
const batchBytesMax = 65_536;
/** Bytes that wait in a stream before its `write` answers false. */
const streamQueueBytesMax = windowBytes;
/** Both sides ping this often… */
const keepaliveMs = 30_000;
/** …and give up when the answer takes longer than this. */
const keepaliveTimeoutMs = 10_000;
/** A connection that takes no byte for so long is dead. */
const writeTimeoutMs = 10_000;
/** How long a peer may take to acknowledge a stream, as in newer versions of the protocol. */
const openTimeoutMs = 75_000;
/** How long a peer may keep its half of a stream that ended here, as in newer versions of the protocol. */
const closeTimeoutMs = 300_000;
/** Streams of ours that the peer has not acknowledged yet, those without a first byte included; it refuses more. */
const unacknowledgedMax = 256;
const lastStreamId = 0xffff_ffff;

/** Streams that a peer may have open at once; a client needs one for each request that waits. */
export const yamuxStreamsMax = 2048;
/** Bytes of all streams of a session that came and nobody took. A well-behaved client has next to none. */
const unreadBytesMax = 4 * 1024 * 1024;
/** Bytes a connection may owe to a peer that does not read, before it is given up: data stops far below it. */
const owedBytesMax = 8 * 1024 * 1024;

/** What goes wrong in the session itself. The texts are those that clients match on (§3.5). */
export class YamuxError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'YamuxError';
  }
}

export interface YamuxOptions {
  readonly clock: Clock;
  /** Who dialled numbers its streams 1, 3, 5…, who accepted 2, 4, 6…. */
  readonly role: 'client' | 'server';
  /** Takes a stream that the peer opens; without it they are refused. */
  readonly onStream?: (stream: Stream) => void;
  /** Another stream can be opened where {@link YamuxSession.crowded} said that none can. */
  readonly onRoom?: () => void;
  /** The session is over and all its streams with it. @param error why, when it did not end in order. */
  readonly onClose?: (error: Error | null) => void;
}

export class YamuxSession {
  readonly #connection: Stream;
  readonly #options: YamuxOptions;
  readonly #streams = new Map<number, YamuxStream>();
  /** Streams that have bytes to send and room in their window, in the order they take turns. */
  readonly #ready = new Set<YamuxStream>();
  readonly #parser: FrameParser;
  /** Whose the payload under way is; one of its number that is opened meanwhile has not taken window for it. */
  #receiving: YamuxStream | undefined;
  #nextId: number;
  #unacknowledged = 0;
  #unread = 0;
  /** The peer takes no further streams. */
  #refused = false;
  #closed = false;
  /** The connection asked to wait for its drain. */
  #full = false;
  #writeTimer: Timer | undefined;
  #owedAtTimer = 0;
  #pingTimer: Timer | undefined;
  #pingValue = 0;
  #pingAnswered = true;
  /** Calls into the session that are on the stack; the outermost one flushes. */
  #depth = 0;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;

  /** Takes over `connection`. */
  constructor(connection: Stream, options: YamuxOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#nextId = options.role === 'client' ? 1 : 2;
    this.#parser = new FrameParser({
      frame: (head) => this.#onFrame(head),
      payload: (bytes) => this.#receiving?.deliver(bytes),
      payloadEnd: (head) => {
        if (!this.#closed && this.#receiving !== undefined) this.#onFlags(this.#receiving, head.flags);
      },
    });
    this.#pingTimer = options.clock.after(keepaliveMs, () => this.#ping());
    connection.subscribe({
      onData: (bytes) => this.run(() => this.#onBytes(bytes)),
      onEnd: () => this.#close(new YamuxError('EOF')),
      onDrain: () => {
        this.#full = false;
        this.#writeTimer?.cancel();
        this.#writeTimer = undefined;
        this.run(() => this.#pump());
      },
      onClose: (error) => this.#close(error ?? new YamuxError('EOF')),
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether {@link open} can succeed: the session lives and the peer still takes streams. */
  get usable(): boolean {
    return !this.#closed && !this.#refused && this.#nextId <= lastStreamId;
  }

  /** Whether the peer has to acknowledge streams before another can be opened. */
  get crowded(): boolean {
    return this.#unacknowledged >= unacknowledgedMax;
  }

  /** Streams that are open now. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /**
   * A new stream to the peer. It is announced with its first byte, so an unused one costs nothing.
   * @throws YamuxError `session shutdown`, `streams exhausted`, or that the peer takes no more.
   */
  open(): Stream {
    if (this.#closed) throw new YamuxError('session shutdown');
    if (this.#refused) throw new YamuxError('remote end is not accepting connections');
    if (this.#nextId > lastStreamId || this.crowded || this.#streams.size >= yamuxStreamsMax) {
      throw new YamuxError('streams exhausted');
    }
    // Counted now and not when it is announced: many may be opened before the first of them is written to.
    this.#unacknowledged++;
    const stream = new YamuxStream(this, this.#nextId, this.#connection, 'local');
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    return stream;
  }

  /** Ends the session and its streams; like the peer it says nothing but the end of the connection. */
  close(): void {
    this.#close(null);
  }

  /** @internal Runs one step; what it has to send leaves in one write at the end of the outermost step. */
  run(step: () => void): void {
    this.#depth++;
    try {
      step();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#flush();
    }
  }

  /** @internal */
  get clock(): Clock {
    return this.#options.clock;
  }

  /** @internal Announces a stream of ours. */
  announce(stream: YamuxStream): void {
    this.#send(frameWindow, flagSyn, stream.id, 0);
  }

  /** @internal A stream of ours is acknowledged, or gone before it was. */
  acknowledged(): void {
    this.#unacknowledged--;
    this.#options.onRoom?.();
  }

  /** @internal */
  sendWindow(id: number, flags: number, delta: number): void {
    this.#send(frameWindow, flags, id, delta);
  }

  /** @internal Marks that the stream has something to send and may. */
  wantsToSend(stream: YamuxStream): void {
    this.#ready.add(stream);
    this.#pump();
  }

  /** @internal */
  forget(stream: YamuxStream): void {
    this.#ready.delete(stream);
    if (this.#streams.get(stream.id) === stream) this.#streams.delete(stream.id);
  }

  /** @internal Counts what came and waits in a stream for its reader. */
  unreadChanged(bytes: number): void {
    this.#unread += bytes;
    if (this.#unread > unreadBytesMax) this.#violation('more data than anybody reads');
  }

  /** @internal Ends the session for what the peer did. */
  peerViolation(problem: string): void {
    this.#violation(problem);
  }

  #onBytes(bytes: Uint8Array): void {
    if (!this.#closed) this.#parser.push(bytes);
  }

  #onFrame(head: FrameHead): void {
    if (this.#closed) return;
    if (head.version !== protocolVersion) return this.#violation(`frame version ${head.version}`);
    switch (head.type) {
      case frameData:
      case frameWindow:
        return this.#onStreamFrame(head);
      case framePing:
        if ((head.flags & flagSyn) !== 0) this.#send(framePing, flagAck, 0, head.length);
        else if (head.length === this.#pingValue) this.#pingAnswered = true;
        return;
      case frameGoAway:
        if (head.length === goAwayNormal) this.#refused = true;
        else this.#close(new YamuxError(`the peer went away with code ${head.length}`));
        return;
      default:
        return this.#violation(`frame type ${head.type}`);
    }
  }

  #onStreamFrame(head: FrameHead): void {
    if ((head.flags & flagSyn) !== 0) this.#accept(head.id);
    const stream = this.#streams.get(head.id);
    if (head.type === frameData) this.#receiving = stream;
    // Frames for streams that are gone here may still be on their way: they are read over.
    if (this.#closed || stream === undefined) return;
    if ((head.flags & flagAck) !== 0) stream.onAck();
    if (head.type === frameData) {
      if (!stream.takeWindow(head.length)) return this.#violation('more data than the window has');
      return;
    }
    if (!stream.onWindow(head.length)) return this.#violation('a window beyond 2^32');
    this.#onFlags(stream, head.flags);
  }

  #onFlags(stream: YamuxStream, flags: number): void {
    if ((flags & flagRst) !== 0) stream.onReset();
    else if ((flags & flagFin) !== 0 && !stream.onFin()) this.#violation('a stream ended twice');
  }

  #accept(id: number): void {
    if (this.#streams.has(id)) return this.#violation(`stream ${id} opened twice`);
    const { onStream } = this.#options;
    if (onStream === undefined || this.#streams.size >= yamuxStreamsMax) {
      this.#send(frameWindow, flagRst, id, 0);
      return;
    }
    const stream = new YamuxStream(this, id, this.#connection, 'remote');
    this.#streams.set(id, stream);
    this.#send(frameWindow, flagAck, id, 0);
    onStream(stream);
  }

  #ping(): void {
    if (this.#closed) return;
    if (!this.#pingAnswered) return this.#close(new YamuxError('keepalive timeout'));
    this.#pingAnswered = false;
    const value = this.#pingValue;
    this.run(() => this.#send(framePing, flagSyn, 0, value));
    this.#pingTimer = this.#options.clock.after(keepaliveTimeoutMs, () => {
      if (!this.#pingAnswered) return this.#close(new YamuxError('keepalive timeout'));
      this.#pingValue = (value + 1) >>> 0;
      this.#pingTimer = this.#options.clock.after(keepaliveMs - keepaliveTimeoutMs, () => this.#ping());
    });
  }

  /** Lets the streams that wait send in turns until the connection is full. */
  #pump(): void {
    while (!this.#full && !this.#closed) {
      const next = this.#ready.values().next();
      if (next.done === true) return;
      const stream = next.value;
      this.#ready.delete(stream);
      const payload = stream.takeToSend(dataFrameBytesMax);
      if (payload.length > 0) {
        this.#send(frameData, 0, stream.id, payload.length, payload);
        if (this.#batchBytes >= batchBytesMax) this.#flush();
      }
      if (stream.canSend) this.#ready.add(stream);
      else stream.onSent();
    }
  }

  #send(type: number, flags: number, id: number, length: number, payload?: Uint8Array): void {
    if (this.#closed) return;
    const head = Buffer.alloc(headerBytes);
    head[0] = protocolVersion;
    head[1] = type;
    head.writeUInt16BE(flags, 2);
    head.writeUInt32BE(id, 4);
    head.writeUInt32BE(length, 8);
    this.#batch.push(head);
    this.#batchBytes += headerBytes;
    if (payload !== undefined) {
      this.#batch.push(payload);
      this.#batchBytes += payload.length;
    }
  }

  #flush(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch.length === 1 ? this.#batch[0]! : Buffer.concat(this.#batch, this.#batchBytes);
    this.#batch = [];
    this.#batchBytes = 0;
    if (this.#connection.write(batch) || this.#closed) return;
    this.#full = true;
    if (this.#connection.queuedBytes > owedBytesMax) {
      this.#close(new YamuxError('the peer asks and does not read the answers'));
      return;
    }
    if (this.#writeTimer === undefined) this.#watchWrite();
  }

  /** A connection that moves is given time; one that takes nothing is dead. */
  #watchWrite(): void {
    this.#owedAtTimer = this.#connection.queuedBytes;
    this.#writeTimer = this.#options.clock.after(writeTimeoutMs, () => {
      if (this.#connection.queuedBytes >= this.#owedAtTimer) this.#close(new YamuxError('connection write timeout'));
      else this.#watchWrite();
    });
  }

  #violation(problem: string): void {
    if (this.#closed) return;
    this.#send(frameGoAway, 0, 0, goAwayProtocolError);
    this.#flush();
    this.#close(new YamuxError(`yamux protocol error: ${problem}`));
  }

  #close(error: Error | null): void {
    if (this.#closed) return;
    if (error === null) this.#flush();
    this.#closed = true;
    this.#batch = [];
    this.#pingTimer?.cancel();
    this.#writeTimer?.cancel();
    this.#connection.destroy();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#ready.clear();
    for (const stream of streams) stream.onSessionClosed(error ?? new YamuxError('session shutdown'));
    this.#options.onClose?.(error);
  }
}

/** One stream of a session. */
class YamuxStream implements Stream {
  readonly id: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #session: YamuxSession;
  #events: StreamEvents | undefined;
  #paused = false;
  /** What came and is not delivered yet. */
  readonly #inbox = new ByteQueue();
  #consumed = 0;
  #receiveWindow = windowBytes;
  #sendWindow = windowBytes;
  readonly #outbox: Uint8Array[] = [];
  #queued = 0;
  /** `write` answered false, so the writer waits for `onDrain`. */
  #writerWaits = false;
  /** For streams of ours: not announced, then waiting for the acknowledgement. */
  #opening: 'unannounced' | 'announced' | 'done';
  #ended = false;
  #finSent = false;
  #finReceived = false;
  #endDelivered = false;
  #closed = false;
  #closeError: Error | null = null;
  #closeDelivered = false;
  #openTimer: Timer | undefined;
  #closeTimer: Timer | undefined;
  #delivering = false;

  constructor(session: YamuxSession, id: number, connection: Stream, openedBy: 'local' | 'remote') {
    this.#session = session;
    this.id = id;
    this.local = connection.local;
    this.remote = connection.remote;
    this.#opening = openedBy === 'local' ? 'unannounced' : 'done';
  }

  subscribe(events: StreamEvents): void {
    this.#events = events;
    this.#session.run(() => this.#deliver());
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#ended) return true;
    if (bytes.length > 0) {
      this.#session.run(() => {
        this.#announce();
        this.#outbox.push(bytes);
        this.#queued += bytes.length;
        if (this.canSend) this.#session.wantsToSend(this);
      });
    }
    if (this.#queued < streamQueueBytesMax) return true;
    this.#writerWaits = true;
    return false;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#session.run(() => this.#deliver());
  }

  end(): void {
    if (this.#ended || this.#closed) return;
    this.#ended = true;
    this.#session.run(() => this.#sendFin());
  }

  destroy(): void {
    if (this.#closed) return;
    this.#session.run(() => {
      if (this.#opening !== 'unannounced') this.#session.sendWindow(this.id, flagRst, 0);
      this.#finish(null);
    });
  }

  /** Whether bytes wait and the window has room for some. */
  get canSend(): boolean {
    return this.#queued > 0 && this.#sendWindow > 0 && !this.#closed;
  }

  /** Takes at most `max` bytes off the queue and the window. */
  takeToSend(max: number): Uint8Array {
    const first = this.#outbox[0];
    if (first === undefined || this.#closed) return new Uint8Array();
    const size = Math.min(max, first.length, this.#sendWindow);
    if (size === first.length) this.#outbox.shift();
    else this.#outbox[0] = first.subarray(size);
    this.#queued -= size;
    this.#sendWindow -= size;
    return first.subarray(0, size);
  }

  /** The session took what it could. */
  onSent(): void {
    if (this.#ended) this.#sendFin();
    if (!this.#writerWaits || this.#queued > streamQueueBytesMax / 2 || this.#closed) return;
    this.#writerWaits = false;
    this.#events?.onDrain();
  }

  onAck(): void {
    if (this.#opening !== 'announced') return;
    this.#opening = 'done';
    this.#openTimer?.cancel();
    this.#session.acknowledged();
  }

  /** @returns false when the window would be beyond what the protocol can mean. */
  onWindow(delta: number): boolean {
    this.#sendWindow += delta;
    if (this.#sendWindow > windowBytesMax) return false;
    if (this.canSend) this.#session.wantsToSend(this);
    return true;
  }

  /** Makes room for a data frame that was announced; false when the peer had none left. */
  takeWindow(bytes: number): boolean {
    if (bytes > this.#receiveWindow) return false;
    this.#receiveWindow -= bytes;
    return true;
  }

  deliver(bytes: Uint8Array): void {
    // What follows the end is no part of the stream.
    if (this.#closed || this.#finReceived) return;
    this.#inbox.push(bytes);
    this.#session.unreadChanged(bytes.length);
    this.#deliver();
  }

  /** @returns false when the peer had ended it before. */
  onFin(): boolean {
    if (this.#finReceived) return false;
    this.#finReceived = true;
    this.#deliver();
    return true;
  }

  onReset(): void {
    this.#finish(new YamuxError('stream reset'));
  }

  onSessionClosed(error: Error): void {
    this.#finish(error);
  }

  #announce(): void {
    if (this.#opening !== 'unannounced') return;
    this.#opening = 'announced';
    this.#session.announce(this);
    this.#openTimer = this.#session.clock.after(openTimeoutMs, () =>
      this.#session.peerViolation(`stream ${this.id} was not acknowledged`),
    );
  }

  #sendFin(): void {
    if (this.#queued > 0 || this.#finSent || this.#closed) return;
    this.#finSent = true;
    // Never announced: there is nothing to end on the other side.
    if (this.#opening === 'unannounced') return this.#finish(null);
    this.#session.sendWindow(this.id, flagFin, 0);
    if (this.#endDelivered) return this.#finish(null);
    this.#closeTimer = this.#session.clock.after(closeTimeoutMs, () => this.destroy());
  }

  /** Hands on what came, while there is somebody who takes it. */
  #deliver(): void {
    if (this.#delivering || this.#events === undefined) return;
    this.#delivering = true;
    while (!this.#paused && !this.#closed) {
      const bytes = this.#inbox.shift();
      if (bytes === undefined) break;
      this.#session.unreadChanged(-bytes.length);
      this.#consume(bytes.length);
      this.#events.onData(bytes);
    }
    this.#delivering = false;
    if (this.#finReceived && !this.#endDelivered && !this.#closed && this.#inbox.bytes === 0 && !this.#paused) {
      this.#endDelivered = true;
      this.#events.onEnd();
      if (this.#finSent) this.#finish(null);
    }
    this.#deliverClose();
  }

  #consume(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < windowUpdateBytes || this.#finReceived) return;
    this.#receiveWindow += this.#consumed;
    invariant(this.#receiveWindow <= windowBytes, 'a window never grows beyond its start');
    this.#session.sendWindow(this.id, 0, this.#consumed);
    this.#consumed = 0;
  }

  #finish(error: Error | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeError = error;
    this.#openTimer?.cancel();
    this.#closeTimer?.cancel();
    if (this.#opening !== 'done') this.#session.acknowledged();
    this.#opening = 'done';
    const unread = this.#inbox.bytes;
    this.#inbox.clear();
    this.#outbox.length = 0;
    this.#queued = 0;
    this.#session.unreadChanged(-unread);
    this.#session.forget(this);
    this.#deliverClose();
  }

  #deliverClose(): void {
    if (!this.#closed || this.#closeDelivered || this.#events === undefined) return;
    this.#closeDelivered = true;
    this.#events.onClose(this.#closeError);
  }
}

interface FrameHead {
  readonly version: number;
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  /** Payload bytes of a data frame; window, ping value or code of the others. */
  readonly length: number;
}

interface FrameEvents {
  frame(head: FrameHead): void;
  /** A piece of the payload of a data frame, as it comes. */
  payload(bytes: Uint8Array): void;
  payloadEnd(head: FrameHead): void;
}

/** Cuts the bytes of a connection into frames, however they were split on the way. */
class FrameParser {
  readonly #events: FrameEvents;
  readonly #head = Buffer.alloc(headerBytes);
  #headFilled = 0;
  #data: FrameHead | undefined;
  #missing = 0;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#data !== undefined) {
        const size = Math.min(this.#missing, bytes.length - at);
        this.#missing -= size;
        this.#events.payload(bytes.subarray(at, at + size));
        at += size;
        if (this.#missing === 0) this.#endData(this.#data);
        continue;
      }
      const size = Math.min(headerBytes - this.#headFilled, bytes.length - at);
      this.#head.set(bytes.subarray(at, at + size), this.#headFilled);
      this.#headFilled += size;
      at += size;
      if (this.#headFilled === headerBytes) this.#onHead();
    }
  }

  #onHead(): void {
    this.#headFilled = 0;
    const head: FrameHead = {
      version: this.#head[0]!,
      type: this.#head[1]!,
      flags: this.#head.readUInt16BE(2),
      id: this.#head.readUInt32BE(4),
      length: this.#head.readUInt32BE(8),
    };
    this.#events.frame(head);
    if (head.type !== frameData) return;
    this.#missing = head.length;
    if (head.length === 0) this.#endData(head);
    else this.#data = head;
  }

  #endData(head: FrameHead): void {
    this.#data = undefined;
    this.#events.payloadEnd(head);
  }
}
