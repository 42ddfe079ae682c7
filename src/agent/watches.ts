/**
 * The `watches` of the configuration: each is asked of this agent's own API, as the reference agent does, so that a
 * handler gets the very JSON it would get from `portolan watch`; on a change a program runs, or a URL is called
 * (reference/agent.md §2.3).
 */
import {
  AgentClient,
  type ClientOptions,
  type ClientQuery,
  followWatch,
  type WatchPlan,
  watchPlan,
} from '../client/index.ts';
import type { WatchDefinition, WatchHandler } from '../config/index.ts';
import type { HttpListener } from '../http/index.ts';
import { hostPort } from '../lib/index.ts';
import type { Clock, Logger, ProcessRunner } from '../ports/index.ts';

/** Output of a handler that is kept for the log, bytes; as the reference agent. */
const outputBytesMax = 4096;
/** A handler may take its time, and the next change waits for it; one that is still there after a day hangs, ms. */
const scriptTimeoutMs = 24 * 3600 * 1000;

/** How to reach this agent's API. */
export type WatchEndpoint = Pick<ClientOptions, 'scheme' | 'address' | 'unix'> & Partial<Pick<ClientOptions, 'tls'>>;

export interface WatchesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly processRunner: ProcessRunner;
  /** Where this agent's API is; undefined when it has none. */
  readonly endpoint: () => WatchEndpoint | undefined;
  /** The program that reads the deprecated `handler` texts. */
  readonly shell: string;
}

export class Watches {
  readonly #options: WatchesOptions;
  #stop = new AbortController();

  constructor(options: WatchesOptions) {
    this.#options = options;
  }

  /** Ends the watches there are and begins these. */
  replace(definitions: readonly WatchDefinition[]): void {
    this.stop();
    this.#stop = new AbortController();
    if (definitions.length === 0) return;
    const { logger } = this.#options;
    const endpoint = this.#options.endpoint();
    if (endpoint === undefined) {
      logger.error('watch plans require an HTTP or HTTPS endpoint: set ports.http or addresses.http');
      return;
    }
    for (const definition of definitions) {
      let plan: WatchPlan;
      try {
        plan = watchPlan(definition);
      } catch (error) {
        logger.error('Failed to parse watch', { type: definition.type, error });
        continue;
      }
      void this.#follow(definition, plan, endpoint, this.#stop.signal);
    }
  }

  /** Ends all of them; a handler that runs is killed. */
  stop(): void {
    this.#stop.abort();
  }

  async #follow(
    { type, token, datacenter, stale, handler }: WatchDefinition,
    plan: WatchPlan,
    endpoint: WatchEndpoint,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, logger } = this.#options;
    const agent = new AgentClient(
      { ...clientDefaults, ...endpoint, token, datacenter: datacenter || undefined },
      clock,
    );
    await followWatch(
      agent,
      clock,
      plan,
      { stale },
      {
        // A handler that fails is the operator's to mend; the watch goes on.
        onChange: (json, index) =>
          this.#handle(handler, json, index, signal).catch((error: unknown) => {
            if (!signal.aborted) logger.error('Failed to run watch handler', { type, error });
          }),
        onError: (error, pauseMs) => logger.error('Watch errored', { type, error, retry: `${pauseMs / 1000}s` }),
      },
      signal,
    );
    agent.close();
  }

  async #handle(handler: WatchHandler, json: string, index: string, signal: AbortSignal): Promise<void> {
    if (handler.kind === 'http') return this.#call(handler, json, index, signal);
    const argv = handler.kind === 'script' ? handler.args : [this.#options.shell, '-c', handler.command];
    const {
      exitCode,
      signal: killedBy,
      output,
      startError,
    } = await this.#options.processRunner.run(argv, {
      timeoutMs: scriptTimeoutMs,
      outputBytesMax,
      env: { CONSUL_INDEX: index },
      input: Buffer.from(`${json}\n`),
      signal,
    });
    this.#options.logger.debug('watch handler output', { watch_handler: argv.join(' '), output: textOf(output) });
    if (startError !== undefined) throw new Error(startError);
    if (exitCode !== 0) throw new Error(killedBy === null ? `exit status ${exitCode}` : `signal: ${killedBy}`);
  }

  async #call(
    { url, method, header, timeoutMs, tlsSkipVerify }: Extract<WatchHandler, { kind: 'http' }>,
    json: string,
    index: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { protocol, host, pathname, searchParams, username, password } = new URL(url);
    const query: ClientQuery = Object.fromEntries([...searchParams.keys()].map((k) => [k, searchParams.getAll(k)]));
    const client = new AgentClient(
      {
        ...clientDefaults,
        scheme: protocol === 'https:' ? 'https' : 'http',
        address: host,
        unix: false,
        ...(username !== '' && { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` }),
        tls: { ...clientDefaults.tls, verify: !tlsSkipVerify },
      },
      this.#options.clock,
    );
    try {
      const { status, body } = await client.request(method, decodeURIComponent(pathname), {
        query,
        headers: {
          'Content-Type': 'application/json',
          'X-Consul-Index': index,
          ...Object.fromEntries(Object.entries(header).map(([name, values]) => [name, values.join(', ')])),
        },
        body: json,
        timeoutMs,
        signal,
      });
      this.#options.logger.debug('http watch handler output', {
        url,
        output: textOf(body.subarray(0, outputBytesMax)),
      });
      if (status < 200 || status > 299) throw new Error(`${method} ${url} answered ${status}`);
    } finally {
      client.close();
    }
  }
}

/** The first of this agent's listeners, the plain ones before those with TLS. */
export function watchEndpoint(listeners: readonly HttpListener[]): WatchEndpoint | undefined {
  const listener = listeners.find(({ tls }) => tls !== true) ?? listeners[0];
  if (listener === undefined) return undefined;
  const scheme = listener.tls === true ? 'https' : 'http';
  // It asks itself: whose certificate that is needs no proof.
  const tls = { ...clientDefaults.tls, verify: false };
  if (listener.kind === 'unix') return { scheme, address: listener.path, unix: true, tls };
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listener.host] ?? listener.host;
  return { scheme, address: hostPort(host, listener.port), unix: false, tls };
}

const clientDefaults = {
  scheme: 'http',
  token: '',
  auth: undefined,
  datacenter: undefined,
  namespace: undefined,
  tls: { ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true },
} as const satisfies Partial<ClientOptions>;

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
