// One suite for the real file and the simulated one.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openAppendFile } from '../../../src/node/append-file.ts';
import type { AppendFile } from '../../../src/ports/index.ts';
import { MemoryAppendFile } from '../../../src/sim/memory-append-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'append-file-'));
afterAll(() => rmSync(directory, { recursive: true }));
let count = 0;
const freshPath = (): string => join(directory, `${++count}`, 'serf', 'local.snapshot');

describe.each<[string, () => { readonly file: AppendFile; readonly content: () => string }]>([
  [
    'on a disk',
    () => {
      const path = freshPath();
      return { file: openAppendFile(path), content: () => readFileSync(path, 'utf8') };
    },
  ],
  [
    'in memory',
    () => {
      const file = new MemoryAppendFile();
      return { file, content: () => file.text };
    },
  ],
])('a file that grows, %s', (_, open) => {
  test('is empty at first', async () => {
    expect(await open().file.read()).toBe('');
  });

  test('holds what was appended, in order', async () => {
    const { file, content } = open();
    for (let i = 0; i < 200; i++) file.append(`${i}\n`);
    await file.sync();
    file.append('end\n');
    await file.close();
    expect(content()).toBe(`${Array.from({ length: 200 }, (_, i) => `${i}\n`).join('')}end\n`);
  });

  test('holds the new content and what came after it', async () => {
    const { file, content } = open();
    file.append('old\n');
    await file.sync();
    file.append('old too\n');
    file.replace('new\n');
    file.append('after\n');
    await file.close();
    expect(content()).toBe('new\nafter\n');
    expect(await file.read()).toBe('new\nafter\n');
  });
});

test('a file on a disk may be read by all, and says in the end what went wrong', async () => {
  const path = freshPath();
  const file = openAppendFile(path);
  file.append('x\n');
  await file.close();
  expect(statSync(path).mode & 0o777).toBe(0o644);
  const inTheWay = join(directory, 'in-the-way');
  writeFileSync(inTheWay, '');
  const broken = openAppendFile(join(inTheWay, 'serf.snapshot'));
  broken.append('x\n');
  await expect(broken.sync()).rejects.toThrow(/ENOTDIR|EEXIST/);
  await broken.close();
});
