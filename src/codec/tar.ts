/**
 * Tar archives, the plain form of POSIX.1-1988 (ustar): every file is a block of 512 bytes that names it, its bytes, and
 * blanks up to the next block; two empty blocks end the archive. Snapshots and debug archives are such files, so only
 * regular files with short names are known here. Reading takes pieces of any size and keeps one block at most.
 */

const blockBytes = 512;
/** Where the fields of a header are: offset, length. */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;
/** Types of a regular file: `0`, and NUL in old archives. */
const regularTypes = new Set([0x30, 0]);

export class TarError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TarError';
  }
}

export interface TarFile {
  readonly name: string;
  readonly content: Uint8Array;
  /** Permissions; default owner only. */
  readonly mode?: number;
  /** Seconds since 1970. */
  readonly mtime: number;
}

/** The archive of these files. @throws TarError for a name of more than 100 bytes. */
export function writeTar(files: readonly TarFile[]): Buffer {
  const blocks: Uint8Array[] = [];
  for (const file of files) {
    const { length } = file.content;
    blocks.push(tarHeader({ ...file, bytes: length }), file.content, tarPadding(length));
  }
  return Buffer.concat([...blocks, tarEnd()]);
}

/** Fills the last block of a file of so many bytes. */
export function tarPadding(bytes: number): Uint8Array {
  return Buffer.alloc((blockBytes - (bytes % blockBytes)) % blockBytes);
}

/** Ends an archive. */
export function tarEnd(): Uint8Array {
  return Buffer.alloc(2 * blockBytes);
}

/** What stands before the bytes of a file, for archives that are written piece by piece. */
export function tarHeader({
  name,
  bytes,
  mode = 0o600,
  mtime,
}: Omit<TarFile, 'content'> & { readonly bytes: number }): Uint8Array {
  const block = Buffer.alloc(blockBytes);
  if (Buffer.byteLength(name) > fields.name[1]) throw new TarError(`name too long for a tar archive: ${name}`);
  const text = ([offset]: readonly [number, number], value: string): void => void block.write(value, offset, 'utf8');
  const octal = (field: readonly [number, number], value: number): void =>
    text(field, value.toString(8).padStart(field[1] - 1, '0'));
  text(fields.name, name);
  octal(fields.mode, mode);
  octal(fields.uid, 0);
  octal(fields.gid, 0);
  octal(fields.size, bytes);
  octal(fields.mtime, mtime);
  text(fields.type, '0');
  text(fields.magic, 'ustar\u000000');
  text(fields.checksum, `${checksum(block).toString(8).padStart(6, '0')}\u0000 `);
  return block;
}

/** Sum of the bytes, those of the sum itself counted as blanks. */
function checksum(block: Uint8Array): number {
  const [offset, length] = fields.checksum;
  let sum = 0;
  for (const [index, byte] of block.entries()) sum += index >= offset && index < offset + length ? 0x20 : byte;
  return sum;
}

export interface TarEvents {
  /** A file begins. Throw to stop. */
  onFile(name: string, bytes: number): void;
  /** The next bytes of it; the receiver copies what it keeps. */
  onData(chunk: Uint8Array): void;
}

/** Reads an archive piece by piece. */
export class TarReader {
  readonly #events: TarEvents;
  /** The header that is being gathered. */
  readonly #block = Buffer.alloc(blockBytes);
  #filled = 0;
  /** Of the current file: bytes to come, and blanks behind them. */
  #content = 0;
  #padding = 0;
  #ended = false;

  constructor(events: TarEvents) {
    this.#events = events;
  }

  /** @throws TarError, and what the events throw. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.#ended) {
      const left = bytes.length - at;
      if (this.#content > 0) {
        const take = Math.min(this.#content, left);
        this.#events.onData(bytes.subarray(at, at + take));
        this.#content -= take;
        at += take;
      } else if (this.#padding > 0) {
        const take = Math.min(this.#padding, left);
        this.#padding -= take;
        at += take;
      } else {
        const take = Math.min(blockBytes - this.#filled, left);
        this.#block.set(bytes.subarray(at, at + take), this.#filled);
        this.#filled += take;
        at += take;
        if (this.#filled === blockBytes) this.#begin();
      }
    }
  }

  /** Says that nothing follows. @throws TarError when something is missing. */
  end(): void {
    if (this.#filled > 0 || this.#content > 0) throw new TarError('unexpected EOF');
  }

  #begin(): void {
    const block = this.#block;
    this.#filled = 0;
    if (block.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    const text = ([offset, length]: readonly [number, number]): string =>
      /^[^\0]*/.exec(block.toString('utf8', offset, offset + length))![0].trim();
    const size = Number.parseInt(text(fields.size), 8);
    if (Number.parseInt(text(fields.checksum), 8) !== checksum(block) || !Number.isSafeInteger(size)) {
      throw new TarError('archive/tar: invalid tar header');
    }
    const name = text(fields.name);
    if (!regularTypes.has(block[fields.type[0]]!)) throw new TarError(`"${name}" is no regular file`);
    this.#content = size;
    this.#padding = (blockBytes - (size % blockBytes)) % blockBytes;
    this.#events.onFile(name, size);
  }
}
