/**
 * The {@link AppendFile} on a real disk. One operation at a time; what is queued meanwhile becomes one write, and a
 * new content makes the appends queued before it needless.
 */
import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AppendFile } from '../ports/index.ts';

/** The directory is the agent's own; the file may be read by everybody, as the peer's (reference/agent.md §3.4). */
const directoryMode = 0o700;
const fileMode = 0o644;

/** @param path absolute, or relative to the working directory; its directory is made with the first write. */
export function openAppendFile(path: string): AppendFile {
  return new DiskAppendFile(path);
}

class DiskAppendFile implements AppendFile {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #replacement: string | undefined;
  #appended = '';
  #working: Promise<void> | undefined;
  #failure: unknown;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<string> {
    try {
      return await readFile(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
  }

  append(text: string): void {
    this.#appended += text;
    this.#work();
  }

  replace(text: string): void {
    this.#replacement = text;
    this.#appended = '';
    this.#work();
  }

  async sync(): Promise<void> {
    await this.#working;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure as Error;
    await this.#handle?.datasync();
  }

  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      const handle = this.#handle;
      this.#handle = undefined;
      await handle?.close();
    }
  }

  #work(): void {
    this.#working ??= this.#writeQueued().finally(() => {
      this.#working = undefined;
    });
  }

  async #writeQueued(): Promise<void> {
    while (this.#replacement !== undefined || this.#appended !== '') {
      const replacement = this.#replacement;
      const appended = this.#appended;
      this.#replacement = undefined;
      this.#appended = '';
      try {
        if (replacement !== undefined) await this.#writeAnew(replacement);
        if (appended !== '') await (await this.#opened()).appendFile(appended);
      } catch (error) {
        this.#failure = error;
      }
    }
  }

  async #writeAnew(text: string): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: directoryMode });
    const temporary = `${this.#path}.compact`;
    const file = await open(temporary, 'w', fileMode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#handle?.close();
    this.#handle = undefined;
    await rename(temporary, this.#path);
  }

  async #opened(): Promise<FileHandle> {
    if (this.#handle === undefined) {
      await mkdir(dirname(this.#path), { recursive: true, mode: directoryMode });
      this.#handle = await open(this.#path, 'a', fileMode);
    }
    return this.#handle;
  }
}
