/**
 * Blocking queries. A reader gives the index of the answer it has; the next answer waits until its own index is greater
 * or the time is over. It never comes early with the same index, or every client would spin
 * (reference/server-rpc.md §3.4).
 *
 * Evaluation and the watch that follows it run in one turn of the event loop, so no write can fall between them. A
 * query that does not block takes no timer and no extra turn.
 */
import { CallError, type QueryMeta, type QueryOptions } from '../model/index.ts';
import type { Clock, Metrics, Random } from '../ports/index.ts';
import type { StateStore } from '../state/index.ts';

/** Longest wait when the request gives none, ms (`default_query_time`). */
export const defaultQueryTimeMsDefault = 300_000;
/** Longest wait a request may ask for, ms (`max_query_time`). */
export const maxQueryTimeMsDefault = 600_000;
/** A wait is prolonged by up to this part of itself, so that clients started together do not come back together. */
const jitterFraction = 1 / 16;
/** Queries that wait at one time; one costs about a kilobyte. Further ones are refused. */
export const blockingQueriesMax = 100_000;

const nsPerMs = 1_000_000;
const blockingGauge: readonly string[] = ['rpc', 'queries_blocking'];
const queryCounter: readonly string[] = ['rpc', 'query'];

export class BlockingQueries {
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #metrics: Metrics;
  readonly #defaultQueryTimeMs: number;
  readonly #maxQueryTimeMs: number;
  /** How to end each waiting query. */
  readonly #waiting = new Set<(reason: Error) => void>();

  constructor(options: {
    readonly store: StateStore;
    readonly clock: Clock;
    readonly random: Random;
    readonly metrics: Metrics;
    readonly defaultQueryTimeMs: number;
    readonly maxQueryTimeMs: number;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#metrics = options.metrics;
    this.#defaultQueryTimeMs = options.defaultQueryTimeMs;
    this.#maxQueryTimeMs = options.maxQueryTimeMs;
  }

  /** How many queries wait at present. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Answers with `evaluate`'s reply, at once or when its Index exceeds the request's.
   * @param evaluate adds what the reply depends on to the list it is given.
   * @throws what `evaluate` throws, the signal's reason, or CallError when the server stops or is full.
   */
  run<R extends QueryMeta>(
    options: QueryOptions,
    evaluate: (watch?: string[]) => R,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    this.#metrics.count(queryCounter);
    const minIndex = options.MinQueryIndex ?? 0;
    if (minIndex <= 0) return Promise.resolve(evaluate());
    const watch: string[] = [];
    const reply = evaluate(watch);
    if (reply.Index > minIndex) return Promise.resolve(reply);
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#waiting.size >= blockingQueriesMax) {
      return Promise.reject(
        new CallError(`too many blocking queries: ${blockingQueriesMax} wait already; ask again without an index`),
      );
    }
    return this.#wait(minIndex, this.#waitMs(options.MaxQueryTime ?? 0), watch, evaluate, signal);
  }

  /** Ends every waiting query with `reason`. */
  stop(reason: Error): void {
    for (const end of this.#waiting) end(reason);
  }

  #wait<R extends QueryMeta>(
    minIndex: number,
    waitMs: number,
    firstWatch: readonly string[],
    evaluate: (watch?: string[]) => R,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        cancelWatch();
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(end);
        this.#metrics.gauge(blockingGauge, this.#waiting.size);
        outcome();
      };
      const { replacements } = this.#store;
      const end = (reason: Error): void => settle(() => reject(reason));
      const onAbort = (): void => end(signal!.reason as Error);
      const onWake = (): void => {
        try {
          const watch: string[] = [];
          const reply = evaluate(watch);
          // After a restore the old index says nothing, so whoever waited by it hears at once.
          const isNews = reply.Index > minIndex || this.#store.replacements !== replacements;
          if (isNews) settle(() => resolve(reply));
          else cancelWatch = this.#store.watch(watch, onWake);
        } catch (error) {
          end(error as Error);
        }
      };
      const onTimeout = (): void => {
        try {
          const reply = evaluate();
          settle(() => resolve(reply));
        } catch (error) {
          end(error as Error);
        }
      };
      let cancelWatch = this.#store.watch(firstWatch, onWake);
      const timer = this.#clock.after(waitMs, onTimeout);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(end);
      this.#metrics.gauge(blockingGauge, this.#waiting.size);
    });
  }

  #waitMs(maxQueryTimeNs: number): number {
    const wantedMs = maxQueryTimeNs <= 0 ? this.#defaultQueryTimeMs : maxQueryTimeNs / nsPerMs;
    const waitMs = Math.min(wantedMs, this.#maxQueryTimeMs);
    return waitMs + this.#random.next() * waitMs * jitterFraction;
  }
}
