/**
 * DNS over TCP (RFC 1035 §4.2.2): each message follows its length. Queries of a connection are answered one after the
 * other, in order; while one is worked on, the socket is not read, so a flood waits in the sender.
 */
import { createServer, type Socket } from 'node:net';
import type { Clock } from '../ports/index.ts';
import type { Listener, ListenerDependencies } from './udp-listener.ts';

/** For the first query of a connection (reference/dns.md §1). */
const firstIdleMs = 2000;
/** Between queries. */
const idleMs = 8000;
/** For the client to take an answer. */
const writeMs = 2000;
const queriesPerConnectionMax = 128;
/** Connections of one listener; further ones are closed at once. */
const connectionsMax = 1024;

/** Rejects when the address cannot be bound. */
export function listenTcp(
  host: string,
  port: number,
  dependencies: ListenerDependencies & { readonly clock: Clock },
): Promise<Listener> {
  const sockets = new Set<Socket>();
  // A client may close its side behind its last query and still wants the answers.
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A broken connection also ends the iteration in `serve`.
    socket.on('error', (error) => dependencies.logger.debug('DNS connection failed', { error: error.message }));
    void serve(socket, dependencies).catch(() => socket.destroy());
  });
  server.maxConnections = connectionsMax;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, ipv6Only: host.includes(':') }, () => {
      server.removeListener('error', reject);
      server.on('error', (error) => dependencies.logger.warn('DNS listener failed', { error: error.message }));
      const bound = server.address();
      resolve({
        host,
        port: typeof bound === 'object' && bound !== null ? bound.port : port,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const socket of sockets) socket.destroy();
          }),
      });
    });
  });
}

async function serve(socket: Socket, dependencies: ListenerDependencies & { readonly clock: Clock }): Promise<void> {
  const { clock, respond } = dependencies;
  const client = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
  const limit = (delayMs: number): { cancel(): void } => clock.after(delayMs, () => socket.destroy());
  let timer = limit(firstIdleMs);
  let received: Buffer = Buffer.alloc(0);
  let queries = 0;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      while (received.length >= 2) {
        const end = 2 + received.readUInt16BE(0);
        if (received.length < end) break;
        timer.cancel();
        const reply = await respond(received.subarray(2, end), 'tcp', client);
        received = received.subarray(end);
        if (reply !== null) {
          timer = limit(writeMs);
          await send(socket, reply);
          timer.cancel();
        }
        if (++queries >= queriesPerConnectionMax) {
          socket.end();
          return;
        }
        timer = limit(idleMs);
      }
    }
  } finally {
    timer.cancel();
    socket.destroySoon();
  }
}

/** Resolves when the kernel has taken the message. */
function send(socket: Socket, message: Buffer): Promise<void> {
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, 2);
  return new Promise((resolve, reject) => {
    socket.write(framed, (error) => (error ? reject(error) : resolve()));
  });
}
