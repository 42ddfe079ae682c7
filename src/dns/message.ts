/**
 * The DNS message (RFC 1035 §4): what we read of a query, and the records of an answer. All record types have one
 * shape here: some bytes, then names, then some bytes. A is four bytes and nothing else, SRV six bytes and a name,
 * SOA two names and twenty bytes; whatever else exists is opaque bytes. So one reader and one writer serve all.
 */
import { DnsFormatError, type Name, readName } from './name.ts';

export const recordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  AXFR: 252,
  ANY: 255,
} as const;

export const responseCode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

export const classIN = 1;
export const opcodeQuery = 0;
export const opcodeNotify = 4;

export const headerBytes = 12;
/** Bits of the header's second 16-bit word. */
export const flagBit = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100, RA: 0x0080, AD: 0x0020, CD: 0x0010 } as const;

const ednsOptionClientSubnet = 8;

/** Layout of RDATA that contains names: bytes before, number of names, and whether writers compress them. */
const nameLayouts: Readonly<
  Record<number, { readonly head: number; readonly names: number; readonly compress: boolean }>
> = {
  2: { head: 0, names: 1, compress: true }, // NS
  3: { head: 0, names: 1, compress: true }, // MD
  4: { head: 0, names: 1, compress: true }, // MF
  5: { head: 0, names: 1, compress: true }, // CNAME
  6: { head: 0, names: 2, compress: true }, // SOA
  7: { head: 0, names: 1, compress: true }, // MB
  8: { head: 0, names: 1, compress: true }, // MG
  9: { head: 0, names: 1, compress: true }, // MR
  12: { head: 0, names: 1, compress: true }, // PTR
  14: { head: 0, names: 2, compress: true }, // MINFO
  15: { head: 2, names: 1, compress: true }, // MX
  17: { head: 0, names: 2, compress: false }, // RP
  18: { head: 2, names: 1, compress: false }, // AFSDB
  21: { head: 2, names: 1, compress: false }, // RT
  33: { head: 6, names: 1, compress: false }, // SRV
  36: { head: 2, names: 1, compress: false }, // KX
  39: { head: 0, names: 1, compress: false }, // DNAME
};

/** Whether names inside the RDATA of this type are written compressed (RFC 3597 §4). */
export function compressesData(type: number): boolean {
  return nameLayouts[type]?.compress ?? false;
}

export interface ResourceRecord {
  /** null stands for the name of the question, so that a built record serves every spelling of the question. */
  readonly owner: Name | null;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  /** RDATA: bytes, then names, then bytes. */
  readonly head: Uint8Array;
  readonly names: readonly Name[];
  readonly tail: Uint8Array;
}

/** The client subnet option of a query (RFC 7871). */
export interface ClientSubnet {
  /** 1 IPv4, 2 IPv6. */
  readonly family: number;
  readonly sourcePrefix: number;
  /** The prefix's bytes, `ceil(sourcePrefix / 8)` of them. */
  readonly address: Uint8Array;
}

export interface Edns {
  readonly udpSize: number;
  readonly clientSubnet: ClientSubnet | null;
}

export interface Query {
  readonly id: number;
  /** The header's flag word as it came. */
  readonly flags: number;
  readonly opcode: number;
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | null;
  /** The message itself, without bytes that follow it. */
  readonly packet: Buffer;
}

/** What a packet is: a query, one that gets a bare header back, or nothing to answer (reference/dns.md §1). */
export type Received =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'reject'; readonly reply: Buffer }
  | { readonly kind: 'ignore' };

const ignore: Received = { kind: 'ignore' };

/** Checks the header and reads the query. Never throws. */
export function receive(packet: Buffer): Received {
  if (packet.length < headerBytes) return ignore;
  const flags = packet.readUInt16BE(2);
  if ((flags & flagBit.QR) !== 0) return ignore;
  const opcode = (flags >> 11) & 0xf;
  if (opcode !== opcodeQuery && opcode !== opcodeNotify) {
    return { kind: 'reject', reply: bareHeader(packet, flags, opcode, responseCode.NOTIMP) };
  }
  const answers = packet.readUInt16BE(6);
  const authorities = packet.readUInt16BE(8);
  const additionals = packet.readUInt16BE(10);
  try {
    if (packet.readUInt16BE(4) !== 1 || answers > 1 || authorities > 1 || additionals > 2) {
      throw new DnsFormatError('section counts out of range');
    }
    const { name, end } = readName(packet, headerBytes);
    if (end + 4 > packet.length) throw new DnsFormatError('the question is cut off');
    let at = end + 4;
    let edns: Edns | null = null;
    for (let i = 0; i < answers + authorities + additionals; i++) {
      // Counts may promise records that are not there.
      if (at === packet.length) break;
      const record = readRecordHead(packet, at);
      at = record.end;
      if (i >= answers + authorities && record.type === recordType.OPT) {
        edns = { udpSize: record.class, clientSubnet: readClientSubnet(packet.subarray(record.dataStart, record.end)) };
      }
    }
    return {
      kind: 'query',
      query: {
        id: packet.readUInt16BE(0),
        flags,
        opcode,
        name,
        type: packet.readUInt16BE(end),
        class: packet.readUInt16BE(end + 2),
        edns,
        packet: packet.subarray(0, at),
      },
    };
  } catch (error) {
    if (!(error instanceof DnsFormatError)) throw error;
    return { kind: 'reject', reply: bareHeader(packet, flags, opcodeQuery, responseCode.FORMERR) };
  }
}

function bareHeader(packet: Buffer, flags: number, opcode: number, code: number): Buffer {
  const reply = Buffer.alloc(headerBytes);
  reply.writeUInt16BE(packet.readUInt16BE(0), 0);
  const kept = flags & (flagBit.TC | flagBit.RD | flagBit.RA | flagBit.AD | flagBit.CD);
  reply.writeUInt16BE(flagBit.QR | (opcode << 11) | kept | code, 2);
  return reply;
}

function readClientSubnet(options: Buffer): ClientSubnet | null {
  let subnet: ClientSubnet | null = null;
  let at = 0;
  while (at < options.length) {
    if (at + 4 > options.length) throw new DnsFormatError('an EDNS option is cut off');
    const code = options.readUInt16BE(at);
    const length = options.readUInt16BE(at + 2);
    const data = options.subarray(at + 4, at + 4 + length);
    if (data.length < length) throw new DnsFormatError('an EDNS option is cut off');
    at += 4 + length;
    if (code !== ednsOptionClientSubnet) continue;
    if (length < 4) throw new DnsFormatError('a client subnet option is too short');
    const family = data.readUInt16BE(0);
    const sourcePrefix = data[2]!;
    const bits = family === 1 ? 32 : family === 2 ? 128 : 0;
    if (sourcePrefix > bits) throw new DnsFormatError('a client subnet prefix is longer than its address');
    const address = new Uint8Array(Math.ceil(sourcePrefix / 8));
    address.set(data.subarray(4, 4 + address.length));
    if (sourcePrefix % 8 !== 0) address[address.length - 1]! &= 0xff00 >> (sourcePrefix % 8);
    subnet = { family, sourcePrefix, address };
  }
  return subnet;
}

interface RecordHead {
  readonly owner: Name;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly dataStart: number;
  readonly end: number;
}

function readRecordHead(packet: Buffer, offset: number): RecordHead {
  const { name, end } = readName(packet, offset);
  if (end + 10 > packet.length) throw new DnsFormatError('a record is cut off');
  const dataStart = end + 10;
  const dataEnd = dataStart + packet.readUInt16BE(end + 8);
  if (dataEnd > packet.length) throw new DnsFormatError('a record is cut off');
  return {
    owner: name,
    type: packet.readUInt16BE(end),
    class: packet.readUInt16BE(end + 2),
    ttl: packet.readUInt32BE(end + 4),
    dataStart,
    end: dataEnd,
  };
}

/** A whole message of a recursor. */
export interface Message {
  readonly id: number;
  readonly flags: number;
  readonly question: { readonly name: Name; readonly type: number; readonly class: number } | null;
  readonly answer: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
}

/**
 * Reads a recursor's message with at most one question.
 * @throws DnsFormatError
 */
export function readMessage(packet: Buffer): Message {
  if (packet.length < headerBytes) throw new DnsFormatError('a message shorter than its header');
  let at = headerBytes;
  let question: Message['question'] = null;
  const questions = packet.readUInt16BE(4);
  if (questions > 1) throw new DnsFormatError('more than one question');
  if (questions === 1) {
    const { name, end } = readName(packet, at);
    if (end + 4 > packet.length) throw new DnsFormatError('the question is cut off');
    question = { name, type: packet.readUInt16BE(end), class: packet.readUInt16BE(end + 2) };
    at = end + 4;
  }
  const section = (countAt: number): ResourceRecord[] => {
    const records: ResourceRecord[] = [];
    for (let i = packet.readUInt16BE(countAt); i > 0 && at < packet.length; i--) {
      const head = readRecordHead(packet, at);
      records.push(readData(packet, head));
      at = head.end;
    }
    return records;
  };
  return {
    id: packet.readUInt16BE(0),
    flags: packet.readUInt16BE(2),
    question,
    answer: section(6),
    authority: section(8),
    additional: section(10),
  };
}

function readData(packet: Buffer, record: RecordHead): ResourceRecord {
  const { owner, type, ttl, dataStart, end } = record;
  const base = { owner, type, class: record.class, ttl };
  const layout = nameLayouts[type];
  // Updates and some errors carry records without data.
  if (layout === undefined || dataStart === end) {
    return { ...base, head: Uint8Array.from(packet.subarray(dataStart, end)), names: [], tail: noBytes };
  }
  let at = dataStart + layout.head;
  const names: Name[] = [];
  for (let i = 0; i < layout.names; i++) {
    const read = readName(packet, at);
    names.push(read.name);
    at = read.end;
  }
  if (at > end) throw new DnsFormatError('record data is cut off');
  return {
    ...base,
    head: Uint8Array.from(packet.subarray(dataStart, dataStart + layout.head)),
    names,
    tail: Uint8Array.from(packet.subarray(at, end)),
  };
}

export const noBytes = new Uint8Array(0);
