/**
 * Snapshots on the disk: a directory each, with `meta.json` and `state.bin`, as the peer has them
 * (reference/raft.md §5.1). A snapshot is written under a name with `.tmp` and renamed when all of it is on the disk,
 * so that a snapshot which can be seen is complete.
 */
import { Crc64 } from '../lib/index.ts';
import type { Clock, Disk } from '../ports/index.ts';
import { encodePeers } from './configuration.ts';
import type { SnapshotMeta, SnapshotPoint, SnapshotSink, SnapshotStore } from './stores.ts';

/** The newest one, and one to fall back on. */
const keptDefault = 2;

const temporarySuffix = '.tmp';
const metaFile = 'meta.json';
const stateFile = 'state.bin';
const snapshotVersion = 1;

/** State is read and sent in pieces of this size. */
const pieceBytes = 256 * 1024;

/** State is written when so much has come together. */
const writeBytes = 1024 * 1024;

/** A damaged meta.json must not be read for ever. */
const metaBytesMax = 1024 * 1024;

export interface DirectorySnapshotStoreOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly clock: Clock;
  /** Snapshots to keep. */
  readonly kept?: number;
}

export class DirectorySnapshotStore implements SnapshotStore {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #kept: number;

  private constructor(options: DirectorySnapshotStoreOptions) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#clock = options.clock;
    this.#kept = options.kept ?? keptDefault;
  }

  /** Opens `directory`, making it when it is missing, and clears away what a crash left unfinished. */
  static async open(options: DirectorySnapshotStoreOptions): Promise<DirectorySnapshotStore> {
    const { disk, directory } = options;
    await disk.makeDirectory(directory);
    for (const name of await disk.list(directory)) {
      if (name.endsWith(temporarySuffix)) await disk.remove(`${directory}/${name}`);
    }
    return new DirectorySnapshotStore(options);
  }

  async create(point: SnapshotPoint): Promise<SnapshotSink> {
    const id = `${point.term}-${point.index}-${this.#clock.wallMs()}`;
    const temporary = `${this.#directory}/${id}${temporarySuffix}`;
    await this.#disk.remove(temporary);
    await this.#disk.makeDirectory(temporary);
    const file = await this.#disk.open(`${temporary}/${stateFile}`, { create: true });
    const crc = new Crc64();
    let pieces: Uint8Array[] = [];
    let waiting = 0;
    let written = 0;
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(pieces);
      pieces = [];
      waiting = 0;
      await file.write(bytes, written);
      written += bytes.length;
    };
    return {
      get size() {
        return written + waiting;
      },
      write: async (bytes) => {
        crc.update(bytes);
        pieces.push(bytes);
        waiting += bytes.length;
        if (waiting >= writeBytes) await flush();
      },
      commit: async () => {
        await flush();
        await file.sync();
        await file.close();
        const meta: SnapshotMeta = {
          ...snapshotMeta(id, point, written),
          CRC: Buffer.from(crc.digest()).toString('base64'),
        };
        await this.#writeMeta(temporary, meta);
        await this.#disk.syncDirectory(temporary);
        await this.#disk.rename(temporary, `${this.#directory}/${id}`);
        await this.#disk.syncDirectory(this.#directory);
        await this.#removeOld();
        return meta;
      },
      abort: async () => {
        await file.close();
        await this.#disk.remove(temporary);
      },
    };
  }

  async list(): Promise<readonly SnapshotMeta[]> {
    const found: SnapshotMeta[] = [];
    for (const name of await this.#disk.list(this.#directory)) {
      if (name.endsWith(temporarySuffix)) continue;
      const meta = await this.#readMeta(name);
      if (meta !== undefined) found.push(meta);
    }
    return found.toSorted(newestFirst);
  }

  async *read(meta: SnapshotMeta): AsyncGenerator<Uint8Array> {
    const path = `${this.#directory}/${meta.ID}/${stateFile}`;
    const file = await this.#disk.open(path, { create: false });
    try {
      const crc = new Crc64();
      for (let position = 0; position < meta.Size;) {
        const piece = await file.read(position, Math.min(pieceBytes, meta.Size - position));
        if (piece.length === 0) break;
        crc.update(piece);
        position += piece.length;
        // The last piece is held back until the sum is known to be right.
        if (position === meta.Size) checkCrc(path, meta, crc);
        yield piece;
      }
      if (meta.Size === 0) checkCrc(path, meta, crc);
      if ((await file.size()) !== meta.Size)
        throw new Error(`${path} is not ${meta.Size} bytes long as its meta.json says`);
    } finally {
      await file.close();
    }
  }

  async #writeMeta(directory: string, meta: SnapshotMeta): Promise<void> {
    const file = await this.#disk.open(`${directory}/${metaFile}`, { create: true });
    try {
      await file.write(Buffer.from(`${JSON.stringify(meta)}\n`), 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** The meta of a snapshot, or undefined when it is none that can be read. */
  async #readMeta(name: string): Promise<SnapshotMeta | undefined> {
    try {
      const file = await this.#disk.open(`${this.#directory}/${name}/${metaFile}`, { create: false });
      try {
        const text = Buffer.from(await file.read(0, metaBytesMax)).toString('utf8');
        return parseSnapshotMeta(text);
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }

  async #removeOld(): Promise<void> {
    const all = await this.list();
    for (const { ID } of all.slice(this.#kept)) await this.#disk.remove(`${this.#directory}/${ID}`);
  }
}

/** `meta.json` of a snapshot without its checksum, as an archive has it. */
export function snapshotMeta(id: string, point: SnapshotPoint, size: number): SnapshotMeta {
  return {
    Version: snapshotVersion,
    ID: id,
    Index: point.index,
    Term: point.term,
    Peers: Buffer.from(encodePeers(point.configuration)).toString('base64'),
    Configuration: point.configuration,
    ConfigurationIndex: point.configurationIndex,
    Size: size,
  };
}

/** @throws Error when `text` is no `meta.json` of a version we know. */
export function parseSnapshotMeta(text: string): SnapshotMeta {
  const meta = JSON.parse(text) as Partial<SnapshotMeta> | null;
  const whole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  if (
    meta === null ||
    typeof meta.ID !== 'string' ||
    !whole(meta.Index) ||
    !whole(meta.Term) ||
    !whole(meta.Size) ||
    !whole(meta.ConfigurationIndex) ||
    !Array.isArray(meta.Configuration?.Servers)
  ) {
    throw new Error('meta.json of the snapshot lacks ID, Index, Term, Size or Configuration');
  }
  if (meta.Version !== 0 && meta.Version !== 1) throw new Error(`unsupported snapshot version ${meta.Version}`);
  return meta as SnapshotMeta;
}

function newestFirst(a: SnapshotMeta, b: SnapshotMeta): number {
  return b.Term - a.Term || b.Index - a.Index || (a.ID < b.ID ? 1 : -1);
}

function checkCrc(path: string, meta: SnapshotMeta, crc: Crc64): void {
  const found = Buffer.from(crc.digest()).toString('base64');
  if (meta.CRC !== undefined && meta.CRC !== found) {
    throw new Error(`${path} is damaged: its CRC-64 is ${found}, meta.json says ${meta.CRC}`);
  }
}
