// An HTTP server on loopback before a caller and an agent made of what a test gives; a client that shows raw headers.
import { request } from 'node:http';
import { createConnection } from 'node:net';
import { gunzipSync } from 'node:zlib';
import {
  type AgentDoor,
  createHttpServer,
  type HttpListener,
  type HttpOptions,
  httpOptionDefaults,
  type HttpServer,
} from '../../../src/http/index.ts';
import type { CallName, CallRequest, HealthCheck, NamedCaller, NodeService } from '../../../src/model/index.ts';
import type { Logger, Metrics } from '../../../src/ports/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { uncached } from '../../helpers/uncached.ts';

export interface Reply {
  readonly status: number;
  /** As spelled on the wire. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly bytes: Buffer;
}

export interface Call {
  readonly method: CallName;
  readonly request: CallRequest<CallName>;
  readonly signal: AbortSignal | undefined;
}

export interface Harness {
  readonly server: HttpServer;
  readonly port: number;
  readonly clock: VirtualClock;
  /** Calls made so far. */
  readonly calls: Call[];
  readonly services: Map<string, NodeService>;
  readonly checks: Map<string, HealthCheck>;
  /** What was asked of the agent: name of the method and arguments. */
  readonly asked: unknown[][];
  /** Tells the server that local services or checks have changed. */
  readonly changed: () => void;
  readonly send: (method: string, path: string, options?: SendOptions) => Promise<Reply>;
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Reply>;
  readonly put: (path: string, body?: unknown) => Promise<Reply>;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export type FakeReply = (request: never, signal?: AbortSignal) => unknown;

const silent: Logger = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  named: () => silent,
};
const noMetrics: Metrics = { count: () => undefined, gauge: () => undefined, sample: () => undefined };

const open: { readonly server: HttpServer; readonly clock: VirtualClock }[] = [];

/** Longer than a server waits for its last answers when it stops (ms). */
const stopMs = 10_000;

/** Stops everything that was started; for `afterEach`. */
export async function stopAll(): Promise<void> {
  await Promise.all(
    open.splice(0).map(async ({ server, clock }) => {
      const stopped = server.stop();
      await clock.advance(stopMs);
      await stopped;
    }),
  );
}

export async function start(
  replies: Partial<Record<CallName, FakeReply>> = {},
  options: Partial<HttpOptions> = {},
  agentParts: Partial<AgentDoor> = {},
  listeners: readonly HttpListener[] = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
): Promise<Harness> {
  const calls: Call[] = [];
  const caller = {
    call: async (method: CallName, request: CallRequest<CallName>, signal?: AbortSignal) => {
      calls.push({ method, request, signal });
      const reply = replies[method];
      if (reply === undefined) throw new Error(`no reply for ${method}`);
      return reply(request as never, signal);
    },
  } as unknown as NamedCaller;
  const services = new Map<string, NodeService>();
  const checks = new Map<string, HealthCheck>();
  const asked: unknown[][] = [];
  const changeListeners = new Set<() => void>();
  const note =
    (name: string) =>
    async (...args: unknown[]): Promise<void> => {
      asked.push([name, ...args]);
    };
  const agent = {
    nodeName: 'n1',
    datacenter: 'dc1',
    services: () => services,
    checks: () => checks,
    onLocalChange: (callback: () => void) => {
      changeListeners.add(callback);
      return () => changeListeners.delete(callback);
    },
    registerService: note('registerService'),
    deregisterService: note('deregisterService'),
    registerCheck: note('registerCheck'),
    deregisterCheck: note('deregisterCheck'),
    updateTtlCheck: note('updateTtlCheck'),
    setServiceMaintenance: note('setServiceMaintenance'),
    setNodeMaintenance: note('setNodeMaintenance'),
    join: note('join'),
    forceLeave: note('forceLeave'),
    leave: note('leave'),
    reload: note('reload'),
    ...agentParts,
  } as unknown as AgentDoor;
  const clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  const server = createHttpServer({
    caller,
    cache: uncached(caller),
    agent,
    options: { ...httpOptionDefaults, datacenter: 'dc1', ...options },
    clock,
    random: new SeededRandom(1),
    logger: silent,
    metrics: noMetrics,
  });
  open.push({ server, clock });
  const [address = ''] = await server.start(listeners);
  const port = Number(address.split(':')[1]);
  const sendTo = (method: string, path: string, options: SendOptions = {}): Promise<Reply> =>
    send({ host: '127.0.0.1', port }, method, path, options);
  return {
    server,
    port,
    clock,
    calls,
    services,
    checks,
    asked,
    changed: () => changeListeners.forEach((callback) => callback()),
    send: sendTo,
    get: (path, headers = {}) => sendTo('GET', path, { headers }),
    put: (path, body) =>
      sendTo('PUT', path, {
        body: body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body),
      }),
  };
}

/** One request on a connection of its own. */
export function send(
  to: { readonly host: string; readonly port: number } | { readonly socketPath: string },
  method: string,
  path: string,
  { headers = {}, body = '', signal }: SendOptions = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { ...to, method, path, headers, agent: false, ...(signal === undefined ? {} : { signal }) },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const raw = Buffer.concat(chunks);
          const bytes = response.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
          const names = response.rawHeaders.filter((_, index) => index % 2 === 0);
          const values = response.rawHeaders.filter((_, index) => index % 2 === 1);
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(names.map((name, index) => [name, values[index]!])),
            body: bytes.toString(),
            bytes,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Sends bytes as they are and gives back all that comes until the connection closes. */
export function sendBytes(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write(text));
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (received += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}

/** Sends bytes and gives back what came until `part` was in it; then hangs up. */
export function receiveUntil(port: number, text: string, part: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write(text));
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (received.includes(part)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}

export const meta = { Index: 7, LastContact: 0, KnownLeader: true };
