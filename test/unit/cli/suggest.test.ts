// What a mistyped word may have meant.
import { expect, test } from 'vitest';
import { editDistance, suggestion } from '../../../src/cli/suggest.ts';
import { run } from './in-process.ts';

test.each([
  ['kv', 'kv', 0],
  ['memebrs', 'members', 1],
  ['cat', 'catalog', 4],
  ['', 'kv', 2],
  ['reload', 'leave', 5],
  ['snpashto', 'snapshot', 2],
] as const)('%s and %s differ by %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

test.each([
  ['MEMBERS', 'members'],
  ['memebrs', 'members'],
  ['zzz', undefined],
  ['kw', 'kv'],
  ['k', undefined],
])('%s may have meant %s', (word, meant) => {
  expect(suggestion(word, ['kv', 'members', 'monitor'])).toBe(meant);
});

test('the command line tells of it after the list, with the exit code as ever', async () => {
  const mistyped = await run(['memebrs']);
  expect(mistyped).toMatchObject({ exit: 127, stdout: '' });
  expect(mistyped.stderr).toMatch(/\n\nDid you mean "portolan members"\?\n$/);
  expect((await run(['acl', 'toekn', 'list'])).stderr).toContain('Did you mean "portolan acl token"?');
  expect((await run(['zzzzzz'])).stderr).not.toContain('Did you mean');
  expect((await run(['kv'])).stderr).not.toContain('Did you mean');
});
