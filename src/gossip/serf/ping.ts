/** What rides on every ack: where the sender stands in the network (reference/gossip.md §5.13). */
import { decodeShape, encodeShape, shapes } from '../../codec/index.ts';
import type { Coordinate } from '../../model/index.ts';
import { SerfError } from './events.ts';
import { withType } from './messages.ts';

const pingVersion = 1;
const coordinate = shapes.struct({
  Vec: shapes.fullList(shapes.float64),
  Error: shapes.float64,
  Adjustment: shapes.float64,
  Height: shapes.float64,
});

export function encodePing(own: Coordinate): Uint8Array {
  return withType(pingVersion, encodeShape(coordinate, own));
}

/** null when the sender keeps its place to itself. @throws SerfError, MsgpackError */
export function decodePing(payload: Uint8Array): Coordinate | null {
  if (payload.length === 0) return null;
  if (payload[0] !== pingVersion) throw new SerfError(`unsupported ping version: ${payload[0]}`);
  return decodeShape(coordinate, payload.subarray(1));
}
