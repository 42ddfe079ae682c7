import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Thresholds } from '../../../src/checks/thresholds.ts';
import type { CheckStatus } from '../../../src/model/index.ts';

const letters: Record<string, CheckStatus> = { p: 'passing', w: 'warning', c: 'critical' };

/** `y` for each result that counts. */
function counted(successBeforePassing: number, failuresBeforeCritical: number, results: string): string {
  const thresholds = new Thresholds({ successBeforePassing, failuresBeforeCritical });
  return Array.from(results, (letter) => (thresholds.judge(letters[letter]!).counts ? 'y' : '-')).join('');
}

test.each([
  ['without thresholds every result counts', 0, 0, 'pcwcp', 'yyyyy'],
  ['the very first result counts at once', 3, 3, 'c', 'y'],
  ['the very first result counts at once', 3, 3, 'p', 'y'],
  ['failures count from the third in a row on', 3, 3, 'pcccc', 'y--yy'],
  ['a success in between starts the count anew', 0, 3, 'pccpccc', 'y--y--y'],
  ['warning and passing are one kind', 3, 0, 'cpwp', 'y--y'],
  ['successes count from the third in a row on', 3, 1, 'ccppcppp', 'yy--y--y'],
])('%s (%i, %i, %s)', (_name, success, failures, results, expected) => {
  expect(counted(success, failures, results)).toBe(expected);
});

test('a result counts if and only if it is the n-th of its kind in a row, or the first of all', () => {
  const arbitrary = fc.array(fc.constantFrom('p', 'w', 'c'), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(arbitrary, fc.nat(4), fc.nat(4), (list, success, failures) => {
      const results = list.join('');
      const kind = (letter: string): boolean => letter === 'c';
      const expected = list.map((letter, index) => {
        let inARow = 0;
        for (let at = index; at >= 0 && kind(list[at]!) === kind(letter); at--) inARow++;
        const first = inARow === index + 1;
        return first || inARow >= (kind(letter) ? failures : success) ? 'y' : '-';
      });
      expect(counted(success, failures, results)).toBe(expected.join(''));
    }),
  );
});
