/**
 * Coordinate batch: where nodes stand in the network, many at once. A coordinate of an unknown node, or one that is no
 * point, is passed over (reference/raft.md §6.8); the index moves all the same (§6.2).
 */
import { type Coordinate, coordinateDimensions, type NodeCoordinate } from '../model/index.ts';
import type { Catalog } from './catalog.ts';
import type { IndexRows } from './index-rows.ts';
import { RowTable } from './row-table.ts';
import type { Answer } from './store.ts';
import type { Transaction } from './transaction.ts';

type WatchList = string[] | undefined;

const tableName = 'coordinates';
const nodeWatchKey = (node: string): string => `coordinates-of-node:${node.toLowerCase()}`;
/** NUL stands in no name. */
const keyOf = (node: string, segment: string): string => `${node}\0${segment}`.toLowerCase();

export class CoordinateTable {
  readonly #rows: IndexRows;
  readonly #table: RowTable<NodeCoordinate>;

  constructor(rows: IndexRows) {
    this.#rows = rows;
    this.#table = new RowTable(tableName, rows, ({ Node, Segment }) => keyOf(Node, Segment));
  }

  /** All of them, ordered by node; the same array until one changes. */
  list(watch?: WatchList): Answer<readonly NodeCoordinate[]> {
    watch?.push(this.#table.watchKey);
    return { index: this.#table.index, result: this.#table.list };
  }

  /** A node's, one for each segment. */
  ofNode(node: string, watch?: WatchList): Answer<readonly NodeCoordinate[]> {
    watch?.push(nodeWatchKey(node));
    return { index: this.#table.index, result: this.#table.ofPrefix(keyOf(node, '')) };
  }

  /** A node's coordinate in the one segment that the open source edition has. */
  get(node: string): Coordinate | undefined {
    return this.#table.get(keyOf(node, ''))?.Coord;
  }

  apply(tx: Transaction, batch: readonly NodeCoordinate[], catalog: Catalog): void {
    for (const { Node, Segment, Coord } of batch) {
      if (catalog.node(Node) === undefined || !isPoint(Coord)) continue;
      this.#table.put(tx, Object.freeze({ Node, Segment, Coord: Object.freeze({ ...Coord }) }));
      tx.touch(nodeWatchKey(Node));
    }
    this.#rows.move(tx, tableName);
  }

  /** A row of a snapshot, as it is. */
  restore(tx: Transaction, coordinate: NodeCoordinate): void {
    this.#table.put(tx, Object.freeze(coordinate));
  }

  /** For a node that goes. */
  deleteOfNode(tx: Transaction, node: string): void {
    for (const { Segment } of this.ofNode(node).result) {
      this.#table.remove(tx, keyOf(node, Segment));
      tx.touch(nodeWatchKey(node));
    }
  }
}

/** Whether all parts are numbers: infinity would spoil every distance. */
export function isPoint({ Vec, Error, Adjustment, Height }: Coordinate): boolean {
  return [...Vec, Error, Adjustment, Height].every(Number.isFinite);
}

/** Whether the coordinate is of the space that all others are of. */
export function isOfOurSpace({ Vec }: Coordinate): boolean {
  return Vec.length === coordinateDimensions;
}

export function applyCoordinates(
  { coordinates, catalog }: { readonly coordinates: CoordinateTable; readonly catalog: Catalog },
  tx: Transaction,
  batch: readonly NodeCoordinate[],
): null {
  coordinates.apply(tx, batch, catalog);
  return null;
}
