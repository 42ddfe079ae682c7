/** One UDP socket: a datagram in, at most one datagram out. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Logger, Metrics } from '../ports/index.ts';
import type { Transport } from './limits.ts';

/** Kernel buffer: bursts arrive while the event loop does something else. Linux cuts it to `net.core.rmem_max`. */
const receiveBufferBytes = 2 * 1024 * 1024;
/** Queries waiting for an answer at the same time; more are dropped and counted, and clients ask again. */
const queriesMax = 4096;

/** Answers one packet; null sends nothing. Never rejects. */
export type Respond = (packet: Buffer, transport: Transport, client: string) => Promise<Buffer | null>;

export interface ListenerDependencies {
  readonly respond: Respond;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Rejects when the address cannot be bound. */
export function listenUdp(host: string, port: number, dependencies: ListenerDependencies): Promise<Listener> {
  const { respond, logger, metrics } = dependencies;
  const family = isIPv6(host) ? 6 : 4;
  const socket: Socket = createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    ipv6Only: family === 6,
    // Peers come as addresses; asking the resolver to confirm that costs a tick for every reply.
    lookup: (address, _options, callback) => callback(null, address, family),
  });
  let waiting = 0;
  let open = true;
  socket.on('message', (packet, { address, port: clientPort }) => {
    if (waiting >= queriesMax) {
      metrics.count(['dns', 'udp_dropped']);
      return;
    }
    waiting++;
    void respond(packet, 'udp', `${address}:${clientPort}`).then((reply) => {
      waiting--;
      // Port 0 cannot be answered.
      if (reply !== null && open && clientPort !== 0) socket.send(reply, clientPort, address);
    });
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address: host, port }, () => {
      socket.removeListener('error', reject);
      // A reply that cannot be sent (no route, too long) is the client's loss only.
      socket.on('error', (error) => logger.warn('failed to respond', { error: error.message }));
      try {
        socket.setRecvBufferSize(receiveBufferBytes);
      } catch (error) {
        logger.debug('UDP receive buffer stays at its default', { error: String(error) });
      }
      resolve({
        host,
        port: socket.address().port,
        close: () =>
          new Promise((closed) => {
            open = false;
            socket.close(() => closed());
          }),
      });
    });
  });
}
