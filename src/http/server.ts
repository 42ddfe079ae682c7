/**
 * The HTTP server: what holds for every request, in Consul's order — path, route, query, blocked endpoints, method,
 * write restriction — then one handler, then one write (reference/http-api.md §1). Directly on Node's server: Go's rules
 * for paths, methods and unreadable bytes are not those of any router, and with those taken away a framework was left
 * with costing each answer as much as its handler.
 */
import { chmod, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import { type Duplex, pipeline, Readable } from 'node:stream';
import { type ByteString, byteStringToUtf8, invariant } from '../lib/index.ts';
import { CallError, rpcRateLimitExceeded } from '../model/index.ts';
import type { CachedCaller, NamedCaller } from '../model/index.ts';
import type { Clock, Logger, Metrics, Random } from '../ports/index.ts';
import type { Snapshots } from '../server/index.ts';
import { type AgentDoor, AgentRequestError } from './agent-door.ts';
import { agentConnectEndpoints } from './agent-connect-endpoint.ts';
import { aclEndpoints } from './acl-endpoint.ts';
import { guardedAgent } from './agent-acl.ts';
import { agentEndpoints } from './agent-endpoint.ts';
import {
  type Answer,
  badRequest,
  Body,
  empty,
  type Header,
  headerValue,
  HttpError,
  type Sink,
  text,
} from './answer.ts';
import type { Api } from './api.ts';
import { catalogEndpoints } from './catalog-endpoint.ts';
import { configEntryEndpoints } from './config-entry-endpoint.ts';
import { coordinateEndpoints } from './coordinate-endpoint.ts';
import { gatewayEndpoints } from './gateway-endpoint.ts';
import { eventEndpoints } from './event-endpoint.ts';
import { federationStateEndpoints } from './federation-state-endpoint.ts';
import { connectCaEndpoints } from './connect-ca-endpoint.ts';
import { discoveryChainEndpoints } from './discovery-chain-endpoint.ts';
import { healthEndpoints } from './health-endpoint.ts';
import { intentionEndpoints } from './intention-endpoint.ts';
import { keyringEndpoints } from './keyring-endpoint.ts';
import { kvEndpoints } from './kv-endpoint.ts';
import type { HttpOptions } from './options.ts';
import { queryEndpoints } from './query-endpoint.ts';
import { profilingEndpoints } from './profiling-endpoint.ts';
import { operatorEndpoints } from './operator-endpoint.ts';
import { Pipelining } from './pipelining.ts';
import { percentDecode, Query } from './query-string.ts';
import { FailedRead } from './read-options.ts';
import { ApiRequest, ClientGone } from './request.ts';
import { encodePath, type Endpoint, Router } from './routes.ts';
import { sessionEndpoints } from './session-endpoint.ts';
import { snapshotEndpoints } from './snapshot-endpoint.ts';
import { statusEndpoints } from './status-endpoint.ts';
import { TlsDoor } from './tls-door.ts';
import { txnEndpoints } from './txn-endpoint.ts';
import { uiDataEndpoints } from './ui-data-endpoint.ts';
import { uiEndpoints } from './ui-endpoint.ts';

/** Where to listen. */
export type HttpListener = (
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** `mode` as in chmod, 0 = what the umask gives. */
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number }
) & {
  /** HTTPS, by {@link HttpOptions.tls}. */
  readonly tls?: boolean;
};

export interface HttpServer {
  /**
   * Opens the listeners; all or none.
   * @returns the addresses in the order of the listeners, with the port chosen for port 0.
   * @throws Error of the system, naming the address.
   */
  start(listeners: readonly HttpListener[]): Promise<readonly string[]>;
  /** Ends blocking queries and streams at once, gives other answers a moment, closes everything. */
  stop(): Promise<void>;
  /** Takes other options into force. */
  reload(options: HttpOptions): void;
}

/** Longest request line and headers together; Go's default. */
const headerBytesMax = 1024 * 1024;
/** Longest wait for the headers of a request that has begun. */
const headersTimeoutMs = 60_000;
/** Longest wait for a whole request; how long its answer takes is another matter. */
const requestTimeoutMs = 300_000;
/** How often both are looked at. */
const timeoutCheckMs = 5_000;
/** Longer than clients keep an unused connection, so that it is they who close it. */
const keepAliveTimeoutMs = 600_000;
/** Silence after which the system asks whether the other end is still there. */
const tcpKeepAliveMs = 15_000;
/** Bytes a slow reader of a stream may be behind before lines are left out. */
const streamBacklogBytesMax = 1024 * 1024;
/** How long a refused connection may take to read why. */
const lingerMs = 500;
/** How long a stop waits for answers that are being written. */
const stopGraceMs = 2_000;

/** One request and its answer under way. */
interface Exchange {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly url: string;
  /** When it came, on the monotonic clock (ms). */
  readonly began: number;
  /** Set once its path turns out to be registered: such answers carry the common headers. */
  endpoint: Endpoint | null;
}

export function createHttpServer(parts: {
  readonly caller: NamedCaller;
  readonly cache: CachedCaller;
  /** Without it there is no `/v1/snapshot`. */
  readonly snapshots?: Snapshots;
  readonly agent: AgentDoor;
  readonly options: HttpOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): HttpServer {
  return new Service(parts);
}

class Service implements HttpServer {
  readonly #router: Router;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #servers: Server[] = [];
  readonly #tlsDoors: TlsDoor[] = [];
  readonly #pipelining = new Pipelining((incoming, response) => this.#serve(incoming, response));
  #stopping = false;
  /** Whom to tell that a connection has closed or the server stops. */
  readonly #onGoneBySocket = new Map<Socket, Set<() => void>>();
  readonly #defaultToken: () => string;
  readonly #connections = new Map<string, number>();
  #outbox: (() => void)[] = [];
  #options: HttpOptions;
  #common: readonly Header[];
  #writers: BlockList | null;

  constructor(parts: Parameters<typeof createHttpServer>[0]) {
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#metrics = parts.metrics;
    this.#options = parts.options;
    this.#defaultToken = () => parts.agent.acl?.defaultToken() ?? '';
    this.#common = commonHeaders(parts.options);
    this.#writers = blockListOf(parts.options.allowWriteHttpFrom);
    const api: Api = { ...parts, options: () => this.#options };
    const endpoints = [
      ...aclEndpoints(api),
      ...agentEndpoints(api),
      ...agentConnectEndpoints(api),
      ...catalogEndpoints(api),
      ...healthEndpoints(api),
      ...kvEndpoints(api),
      ...eventEndpoints(api),
      ...txnEndpoints(api),
      ...sessionEndpoints(api),
      ...intentionEndpoints(api),
      ...configEntryEndpoints(api),
      ...operatorEndpoints(api),
      ...(parts.snapshots === undefined ? [] : snapshotEndpoints(api, parts.snapshots)),
      ...keyringEndpoints(api),
      ...federationStateEndpoints(api),
      ...connectCaEndpoints(api),
      ...discoveryChainEndpoints(api),
      ...gatewayEndpoints(api),
      ...queryEndpoints(api),
      ...coordinateEndpoints(api),
      ...statusEndpoints(api),
      ...uiDataEndpoints(api),
      ...uiEndpoints(api),
      ...profilingEndpoints(api),
    ];
    this.#router = new Router(guardedAgent(api, endpoints));
  }

  async start(listeners: readonly HttpListener[]): Promise<readonly string[]> {
    try {
      const addresses: string[] = [];
      for (const listener of listeners) addresses.push(await this.#listen(listener));
      return addresses;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #listen(listener: HttpListener): Promise<string> {
    const server = createServer(
      {
        maxHeaderSize: headerBytesMax,
        requestTimeout: requestTimeoutMs,
        headersTimeout: headersTimeoutMs,
        connectionsCheckingInterval: timeoutCheckMs,
        keepAliveTimeout: keepAliveTimeoutMs,
        keepAlive: true,
        keepAliveInitialDelay: tcpKeepAliveMs,
      },
      (incoming, response) => this.#pipelining.take(incoming, response),
    );
    // A client that closes its half behind its last request still gets its answers.
    Object.assign(server, { httpAllowHalfOpen: true });
    if (listener.tls === true) this.#putTlsBefore(server);
    else server.on('connection', (socket) => this.#countConnection(socket));
    server.on('clientError', (error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket) =>
      this.#refuseUnreadable(error, socket),
    );
    if (listener.kind === 'unix') await unlink(listener.path).catch(() => undefined);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const bound = (): void => {
        server.off('error', reject);
        resolve();
      };
      if (listener.kind === 'unix') server.listen(listener.path, bound);
      else server.listen(listener.port, listener.host, bound);
    });
    this.#servers.push(server);
    if (listener.kind === 'unix') {
      if (listener.mode !== 0) await chmod(listener.path, listener.mode);
      return listener.path;
    }
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : listener.port;
    return isIP(listener.host) === 6 ? `[${listener.host}]:${port}` : `${listener.host}:${port}`;
  }

  /** What the server would read from a connection it reads from what TLS makes of it. */
  #putTlsBefore(server: Server): void {
    const { tls: options } = this.#options;
    invariant(options !== null, 'an HTTPS listener comes with TLS settings');
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    const door = new TlsDoor({
      options,
      clock: this.#clock,
      logger: this.#logger,
      onSecure: (socket) => {
        for (const listener of listeners) Reflect.apply(listener, server, [socket]);
      },
    });
    this.#tlsDoors.push(door);
    server.on('connection', (socket) => {
      if (this.#countConnection(socket)) door.accept(socket);
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const socket of this.#onGoneBySocket.keys()) this.#tellGone(socket);
    const servers = this.#servers.splice(0);
    const closed = Promise.all(
      servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeIdleConnections();
          }),
      ),
    );
    const grace = this.#clock.after(stopGraceMs, () => {
      for (const server of servers) server.closeAllConnections();
      for (const door of this.#tlsDoors) door.stop();
    });
    await closed;
    grace.cancel();
  }

  reload(options: HttpOptions): void {
    if (options.tls !== null) for (const door of this.#tlsDoors) door.reload(options.tls);
    this.#options = options;
    this.#common = commonHeaders(options);
    this.#writers = blockListOf(options.allowWriteHttpFrom);
  }

  /** A client with too many connections has the newest closed without an answer. @returns whether it stays open. */
  #countConnection(socket: Socket): boolean {
    const client = socket.remoteAddress;
    if (client === undefined) return true;
    const open = (this.#connections.get(client) ?? 0) + 1;
    const { maxConnsPerClient } = this.#options;
    if (maxConnsPerClient > 0 && open > maxConnsPerClient) {
      socket.destroy();
      return false;
    }
    this.#connections.set(client, open);
    socket.once('close', () => {
      const left = (this.#connections.get(client) ?? 1) - 1;
      if (left > 0) this.#connections.set(client, left);
      else this.#connections.delete(client);
    });
    return true;
  }

  /** One listener per connection, however many requests wait on it (see OnGone). */
  readonly #onGone = (socket: Socket, callback: () => void): (() => void) => {
    if (this.#stopping || socket.destroyed || socket.readableEnded) {
      callback();
      return () => undefined;
    }
    let callbacks = this.#onGoneBySocket.get(socket);
    if (callbacks === undefined) {
      this.#onGoneBySocket.set(socket, (callbacks = new Set()));
      const tell = (): void => this.#tellGone(socket);
      socket.once('end', tell);
      socket.once('close', tell);
    }
    callbacks.add(callback);
    return () => callbacks.delete(callback);
  };

  #tellGone(socket: Socket): void {
    const callbacks = this.#onGoneBySocket.get(socket);
    this.#onGoneBySocket.delete(socket);
    callbacks?.forEach((callback) => callback());
  }

  /** The parser refuses methods it does not know; Consul's own refusal of them tells more (§1, "Unknown verbs too"). */
  #refuseUnreadable(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
    if (!socket.writable) return;
    const line = /^([A-Z]+) (\/\S*) HTTP\/1\.[01]\r?\n/.exec(error.rawPacket?.toString('latin1') ?? '');
    if (error.code !== 'HPE_INVALID_METHOD' || line === null) {
      const status = unreadableStatus[error.code ?? ''] ?? '400 Bad Request';
      const head = `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n`;
      socket.end(head + status);
      // Closing at once would reset the connection while the answer is on its way.
      this.#clock.after(lingerMs, () => socket.destroy());
      return;
    }
    const [, method = '', url = ''] = line;
    const path = percentDecode(url.split('?', 1)[0]!);
    const routing = path === null ? null : this.#router.route(path);
    const known = routing !== null && 'endpoint' in routing;
    const answer = known ? notAllowed(routing.endpoint, method) : empty(404);
    const headers: Header[] = [
      ...(known ? this.#common : []),
      ...answer.headers,
      ['Content-Length', String(answer.body?.bytes.length ?? 0)],
      ['Connection', 'close'],
    ];
    const phrase = answer.status === 405 ? 'Method Not Allowed' : 'Not Found';
    const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.end(
      Buffer.concat([
        Buffer.from(`HTTP/1.1 ${answer.status} ${phrase}\r\n${head}\r\n`, 'latin1'),
        answer.body?.bytes ?? new Uint8Array(),
      ]),
    );
  }

  /** No turn of the event loop and no promise is spent here on a handler that has its answer at once. */
  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    const began = this.#clock.monotonicMs();
    // A request whose body was given up loses its socket.
    const { socket, url = '' } = incoming;
    const exchange: Exchange = { incoming, response, socket, url, began, endpoint: null };
    try {
      const answer = this.#answer(exchange);
      if (answer instanceof Promise) {
        answer.then(
          (later) => this.#finish(exchange, later),
          (error: unknown) => this.#fail(exchange, error),
        );
      } else this.#finish(exchange, answer);
    } catch (error) {
      this.#fail(exchange, error);
    }
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { response, socket, url } = exchange;
    // The client has gone, or we are going: nobody is left to read an answer.
    if (this.#stopping || response.destroyed || socket.destroyed || error instanceof ClientGone) {
      response.destroy();
      return;
    }
    this.#logger.error('Request failed by a defect of the agent', { url: hideTokens(url), error });
    this.#finish(exchange, text(500, 'internal error, see the log of the agent'));
  }

  #finish(exchange: Exchange, answer: Answer): void {
    const { incoming, response, socket, url, began, endpoint } = exchange;
    if (endpoint !== null) {
      this.#metrics.sample(metricName(incoming.method ?? '', endpoint), this.#clock.monotonicMs() - began);
    }
    if (response.destroyed || socket.destroyed) return;
    this.#write(exchange, answer);
    if (this.#logger.wants?.('debug') === false) return;
    this.#logger.debug('Request finished', {
      method: incoming.method,
      url: hideTokens(url),
      from: fromOf(socket),
      latency: `${(this.#clock.monotonicMs() - began).toFixed(3)}ms`,
    });
  }

  #answer(exchange: Exchange): Answer | Promise<Answer> {
    const { incoming, response, url } = exchange;
    const method = incoming.method ?? '';
    const mark = url.indexOf('?');
    const path = percentDecode(mark < 0 ? url : url.slice(0, mark));
    const search = mark < 0 ? '' : url.slice(mark + 1);
    if (path === null) return { ...text(400, '400 Bad Request'), close: true };
    if (!this.#options.disableUnprintableFilter && hasUnprintable(path)) return empty(400);
    const routing = this.#router.route(path);
    if (routing === null) {
      if (path !== '/') return empty(404);
      const { ui } = this.#options;
      return ui === null ? text(200, 'Consul Agent') : redirect(method, ui.contentPath, '');
    }
    if ('redirect' in routing) return redirect(method, routing.redirect, search);
    exchange.endpoint = routing.endpoint;
    const query = Query.parse(search);
    if (query === null) return empty(500);
    return this.#dispatch(
      routing.endpoint,
      new ApiRequest({
        method,
        path,
        suffix: routing.suffix,
        query,
        pretty: this.#options.pretty || query.has('pretty'),
        incoming,
        response,
        onGone: this.#onGone,
        defaultToken: this.#defaultToken,
      }),
    );
  }

  /** Answers a request whose route and query are known; every refusal becomes an answer here. */
  #dispatch(endpoint: Endpoint, request: ApiRequest): Answer | Promise<Answer> {
    const { method } = request;
    const { blockEndpoints } = this.#options;
    if (blockEndpoints.length > 0) {
      const path = byteStringToUtf8(request.path);
      if (blockEndpoints.some((prefix) => path.startsWith(prefix))) {
        return text(403, 'Endpoint is blocked by agent configuration');
      }
    }
    if (method === 'OPTIONS' && endpoint.anyMethod === undefined) return empty(200, [allowHeader(endpoint)]);
    const handler =
      endpoint.anyMethod ?? (Object.hasOwn(endpoint.methods, method) ? endpoint.methods[method] : undefined);
    if (handler === undefined) return notAllowed(endpoint, method);
    if (method !== 'GET' && method !== 'OPTIONS' && !this.#mayWrite(request.socket))
      return text(403, 'Access is restricted');
    try {
      if (endpoint.ignoresNamespace !== true) refuseNamespace(request);
      const answer = handler(request);
      return answer instanceof Promise ? answer.catch((error: unknown) => this.#refusal(error, request)) : answer;
    } catch (error) {
      return this.#refusal(error, request);
    }
  }

  #mayWrite(socket: Socket): boolean {
    if (this.#writers === null) return true;
    const address = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
    const family = isIP(address);
    return family !== 0 && this.#writers.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }

  #refusal(error: unknown, request: ApiRequest): Answer {
    if (error instanceof HttpError) return { ...text(error.status, error.message, error.headers), close: error.close };
    if (error instanceof AgentRequestError) return text(error.statusCode, error.message);
    const headers = error instanceof FailedRead ? error.headers : [];
    const cause = error instanceof FailedRead ? error.cause : error;
    if (cause instanceof HttpError || cause instanceof AgentRequestError) return this.#refusal(cause, request);
    // Nobody is left to read an answer.
    if (this.#stopping || request.abandoned || cause instanceof ClientGone) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    // A limit of this agent, told by the status alone.
    if (message === rpcRateLimitExceeded) return empty(429, headers);
    const what = cause instanceof CallError ? 'Request error' : 'Request failed by a defect of the agent';
    this.#logger.error(what, { method: request.method, url: byteStringToUtf8(request.path), error: cause });
    const forbidden = message.includes('Permission denied') || message.includes('ACL not found');
    return text(forbidden ? 403 : 500, message, headers);
  }

  #write(exchange: Exchange, answer: Answer): void {
    const { incoming, response, socket, endpoint } = exchange;
    // Spelled out flat, as Node writes them without another look.
    const headers: string[] = [];
    if (endpoint !== null) this.#addCommon(headers, answer);
    for (const [name, value] of answer.headers) headers.push(name, value);
    if (answer.close === true) headers.push('Connection', 'close');
    if (answer.stream !== undefined) {
      this.#writeStream(socket, response, answer.status, headers, answer.stream);
      return;
    }
    if (answer.pieces !== undefined) {
      response.writeHead(answer.status, headers);
      pipeline(Readable.from(answer.pieces), response, (error) => {
        if (error && !response.destroyed) this.#logger.error('An answer was cut off', { error });
      });
      return;
    }
    const { body } = answer;
    if (
      endpoint !== null &&
      body !== null &&
      body.bytes.length > 0 &&
      acceptsGzip(incoming.headers['accept-encoding'])
    ) {
      headers.push('Content-Encoding', 'gzip');
      const gzipped = body.gzipped();
      if (gzipped instanceof Promise) {
        gzipped.then(
          (bytes) => this.#post(exchange, answer.status, headers, bytes),
          (error: unknown) => {
            this.#logger.error('An answer could not be compressed', { error });
            response.destroy();
          },
        );
      } else this.#post(exchange, answer.status, headers, gzipped);
      return;
    }
    this.#post(exchange, answer.status, headers, body?.bytes ?? null);
  }

  /** What every answer of a registered path carries; what the handler says wins. */
  #addCommon(headers: string[], answer: Answer): void {
    for (const [name, value] of this.#common) {
      if (!answer.headers.some(([own]) => own === name)) headers.push(name, value);
    }
  }

  /**
   * Answers of one turn of the event loop are written together at its end: the requests are read without a system call
   * between them, and their clients are woken at once instead of one by one.
   */
  #post(exchange: Exchange, status: number, headers: string[], bytes: Uint8Array | null): void {
    this.#outbox.push(() => writeWhole(exchange, status, headers, bytes));
    if (this.#outbox.length === 1) setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    const ready = this.#outbox;
    this.#outbox = [];
    for (const write of ready) write();
  };

  #writeStream(
    socket: Socket,
    response: ServerResponse,
    status: number,
    headers: string[],
    stream: (sink: Sink) => () => void,
  ): void {
    response.writeHead(status, headers);
    response.flushHeaders();
    const leave = stream({
      write: (line) => {
        if (response.destroyed || response.writableLength > streamBacklogBytesMax) return false;
        response.write(line);
        return true;
      },
    });
    let streaming = true;
    const end = (): void => {
      if (!streaming) return;
      streaming = false;
      leave();
      response.destroy();
    };
    const forget = this.#onGone(socket, end);
    response.once('close', () => {
      forget();
      end();
    });
  }
}

function writeWhole(
  { incoming, response }: Exchange,
  status: number,
  headers: string[],
  bytes: Uint8Array | null,
): void {
  if (response.destroyed) return;
  headers.push('Content-Length', String(bytes?.length ?? 0));
  response.writeHead(status, headers);
  if (bytes === null || incoming.method === 'HEAD') response.end();
  else response.end(bytes);
}

/** What is said of a request that cannot be read, by Node's name of the reason. */
const unreadableStatus: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Names with every word capitalised, as Go writes them. */
function canonicalName(name: string): string {
  return name
    .split('-')
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join('-');
}

/** A token (RFC 9110 §5.6.2): others are left out, as the peer does; Node.js would end the process over them. */
const headerName = /^[\w!#$%&'*+.^`|~-]+$/;
/** Headers that say where an answer ends: a value of somebody else's would cut it. */
const framingHeaders: readonly string[] = ['Content-Length', 'Transfer-Encoding'];

function commonHeaders(options: HttpOptions): readonly Header[] {
  return [
    ['Vary', 'Accept-Encoding'],
    ...Object.entries(options.responseHeaders)
      .map(([name, value]): Header => [canonicalName(name), headerValue(value)])
      .filter(([name]) => headerName.test(name) && !framingHeaders.includes(name)),
    ...(options.translateWanAddrs ? [['X-Consul-Translate-Addresses', 'true'] as const] : []),
  ];
}

function blockListOf(ranges: readonly string[]): BlockList | null {
  if (ranges.length === 0) return null;
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits = ''] = range.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    list.addSubnet(address, bits === '' ? (family === 'ipv6' ? 128 : 32) : Number(bits), family);
  }
  return list;
}

/** Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the blank. */
function hasUnprintable(path: ByteString): boolean {
  if (/^[\u0020-\u007e]*$/.test(path)) return false;
  return /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(byteStringToUtf8(path));
}

function redirect(method: string, path: ByteString, search: string): Answer {
  const location = encodePath(path) + (search === '' ? '' : `?${search}`);
  const headers: Header[] = [['Location', location]];
  if (method !== 'GET' && method !== 'HEAD') return empty(301, headers);
  const escaped = location
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&#34;')
    .replaceAll("'", '&#39;');
  headers.push(['Content-Type', 'text/html; charset=utf-8']);
  return { status: 301, headers, body: new Body(`<a href="${escaped}">Moved Permanently</a>.\n\n`) };
}

function allowHeader(endpoint: Endpoint): Header {
  return ['Allow', ['OPTIONS', ...Object.keys(endpoint.methods)].join(',')];
}

function notAllowed(endpoint: Endpoint, method: string): Answer {
  return text(405, `method ${method} not allowed`, [allowHeader(endpoint)]);
}

function refuseNamespace(request: ApiRequest): void {
  const feature = 'Namespaces are a Consul Enterprise feature';
  if (request.header('x-consul-namespace') !== '') {
    throw badRequest(`Invalid header: "X-Consul-Namespace" - ${feature}`);
  }
  if (request.query.get('ns') !== '') throw badRequest(`Invalid query parameter: "ns" - ${feature}`);
}

/** `gzip` among the encodings, and not refused by `q=0`. */
function acceptsGzip(header: string | string[] | undefined): boolean {
  if (typeof header !== 'string' || !header.includes('gzip')) return false;
  return header.split(',').some((coding) => {
    const [name, ...parameters] = coding.split(';').map((part) => part.trim());
    return name === 'gzip' && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
  });
}

const metricNames = new WeakMap<Endpoint, Map<string, readonly string[]>>();

/** `http.GET.v1.kv._`: what varies in a path is `_` (reference/agent.md §6). */
function metricName(method: string, endpoint: Endpoint): readonly string[] {
  let byMethod = metricNames.get(endpoint);
  if (byMethod === undefined) metricNames.set(endpoint, (byMethod = new Map<string, readonly string[]>()));
  let name = byMethod.get(method);
  if (name === undefined) {
    const parts = endpoint.pattern.split('/').slice(1);
    byMethod.set(method, (name = ['http', method, ...parts.map((part) => part || '_')]));
  }
  return name;
}

/** Tokens do not belong into the log. */
function hideTokens(url: string): string {
  return url.replaceAll(/([?&;]token=)[^&;]*/g, '$1<hidden>');
}

function fromOf(socket: Socket): string {
  return socket.remoteAddress === undefined ? '' : `${socket.remoteAddress}:${socket.remotePort ?? 0}`;
}
