/** Waiting between tries, deadlines for requests, and a bound on how many run at once (R12, R14). */
import type { Clock, Random } from '../ports/index.ts';

/** Exponential waiting with jitter: each wait is between half of and the whole current step. */
export class Backoff {
  readonly #random: Random;
  readonly #firstMs: number;
  readonly #maxMs: number;
  #stepMs: number;

  constructor(random: Random, firstMs: number, maxMs: number) {
    this.#random = random;
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#stepMs = firstMs;
  }

  /** How long to wait before the next try, ms. */
  next(): number {
    const step = this.#stepMs;
    this.#stepMs = Math.min(step * 2, this.#maxMs);
    return step * (0.5 + this.#random.next() / 2);
  }

  reset(): void {
    this.#stepMs = this.#firstMs;
  }
}

/**
 * Runs a request with a deadline; the request is aborted and the promise rejects when the time is over, even if the
 * request does not listen.
 */
export function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  what: string,
  signal: AbortSignal,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const own = new AbortController();
    const abort = (reason: Error): void => {
      own.abort(reason);
      settle();
      reject(reason);
    };
    const onAbort = (): void => abort(signal.reason as Error);
    const timer = clock.after(timeoutMs, () => abort(new Error(`${what} did not answer within ${timeoutMs / 1000} s`)));
    const settle = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    request(own.signal).then(
      (value) => {
        settle();
        resolve(value);
      },
      (error: unknown) => {
        settle();
        reject(error);
      },
    );
  });
}

/** Lets at most `max` tasks run; events pass before the background's full reconciliation. */
export class Limiter {
  readonly #max: number;
  #running = 0;
  readonly #urgent: (() => void)[] = [];
  readonly #background: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Runs at once when there is room. */
  async run(urgent: boolean, task: () => Promise<void>): Promise<void> {
    if (this.#running >= this.#max) {
      await new Promise<void>((resolve) => (urgent ? this.#urgent : this.#background).push(resolve));
    } else {
      this.#running++;
    }
    try {
      await task();
    } finally {
      const next = this.#urgent.shift() ?? this.#background.shift();
      // The place passes on; otherwise it becomes free.
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
