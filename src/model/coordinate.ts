/**
 * Network coordinates: where a node stands in a space whose distances are round trip times. They are learnt by gossip
 * and sent to the servers, who sort by them (reference/server-rpc.md §4.7).
 */
import type { DCSpecificRequest, NodeSpecificRequest, QueryMeta, QueryOptions, WriteRequest } from './query.ts';

/** Seconds, all of them. */
export interface Coordinate {
  /** {@link coordinateDimensions} numbers. */
  readonly Vec: readonly number[];
  /** How sure the node is: 0 is perfect. */
  readonly Error: number;
  /** May be negative. */
  readonly Adjustment: number;
  /** The way from the node to the space. */
  readonly Height: number;
}

export const coordinateDimensions = 8;

/** Where everybody begins; what serf says of a coordinate that has not been measured. */
export const unmeasuredCoordinate: Coordinate = Object.freeze({
  Vec: Object.freeze(Array.from({ length: coordinateDimensions }, () => 0)),
  Error: 1.5,
  Adjustment: 0,
  Height: 1e-5,
});

/** Estimated round trip time, seconds. */
export function coordinateDistance(a: Coordinate, b: Coordinate): number {
  let square = 0;
  for (let i = 0; i < a.Vec.length; i++) square += (a.Vec[i]! - (b.Vec[i] ?? 0)) ** 2;
  const raw = Math.sqrt(square) + a.Height + b.Height;
  const adjusted = raw + a.Adjustment + b.Adjustment;
  return adjusted > 0 ? adjusted : raw;
}

export interface NodeCoordinate {
  readonly Node: string;
  /** Network segment; "" in the open source edition. */
  readonly Segment: string;
  readonly Coord: Coordinate;
}

export interface CoordinateUpdateRequest extends WriteRequest {
  readonly Node: string;
  readonly Segment?: string;
  readonly Coord: Coordinate | null;
}

/** Where the servers of a datacenter stand among all datacenters. */
export interface DatacenterMap {
  readonly Datacenter: string;
  readonly AreaID: string;
  readonly Coordinates: readonly NodeCoordinate[];
}

/** Request and reply of the calls about coordinates. */
export interface CoordinateCalls {
  /** Taken down to be written later, with others; an unknown node's is dropped then. */
  'Coordinate.Update': { request: CoordinateUpdateRequest; reply: null };
  'Coordinate.ListDatacenters': { request: QueryOptions; reply: readonly DatacenterMap[] };
  'Coordinate.ListNodes': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly Coordinates: readonly NodeCoordinate[] };
  };
  'Coordinate.Node': {
    request: NodeSpecificRequest;
    reply: QueryMeta & { readonly Coordinates: readonly NodeCoordinate[] };
  };
}
