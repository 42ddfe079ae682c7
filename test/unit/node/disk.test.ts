// The real disk and the simulated one do the same as long as nothing goes wrong; a crash is the simulated one's alone.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeDisk } from '../../../src/node/disk.ts';
import type { Disk } from '../../../src/ports/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const temporary: string[] = [];
afterEach(() => {
  for (const path of temporary.splice(0)) rmSync(path, { recursive: true, force: true });
});

const bytes = (text: string): Buffer => Buffer.from(text);
const faulty = (seed = 1): FaultyDisk => new FaultyDisk({ clock: new VirtualClock(), random: new SeededRandom(seed) });

async function text(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, { create: false });
  const found = Buffer.from(await file.read(0, 1000)).toString();
  await file.close();
  return found;
}

describe.each<[string, () => Disk]>([
  [
    'the real disk',
    () => {
      const path = mkdtempSync(join(tmpdir(), 'portolan-disk-'));
      temporary.push(path);
      return nodeDisk(path);
    },
  ],
  ['the simulated disk', () => faulty().mount()],
])('%s', (_, makeDisk) => {
  test('writes anywhere, reads up to the end, cuts and grows', async () => {
    const disk = makeDisk();
    const file = await disk.open('file', { create: true });
    await file.write(bytes('hello world'), 0);
    await file.write(bytes('W'), 6);
    expect(Buffer.from(await file.read(6, 100)).toString()).toBe('World');
    expect(await file.read(50, 10)).toHaveLength(0);
    await file.truncate(5);
    expect(await file.size()).toBe(5);
    await file.write(bytes('!'), 7);
    await file.sync();
    await file.close();
    expect(await text(disk, 'file')).toBe('hello\0\0!');
  });

  test('opens what is there without changing it, and says ENOENT for what is not', async () => {
    const disk = makeDisk();
    const file = await disk.open('file', { create: true, durable: true });
    await file.write(bytes('kept'), 0);
    await file.close();
    await (await disk.open('file', { create: true })).close();
    expect(await text(disk, 'file')).toBe('kept');
    await expect(disk.open('other', { create: false })).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('lists, renames and removes files and directories', async () => {
    const disk = makeDisk();
    expect(await disk.list('deep')).toEqual([]);
    await disk.makeDirectory('deep/inside');
    await disk.makeDirectory('deep/inside');
    for (const name of ['b', 'a']) await (await disk.open(`deep/inside/${name}`, { create: true })).close();
    expect(await disk.list('deep/inside')).toEqual(['a', 'b']);
    await disk.rename('deep/inside', 'deep/moved');
    expect(await disk.list('deep')).toEqual(['moved']);
    expect(await disk.list('deep/moved')).toEqual(['a', 'b']);
    await disk.remove('deep/moved/a');
    await disk.remove('deep/moved/a');
    expect(await disk.list('deep/moved')).toEqual(['b']);
    await disk.remove('deep/moved');
    await disk.syncDirectory('deep');
    expect(await disk.list('deep')).toEqual([]);
  });
});

describe('a crash', () => {
  /** What is left of `write` after a crash, over many seeds. */
  async function outcomes(write: (disk: Disk) => Promise<void>): Promise<Set<string>> {
    const found = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const disk = faulty(seed);
      await write(disk.mount());
      disk.crash();
      found.add(await text(disk.mount(), 'file').catch(() => 'nothing'));
    }
    return found;
  }

  test('keeps what was synced, name and content', async () => {
    const synced = async (disk: Disk): Promise<void> => {
      const file = await disk.open('file', { create: true });
      await file.write(bytes('content'), 0);
      await file.sync();
      await disk.syncDirectory('');
    };
    expect(await outcomes(synced)).toEqual(new Set(['content']));
  });

  test('may take the name of a file that was not synced with its directory', async () => {
    const found = await outcomes(async (disk) => {
      await (await disk.open('file', { create: true, durable: true })).write(bytes('content'), 0);
    });
    expect(found).toEqual(new Set(['content', 'nothing']));
  });

  test('tears what was not synced by sectors', async () => {
    const found = await outcomes(async (disk) => {
      const file = await disk.open('file', { create: true });
      await disk.syncDirectory('');
      await file.write(Buffer.alloc(1024, 'x'), 0);
    });
    const none = 512;
    expect([...found].map((left) => left.replaceAll('\0', '').length).sort((a, b) => a - b)).toContain(none);
    expect(found.size).toBe(4);
  });

  test('ends the process: what it was doing never finishes', async () => {
    const disk = faulty();
    const mounted = disk.mount();
    const file = await mounted.open('file', { create: true });
    disk.crash();
    let finished = false;
    void file.write(bytes('late'), 0).then(() => (finished = true));
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(finished).toBe(false);
  });
});
