/**
 * serf's messages: a type byte and a msgpack record, carried by memberlist as user messages or inside an exchange of
 * states (reference/gossip.md §5.1, §5.7-§5.10). Field order here is that of the peers' declarations.
 */
import { encodeShape, MsgpackReader, type Shape, type ShapeOf, shapes } from '../../codec/index.ts';

export const messageType = {
  leave: 0,
  join: 1,
  pushPull: 2,
  userEvent: 3,
  query: 4,
  queryResponse: 5,
  conflictResponse: 6,
  keyRequest: 7,
  keyResponse: 8,
  relay: 9,
} as const;

/** Refused beyond 2^53. */
const lTime = shapes.uint;

export const joinIntent = shapes.struct({ LTime: lTime, Node: shapes.str });
export const leaveIntent = shapes.struct({ LTime: lTime, Node: shapes.str, Prune: shapes.bool });

export const userEvent = shapes.struct({
  LTime: lTime,
  Name: shapes.str,
  Payload: shapes.bytes,
  CC: shapes.bool,
});

const userEventOfTime = shapes.struct({ Name: shapes.str, Payload: shapes.bytes });
const userEventsOfTime = shapes.struct({ LTime: lTime, Events: shapes.fullList(userEventOfTime) });

export const pushPull = shapes.struct({
  LTime: lTime,
  StatusLTimes: shapes.fullMap(lTime),
  LeftMembers: shapes.fullList(shapes.str),
  EventLTime: lTime,
  Events: shapes.fullList(shapes.nullable(userEventsOfTime)),
  QueryLTime: lTime,
});

/** Flags of a query. */
export const queryFlag = { ack: 1, noBroadcast: 2 } as const;
/** Flag of a response: it only says that the query has arrived. */
export const ackFlag = 1;

export const query = shapes.struct({
  LTime: lTime,
  ID: shapes.uint32,
  Addr: shapes.bytes,
  Port: shapes.uint16,
  SourceNode: shapes.str,
  Filters: shapes.list(shapes.bytes),
  Flags: shapes.uint32,
  RelayFactor: shapes.uint8,
  Timeout: shapes.durationNs,
  Name: shapes.str,
  Payload: shapes.bytes,
});
export type QueryMessage = ShapeOf<typeof query>;

/** First byte of a filter, and what follows. */
export const filterType = { nodes: 0, tag: 1 } as const;
export const nodesFilter = shapes.fullList(shapes.str);
export const tagFilter = shapes.struct({ Tag: shapes.str, Expr: shapes.str });

export const queryResponse = shapes.struct({
  LTime: lTime,
  ID: shapes.uint32,
  From: shapes.str,
  Flags: shapes.uint32,
  Payload: shapes.bytes,
});
export type QueryResponseMessage = ShapeOf<typeof queryResponse>;

export const relayHeader = shapes.struct({
  DestAddr: shapes.struct({ IP: shapes.bytes, Port: shapes.uint16, Zone: shapes.str }),
  DestName: shapes.str,
});

/** A member as the answer to a question about conflicting names. */
export const memberRecord = shapes.struct({
  Name: shapes.str,
  Addr: shapes.bytes,
  Port: shapes.uint16,
  Tags: shapes.fullMap(shapes.str),
  Status: shapes.int,
  ProtocolMin: shapes.uint8,
  ProtocolMax: shapes.uint8,
  ProtocolCur: shapes.uint8,
  DelegateMin: shapes.uint8,
  DelegateMax: shapes.uint8,
  DelegateCur: shapes.uint8,
});
/** nil stands for a member that is not known. */
export const conflictResponse = shapes.nullable(memberRecord);

export const keyRequest = shapes.struct({ Key: shapes.bytes });
export const keyResponse = shapes.struct({
  Result: shapes.bool,
  Message: shapes.str,
  Keys: shapes.list(shapes.str),
  PrimaryKey: shapes.str,
});
export type KeyResponse = ShapeOf<typeof keyResponse>;

/** A message: type byte and body. */
export function encodeMessage<In>(type: number, shape: Shape<unknown, In>, value: In): Uint8Array {
  return withType(type, encodeShape(shape, value));
}

/** Puts a type byte before bytes. */
export function withType(type: number, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(1 + body.length);
  message[0] = type;
  message.set(body, 1);
  return message;
}

/** A message wrapped for a member that is to pass it on to `to`. */
export function encodeRelay(
  to: { readonly addressBytes: Uint8Array; readonly port: number; readonly name: string },
  message: Uint8Array,
): Uint8Array {
  const head = encodeMessage(messageType.relay, relayHeader, {
    DestAddr: { IP: to.addressBytes, Port: to.port },
    DestName: to.name,
  });
  return Buffer.concat([head, message]);
}

/** The header of a relay and the message it wraps. @throws MsgpackError */
export function decodeRelay(body: Uint8Array): {
  readonly header: ShapeOf<typeof relayHeader>;
  readonly message: Uint8Array;
} {
  const reader = new MsgpackReader(body);
  const header = relayHeader.read(reader);
  return { header, message: body.subarray(reader.position) };
}
