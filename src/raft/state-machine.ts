/** What consensus replicates, as the driver sees it. */
import type { LogEntry } from './log-entry.ts';

export interface StateMachine {
  /**
   * Applies a committed command. The result goes to whoever proposed it; a failure of the command is a result too.
   * @throws only when the state machine cannot go on: the server stops.
   */
  apply(entry: LogEntry): unknown;
  /** The state as of this call, in pieces; later commands must not show in it. */
  snapshot(): AsyncIterable<Uint8Array>;
  /**
   * Replaces the whole state.
   * @throws when the pieces are no snapshot; the state is as before then.
   */
  restore(pieces: AsyncIterable<Uint8Array>): Promise<void>;
}
