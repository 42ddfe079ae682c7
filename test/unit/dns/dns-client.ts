// Asks a DNS server over real loopback sockets, and plays upstream resolvers from a script.
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import packet, { type Answer, type Packet } from 'dns-packet';

/** The raw reply, or null when none came in time or the connection was closed. */
export function askUdp(port: number, query: Buffer, waitMs: number): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const finish = (reply: Buffer | null): void => {
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(() => finish(null), waitMs);
    socket.on('error', reject);
    socket.on('message', finish);
    socket.send(query, port, '127.0.0.1');
  });
}

export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length, 0);
  return Buffer.concat([length, message]);
}

/** The complete messages at the start of `stream`, and what is left. */
export function unframed(stream: Buffer): { messages: Buffer[]; rest: Buffer } {
  const messages: Buffer[] = [];
  let rest = stream;
  while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
    const end = 2 + rest.readUInt16BE(0);
    messages.push(rest.subarray(2, end));
    rest = rest.subarray(end);
  }
  return { messages, rest };
}

export function askTcp(port: number, query: Buffer, waitMs: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = Buffer.alloc(0);
    const finish = (reply: Buffer | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reply);
    };
    const timer = setTimeout(() => finish(null), waitMs);
    socket.on('error', () => finish(null));
    socket.on('close', () => finish(null));
    socket.on('connect', () => socket.write(framed(query)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const [reply] = unframed(received).messages;
      if (reply) finish(reply);
    });
  });
}

export interface ScriptedAnswer {
  /** With final dot, or `*`. */
  name: string;
  type?: string;
  rcode?: string;
  aa?: boolean;
  tc?: boolean;
  ra?: boolean;
  answer?: string[];
  authority?: string[];
  silent?: boolean;
}

export interface ScriptedRecursor {
  readonly port: number;
  /** Queries received, in order. */
  readonly asked: { transport: 'udp' | 'tcp'; packet: Buffer }[];
  stop(): void;
}

const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

/** An upstream resolver that answers as told, on UDP and TCP. */
export async function startRecursor(answers: ScriptedAnswer[]): Promise<ScriptedRecursor> {
  const asked: ScriptedRecursor['asked'] = [];
  const reply = (query: Buffer, transport: 'udp' | 'tcp'): Buffer | null => {
    asked.push({ transport, packet: query });
    const decoded = packet.decode(query);
    const question = decoded.questions![0]!;
    const name = `${question.name}.`.toLowerCase();
    const hit = answers.find(
      (each) => (each.name === '*' || each.name.toLowerCase() === name) && (!each.type || each.type === question.type),
    );
    if (!hit || hit.silent) return null;
    const flags =
      (query.readUInt16BE(2) & 0x7900) |
      (hit.aa ? 0x0400 : 0) |
      (hit.tc ? 0x0200 : 0) |
      (hit.ra === false ? 0 : 0x80) |
      rcodes.indexOf(hit.rcode ?? 'NOERROR');
    const message: Packet = {
      type: 'response',
      id: decoded.id!,
      flags,
      questions: decoded.questions!,
      answers: (hit.answer ?? []).map(recordOf),
      authorities: (hit.authority ?? []).map(recordOf),
    };
    return packet.encode(message);
  };
  const connections = new Set<Socket>();
  const tcp = createServer((socket) => {
    connections.add(socket);
    let received = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('close', () => connections.delete(socket));
    socket.on('data', (chunk) => {
      const { messages, rest } = unframed(Buffer.concat([received, chunk]));
      received = Buffer.from(rest);
      for (const message of messages) {
        const answer = reply(message, 'tcp');
        if (answer) socket.write(framed(answer));
      }
    });
  });
  const port = await new Promise<number>((resolve) =>
    tcp.listen(0, '127.0.0.1', () => resolve((tcp.address() as { port: number }).port)),
  );
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => {
    const answer = reply(message, 'udp');
    if (answer) udp.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, '127.0.0.1', resolve));
  return {
    port,
    asked,
    stop() {
      udp.close();
      tcp.close();
      for (const connection of connections) connection.destroy();
    },
  };
}

function recordOf(line: string): Answer {
  const [name, ttl, , type, ...rest] = line.split(' ') as [string, string, string, string, ...string[]];
  const common = { name, ttl: Number(ttl) };
  if (type === 'MX') return { ...common, type, data: { preference: Number(rest[0]), exchange: rest[1]! } };
  if (type === 'SOA') {
    const [mname, rname, serial, refresh, retry, expire, minimum] = rest as [string, string, ...string[]];
    const numbers = [serial, refresh, retry, expire, minimum].map(Number) as [number, number, number, number, number];
    const [s, f, r, e, m] = numbers;
    return { ...common, type, data: { mname, rname, serial: s, refresh: f, retry: r, expire: e, minimum: m } };
  }
  return { ...common, type, data: rest.join(' ') } as Answer;
}
