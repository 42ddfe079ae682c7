// The log on both disks, what a crash leaves of it, and what a flipped bit does.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeDisk } from '../../../src/node/disk.ts';
import type { Disk } from '../../../src/ports/index.ts';
import { type LogEntry, LogCompactedError, LogCorruptionError, SegmentedLog } from '../../../src/raft/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { command, quiet } from './support.ts';

/** Size of the record that closing leaves at the end. */
const markBytes = 42;

const temporary: string[] = [];
afterEach(() => {
  for (const path of temporary.splice(0)) rmSync(path, { recursive: true, force: true });
});

function realDisk(): Disk {
  const path = mkdtempSync(join(tmpdir(), 'portolan-log-'));
  temporary.push(path);
  return nodeDisk(path);
}

function faultyDisk(seed = 1): FaultyDisk {
  return new FaultyDisk({ clock: new VirtualClock(), random: new SeededRandom(seed) });
}

const open = (disk: Disk, segmentBytes = 512): Promise<SegmentedLog> =>
  SegmentedLog.open({ disk, directory: 'log', logger: quiet, segmentBytes, cacheBytes: 1024 });

const entries = (from: number, through: number, term = 1): LogEntry[] =>
  Array.from({ length: through - from + 1 }, (_, i) => command(from + i, `command ${from + i} of ${term}`, term));

async function all(log: SegmentedLog): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  for (let index = log.firstIndex; index > 0 && index <= log.lastIndex;) {
    const read = await log.read(index, log.lastIndex, 200);
    found.push(...read);
    index += read.length;
  }
  return found;
}

const texts = (found: readonly LogEntry[]): string[] =>
  found.map(({ Index, Term, Data }) => `${Index}/${Term} ${Buffer.from(Data!).toString()}`);

describe.each([
  ['a real disk', realDisk],
  ['a simulated disk', () => faultyDisk().mount()],
])('on %s', (_, makeDisk) => {
  test('is empty at first', async () => {
    const log = await open(makeDisk());
    expect([log.firstIndex, log.lastIndex]).toEqual([0, 0]);
    await log.close();
  });

  test('what was appended is read, before and after a restart, over many segments', async () => {
    const disk = makeDisk();
    const log = await open(disk);
    const written = entries(1, 100);
    for (let at = 0; at < 100; at += 5) {
      await Promise.all(written.slice(at, at + 5).map((entry) => log.append([entry])));
    }
    expect(texts(await all(log))).toEqual(texts(written));
    await log.close();
    expect((await disk.list('log')).length).toBeGreaterThan(1);
    const again = await open(disk);
    expect([again.firstIndex, again.lastIndex]).toEqual([1, 100]);
    expect(texts(await all(again))).toEqual(texts(written));
    await again.append(entries(101, 110));
    await again.close();
    const third = await open(disk);
    expect(texts(await all(third))).toEqual(texts([...written, ...entries(101, 110)]));
    await third.close();
  });

  test('keeps null apart from empty, extensions, and every type', async () => {
    const disk = makeDisk();
    const log = await open(disk);
    const written: LogEntry[] = [
      { Index: 1, Term: 1, Type: 5, Data: Buffer.from('x'), Extensions: null },
      { Index: 2, Term: 2, Type: 1, Data: null, Extensions: null },
      { Index: 3, Term: 2 ** 40, Type: 0, Data: Buffer.alloc(0), Extensions: Buffer.from([1, 2]) },
    ];
    await log.append(written);
    await log.close();
    const again = await open(disk);
    const found = (await again.read(1, 3, 1000)).map((entry) => ({
      ...entry,
      Data: entry.Data && Buffer.from(entry.Data),
      Extensions: entry.Extensions && Buffer.from(entry.Extensions),
    }));
    expect(found).toEqual(written);
    await again.close();
  });

  test('can be cut anywhere and goes on from there', async () => {
    for (const from of [1, 2, 9, 40, 60]) {
      const disk = makeDisk();
      const log = await open(disk);
      await log.append(entries(1, 60));
      await log.truncateFrom(from);
      expect(log.lastIndex).toBe(from === 1 ? 0 : from - 1);
      await log.append(entries(from, from + 5, 2));
      const wanted = [...entries(1, from - 1), ...entries(from, from + 5, 2)];
      expect(texts(await all(log))).toEqual(texts(wanted));
      await log.close();
      const again = await open(disk);
      expect(texts(await all(again))).toEqual(texts(wanted));
      await again.close();
    }
  });

  test('loses whole segments by compaction, and says so to whoever asks for them', async () => {
    const disk = makeDisk();
    const log = await open(disk);
    // Each in a write of its own: a segment ends between two writes.
    for (const entry of entries(1, 60)) await log.append([entry]);
    await log.compactThrough(40);
    expect(log.firstIndex).toBeGreaterThan(1);
    expect(log.firstIndex).toBeLessThanOrEqual(41);
    await expect(log.read(1, 1, 100)).rejects.toThrow(LogCompactedError);
    expect((await log.read(41, 41, 100))[0]!.Index).toBe(41);
    await log.close();
    const again = await open(disk);
    expect(again.lastIndex).toBe(60);
    await again.close();
  });

  test('starts anew at any index', async () => {
    const disk = makeDisk();
    const log = await open(disk);
    await log.append(entries(1, 30));
    await log.reset(500);
    expect([log.firstIndex, log.lastIndex]).toEqual([0, 0]);
    await log.append(entries(500, 510, 3));
    await log.close();
    const again = await open(disk);
    expect([again.firstIndex, again.lastIndex]).toEqual([500, 510]);
    await again.close();
  });
});

test('everything appended while the disk works goes into one write', async () => {
  const disk = faultyDisk().mount();
  let writes = 0;
  const counted: Disk = {
    ...disk,
    open: async (path, options) => {
      const file = await disk.open(path, options);
      return {
        ...file,
        write: (bytes, position) => {
          writes++;
          return file.write(bytes, position);
        },
      };
    },
  };
  const log = await open(counted, 1 << 20);
  writes = 0;
  await Promise.all(entries(1, 200).map((entry) => log.append([entry])));
  expect(writes).toBe(2);
});

describe('after a crash', () => {
  test('what was acknowledged is there, what follows is whole or gone, whatever was torn', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 1e6 }),
        fc.array(fc.integer({ min: 1, max: 2000 })),
        async (seed, sizes) => {
          const clock = new VirtualClock();
          const disk = new FaultyDisk({ clock, random: new SeededRandom(seed), latencyMs: 5 });
          const opening = open(disk.mount());
          await clock.advance(200);
          const log = await opening;
          let acknowledged = 0;
          for (const [i, size] of sizes.entries()) {
            void log.append([command(i + 1, 'x'.repeat(size))]).then(() => (acknowledged = i + 1));
            await clock.advance(seed % 4);
          }
          disk.crash();
          const reopening = open(disk.mount());
          await clock.advance(200);
          const again = await reopening;
          expect(again.lastIndex).toBeGreaterThanOrEqual(acknowledged);
          expect(again.lastIndex).toBeLessThanOrEqual(sizes.length);
          for (const [i, entry] of (await all(again)).entries()) expect(entry.Data).toHaveLength(sizes[i]!);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a torn end is cut off, and the log goes on', async () => {
    const faulty = faultyDisk();
    const log = await open(faulty.mount(), 1 << 20);
    await log.append(entries(1, 5));
    const path = faulty.files()[0]!;
    const file = await faulty.mount().open(path, { create: false, durable: true });
    await file.write(Buffer.from('half of a record'), await file.size());
    const again = await open(faulty.mount(), 1 << 20);
    expect(again.lastIndex).toBe(5);
    await again.append(entries(6, 7));
    await again.close();
    expect((await open(faulty.mount(), 1 << 20)).lastIndex).toBe(7);
  });

  test('a segment that was being made is made again', async () => {
    const faulty = faultyDisk();
    const log = await open(faulty.mount());
    for (const entry of entries(1, 20)) await log.append([entry]);
    const last = faulty.files().at(-1)!;
    const disk = faulty.mount();
    const next = `log/${String(21).padStart(20, '0')}.log`;
    const file = await disk.open(next, { create: true, durable: true });
    await file.write(Buffer.from('porto'), 0);
    expect(next > last).toBe(true);
    const again = await open(disk);
    expect(again.lastIndex).toBe(20);
    await again.append(entries(21, 22));
    await again.close();
    expect((await open(faulty.mount())).lastIndex).toBe(22);
  });
});

describe('a flipped bit', () => {
  test('anywhere in what was acknowledged is named by file and entry, and never served', async () => {
    const random = new SeededRandom(3);
    for (let round = 0; round < 200; round++) {
      const faulty = faultyDisk(round);
      const log = await open(faulty.mount());
      for (const entry of entries(1, 30)) await log.append([entry]);
      await log.close();
      const disk = faulty.mount();
      const paths = faulty.files();
      const path = paths[random.integer(paths.length)]!;
      const size = await (await disk.open(path, { create: false })).size();
      const offset = random.integer(size);
      faulty.flipBit(path, offset, random.integer(8));
      const opening = open(disk).then((found) => all(found).then(texts));
      // The mark at the very end says only that all before it is whole: without it nothing is lost.
      if (path === paths.at(-1) && offset >= size - markBytes) expect(await opening).toEqual(texts(entries(1, 30)));
      else await expect(opening).rejects.toThrow(LogCorruptionError);
    }
  });

  test('is named', async () => {
    const faulty = faultyDisk();
    const log = await open(faulty.mount(), 1 << 20);
    for (const entry of entries(1, 9)) await log.append([entry]);
    faulty.flipBit(faulty.files()[0]!, 16 + 2 * 56 + 50, 1);
    await expect(open(faulty.mount())).rejects.toThrow(
      /entry 3 in log\/0{19}1\.log at byte \d+ is damaged: its checksum does not match; stop this server/,
    );
  });

  test('in a running server is found when the entry is read from the disk', async () => {
    const faulty = faultyDisk();
    const log = await open(faulty.mount());
    for (const entry of entries(1, 200)) await log.append([entry]);
    faulty.flipBit(faulty.files()[0]!, 16 + 40, 1);
    await expect(log.read(1, 1, 1000)).rejects.toThrow(LogCorruptionError);
  });

  test('cannot hide as a missing segment', async () => {
    const faulty = faultyDisk();
    const log = await open(faulty.mount());
    for (const entry of entries(1, 60)) await log.append([entry]);
    const disk = faulty.mount();
    await disk.remove(faulty.files()[1]!);
    await expect(open(disk)).rejects.toThrow(/the segment that starts at entry \d+ is missing/);
  });
});

test('a disk that fails stops the log: nothing more is promised', async () => {
  const disk = faultyDisk().mount();
  let full = false;
  const log = await open({
    ...disk,
    open: async (path, options) => {
      const file = await disk.open(path, options);
      return {
        ...file,
        write: (bytes, position) =>
          full ? Promise.reject(new Error('ENOSPC: no space left on device')) : file.write(bytes, position),
      };
    },
  });
  await log.append(entries(1, 2));
  full = true;
  await expect(log.append(entries(3, 3))).rejects.toThrow('ENOSPC');
  full = false;
  await expect(log.append(entries(4, 4))).rejects.toThrow('ENOSPC');
});
