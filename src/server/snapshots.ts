/**
 * Saving the state of all as a file, and going back to it (reference/raft.md §5.3, §5.4): a compressed archive, made or
 * taken by the leader, or by any server when a stale one will do. The same for front doors and for port 8300.
 */
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { CallError, type QueryMeta } from '../model/index.ts';
import { type Clock, type Logger, sleep } from '../ports/index.ts';
import { type ArchiveContent, readArchive, writeArchive } from '../raft/index.ts';
import { requestSnapshot, type RpcServerAddress, type SnapshotHandler, snapshotOps } from '../rpc/index.ts';
import type { AclResolver } from './acl/index.ts';
import { permissionDenied } from './acl/resolver.ts';
import type { Cluster } from './cluster.ts';
import type { Consensus } from './command-log.ts';
import { asCallError, type Forwarding } from './forwarding.ts';

/**
 * An archive is unpacked in memory before any of it is used: it must not be larger than this, bytes, nor all that are
 * at a time. The state that it becomes is several times as large: more has no place in a heap of the usual size.
 */
const archiveBytesMax = 1024 ** 3;
/** So much of a state is read in one turn of the event loop, bytes: some milliseconds. */
const turnBytes = 64 * 1024;

export interface SnapshotTarget {
  readonly datacenter: string;
  readonly token: string;
  /** Any server may answer. */
  readonly stale: boolean;
}

/** A compressed archive, and what is to be said about it; `Index` is the snapshot's. */
export interface SavedSnapshot {
  readonly meta: QueryMeta;
  readonly archive: AsyncIterable<Uint8Array>;
}

export interface Snapshots {
  /** @throws CallError */
  save(target: SnapshotTarget, signal?: AbortSignal): Promise<SavedSnapshot>;
  /** Replaces the state of the whole cluster by that of a compressed archive. @throws CallError */
  restore(target: SnapshotTarget, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
}

export class ServerSnapshots implements Snapshots {
  readonly #log: Consensus;
  readonly #forwarding: Forwarding;
  readonly #cluster: Cluster | undefined;
  readonly #resolver: AclResolver;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onRestored: () => void;
  /** Bytes of the archives that are being unpacked and restored. */
  #unpackedBytes = 0;

  constructor(parts: {
    readonly log: Consensus;
    readonly forwarding: Forwarding;
    readonly cluster: Cluster | undefined;
    readonly resolver: AclResolver;
    readonly clock: Clock;
    readonly logger: Logger;
    /** The state is another one now. */
    readonly onRestored: () => void;
  }) {
    this.#log = parts.log;
    this.#forwarding = parts.forwarding;
    this.#cluster = parts.cluster;
    this.#resolver = parts.resolver;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#onRestored = parts.onRestored;
  }

  async save(target: SnapshotTarget, signal?: AbortSignal): Promise<SavedSnapshot> {
    const [elsewhere] = await this.#forwarding.locate(target.datacenter, { stale: target.stale }, signal);
    if (elsewhere !== undefined) return await this.#ask(elsewhere, 'save', target, [], signal);
    this.#requireRights(target.token);
    const { meta, pieces } = await this.#log.save();
    this.#logger.info('saving a snapshot', { index: meta.Index, bytes: meta.Size });
    const { lastContactNs, leaderAddress } = this.#log;
    return {
      meta: { Index: meta.Index, LastContact: lastContactNs, KnownLeader: leaderAddress !== '' },
      archive: gzipped(writeArchive(meta, pieces(), this.#clock.wallMs())),
    };
  }

  async restore(target: SnapshotTarget, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    if (target.stale) throw new CallError('stale not allowed for restore');
    const [elsewhere] = await this.#forwarding.locate(target.datacenter, { stale: false }, signal);
    if (elsewhere !== undefined) {
      await this.#ask(elsewhere, 'restore', target, archive, signal);
      return;
    }
    this.#requireRights(target.token);
    let bytes = 0;
    try {
      const { meta, state } = await unpacked(archive, (more) => {
        bytes += more;
        this.#unpackedBytes += more;
        if (this.#unpackedBytes > archiveBytesMax) {
          throw new CallError(`the snapshot, with others that are restored now, exceeds ${archiveBytesMax} bytes`);
        }
      });
      this.#logger.info('restoring a snapshot', { index: meta.Index, bytes: meta.Size });
      await this.#log.restore({ meta, pieces: () => inTurns(state, this.#clock) });
    } finally {
      this.#unpackedBytes -= bytes;
    }
    this.#onRestored();
  }

  /** The same over port 8300. */
  get handler(): SnapshotHandler {
    return async ({ Op, Datacenter, Token, AllowStale }, archive) => {
      const target = { datacenter: Datacenter, token: Token, stale: AllowStale };
      switch (Op) {
        case snapshotOps.save: {
          const saved = await this.save(target);
          return { reply: saved.meta, archive: saved.archive };
        }
        case snapshotOps.restore:
          await this.restore(target, archive);
          return { reply: {} };
        default:
          throw new CallError(`unrecognized snapshot op ${Op}`);
      }
    };
  }

  async #ask(
    server: RpcServerAddress,
    op: keyof typeof snapshotOps,
    target: SnapshotTarget,
    archive: AsyncIterable<Uint8Array> | readonly Uint8Array[],
    signal: AbortSignal | undefined,
  ): Promise<SavedSnapshot> {
    try {
      const stream = await this.#cluster!.dialSnapshot(server);
      const { reply, archive: saved } = await requestSnapshot(
        stream,
        { Datacenter: target.datacenter, Token: target.token, AllowStale: target.stale, Op: snapshotOps[op] },
        { clock: this.#clock, archive, ...(signal && { signal }) },
      );
      const { Index, LastContact, KnownLeader } = reply;
      return { meta: { Index, LastContact, KnownLeader }, archive: saved };
    } catch (error) {
      throw asCallError(error);
    }
  }

  #requireRights(token: string): void {
    const authorizer = this.#resolver.resolve(token);
    if (authorizer !== null && !authorizer.maySingle('acl:write')) throw permissionDenied();
  }
}

function gzipped(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  // Its failure shows where it is read.
  return pipeline(Readable.from(pieces), createGzip(), () => undefined);
}

/**
 * @param count is told of each piece before it is kept, and may refuse.
 * @throws CallError in the peer's words when it is no archive, cut off, or damaged.
 */
async function unpacked(archive: AsyncIterable<Uint8Array>, count: (bytes: number) => void): Promise<ArchiveContent> {
  const gunzip = pipeline(Readable.from(archive), createGunzip(), () => undefined);
  let bytes = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of gunzip as AsyncIterable<Uint8Array>) {
      bytes += piece.length;
      count(piece.length);
      yield piece;
    }
  };
  try {
    return await readArchive(counted());
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (bytes === 0 && code === 'Z_DATA_ERROR') {
      throw new CallError('failed to decompress snapshot: gzip: invalid header', { cause: error });
    }
    if (code === 'Z_BUF_ERROR') {
      const text = bytes === 0 ? 'failed to decompress snapshot: EOF' : 'failed to read snapshot file: unexpected EOF';
      throw new CallError(text, { cause: error });
    }
    throw new CallError(`failed to read snapshot file: ${message}`, { cause: error });
  }
}

/** With a turn of the event loop between pieces: a leader that is silent meanwhile is not one for long. */
async function* inTurns(pieces: Iterable<Uint8Array>, clock: Clock): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += turnBytes) {
      yield piece.subarray(at, at + turnBytes);
      await sleep(clock, 0);
    }
  }
}
