/** TLS laid over a stream that exists already, as the protocol on port 8300 wants it. */
import type { Stream } from './stream.ts';

export interface TlsStream extends Stream {
  /** The protocol that both sides chose by ALPN; null when they named none. */
  readonly alpn: string | null;
}

export interface TlsServer {
  /** Whether it can ask clients for certificates: it has an authority, a certificate and a key. */
  readonly mutual: boolean;
  /**
   * Answers the handshake that `stream` begins.
   * @param options.clientCertificate 'required': one that our authority signed, or the handshake fails.
   * @param options.alpn protocols to choose from.
   * @param options.timeoutMs for the whole handshake.
   * @throws Error when the handshake fails; the stream is destroyed then.
   */
  accept(
    stream: Stream,
    options: {
      readonly clientCertificate: 'required' | 'ignored';
      readonly alpn?: readonly string[];
      readonly timeoutMs: number;
    },
  ): Promise<TlsStream>;
}

export interface TlsClient {
  /**
   * Begins a handshake on `stream`.
   * @param options.serverName name to send, and that the certificate must have; null sends none and checks only that
   *   our authority signed it.
   * @param options.verify false takes any certificate.
   * @param options.endsInside false: `end` ends the half of the connection below, without the alert that says so inside
   *   TLS, which a peer that has no more to read would leave unread.
   * @param options.timeoutMs for the whole handshake.
   * @throws Error when the handshake fails; the stream is destroyed then.
   */
  connect(
    stream: Stream,
    options: {
      readonly serverName: string | null;
      readonly verify?: boolean;
      readonly endsInside?: boolean;
      readonly alpn?: readonly string[];
      readonly timeoutMs: number;
    },
  ): Promise<TlsStream>;
}
