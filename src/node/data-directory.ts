/** The {@link FileStore} on a real directory: write beside, sync, rename. */
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FileStore } from '../ports/index.ts';

const fileMode = 0o600;
const directoryMode = 0o700;
/** Directories that files are written to; what a crash left half written is removed from them. */
const directories = ['', 'services', 'checks', 'checks/state'] as const;
/** Files under way: the process and a number keep writers apart. */
const temporaryName = /\.\d+\.\d+\.tmp$/;

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/**
 * Opens (and creates) the data directory.
 * @throws Error `data_dir "F" is not a directory`, or the system's error with the path.
 */
export async function openDataDirectory(root: string): Promise<FileStore> {
  const found = await stat(root).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (found && !found.isDirectory()) throw new Error(`data_dir "${root}" is not a directory`);
  await mkdir(root, { recursive: true, mode: 0o755 });
  await Promise.all(directories.map((directory) => removeLeftOver(join(root, directory))));
  let temporaryCount = 0;
  return {
    async read(path) {
      try {
        return await readFile(join(root, path), 'utf8');
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    async write(path, text, { sync }) {
      const target = join(root, path);
      const directory = dirname(target);
      await mkdir(directory, { recursive: true, mode: directoryMode });
      const temporary = `${target}.${process.pid}.${++temporaryCount}.tmp`;
      try {
        const file = await open(temporary, 'w', fileMode);
        try {
          await file.writeFile(text);
          if (sync) await file.sync();
        } finally {
          await file.close();
        }
        await rename(temporary, target);
      } catch (error) {
        // A full disk shall not get fuller.
        await rm(temporary, { force: true }).catch(() => undefined);
        throw error;
      }
      if (sync) {
        const handle = await open(directory, 'r');
        try {
          await handle.sync();
        } finally {
          await handle.close();
        }
      }
    },
    async remove(path) {
      await rm(join(root, path), { force: true });
    },
    async list(directory) {
      try {
        const entries = await readdir(join(root, directory), { withFileTypes: true });
        return entries
          .filter((entry) => entry.isFile() && !entry.name.endsWith('.tmp'))
          .map((entry) => entry.name)
          .sort();
      } catch (error) {
        if (isMissing(error)) return [];
        throw error;
      }
    },
  };
}

/** Files that a crash left half written. Those that cannot be removed are in nobody's way. */
async function removeLeftOver(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const leftOver = names.filter((name) => temporaryName.test(name));
  await Promise.all(leftOver.map((name) => rm(join(directory, name), { force: true }).catch(() => undefined)));
}
