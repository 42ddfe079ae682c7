/**
 * The file that `snapshot save` hands out, before compression: a tar of `meta.json`, `state.bin` and the SHA-256 sums of
 * both, in this order (reference/raft.md §5.3). Written piece by piece; read as a whole, because nothing of it may be
 * used before all sums are right.
 */
import { createHash, type Hash } from 'node:crypto';
import { tarEnd, tarHeader, tarPadding, TarReader } from '../codec/index.ts';
import { parseSnapshotMeta } from './snapshot-store.ts';
import type { SnapshotMeta } from './stores.ts';

const metaName = 'meta.json';
const stateName = 'state.bin';
const sumsName = 'SHA256SUMS';

/** Largest member beside the state. */
const smallBytesMax = 1024 * 1024;

/** The archive of a snapshot. @throws Error when `state` is not `meta.Size` bytes. */
export async function* writeArchive(
  meta: SnapshotMeta,
  state: AsyncIterable<Uint8Array>,
  wallMs: number,
): AsyncGenerator<Uint8Array> {
  const mtime = Math.floor(wallMs / 1000);
  // An archive carries no checksum of the disk's kind (§5.3).
  const { CRC: _, ...fields } = meta;
  const metaBytes = Buffer.from(`${JSON.stringify(fields)}\n`);
  yield* smallMember(metaName, metaBytes, mtime);

  yield tarHeader({ name: stateName, bytes: meta.Size, mtime });
  const stateHash = createHash('sha256');
  let size = 0;
  for await (const piece of state) {
    stateHash.update(piece);
    size += piece.length;
    yield piece;
  }
  if (size !== meta.Size) throw new Error(`the snapshot's state has ${size} bytes, its meta.json says ${meta.Size}`);
  yield tarPadding(size);

  const metaSum = createHash('sha256').update(metaBytes).digest('hex');
  yield* smallMember(
    sumsName,
    Buffer.from(`${metaSum}  ${metaName}\n${stateHash.digest('hex')}  ${stateName}\n`),
    mtime,
  );
  yield tarEnd();
}

function* smallMember(name: string, content: Uint8Array, mtime: number): Generator<Uint8Array> {
  yield tarHeader({ name, bytes: content.length, mtime });
  yield content;
  yield tarPadding(content.length);
}

export interface ArchiveContent {
  readonly meta: SnapshotMeta;
  /** The state in pieces. */
  readonly state: readonly Uint8Array[];
}

/**
 * Reads and verifies an uncompressed archive.
 * @throws Error in the peer's words: `unexpected file "X" in snapshot`, `hash check failed for "X"`, …
 */
export async function readArchive(tar: AsyncIterable<Uint8Array>): Promise<ArchiveContent> {
  const members = new Map<string, { readonly hash: Hash; readonly pieces: Uint8Array[]; bytes: number }>();
  let current = '';
  const reader = new TarReader({
    onFile: (name) => {
      if (![metaName, stateName, sumsName].includes(name)) throw new Error(`unexpected file "${name}" in snapshot`);
      current = name;
      members.set(name, { hash: createHash('sha256'), pieces: [], bytes: 0 });
    },
    onData: (chunk) => {
      const member = members.get(current)!;
      member.hash.update(chunk);
      member.pieces.push(Buffer.from(chunk));
      member.bytes += chunk.length;
      if (current !== stateName && member.bytes > smallBytesMax) {
        throw new Error(`"${current}" in the snapshot is larger than ${smallBytesMax} bytes`);
      }
    },
  });
  for await (const piece of tar) reader.push(piece);
  reader.end();
  const text = (name: string): string => Buffer.concat(members.get(name)?.pieces ?? []).toString('utf8');
  const sums = new Map(
    text(sumsName)
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .map(([sum = '', name = '']) => [name, sum]),
  );
  for (const name of [metaName, stateName]) {
    const member = members.get(name);
    if (member === undefined) throw new Error(`file missing for "${name}"`);
    if (sums.get(name) !== member.hash.digest('hex')) throw new Error(`hash check failed for "${name}"`);
  }
  const meta = parseSnapshotMeta(text(metaName));
  const state = members.get(stateName)!;
  if (state.bytes !== meta.Size) {
    throw new Error(`the snapshot's state has ${state.bytes} bytes, its meta.json says ${meta.Size}`);
  }
  return { meta, state: state.pieces };
}
