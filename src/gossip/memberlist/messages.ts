/**
 * The messages of memberlist: a type byte and a msgpack map (reference/gossip.md §3.1, §3.2). Names and order of the
 * fields are the peers'; fields stand in the order of declaration there, which the array form uses.
 */
import { MsgpackReader, MsgpackWriter, type Shape, shapes, type ShapeOf } from '../../codec/index.ts';

/** First byte of every plain message. */
export const messageType = {
  ping: 0,
  indirectPing: 1,
  ack: 2,
  suspect: 3,
  alive: 4,
  dead: 5,
  pushPull: 6,
  compound: 7,
  user: 8,
  compress: 9,
  encrypt: 10,
  nack: 11,
  crc: 12,
  error: 13,
  label: 244,
} as const;

export const ping = shapes.struct(
  {
    SeqNo: shapes.uint32,
    /** Who is meant; another node does not answer. Empty: anyone. */
    Node: shapes.str,
    SourceAddr: shapes.bytes,
    SourcePort: shapes.uint16,
    SourceNode: shapes.str,
  },
  { omitEmpty: ['SourceAddr', 'SourcePort', 'SourceNode'] },
);
export type Ping = ShapeOf<typeof ping>;

export const indirectPing = shapes.struct(
  {
    SeqNo: shapes.uint32,
    Target: shapes.bytes,
    Port: shapes.uint16,
    Node: shapes.str,
    /** The requester wants a nack when the target does not answer. */
    Nack: shapes.bool,
    SourceAddr: shapes.bytes,
    SourcePort: shapes.uint16,
    SourceNode: shapes.str,
  },
  { omitEmpty: ['SourceAddr', 'SourcePort', 'SourceNode'] },
);
export type IndirectPing = ShapeOf<typeof indirectPing>;

export const ack = shapes.struct({ SeqNo: shapes.uint32, Payload: shapes.bytes });
export type Ack = ShapeOf<typeof ack>;

export const nack = shapes.struct({ SeqNo: shapes.uint32 });
export type Nack = ShapeOf<typeof nack>;

export const suspect = shapes.struct({ Incarnation: shapes.uint32, Node: shapes.str, From: shapes.str });
export type Suspect = ShapeOf<typeof suspect>;

/** From = Node: the node says itself that it goes. */
export const dead = shapes.struct({ Incarnation: shapes.uint32, Node: shapes.str, From: shapes.str });
export type Dead = ShapeOf<typeof dead>;

export const alive = shapes.struct({
  Incarnation: shapes.uint32,
  Node: shapes.str,
  Addr: shapes.bytes,
  Port: shapes.uint16,
  Meta: shapes.bytes,
  Vsn: shapes.bytes,
});
export type Alive = ShapeOf<typeof alive>;

export const compress = shapes.struct({ Algo: shapes.int, Buf: shapes.bytes });

export const pushPullHeader = shapes.struct({ Nodes: shapes.int, UserStateLen: shapes.int, Join: shapes.bool });

export const pushPullNode = shapes.struct({
  Name: shapes.str,
  Addr: shapes.bytes,
  Port: shapes.uint16,
  Meta: shapes.bytes,
  Incarnation: shapes.uint32,
  State: shapes.int,
  Vsn: shapes.bytes,
});
export type PushPullNode = ShapeOf<typeof pushPullNode>;

export const userHeader = shapes.struct({ UserMsgLen: shapes.int });

export const errorReply = shapes.struct({ Error: shapes.str });

/** A message ready to send. */
export function encodeMessage<In>(type: number, shape: Shape<unknown, In>, value: In): Uint8Array {
  const writer = new MsgpackWriter();
  writer.encoded(Uint8Array.of(type));
  shape.write(writer, value);
  return writer.bytes();
}

/** Reads a message's body, what follows the type byte. @throws MsgpackError */
export function decodeBody<T>(shape: Shape<T, never>, body: Uint8Array): T {
  return shape.read(new MsgpackReader(body));
}

/** A user message for a packet. */
export function userMessage(payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(payload.length + 1);
  message[0] = messageType.user;
  message.set(payload, 1);
  return message;
}
