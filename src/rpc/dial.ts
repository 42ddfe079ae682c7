/** The client's way to port 8300: connect, TLS if wanted, and the byte that says what follows (§1.1, §1.3). */
import type { Endpoint, Stream, StreamNetwork, TlsClient } from '../ports/index.ts';
import { type Selector, selectors } from './selector.ts';

/** For the connection, and again for TLS. */
export const dialTimeoutMs = 10_000;

export interface RpcDialerOptions {
  readonly network: StreamNetwork;
  /** Address to connect from: a server may know its clients by it. */
  readonly from?: string;
  /** null: nothing is encrypted. */
  readonly tls: {
    readonly client: TlsClient;
    /** `verify_outgoing`, or false to take any certificate. */
    readonly verify: boolean;
    /** `verify_server_hostname`: the name of servers of a datacenter, `server.<dc>.<domain>`; null checks none. */
    readonly serverName: (datacenter: string) => string | null;
  } | null;
}

/** A server as gossip describes it. */
export interface RpcServerAddress extends Endpoint {
  /** Node name; with the address it tells servers apart. */
  readonly name: string;
  readonly datacenter: string;
}

/**
 * Opens a connection that carries what `selector` says; raft and snapshots get theirs here too.
 * @throws Error
 */
export type RpcDial = (to: RpcServerAddress, selector: Exclude<Selector, 3>, signal?: AbortSignal) => Promise<Stream>;

export function createRpcDialer({ network, from, tls }: RpcDialerOptions): RpcDial {
  return async (to, selector, signal) => {
    const connection = await network.connect(
      { address: to.address, port: to.port },
      {
        timeoutMs: dialTimeoutMs,
        ...(from === undefined ? {} : { from }),
        ...(signal === undefined ? {} : { signal }),
      },
    );
    const insecure = selector === selectors.insecure;
    if (tls === null) {
      if (insecure) {
        connection.destroy();
        throw new Error('this call needs TLS, which is not set up: give ca_file');
      }
      connection.write(Uint8Array.of(selector));
      return connection;
    }
    connection.write(Uint8Array.of(insecure ? selectors.insecure : selectors.tls));
    const stream = await tls.client.connect(connection, {
      serverName: tls.serverName(to.datacenter),
      verify: tls.verify,
      timeoutMs: dialTimeoutMs,
      // A real server closes after the archive with the alert unread, and its kernel then drops what has not left yet.
      endsInside: selector !== selectors.snapshot,
    });
    // After the byte for "insecure" the calls follow at once; after the one for TLS another byte says what does.
    if (!insecure) stream.write(Uint8Array.of(selector));
    return stream;
  };
}
