/**
 * Asks upstream resolvers, strictly in their order (reference/dns.md §9). Every exchange has its own socket, so the
 * kernel's random port and the connected peer guard it against forged answers besides the 16-bit id.
 */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, isIP, isIPv6 } from 'node:net';
import type { Clock } from '../ports/index.ts';
import type { Transport } from './limits.ts';
import { headerBytes, type Message, readMessage } from './message.ts';
import { messageBytesMax } from './message-writer.ts';
import type { Name } from './name.ts';

const dnsPort = 53;
/** Exchanges at the same time; each holds a file descriptor for at most the recursor timeout. More fail at once. */
const exchangesMax = 256;

export interface Recursor {
  readonly host: string;
  readonly port: number;
  /** As configured, for messages. */
  readonly text: string;
}

export interface OutgoingQuery {
  readonly packet: Buffer;
  readonly name: Name;
  readonly type: number;
}

/** Why an exchange gave nothing; never shown to DNS clients. */
export class RecursorError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RecursorError';
  }
}

/**
 * Parses `recursors` and resolves host names, once. Duplicates are dropped.
 * @throws RecursorError `Invalid recursor address: …` for what cannot be asked.
 */
export async function resolveRecursors(texts: readonly string[]): Promise<Recursor[]> {
  const recursors = new Map<string, Recursor>();
  for (const text of texts) {
    const { host, port } = splitHostPort(text);
    let address = host;
    if (isIP(host) === 0) {
      try {
        address = (await lookup(host)).address;
      } catch (cause) {
        throw new RecursorError(
          `Invalid recursor address: ${text}: the host name does not resolve; write an IP address in \`recursors\``,
          { cause },
        );
      }
    }
    if (address === '0.0.0.0' || address === '::') {
      throw new RecursorError(`Invalid recursor address: ${text}: name one resolver, not the unspecified address`);
    }
    const key = `${address} ${port}`;
    if (!recursors.has(key)) recursors.set(key, { host: address, port, text });
  }
  return [...recursors.values()];
}

function splitHostPort(text: string): { host: string; port: number } {
  if (isIP(text) !== 0) return { host: text, port: dnsPort };
  const match = /^(?:\[([^\]]*)\]|([^:[\]/]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? dnsPort);
  if (host === undefined || host === '' || port < 1 || port > 65_535) {
    throw new RecursorError(`Invalid recursor address: ${text}: expected IP, IP:port or [IPv6]:port`);
  }
  return { host, port };
}

/** Sends queries to recursors; bounded, and everything ends when it is closed. */
export class RecursorClient {
  readonly #clock: Clock;
  readonly #open = new Set<() => void>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * One exchange. Answers that do not belong to the query are ignored until the time is over.
   * @throws RecursorError on timeout, network errors, unreadable answers, and at the limit.
   */
  exchange(recursor: Recursor, query: OutgoingQuery, transport: Transport, timeoutMs: number): Promise<Message> {
    const { packet: queryPacket } = query;
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#open.size >= exchangesMax) {
        const reason = this.#closed ? 'the DNS server has stopped' : `${exchangesMax} queries are already waiting`;
        reject(new RecursorError(reason));
        return;
      }
      let close = (): void => {};
      const finish = (outcome: () => void): void => {
        if (!this.#open.delete(abandon)) return;
        timer.cancel();
        close();
        outcome();
      };
      const fail = (reason: string, cause?: unknown): void =>
        finish(() => reject(new RecursorError(`${recursor.host}:${recursor.port}: ${reason}`, { cause })));
      const abandon = (): void => fail('the DNS server has stopped');
      const timer = this.#clock.after(timeoutMs, () => fail('i/o timeout'));
      this.#open.add(abandon);
      const onMessage = (packet: Buffer): void => {
        if (packet.length < headerBytes || packet.readUInt16BE(0) !== queryPacket.readUInt16BE(0) || packet[2]! < 0x80)
          return;
        try {
          const message = readMessage(packet);
          if (!answersQuestion(message, query)) return;
          finish(() => resolve(message));
        } catch (error) {
          fail('unreadable answer', error);
        }
      };
      close =
        transport === 'udp'
          ? exchangeUdp(recursor, queryPacket, onMessage, fail)
          : exchangeTcp(recursor, queryPacket, onMessage, fail);
    });
  }

  /** Ends all exchanges with an error. */
  close(): void {
    this.#closed = true;
    for (const abandon of this.#open) abandon();
  }
}

type OnMessage = (packet: Buffer) => void;
type OnFail = (reason: string, cause: unknown) => void;

function exchangeUdp({ host, port }: Recursor, query: Buffer, onMessage: OnMessage, onFail: OnFail): () => void {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  const onError = (error: Error): void => onFail(error.message, error);
  socket.on('error', onError);
  socket.on('message', onMessage);
  socket.on('connect', () => {
    socket.send(query, (error) => {
      if (error) onError(error);
    });
  });
  socket.connect(port, host);
  return () => {
    socket.removeListener('message', onMessage);
    socket.close();
  };
}

function exchangeTcp({ host, port }: Recursor, query: Buffer, onMessage: OnMessage, onFail: OnFail): () => void {
  const socket = connect({ host, port });
  let received = Buffer.alloc(0);
  socket.on('error', (error) => onFail(error.message, error));
  socket.on('close', () => onFail('connection closed', undefined));
  socket.on('connect', () => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length, 0);
    socket.write(Buffer.concat([length, query]));
  });
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2) {
      const end = 2 + received.readUInt16BE(0);
      if (received.length < end) return;
      onMessage(received.subarray(2, end));
      received = received.subarray(end);
    }
    // At most one message with its length can be incomplete here.
    if (received.length > messageBytesMax + 2) onFail('answer too long', undefined);
  });
  return () => {
    socket.removeAllListeners('data');
    socket.destroy();
  };
}

/** Guards against forged answers; an empty question section is accepted. */
function answersQuestion({ question }: Message, query: OutgoingQuery): boolean {
  return (
    question === null ||
    (question.type === query.type && question.name.text.toLowerCase() === query.name.text.toLowerCase())
  );
}

/** Response code of a message, without EDNS' upper bits. */
export function codeOf(message: Message): number {
  return message.flags & 0xf;
}
