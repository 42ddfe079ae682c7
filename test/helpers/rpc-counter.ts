/**
 * Stands between a client agent and the servers' port and counts the calls by method, without changing a byte. It reads
 * what a client sends: the first byte of a connection, yamux frames (one call after the other in a stream), and of each
 * call its header, two msgpack values in all.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { decodeMsgpack, MsgpackStream } from '../../src/codec/index.ts';
import { type Cluster, type Member, ports } from './cluster.ts';

const plainByte = 0x00;
const yamuxByte = 0x04;
/** Byte of a whole-connection exchange, by the name under which it is counted. */
const exchanges: Readonly<Record<number, string>> = { 0x05: 'snapshot' };
const yamuxHeaderBytes = 12;
const yamuxData = 0;
/** Largest value that a client sends; a KV value is at most 512 KiB, a transaction a few of them (bytes). */
const valueBytesMax = 64 * 1024 * 1024;

export class RpcCounter {
  readonly #counts = new Map<string, number>();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Sends the calls of `client` to every server through this counter. To be used before the client starts. */
  async watch(cluster: Cluster, client: Member): Promise<void> {
    for (const server of cluster.servers) {
      const port = await this.#listen(cluster.network.ownAddress, server);
      const from = { address: server.address, port: ports.server };
      client.host.redirect(from, { address: cluster.network.ownAddress, port });
    }
  }

  /** Calls since the last reset, by method. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  reset(): void {
    this.#counts.clear();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #listen(address: string, to: Member): Promise<number> {
    const server = createServer((near) => this.#connect(near, to));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, address, () => {
        const bound = server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
      });
    });
  }

  #connect(near: Socket, to: Member): void {
    const far = connect(ports.server, to.address);
    const reader = new CallReader((method) => this.#counts.set(method, (this.#counts.get(method) ?? 0) + 1));
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
      socket.on('error', () => socket.destroy());
    }
    near.on('data', (bytes: Buffer) => reader.push(bytes));
    near.pipe(far);
    far.pipe(near);
  }
}

/** Reads one connection's bytes from the client. */
class CallReader {
  readonly #onCall: (method: string) => void;
  #kind: number | undefined;
  #rest = Buffer.alloc(0);
  /** Payload bytes of the present frame that are still to come, and whose they are. */
  #left = 0;
  #current: ValueReader | undefined;
  readonly #streams = new Map<number, ValueReader>();

  constructor(onCall: (method: string) => void) {
    this.#onCall = onCall;
  }

  push(bytes: Buffer): void {
    let input = bytes;
    if (this.#kind === undefined) {
      this.#kind = input[0]!;
      input = input.subarray(1);
      const name = exchanges[this.#kind];
      if (name !== undefined) this.#onCall(name);
      if (this.#kind === plainByte) this.#current = new ValueReader(this.#onCall);
    }
    if (this.#kind === plainByte) this.#current!.push(input);
    if (this.#kind === yamuxByte) this.#frames(Buffer.concat([this.#rest, input]));
  }

  #frames(input: Buffer): void {
    let at = 0;
    for (;;) {
      const piece = input.subarray(at, at + this.#left);
      if (piece.length > 0) this.#current?.push(piece);
      at += piece.length;
      this.#left -= piece.length;
      if (this.#left > 0 || at + yamuxHeaderBytes > input.length) break;
      const [type, id, length] = [input[at + 1]!, input.readUInt32BE(at + 4), input.readUInt32BE(at + 8)];
      at += yamuxHeaderBytes;
      if (type !== yamuxData) continue;
      const stream = this.#streams.get(id) ?? new ValueReader(this.#onCall);
      this.#streams.set(id, stream);
      this.#current = stream;
      this.#left = length;
    }
    this.#rest = Buffer.from(input.subarray(at));
  }
}

/** Reads headers and bodies in turn. */
class ValueReader {
  readonly #onCall: (method: string) => void;
  readonly #values = new MsgpackStream(valueBytesMax);
  #isHeader = true;

  constructor(onCall: (method: string) => void) {
    this.#onCall = onCall;
  }

  push(bytes: Buffer): void {
    this.#values.push(Buffer.from(bytes));
    for (let value = this.#values.next(); value !== undefined; value = this.#values.next()) {
      if (this.#isHeader) {
        const header = decodeMsgpack(value) as { readonly ServiceMethod?: unknown };
        this.#onCall(String(header.ServiceMethod));
      }
      this.#isHeader = !this.#isHeader;
    }
  }
}
