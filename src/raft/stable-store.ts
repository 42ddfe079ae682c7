/**
 * Term and vote on the disk. A vote forgotten is a second vote, so there are two copies, each with a checksum, written
 * one after the other: a crash can spoil the one being written, a flipped bit can spoil either, and one good copy of
 * the newest state remains.
 */
import { crc32c, invariant } from '../lib/index.ts';
import type { Disk, DiskFile } from '../ports/index.ts';
import type { HardState, StableStore } from './stores.ts';

/** Each copy has a page of its own, so that no write touches both. */
const copyBytes = 4096;
const copies = [0, 1] as const;
const fixedBytes = 32;
const addressBytesMax = 512;

interface Copy extends HardState {
  readonly generation: number;
}

export class FileStableStore implements StableStore {
  readonly #file: DiskFile;
  readonly #path: string;
  #generation = 0;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: DiskFile, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** Opens `path`, making it when it is missing. Its directory must exist. */
  static async open(disk: Disk, directory: string, name: string): Promise<FileStableStore> {
    const path = `${directory}/${name}`;
    const file = await disk.open(path, { create: true, durable: true });
    await disk.syncDirectory(directory);
    return new FileStableStore(file, path);
  }

  async read(): Promise<HardState> {
    const found: Copy[] = [];
    for (const copy of copies) {
      const bytes = Buffer.from(await this.#file.read(copy * copyBytes, copyBytes));
      const decoded = decodeCopy(bytes);
      if (decoded !== undefined) found.push(decoded);
    }
    const newest = found.toSorted((a, b) => b.generation - a.generation)[0];
    if (newest === undefined) {
      // The first copy is whole before the second one is begun: both spoiled is no crash.
      const size = await this.#file.size();
      if (size > copyBytes) {
        throw new Error(
          `${this.#path}: both copies of the term and the vote are damaged; move this server's raft directory away and ` +
            'start it again: it fetches everything from the others',
        );
      }
      return { currentTerm: 0, votedTerm: 0, votedFor: '' };
    }
    this.#generation = newest.generation;
    return { currentTerm: newest.currentTerm, votedTerm: newest.votedTerm, votedFor: newest.votedFor };
  }

  write(state: HardState): Promise<void> {
    const bytes = encodeCopy({ ...state, generation: ++this.#generation });
    const written = this.#writing.then(async () => {
      for (const copy of copies) await this.#file.write(bytes, copy * copyBytes);
    });
    this.#writing = written;
    return written;
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#file.close();
  }
}

/** Generation f64, current term f64, voted term f64, address length u32, checksum u32, address; zeros to a page. */
function encodeCopy(copy: Copy): Buffer {
  const bytes = Buffer.alloc(copyBytes);
  const address = Buffer.from(copy.votedFor, 'utf8');
  invariant(address.length <= addressBytesMax, `an address of ${address.length} bytes`);
  bytes.writeDoubleLE(copy.generation, 0);
  bytes.writeDoubleLE(copy.currentTerm, 8);
  bytes.writeDoubleLE(copy.votedTerm, 16);
  bytes.writeUInt32LE(address.length, 24);
  bytes.set(address, fixedBytes);
  bytes.writeUInt32LE(checksum(bytes), 28);
  return bytes;
}

function decodeCopy(bytes: Buffer): Copy | undefined {
  if (bytes.length < copyBytes || bytes.readUInt32LE(28) !== checksum(bytes)) return undefined;
  const generation = bytes.readDoubleLE(0);
  if (!(generation > 0)) return undefined;
  return {
    generation,
    currentTerm: bytes.readDoubleLE(8),
    votedTerm: bytes.readDoubleLE(16),
    votedFor: bytes.toString('utf8', fixedBytes, fixedBytes + bytes.readUInt32LE(24)),
  };
}

/** Of the whole page but the checksum itself. */
function checksum(bytes: Buffer): number {
  return (crc32c(bytes, 0, 28) ^ crc32c(bytes, fixedBytes, copyBytes)) >>> 0;
}
