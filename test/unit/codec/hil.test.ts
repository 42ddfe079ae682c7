import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileHil, HilError, type HilScope } from '../../../src/codec/index.ts';

const scope: HilScope = {
  variables: { 'name.full': 'geo-db', 'agent.segment': '', n: '7' },
  functions: { match: (group) => ['geo-db', 'db'][group] ?? '' },
};

describe('compileHil', () => {
  test.each([
    ['plain', 'plain'],
    ['${name.full}', 'geo-db'],
    ['a-${ name.full }-${agent.segment}b', 'a-geo-db-b'],
    ['$${name.full}', '${name.full}'],
    ['100$ {x}', '100$ {x}'],
    ['${match(1)}.${match(9)}.', 'db..'],
    ['${match(2 - 1)}${match("0")}', 'dbgeo-db'],
    ['${1 + 2 * 3 % 4 - (1 - 2)}', '4'],
    ['${-n / 2}', '-3'],
    ['${"a \\"b\\" ${match(1)}"}', 'a "b" db'],
    ['${match(1) == "db" ? "yes" : "no"}', 'yes'],
    ['${!(n < 8 && n >= 7) || n != 7 ? 1 : 2}', '2'],
  ])('%s becomes %s', (text, expected) => {
    expect(compileHil(text)(scope)).toBe(expected);
  });

  test.each(['${', '${}', '${name.full', '${"a}', '${"\\q"}', '${match(1}', '${1 ? 2}', '${('.repeat(60)])(
    '%s cannot be parsed',
    (text) => {
      expect(() => compileHil(text)).toThrow(HilError);
    },
  );

  test.each([
    ['${nope}', 'unknown variable accessed: nope'],
    ['${toString}', 'unknown variable accessed: toString'],
    ['${upper(1)}', 'unknown function called: upper'],
    ['${match(name.full)}', 'not a number: geo-db'],
    ['${1 / 0}', 'divide by zero'],
    ['${n ? 1 : 2}', 'not a bool: 7'],
  ])('%s: %s', (text, message) => {
    expect(() => compileHil(text)(scope)).toThrow(new HilError(message));
  });

  test('text without an interpolation stays as it is', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.includes('${'));
        expect(compileHil(text)(scope)).toBe(text);
      }),
    );
  });

  test('escaped marks come back as they are', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const marked = text.split('$').join('${');
        expect(compileHil(marked.split('${').join('$${'))(scope)).toBe(marked);
      }),
    );
  });

  test('any text is rendered or refused', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', '"', 'n', '(', ')', '1', '+', ' ') }), (text) => {
        try {
          expect(typeof compileHil(text)(scope)).toBe('string');
        } catch (error) {
          expect(error).toBeInstanceOf(HilError);
        }
      }),
    );
  });
});
