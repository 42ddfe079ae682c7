/**
 * Go's own binary form of a moment: 15 bytes, seconds since the year 1, nanoseconds, and the zone's offset in minutes,
 * where −1 says "UTC" and 0 a named zone that has no offset (reference/server-rpc.md §2.5). In memory it is the text
 * that Go's JSON shows, `2026-11-20T09:54:30.580111822Z`.
 */
import { MsgpackError } from './error.ts';

const version = 1;
const timeBytes = 15;
/** Seconds from 0001-01-01 to 1970-01-01. */
const unixOffsetSeconds = 62_135_596_800n;
const utcMarker = -1;
/** JSON has no year beyond these, and neither has a real record: seconds since 1970. */
const unixSecondsMin = BigInt(Date.parse('0000-01-01T00:00:00Z')) / 1000n;
const unixSecondsMax = BigInt(Date.parse('9999-12-31T23:59:59Z')) / 1000n;
const minutesMax = 24 * 60;

/** `0001-01-01T00:00:00Z`: "never", in Go. */
export const goZeroTime = '0001-01-01T00:00:00Z';

/**
 * @param zone how "Z" is meant: of UTC itself, or of a clock's local zone that happens to be UTC.
 * @throws MsgpackError when `text` is no RFC 3339 time.
 */
export function encodeGoTime(text: string, zone: 'utc' | 'local'): Uint8Array {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  const wallMs = match === null ? Number.NaN : Date.parse(`${match[1]}Z`);
  if (match === null || Number.isNaN(wallMs)) throw new MsgpackError(`${JSON.stringify(text)} is no RFC 3339 time`);
  const offset = match[3]!;
  const minutes =
    offset === 'Z' ? 0 : Number(`${offset[0]}1`) * (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4)));
  const bytes = Buffer.alloc(timeBytes);
  bytes[0] = version;
  bytes.writeBigInt64BE(BigInt(wallMs / 1000 - minutes * 60) + unixOffsetSeconds, 1);
  bytes.writeInt32BE(Number((match[2] ?? '').padEnd(9, '0')), 9);
  const isUtc = offset === 'Z' && (zone === 'utc' || text === goZeroTime);
  bytes.writeInt16BE(isUtc ? utcMarker : minutes, 13);
  return bytes;
}

/** @throws MsgpackError with the peer's own words where there is nothing to read. */
export function decodeGoTime(bytes: Uint8Array | null): string {
  if (bytes === null) throw new MsgpackError('Time.UnmarshalBinary: no data');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view[0] !== version) throw new MsgpackError('Time.UnmarshalBinary: unsupported version');
  if (view.length !== timeBytes) throw new MsgpackError('Time.UnmarshalBinary: invalid length');
  const seconds = view.readBigInt64BE(1) - unixOffsetSeconds;
  const nanoseconds = view.readInt32BE(9);
  const marked = view.readInt16BE(13);
  const minutes = marked === utcMarker ? 0 : marked;
  const wallSeconds = seconds + BigInt(minutes * 60);
  if (
    nanoseconds < 0 ||
    nanoseconds > 999_999_999 ||
    Math.abs(minutes) >= minutesMax ||
    wallSeconds < unixSecondsMin ||
    wallSeconds > unixSecondsMax
  ) {
    throw new MsgpackError('a time outside the years 0 to 9999');
  }
  const wall = new Date(Number(wallSeconds) * 1000).toISOString().slice(0, 19);
  const fraction = nanoseconds === 0 ? '' : `.${String(nanoseconds).padStart(9, '0').replace(/0+$/, '')}`;
  return `${wall}${fraction}${minutes === 0 ? 'Z' : offsetText(minutes)}`;
}

function offsetText(minutes: number): string {
  const size = Math.abs(minutes);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(Math.trunc(size / 60))}:${two(size % 60)}`;
}
