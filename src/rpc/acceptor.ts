/**
 * The server's side of port 8300: takes connections, reads their first byte and hands them to who speaks what follows
 * (reference/server-rpc.md §1.1 to §1.4). What is wrong, too slow or too much is closed without a word, as by the peer.
 */
import type { Clock, Logger, Stream, TlsServer } from '../ports/index.ts';
import { HeldStream } from './held-stream.ts';
import { alpnCarried, type Carried, selectorMax, selectors } from './selector.ts';
import { YamuxSession } from './yamux.ts';

/** `limits.rpc_handshake_timeout`: for the first byte, TLS and the byte inside it. */
export const handshakeTimeoutMsDefault = 5_000;
/** `limits.rpc_max_conns_per_client`: connections from one address, of all kinds. */
export const connectionsPerClientMaxDefault = 100;
/** Connections from everywhere: a cluster of ten thousand clients fits twice. */
const connectionsMax = 20_000;

/** Who takes the streams; one that is missing means such connections are closed. */
export interface RpcDoors {
  /** net/rpc: connections of selector 0 and every stream of a multiplexed one. */
  readonly rpc: (stream: Stream) => void;
  readonly raft?: (stream: Stream) => void;
  readonly snapshot?: (stream: Stream) => void;
  /** net/rpc with the methods for clients that have no certificate yet. */
  readonly insecure?: (stream: Stream) => void;
}

export interface RpcAcceptorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly doors: RpcDoors;
  /** null: no certificate, so no TLS. */
  readonly tls: TlsServer | null;
  /** `verify_incoming`: nothing in plain, and only with a certificate of our authority. */
  readonly verifyIncoming: boolean;
  readonly handshakeTimeoutMs?: number;
  readonly connectionsPerClientMax?: number;
}

export class RpcAcceptor {
  readonly #options: RpcAcceptorOptions;
  readonly #handshakeTimeoutMs: number;
  readonly #perClientMax: number;
  readonly #connections = new Set<Stream>();
  readonly #perClient = new Map<string, number>();
  readonly #logger: Logger;
  #closed = false;

  constructor(options: RpcAcceptorOptions) {
    this.#options = options;
    this.#logger = options.logger.named('rpc');
    this.#handshakeTimeoutMs = options.handshakeTimeoutMs ?? handshakeTimeoutMsDefault;
    this.#perClientMax = options.connectionsPerClientMax ?? connectionsPerClientMaxDefault;
  }

  /** Connections that are open now. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Takes a connection that was just made. Never throws. */
  accept(connection: Stream): void {
    const from = connection.remote.address;
    const count = this.#perClient.get(from) ?? 0;
    if (this.#closed || count >= this.#perClientMax || this.#connections.size >= connectionsMax) {
      if (!this.#closed) this.#logger.error('rejecting RPC conn because the limit of connections is reached', { from });
      connection.destroy();
      return;
    }
    this.#perClient.set(from, count + 1);
    this.#connections.add(connection);
    const held = new HeldStream(connection, () => {
      this.#connections.delete(connection);
      const left = this.#perClient.get(from)! - 1;
      if (left === 0) this.#perClient.delete(from);
      else this.#perClient.set(from, left);
    });
    const deadline = this.#options.clock.after(this.#handshakeTimeoutMs, () => connection.destroy());
    this.#select(held)
      .catch((error: unknown) => {
        const err = error instanceof Error ? error.message : String(error);
        if (err !== 'EOF') this.#logger.warn('failed to read the first byte of a connection', { from, err });
        connection.destroy();
      })
      .finally(() => deadline.cancel());
  }

  /** Ends every connection: a client whose call is not answered must see that (§10, 14). */
  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.destroy();
  }

  async #select(held: HeldStream): Promise<void> {
    const { tls, verifyIncoming } = this.#options;
    const isNativeTls = (byte: number): boolean => byte > selectorMax && tls?.mutual === true;
    const byte = await held.firstByte(isNativeTls);
    if (isNativeTls(byte)) return this.#native(held);
    if (byte === selectors.tls) return this.#insideTls(held);
    if (byte === selectors.insecure) return this.#insecure(held);
    if (verifyIncoming) throw new Error('a connection without TLS while verify_incoming is set');
    this.#carry(held, carriedBy(byte));
  }

  async #insideTls(held: HeldStream): Promise<void> {
    const { tls, verifyIncoming } = this.#options;
    if (tls === null) throw new Error('TLS connection attempted, server not configured for TLS');
    const stream = await tls.accept(held, {
      clientCertificate: verifyIncoming ? 'required' : 'ignored',
      timeoutMs: this.#handshakeTimeoutMs,
    });
    const inner = new HeldStream(stream);
    this.#carry(inner, carriedBy(await inner.firstByte()));
  }

  async #native(held: HeldStream): Promise<void> {
    const stream = await this.#options.tls!.accept(held, {
      clientCertificate: 'required',
      alpn: Object.keys(alpnCarried),
      timeoutMs: this.#handshakeTimeoutMs,
    });
    const carried = stream.alpn === null ? undefined : alpnCarried[stream.alpn];
    if (carried === undefined) throw new Error('a TLS connection without one of our protocols');
    this.#carry(stream, carried);
  }

  async #insecure(held: HeldStream): Promise<void> {
    const { tls, doors } = this.#options;
    if (tls === null || doors.insecure === undefined) throw new Error('insecure RPC is not set up here');
    doors.insecure(await tls.accept(held, { clientCertificate: 'ignored', timeoutMs: this.#handshakeTimeoutMs }));
  }

  #carry(stream: Stream, carried: Carried): void {
    const { clock, doors } = this.#options;
    if (carried === 'multiplex') {
      // The session lives as long as its connection, which holds it.
      void new YamuxSession(stream, { clock, role: 'server', onStream: doors.rpc });
      return;
    }
    const door = doors[carried];
    if (door === undefined) throw new Error(`nobody here speaks ${carried}`);
    door(stream);
  }
}

function carriedBy(byte: number): Carried {
  switch (byte) {
    case selectors.rpc:
      return 'rpc';
    case selectors.raft:
      return 'raft';
    case selectors.multiplex:
      return 'multiplex';
    case selectors.snapshot:
      return 'snapshot';
    default:
      throw new Error(`unrecognized RPC byte: ${byte}`);
  }
}
