/** What every measurement is given. */
export interface Context {
  /** The project's folder. */
  readonly root: string;
  /** The bundle under measurement, a copy of its own that no build replaces meanwhile. */
  readonly bundle: string;
  /** Fewer repetitions: to see whether it works, not to quote. */
  readonly quick: boolean;
  /** Servers that keep their data on disk in the place of `-dev`. */
  readonly durable: boolean;
}
