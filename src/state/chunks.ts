/**
 * A KV value may be larger than an entry of the log should be: such a command is cut into chunks, each an entry of its
 * own, and put together again on every server when the last one comes. What belongs together and in which order stands
 * in the entry's extensions, a protobuf message (reference/raft.md §3.12, §5.2).
 */
import { commandNumbers } from './command.ts';

/** Bytes of an entry above which a KV command is cut. */
export const chunkBytesMax = 524_288;

export interface Chunk {
  readonly data: Uint8Array;
  /** null when the command is whole. */
  readonly extensions: Uint8Array | null;
}

/**
 * The entries of a command.
 * @param operation a number that no other command in flight has, of 64 bits.
 */
export function chunksOf(command: Uint8Array, operation: bigint): readonly Chunk[] {
  if (command[0] !== commandNumbers.KVS || command.length <= chunkBytesMax)
    return [{ data: command, extensions: null }];
  const count = Math.ceil(command.length / chunkBytesMax);
  return Array.from({ length: count }, (_, sequence) => ({
    data: command.subarray(sequence * chunkBytesMax, (sequence + 1) * chunkBytesMax),
    extensions: encodeExtensions({ operation, sequence, count }),
  }));
}

interface Extensions {
  readonly operation: bigint;
  /** From 0. */
  readonly sequence: number;
  /** Of chunks. */
  readonly count: number;
}

/** Field numbers with the wire type of a varint. */
const operationTag = 0x08;
const sequenceTag = 0x10;
const countTag = 0x18;
/** More than the largest value the HTTP door lets in could be cut into, by far. */
const chunksMax = 65_536;

function encodeExtensions({ operation, sequence, count }: Extensions): Uint8Array {
  const bytes: number[] = [];
  for (const [tag, value] of [
    [operationTag, operation],
    [sequenceTag, BigInt(sequence)],
    [countTag, BigInt(count)],
  ] as const) {
    if (value === 0n) continue;
    bytes.push(tag);
    let rest = value;
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    bytes.push(Number(rest));
  }
  return Uint8Array.from(bytes);
}

/** An entry says that it is a chunk, but not of what. */
export class ChunkError extends Error {
  constructor(problem: string) {
    super(`the extensions of a log entry are not those of a chunk: ${problem}`);
    this.name = 'ChunkError';
  }
}

function decodeExtensions(bytes: Uint8Array): Extensions {
  const fields = new Map<number, bigint>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new ChunkError('a number does not end');
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    // Other fields, as extensions of the extensions, are read over: numbers, and bytes with their length in front.
    if ((tag & 7) === 0) fields.set(tag, varint());
    else if ((tag & 7) === 2) at += Number(varint());
    else throw new ChunkError(`field ${tag >> 3} has an unknown type`);
  }
  const operation = fields.get(operationTag) ?? 0n;
  const sequence = Number(fields.get(sequenceTag) ?? 0n);
  const count = Number(fields.get(countTag) ?? 0n);
  if (count < 1 || count > chunksMax) throw new ChunkError(`${count} chunks; 1 to ${chunksMax} are possible`);
  if (sequence >= count) throw new ChunkError(`chunk ${sequence} of ${count}`);
  return { operation, sequence, count };
}

/** A chunk that waits for the others of its command, as snapshots keep it. */
export interface WaitingChunk {
  readonly OpNum: bigint;
  readonly SequenceNum: number;
  readonly NumChunks: number;
  readonly Term: number;
  readonly Data: Uint8Array | null;
}

/** Puts chunks together; part of the replicated state, so the same on every server. */
export class ChunkAssembler {
  /** By operation; a place is undefined until its chunk has come. */
  #waiting = new Map<bigint, (WaitingChunk | undefined)[]>();
  #term = 0;

  /** What waits, by operation; places whose chunk has not come are null. */
  snapshot(): ReadonlyMap<bigint, readonly (WaitingChunk | null)[]> {
    return new Map(
      [...this.#waiting].map(([operation, chunks]) => [operation, Array.from(chunks, (one) => one ?? null)]),
    );
  }

  /** Takes over what waited when a snapshot was made. */
  restore(waiting: ReadonlyMap<bigint, readonly (WaitingChunk | null)[]>): void {
    this.#waiting = new Map(
      [...waiting].map(([operation, chunks]) => [operation, chunks.map((one) => one ?? undefined)]),
    );
    this.#term = Math.max(0, ...[...waiting.values()].flat().map((chunk) => chunk?.Term ?? 0));
  }

  /**
   * Takes the entry of a chunk.
   * @returns the whole command when it was the last that lacked, else null. Chunks of an earlier term are forgotten: who
   * sent them leads no more, and sends the command again.
   * @throws ChunkError
   */
  add(term: number, data: Uint8Array, extensions: Uint8Array): Uint8Array | null {
    const { operation, sequence, count } = decodeExtensions(extensions);
    if (term !== this.#term) this.#waiting.clear();
    this.#term = term;
    let chunks = this.#waiting.get(operation);
    if (chunks === undefined) this.#waiting.set(operation, (chunks = Array.from({ length: count }, () => undefined)));
    chunks[sequence] = { OpNum: operation, SequenceNum: sequence, NumChunks: count, Term: term, Data: data };
    if (chunks.includes(undefined)) return null;
    this.#waiting.delete(operation);
    return Buffer.concat(chunks.map((chunk) => chunk?.Data ?? new Uint8Array()));
  }
}
