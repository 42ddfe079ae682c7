import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileGoRegexp, GoRegexpError } from '../../../src/codec/index.ts';

describe('compileGoRegexp', () => {
  test.each([
    ['', 'anything', true],
    ['b', 'abc', true],
    ['^b', 'abc', false],
    ['^(linux|bsd)$', 'bsd', true],
    ['^(linux|bsd)$', 'bsdx', false],
    ['a.c', 'a\nc', false],
    ['(?s)a.c', 'a\nc', true],
    ['(?i)ABC', 'xabcx', true],
    ['(?i:A)b', 'ab', true],
    ['(?i:A)b', 'aB', false],
    ['a(?i)b|C', 'c', true],
    ['(?m)^b$', 'a\nb\nc', true],
    ['^b$', 'a\nb\nc', false],
    ['(?P<name>x)(?:y)', 'xy', true],
    ['a{2,3}$', 'aa', true],
    ['^a{2,3}$', 'aaaa', false],
    ['^a{2}$', 'aa', true],
    ['^a{2,}?$', 'aaaaa', true],
    ['a{,2}', 'a{,2}', true],
    ['x*', '', true],
    ['^(a*)*$', 'aaab', false],
    ['[^a-c]', 'abc', false],
    ['[]a]', ']', true],
    ['[a-]', '-', true],
    [String.raw`[\d.]+$`, 'v1.2', true],
    ['^[[:alpha:]_]+$', 'ab_C', true],
    ['^[[:^alpha:]]+$', '12', true],
    [String.raw`^\pL+$`, 'äb', true],
    [String.raw`^\p{Greek}$`, 'λ', true],
    [String.raw`^\P{^Greek}$`, 'λ', true],
    [String.raw`\bcat\b`, 'a cat!', true],
    [String.raw`\bcat\b`, 'concat', false],
    [String.raw`\Aa\z`, 'a', true],
    [String.raw`^\Qa.b\E+$`, 'a.bb', true],
    [String.raw`\x41\x{1F600}\101`, 'A😀A', true],
    ['^.$', '😀', true],
    [String.raw`a\.b`, 'axb', false],
  ])('%j in %j: %j', (pattern, text, expected) => {
    expect(compileGoRegexp(pattern)(text)).toBe(expected);
  });

  test.each([
    ['(', 'missing closing ): `(`'],
    ['a)', 'unexpected ): `a)`'],
    ['[a', 'missing closing ]: `[a`'],
    ['*a', 'missing argument to repetition operator: `*`'],
    ['a**', 'invalid nested repetition operator: `**`'],
    ['a{1001}', 'invalid repeat count: `{1001}`'],
    ['((a{100}){100})', 'invalid repeat count: `(a{100}){100}`'],
    ['[z-a]', 'invalid character class range: `z-a`'],
    ['[[:constructor:]]', 'invalid character class range: `[:constructor:]`'],
    ['(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
    [String.raw`\8`, String.raw`invalid escape sequence: ${'`\\8`'}`],
    [String.raw`(a)\1`, String.raw`invalid escape sequence: ${'`\\1`'}`],
    ['a\\', 'trailing backslash at end of expression: ``'],
  ])('%j is refused', (pattern, reason) => {
    expect(() => compileGoRegexp(pattern)).toThrow(`error parsing regexp: ${reason}`);
  });

  test('a pattern that stops a backtracking engine takes linear time', () => {
    expect(compileGoRegexp('^(a+)+$')(`${'a'.repeat(5000)}b`)).toBe(false);
  });

  test('it agrees with the regular expressions of JavaScript on what both have', () => {
    const pattern = fc.letrec<{ tree: string }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', String.raw`\w`, '^', '$', ''),
        fc.tuple(tie('tree'), tie('tree')).map(([a, b]) => a + b),
        fc.tuple(tie('tree'), tie('tree')).map(([a, b]) => `(?:${a}|${b})`),
        fc.tuple(tie('tree'), fc.constantFrom('*', '+', '?', '{1,2}')).map(([a, r]) => `(?:${a})${r}`),
      ),
    })).tree;
    fc.assert(
      fc.property(pattern, fc.string({ unit: fc.constantFrom('a', 'b', '-', ' '), maxLength: 8 }), (pattern, text) => {
        expect(compileGoRegexp(pattern)(text)).toBe(new RegExp(pattern).test(text));
      }),
      { numRuns: 500 },
    );
  });

  test('any text is a pattern or a GoRegexpError', () => {
    const text = fc.string({
      unit: fc.constantFrom(...Array.from(String.raw`ab()[]{}?*+|\^$.-:,01QEpPxi`)),
      maxLength: 24,
    });
    fc.assert(
      fc.property(text, (pattern) => {
        try {
          compileGoRegexp(pattern)('ab(01');
        } catch (error) {
          expect(error).toBeInstanceOf(GoRegexpError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
