/**
 * Sorting by network distance. Where there are no coordinates the order stays as it is, and so does the list itself
 * (reference/http-api.md §4.4).
 */
import type { QuerySource } from '../model/index.ts';

/**
 * Distances as seen from a node: another node's name → seconds, undefined when that is not known. undefined when the
 * node itself has no coordinate.
 */
export type DistancesFrom = (node: string) => ((node: string) => number | undefined) | undefined;

/** No coordinates at all. */
export const noDistances: DistancesFrom = () => undefined;

/** Nearest first, stable; nodes of unknown distance last. */
export function sortNear<T>(
  rows: readonly T[],
  nodeOf: (row: T) => string,
  source: QuerySource | undefined,
  datacenter: string,
  distancesFrom: DistancesFrom,
): readonly T[] {
  if (!source?.Node || source.Datacenter !== datacenter) return rows;
  const distanceTo = distancesFrom(source.Node);
  if (distanceTo === undefined) return rows;
  return rows
    .map((row) => ({ row, distance: distanceTo(nodeOf(row)) ?? Number.POSITIVE_INFINITY }))
    .toSorted((a, b) => (a.distance === b.distance ? 0 : a.distance - b.distance))
    .map(({ row }) => row);
}
