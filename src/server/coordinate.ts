/**
 * `Coordinate.*`: where nodes stand in the network (reference/server-rpc.md §4.7). Nodes report often and nobody waits
 * for it, so the leader collects reports and writes them together, the last one of each node.
 */
import { CallError, coordinateDistance, type NodeCoordinate, unmeasuredCoordinate } from '../model/index.ts';
import type { Clock, Logger, Timer } from '../ports/index.ts';
import { isOfOurSpace, isPoint, type StateStore } from '../state/index.ts';
import type { CommandLog } from './command-log.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';
import type { DistancesFrom } from './near.ts';

/** How long reports are collected, ms. */
export const coordinatePeriodMsDefault = 5_000;
/** Reports in one command. */
export const coordinateBatchSize = 128;
/** Commands in one period; what is more is dropped, and comes again with the nodes' next reports. */
export const coordinateBatchesMax = 5;

/** Collects coordinates and writes them every period. */
export class CoordinateUpdates {
  readonly #log: CommandLog;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #periodMs: number;
  readonly #collected = new Map<string, NodeCoordinate>();
  #timer: Timer | undefined;

  constructor(options: {
    readonly log: CommandLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly periodMs: number;
  }) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#periodMs = options.periodMs;
  }

  add(report: NodeCoordinate): void {
    // One more than is ever written shows that something was dropped.
    if (this.#collected.size <= coordinateBatchSize * coordinateBatchesMax) {
      this.#collected.set(`${report.Node}\0${report.Segment}`.toLowerCase(), report);
    }
    this.#timer ??= this.#clock.after(this.#periodMs, () => void this.#write());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  async #write(): Promise<void> {
    this.#timer = undefined;
    const reports = [...this.#collected.values()];
    this.#collected.clear();
    const written = coordinateBatchSize * coordinateBatchesMax;
    if (reports.length > written) this.#logger.warn('Discarded coordinate updates', { written });
    for (let from = 0; from < Math.min(reports.length, written); from += coordinateBatchSize) {
      const request = reports.slice(from, Math.min(from + coordinateBatchSize, written));
      try {
        await this.#log.propose({ type: 'Coordinate', request });
      } catch (error) {
        this.#logger.warn('Batch update failed', { error });
      }
    }
  }
}

/** Distances by the coordinates in `store`. */
export function storedDistances(store: StateStore): DistancesFrom {
  return (from) => {
    const here = store.coordinates.get(from);
    if (here === undefined) return undefined;
    return (to) => {
      const there = store.coordinates.get(to);
      return there === undefined ? undefined : coordinateDistance(here, there);
    };
  };
}

export function coordinateHandlers(
  endpoint: Endpoint,
  {
    updates,
    nodeName,
    disabled,
  }: {
    readonly updates: CoordinateUpdates;
    readonly nodeName: string;
    /** `disable_coordinates`: reports are accepted and forgotten. */
    readonly disabled: boolean;
  },
): Handlers<'Coordinate.Update' | 'Coordinate.ListDatacenters' | 'Coordinate.ListNodes' | 'Coordinate.Node'> {
  const { store, queries, datacenter } = endpoint;
  // This server has nobody to measure itself against in the WAN pool: it stands where everybody begins.
  const datacenters = [
    {
      Datacenter: datacenter,
      AreaID: 'wan',
      Coordinates: [{ Node: nodeName, Segment: '', Coord: unmeasuredCoordinate }],
    },
  ];
  return {
    // oxlint-disable-next-line require-await -- a refusal must become a rejection, and nothing here waits
    'Coordinate.Update': async (request) => {
      requireDatacenter(endpoint, request);
      const { Node, Segment = '', Coord } = request;
      if (Coord === null || !isPoint(Coord)) throw new CallError('invalid coordinate');
      if (!isOfOurSpace(Coord)) throw new CallError('incompatible coordinate');
      if (!disabled) updates.add({ Node, Segment, Coord });
      return null;
    },
    'Coordinate.ListDatacenters': () => Promise.resolve(datacenters),
    'Coordinate.ListNodes': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.coordinates.list(watch);
          return { ...queryMeta(endpoint, index), Coordinates: result };
        },
        signal,
      );
    },
    'Coordinate.Node': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.coordinates.ofNode(request.Node, watch);
          return { ...queryMeta(endpoint, index), Coordinates: result };
        },
        signal,
      );
    },
  };
}
