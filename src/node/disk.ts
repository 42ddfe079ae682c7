/** The {@link Disk} on a real directory. Waiting for the disk happens in the thread pool, never on the event loop. */
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk, DiskFile } from '../ports/index.ts';

const fileMode = 0o600;
const directoryMode = 0o700;

/** @param root made when it is missing (by `makeDirectory('')`). */
export function nodeDisk(root: string): Disk {
  return {
    async open(path, { create, durable = false }) {
      const flags = constants.O_RDWR | (create ? constants.O_CREAT : 0) | (durable ? constants.O_DSYNC : 0);
      return new NodeFile(await open(join(root, path), flags, fileMode));
    },
    async list(directory) {
      try {
        return (await readdir(join(root, directory))).sort();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    },
    async makeDirectory(path) {
      await mkdir(join(root, path), { recursive: true, mode: directoryMode });
    },
    async rename(from, to) {
      await rename(join(root, from), join(root, to));
    },
    async remove(path) {
      await rm(join(root, path), { force: true, recursive: true });
    },
    async syncDirectory(path) {
      const handle = await open(join(root, path), 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
  };
}

class NodeFile implements DiskFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
