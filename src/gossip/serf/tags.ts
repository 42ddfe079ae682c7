/**
 * Tags tell what a member is for. They travel as memberlist's meta: one byte that no text begins with, and a msgpack
 * map; members of an older age send their role as bare text (reference/gossip.md §5.3).
 */
import { decodeShape, encodeShape, MsgpackError, shapes } from '../../codec/index.ts';
import { metaBytesMax } from '../memberlist/index.ts';
import { SerfError } from './events.ts';

export type Tags = Readonly<Record<string, string>>;

const mark = 0xff;
const tagMap = shapes.fullMap(shapes.str);

/** @throws SerfError when they do not fit. */
export function encodeTags(tags: Tags): Uint8Array {
  const body = encodeShape(tagMap, tags);
  const bytes = Buffer.concat([Uint8Array.of(mark), body]);
  if (bytes.length > metaBytesMax) {
    throw new SerfError(`Encoded length of tags exceeds limit of ${metaBytesMax} bytes: shorten tags or use fewer`);
  }
  return bytes;
}

/** What cannot be read is no tags, as with the peers. */
export function decodeTags(meta: Uint8Array): Tags {
  if (meta[0] !== mark) return Object.freeze({ role: Buffer.from(meta).toString('utf8') });
  try {
    return Object.freeze(decodeShape(tagMap, meta.subarray(1)));
  } catch (error) {
    if (error instanceof MsgpackError) return Object.freeze({});
    throw error;
  }
}
