/**
 * At most so many runs at a time, first come first served: two hundred containers that start together must not become
 * two hundred simultaneous execs (reference/registrator.md R14). Each type of check has its own, so that hanging ones
 * of one type do not starve the others.
 */
export class Limiter {
  readonly #runsMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(runsMax: number) {
    this.#runsMax = runsMax;
  }

  /** Runs `task` when its turn has come. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runsMax) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await task();
    } finally {
      // The place is handed over, so nobody who comes later can take it in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
