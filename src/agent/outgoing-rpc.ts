/** This agent's way out to port 8300 of servers: connections, encrypted as configured, kept in a pool. */
import type { Config } from '../config/index.ts';
import { opensslCipherSuite } from '../lib/index.ts';
import type { Clock, StreamNetwork, TlsClient } from '../ports/index.ts';
import {
  createRpcDialer,
  idleConnectionMsOfClient,
  idleConnectionMsOfServer,
  idleStreamsMaxOfClient,
  idleStreamsMaxOfServer,
  type RpcDial,
  RpcPool,
} from '../rpc/index.ts';

export interface OutgoingRpc {
  readonly dial: RpcDial;
  readonly pool: RpcPool;
}

/** @param ports.tls what encrypts when `verify_outgoing` demands it. */
export function createOutgoingRpc(
  config: Config,
  ports: { readonly clock: Clock; readonly streams: StreamNetwork; readonly tls: TlsClient },
): OutgoingRpc {
  const { tls, server, dns } = config;
  const domain = dns.domain.replace(/\.$/, '');
  const dial = createRpcDialer({
    network: ports.streams,
    // Only this setting begins TLS; with certificates alone connections stay plain (reference/server-rpc.md §1.3).
    tls: tls.verifyOutgoing
      ? {
          client: ports.tls,
          verify: true,
          serverName: tls.verifyServerHostname ? (datacenter) => `server.${datacenter}.${domain}` : null,
        }
      : null,
  });
  const pool = new RpcPool({
    clock: ports.clock,
    dial,
    idleStreamsMax: server.enabled ? idleStreamsMaxOfServer : idleStreamsMaxOfClient,
    idleConnectionMs: server.enabled ? idleConnectionMsOfServer : idleConnectionMsOfClient,
  });
  return { dial, pool };
}

const tlsVersions = { tls10: 'TLSv1', tls11: 'TLSv1.1', tls12: 'TLSv1.2', tls13: 'TLSv1.3' } as const;

/** What TLS between agents may be, in Node's words. */
export function rpcTlsLimits({ tls }: Config): {
  readonly minVersion: (typeof tlsVersions)[keyof typeof tlsVersions];
  readonly ciphers?: string;
} {
  const { minVersion, cipherSuites } = tls;
  return {
    minVersion: tlsVersions[minVersion as keyof typeof tlsVersions],
    ...(cipherSuites.length === 0 ? {} : { ciphers: cipherSuites.map(opensslCipherSuite).join(':') }),
  };
}
