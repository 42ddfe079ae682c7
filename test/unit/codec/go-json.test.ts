import { assert as check, boolean, json, jsonValue, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeGoJson, type GoJsonError, parseGoJson } from '../../../src/codec/index.ts';

/** With ordinary prototypes, and bigint as the nearest number: what JSON.parse would have made of it. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? Number(field) : field)));

describe('reading', () => {
  test('agrees with JSON.parse on every JSON text', () => {
    check(
      property(json(), (text) => {
        expect(plain(parseGoJson(text))).toEqual(plain(JSON.parse(text)));
      }),
    );
  });

  test.each([
    ['', 'EOF'],
    [' \n\t', 'EOF'],
    ['{', 'unexpected EOF'],
    ['{"a"', 'unexpected EOF'],
    ['{"a":', 'unexpected EOF'],
    ['[1,', 'unexpected EOF'],
    ['"abc', 'unexpected EOF'],
    ['tru', 'unexpected EOF'],
    ['-', 'unexpected EOF'],
    ['1.', 'unexpected EOF'],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['{a:1}', "invalid character 'a' looking for beginning of object key string"],
    ['x', "invalid character 'x' looking for beginning of value"],
    ['[1,]', "invalid character ']' looking for beginning of value"],
    ["'a'", String.raw`invalid character '\'' looking for beginning of value`],
    ['{"a":1 "b":2}', `invalid character '"' after object key:value pair`],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['[1 2]', "invalid character '2' after array element"],
    ['"a\nb"', String.raw`invalid character '\n' in string literal`],
    ['"\u0000"', String.raw`invalid character '\x00' in string literal`],
    [String.raw`"\x"`, "invalid character 'x' in string escape code"],
    [String.raw`"\u00g0"`, String.raw`invalid character 'g' in \u hexadecimal character escape`],
    ['trux', "invalid character 'x' in literal true (expecting 'e')"],
    ['-a', "invalid character 'a' in numeric literal"],
    ['1.a', "invalid character 'a' after decimal point in numeric literal"],
    ['1ea', "invalid character 'a' in exponent of numeric literal"],
    ['é', "invalid character 'Ã' looking for beginning of value"],
  ])('%j fails with %s', (text, message) => {
    expect(() => parseGoJson(text)).toThrow(expect.objectContaining({ name: 'GoJsonError', message }) as GoJsonError);
  });

  test('a number of more digits than any field takes is read as the nearest one, in one pass', () => {
    expect(parseGoJson('18446744073709551616')).toBe(18_446_744_073_709_551_616n);
    expect(parseGoJson('9'.repeat(300))).toBe(Number('9'.repeat(300)));
    expect(parseGoJson(`-${'9'.repeat(400)}`)).toBe(-Infinity);
  });

  test('an error knows its place', () => {
    try {
      parseGoJson('{\n  "é": x\n}');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ offset: 10, line: 2, column: 8 });
    }
  });

  test('only the first value is read', () => {
    expect(plain(parseGoJson('{"a":1} trailing'))).toEqual({ a: 1 });
    expect(parseGoJson('1x')).toBe(1);
  });

  test('of equal keys the last wins', () => {
    expect(plain(parseGoJson('{"a":1,"a":2}'))).toEqual({ a: 2 });
  });

  test('__proto__ is a key like any other', () => {
    const value = parseGoJson('{"__proto__":{"polluted":true}}') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('integers beyond 2^53 keep their digits', () => {
    expect(parseGoJson('[18446744073709551615,9007199254740991,9007199254740993,-9007199254740993,1e3]')).toEqual([
      18446744073709551615n,
      9007199254740991,
      9007199254740993n,
      -9007199254740993n,
      1000,
    ]);
  });

  test('invalid UTF-8 and lone surrogates become U+FFFD', () => {
    expect(parseGoJson(Uint8Array.of(0x22, 0xff, 0x22))).toBe('\ufffd');
    expect(parseGoJson(String.raw`"\ud800x"`)).toBe('\ufffdx');
    expect(parseGoJson(String.raw`"\ud83d\ude00"`)).toBe('😀');
  });

  test('nesting is bounded', () => {
    expect(() => parseGoJson('['.repeat(100_000))).toThrow('exceeded max depth');
  });
});

describe('writing', () => {
  test.each<[unknown, string]>([
    ['<a>&\u2028\u2029', String.raw`"\u003ca\u003e\u0026\u2028\u2029"`],
    ['\b\f\n\r\t"\\\u0001', String.raw`"\u0008\u000c\n\r\t\"\\\u0001"`],
    [String.raw`\b`, String.raw`"\\b"`],
    ['é😀\u007f', '"é😀\u007f"'],
    ['\ud800', '"\ufffd"'],
    [2n ** 64n - 1n, '18446744073709551615'],
    [Uint8Array.of(1, 2, 255), '"AQL/"'],
    [Buffer.from('hi'), '"aGk="'],
    [-0, '0'],
    [1e21, '1e+21'],
    [{ b: 1, a: undefined, c: null }, '{"b":1,"c":null}'],
    [
      new Map([
        ['b', 1],
        ['a', 2],
      ]),
      '{"a":2,"b":1}',
    ],
    [[undefined, []], '[null,[]]'],
  ])('%o is written as %s', (value, text) => {
    expect(encodeGoJson(value)).toBe(text);
  });

  test('pretty: four blanks a level, empty containers closed, a final line feed', () => {
    expect(encodeGoJson({ a: [1, { b: {} }], c: [] }, { pretty: true })).toBe(
      '{\n    "a": [\n        1,\n        {\n            "b": {}\n        }\n    ],\n    "c": []\n}\n',
    );
    expect(encodeGoJson(true, { pretty: true })).toBe('true\n');
  });

  test('what was written reads back the same', () => {
    check(
      property(jsonValue(), boolean(), (value, pretty) => {
        const text = encodeGoJson(value, { pretty });
        expect(encodeGoJson(parseGoJson(text), { pretty })).toBe(text);
        expect(plain(JSON.parse(text))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
