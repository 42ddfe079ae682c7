/**
 * The engine's event stream, kept alive (reference/container-environments.md §1, §3): subscribe from the last seen
 * event on, say when the subscription stands (then the containers are listed), hand on events, and begin again with
 * growing waits whenever it ends. Events only say which container to look at.
 */
import type { Clock, DockerEngine, EngineEvent, Random } from '../ports/index.ts';
import { sleep } from '../ports/index.ts';
import { Backoff } from './retry.ts';

/** Waits between tries to reach the engine, ms (container-environments.md §1). */
const reconnectFirstMs = 100;
const reconnectMaxMs = 30_000;
/** A stream that lived so long was a good one, and the next try comes soon, ms; others may end at once for ever. */
const stableMs = 5_000;

/** Everything that can change what is registered. `destroy` is `remove` on Podman (R39). */
const watchedEvents: readonly string[] = [
  'start',
  'restart',
  'die',
  'stop',
  'kill',
  'pause',
  'unpause',
  'rename',
  'oom',
  'destroy',
  'remove',
  'update',
  'health_status',
  'connect',
  'disconnect',
];

export interface EngineFeedHandlers {
  /** Before each subscription; a rejection counts as a failed try. */
  prepare(signal: AbortSignal): Promise<void>;
  opened(): void;
  lost(error: Error): void;
  event(event: EngineEvent): void;
}

export class EngineFeed {
  readonly #engine: DockerEngine;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  #cursor: string | undefined;
  #stream: AbortController | undefined;

  constructor(engine: DockerEngine, clock: Clock, random: Random) {
    this.#engine = engine;
    this.#clock = clock;
    this.#backoff = new Backoff(random, reconnectFirstMs, reconnectMaxMs);
  }

  /** Runs until `signal` aborts. */
  async follow(handlers: EngineFeedHandlers, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const stream = new AbortController();
      this.#stream = stream;
      const onAbort = (): void => stream.abort(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      let openedMs: number | undefined;
      try {
        await handlers.prepare(stream.signal);
        await this.#engine.events(
          {
            types: ['container', 'network'],
            events: watchedEvents,
            ...(this.#cursor === undefined ? {} : { since: this.#cursor }),
          },
          {
            onOpen: () => {
              openedMs = this.#clock.monotonicMs();
              handlers.opened();
            },
            onEvent: (event) => {
              this.#cursor = after(event.timeNano) ?? this.#cursor;
              handlers.event(event);
            },
          },
          stream.signal,
        );
        handlers.lost(new Error('the event stream ended'));
      } catch (error) {
        if (signal.aborted) return;
        handlers.lost(error as Error);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
      if (openedMs !== undefined && this.#clock.monotonicMs() - openedMs >= stableMs) this.#backoff.reset();
      await sleep(this.#clock, this.#backoff.next(), signal).catch(() => undefined);
    }
  }

  /** Breaks the stream, which looks alive but is not, so that it is opened anew. */
  restart(reason: Error): void {
    this.#stream?.abort(reason);
  }
}

/** The cursor just behind an event, `seconds.nanoseconds`: `since` is inclusive (§3). */
function after(timeNano: string): string | undefined {
  if (!/^\d{1,19}$/.test(timeNano)) return undefined;
  const next = (BigInt(timeNano) + 1n).toString().padStart(10, '0');
  return `${next.slice(0, -9)}.${next.slice(-9)}`;
}
