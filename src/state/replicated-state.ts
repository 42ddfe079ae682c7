/**
 * What consensus replicates: the store, and commands of which only some chunks have come. Entries of the log go in, in
 * order; the whole can be written out and taken over as a snapshot (reference/raft.md §3.12, §4.1, §5.2).
 */
import { CallError } from '../model/index.ts';
import { ChunkAssembler } from './chunks.ts';
import { decodeCommand } from './command-codec.ts';
import type { Command, CommandResult } from './command.ts';
import { SnapshotRestore, writeSnapshot } from './snapshot/index.ts';
import type { StateStore } from './store.ts';

/** An entry of the log that holds a command, whole or in part. */
export interface CommandEntry {
  readonly Index: number;
  readonly Term: number;
  readonly Data: Uint8Array | null;
  readonly Extensions: Uint8Array | null;
}

export class ReplicatedState {
  readonly #store: StateStore;
  readonly #onCommand: ((command: Command) => void) | undefined;
  #chunks = new ChunkAssembler();

  /** @param onCommand is told of every whole command before it is applied. */
  constructor(store: StateStore, onCommand?: (command: Command) => void) {
    this.#store = store;
    this.#onCommand = onCommand;
  }

  /**
   * Applies a committed entry.
   * @returns the command's result, or its failure; null for a chunk that is not the last, and for what may be passed over.
   * @throws UnknownCommandError, ChunkError when the state would no longer be the others'.
   */
  apply({ Index, Term, Data, Extensions }: CommandEntry): CommandResult | CallError {
    const data = Data ?? new Uint8Array();
    const bytes = Extensions === null ? data : this.#chunks.add(Term, data, Extensions);
    if (bytes === null) return null;
    const command = decodeCommand(bytes);
    if (command === null) return null;
    this.#onCommand?.(command);
    try {
      return this.#store.apply(Index, command);
    } catch (error) {
      if (error instanceof CallError) return error;
      throw error;
    }
  }

  /** The state as of this call, in pieces. */
  snapshot(): AsyncIterable<Uint8Array> {
    return inTurns(writeSnapshot(this.#store.snapshot(), this.#chunks.snapshot()));
  }

  /** @throws SnapshotError, and leaves everything as it is. */
  async restore(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const restore = new SnapshotRestore();
    for await (const piece of pieces) restore.push(piece);
    const { tables, lastIndex, chunks } = restore.finish();
    this.#chunks = chunks;
    this.#store.replace(tables, lastIndex);
  }
}

async function* inTurns(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
