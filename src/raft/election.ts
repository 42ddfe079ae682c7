/**
 * Who may lead: a server that a majority of voters voted for in a term, each voting once a term and only for a log that
 * holds all that theirs holds. A server that hears its leader answers nobody else, so that one which lost touch cannot
 * disturb the others.
 */
import { type Configuration, isVoter, quorumOf, serverById, votersOf } from './configuration.ts';
import type { LogPosition } from './log-entry.ts';
import type { RequestPreVoteRequest, RequestVoteRequest } from './messages.ts';
import type { HardState } from './stores.ts';

/** What a server knows when it is asked for its vote. */
export interface Elector {
  readonly hard: HardState;
  /** Address of the leader it hears; "" when none. */
  readonly leader: string;
  readonly last: LogPosition;
  readonly configuration: Configuration;
}

export interface VoteVerdict {
  readonly granted: boolean;
  /** Whether the server takes over the request's term. */
  readonly adoptTerm: boolean;
}

/** The rules of reference/raft.md §2.5, in their order. */
export function judgeVote(elector: Elector, request: RequestVoteRequest): VoteVerdict {
  if (elector.leader !== '' && elector.leader !== request.Candidate && !request.LeadershipTransfer) {
    return { granted: false, adoptTerm: false };
  }
  if (request.Term < elector.hard.currentTerm) return { granted: false, adoptTerm: false };
  const adoptTerm = request.Term > elector.hard.currentTerm;
  if (elector.hard.votedTerm === request.Term) {
    return { granted: elector.hard.votedFor === request.Candidate, adoptTerm };
  }
  return { granted: isUpToDate(request, elector.last), adoptTerm };
}

/** The rules of reference/raft.md §1.7. Nothing is stored whatever the verdict. */
export function judgePreVote(elector: Elector, request: RequestPreVoteRequest): boolean {
  if (elector.leader !== '' && elector.leader !== request.Addr) return false;
  if (request.Term < elector.hard.currentTerm) return false;
  if (elector.configuration.Servers.length > 0 && request.ID !== '') {
    const sender = serverById(elector.configuration, request.ID);
    if (sender === undefined || !isVoter(sender)) return false;
  }
  return isUpToDate(request, elector.last);
}

function isUpToDate(
  candidate: { readonly LastLogIndex: number; readonly LastLogTerm: number },
  own: LogPosition,
): boolean {
  if (candidate.LastLogTerm !== own.term) return candidate.LastLogTerm > own.term;
  return candidate.LastLogIndex >= own.index;
}

/** Counts the votes of one round. */
export class Tally {
  readonly #quorum: number;
  readonly #voters: ReadonlySet<string>;
  readonly #granted = new Set<string>();

  constructor(configuration: Configuration) {
    const voters = votersOf(configuration);
    this.#voters = new Set(voters.map(({ ID }) => ID));
    this.#quorum = quorumOf(voters.length);
  }

  grant(id: string): void {
    if (this.#voters.has(id)) this.#granted.add(id);
  }

  get won(): boolean {
    return this.#granted.size >= this.#quorum;
  }
}
