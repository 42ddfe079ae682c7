import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileGoSubmatch, GoRegexpError } from '../../../src/codec/index.ts';

describe('compileGoSubmatch', () => {
  test.each([
    ['^geo-(.*?)-([^\\-]+?)$', 'geo-customer-master', ['geo-customer-master', 'customer', 'master']],
    ['^geo-(.*?)-([^\\-]+?)$', 'geo-', null],
    ['(.*)-(.*)', 'a-b-c', ['a-b-c', 'a-b', 'c']],
    ['(.*?)-(.*)', 'a-b-c', ['a-b-c', 'a', 'b-c']],
    ['(?U)(.*)-(.*?)$', 'a-b-c', ['a-b-c', 'a', 'b-c']],
    ['a|ab', 'xab', ['a']],
    ['ab|a', 'xab', ['ab']],
    ['(a)|(b)', 'b', ['b', '', 'b']],
    ['(?P<x>a+)(?:b)(c?)', 'zaab', ['aab', 'aa', '']],
    ['(?i)(A)b', 'aB', ['aB', 'a']],
    // A group in a loop keeps what it took last, also when the last round went another way.
    ['(?:(a)|b)*', 'ab', ['ab', 'a']],
    ['(a|b){2}', 'ab', ['ab', 'b']],
    ['b*', 'aab', ['']],
    ['x{0,2}?$', 'xxx', ['xx']],
    ['(\\w+)@', '😀me@', ['me@', 'me']],
  ])('%j in %j: %j', (pattern, text, expected) => {
    expect(compileGoSubmatch(pattern)(text)).toEqual(expected);
  });

  test('refuses what Go refuses', () => {
    expect(() => compileGoSubmatch('(')).toThrow(new GoRegexpError('missing closing )', '('));
  });

  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '(a)', '(b|ab)', '(?:a|b)');
  const repeated = fc
    .tuple(fc.constantFrom('a', 'b', '[ab]'), fc.constantFrom('*', '+?', '{1,2}', '??'))
    .map((x) => x.join(''));
  const sequence = fc.array(fc.oneof(atom, repeated), { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
  const pattern = fc.array(sequence, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('|'));
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 12 });

  test('prefers what a backtracking engine finds first', () => {
    fc.assert(
      fc.property(pattern, text, (source, subject) => {
        const found = new RegExp(source).exec(subject);
        const expected = found === null ? null : Array.from(found, (group) => group ?? '');
        expect(compileGoSubmatch(source)(subject)).toEqual(expected);
      }),
    );
  });
});
