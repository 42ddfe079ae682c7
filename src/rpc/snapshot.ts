/**
 * Snapshots have a connection of their own, without net/rpc around: a request map, the archive to restore, the end of
 * the client's side; then an answer map, and the archive that was saved (reference/server-rpc.md §1.9).
 */
import { decodeShape, encodeShape, MsgpackStream, type ShapeInput, type ShapeOf, shapes } from '../codec/index.ts';
import type { Clock, Endpoint, Logger, Stream } from '../ports/index.ts';
import { RpcError } from './rpc-error.ts';
import { StreamBytes } from './stream-bytes.ts';

const { bool, durationNs, index, int, str, struct } = shapes;

export const snapshotOps = { save: 0, restore: 1 } as const;

export const snapshotRequest = struct({ Datacenter: str, Token: str, AllowStale: bool, Op: int });
export const snapshotReply = struct({
  Error: str,
  Index: index,
  LastContact: durationNs,
  KnownLeader: bool,
  ConsistencyLevel: str,
});

export type SnapshotRequest = ShapeOf<typeof snapshotRequest>;
export type SnapshotReply = ShapeOf<typeof snapshotReply>;

/** An answer or a request is some hundred bytes, with a long error text a few thousand. */
const mapBytesMax = 64 * 1024;
/** From the request to the answer map: a restore is committed by then. */
export const snapshotTimeoutMsDefault = 600_000;

/** An archive, piece by piece. */
export type Archive = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Asks for a snapshot, or to restore one.
 * @param stream was dialled with the selector for snapshots.
 * @param options.timeoutMs until the answer map; the archive may take as long as it moves.
 * @returns the answer and, for a save, the archive; not reading it to its end gives the connection up.
 * @throws RpcError of kind `server` with the server's text, `lost`, `timeout` or `aborted`.
 */
export async function requestSnapshot(
  stream: Stream,
  request: ShapeInput<typeof snapshotRequest>,
  options: {
    readonly clock: Clock;
    readonly archive?: Archive;
    readonly timeoutMs?: number;
    readonly signal?: AbortSignal;
  },
): Promise<{ readonly reply: SnapshotReply; readonly archive: AsyncIterable<Uint8Array> }> {
  const { clock, archive = [], timeoutMs = snapshotTimeoutMsDefault, signal } = options;
  const bytes = new StreamBytes(stream, clock);
  let gaveUp: RpcError | undefined;
  const giveUp = (error: RpcError): void => {
    gaveUp ??= error;
    bytes.destroy();
  };
  const onAbort = (): void => giveUp(new RpcError('aborted', 'aborted'));
  const timer = clock.after(timeoutMs, () => giveUp(new RpcError('timeout', 'i/o deadline reached')));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    await bytes.write(encodeShape(snapshotRequest, request));
    // A server that refuses answers before it has read the archive: then its answer counts, not that we cannot write.
    const sent = sendArchive(bytes, archive).catch(() => {});
    const reply = decodeShape(snapshotReply, await readMap(bytes, { patient: true }));
    if (reply.Error !== '') throw new RpcError('server', reply.Error, '');
    await sent;
    return { reply, archive: bytes.restAndClose() };
  } catch (error) {
    bytes.destroy();
    if (gaveUp !== undefined) throw gaveUp;
    throw error instanceof RpcError
      ? error
      : new RpcError('lost', error instanceof Error ? error.message : String(error));
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * Saves or restores.
 * @param archive what the client sends, for a restore.
 * @returns the answer, and for a save the archive. What it throws becomes the answer's error text.
 */
export type SnapshotHandler = (
  request: SnapshotRequest,
  archive: AsyncIterable<Uint8Array>,
  context: { readonly remote: Endpoint },
) => Promise<{ readonly reply: ShapeInput<typeof snapshotReply>; readonly archive?: Archive }>;

/** Serves one connection of the selector for snapshots. Never throws. */
export async function serveSnapshot(
  stream: Stream,
  handler: SnapshotHandler,
  options: { readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const bytes = new StreamBytes(stream, options.clock);
  try {
    const request = decodeShape(snapshotRequest, await readMap(bytes));
    const answer = await handler(request, bytes.rest(), { remote: stream.remote }).catch((error: unknown) => ({
      reply: { Error: (error instanceof Error ? error.message : String(error)) || 'the snapshot failed' },
      archive: [],
    }));
    const archive = answer.archive ?? [];
    try {
      await bytes.write(encodeShape(snapshotReply, answer.reply));
    } catch (error) {
      // Begun and left, so that what is behind it is closed.
      for await (const _ of archive) break;
      throw error;
    }
    await sendArchive(bytes, archive);
    // What is left of an archive that was refused is read over, or the client would see a broken connection first.
    await bytes.finish();
  } catch (error) {
    const err = error instanceof Error ? error.message : String(error);
    options.logger.warn('a snapshot connection failed', { from: stream.remote.address, err });
    bytes.destroy();
  }
}

async function sendArchive(bytes: StreamBytes, archive: Archive): Promise<void> {
  for await (const piece of archive) await bytes.write(piece);
  bytes.end();
}

async function readMap(bytes: StreamBytes, options: { readonly patient?: boolean } = {}): Promise<Uint8Array> {
  const input = new MsgpackStream(mapBytesMax);
  for (;;) {
    const piece = await bytes.next(options);
    if (piece === null) throw new Error('EOF');
    input.push(piece);
    const map = input.next();
    if (map === undefined) continue;
    bytes.unread(input.rest());
    return map;
  }
}
