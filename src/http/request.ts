/** A request as handlers see it: routed, with its query decoded; the body is read only when a handler asks for it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type ByteString, byteStringToUtf8 } from '../lib/index.ts';
import { HttpError } from './answer.ts';
import type { Query } from './query-string.ts';

/**
 * Most bytes any body may have. Consul has no limit outside KV and transactions; without one a single client could
 * take all memory, and no registration comes near it.
 */
const bodyBytesMax = 32 * 1024 * 1024;

/** Why a wait for a client ended: it has gone, or has closed its half of the connection, or the server stops. */
export class ClientGone extends Error {
  constructor() {
    super('the client has gone or the HTTP server stops');
    this.name = 'ClientGone';
  }
}

/**
 * Calls back once, when the client has closed its half of the connection (few do so unless they leave) or the server
 * stops; at once when that is past.
 * @returns cancels.
 */
export type OnGone = (socket: Socket, callback: () => void) => () => void;

export class ApiRequest {
  readonly method: string;
  /** Decoded path, bytes. */
  readonly path: ByteString;
  /** What follows the endpoint's prefix, bytes; "" for exact paths. */
  readonly suffix: ByteString;
  readonly query: Query;
  readonly pretty: boolean;
  readonly #incoming: IncomingMessage;
  /** Kept, because a request whose body was given up has lost its own. */
  readonly socket: Socket;
  readonly #response: ServerResponse;
  readonly #onGone: OnGone;
  readonly #defaultToken: () => string;
  #signal: AbortSignal | null = null;

  constructor(parts: {
    method: string;
    path: ByteString;
    suffix: ByteString;
    query: Query;
    pretty: boolean;
    incoming: IncomingMessage;
    response: ServerResponse;
    onGone: OnGone;
    /** The agent's own token, for requests that bring none. */
    defaultToken: () => string;
  }) {
    this.method = parts.method;
    this.path = parts.path;
    this.suffix = parts.suffix;
    this.query = parts.query;
    this.pretty = parts.pretty;
    this.#incoming = parts.incoming;
    this.socket = parts.incoming.socket;
    this.#response = parts.response;
    this.#onGone = parts.onGone;
    this.#defaultToken = parts.defaultToken;
  }

  /** What follows the endpoint's prefix as text: a service or node name, an ID. */
  get name(): string {
    return byteStringToUtf8(this.suffix);
  }

  /** @param name in lower case. "" when it is not there. */
  header(name: Lowercase<string>): string {
    const value = this.#incoming.headers[name];
    return Array.isArray(value) ? value.join(', ') : (value ?? '');
  }

  /** Address of the other end of the connection, "" when it has none or is gone. */
  get remoteAddress(): string {
    return (this.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
  }

  /** Bytes announced by Content-Length, null when the body is chunked or there is none. */
  get contentLength(): number | null {
    const length = this.#incoming.headers['content-length'];
    return length === undefined ? null : Number(length);
  }

  /** ACL token of the request, else the agent's default; "" when none (reference/http-api.md §2). */
  get token(): string {
    return this.ownToken || this.#defaultToken();
  }

  /** The token that came with the request, "" when none. */
  get ownToken(): string {
    const given = this.query.get('token') || this.header('x-consul-token');
    if (given !== '') return given;
    const authorization = this.header('authorization');
    if (authorization === '') return '';
    const [scheme = '', value = ''] = authorization.trim().split(/\s+/);
    return scheme.toLowerCase() === 'bearer' ? value : '';
  }

  /** Whether the client has gone before its answer. */
  get abandoned(): boolean {
    // Of a pipeline only the response whose turn it is learns of the end itself.
    return this.#response.destroyed || this.socket.destroyed;
  }

  /** Aborted with {@link ClientGone} when the client goes away before its answer, or the server stops. */
  get signal(): AbortSignal {
    if (this.#signal === null) {
      const controller = new AbortController();
      const abort = (): void => controller.abort(new ClientGone());
      if (this.abandoned) abort();
      const forget = this.#onGone(this.socket, abort);
      this.#response.once('close', () => {
        forget();
        if (!this.#response.writableFinished) abort();
      });
      this.#signal = controller.signal;
    }
    return this.#signal;
  }

  /** The body piece by piece, for who can take any size. */
  get pieces(): AsyncIterable<Uint8Array> {
    return this.#incoming;
  }

  /**
   * Reads the whole body.
   * @param advice follows the text of the refusal.
   * @throws HttpError 413 beyond `bytesMax`.
   */
  async body(bytesMax = bodyBytesMax, advice = ''): Promise<Uint8Array> {
    const tooLarge = (): HttpError =>
      new HttpError(413, `Request body too large, max size: ${bytesMax} bytes. ${advice}`.trimEnd(), { close: true });
    if ((this.contentLength ?? 0) > bytesMax) throw tooLarge();
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.#incoming as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > bytesMax) throw tooLarge();
      chunks.push(chunk);
    }
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length);
  }
}
