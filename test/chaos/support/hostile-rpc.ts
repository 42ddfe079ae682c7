// What nobody should send to port 8300, or answer on it.
import { MsgpackWriter } from '../../../src/codec/msgpack/index.ts';
import type { Endpoint, Stream } from '../../../src/ports/index.ts';
import { MemoryStream } from '../../helpers/stream-pair.ts';
import type { Draw } from './fuzz.ts';
import {
  type RecordedCall,
  recordedCalls,
  recordedConnections,
  recordedRaft,
  recordedSnapshots,
} from './recorded-rpc.ts';

const frameTypes = { data: 0, window: 1, ping: 2, goAway: 3 } as const;
const flags = { syn: 1, ack: 2, fin: 4, rst: 8 } as const;

/** A yamux frame; `length` says what the head does when it is not the length of the payload. */
export function frame(
  type: number,
  flag: number,
  id: number,
  length: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  const head = Buffer.alloc(12);
  head[1] = type;
  head.writeUInt16BE(flag & 0xffff, 2);
  head.writeUInt32BE(id >>> 0, 4);
  head.writeUInt32BE(length >>> 0, 8);
  return Buffer.concat([head, payload]);
}

export const dataFrame = (id: number, payload: Buffer, flag = 0): Buffer =>
  frame(frameTypes.data, flag, id, payload.length, payload);

const absurd = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 262_143, 262_144, 262_145];

function absurdFrame(draw: Draw): Buffer {
  const type = draw.chance(0.9) ? draw.integer(4) : draw.integer(256);
  const id = draw.chance(0.8) ? draw.integer(8) : draw.pick(absurd);
  return frame(type, draw.integer(16), id, draw.pick(absurd), Buffer.from(draw.bytes(draw.integer(40))));
}

/** A value that says more than it holds, or holds more than it should. */
export function absurdValue(draw: Draw): Buffer {
  const count = draw.pick([0xff, 0xffff, 0xff_ffff, 0x7fff_ffff, 0xffff_ffff]);
  const wide = Buffer.alloc(5);
  wide.writeUInt32BE(count, 1);
  switch (draw.integer(5)) {
    case 0:
      wide[0] = draw.pick([0xdb, 0xc6]);
      return Buffer.concat([wide, draw.bytes(draw.integer(200))]);
    case 1:
      wide[0] = draw.pick([0xdd, 0xdf]);
      return Buffer.concat([wide, draw.bytes(draw.integer(200))]);
    case 2:
      // Deep.
      return Buffer.alloc(1 + draw.integer(3_000), draw.pick([0x91, 0x81, 0x9f]));
    case 3: {
      // Many of nothing.
      const items = 1 + draw.integer(60_000);
      wide.writeUInt32BE(items, 1);
      wide[0] = 0xdd;
      return Buffer.concat([wide, Buffer.alloc(items, draw.pick([0x80, 0x90, 0xa0, 0xc0, 0x00]))]);
    }
    default:
      return Buffer.from(draw.bytes(draw.integer(64)));
  }
}

/** Puts something else in the place of a part that begins at a field's value. */
function bentBody(draw: Draw, body: Buffer): Buffer {
  const dice = draw.integer(10);
  if (dice < 2) return body;
  if (dice < 6) return draw.mutated(body);
  const at = draw.integer(body.length + 1);
  if (dice < 8) return Buffer.concat([body.subarray(0, at), absurdValue(draw), body.subarray(at)]);
  const other = draw.pick(recordedCalls).request;
  return Buffer.concat([body.subarray(0, at), other.subarray(draw.integer(other.length + 1))]);
}

/** A call as bytes: as it was recorded, bent, or put together of two. */
export function bentRequest(draw: Draw): Buffer {
  const call = draw.pick(recordedCalls);
  const head = draw.chance(0.9) ? call.requestHead : draw.mutated(draw.pick(recordedCalls).requestHead);
  return Buffer.concat([head, bentBody(draw, call.request)]);
}

/** An answer as bytes, to what was asked or to something else. */
export function bentReply(draw: Draw, asked: RecordedCall | undefined): Buffer {
  const call = asked === undefined || draw.chance(0.2) ? draw.pick(recordedCalls) : asked;
  const head = draw.chance(0.8) ? call.replyHead : draw.mutated(call.replyHead);
  const body = draw.chance(0.1) ? absurdValue(draw) : draw.chance(0.3) ? call.reply : draw.mutated(call.reply);
  return Buffer.concat([head, body]);
}

/** What a hostile client says on one yamux connection, first byte aside. */
function bentSession(draw: Draw): Buffer {
  const parts: Buffer[] = [];
  let id = 1;
  for (let left = 1 + draw.integer(6); left > 0; left--) {
    const dice = draw.integer(12);
    if (dice === 0) parts.push(absurdFrame(draw));
    else if (dice === 1) parts.push(frame(frameTypes.ping, draw.pick([flags.syn, flags.ack, 3]), 0, draw.pick(absurd)));
    else if (dice === 2) parts.push(frame(frameTypes.window, draw.integer(16), id, draw.pick(absurd)));
    else {
      const request = bentRequest(draw);
      const cut = draw.chance(0.3) ? draw.integer(request.length + 1) : request.length;
      const first = draw.chance(0.5);
      if (first) parts.push(frame(frameTypes.window, flags.syn, id, 0));
      const end = draw.pick([0, 0, flags.fin, flags.rst]);
      parts.push(dataFrame(id, request.subarray(0, cut), first ? 0 : flags.syn));
      parts.push(dataFrame(id, request.subarray(cut), end));
      id = draw.chance(0.8) ? id + 2 : draw.integer(10);
    }
  }
  const bytes = Buffer.concat(parts);
  return draw.chance(0.2) ? draw.mutated(bytes) : bytes;
}

/** All that a hostile client sends on one connection. */
export function bentConnection(draw: Draw): Buffer {
  const dice = draw.integer(20);
  if (dice < 12) return Buffer.concat([Buffer.of(4), bentSession(draw)]);
  if (dice < 13) return draw.mutated(draw.pick(recordedConnections));
  if (dice < 15) return Buffer.concat([Buffer.of(draw.pick([0, 0, 7])), bentRequest(draw), bentRequest(draw)]);
  if (dice < 17) return Buffer.concat([Buffer.of(1), bentRaft(draw)]);
  if (dice < 19) return bentSnapshot(draw);
  return Buffer.from(draw.bytes(1 + draw.integer(64)));
}

/** Requests between servers. */
export function bentRaft(draw: Draw): Buffer {
  const parts: Buffer[] = [];
  for (let left = 1 + draw.integer(4); left > 0; left--) {
    const { request } = draw.pick(recordedRaft);
    const dice = draw.integer(4);
    if (dice === 0) parts.push(request);
    else if (dice === 1) parts.push(absurdRaft(draw));
    else parts.push(draw.mutated(request));
  }
  return Buffer.concat(parts);
}

const absurdCounts = [0, 1, 2, 3, 64, 2 ** 32, 2 ** 53 - 1, 2 ** 62];

/** A request between servers that is well-formed msgpack and means nothing good. */
function absurdRaft(draw: Draw): Buffer {
  const writer = new MsgpackWriter();
  const count = (): number | bigint => {
    const value = draw.pick(absurdCounts);
    return Number.isSafeInteger(value) ? value : BigInt(value);
  };
  const text = (): string => draw.pick(['', '10.0.0.1:8300', 'x'.repeat(draw.integer(2_000))]);
  const type = draw.integer(5);
  writer.int(type);
  const fields: Record<string, () => void> = {
    ProtocolVersion: () => writer.int(draw.pick([0, 2, 3, 3, 3, 9])),
    Term: () => writer.int(count()),
    Leader: () => writer.str(text()),
    Candidate: () => writer.str(text()),
    Addr: () => writer.str(text()),
    ID: () => writer.str(text()),
    PrevLogEntry: () => writer.int(count()),
    PrevLogTerm: () => writer.int(count()),
    LeaderCommitIndex: () => writer.int(count()),
    LastLogIndex: () => writer.int(count()),
    LastLogTerm: () => writer.int(count()),
    ConfigurationIndex: () => writer.int(count()),
    Configuration: () => writer.raw(draw.bytes(draw.integer(20))),
    Size: () => writer.int(count()),
    SnapshotVersion: () => writer.int(draw.integer(3)),
    LeadershipTransfer: () => writer.bool(draw.chance(0.5)),
    Entries: () => {
      const entries = draw.integer(4);
      writer.arrayHeader(entries);
      const first = draw.integer(5);
      for (let at = 0; at < entries; at++) {
        writer.mapHeader(5);
        writer.str('Index');
        writer.int(draw.chance(0.7) ? first + at : count());
        writer.str('Term');
        writer.int(draw.chance(0.7) ? 3 : count());
        writer.str('Type');
        writer.int(draw.integer(8));
        writer.str('Data');
        writer.raw(draw.bytes(draw.integer(20)));
        writer.str('Extensions');
        writer.nil();
      }
    },
  };
  const names = Object.keys(fields).filter(() => draw.chance(0.9));
  writer.mapHeader(names.length);
  for (const name of names) {
    writer.str(name);
    fields[name]!();
  }
  return Buffer.from(writer.bytes());
}

function bentSnapshot(draw: Draw): Buffer {
  const { request } = draw.pick(recordedSnapshots);
  const bent = Buffer.from(request);
  // A restore, at times: what follows is the archive.
  const op = bent.indexOf('a24f70', 'hex');
  if (op > 0 && draw.chance(0.5)) bent[op + 3] = draw.integer(4);
  return Buffer.concat([draw.chance(0.7) ? bent : draw.mutated(bent), draw.bytes(draw.integer(100))]);
}

/** A connection in memory from an address of its own. */
export function connectionFrom(address: string): { readonly near: MemoryStream; readonly far: MemoryStream } {
  const from: Endpoint = { address, port: 40_000 };
  const to: Endpoint = { address: '10.0.0.1', port: 8300 };
  const near = new MemoryStream(from, to);
  const far = new MemoryStream(to, from);
  near.peer = far;
  far.peer = near;
  return { near, far };
}

/** A server that takes frames off a connection and answers each request as it likes. */
export class HostileServer {
  readonly #stream: Stream;
  readonly #draw: Draw;
  readonly #asked: (request: Buffer) => RecordedCall | undefined;
  /** Streams whose answer never ends. */
  readonly #endless = new Set<number>();
  readonly #tireless: boolean;
  #bytes = Buffer.alloc(0);
  #started = false;

  /**
   * @param options.asked the recorded call that a request is most like.
   * @param options.tireless answers may be of a hundred megabytes, which takes its time.
   */
  constructor(
    stream: Stream,
    draw: Draw,
    { asked, tireless = false }: { asked: (request: Buffer) => RecordedCall | undefined; tireless?: boolean },
  ) {
    this.#stream = stream;
    this.#draw = draw;
    this.#asked = asked;
    this.#tireless = tireless;
    stream.subscribe({
      onData: (bytes) => this.#onBytes(bytes),
      onEnd: () => stream.end(),
      onDrain: () => undefined,
      onClose: () => undefined,
    });
  }

  #onBytes(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (!this.#started) {
      // The byte that says what follows.
      this.#bytes = this.#bytes.subarray(1);
      this.#started = true;
      if (this.#draw.chance(0.05)) this.#stream.write(absurdFrame(this.#draw));
    }
    while (this.#bytes.length >= 12) {
      const [type, id, length] = [this.#bytes[1]!, this.#bytes.readUInt32BE(4), this.#bytes.readUInt32BE(8)];
      const size = 12 + (type === frameTypes.data ? length : 0);
      if (this.#bytes.length < size) return;
      const payload = this.#bytes.subarray(12, size);
      this.#bytes = this.#bytes.subarray(size);
      if (type === frameTypes.data && length > 0) this.#answer(id, payload);
      else if (type === frameTypes.window && length > 0 && this.#endless.has(id)) this.#goOn(id, length);
    }
  }

  #goOn(id: number, bytes: number): void {
    for (let left = bytes; left > 0; left -= 32_768) {
      this.#stream.write(dataFrame(id, Buffer.alloc(Math.min(left, 32_768), 0x41)));
    }
  }

  #answer(id: number, request: Buffer): void {
    const draw = this.#draw;
    const say = (...frames: readonly Buffer[]): void => void this.#stream.write(Buffer.concat(frames));
    const ack = frame(frameTypes.window, flags.ack, id, 0);
    const call = this.#asked(request);
    const reply = bentReply(draw, call);
    switch (draw.integer(24)) {
      case 0:
        // Nothing, for ever.
        return;
      case 1:
        this.#stream.destroy();
        return;
      case 2:
        say(ack, frame(frameTypes.window, draw.pick([flags.fin, flags.rst]), id, 0));
        return;
      case 3:
        say(frame(frameTypes.goAway, 0, 0, draw.integer(4)));
        return;
      case 4:
        say(ack, dataFrame(id, reply.subarray(0, draw.integer(reply.length))));
        return;
      case 5:
        // Two answers, and one on a stream that nobody opened.
        say(ack, dataFrame(id, reply), dataFrame(id, reply), dataFrame(id + 2, reply));
        return;
      case 6:
        say(absurdFrame(draw), absurdFrame(draw));
        return;
      case 7:
        say(...Array.from({ length: draw.integer(300) }, () => frame(frameTypes.ping, flags.syn, 0, 7)));
        return;
      case 8:
        say(...Array.from({ length: draw.integer(50) }, (_, at) => frame(frameTypes.window, flags.syn, 2 + at, 0)));
        return;
      case 9:
        // More than the window has.
        say(ack, dataFrame(id, Buffer.alloc(262_144 + draw.integer(3), 0xdb)));
        return;
      case 10:
        say(ack, ...Array.from(reply, (byte) => dataFrame(id, Buffer.of(byte))));
        return;
      case 11:
        say(ack, frame(frameTypes.window, 0, id, 0xffff_ffff), dataFrame(id, reply), dataFrame(id, reply, flags.fin));
        return;
      case 12:
        say(draw.mutated(Buffer.concat([ack, dataFrame(id, reply)])));
        return;
      case 13: {
        // An answer of which there is always more: two texts of a hundred megabytes, or a list of as many values.
        const value = this.#tireless && draw.chance(0.5) ? 'dd00000002db07000000' : 'dd0fff000061';
        const head = Buffer.concat([call?.replyHead ?? Buffer.alloc(0), Buffer.from(value, 'hex')]);
        say(ack, dataFrame(id, head));
        this.#endless.add(id);
        if (draw.chance(0.5)) this.#goOn(id, 262_144 - head.length);
        return;
      }
      case 14:
        // An error of a length that nobody wants to read.
        say(
          ack,
          dataFrame(id, Buffer.concat([Buffer.from('83a54572726f72db000186a0', 'hex'), Buffer.alloc(100_000, 0x45)])),
        );
        return;
      default:
        say(ack, dataFrame(id, reply, draw.chance(0.1) ? flags.fin : 0));
    }
  }
}
