/**
 * A client of the agent's HTTP API. It knows how requests travel (address, token, TLS, compression, time limits, error
 * texts) and nothing about what they mean: callers name method, path and query, and get bytes, JSON or a stream.
 */
import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parseGoJson } from '../codec/index.ts';
import type { Clock } from '../ports/index.ts';
import type { ClientOptions } from './client-options.ts';
import { goNetError } from './go-net-error.ts';

/**
 * Longest time for a request that does not block, ms. A server's graceful leave is the slowest honest answer (about
 * 15 s, reference/agent.md §3.6); four times that is surely a dead peer.
 */
export const requestTimeoutMs = 60_000;
/** Largest body that is read into memory, bytes; a KV export of 100,000 average keys fits many times. */
const bodyBytesMax = 512 * 1024 * 1024;
/** Largest error text that is kept, bytes. */
const errorTextBytesMax = 64 * 1024;
/** Connections at a time to the one agent we talk to; well below its own limit of 200 a client. */
const connectionsMax = 16;

/** Values of query parameters; `true` sends the bare name, `undefined` and `false` nothing, a list repeats the name. */
export type ClientQuery = Readonly<Record<string, string | number | bigint | boolean | readonly string[] | undefined>>;

export interface ClientRequest {
  readonly query?: ClientQuery;
  readonly body?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Time for the whole answer, ms; null = no limit. Default {@link requestTimeoutMs}, no limit with `query.index`. */
  readonly timeoutMs?: number | null;
}

export interface ClientResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ClientStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Ends when the agent ends the answer; destroying it hangs up. */
  readonly body: Readable;
}

/** The agent could not be asked or did not answer: `Get "URL": dial tcp …: connect: connection refused`. */
export class AgentConnectionError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'AgentConnectionError';
  }
}

/** The agent answered with another status than 2xx. */
export class UnexpectedResponseError extends Error {
  readonly status: number;
  /** The answer's text as it came. */
  readonly text: string;

  constructor(status: number, text: string) {
    super(`Unexpected response code: ${status} (${text})`);
    this.name = 'UnexpectedResponseError';
    this.status = status;
    this.text = text;
  }
}

/** An answer whose head has come. */
interface Exchange extends ClientStream {
  /** Words an error of the body. */
  readonly fail: (error: unknown) => AgentConnectionError;
  /** Ends the time limit. */
  readonly done: () => void;
}

export class AgentClient {
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #connections: HttpAgent | HttpsAgent;

  constructor(options: ClientOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    const { tls } = options;
    this.#connections =
      options.scheme === 'http'
        ? new HttpAgent({ keepAlive: true, maxSockets: connectionsMax })
        : new HttpsAgent({
            keepAlive: true,
            maxSockets: connectionsMax,
            rejectUnauthorized: tls.verify,
            ...(tls.ca && { ca: [...tls.ca] }),
            ...(tls.cert !== undefined && { cert: tls.cert }),
            ...(tls.key !== undefined && { key: tls.key }),
            ...(tls.serverName !== undefined && { servername: tls.serverName }),
          });
  }

  /** Name for messages: `http://10.0.0.1:8500`, `unix:///run/portolan.sock`. */
  get endpoint(): string {
    const { scheme, address, unix } = this.#options;
    return `${unix ? 'unix' : scheme}://${address}`;
  }

  /**
   * Sends one request and reads the whole answer, whatever its status.
   * @param path absolute and **not** percent-encoded: `/v1/kv/a b`; it is encoded here as Go encodes paths.
   * @throws AgentConnectionError when there is no answer.
   */
  async request(method: string, path: string, options: ClientRequest = {}): Promise<ClientResponse> {
    const { status, headers, body, fail, done } = await this.#send(method, path, options, true);
    try {
      return { status, headers, body: await readAll(body, bodyBytesMax) };
    } catch (error) {
      throw fail(error);
    } finally {
      done();
    }
  }

  /**
   * {@link request} for answers that must be 2xx.
   * @throws UnexpectedResponseError, AgentConnectionError
   */
  async ok(method: string, path: string, options: ClientRequest = {}): Promise<ClientResponse> {
    const response = await this.request(method, path, options);
    if (response.status < 200 || response.status > 299) {
      throw new UnexpectedResponseError(response.status, response.body.toString('utf8'));
    }
    return response;
  }

  /**
   * {@link ok} with the body decoded: integers beyond 2^53 are bigint, objects have no prototype. The shape is the
   * caller's claim, an empty body is null.
   */
  async json<T>(method: string, path: string, options: ClientRequest = {}): Promise<T> {
    const { body } = await this.ok(method, path, options);
    return (body.length === 0 ? null : parseGoJson(body)) as T;
  }

  /**
   * Opens an answer that ends when the agent or the caller ends it (monitor, snapshots); no time limit, never
   * compressed, so that every line arrives when it is written.
   * @throws UnexpectedResponseError, AgentConnectionError
   */
  async stream(method: string, path: string, options: ClientRequest = {}): Promise<ClientStream> {
    const { status, headers, body, fail } = await this.#send(method, path, { timeoutMs: null, ...options }, false);
    if (status >= 200 && status <= 299) return { status, headers, body };
    let text: Buffer;
    try {
      text = await readAll(body, errorTextBytesMax);
    } catch (error) {
      throw fail(error);
    }
    throw new UnexpectedResponseError(status, text.toString('utf8'));
  }

  /** Closes idle connections. */
  close(): void {
    this.#connections.destroy();
  }

  async #send(
    method: string,
    path: string,
    { query = {}, body, headers = {}, signal, timeoutMs }: ClientRequest,
    compressed: boolean,
  ): Promise<Exchange> {
    const { scheme, address, unix, token, auth, datacenter, namespace } = this.#options;
    const search = encodeQuery({ dc: datacenter, ns: namespace, ...query });
    const target = escapePath(path) + (search === '' ? '' : `?${search}`);
    const limitMs = timeoutMs === undefined ? (query.index === undefined ? requestTimeoutMs : null) : timeoutMs;
    const payload = typeof body === 'string' ? Buffer.from(body) : body;
    let timedOut = false;
    const fail = (error: unknown): AgentConnectionError => {
      if (error instanceof AgentConnectionError) return error;
      const verb = method.charAt(0) + method.slice(1).toLowerCase();
      const url = `${scheme}://${unix ? escapeHost(address) : address}${target}`;
      const reason = timedOut
        ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        : signal?.aborted
          ? 'context canceled'
          : goNetError(error);
      return new AgentConnectionError(`${verb} "${url}": ${reason}`, { cause: error });
    };
    const send = scheme === 'http' ? httpRequest : httpsRequest;
    const request = send({
      agent: this.#connections,
      method,
      path: target,
      ...(unix ? { socketPath: address } : splitAddress(address, scheme)),
      ...(auth !== undefined && { auth }),
      ...(signal && { signal }),
      headers: {
        'User-Agent': 'portolan',
        ...(compressed && { 'Accept-Encoding': 'gzip' }),
        ...(token !== '' && { 'X-Consul-Token': token }),
        ...(payload ? { 'Content-Length': payload.length } : method !== 'GET' && { 'Content-Length': 0 }),
        ...headers,
      },
    });
    const timer =
      limitMs === null
        ? undefined
        : this.#clock.after(limitMs, () => {
            timedOut = true;
            request.destroy(new Error('timed out'));
          });
    const done = (): void => timer?.cancel();
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.on('response', resolve).on('error', reject);
        request.end(payload);
      });
      const gzipped = response.headers['content-encoding'] === 'gzip';
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        // The reader of the body sees its errors; the callback only keeps them from being thrown twice.
        body: gzipped ? pipeline(response, createGunzip(), () => undefined) : response,
        fail,
        done,
      };
    } catch (error) {
      done();
      throw fail(error);
    }
  }
}

async function readAll(body: Readable, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bytesMax) throw new AgentConnectionError(`the answer is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function splitAddress(address: string, scheme: 'http' | 'https'): { host: string; port: number } {
  const found = /^(.*?)(?::(\d+))?$/.exec(address)!;
  const host = (found[1] ?? '').replace(/^\[(.*)\]$/, '$1');
  return { host: host === '' ? '127.0.0.1' : host, port: Number(found[2] ?? (scheme === 'https' ? 443 : 80)) };
}

/** Names sorted, values escaped as Go's `url.Values.Encode`. */
function encodeQuery(query: ClientQuery): string {
  return Object.keys(query)
    .sort()
    .flatMap((name) => {
      const value = query[name];
      if (value === undefined || value === false) return [];
      const values = Array.isArray(value) ? (value as readonly string[]) : [value === true ? '' : String(value)];
      return values.map((text) => `${escapeQuery(name)}=${escapeQuery(text)}`);
    })
    .join('&');
}

function escapeQuery(text: string): string {
  return encodeStrictly(text).replaceAll('%20', '+');
}

/** Encodes as Go encodes a URL's path: separators and sub-delimiters that a path may hold stay. */
function escapePath(path: string): string {
  return encodeStrictly(path).replaceAll(/%(24|26|2B|2C|2F|3A|3B|3D|40)/g, decodeURIComponent);
}

/** What the reference program prints as the host of a unix socket: `.%2Fsock`. */
function escapeHost(path: string): string {
  return encodeStrictly(path).replaceAll(/%(21|24|26|27|28|29|2A|2B|2C|3A|3B|3D|5B|5D|3C|3E|22)/g, decodeURIComponent);
}

/** Everything but letters, digits and `-_.~`. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
