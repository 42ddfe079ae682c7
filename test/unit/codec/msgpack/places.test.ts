// A few bytes must not become a gigabyte of records.
import { describe, expect, test } from 'vitest';
import { decodeShape, MsgpackError, shapes } from '../../../../src/codec/msgpack/index.ts';

const { any, list, map, str, struct, wrapped } = shapes;
const wide = struct(Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`Field${at}`, str])));

/** A list of so many times the same byte. */
function many(count: number, byte: number): Buffer {
  const bytes = Buffer.alloc(5 + count, byte);
  bytes[0] = 0xdd;
  bytes.writeUInt32BE(count, 1);
  return bytes;
}

/** So many bytes as a raw string. */
function raw(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head[0] = 0xdb;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

describe('a million values in a megabyte are refused', () => {
  const million = 1_000_000;
  test.each([
    ['empty records', list(wide), many(million, 0x80)],
    ['records of nil', list(wide), many(million, 0xc0)],
    ['empty lists', list(list(str)), many(million, 0x90)],
    ['empty maps', list(map(str)), many(million, 0x80)],
    ['empty lists without a schema', any, many(million, 0x90)],
    ['empty maps in what is wrapped', wrapped(list(map(str))), raw(many(million, 0x80))],
    [
      'records in many wrapped lists',
      list(wrapped(list(wide))),
      Buffer.concat([Buffer.from('dd00000010', 'hex'), ...Array.from({ length: 16 }, () => raw(many(20_000, 0x80)))]),
    ],
  ])('%s', (_, shape, bytes) => {
    expect(() => decodeShape(shape, bytes)).toThrow(MsgpackError);
    expect(() => decodeShape(shape, bytes)).toThrow('more values than a message of this length may hold');
  });
});

test('short messages may be sparse, long ones full', () => {
  expect(decodeShape(list(wide), many(40_000, 0x80))).toHaveLength(40_000);
  expect(decodeShape(list(str), many(1_000_000, 0xa0))).toHaveLength(1_000_000);
});
