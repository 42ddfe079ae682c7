/**
 * A client agent's certificate, signed by the servers (`auto_encrypt.tls`). Before gossip begins the agent asks one of
 * the servers that it is to join, over TLS without a certificate of its own; what it gets is its identity for all later
 * connections, and is replaced long before it ends (reference/server-rpc.md §1.8).
 */
import { generateKeyPairSync } from 'node:crypto';
import { encodePem, makeCertificateRequest } from '../codec/index.ts';
import type { Config } from '../config/index.ts';
import type { AutoEncryptReply, CARoot, IssuedCert, NamedCaller } from '../model/index.ts';
import { spiffeUri } from '../model/index.ts';
import { type Clock, type Logger, type Random, sleep, type StreamNetwork, type TlsClient } from '../ports/index.ts';
import { callOnce, createRpcDialer, selectors } from '../rpc/index.ts';
import { insecureMethods } from '../server/index.ts';
import { serverNameOf } from './outgoing-rpc.ts';

/** Pause after all servers have failed, ms; doubles up to the longest. */
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;
/** A certificate is replaced when this part of its life is over. */
const renewAfter = 0.7;
/** Between two attempts to renew, ms. */
const renewalRetryMs = 30_000;

/** The agent does not know the servers' trust domain yet; they put in their own. */
const unknownTrustDomain = 'unknown';
const loopback = [Uint8Array.of(127, 0, 0, 1), Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? 1 : 0))];

export interface AutoEncryptOptions {
  readonly nodeName: string;
  readonly datacenter: string;
  readonly dnsNames: readonly string[];
  /** 4 or 16 bytes each. */
  readonly ipAddresses: readonly Uint8Array[];
  /** Addresses of servers to ask. */
  readonly servers: () => Promise<readonly string[]>;
  /** Asks one server to sign, over TLS without a certificate of ours. */
  readonly sign: (address: string, request: CertificateWish, signal: AbortSignal) => Promise<AutoEncryptReply>;
  readonly token: () => string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface CertificateWish {
  readonly Datacenter: string;
  /** PEM. */
  readonly CSR: string;
  readonly Token?: string;
}

export interface AutoEncryptIdentity {
  /** PEM texts, all in one. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export class AutoEncrypt {
  readonly #options: AutoEncryptOptions;
  readonly #stop = new AbortController();
  #identity: AutoEncryptIdentity | undefined;
  #verifyServerHostname = false;
  /** PEM of the authorities that the servers were given by hand. */
  #manualRoots: readonly string[] = [];
  #validity = { fromMs: 0, toMs: 0 };

  constructor(options: AutoEncryptOptions) {
    this.#options = options;
  }

  /** undefined until {@link obtain} has come through. */
  get identity(): AutoEncryptIdentity | undefined {
    return this.#identity;
  }

  /** Whether servers must prove that they are servers, as they said. */
  get verifyServerHostname(): boolean {
    return this.#verifyServerHostname;
  }

  /** Asks server after server until one has signed; ends early only by {@link stop}. */
  async obtain(): Promise<void> {
    const { clock, random, logger } = this.#options;
    const { signal } = this.#stop;
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        if (await this.#askAll()) return;
      } catch (error) {
        if (!signal.aborted) logger.error('auto_encrypt: cannot look for servers', { error });
      }
      if (signal.aborted) return;
      logger.warn('auto_encrypt: no server has signed a certificate; trying again', { pause: `${pauseMs / 1000}s` });
      await sleep(clock, pauseMs * (1 + random.next()), signal).catch(() => undefined);
    }
  }

  /** Replaces the certificate before it ends, until {@link stop}. */
  async keep(caller: NamedCaller): Promise<void> {
    const { clock, logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { fromMs, toMs } = this.#validity;
      const waitMs = Math.max(renewalRetryMs, fromMs + (toMs - fromMs) * renewAfter - clock.wallMs());
      try {
        await sleep(clock, waitMs, signal);
        if (clock.wallMs() >= this.#validity.toMs) {
          await this.obtain();
          continue;
        }
        await this.#renew(caller, signal);
        logger.info('auto_encrypt: renewed the certificate');
      } catch (error) {
        if (!signal.aborted) logger.error('auto_encrypt: cannot renew the certificate', { error });
      }
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #askAll(): Promise<boolean> {
    const { servers, sign, logger } = this.#options;
    const { key, wish } = this.#wish(unknownTrustDomain);
    for (const address of await servers()) {
      try {
        const reply = await sign(address, wish, this.#stop.signal);
        this.#verifyServerHostname = reply.VerifyServerHostname;
        this.#take(key, reply.IssuedCert, reply.ConnectCARoots.Roots, reply.ManualCARoots ?? []);
        logger.info('auto_encrypt: a server has signed our certificate', { server: address });
        return true;
      } catch (error) {
        if (this.#stop.signal.aborted) return false;
        logger.warn('auto_encrypt: a server did not sign our certificate', { server: address, error });
      }
    }
    return false;
  }

  async #renew(caller: NamedCaller, signal: AbortSignal): Promise<void> {
    const { datacenter } = this.#options;
    const { Roots, TrustDomain } = await caller.call('ConnectCA.Roots', { Datacenter: datacenter }, signal);
    const { key, wish } = this.#wish(TrustDomain);
    const issued = await caller.call('ConnectCA.Sign', wish, signal);
    this.#take(key, issued, Roots, this.#manualRoots);
  }

  #take(key: string, issued: IssuedCert, roots: readonly CARoot[], manualRoots: readonly string[]): void {
    this.#manualRoots = manualRoots;
    const ca = [...roots.map(({ RootCert }) => RootCert), ...manualRoots].join('\n');
    this.#identity = { ca, cert: issued.CertPEM, key };
    this.#validity = { fromMs: Date.parse(issued.ValidAfter), toMs: Date.parse(issued.ValidBefore) };
  }

  #wish(trustDomain: string): { readonly key: string; readonly wish: CertificateWish } {
    const { nodeName, datacenter, dnsNames, ipAddresses, token } = this.#options;
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const request = makeCertificateRequest(privateKey, `${nodeName}.agnt.${trustDomain.split('.')[0]}.consul`, {
      uri: spiffeUri({ kind: 'agent', trustDomain, datacenter, agent: nodeName }),
      dnsNames: ['localhost', ...dnsNames],
      ipAddresses: [...loopback, ...ipAddresses],
    });
    const secret = token();
    return {
      key: privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
      wish: {
        Datacenter: datacenter,
        CSR: encodePem('CERTIFICATE REQUEST', request),
        ...(secret === '' ? {} : { Token: secret }),
      },
    };
  }
}

/**
 * What {@link AutoEncryptOptions.sign} is over a network: one connection, one call.
 * @param ports.tls verifies servers by the authorities that were configured.
 */
export function signByServers(
  config: Config,
  ports: { readonly clock: Clock; readonly streams: StreamNetwork; readonly tls: TlsClient },
): AutoEncryptOptions['sign'] {
  const { tls, datacenter } = config;
  const dial = createRpcDialer({
    network: ports.streams,
    tls: {
      client: ports.tls,
      // Without an authority there is nothing to verify by: the first server to answer is believed.
      verify: tls.caFile !== '' || tls.caPath !== '',
      serverName: (dc) => (tls.verifyServerHostname ? serverNameOf(config, dc) : null),
    },
  });
  return async (address, request, signal) => {
    const to = { name: address, datacenter, address, port: config.ports.server };
    const stream = await dial(to, selectors.insecure, signal);
    const method = { name: 'AutoEncrypt.Sign', ...insecureMethods['AutoEncrypt.Sign'] };
    return callOnce(stream, method, request, { clock: ports.clock, signal });
  };
}

/** The hosts of join addresses, `host`, `host:port` or `[v6]:port`, as IP addresses. */
export async function serverHosts(
  addresses: readonly string[],
  resolve: (host: string) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const hosts = addresses.map((address) => /^\[(.+)\](?::\d+)?$|^([^:]+):\d+$/.exec(address) ?? [address, address]);
  return (await Promise.all(hosts.map(([, v6, host]) => resolve(v6 ?? host!)))).flat();
}
