import { describe, expect, test } from 'vitest';
import { DnsFormatError, labelsOf, parseName, readName, rootName } from '../../../src/dns/name.ts';

const wire = (hex: string): Buffer => Buffer.from(hex, 'hex');

describe('names', () => {
  test('are read with their spelling, odd bytes escaped', () => {
    const { name, end } = readName(wire('0157036f2e400261e900ff'), 0);
    expect(name.text).toBe('W.o\\.\\@.a\\233.');
    expect(end).toBe(10);
    expect(labelsOf(name)).toEqual(['W', 'o\\.\\@', 'a\\233']);
    expect(Buffer.from(name.wire).toString('hex')).toBe('0157036f2e400261e900');
  });

  test.each(['a.b.c.', 'x\\.y.z.', 'q\\007\\255.w.'])('survive text → wire → text: %s', (text) => {
    const name = parseName(text);
    expect(readName(name.wire, 0).name).toEqual(name);
  });

  test('a missing final dot is added, also behind an escaped one', () => {
    expect(parseName('a.b').text).toBe('a.b.');
    expect(parseName('a\\.').text).toBe('a\\..');
    expect(parseName('.')).toBe(rootName);
  });

  test('pointers are followed, and the end is behind the first one', () => {
    const { name, end, compressed } = readName(wire('0161000162c000'), 3);
    expect(name.text).toBe('b.a.');
    expect({ end, compressed }).toEqual({ end: 7, compressed: true });
  });

  test.each([
    ['a pointer to itself', 'c000'],
    ['pointers in a circle', '0161c000'],
    ['a label past the end', '0561'],
    ['no end', '0161'],
    ['half a pointer', 'c0'],
    ['an unknown label type', '4161'],
    ['256 bytes', `${'3f'.padEnd(128, '61').repeat(4)}00`],
  ])('%s is refused', (_, hex) => {
    expect(() => readName(wire(hex), 0)).toThrow(DnsFormatError);
  });

  test.each(['a..b', '.a', 'l'.repeat(64), 'abcdefg.'.repeat(32)])('%s cannot be written', (text) => {
    expect(() => parseName(text)).toThrow(DnsFormatError);
  });

  test('255 bytes on the wire are the most', () => {
    const text = `${`${'a'.repeat(63)}.`.repeat(3)}${'b'.repeat(61)}.`;
    expect(parseName(text).wire).toHaveLength(255);
    expect(() => parseName(`b${text}`)).toThrow(DnsFormatError);
  });
});
