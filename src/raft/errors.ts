/** Failures that callers of consensus tell apart, in the words of the peer where it has them. */
import type { Refusal } from './actions.ts';

export type RaftErrorCode =
  | 'not-leader'
  | 'leadership-lost'
  | 'leadership-transfer'
  | 'restore-in-progress'
  | 'queue-full'
  | 'shutdown'
  | 'already-bootstrapped'
  | 'nothing-new'
  | 'invalid';

export class RaftError extends Error {
  readonly code: RaftErrorCode;

  constructor(code: RaftErrorCode, message: string) {
    super(message);
    this.name = 'RaftError';
    this.code = code;
  }
}

/** The command was not taken, or (`leadership-lost`) it was and nobody knows yet what became of it. */
export function refusalError(reason: Refusal): RaftError {
  if (typeof reason !== 'string') return new RaftError('invalid', reason.invalid);
  switch (reason) {
    case 'not leader':
      return new RaftError('not-leader', 'node is not the leader');
    case 'leadership lost':
      return new RaftError('leadership-lost', 'leadership lost while committing log');
    case 'leadership transfer in progress':
      return new RaftError('leadership-transfer', 'leadership transfer in progress');
    case 'restore in progress':
      return new RaftError('restore-in-progress', 'a snapshot is being restored');
    case 'already bootstrapped':
      return new RaftError('already-bootstrapped', 'bootstrap only works on new clusters');
    case 'no target':
      return new RaftError('invalid', 'cannot find peer to transfer leadership to');
    case 'transfer timed out':
      return new RaftError('leadership-transfer', 'leadership transfer timeout');
    case 'too many changes':
      return new RaftError('queue-full', 'too many membership changes are waiting');
  }
}

export const shutdownError = (): RaftError => new RaftError('shutdown', 'raft is already shutdown');
