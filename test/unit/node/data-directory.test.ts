import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDataDirectory } from '../../../src/node/data-directory.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'portolan-data-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('the data directory', () => {
  test('gives back what was written, by name', async () => {
    const files = await openDataDirectory(join(root, 'made'));
    await files.write('services/b', 'two', { sync: true });
    await files.write('services/a', 'one', { sync: false });
    expect(await files.list('services')).toEqual(['a', 'b']);
    expect(await files.read('services/b')).toBe('two');
    await files.remove('services/b');
    expect(await files.read('services/b')).toBeUndefined();
    expect(await files.list('nothing')).toEqual([]);
  });

  test('is rid at the start of what a crash left half written, and of nothing else', async () => {
    const kept = ['node-id', 'services/abc', 'services/notes.tmp', 'checks/state/def', 'raft/x.1.1.tmp'];
    const left = ['node-id.77.1.tmp', 'services/abc.77.2.tmp', 'checks/abc.1.3.tmp', 'checks/state/def.9.4.tmp'];
    for (const directory of ['services', 'checks/state', 'raft']) mkdirSync(join(root, directory), { recursive: true });
    for (const name of [...kept, ...left]) writeFileSync(join(root, name), name);
    await openDataDirectory(root);
    expect(kept.filter((name) => !existsSync(join(root, name)))).toEqual([]);
    expect(left.filter((name) => existsSync(join(root, name)))).toEqual([]);
  });

  test('keeps the old file, and nothing beside it, when a write fails', async () => {
    const files = await openDataDirectory(root);
    await files.write('services/a', 'old', { sync: true });
    // The new file cannot take the place of a directory that is not empty.
    mkdirSync(join(root, 'services/b/c'), { recursive: true });
    await expect(files.write('services/b', 'new', { sync: true })).rejects.toThrow();
    expect(readdirSync(join(root, 'services'))).toEqual(['a', 'b']);
    expect(readFileSync(join(root, 'services/a'), 'utf8')).toBe('old');
  });

  test('is no file', async () => {
    writeFileSync(join(root, 'file'), '');
    await expect(openDataDirectory(join(root, 'file'))).rejects.toThrow('is not a directory');
  });
});
