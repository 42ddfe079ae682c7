/**
 * The log file and its rotation (reference/agent.md §3.2, `log_file`, `log_rotate_*`). Every start and every rotation
 * opens a new file named after the nanosecond, so no name is ever reused and a reader can follow by sorting. A line is
 * handed to the kernel before `write` returns: the last words of a process that dies are in the file. Nothing is synced,
 * and a full disk loses log lines (counted), never the agent.
 */
import { closeSync, openSync, readdirSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import type { Clock } from '../ports/index.ts';

/** Owner writes, group reads, as the reference agent does. */
const fileMode = 0o640;

export interface LogFileOptions {
  /** `log_file`: a directory (then the base name is `consul`) or the beginning of a file's path. */
  readonly path: string;
  /** `log_rotate_bytes`: a new file after so many bytes; 0 = never by size. */
  readonly rotateBytes?: number;
  /** `log_rotate_duration` in ms; default 24 h. */
  readonly rotateMs?: number;
  /** `log_rotate_max_files`: older files kept; 0 keeps all, negative none. */
  readonly filesMax?: number;
}

export interface LogFile {
  write(line: string): void;
  /** Lines lost because the disk was full or failed. */
  droppedLines(): number;
  close(): void;
}

const rotateMsDefault = 24 * 60 * 60 * 1000;

/** Splits `log_file` into directory, base and extension: `consul` and `.log` where they are missing. */
export function logFileParts(path: string): { directory: string; base: string; extension: string } {
  const isDirectory = path.endsWith('/') || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  if (isDirectory) return { directory: path, base: 'consul', extension: '.log' };
  const extension = extname(path);
  return { directory: dirname(path), base: basename(path, extension), extension: extension || '.log' };
}

/**
 * Opens the first file.
 * @throws Error naming the directory when it does not exist or may not be written: it is not created here.
 */
export function openLogFile(options: LogFileOptions, clock: Clock): LogFile {
  const { directory, base, extension } = logFileParts(options.path);
  const { rotateBytes = 0, rotateMs = rotateMsDefault, filesMax = 0 } = options;
  let lastNanoseconds = 0n;
  let dropped = 0;

  const nextName = (): string => {
    const nanoseconds = BigInt(Math.floor(clock.wallMs() * 1000)) * 1000n;
    lastNanoseconds = nanoseconds > lastNanoseconds ? nanoseconds : lastNanoseconds + 1n;
    return join(directory, `${base}-${lastNanoseconds}${extension}`);
  };

  const prune = (): void => {
    if (filesMax === 0) return;
    const old = readdirSync(directory)
      .filter((name) => name.startsWith(`${base}-`) && name.endsWith(extension))
      .filter((name) => /^\d+$/.test(name.slice(base.length + 1, name.length - extension.length)))
      .sort();
    for (const name of filesMax < 0 ? old : old.slice(0, Math.max(0, old.length - filesMax))) {
      unlinkSync(join(directory, name));
    }
  };

  const open = (): { fd: number; bytes: number; openedMs: number } => {
    const path = nextName();
    try {
      prune();
      return { fd: openSync(path, 'ax', fileMode), bytes: 0, openedMs: clock.monotonicMs() };
    } catch (error) {
      throw new Error(
        `log_file: cannot open ${path}: ${(error as Error).message}. Create the directory ${directory} and let this user write to it`,
        { cause: error },
      );
    }
  };

  let current = open();
  let closed = false;

  const rotateWhenDue = (): void => {
    const full = rotateBytes > 0 && current.bytes >= rotateBytes;
    if (!full && clock.monotonicMs() - current.openedMs < rotateMs) return;
    const old = current;
    try {
      current = open();
    } catch {
      // The directory is gone or full: keep writing to the old file and try again after the next period.
      current = { fd: old.fd, bytes: 0, openedMs: clock.monotonicMs() };
      return;
    }
    closeSync(old.fd);
  };

  return {
    write(line) {
      if (closed) return;
      rotateWhenDue();
      try {
        current.bytes += writeSync(current.fd, line);
      } catch {
        dropped++;
      }
    },
    droppedLines: () => dropped,
    close() {
      if (closed) return;
      closed = true;
      closeSync(current.fd);
    },
  };
}
