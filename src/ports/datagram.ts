/** Packets without promise: they may be lost, doubled or come out of order. A real one is UDP. */
import type { Endpoint } from './stream.ts';

export interface DatagramSocket {
  /** What it is bound to; the port is never 0. */
  readonly local: Endpoint;
  /** Hands one packet to the network. Never waits and never throws: what cannot be sent is lost, as on the wire. */
  send(packet: Uint8Array, to: Endpoint): void;
  close(): void;
}

export interface DatagramNetwork {
  /**
   * Binds a socket; port 0 takes a free one.
   * @param onPacket gets every packet; its bytes are its own to keep.
   * @throws Error when the address is in use or not ours.
   */
  bind(at: Endpoint, onPacket: (packet: Uint8Array, from: Endpoint) => void): Promise<DatagramSocket>;
}
