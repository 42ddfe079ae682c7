// What several tests of consensus use: a quiet logger, a state machine that keeps what it applied, a transport to nobody.
import type { Logger } from '../../../src/ports/index.ts';
import type { LogEntry, RaftTransport, StateMachine } from '../../../src/raft/index.ts';

export const quiet: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  named: () => quiet,
};

/** Keeps every command's text; its snapshot is the list of them. */
export class ListMachine implements StateMachine {
  applied: string[] = [];

  apply(entry: LogEntry): unknown {
    this.applied.push(Buffer.from(entry.Data ?? []).toString());
    return this.applied.length;
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const text = JSON.stringify(this.applied);
    return (async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(text);
    })();
  }

  async restore(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const all: Uint8Array[] = [];
    for await (const piece of pieces) all.push(piece);
    this.applied = JSON.parse(Buffer.concat(all).toString()) as string[];
  }
}

export const nobody: RaftTransport = {
  call: () => Promise.reject(new Error('nobody is there')),
  serve: () => {},
  close: async () => {},
};

export function command(index: number, text = `command ${index}`, term = 1): LogEntry {
  return { Index: index, Term: term, Type: 0, Data: Buffer.from(text), Extensions: null };
}
