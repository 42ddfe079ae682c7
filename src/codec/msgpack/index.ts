/** The msgpack of the peer: Go's net/rpc, gossip, Raft and snapshots all speak it. */
export { MsgpackError, MsgpackTruncated } from './error.ts';
export { goZeroTime } from './go-time.ts';
export { MsgpackReader, type MsgpackType } from './reader.ts';
export { converted, empty, nil, opt, type OptionalShape, record, type RecordFields, text } from './record.ts';
export {
  decodeShape,
  encodeShape,
  type Fields,
  type Shape,
  type ShapeInput,
  type ShapeOf,
  type StructShape,
} from './shape.ts';
/** The shapes themselves, under one name because theirs are short: `shapes.struct({ Node: shapes.str })`. */
export * as shapes from './shape.ts';
export { MsgpackStream } from './stream.ts';
export { decodeMsgpack, encodeMsgpack, type MsgpackValue } from './value.ts';
export { MsgpackWriter } from './writer.ts';
