/**
 * Snapshot files, as far as a client looks into them: a compressed archive of `meta.json` (what it is), `state.bin` (the
 * state, opaque here) and `SHA256SUMS` of the two (reference/raft.md §7). A file is worth keeping only when the sums are
 * right, and a state may be larger than memory, so it is read piece by piece.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, createReadStream, openSync } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { goFileError } from '../client/index.ts';
import { parseGoJson, TarReader } from '../codec/index.ts';

/** Largest file beside the state, bytes. */
const smallFileBytesMax = 16 * 1024 * 1024;

export interface SnapshotMeta {
  readonly ID: string;
  /** Bytes of the state. */
  readonly Size: number;
  readonly Index: number;
  readonly Term: number;
  readonly Version: number;
}

/**
 * Verifies the archive in `path`.
 * @throws Error with the reference program's words: not compressed, cut off, not what the sums say.
 */
export async function verifySnapshot(path: string): Promise<SnapshotMeta> {
  const hashes = new Map<string, Hash>();
  const kept = new Map<string, Buffer[]>();
  let current = '';
  let bytes = 0;
  const reader = new TarReader({
    onFile(name) {
      if (!['meta.json', 'state.bin', 'SHA256SUMS'].includes(name)) {
        throw new Error(`unexpected file "${name}" in snapshot`);
      }
      current = name;
      bytes = 0;
      if (name !== 'SHA256SUMS') hashes.set(name, createHash('sha256'));
      if (name !== 'state.bin') kept.set(name, []);
    },
    onData(chunk) {
      bytes += chunk.length;
      hashes.get(current)?.update(chunk);
      if (current === 'state.bin') return;
      if (bytes > smallFileBytesMax) throw new Error(`"${current}" is larger than ${smallFileBytesMax} bytes`);
      kept.get(current)!.push(Buffer.from(chunk));
    },
  });
  const file = createReadStream(path);
  const archive = file.pipe(createGunzip());
  let hasBegun = false;
  try {
    for await (const chunk of archive as AsyncIterable<Uint8Array>) {
      hasBegun = true;
      reader.push(chunk);
    }
    reader.end();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'Z_DATA_ERROR' && !hasBegun) {
      throw new Error('failed to decompress snapshot: gzip: invalid header', { cause: error });
    }
    const isCut = code === 'Z_BUF_ERROR';
    throw notRead(isCut ? 'failed to read or write snapshot data: unexpected EOF' : messageOf(error));
  } finally {
    file.destroy();
    archive.destroy();
  }
  const text = (name: string): string => Buffer.concat(kept.get(name) ?? []).toString('utf8');
  checkSums(text('SHA256SUMS'), new Map([...hashes].map(([name, hash]) => [name, hash.digest('hex')])));
  try {
    return parseGoJson(text('meta.json')) as SnapshotMeta;
  } catch (error) {
    throw notRead(`failed to read snapshot metadata: ${messageOf(error)}`);
  }
}

/** @throws Error `open F: no such file or directory`. */
export function checkReadable(path: string): void {
  try {
    closeSync(openSync(path, 'r'));
  } catch (error) {
    throw new Error(goFileError('open', path, error), { cause: error });
  }
}

function checkSums(text: string, found: ReadonlyMap<string, string>): void {
  const wanted = new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(line.indexOf(' ')).trim(), line.slice(0, line.indexOf(' '))]),
  );
  const wrong = [...found].find(([name, sum]) => wanted.get(name) !== sum);
  if (wrong !== undefined) {
    throw notRead(`failed checking integrity of snapshot: hash check failed for "${wrong[0]}"`);
  }
  for (const name of ['meta.json', 'state.bin']) {
    if (!found.has(name)) throw notRead(`failed checking integrity of snapshot: file missing for "${name}"`);
  }
}

function notRead(message: string): Error {
  return new Error(`failed to read snapshot file: ${message}`);
}

function messageOf(error: unknown): string {
  return (error as Error).message;
}
