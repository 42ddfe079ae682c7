import { describe, expect, expectTypeOf, test } from 'vitest';
import {
  decodeMsgpack,
  decodeShape,
  encodeMsgpack,
  encodeShape,
  MsgpackError,
  type Shape,
  type ShapeOf,
  shapes,
} from '../../../../src/codec/index.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const unhex = (text: string): Uint8Array => Buffer.from(text, 'hex');

const {
  any,
  bool,
  bytes,
  durationNs,
  float32,
  float64,
  int,
  list,
  localTime,
  map,
  nullable,
  fullList,
  str,
  struct,
  time,
  uint8,
  uint16,
  uint64,
  wrapped,
} = shapes;

const inner = struct({ Name: str, Note: str });

describe('scalars', () => {
  test.each<[string, Shape<unknown, never>, unknown, string]>([
    ['text of 31', str, 'x'.repeat(31), `bf${'78'.repeat(31)}`],
    ['text of 32', str, 'x'.repeat(32), `da0020${'78'.repeat(32)}`],
    ['text beyond ASCII', str, 'é', 'a2c3a9'],
    ['no bytes', bytes, null, 'c0'],
    ['bytes', bytes, Uint8Array.of(0, 1, 2, 255), 'a4000102ff'],
    ['127', int, 127, '7f'],
    ['128', int, 128, 'cc80'],
    ['256', int, 256, 'cd0100'],
    ['65536', int, 65536, 'ce00010000'],
    ['2^32', int, 2 ** 32, 'cf0000000100000000'],
    ['-1', int, -1, 'ff'],
    ['-33', int, -33, 'd0df'],
    ['-129', int, -129, 'd1ff7f'],
    ['-32769', int, -32769, 'd2ffff7fff'],
    ['-2^31 - 1', int, -(2 ** 31) - 1, 'd3ffffffff7fffffff'],
    ['2^64 - 1', uint64, 2n ** 64n - 1n, 'cfffffffffffffffff'],
    ['200 ms', durationNs, 200e6, 'ce0bebc200'],
    ['10 s', durationNs, 10e9, 'cf00000002540be400'],
    ['a float', float64, 0.00001, 'cb3ee4f8b588e368f1'],
    ['a float that is whole', float64, 1, 'cb3ff0000000000000'],
    ['a short float', float32, 0.5, 'ca3f000000'],
    ['true', bool, true, 'c3'],
    ['a nil list', list(str), null, 'c0'],
    ['an empty list', list(str), [], '90'],
    ['a nil map', map(int), null, 'c0'],
    ['an empty map', map(int), {}, '80'],
    ['16 items', list(int), Array(16).fill(1), `dc0010${'01'.repeat(16)}`],
    ['a time in UTC', time, '2026-11-20T09:54:30.580111822Z', 'af010000000ee2920fd62293cdceffff'],
    ['a time of a local clock', localTime, '2026-11-20T09:48:50.926021743Z', 'af010000000ee2920e823731f86f0000'],
    ['the zero time', time, '0001-01-01T00:00:00Z', 'af01000000000000000000000000ffff'],
    ['the zero time of a local clock', localTime, '0001-01-01T00:00:00Z', 'af01000000000000000000000000ffff'],
    ['a time in a zone', time, '2026-11-20T05:04:30-04:50', 'af010000000ee2920fd600000000fede'],
    ['a wrapped value', wrapped(int), 5, 'a105'],
  ])('%s', (_, shape, value, wire) => {
    expect(hex(encodeShape(shape, value as never))).toBe(wire);
    expect(decodeShape(shape, unhex(wire))).toEqual(value);
  });

  test('ten years are a duration, though not an exact one', () => {
    expect(hex(encodeShape(durationNs, decodeShape(durationNs, unhex('cf045ffe6da5280000'))))).toMatch(
      /^cf045ffe6da528/,
    );
    expect(hex(encodeShape(durationNs, 2 ** 63))).toBe('cf7fffffffffffffff');
  });

  test.each<[string, Shape<unknown, never>, string]>([
    ['bin as text', str, 'c40161'],
    ['a float as integer', int, 'cb3ff0000000000000'],
    ['an integer beyond 2^53', int, 'cf0020000000000000'],
    ['a negative as unsigned', uint64, 'ff'],
    ['256 as byte', uint8, 'cd0100'],
    ['65536 as port', uint16, 'ce00010000'],
    ['2 as bool', bool, '02'],
    ['text as list', list(str), 'a161'],
    ['a list as map', map(str), '9161'],
    ['bin as key', map(str), '81c4016101'],
    ['an empty time', time, 'a0'],
    ['a number as time', time, '01'],
    ['a time of another version', time, 'af020000000ee2920fd62293cdceffff'],
    ['a time with a year of six digits', time, 'af010fffffffffffff0000000000ffff'],
    ['ext', any, 'd40100'],
    ['a list that cannot come true', list(str), 'ddffffffff'],
    ['a map that cannot come true', map(str), 'dfffffffff'],
    ['a text that ends early', str, 'a56162'],
    ['nothing', str, ''],
    ['lists nested without end', any, '91'.repeat(5000)],
  ])('refuses %s', (_, shape, wire) => {
    expect(() => decodeShape(shape, unhex(wire))).toThrow(MsgpackError);
  });

  test.each<[string, Shape<unknown, never>, string, unknown]>([
    ['str8 as text', str, 'd90161', 'a'],
    ['bin as bytes', bytes, 'c40161', Uint8Array.of(0x61)],
    ['small integers as bytes', bytes, '920102', Uint8Array.of(1, 2)],
    ['empty bytes as none', bytes, 'a0', null],
    ['a wide integer', int, 'cf0000000000000005', 5],
    ['a signed wide integer', uint64, 'd30000000000000005', 5n],
    ['an integer as float', float64, '05', 5],
    ['a short float', float64, 'ca3f000000', 0.5],
    ['1 as bool', bool, '01', true],
    ['nil as text', str, 'c0', ''],
    ['nil as integer', int, 'c0', 0],
    ['nil as bool', bool, 'c0', false],
    ['nil as time', time, 'c0', '0001-01-01T00:00:00Z'],
    ['nil as list that is never nil', fullList(str), 'c0', []],
  ])('reads %s', (_, shape, wire, value) => {
    expect(decodeShape(shape, unhex(wire))).toEqual(value);
  });
});

describe('a struct', () => {
  const shape = struct({ Port: int, Addr: str, Inner: inner, Pointer: nullable(inner) });

  test('is written sorted and with every field, those left out as zero', () => {
    expect(hex(encodeShape(shape, { Port: 1, Addr: 'a', Inner: { Name: 'n' } }))).toBe(
      `84${hex(encodeMsgpack('Addr'))}a161${hex(encodeMsgpack('Inner'))}82${hex(encodeMsgpack('Name'))}a16e${hex(encodeMsgpack('Note'))}a0${hex(encodeMsgpack('Pointer'))}c0${hex(encodeMsgpack('Port'))}01`,
    );
  });

  test('is read in any order, past unknown keys, with zero for what is missing', () => {
    const wire = encodeMsgpack({ Zoo: [{ deep: [1n] }], Inner: { Note: 'y', Name: 'x' }, Addr: 'b' });
    expect(decodeShape(shape, wire)).toStrictEqual({
      Port: 0,
      Addr: 'b',
      Inner: { Name: 'x', Note: 'y' },
      Pointer: null,
    });
  });

  test('takes the last of a key given twice', () => {
    expect(decodeShape(inner, unhex(`83a44e616d65a161a44e6f7465a162a44e616d65a163`))).toStrictEqual({
      Name: 'c',
      Note: 'b',
    });
  });

  test('knows its keys by their exact case', () => {
    expect(decodeShape(inner, unhex('81a46e616d65a161'))).toStrictEqual({ Name: '', Note: '' });
  });

  test('is read from a list in the order of declaration, longer or shorter', () => {
    expect(decodeShape(shape, unhex('9305a16190'))).toMatchObject({ Port: 5, Addr: 'a', Inner: { Name: '' } });
    expect(decodeShape(inner, unhex('94a161a16205c0'))).toStrictEqual({ Name: 'a', Note: 'b' });
  });

  test('of nil is zero', () => {
    const zero = { Port: 0, Addr: '', Inner: { Name: '', Note: '' }, Pointer: null };
    expect(shape.zero).toStrictEqual(zero);
    expect(decodeShape(shape, unhex('c0'))).toStrictEqual(zero);
  });

  test('leaves out what is empty where Go does', () => {
    const record = struct({ A: str, B: int, C: list(str) }, { omitEmpty: ['A', 'C'] });
    expect(hex(encodeShape(record, { A: '', B: 0, C: [] }))).toBe('81a14200');
    expect(decodeShape(record, unhex('81a14200'))).toStrictEqual({ A: '', B: 0, C: null });
  });

  test('says where it went wrong', () => {
    const deep = struct({ Services: list(map(struct({ Port: int }))) });
    const wire = encodeMsgpack({ Services: [{}, { web: { Port: 'x' } }] });
    expect(() => decodeShape(deep, wire)).toThrow('Services.1.web.Port: an integer was expected, found raw');
  });

  test('gives its type', () => {
    expectTypeOf<ShapeOf<typeof inner>>().toEqualTypeOf<{ readonly Name: string; readonly Note: string }>();
    expectTypeOf<ShapeOf<typeof shape>['Pointer']>().toEqualTypeOf<ShapeOf<typeof inner> | null>();
  });
});

describe('values without a schema', () => {
  test('keep integers and floats apart', () => {
    const value = { whole: 1n, float: 1, deep: [null, true, -5n, { text: 'é' }], big: 2n ** 64n - 1n };
    expect(decodeMsgpack(encodeMsgpack(value))).toEqual(value);
  });

  test('keep bytes that are no text', () => {
    expect(decodeMsgpack(unhex('a2ff00'))).toEqual(Uint8Array.of(255, 0));
  });

  test('cannot reach the prototype', () => {
    const value = decodeMsgpack(unhex('81a95f5f70726f746f5f5f81a16101')) as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(['__proto__']);
    expect('a' in value).toBe(false);
  });
});
