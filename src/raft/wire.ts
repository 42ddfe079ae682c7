/** The bytes of requests and answers between servers (reference/raft.md §1.2 to §1.5). */
import { decodeShape, encodeShape, MsgpackReader, MsgpackWriter, type Shape, shapes } from '../codec/msgpack/index.ts';
import { isHeartbeat, protocolVersion, type RaftRequest, type RaftResponse, rpcTypes } from './messages.ts';
import { type RaftAnswer, UnsupportedRequest } from './transport.ts';

const { bool, bytes, int, list, struct, uint, uint8 } = shapes;

/** The oldest version a sender may speak; ours is the newest. */
const protocolVersionMin = 2;

/** One entry, also as the peer keeps it on its disk. */
export const logShape = struct({ Index: uint, Term: uint, Type: uint8, Data: bytes, Extensions: bytes });

/** Addresses are bytes in Go, so they may come in any form that bytes may. */
const address: Shape<string> = {
  write: (writer, value) => writer.str(value),
  read: (reader) => Buffer.from(reader.raw() ?? []).toString('utf8'),
  zero: '',
};

const header = { ProtocolVersion: int };

const requestShapes = {
  appendEntries: struct({
    ...header,
    Term: uint,
    Leader: address,
    PrevLogEntry: uint,
    PrevLogTerm: uint,
    Entries: list(logShape),
    LeaderCommitIndex: uint,
  }),
  requestVote: struct({
    ...header,
    Term: uint,
    Candidate: address,
    LastLogIndex: uint,
    LastLogTerm: uint,
    LeadershipTransfer: bool,
  }),
  requestPreVote: struct({ ...header, ID: address, Addr: address, Term: uint, LastLogIndex: uint, LastLogTerm: uint }),
  installSnapshot: struct({
    ...header,
    SnapshotVersion: int,
    Term: uint,
    Leader: address,
    LastLogIndex: uint,
    LastLogTerm: uint,
    Peers: bytes,
    Configuration: bytes,
    ConfigurationIndex: uint,
    Size: int,
  }),
  timeoutNow: struct(header),
};

const responseShapes = {
  appendEntries: struct({ ...header, Term: uint, LastLog: uint, Success: bool, NoRetryBackoff: bool }),
  requestVote: struct({ ...header, Term: uint, Peers: bytes, Granted: bool }),
  requestPreVote: struct({ ...header, Term: uint, Granted: bool }),
  installSnapshot: struct({ ...header, Term: uint, Success: bool }),
  timeoutNow: struct(header),
};

export type RaftRpc = RaftRequest['rpc'];

/** What a type byte announces; undefined for what nobody knows. */
export function rpcOfType(type: number): RaftRpc | undefined {
  return (Object.keys(rpcTypes) as RaftRpc[]).find((rpc) => rpcTypes[rpc] === type);
}

/** Type byte and request; the body of a snapshot follows raw. */
export function encodeRequest(message: RaftRequest): Uint8Array {
  const writer = new MsgpackWriter();
  // Type bytes look like small integers of msgpack, and are written as such.
  writer.int(rpcTypes[message.rpc]);
  (requestShapes[message.rpc] as Shape<unknown, unknown>).write(writer, message.request);
  return writer.bytes();
}

/** @throws MsgpackError when the bytes are no such request. */
export function decodeRequest(rpc: RaftRpc, value: Uint8Array): RaftRequest {
  const request = decodeShape(requestShapes[rpc] as Shape<unknown>, value);
  return { rpc, request } as RaftRequest;
}

/** Error text and response. */
export function encodeAnswer({
  error,
  message,
}: RaftAnswer | { readonly error: string; readonly message: null }): Uint8Array {
  const writer = new MsgpackWriter();
  writer.str(error);
  if (message === null) writer.nil();
  else (responseShapes[message.rpc] as Shape<unknown, unknown>).write(writer, message.response);
  return writer.bytes();
}

/**
 * @param error first value of the answer.
 * @param value second value.
 * @throws Error with the peer's error text, if there is one; MsgpackError when the bytes are no such response.
 */
export function decodeAnswer(rpc: RaftRpc, error: Uint8Array, value: Uint8Array): RaftResponse {
  const text = new MsgpackReader(error).str();
  if (text.includes('unexpected command')) throw new UnsupportedRequest(text);
  if (text !== '') throw new Error(text);
  const response = decodeShape(responseShapes[rpc] as Shape<unknown>, value);
  return { rpc, response } as RaftResponse;
}

/** Why a request of this version is not served; undefined when it is. */
export function versionRefusal(message: RaftRequest): string | undefined {
  if (message.rpc === 'appendEntries' && isHeartbeat(message.request)) return undefined;
  const { ProtocolVersion } = message.request;
  if (ProtocolVersion >= protocolVersionMin && ProtocolVersion <= protocolVersion) return undefined;
  return 'operation not supported with current protocol version';
}

/** An entry as msgpack, as the peer's own store has it. */
export function encodeLogEntry(entry: Parameters<typeof logShape.write>[1]): Uint8Array {
  return encodeShape(logShape, entry);
}
