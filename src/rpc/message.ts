/**
 * net/rpc over msgpack: a head and a body, one value each, back to back and without a length; the answer likewise
 * (reference/server-rpc.md §2.1). Requests of one stream are answered one after another.
 */
import { encodeShape, MsgpackWriter, type Shape, shapes } from '../codec/index.ts';

const { str, struct, uint64 } = shapes;

/** What a method takes and gives. */
export interface Method {
  readonly request: Shape<unknown, never>;
  readonly reply: Shape<unknown, never>;
}

/** Every method by its name, `Status.Ping`. */
export type MethodTable = Readonly<Record<string, Method>>;

export const requestHead = struct({ ServiceMethod: str, Seq: uint64 });
export const responseHead = struct({ ServiceMethod: str, Seq: uint64, Error: str });

/** A head is a method's name and an error's text: longer than any that passed through a chain of servers. */
export const headBytesMax = 64 * 1024;

/** `struct{}`: the body of an answer that is an error, and of a call without arguments. */
const emptyMap = Uint8Array.of(0x80);

export function encodeRequest<In>(method: string, seq: bigint, shape: Shape<unknown, In>, body: In): Uint8Array {
  const writer = new MsgpackWriter();
  requestHead.write(writer, { ServiceMethod: method, Seq: seq });
  shape.write(writer, body);
  return writer.bytes();
}

export function encodeReply<In>(method: string, seq: bigint, shape: Shape<unknown, In>, body: In): Uint8Array {
  const writer = new MsgpackWriter();
  responseHead.write(writer, { ServiceMethod: method, Seq: seq, Error: '' });
  shape.write(writer, body);
  return writer.bytes();
}

export function encodeErrorReply(method: string, seq: bigint, error: string): Uint8Array {
  const head = encodeShape(responseHead, { ServiceMethod: method, Seq: seq, Error: error });
  return Buffer.concat([head, emptyMap]);
}
