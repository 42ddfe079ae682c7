/**
 * Connections to servers, one a server, opened at the first call and closed when idle. Each carries any number of calls
 * at once, a stream for each; a finished stream is kept for the next call (reference/server-rpc.md §1.7). A stream is
 * opened only to be written to at once: a real server stops its whole session for one that stays silent.
 */
import type { Clock, Stream, StreamEvents, Timer } from '../ports/index.ts';
import type { RpcDial, RpcServerAddress } from './dial.ts';
import { RpcError } from './rpc-error.ts';
import { selectors } from './selector.ts';
import { YamuxSession } from './yamux.ts';

/** Streams kept for later calls, of a client agent. */
export const idleStreamsMaxOfClient = 32;
/** The same of a server. */
export const idleStreamsMaxOfServer = 64;
/** A connection without calls is closed after this, of a client agent. */
export const idleConnectionMsOfClient = 127_000;
/** The same of a server. */
export const idleConnectionMsOfServer = 120_000;

export interface RpcPoolOptions {
  readonly clock: Clock;
  readonly dial: RpcDial;
  readonly idleStreamsMax?: number;
  readonly idleConnectionMs?: number;
}

/** A stream that is lent for one call. */
export interface Lease {
  readonly stream: Stream;
  /** Gives it back for the next call: the answer was read to its end and said that all is well. */
  release(): void;
  /** Ends it in order: the answer was an error, after which the peer's clients take another stream. */
  end(): void;
  /** The answer will not come, or was nonsense. */
  destroy(): void;
  /** The connection is lost: no further call shall use it. */
  lose(): void;
}

export class RpcPool {
  readonly #options: RpcPoolOptions;
  readonly #connections = new Map<string, Connection>();
  #closed = false;

  constructor(options: RpcPoolOptions) {
    this.#options = options;
  }

  /** Servers to which a connection is open or being opened. */
  get size(): number {
    return this.#connections.size;
  }

  /**
   * Lends a stream to a server, which is to be written to in the same tick.
   * @throws RpcError of kind `connect` or `stream`.
   */
  async lease(to: RpcServerAddress): Promise<Lease> {
    const connection = this.#connection(to);
    try {
      return await connection.lease();
    } catch (error) {
      // A connection that died in the pool, or while the call waited for a stream, costs no call: one more is opened.
      if (!(error instanceof RpcError && error.kind === 'stream') || this.#closed) throw error;
      connection.retire();
      return this.#connection(to).lease();
    }
  }

  /** Ends the connection to a server, as when it has left. Calls that wait on it fail. */
  forget(to: RpcServerAddress): void {
    this.#connections.get(keyOf(to))?.close();
  }

  /** Ends every connection. */
  close(): void {
    this.#closed = true;
    for (const connection of [...this.#connections.values()]) connection.close();
  }

  #connection(to: RpcServerAddress): Connection {
    if (this.#closed) throw new RpcError('connect', 'rpc error: shutdown');
    const key = keyOf(to);
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const made: Connection = new Connection(to, key, this.#options, () => this.#drop(made));
    this.#connections.set(key, made);
    return made;
  }

  #drop(connection: Connection): void {
    if (this.#connections.get(connection.key) === connection) this.#connections.delete(connection.key);
  }
}

function keyOf(to: RpcServerAddress): string {
  return `${to.name} ${to.address} ${to.port}`;
}

/** One connection and its streams; the first call opens it, the others that come meanwhile wait for it. */
class Connection {
  readonly key: string;
  readonly #options: RpcPoolOptions;
  readonly #idleMax: number;
  readonly #idleMs: number;
  readonly #onGone: () => void;
  readonly #opening: Promise<YamuxSession>;
  readonly #abort = new AbortController();
  #session: YamuxSession | undefined;
  /** Last in, first out: the rest grow old and are closed with the connection. */
  readonly #idle: IdleStream[] = [];
  /** Calls that wait for a stream: each that becomes free or possible wakes one. */
  readonly #waiting: (() => void)[] = [];
  #lent = 0;
  #idleTimer: Timer | undefined;
  #gone = false;

  constructor(to: RpcServerAddress, key: string, options: RpcPoolOptions, onGone: () => void) {
    this.key = key;
    this.#options = options;
    this.#idleMax = options.idleStreamsMax ?? idleStreamsMaxOfClient;
    this.#idleMs = options.idleConnectionMs ?? idleConnectionMsOfClient;
    this.#onGone = onGone;
    this.#opening = this.#open(to);
    // Every caller handles the failure; this keeps it from counting as unhandled when none is left.
    this.#opening.catch(() => {});
  }

  async lease(): Promise<Lease> {
    this.#lent++;
    this.#idleTimer?.cancel();
    let stream: Stream;
    try {
      const session = this.#session ?? (await this.#opening);
      while (this.#idle.length === 0 && session.crowded) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        if (this.#gone) throw new RpcError('stream', 'session shutdown');
      }
      stream = this.#takeIdle() ?? this.#openStream(session);
    } catch (error) {
      this.#returned();
      throw error;
    }
    let lent = true;
    const once = (then: () => void): void => {
      if (!lent) return;
      lent = false;
      then();
      this.#returned();
    };
    return {
      stream,
      release: () => once(() => this.#keep(stream)),
      end: () =>
        once(() => {
          stream.subscribe(ignored);
          stream.end();
        }),
      destroy: () => once(() => stream.destroy()),
      lose: () =>
        once(() => {
          stream.destroy();
          this.#leave();
        }),
    };
  }

  /** Takes no further calls: the next ones get a connection of their own. */
  retire(): void {
    this.#leave();
  }

  close(): void {
    this.#leave();
    this.#abort.abort(new Error('rpc error: shutdown'));
    this.#session?.close();
  }

  async #open(to: RpcServerAddress): Promise<YamuxSession> {
    let stream: Stream;
    try {
      stream = await this.#options.dial(to, selectors.multiplex, this.#abort.signal);
    } catch (error) {
      this.#leave();
      throw new RpcError('connect', error instanceof Error ? error.message : String(error));
    }
    const session = new YamuxSession(stream, {
      clock: this.#options.clock,
      role: 'client',
      onRoom: () => this.#waiting.shift()?.(),
      onClose: () => this.#leave(),
    });
    if (this.#gone) {
      session.close();
      throw new RpcError('connect', 'rpc error: shutdown');
    }
    this.#session = session;
    return session;
  }

  #openStream(session: YamuxSession): Stream {
    try {
      return session.open();
    } catch (error) {
      throw new RpcError('stream', error instanceof Error ? error.message : String(error));
    }
  }

  #takeIdle(): Stream | undefined {
    return this.#idle.pop()?.stream;
  }

  #keep(stream: Stream): void {
    if (this.#idle.length >= this.#idleMax || this.#gone) {
      stream.subscribe(ignored);
      stream.end();
      return;
    }
    const idle: IdleStream = { stream };
    const leave = (): void => {
      const at = this.#idle.indexOf(idle);
      if (at >= 0) this.#idle.splice(at, 1);
    };
    this.#idle.push(idle);
    this.#waiting.shift()?.();
    stream.subscribe({
      // Nothing was asked: whoever speaks now cannot be trusted with the next question.
      onData: () => {
        leave();
        stream.destroy();
      },
      onEnd: () => {
        leave();
        stream.end();
      },
      onDrain: () => {},
      onClose: leave,
    });
  }

  #returned(): void {
    this.#lent--;
    if (this.#lent > 0) return;
    if (this.#gone) {
      this.#session?.close();
      return;
    }
    this.#idleTimer?.cancel();
    this.#idleTimer = this.#options.clock.after(this.#idleMs, () => this.close());
  }

  /** Takes no further calls; those that run go on, and the last one closes it. */
  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#idleTimer?.cancel();
    this.#onGone();
    for (const wake of this.#waiting.splice(0)) wake();
    if (this.#lent === 0) this.#session?.close();
  }
}

interface IdleStream {
  readonly stream: Stream;
}

/** A stream that ends in its own time. */
const ignored: StreamEvents = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} };
