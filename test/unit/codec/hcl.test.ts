import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HclError, parseHcl } from '../../../src/codec/index.ts';

describe('parseHcl', () => {
  test.each([
    ['', {}],
    ['a = 1', { a: 1 }],
    ['a = 0x1F b = -3 c = 1.5e2 d = 010', { a: 31, b: -3, c: 150, d: 8 }],
    ['a = true, b = false,', { a: true, b: false }],
    ['"quoted key" = "v"', { 'quoted key': 'v' }],
    ['a-b.c = "v"', { 'a-b.c': 'v' }],
    [String.raw`a = "x\n\"\\\u00e9\x41"`, { a: 'x\n"\\éA' }],
    ['a = "${ x("y") }"', { a: '${ x("y") }' }],
    ['a = ["x", 1, [true],]', { a: ['x', 1, [true]] }],
    ['a = []', { a: [] }],
    ['# c\n// c\n/* c\n c */ a = 1 # c', { a: 1 }],
    ['a = 1\na = 2', { a: 2 }],
    ['ports { http = 1 }', { ports: [{ http: 1 }] }],
    ['ports = { http = 1 }', { ports: [{ http: 1 }] }],
    ['s { a = 1 } s { a = 2 }', { s: [{ a: 1 }, { a: 2 }] }],
    ['service "web" "x" { port = 1 }', { service: [{ web: [{ x: [{ port: 1 }] }] }] }],
    ['checks = [{ a = 1 }, { a = 2 }]', { checks: [{ a: 1 }, { a: 2 }] }],
    ['a = <<EOF\n one\n  two\nEOF\nb = 1', { a: ' one\n  two\n', b: 1 }],
    ['a = <<-EOF\n    one\n      two\n    EOF\n', { a: 'one\n  two\n' }],
    ['a = <<EOF\nEOF', { a: '' }],
    ['{', undefined],
  ])('%j', (text, expected) => {
    if (expected === undefined) expect(() => parseHcl(text)).toThrow(HclError);
    else expect(JSON.parse(JSON.stringify(parseHcl(text)))).toEqual(expected);
  });

  test.each([
    ['ports {\n  http = 1\n ', 'At 3:3: object expected closing RBRACE got: EOF'],
    ['a', "At 1:3: key 'a' expected start of object ('{') or assignment ('=')"],
    ['a "b"', 'At 1:6: nested object expected: LBRACE got: EOF'],
    ['a = [1 2]', 'At 1:8: error parsing list, expected comma or list end, got: NUMBER'],
    ['a = [1.5', 'At 1:10: error parsing list, expected comma or list end, got: EOF'],
    ['a = [1', 'At 1:9: error parsing list, expected comma or list end, got: EOF'],
    ['a = "x', 'At 1:5: literal not terminated'],
    ['a = <<EOF\nx\n', 'At 1:5: heredoc not terminated'],
    ['a = 1\n/* x', 'At 2:1: comment not terminated'],
    ['a = ;', 'At 1:5: illegal character'],
    ['a = }', 'At 1:5: unknown token: RBRACE }'],
    ['= 1', 'At 1:1: expected: IDENT | STRING got: ASSIGN'],
    ['a = 1\n}', 'At 2:1: unexpected token: RBRACE'],
    [String.raw`a = "\q"`, 'At 1:6: illegal char escape'],
  ])('%j: %s', (text, message) => {
    expect(() => parseHcl(text)).toThrow(new HclError(message.replace(/^At \d+:\d+: /, ''), ...place(message)));
  });

  test('a key named like a property of objects is a key', () => {
    expect(Object.keys(parseHcl('__proto__ = 1\nconstructor { a = 1 }'))).toEqual(['__proto__', 'constructor']);
  });

  test.each(['a = '.concat('['.repeat(5000)), 'a {'.repeat(5000), `a ${'"b" '.repeat(5000)} {}`])(
    'nesting is bounded: %.10s…',
    (text) => {
      expect(() => parseHcl(text)).toThrow('nested deeper than 128 levels');
    },
  );

  test('any text is HCL or an HclError', () => {
    const piece = fc.constantFrom(
      ...'a b = { } [ ] , . + - "x" " 1 0x 1.5 true <<E <<-E E # // /* */ \\ ${'.split(' '),
      ' ',
      '\n',
      '"x\\',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
        try {
          parseHcl(pieces.join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(HclError);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('what is written as HCL is read again', () => {
    const scalar = fc.oneof(fc.string(), fc.boolean(), fc.integer());
    const value = fc.oneof(scalar, fc.array(scalar));
    const document = fc.dictionary(fc.string({ unit: fc.constantFrom('a', 'b', '_'), minLength: 1 }), value);
    const quote = (text: unknown): string => JSON.stringify(text).replaceAll('$', String.raw`\u0024`);
    fc.assert(
      fc.property(document, (object) => {
        const text = Object.entries(object)
          .map(([key, v]) => `${key} = ${quote(v)}`)
          .join('\n');
        expect({ ...parseHcl(text) }).toEqual({ ...object });
      }),
    );
  });
});

function place(message: string): [number, number] {
  const [, line, column] = /^At (\d+):(\d+): /.exec(message)!;
  return [Number(line), Number(column)];
}
