/**
 * Real packets. Gossip comes in bursts, so the kernel is asked for a large buffer; what does not fit there is lost,
 * which the protocols above expect.
 */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { isIPv4, isIPv6 } from 'node:net';
import { hostPort } from '../lib/index.ts';
import type { DatagramNetwork, DatagramSocket, Endpoint } from '../ports/index.ts';
import { socketProblem } from './socket-errors.ts';

/** Receive buffer to ask for, bytes; the kernel gives what `net.core.rmem_max` allows. */
const receiveBufferBytes = 2 * 1024 * 1024;

const mappedPrefix = '::ffff:';

export class UdpNetwork implements DatagramNetwork {
  bind(at: Endpoint, onPacket: (packet: Uint8Array, from: Endpoint) => void): Promise<DatagramSocket> {
    const isV6 = isIPv6(at.address);
    const socket = createSocket({
      type: isV6 ? 'udp6' : 'udp4',
      // Addresses are literals here; the default would take a detour through the resolver for every packet.
      lookup: (host, _options, callback) => callback(null, host, isV6 ? 6 : 4),
    });
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(new Error(`listen udp ${hostPort(at.address, at.port)}: ${socketProblem(error)}`, { cause: error }));
      });
      socket.bind({ address: at.address, port: at.port, exclusive: true }, () => {
        socket.removeAllListeners('error');
        // After binding only sends fail, and those are reported to nobody: the packet is lost.
        socket.on('error', () => {});
        growReceiveBuffer(socket);
        socket.on('message', (packet: Buffer, from: RemoteInfo) =>
          onPacket(packet, { address: plainAddress(from.address), port: from.port }),
        );
        socket.unref();
        let isOpen = true;
        const { port } = socket.address();
        resolve({
          local: { address: at.address, port },
          send: (packet, to) => {
            if (!isOpen || to.port < 1 || to.port > 65_535) return;
            const address = isV6 && isIPv4(to.address) ? mappedPrefix + to.address : to.address;
            socket.send(packet, to.port, address, () => {});
          },
          close: () => {
            if (!isOpen) return;
            isOpen = false;
            socket.removeAllListeners('message');
            socket.close();
          },
        });
      });
    });
  }
}

function growReceiveBuffer(socket: ReturnType<typeof createSocket>): void {
  for (let bytes = receiveBufferBytes; bytes > socket.getRecvBufferSize(); bytes /= 2) {
    try {
      socket.setRecvBufferSize(bytes);
      return;
    } catch {
      // Too much for this kernel: half of it.
    }
  }
}

/** IPv4 that came in on an IPv6 socket is IPv4. */
export function plainAddress(address: string): string {
  return address.startsWith(mappedPrefix) && isIPv4(address.slice(mappedPrefix.length))
    ? address.slice(mappedPrefix.length)
    : address;
}
