/**
 * The Docker Engine API over dockerode, which is loaded with the first request (an agent without Docker never pays for
 * it). Every request has a time limit and ends with its signal; every failure is an EngineError that says what to do.
 * Each request takes its own connection: a daemon that was restarted never meets a stale one.
 *
 * Events and exec noise: a running check emits three events, and the engine remembers the last 256 of all kinds, so
 * `since` alone loses a `die` behind 86 checks. A filter does not help, it is applied to what the buffer still holds.
 * Therefore the recipe of container-environments.md §3 (subscribe, and once `onOpen` was called list and compare) is
 * the only one that loses nothing; test/engine/engine-port.test.ts proves it with 400 execs during a break.
 */
import { statSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { EngineError } from '../ports/index.ts';
import type {
  Clock,
  ContainerInspect,
  ContainerSummary,
  DockerEngine,
  EngineEvent,
  EngineInfo,
  EngineVersion,
  ExecOptions,
  ExecResult,
  ImageInspect,
  Logger,
  Metrics,
  Random,
} from '../ports/index.ts';
import { DockerExec } from './docker-exec.ts';
import type { EngineEndpoint, EngineTls } from './engine-endpoint.ts';
import { EventLines } from './engine-events.ts';

/** An answer takes at most this long, ms: a loaded engine lists 1,000 containers in a few seconds. */
export const engineRequestTimeoutMs = 30_000;
/** Newest API version this was tested with; an engine's older one is used. */
const apiVersionMax = '1.50';
/** Idle time after which a silent TCP connection is probed, ms: a lost endpoint says nothing by itself. */
const keepAliveIdleMs = 30_000;
/** Connections to the engine at a time; more requests wait for one. */
const connectionsMax = 256;

/** A request in dockerode's terms. */
export interface EngineRequest {
  readonly method: 'GET' | 'POST' | 'HEAD';
  /** A trailing `?` asks for `query` to be added. */
  readonly path: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Statuses that are success. */
  readonly success: readonly number[];
  readonly timeoutMs?: number;
}

/** What {@link DockerExec} needs of the engine. */
export interface EngineTransport {
  request(request: EngineRequest, signal?: AbortSignal): Promise<unknown>;
  /** The response's body as it comes; `signal` ends it. With `upgrade` a raw connection in both directions. */
  stream(request: EngineRequest, signal: AbortSignal, upgrade?: boolean): Promise<IncomingMessage | Duplex>;
}

/** The part of docker-modem (under dockerode) that does the work. */
interface Modem {
  version?: string | undefined;
  dial(options: Readonly<Record<string, unknown>>, callback: (error: unknown, data: unknown) => void): void;
}

export class DockerodeEngine implements DockerEngine, EngineTransport {
  readonly #endpoint: EngineEndpoint;
  readonly #clock: Clock;
  readonly #exec: DockerExec;
  #modem: Promise<Modem> | undefined;

  constructor(options: {
    readonly endpoint: EngineEndpoint;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Where processes of the host are looked for (tests give another folder). Default `/proc`. */
    readonly procPath?: string;
  }) {
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#exec = new DockerExec({ ...options, transport: this });
  }

  get endpoint(): string {
    return this.#endpoint.url;
  }

  version(signal?: AbortSignal): Promise<EngineVersion> {
    return this.#get('/version', signal);
  }

  info(signal?: AbortSignal): Promise<EngineInfo> {
    return this.#get('/info', signal);
  }

  async listContainers(options: { readonly all: boolean }, signal?: AbortSignal): Promise<readonly ContainerSummary[]> {
    return this.#get('/containers/json?', signal, { all: options.all });
  }

  inspectContainer(id: string, signal?: AbortSignal): Promise<ContainerInspect> {
    return this.#get(`/containers/${encodeURIComponent(id)}/json`, signal);
  }

  inspectImage(id: string, signal?: AbortSignal): Promise<ImageInspect> {
    return this.#get(`/images/${encodeURIComponent(id)}/json`, signal);
  }

  exec(containerId: string, options: ExecOptions, signal?: AbortSignal): Promise<ExecResult> {
    return this.#exec.run(containerId, options, signal);
  }

  async events(
    options: { readonly since?: string; readonly types: readonly string[]; readonly events: readonly string[] },
    handlers: { onOpen(): void; onEvent(event: EngineEvent): void },
    signal: AbortSignal,
  ): Promise<void> {
    const filters = {
      ...(options.types.length === 0 ? {} : { type: options.types }),
      ...(options.events.length === 0 ? {} : { event: options.events }),
    };
    const query = {
      ...(options.since === undefined ? {} : { since: options.since }),
      filters: JSON.stringify(filters),
    };
    const stream = (await this.stream(
      { method: 'GET', path: '/events?', query, success: [200] },
      signal,
    )) as IncomingMessage;
    stream.socket.setKeepAlive(true, keepAliveIdleMs);
    handlers.onOpen();
    const lines = new EventLines();
    try {
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        for (const event of lines.push(chunk)) {
          signal.throwIfAborted();
          handlers.onEvent(event);
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      throw this.#explain(error);
    } finally {
      stream.destroy();
    }
  }

  async request(request: EngineRequest, signal?: AbortSignal): Promise<unknown> {
    const { data, release } = await this.#dial(request, signal, false, false);
    release();
    return data;
  }

  async stream(request: EngineRequest, signal: AbortSignal, upgrade = false): Promise<IncomingMessage | Duplex> {
    const { data, release } = await this.#dial(request, signal, true, upgrade);
    const stream = data as IncomingMessage | Duplex;
    stream.once('close', release);
    return stream;
  }

  #get<T>(path: string, signal: AbortSignal | undefined, query: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return this.request({ method: 'GET', path, query, success: [200] }, signal) as Promise<T>;
  }

  async #dial(
    request: EngineRequest,
    signal: AbortSignal | undefined,
    isStream: boolean,
    upgrade: boolean,
  ): Promise<{ data: unknown; release: () => void }> {
    const modem = await abortable(this.#connect(), signal);
    return this.#dialWith(modem, request, signal, isStream, upgrade);
  }

  #dialWith(
    modem: Modem,
    request: EngineRequest,
    signal: AbortSignal | undefined,
    isStream: boolean,
    upgrade: boolean,
  ): Promise<{ data: unknown; release: () => void }> {
    const timeoutMs = request.timeoutMs ?? engineRequestTimeoutMs;
    const cancel = new AbortController();
    const onAbort = (): void => cancel.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const release = (): void => signal?.removeEventListener('abort', onAbort);
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        timer.cancel();
        release();
        reject(signal?.aborted ? (signal.reason as Error) : this.#explain(error));
      };
      const timer = this.#clock.after(timeoutMs, () => {
        const what = `${request.method} ${request.path.split('?')[0]}`;
        const error = new EngineError(
          `the Docker engine at ${this.endpoint} did not answer ${what} within ${timeoutMs / 1000} s; see whether it hangs: docker ps`,
          undefined,
        );
        cancel.abort(error);
        fail(error);
      });
      // dockerode does not report a connection that ends within an answer; the abort does.
      cancel.signal.addEventListener('abort', () => fail(cancel.signal.reason), { once: true });
      modem.dial(
        {
          path: request.path,
          method: request.method,
          abortSignal: cancel.signal,
          isStream,
          ...(upgrade ? { hijack: true, openStdin: true } : {}),
          allowEmpty: request.method === 'POST',
          statusCodes: Object.fromEntries(request.success.map((status) => [status, true])),
          options: { ...request.query, ...request.body },
        },
        (error, data) => {
          if (error) {
            fail(error);
            return;
          }
          timer.cancel();
          resolve({ data, release });
        },
      );
    });
  }

  /** The modem, with the API version agreed; agreed anew after the engine could not be reached. */
  #connect(): Promise<Modem> {
    this.#modem ??= this.#open().catch((error: unknown) => {
      this.#modem = undefined;
      throw error;
    });
    return this.#modem;
  }

  async #open(): Promise<Modem> {
    const { default: Dockerode } = await import('dockerode');
    const endpoint = this.#endpoint;
    // dockerode reads the environment itself; what we decided must win, so undefined is given where it would look.
    const none = { ca: undefined, cert: undefined, key: undefined, timeout: undefined };
    const agentOptions = { maxSockets: connectionsMax };
    const options =
      endpoint.kind === 'unix'
        ? {
            ...none,
            host: undefined,
            socketPath: endpoint.socketPath,
            protocol: 'http',
            agent: new HttpAgent(agentOptions),
          }
        : {
            ...none,
            host: endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host,
            port: endpoint.port,
            pathPrefix: '/',
            ...(endpoint.tls === undefined
              ? { protocol: 'http', agent: new HttpAgent(agentOptions) }
              : { protocol: 'https', agent: tlsAgent(endpoint.tls) }),
          };
    const modem = new Dockerode(options as ConstructorParameters<typeof Dockerode>[0]).modem as unknown as Modem;
    modem.version = undefined;
    const probe = { method: 'GET', path: '/version', success: [200] } as const;
    const { ApiVersion } = (await this.#dialWith(modem, probe, undefined, false, false)).data as EngineVersion;
    modem.version = `v${lowerVersion(ApiVersion ?? apiVersionMax, apiVersionMax)}`;
    return modem;
  }

  /** Any failure as an EngineError that says what to do. */
  #explain(error: unknown): EngineError {
    if (error instanceof EngineError) return error;
    const { statusCode, json, code, message } = error as {
      statusCode?: number;
      json?: { message?: string } | null;
      code?: string;
      message: string;
    };
    if (statusCode !== undefined) {
      return new EngineError((json?.message ?? message).trim(), statusCode, { cause: error });
    }
    this.#modem = undefined;
    return new EngineError(connectionAdvice(this.#endpoint, code, message), undefined, { cause: error });
  }
}

/** Settles as `promise`, or rejects with the signal's reason when that comes first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function tlsAgent({ ca, cert, key, verify }: EngineTls): HttpsAgent {
  return new HttpsAgent({ maxSockets: connectionsMax, ca, cert, key, rejectUnauthorized: verify });
}

/** `1.9` < `1.41`. */
function lowerVersion(a: string, b: string): string {
  const minor = (version: string): number => Number(version.split('.')[1] ?? 0);
  return minor(a) < minor(b) ? a : b;
}

/** What went wrong with the connection, and what to do about it. */
export function connectionAdvice(endpoint: EngineEndpoint, code: string | undefined, message: string): string {
  const { url } = endpoint;
  if (endpoint.kind === 'unix') {
    if (code === 'ENOENT') {
      return `no Docker engine at ${url}: there is no such socket. Start Docker, or mount the socket's directory into this container, or set DOCKER_HOST`;
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return `permission denied at ${url}: run with the socket's group (docker run --group-add ${groupOf(endpoint.socketPath)} …) or as root`;
    }
    if (code === 'ECONNREFUSED') {
      return `the Docker engine at ${url} refuses connections: its daemon does not run, or it made a new socket file after this one was mounted (then restart this container, and mount the directory instead of the file)`;
    }
  } else if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EHOSTUNREACH' || code === 'ETIMEDOUT') {
    return `no Docker engine at ${url}: ${message}. See whether DOCKER_HOST is right and the engine listens there`;
  } else if (
    /certificate|TLS|SSL/i.test(message) ||
    /^(ERR_TLS|ERR_SSL|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|CERT_)/.test(code ?? '')
  ) {
    return `no TLS connection to the Docker engine at ${url}: ${message}. See DOCKER_TLS_VERIFY and the ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH`;
  }
  return `the connection to the Docker engine at ${url} failed: ${message}`;
}

function groupOf(path: string): string {
  try {
    return String(statSync(path).gid);
  } catch {
    return `$(stat -c %g ${path})`;
  }
}
