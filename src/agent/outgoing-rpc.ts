/** This agent's way out to port 8300 of servers: connections, encrypted as configured, kept in a pool. */
import type { AutoEncrypt } from './auto-encrypt.ts';
import type { Config } from '../config/index.ts';
import { nodeTlsVersions, opensslCipherSuite } from '../lib/index.ts';
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

/** The name that a server's certificate must have with `verify_server_hostname`. */
export function serverNameOf({ dns }: Config, datacenter: string): string {
  return `server.${datacenter}.${dns.domain.replace(/\.$/, '')}`;
}

/**
 * @param ports.tls what encrypts when `verify_outgoing` or a certificate signed by the servers demands it.
 * @param auto holds such a certificate.
 */
export function createOutgoingRpc(
  config: Config,
  ports: { readonly clock: Clock; readonly streams: StreamNetwork; readonly tls: TlsClient },
  auto?: Pick<AutoEncrypt, 'verifyServerHostname'>,
): OutgoingRpc {
  const { tls, server } = config;
  const dial = createRpcDialer({
    network: ports.streams,
    // Only this setting begins TLS; with certificates alone connections stay plain (reference/server-rpc.md §1.3).
    tls:
      tls.verifyOutgoing || auto !== undefined
        ? {
            client: ports.tls,
            verify: true,
            serverName: (datacenter) =>
              tls.verifyServerHostname || auto?.verifyServerHostname === true ? serverNameOf(config, datacenter) : null,
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

/** What TLS between agents may be, in Node's words. */
export function rpcTlsLimits({ tls }: Config): {
  readonly minVersion: (typeof nodeTlsVersions)[keyof typeof nodeTlsVersions];
  readonly ciphers?: string;
} {
  const { minVersion, cipherSuites } = tls;
  return {
    minVersion: nodeTlsVersions[minVersion as keyof typeof nodeTlsVersions],
    ...(cipherSuites.length === 0 ? {} : { ciphers: cipherSuites.map(opensslCipherSuite).join(':') }),
  };
}
