/**
 * Tells the servers where this node stands in the network, again and again: the more members, the more seldom, so that
 * all together stay below a fixed rate. A report that fails is only logged; the next one comes anyway
 * (reference/server-rpc.md §6.4).
 */
import type { Coordinate, NamedCaller } from '../model/index.ts';
import type { Clock, Logger, Random, Timer } from '../ports/index.ts';

/** Shortest time between two reports of a node, ms. */
export const coordinateIntervalMinMs = 15_000;
/** Reports of all nodes together a second. */
export const coordinateReportsPerSecond = 64;

export class CoordinateReports {
  readonly #caller: NamedCaller;
  readonly #datacenter: string;
  readonly #nodeName: string;
  readonly #token: () => string;
  readonly #coordinate: () => Coordinate;
  readonly #memberCount: () => number;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  #timer: Timer | undefined;

  constructor(dependencies: {
    readonly caller: NamedCaller;
    readonly datacenter: string;
    readonly nodeName: string;
    /** The agent's own token. */
    readonly token: () => string;
    readonly coordinate: () => Coordinate;
    readonly memberCount: () => number;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
  }) {
    this.#caller = dependencies.caller;
    this.#datacenter = dependencies.datacenter;
    this.#nodeName = dependencies.nodeName;
    this.#token = dependencies.token;
    this.#coordinate = dependencies.coordinate;
    this.#memberCount = dependencies.memberCount;
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#logger = dependencies.logger;
  }

  /** The first report comes after a whole interval. */
  start(): void {
    const intervalMs = Math.max(coordinateIntervalMinMs, (this.#memberCount() / coordinateReportsPerSecond) * 1000);
    this.#timer = this.#clock.after(intervalMs * (1 + this.#random.next()), () => {
      this.start();
      void this.#report();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  async #report(): Promise<void> {
    const token = this.#token();
    try {
      await this.#caller.call('Coordinate.Update', {
        Datacenter: this.#datacenter,
        Node: this.#nodeName,
        Segment: '',
        Coord: this.#coordinate(),
        ...(token === '' ? {} : { Token: token }),
      });
    } catch (error) {
      this.#logger.error('Coordinate update error', { error });
    }
  }
}
