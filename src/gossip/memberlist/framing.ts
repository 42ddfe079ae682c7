/**
 * The layers around messages: many in one packet (compound), checksum, compression, pool label (reference/gossip.md
 * §3.3-§3.5, §3.8). Each layer here is one function in each direction; packet.ts and stream-message.ts put them
 * together.
 */
import { decodeLzw, encodeLzw } from '../../codec/index.ts';
import { crc32 } from '../../lib/index.ts';
import { compress, decodeBody, encodeMessage, messageType } from './messages.ts';

/** Bytes of an empty compound message. */
export const compoundHeaderBytes = 2;
/** Bytes of a compound for each part. */
export const compoundPartBytes = 2;
/** More parts make the count overflow in memberlist before 0.3.2. */
export const compoundPartsMax = 127;

/** Bytes of type and checksum. */
export const crcHeaderBytes = 5;
/** Longest label: its length is one byte. */
export const labelBytesMax = 255;

const lzwAlgorithm = 0;

/** A layer that cannot be taken off. */
export class FramingError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FramingError';
  }
}

/** @param parts 1 to {@link compoundPartsMax}, none empty or longer than 65,535 bytes. */
export function makeCompound(parts: readonly Uint8Array[]): Uint8Array {
  let length = compoundHeaderBytes;
  for (const part of parts) length += compoundPartBytes + part.length;
  const message = Buffer.allocUnsafe(length);
  message[0] = messageType.compound;
  message[1] = parts.length;
  let lengthAt = compoundHeaderBytes;
  let bodyAt = compoundHeaderBytes + compoundPartBytes * parts.length;
  for (const part of parts) {
    message.writeUInt16BE(part.length, lengthAt);
    message.set(part, bodyAt);
    lengthAt += compoundPartBytes;
    bodyAt += part.length;
  }
  return message;
}

/**
 * Takes a compound's body (after its type byte) apart. A part that is not complete ends it; those before it count.
 * @throws FramingError when not even the lengths are there.
 */
export function splitCompound(body: Uint8Array): { readonly parts: readonly Uint8Array[]; readonly truncated: number } {
  const count = body[0];
  if (count === undefined) throw new FramingError('missing compound length byte');
  const lengthsEnd = 1 + compoundPartBytes * count;
  if (body.length < lengthsEnd) throw new FramingError('truncated len slice');
  const parts: Uint8Array[] = [];
  let at = lengthsEnd;
  for (let part = 0; part < count; part++) {
    const lengthAt = 1 + compoundPartBytes * part;
    const length = (body[lengthAt]! << 8) | body[lengthAt + 1]!;
    if (at + length > body.length) return { parts, truncated: count - part };
    parts.push(body.subarray(at, at + length));
    at += length;
  }
  return { parts, truncated: 0 };
}

export function addCrc(message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(crcHeaderBytes + message.length);
  framed[0] = messageType.crc;
  framed.writeUInt32BE(crc32(message), 1);
  framed.set(message, crcHeaderBytes);
  return framed;
}

/** The message behind a checksum that fits. @param framed with its type byte. @throws FramingError */
export function checkCrc(framed: Uint8Array): Uint8Array {
  if (framed.length <= crcHeaderBytes) throw new FramingError('truncated checksum');
  const message = framed.subarray(crcHeaderBytes);
  const expected = ((framed[1]! << 24) | (framed[2]! << 16) | (framed[3]! << 8) | framed[4]!) >>> 0;
  const found = crc32(message);
  if (expected !== found) throw new FramingError(`invalid checksum: ${expected} was sent, ${found} arrived`);
  return message;
}

/** A compress message around `message`, which must not be empty. */
export function compressMessage(message: Uint8Array, options?: { readonly leadingClear?: boolean }): Uint8Array {
  return encodeMessage(messageType.compress, compress, { Algo: lzwAlgorithm, Buf: encodeLzw(message, options) });
}

/** The message inside a compress message's body. @param limit its longest length, bytes. @throws Error */
export function expandMessage(body: Uint8Array, limit: number): Uint8Array {
  const { Algo, Buf } = decodeBody(compress, body);
  if (Algo !== lzwAlgorithm) throw new FramingError(`unknown compression algorithm ${Algo}`);
  if (Buf === null) throw new FramingError('an empty compressed message');
  return decodeLzw(Buf, limit);
}

/** The label header; empty for no label. */
export function labelHeader(label: Uint8Array): Uint8Array {
  return label.length === 0 ? label : Buffer.concat([Uint8Array.of(messageType.label, label.length), label]);
}

/**
 * Takes off the label header, which must be exactly ours. @throws FramingError when it is not.
 */
export function stripLabel(packet: Uint8Array, label: Uint8Array): Uint8Array {
  const { label: found, rest } = splitLabel(packet);
  if (found.length !== label.length || !found.every((byte, at) => byte === label[at])) {
    throw new FramingError(`the pool label is ${quoteLabel(found)}, ours is ${quoteLabel(label)}`);
  }
  return rest;
}

function splitLabel(packet: Uint8Array): { readonly label: Uint8Array; readonly rest: Uint8Array } {
  if (packet[0] !== messageType.label) return { label: new Uint8Array(), rest: packet };
  const length = packet[1] ?? 0;
  if (length === 0 || packet.length < 2 + length) throw new FramingError('truncated label');
  return { label: packet.subarray(2, 2 + length), rest: packet.subarray(2 + length) };
}

function quoteLabel(label: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(label));
}
