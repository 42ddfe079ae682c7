/**
 * TLS over streams that exist already: both sides of port 8300 say a byte in plain first. Node's own TLS runs on a
 * duplex made of the stream, and its result is a stream again.
 */
import { Duplex } from 'node:stream';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { Stream, TlsClient, TlsServer, TlsStream } from '../ports/index.ts';
import { TcpStream } from './tcp-network.ts';

export interface TlsIdentity {
  /** PEM of the authorities that peers' certificates must come from; "" when there is none. */
  readonly ca: string;
  /** PEM, with the chain; "" when there is none. */
  readonly cert: string;
  /** PEM; "" when there is none. */
  readonly key: string;
}

export interface TlsSettings {
  /** Asked for at each handshake, so that a renewed certificate counts from the next one on. */
  readonly identity: () => TlsIdentity;
  /** `tls_min_version`, in Node's words. */
  readonly minVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  /** `tls_cipher_suites`, in OpenSSL's words, divided by colons. */
  readonly ciphers?: string;
}

const minVersionDefault = 'TLSv1.2';

export function createTlsClient(settings: TlsSettings): TlsClient {
  return {
    connect: (stream, { serverName, verify = true, endsInside = true, alpn, timeoutMs }) => {
      const { ca, cert, key } = settings.identity();
      const duplex = new StreamDuplex(stream);
      const socket = connect({
        socket: duplex,
        ...context(settings, { ca, cert, key }),
        rejectUnauthorized: verify,
        ...(serverName === null
          ? { checkServerIdentity: () => undefined }
          : { servername: serverName, ...(verify ? {} : { checkServerIdentity: () => undefined }) }),
        ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
      });
      return handshake(duplex, stream, { timeoutMs, endsInside }, (resolve, reject) => {
        socket.on('error', reject);
        socket.once('secureConnect', () => resolve(socket));
      });
    },
  };
}

export function createTlsServer(settings: TlsSettings): TlsServer {
  /**
   * Node's server tells which handshake ended, but not of which connection it was: each runs one at a time and waits
   * here for the next. They never listen.
   */
  const free = new Map<string, Server[]>();
  return {
    get mutual() {
      const { ca, cert, key } = settings.identity();
      return ca !== '' && cert !== '' && key !== '';
    },
    accept: async (stream, { clientCertificate, alpn, timeoutMs }) => {
      const identity = settings.identity();
      const kind = JSON.stringify([identity, clientCertificate, alpn]);
      // Those of an identity that was replaced are not asked for again.
      for (const other of free.keys()) if (!other.startsWith(`[${JSON.stringify(identity)}`)) free.delete(other);
      const waiting = free.get(kind) ?? [];
      free.set(kind, waiting);
      const server =
        waiting.pop() ??
        createServer({
          ...context(settings, identity),
          requestCert: clientCertificate === 'required',
          rejectUnauthorized: clientCertificate === 'required',
          handshakeTimeout: timeoutMs,
          ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
        });
      const duplex = new StreamDuplex(stream);
      const made = await handshake(duplex, stream, { timeoutMs, endsInside: true }, (resolve, reject) => {
        server.once('secureConnection', resolve);
        server.once('tlsClientError', reject);
        server.emit('connection', duplex);
      });
      // One whose handshake failed is left: it might still tell of that one when the next is under way.
      server.removeAllListeners('tlsClientError');
      waiting.push(server);
      return made;
    },
  };
}

function context({ minVersion = minVersionDefault, ciphers }: TlsSettings, { ca, cert, key }: TlsIdentity) {
  return {
    minVersion,
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(ca === '' ? {} : { ca }),
    ...(cert === '' ? {} : { cert }),
    ...(key === '' ? {} : { key }),
  };
}

async function handshake(
  duplex: StreamDuplex,
  stream: Stream,
  { timeoutMs, endsInside }: { readonly timeoutMs: number; readonly endsInside: boolean },
  run: (resolve: (socket: TLSSocket) => void, reject: (error: Error) => void) => void,
): Promise<TlsStream> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const socket = await new Promise<TLSSocket>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('TLS handshake timeout')), timeoutMs);
      // Behind a duplex that is no socket, Node's TLS does not notice by itself that the peer is gone.
      for (const over of ['end', 'close']) duplex.once(over, () => reject(new Error('EOF')));
      run(resolve, reject);
    });
    socket.once('end', () => duplex.wasRead());
    return endsInside ? new TlsSocketStream(socket, stream) : new OutsideEndingStream(socket, stream);
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

class TlsSocketStream extends TcpStream implements TlsStream {
  readonly alpn: string | null;

  constructor(socket: TLSSocket, under: Stream) {
    super(socket, under);
    this.alpn = socket.alpnProtocol === false ? null : socket.alpnProtocol;
  }
}

/** Ends its half of the connection below TLS, once everything written has left. */
class OutsideEndingStream extends TlsSocketStream {
  readonly #socket: TLSSocket;
  readonly #under: Stream;
  #ended = false;

  constructor(socket: TLSSocket, under: Stream) {
    super(socket, under);
    this.#socket = socket;
    this.#under = under;
  }

  override write(bytes: Uint8Array): boolean {
    return this.#ended || super.write(bytes);
  }

  override end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.write('', () => this.#under.end());
  }
}

/** A stream as Node's TLS wants it. */
class StreamDuplex extends Duplex {
  readonly #stream: Stream;
  #drained: (() => void) | undefined;
  #ended = false;
  #closed = false;
  #wasRead = false;

  constructor(stream: Stream) {
    // Its close ends TLS at once, with what nobody has read yet: it must not come by itself.
    super({ allowHalfOpen: true, autoDestroy: false });
    this.#stream = stream;
    stream.subscribe({
      onData: (bytes) => {
        if (!this.push(bytes)) stream.pause();
      },
      onEnd: () => {
        this.#ended = true;
        this.push(null);
      },
      onDrain: () => this.#drained?.(),
      onClose: (error) => {
        this.#closed = true;
        if (error !== null || !this.#ended || this.#wasRead) this.destroy(error ?? undefined);
      },
    });
  }

  /** Whoever reads TLS has come to its end. */
  wasRead(): void {
    this.#wasRead = true;
    if (this.#closed) this.destroy();
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    if (this.#stream.write(bytes)) {
      done();
      return;
    }
    this.#drained = () => {
      this.#drained = undefined;
      done();
    };
  }

  override _final(done: () => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.destroy();
    done(error);
  }
}
