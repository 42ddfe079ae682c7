/**
 * TLS before the HTTP server. A connection is looked at before its handshake, because people send plain HTTP here and
 * should be told; what has shaken hands goes on as an ordinary connection. New certificates and demands hold for the
 * next connection, those that are open keep theirs (reference/agent.md §2.8).
 */
import type { Socket } from 'node:net';
import { createServer, type SecureVersion, type Server, type TLSSocket } from 'node:tls';
import { nodeTlsVersions, opensslCipherSuite } from '../lib/index.ts';
import type { Clock, Logger } from '../ports/index.ts';

export interface TlsOptions {
  /** PEM, with the intermediate ones; "" = none, and every handshake fails. */
  readonly cert: string;
  readonly key: string;
  /** Who may sign clients' certificates (PEM). */
  readonly ca: readonly string[];
  /** `tls10` … `tls13`. */
  readonly minVersion: string;
  /** Registered names, for versions before 1.3; empty = the usual ones. */
  readonly cipherSuites: readonly string[];
  /** Choose suites by the order here, not the client's. */
  readonly preferServerCipherSuites: boolean;
  /** Demand a certificate of every client. */
  readonly verifyIncoming: boolean;
  /** Longest wait for the first byte, and again for the end of the handshake. */
  readonly handshakeTimeoutMs: number;
}

const versions: Readonly<Record<string, SecureVersion>> = nodeTlsVersions;
/** Not configurable, as in the peer. */
const suitesOfTls13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
/** Old versions sign with SHA-1, which OpenSSL takes only at this level. */
const oldVersions: readonly string[] = ['tls10', 'tls11'];

/** First byte of every handshake. */
const handshakeRecord = 0x16;
const plainHttpAnswer =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n' +
  'Client sent an HTTP request to an HTTPS server.\n';

export class TlsDoor {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onSecure: (socket: TLSSocket) => void;
  /** Every connection, secured or not yet. */
  readonly #open = new Set<Socket>();
  #options: TlsOptions;
  #server: Server;

  /** @throws Error for certificates and keys that cannot be used. */
  constructor(parts: {
    readonly options: TlsOptions;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly onSecure: (socket: TLSSocket) => void;
  }) {
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#onSecure = parts.onSecure;
    this.#options = parts.options;
    this.#server = this.#createServer(parts.options);
  }

  /** Takes other certificates and demands into force. @throws Error as the constructor, and nothing has changed. */
  reload(options: TlsOptions): void {
    this.#server = this.#createServer(options);
    this.#options = options;
  }

  accept(raw: Socket): void {
    this.#open.add(raw);
    const silent = this.#clock.after(this.#options.handshakeTimeoutMs, () => raw.destroy());
    raw.once('close', () => {
      silent.cancel();
      this.#open.delete(raw);
    });
    raw.on('error', () => raw.destroy());
    const server = this.#server;
    raw.once('readable', () => {
      silent.cancel();
      const first = raw.read() as Buffer | null;
      if (first === null) raw.destroy();
      else if (first[0] !== handshakeRecord && /^[A-Z]+ /.test(first.toString('latin1', 0, 16))) {
        raw.end(plainHttpAnswer);
      } else {
        raw.unshift(first);
        // HTTP servers leave this half open and look after it themselves; TLS would wait for ever on half a handshake.
        raw.allowHalfOpen = false;
        server.emit('connection', raw);
      }
    });
  }

  /** Closes every connection at once. */
  stop(): void {
    for (const raw of this.#open) raw.destroy();
  }

  #createServer(options: TlsOptions): Server {
    const { cert, key, ca, minVersion, cipherSuites, preferServerCipherSuites, verifyIncoming, handshakeTimeoutMs } =
      options;
    const suites = cipherSuites.length > 0 ? [...suitesOfTls13, ...cipherSuites.map(opensslCipherSuite)] : ['DEFAULT'];
    const ciphers = [...suites, ...(oldVersions.includes(minVersion) ? ['@SECLEVEL=0'] : [])].join(':');
    const server = createServer({
      ...(cert === '' ? {} : { cert, key }),
      ...(ca.length === 0 ? {} : { ca: [...ca] }),
      minVersion: versions[minVersion] ?? 'TLSv1.2',
      ...(ciphers === 'DEFAULT' ? {} : { ciphers }),
      honorCipherOrder: preferServerCipherSuites,
      requestCert: verifyIncoming,
      rejectUnauthorized: verifyIncoming,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: handshakeTimeoutMs,
    });
    server.on('secureConnection', this.#onSecure);
    server.on('tlsClientError', (error, socket) => {
      this.#logger.debug('TLS handshake error', { from: socket.remoteAddress ?? '', error });
    });
    return server;
  }
}
