/**
 * The bytes of one segment of the log: a header, then one record an entry. A record says how long it is, carries a
 * checksum, and repeats how far the log was on the disk when it was written. That last number tells a torn tail (a
 * crash during a write that nobody was told about) from damage (a bit that flipped in what had been acknowledged):
 * an unreadable record is damage when any later record knows it as durable.
 *
 * Record: magic u32, payload length u32, CRC-32C of length and payload u32, then the payload: index u64, term u64,
 * durable index u64, type u8, flags u8, extensions length u32, extensions, data. Little-endian.
 */
import { crc32c, invariant } from '../lib/index.ts';
import type { LogEntry } from './log-entry.ts';

/** First bytes of a segment: a name and a version. */
export const segmentHeader: Uint8Array = Buffer.from('portolan raft 1\n');

const recordMagic = 0x7c10_a3e5;
const prefixBytes = 12;
const lengthOffset = 4;
const checksumOffset = 8;
const fixedPayloadBytes = 30;
const flagData = 1;
const flagExtensions = 2;

/** Largest payload of a record: far above what a command may be, so that a damaged length is seen as such. */
export const recordBytesMax = 256 * 1024 * 1024;

/** Type byte of a record that is no entry but only says how far the log is on the disk. */
export const markType = 0xff;

/** Bytes of `entry` as a record. */
export function recordSize(entry: LogEntry): number {
  return prefixBytes + fixedPayloadBytes + (entry.Extensions?.length ?? 0) + (entry.Data?.length ?? 0);
}

/** Writes `entry` at `offset` of `into`. @returns the offset behind it. */
export function writeRecord(into: Buffer, offset: number, entry: LogEntry, durableIndex: number): number {
  const payload = offset + prefixBytes;
  const end = offset + recordSize(entry);
  invariant(end - payload <= recordBytesMax, `an entry of ${end - payload} bytes is too large for the log`);
  into.writeUInt32LE(recordMagic, offset);
  into.writeUInt32LE(end - payload, offset + lengthOffset);
  writeUint53(into, entry.Index, payload);
  writeUint53(into, entry.Term, payload + 8);
  writeUint53(into, durableIndex, payload + 16);
  into[payload + 24] = entry.Type;
  into[payload + 25] = (entry.Data === null ? 0 : flagData) | (entry.Extensions === null ? 0 : flagExtensions);
  const extensions = entry.Extensions ?? new Uint8Array(0);
  into.writeUInt32LE(extensions.length, payload + 26);
  into.set(extensions, payload + fixedPayloadBytes);
  if (entry.Data !== null) into.set(entry.Data, payload + fixedPayloadBytes + extensions.length);
  into.writeUInt32LE(recordChecksum(into, offset, end), offset + checksumOffset);
  return end;
}

/** The checksum covers the length too: all of the record but the magic and itself. */
function recordChecksum(bytes: Uint8Array, offset: number, end: number): number {
  return (
    (crc32c(bytes, offset + lengthOffset, offset + checksumOffset) ^ crc32c(bytes, offset + prefixBytes, end)) >>> 0
  );
}

export interface SegmentRecord {
  readonly entry: LogEntry;
  /** Every entry up to this index was on the disk when the record was written. */
  readonly durableIndex: number;
  /** Offset behind the record. */
  readonly end: number;
}

/** The record at `offset`, or undefined when no whole and sound one is there. Data are views into `bytes`. */
export function readRecord(bytes: Buffer, offset: number): SegmentRecord | undefined {
  if (offset + prefixBytes + fixedPayloadBytes > bytes.length) return undefined;
  if (bytes.readUInt32LE(offset) !== recordMagic) return undefined;
  const length = bytes.readUInt32LE(offset + lengthOffset);
  const payload = offset + prefixBytes;
  const end = payload + length;
  if (length < fixedPayloadBytes || length > recordBytesMax || end > bytes.length) return undefined;
  if (bytes.readUInt32LE(offset + checksumOffset) !== recordChecksum(bytes, offset, end)) return undefined;
  const flags = bytes[payload + 25]!;
  const extensionsStart = payload + fixedPayloadBytes;
  const dataStart = extensionsStart + bytes.readUInt32LE(payload + 26);
  if (dataStart > end) return undefined;
  return {
    entry: {
      Index: readUint53(bytes, payload),
      Term: readUint53(bytes, payload + 8),
      Type: bytes[payload + 24]!,
      Data: flags & flagData ? bytes.subarray(dataStart, end) : null,
      Extensions: flags & flagExtensions ? bytes.subarray(extensionsStart, dataStart) : null,
    },
    durableIndex: readUint53(bytes, payload + 16),
    end,
  };
}

/** Offset of the next sound record behind `offset`, or undefined. Looks at every byte: only for what is damaged. */
export function findRecord(bytes: Buffer, offset: number): number | undefined {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(recordMagic);
  for (let at = bytes.indexOf(magic, offset); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (readRecord(bytes, at) !== undefined) return at;
  }
  return undefined;
}

function writeUint53(into: Buffer, value: number, offset: number): void {
  invariant(Number.isSafeInteger(value) && value >= 0, `an index or term is a whole number, got ${value}`);
  into.writeUInt32LE(value % 2 ** 32, offset);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

function readUint53(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32;
}
