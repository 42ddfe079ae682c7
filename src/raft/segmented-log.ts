/**
 * The log on the disk: a row of files, each named after its first entry. New entries go to the end of the last one;
 * old files are removed whole. All changes pass through one queue, and everything that arrives while the disk works
 * shares the next write (group commit), so a thousand writers cost little more than one.
 *
 * Opening reads every record. A broken end is cut off when it can only be a write that a crash interrupted; anything
 * else that does not read back is named and refused, never served (segment.ts tells how they are told apart).
 */
import { invariant } from '../lib/index.ts';
import type { Disk, DiskFile, Logger } from '../ports/index.ts';
import { entryBytes, type LogEntry } from './log-entry.ts';
import { findRecord, markType, readRecord, recordSize, segmentHeader, writeRecord } from './segment.ts';
import { LogCompactedError, LogCorruptionError, type LogStore } from './stores.ts';

/** A segment is closed when it is this large: small enough to read whole, large enough to be rarely changed. */
const segmentBytesDefault = 16 * 1024 * 1024;

/** Recent entries kept in memory for followers and for the state machine; older ones are read from the disk. */
const cacheBytesDefault = 16 * 1024 * 1024;

/** One write to the disk takes at most this much, so that the first in the queue does not wait for the last. */
const batchBytesMax = 4 * 1024 * 1024;

interface Segment {
  readonly path: string;
  readonly firstIndex: number;
  /** Where each entry's record starts; the entry with index `firstIndex + i` at `offsets[i]`. */
  readonly offsets: number[];
  /** Behind the last record. */
  end: number;
}

interface Append {
  readonly kind: 'append';
  readonly entries: readonly LogEntry[];
}

interface Change {
  readonly kind: 'change';
  run(): Promise<void>;
}

type Operation = (Append | Change) & { readonly resolve: () => void; readonly reject: (error: Error) => void };

export interface SegmentedLogOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  /** Size at which a new segment is begun. */
  readonly segmentBytes?: number;
  readonly cacheBytes?: number;
}

export class SegmentedLog implements LogStore {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #cacheBytesMax: number;
  /** As the disk has them (or will have when the operation in progress is done); never empty. */
  readonly #segments: Segment[] = [];
  #file: DiskFile;
  /** Entries `#cacheFirst` … `#lastIndex`; `read` sees what is queued because it is here. */
  #cache: LogEntry[] = [];
  #cacheFirst: number;
  #cacheBytes = 0;
  #firstIndex: number;
  #lastIndex: number;
  #durableIndex: number;
  #queue: Operation[] = [];
  #working = false;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  #whenIdle: (() => void) | undefined;

  private constructor(options: SegmentedLogOptions, segments: Segment[], file: DiskFile) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault;
    this.#cacheBytesMax = options.cacheBytes ?? cacheBytesDefault;
    this.#segments = segments;
    this.#file = file;
    const last = segments.at(-1)!;
    this.#firstIndex = segments[0]!.firstIndex;
    this.#lastIndex = last.firstIndex + last.offsets.length - 1;
    this.#durableIndex = this.#lastIndex;
    this.#cacheFirst = this.#lastIndex + 1;
  }

  /**
   * Opens the log in `directory`, making it when it is missing.
   * @throws LogCorruptionError naming the file, the place and the entry.
   */
  static async open(options: SegmentedLogOptions): Promise<SegmentedLog> {
    const { disk, directory, logger } = options;
    await disk.makeDirectory(directory);
    const names = (await disk.list(directory)).filter((name) => /^\d{20}\.log$/.test(name));
    const segments: Segment[] = [];
    for (const [i, name] of names.entries()) {
      const segment = await loadSegment(disk, `${directory}/${name}`, i === names.length - 1, logger);
      const before = segments.at(-1);
      const expected = before === undefined ? segment.firstIndex : before.firstIndex + before.offsets.length;
      if (segment.firstIndex !== expected) {
        throw new LogCorruptionError(
          `raft log: the segment that starts at entry ${expected} is missing: ${before!.path} ends before it and ` +
            `${segment.path} starts at ${segment.firstIndex}; ${whatToDo}`,
        );
      }
      segments.push(segment);
    }
    if (segments.length === 0) segments.push(await createSegment(disk, directory, 1));
    const file = await disk.open(segments.at(-1)!.path, { create: false, durable: true });
    return new SegmentedLog(options, segments, file);
  }

  get firstIndex(): number {
    return this.#lastIndex < this.#firstIndex ? 0 : this.#firstIndex;
  }

  get lastIndex(): number {
    return this.#lastIndex < this.#firstIndex ? 0 : this.#lastIndex;
  }

  append(entries: readonly LogEntry[]): Promise<void> {
    const first = entries[0];
    if (first === undefined) return this.#change(async () => {});
    if (this.lastIndex === 0 && first.Index !== this.#lastIndex + 1) {
      // An empty log starts wherever its first entry says.
      const emptied = this.reset(first.Index);
      return Promise.all([emptied, this.append(entries)]).then(() => undefined);
    }
    for (const entry of entries) {
      invariant(entry.Index === this.#lastIndex + 1, `entry ${entry.Index} does not follow entry ${this.#lastIndex}`);
      this.#lastIndex = entry.Index;
      this.#cache.push(entry);
      this.#cacheBytes += entryBytes(entry);
    }
    return this.#enqueue({ kind: 'append', entries });
  }

  truncateFrom(index: number): Promise<void> {
    invariant(index >= this.#firstIndex, `cannot cut the log at ${index}, before its start ${this.#firstIndex}`);
    if (index > this.#lastIndex) return this.#change(async () => {});
    this.#lastIndex = index - 1;
    if (index <= this.#cacheFirst) {
      this.#cacheFirst = index;
      this.#cache = [];
    } else {
      this.#cache.length = index - this.#cacheFirst;
    }
    this.#cacheBytes = this.#cache.reduce((sum, entry) => sum + entryBytes(entry), 0);
    return this.#change(() => this.#truncateOnDisk(index));
  }

  compactThrough(index: number): Promise<void> {
    return this.#change(() => this.#compactOnDisk(index));
  }

  reset(nextIndex: number): Promise<void> {
    this.#firstIndex = nextIndex;
    this.#lastIndex = nextIndex - 1;
    this.#cacheFirst = nextIndex;
    this.#cache = [];
    this.#cacheBytes = 0;
    return this.#change(async () => {
      await this.#file.close();
      // Oldest first, so that a crash leaves a log without holes.
      for (const segment of this.#segments) await this.#disk.remove(segment.path);
      await this.#disk.syncDirectory(this.#directory);
      this.#segments.length = 0;
      this.#durableIndex = nextIndex - 1;
      this.#segments.push(await createSegment(this.#disk, this.#directory, nextIndex));
      this.#file = await this.#disk.open(this.#segments[0]!.path, { create: false, durable: true });
    });
  }

  async read(from: number, through: number, bytesMax: number): Promise<readonly LogEntry[]> {
    if (from < this.#firstIndex) throw new LogCompactedError(from, this.#firstIndex);
    invariant(through <= this.#lastIndex, `entry ${through} is behind the end of the log, ${this.#lastIndex}`);
    if (from >= this.#cacheFirst) {
      const found: LogEntry[] = [];
      for (let index = from, bytes = 0; index <= through; index++) {
        const entry = this.#cache[index - this.#cacheFirst]!;
        bytes += entryBytes(entry);
        if (found.length > 0 && bytes > bytesMax) break;
        found.push(entry);
      }
      return found;
    }
    return await this.#readFromDisk(from, Math.min(through, this.#cacheFirst - 1), bytesMax);
  }

  /** Waits for what is queued, leaves a mark that all of it is on the disk, and closes the file. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      if (this.#working) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
      if (this.#failure === undefined) await this.#writeMark();
      await this.#file.close();
    })();
    return this.#closing;
  }

  #change(run: () => Promise<void>): Promise<void> {
    return this.#enqueue({ kind: 'change', run });
  }

  #enqueue(operation: Append | Change): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closing !== undefined) return Promise.reject(new Error('the raft log is closed'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...operation, resolve, reject });
      if (!this.#working) void this.#work();
    });
  }

  /** Takes the queue in batches until it is empty. After a failure of the disk nothing more is done or promised. */
  async #work(): Promise<void> {
    this.#working = true;
    while (this.#queue.length > 0 && this.#failure === undefined) {
      const batch = this.#takeBatch();
      try {
        if (batch[0]!.kind === 'change') await batch[0]!.run();
        else await this.#write(batch as (Append & Operation)[]);
      } catch (error) {
        this.#failure = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of [...batch, ...this.#queue]) reject(this.#failure);
        this.#queue = [];
        break;
      }
      for (const { resolve } of batch) resolve();
    }
    this.#working = false;
    this.#whenIdle?.();
  }

  /** One change, or all appends up to the next change as far as they fit in one write. */
  #takeBatch(): Operation[] {
    let count = 0;
    let bytes = 0;
    for (const operation of this.#queue) {
      if (operation.kind === 'change') break;
      bytes += operation.entries.reduce((sum, entry) => sum + recordSize(entry), 0);
      if (count > 0 && bytes > batchBytesMax) break;
      count++;
    }
    return this.#queue.splice(0, Math.max(1, count));
  }

  async #write(batch: readonly Append[]): Promise<void> {
    if (this.#segments.at(-1)!.end >= this.#segmentBytes) await this.#startSegment();
    const segment = this.#segments.at(-1)!;
    const size = batch.reduce((sum, { entries }) => sum + entries.reduce((n, entry) => n + recordSize(entry), 0), 0);
    const bytes = Buffer.allocUnsafe(size);
    const offsets: number[] = [];
    let at = 0;
    let lastIndex = this.#durableIndex;
    for (const { entries } of batch) {
      for (const entry of entries) {
        offsets.push(segment.end + at);
        at = writeRecord(bytes, at, entry, this.#durableIndex);
        lastIndex = entry.Index;
      }
    }
    await this.#file.write(bytes, segment.end);
    for (const offset of offsets) segment.offsets.push(offset);
    segment.end += size;
    this.#durableIndex = lastIndex;
    this.#trimCache();
  }

  async #startSegment(): Promise<void> {
    await this.#file.close();
    const segment = await createSegment(this.#disk, this.#directory, this.#durableIndex + 1);
    this.#segments.push(segment);
    this.#file = await this.#disk.open(segment.path, { create: false, durable: true });
  }

  async #truncateOnDisk(index: number): Promise<void> {
    let removed = false;
    // Newest first, so that a crash leaves a log without holes.
    while (this.#segments.length > 1 && this.#segments.at(-1)!.firstIndex >= index) {
      const segment = this.#segments.pop()!;
      await this.#file.close();
      await this.#disk.remove(segment.path);
      this.#file = await this.#disk.open(this.#segments.at(-1)!.path, { create: false, durable: true });
      removed = true;
    }
    if (removed) await this.#disk.syncDirectory(this.#directory);
    const segment = this.#segments.at(-1)!;
    const kept = index - segment.firstIndex;
    if (kept < segment.offsets.length) {
      segment.end = segment.offsets[kept]!;
      segment.offsets.length = kept;
      await this.#file.truncate(segment.end);
      await this.#file.sync();
    }
    this.#durableIndex = index - 1;
  }

  async #compactOnDisk(index: number): Promise<void> {
    let removed = false;
    while (this.#segments.length > 1 && this.#segments[1]!.firstIndex <= index + 1) {
      const segment = this.#segments.shift()!;
      this.#firstIndex = this.#segments[0]!.firstIndex;
      await this.#disk.remove(segment.path);
      removed = true;
    }
    if (removed) await this.#disk.syncDirectory(this.#directory);
  }

  /** Tells the next opening that everything is on the disk. Needs no sync: without it the end is merely less certain. */
  async #writeMark(): Promise<void> {
    const segment = this.#segments.at(-1)!;
    if (segment.offsets.length === 0) return;
    const mark = { Index: this.#durableIndex, Term: 0, Type: markType, Data: null, Extensions: null };
    const bytes = Buffer.alloc(recordSize(mark));
    writeRecord(bytes, 0, mark, this.#durableIndex);
    await this.#file.write(bytes, segment.end);
    segment.end += bytes.length;
  }

  #trimCache(): void {
    if (this.#cacheBytes <= this.#cacheBytesMax) return;
    let dropped = 0;
    // Down to half, so that this is done now and then, not for every entry; only what is on the disk may go.
    while (this.#cacheBytes > this.#cacheBytesMax / 2 && this.#cacheFirst + dropped <= this.#durableIndex) {
      this.#cacheBytes -= entryBytes(this.#cache[dropped]!);
      dropped++;
    }
    this.#cache.splice(0, dropped);
    this.#cacheFirst += dropped;
  }

  /** Reads from one segment; whoever wants more asks again. */
  async #readFromDisk(from: number, through: number, bytesMax: number): Promise<readonly LogEntry[]> {
    const segment = this.#segments.findLast(({ firstIndex }) => firstIndex <= from);
    if (segment === undefined) throw new LogCompactedError(from, this.#firstIndex);
    const first = from - segment.firstIndex;
    const start = segment.offsets[first]!;
    const offsetAfter = (i: number): number => segment.offsets[i + 1] ?? segment.end;
    let last = first;
    while (last + 1 < segment.offsets.length && segment.firstIndex + last < through) {
      if (offsetAfter(last + 1) - start > bytesMax) break;
      last++;
    }
    const end = offsetAfter(last);
    let bytes: Buffer;
    try {
      const file = await this.#disk.open(segment.path, { create: false });
      try {
        bytes = asBuffer(await file.read(start, end - start));
      } finally {
        await file.close();
      }
    } catch (error) {
      if (from < this.#firstIndex) throw new LogCompactedError(from, this.#firstIndex);
      throw error;
    }
    const found: LogEntry[] = [];
    for (let i = first; i <= last; i++) {
      const offset = segment.offsets[i]!;
      const record = readRecord(bytes, offset - start);
      const index = segment.firstIndex + i;
      if (record?.entry.Index !== index) throw damaged(segment.path, offset, index);
      found.push(record.entry);
    }
    return found;
  }
}

const whatToDo =
  'stop this server, move its raft directory away and start it again: it fetches everything from the others. If it is ' +
  'the only server, restore a snapshot (portolan snapshot restore)';

function damaged(path: string, offset: number, index: number): LogCorruptionError {
  return new LogCorruptionError(
    `raft log: entry ${index} in ${path} at byte ${offset} is damaged: its checksum does not match; ${whatToDo}`,
  );
}

function segmentName(firstIndex: number): string {
  return `${String(firstIndex).padStart(20, '0')}.log`;
}

async function createSegment(disk: Disk, directory: string, firstIndex: number): Promise<Segment> {
  const path = `${directory}/${segmentName(firstIndex)}`;
  const file = await disk.open(path, { create: true });
  try {
    await file.truncate(0);
    await file.write(segmentHeader, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncDirectory(directory);
  return { path, firstIndex, offsets: [], end: segmentHeader.length };
}

/** Reads a whole segment; cuts a torn end when it is the last one. */
async function loadSegment(disk: Disk, path: string, isLast: boolean, logger: Logger): Promise<Segment> {
  const firstIndex = Number(path.slice(-24, -4));
  const segment: Segment = { path, firstIndex, offsets: [], end: segmentHeader.length };
  const file = await disk.open(path, { create: false });
  try {
    const bytes = asBuffer(await file.read(0, await file.size()));
    if (!bytes.subarray(0, segmentHeader.length).equals(segmentHeader)) {
      // A crash while the segment was made leaves it without records; records without a header are damage.
      if (!isLast || findRecord(bytes, 0) !== undefined) {
        throw new LogCorruptionError(`raft log: ${path} does not start as a segment of the log; ${whatToDo}`);
      }
      await file.truncate(0);
      await file.write(segmentHeader, 0);
      await file.sync();
      return segment;
    }
    for (let at = segment.end; at < bytes.length;) {
      const index = firstIndex + segment.offsets.length;
      const record = readRecord(bytes, at);
      if (record?.entry.Type === markType && record.entry.Index === index - 1) {
        at = record.end;
        segment.end = at;
        continue;
      }
      if (record === undefined || record.entry.Index !== index) {
        if (!isLast || isKnownDurable(bytes, at, index)) throw damaged(path, at, index);
        logger.warn('cut an unfinished write off the end of the raft log', {
          file: path,
          offset: at,
          bytes: bytes.length - at,
        });
        await file.truncate(at);
        await file.sync();
        break;
      }
      segment.offsets.push(at);
      at = record.end;
      segment.end = at;
    }
    return segment;
  } finally {
    await file.close();
  }
}

/** Whether a sound record behind `offset` knows the entry `index` as durable. */
function isKnownDurable(bytes: Buffer, offset: number, index: number): boolean {
  let at = findRecord(bytes, offset + 1);
  while (at !== undefined) {
    const record = readRecord(bytes, at)!;
    if (record.durableIndex >= index) return true;
    at = findRecord(bytes, record.end);
  }
  return false;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
