/**
 * Writes a reply into one reused buffer. Name compression keeps a table "suffix text → offset"; the question's name
 * is always at offset 12, so the usual answer (all owners are the question) needs no table at all, and it is filled
 * only when another name appears. Which names are compressed: reference/dns.md §13 (SRV targets are written in full
 * but serve as targets for later owners).
 */
import {
  compressesData,
  flagBit,
  headerBytes,
  opcodeQuery,
  type Query,
  recordType,
  type ResourceRecord,
} from './message.ts';
import { DnsFormatError, type Name } from './name.ts';

/** A DNS message's length field has 16 bits. */
export const messageBytesMax = 65_535;
/** Room beyond the largest message, so that single fields need no bounds check. */
const slackBytes = 1024;
/** Pointers have 14 bits. */
const pointerOffsetMax = 0x3fff;
const questionPointer = 0xc000 | headerBytes;

export interface Sections {
  readonly answer: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
}

export interface OptRecord {
  readonly udpSize: number;
  /** RDATA. */
  readonly data: Uint8Array;
}

const scratch = Buffer.allocUnsafe(messageBytesMax + slackBytes);
const offsets = new Map<string, number>();
let length = 0;
let compressing = false;
let tableFilled = false;
let questionName: Name;

/**
 * Encodes a message: `flags` is the header's flag word with the response code.
 * @throws DnsFormatError when it does not fit 65535 bytes.
 */
export function writeMessage(
  id: number,
  flags: number,
  question: { readonly name: Name; readonly type: number; readonly class: number } | null,
  sections: Sections,
  options: { readonly compress: boolean; readonly opt?: OptRecord | null },
): Buffer {
  const size = layOut(question, sections, options.compress, messageBytesMax);
  if (size === Infinity) throw new DnsFormatError(`the message is longer than ${messageBytesMax} bytes`);
  let additionals = sections.additional.length;
  if (options.opt) {
    additionals++;
    writeOpt(options.opt);
    if (length > messageBytesMax) throw new DnsFormatError(`the message is longer than ${messageBytesMax} bytes`);
  }
  scratch.writeUInt16BE(id, 0);
  scratch.writeUInt16BE(flags, 2);
  scratch.writeUInt16BE(question === null ? 0 : 1, 4);
  scratch.writeUInt16BE(sections.answer.length, 6);
  scratch.writeUInt16BE(sections.authority.length, 8);
  scratch.writeUInt16BE(additionals, 10);
  const message = Buffer.allocUnsafe(length);
  scratch.copy(message, 0, 0, length);
  return message;
}

/** Bytes the message would take without OPT; Infinity when more than `bytesMax` (at most 65535). */
export function messageSize(
  question: { readonly name: Name; readonly type: number; readonly class: number },
  sections: Sections,
  compress: boolean,
  bytesMax: number,
): number {
  return layOut(question, sections, compress, bytesMax);
}

/** The reply's flag word: what a query's header says about it plus what the answer says. */
export function replyFlags(
  query: Query,
  answer: {
    readonly code: number;
    readonly authoritative: boolean;
    readonly recursionAvailable: boolean;
    readonly truncated: boolean;
  },
): number {
  let flags = flagBit.QR | (query.opcode << 11) | answer.code;
  if (query.opcode === opcodeQuery) flags |= query.flags & (flagBit.RD | flagBit.CD);
  if (answer.authoritative) flags |= flagBit.AA;
  if (answer.recursionAvailable) flags |= flagBit.RA;
  if (answer.truncated) flags |= flagBit.TC;
  return flags;
}

function layOut(
  question: { readonly name: Name; readonly type: number; readonly class: number } | null,
  sections: Sections,
  compress: boolean,
  bytesMax: number,
): number {
  compressing = compress;
  tableFilled = false;
  length = headerBytes;
  if (question !== null) {
    questionName = question.name;
    writeBytes(question.name.wire);
    length = scratch.writeUInt16BE(question.type, length);
    length = scratch.writeUInt16BE(question.class, length);
  }
  for (const section of [sections.answer, sections.authority, sections.additional]) {
    for (const record of section) {
      writeRecord(record, question !== null);
      if (length > bytesMax) return Infinity;
    }
  }
  return length;
}

function writeRecord(record: ResourceRecord, hasQuestion: boolean): void {
  const { owner, head, names, tail } = record;
  if (owner !== null) writeName(owner, true, hasQuestion);
  else if (compressing && questionName.starts.length > 0) length = scratch.writeUInt16BE(questionPointer, length);
  else writeBytes(questionName.wire);
  length = scratch.writeUInt16BE(record.type, length);
  length = scratch.writeUInt16BE(record.class, length);
  length = scratch.writeUInt32BE(record.ttl, length);
  const dataLengthAt = length;
  length += 2;
  if (length + head.length + tail.length > messageBytesMax) {
    length = messageBytesMax + 1;
    return;
  }
  writeBytes(head);
  for (const name of names) writeName(name, compressesData(record.type), hasQuestion);
  if (tail.length > 0) writeBytes(tail);
  scratch.writeUInt16BE(length - dataLengthAt - 2, dataLengthAt);
}

function writeName(name: Name, compressible: boolean, hasQuestion: boolean): void {
  if (!compressing) {
    writeBytes(name.wire);
    return;
  }
  if (!tableFilled) {
    tableFilled = true;
    offsets.clear();
    if (hasQuestion) remember(questionName, 0, questionName.suffixes.length, headerBytes);
  }
  const { suffixes, starts, wire } = name;
  for (let i = 0; i < suffixes.length; i++) {
    const offset = offsets.get(suffixes[i]!);
    if (offset === undefined) continue;
    if (!compressible) {
      // Written in full, but its new suffixes can be pointed at.
      remember(name, 0, i, length);
      writeBytes(wire);
      return;
    }
    remember(name, 0, i, length);
    for (let at = 0; at < starts[i]!; at++) scratch[length++] = wire[at]!;
    length = scratch.writeUInt16BE(0xc000 | offset, length);
    return;
  }
  remember(name, 0, suffixes.length, length);
  writeBytes(wire);
}

function remember(name: Name, from: number, to: number, at: number): void {
  for (let i = from; i < to; i++) {
    const offset = at + name.starts[i]!;
    if (offset > pointerOffsetMax) return;
    offsets.set(name.suffixes[i]!, offset);
  }
}

function writeBytes(bytes: Uint8Array): void {
  const size = bytes.length;
  if (size > 64) {
    scratch.set(bytes, length);
    length += size;
    return;
  }
  for (let i = 0; i < size; i++) scratch[length++] = bytes[i]!;
}

function writeOpt(opt: OptRecord): void {
  scratch[length++] = 0;
  length = scratch.writeUInt16BE(recordType.OPT, length);
  length = scratch.writeUInt16BE(opt.udpSize, length);
  length = scratch.writeUInt32BE(0, length);
  length = scratch.writeUInt16BE(opt.data.length, length);
  writeBytes(opt.data);
}
