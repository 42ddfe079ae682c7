// Tar archives: what is written is read again in pieces of any size, by us and by the system's tar.
import { execFileSync } from 'node:child_process';
import { array, assert, integer, property, string, stringMatching, tuple } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TarError, type TarFile, TarReader, writeTar } from '../../../src/codec/index.ts';

function read(archive: Uint8Array, pieceBytes = archive.length || 1): { name: string; content: string }[] {
  const files: { name: string; content: Buffer[] }[] = [];
  const reader = new TarReader({
    onFile: (name) => files.push({ name, content: [] }),
    onData: (chunk) => files.at(-1)!.content.push(Buffer.from(chunk)),
  });
  for (let at = 0; at < archive.length; at += pieceBytes) reader.push(archive.subarray(at, at + pieceBytes));
  reader.end();
  return files.map(({ name, content }) => ({ name, content: Buffer.concat(content).toString('latin1') }));
}

const file = (name: string, text: string): TarFile => ({ name, content: Buffer.from(text, 'latin1'), mtime: 1e9 });

test('what is written is read again, in pieces of any size', () => {
  const names = stringMatching(/^[a-z][a-z0-9./-]{0,40}$/);
  assert(
    property(array(tuple(names, string({ maxLength: 2000 }))), integer({ min: 1, max: 1500 }), (all, n) => {
      const files = all.map(([name, text]) => ({ name, content: Buffer.from(text, 'utf8').toString('latin1') }));
      const archive = writeTar(files.map(({ name, content }) => file(name, content)));
      expect(archive.length % 512).toBe(0);
      expect(read(archive, n)).toEqual(files);
    }),
    { numRuns: 200 },
  );
});

test("the system's tar reads it", () => {
  const archive = writeTar([file('a/b.txt', 'hello'), file('empty', '')]);
  expect(execFileSync('tar', ['-tf', '-'], { input: archive }).toString()).toBe('a/b.txt\nempty\n');
  expect(execFileSync('tar', ['-xOf', '-', 'a/b.txt'], { input: archive }).toString()).toBe('hello');
});

describe('refused', () => {
  const archive = writeTar([file('a', 'x'.repeat(600))]);
  test.each([
    ['a header cut short', archive.subarray(0, 100), 'unexpected EOF'],
    ['content cut short', archive.subarray(0, 700), 'unexpected EOF'],
    ['a wrong sum', Buffer.concat([Buffer.from('b'), archive.subarray(1)]), 'archive/tar: invalid tar header'],
  ])('%s', (_, bytes, message) => {
    expect(() => read(bytes)).toThrow(new TarError(message));
  });

  test('a directory', () => {
    const folder = execFileSync('tar', ['-c', '--format=ustar', '-f', '-', '-C', '/', '--no-recursion', 'tmp']);
    expect(() => read(folder)).toThrow('is no regular file');
  });

  test('a name that does not fit', () => {
    expect(() => writeTar([file('n'.repeat(101), '')])).toThrow(TarError);
  });
});
