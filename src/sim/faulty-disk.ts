/**
 * A disk that keeps only what was synced. A crash leaves of everything else what a real one may: all, nothing, a part,
 * or some sectors of a write and not others; names made or removed without a sync of their directory come or go. Waits
 * take virtual time, so a crash can fall between any two steps.
 */
import type { Clock, Disk, DiskFile } from '../ports/index.ts';
import { sleep } from '../ports/index.ts';
import type { SeededRandom } from './seeded-random.ts';

/** What a disk writes in one piece. */
const sectorBytes = 512;

interface Change {
  readonly position: number;
  /** undefined cuts the file at `position`. */
  readonly bytes: Uint8Array | undefined;
}

class Content {
  durable: Buffer = Buffer.alloc(0);
  current: Buffer = Buffer.alloc(0);
  pending: Change[] = [];

  apply(change: Change): void {
    this.current = changed(this.current, change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending) this.durable = changed(this.durable, change);
    this.pending = [];
  }
}

type Entry = Content | 'directory';

type NameChange =
  | { readonly kind: 'set'; readonly path: string; readonly entry: Entry }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'remove'; readonly path: string };

export interface FaultyDiskOptions {
  readonly clock: Clock;
  readonly random: SeededRandom;
  /** Longest time a write or a sync takes, ms; 0 for none at all. */
  readonly latencyMs?: number;
}

export class FaultyDisk {
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #latencyMs: number;
  #names = new Map<string, Entry>();
  #durableNames = new Map<string, Entry>();
  #pendingNames: NameChange[] = [];
  #mounts = 0;

  constructor(options: FaultyDiskOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#latencyMs = options.latencyMs ?? 0;
  }

  /** The disk as one process sees it. After a crash its operations never end, like the process they belong to. */
  mount(): Disk {
    const mount = ++this.#mounts;
    const turn = async (slow: boolean): Promise<void> => {
      if (slow && this.#latencyMs > 0) await sleep(this.#clock, this.#random.next() * this.#latencyMs);
      if (mount !== this.#mounts) await new Promise<never>(() => {});
    };
    return {
      open: async (path, { create, durable = false }) => {
        await turn(false);
        let content = this.#names.get(path);
        if (content === undefined) {
          if (!create) throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' });
          content = new Content();
          this.#change({ kind: 'set', path, entry: content });
        }
        if (content === 'directory') throw new Error(`EISDIR: '${path}' is a directory`);
        return this.#file(content, durable, turn);
      },
      list: async (directory) => {
        await turn(false);
        const prefix = `${directory}/`;
        const inside = [...this.#names.keys()].filter((path) => path.startsWith(prefix));
        return [...new Set(inside.map((path) => path.slice(prefix.length).split('/')[0]!))].sort();
      },
      makeDirectory: async (path) => {
        await turn(false);
        if (!this.#names.has(path)) this.#change({ kind: 'set', path, entry: 'directory' });
      },
      rename: async (from, to) => {
        await turn(false);
        this.#change({ kind: 'rename', from, to });
      },
      remove: async (path) => {
        await turn(false);
        this.#change({ kind: 'remove', path });
      },
      syncDirectory: async () => {
        await turn(true);
        // One journal for all directories, as file systems have it.
        for (const change of this.#pendingNames) applyName(this.#durableNames, change);
        this.#pendingNames = [];
      },
    };
  }

  /** The power fails. What is mounted is dead; mount again. */
  crash(): void {
    this.#mounts++;
    const kept = this.#random.integer(this.#pendingNames.length + 1);
    for (const change of this.#pendingNames.slice(0, kept)) applyName(this.#durableNames, change);
    this.#pendingNames = [];
    const contents = new Set([...this.#names.values(), ...this.#durableNames.values()]);
    for (const content of contents) {
      if (content !== 'directory') this.#tear(content);
    }
    this.#names = new Map(this.#durableNames);
  }

  /** Flips one bit of a file, as failing hardware does. */
  flipBit(path: string, offset: number, bit: number): void {
    const content = this.#names.get(path);
    if (content === undefined || content === 'directory') throw new Error(`no file ${path}`);
    for (const bytes of [content.current, content.durable]) {
      if (offset < bytes.length) bytes[offset] = bytes[offset]! ^ (1 << bit);
    }
  }

  /** Paths of all files, sorted. */
  files(): readonly string[] {
    return [...this.#names]
      .filter(([, entry]) => entry !== 'directory')
      .map(([path]) => path)
      .sort();
  }

  #change(change: NameChange): void {
    applyName(this.#names, change);
    this.#pendingNames.push(change);
  }

  /** What a crash leaves of writes in progress: each sector of each, or not. */
  #tear(content: Content): void {
    const keep = this.#random.next();
    for (const change of content.pending) {
      if (change.bytes === undefined) {
        if (this.#random.next() < keep) content.durable = changed(content.durable, change);
        continue;
      }
      for (let at = 0; at < change.bytes.length;) {
        const position = change.position + at;
        const end = Math.min(change.bytes.length, at + sectorBytes - (position % sectorBytes));
        if (this.#random.next() < keep) {
          content.durable = changed(content.durable, { position, bytes: change.bytes.subarray(at, end) });
        }
        at = end;
      }
    }
    content.pending = [];
    content.current = Buffer.from(content.durable);
  }

  #file(content: Content, durable: boolean, turn: (slow: boolean) => Promise<void>): DiskFile {
    return {
      size: async () => content.current.length,
      read: async (position, length) => {
        await turn(false);
        return Buffer.from(content.current.subarray(position, position + length));
      },
      write: async (bytes, position) => {
        await turn(false);
        content.apply({ position, bytes: Buffer.from(bytes) });
        await turn(durable);
        if (durable) content.sync();
      },
      truncate: async (length) => {
        await turn(false);
        content.apply({ position: length, bytes: undefined });
      },
      sync: async () => {
        await turn(true);
        content.sync();
      },
      close: () => turn(false),
    };
  }
}

function changed(bytes: Buffer, { position, bytes: written }: Change): Buffer {
  if (written === undefined) {
    return position <= bytes.length ? bytes.subarray(0, position) : Buffer.concat([bytes], position);
  }
  if (position === bytes.length) return Buffer.concat([bytes, written]);
  const result = Buffer.alloc(Math.max(bytes.length, position + written.length));
  result.set(bytes);
  result.set(written, position);
  return result;
}

function applyName(names: Map<string, Entry>, change: NameChange): void {
  switch (change.kind) {
    case 'set':
      names.set(change.path, change.entry);
      break;
    case 'remove':
      for (const path of names.keys()) {
        if (path === change.path || path.startsWith(`${change.path}/`)) names.delete(path);
      }
      break;
    case 'rename':
      for (const [path, entry] of [...names]) {
        if (path !== change.from && !path.startsWith(`${change.from}/`)) continue;
        names.delete(path);
        names.set(change.to + path.slice(change.from.length), entry);
      }
      break;
  }
}
