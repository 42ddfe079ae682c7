// Tables, wrapping and colours.
import { describe, expect, test } from 'vitest';
import { formatTable, paint, wrap } from '../../../src/cli/text.ts';

describe('a table', () => {
  test('has columns as wide as their widest cell and nothing behind the last', () => {
    expect(
      formatTable([
        ['Node', 'ID', 'DC'],
        ['a', 'long-id', 'dc1'],
        ['longer', '', 'x'],
      ]),
    ).toBe('Node    ID       DC\na       long-id  dc1\nlonger           x');
  });

  test('counts characters, not bytes or escapes', () => {
    const lines = formatTable([
      [paint('grün', 'green', true), '1'],
      ['abcd', '2'],
      ['😀bcd', '3'],
    ]).split('\n');
    // oxlint-disable-next-line no-control-regex
    const plain = lines.map((line) => Array.from(line.replaceAll(/\u001b\[\d+m/g, '')).length);
    expect(plain).toEqual([7, 7, 7]);
  });
});

test('a paragraph breaks at 80 columns, indent included', () => {
  const lines = wrap('word '.repeat(40).trim(), 6);
  expect(lines.join(' ').split(/\s+/).filter(Boolean)).toHaveLength(40);
  for (const line of lines) {
    expect(line.length).toBeLessThanOrEqual(80);
    expect(line).toMatch(/^ {6}\S/);
  }
  expect(wrap('x'.repeat(100), 2)).toEqual([`  ${'x'.repeat(100)}`]);
});
