/**
 * What is wrong with a request before anybody looks at the own state: numbers that could not be counted on from,
 * entries that do not follow each other, kinds that nobody knows. A server of ours or theirs never sends such a one;
 * taken over it would stop this server, at once or when the entry is applied.
 */
import { configurationOf } from './configuration.ts';
import { logTypes } from './log-entry.ts';
import type { AppendEntriesRequest, RaftRequest } from './messages.ts';

/** Terms and indexes stay exact as numbers, also when some are added to the largest that a peer may name. */
const countMax = Number.MAX_SAFE_INTEGER - 2 ** 32;
/** `ip:port`, or a name: what the store of votes has room for. */
const addressBytesMax = 256;
/** State of a snapshot: it is in memory afterwards, several times as large. */
const snapshotBytesMax = 4 * 1024 ** 3;

const knownTypes: ReadonlySet<number> = new Set(Object.values(logTypes));

/** @returns undefined when nothing is. */
export function requestProblem(message: RaftRequest): string | undefined {
  switch (message.rpc) {
    case 'appendEntries': {
      const { Term, PrevLogEntry, PrevLogTerm, LeaderCommitIndex, Leader } = message.request;
      return (
        countProblem({ Term, PrevLogEntry, PrevLogTerm, LeaderCommitIndex }) ??
        addressProblem(Leader) ??
        entriesProblem(message.request)
      );
    }
    case 'requestVote': {
      const { Term, LastLogIndex, LastLogTerm, Candidate } = message.request;
      return countProblem({ Term, LastLogIndex, LastLogTerm }) ?? addressProblem(Candidate);
    }
    case 'requestPreVote': {
      const { Term, LastLogIndex, LastLogTerm, Addr } = message.request;
      return countProblem({ Term, LastLogIndex, LastLogTerm }) ?? addressProblem(Addr);
    }
    case 'installSnapshot': {
      const { Term, LastLogIndex, LastLogTerm, ConfigurationIndex, Leader, Size } = message.request;
      if (!(Size >= 0 && Size <= snapshotBytesMax)) return `a snapshot of ${Size} bytes, not 0 to ${snapshotBytesMax}`;
      return countProblem({ Term, LastLogIndex, LastLogTerm, ConfigurationIndex }) ?? addressProblem(Leader);
    }
    case 'timeoutNow':
      return undefined;
  }
}

function countProblem(counts: Readonly<Record<string, number>>): string | undefined {
  for (const [name, count] of Object.entries(counts)) if (count > countMax) return `${name} ${count} is too large`;
  return undefined;
}

function addressProblem(address: string): string | undefined {
  const bytes = Buffer.byteLength(address);
  return bytes > addressBytesMax ? `an address of ${bytes} bytes` : undefined;
}

function entriesProblem({ Entries, PrevLogEntry, PrevLogTerm, Term }: AppendEntriesRequest): string | undefined {
  let { index, term } = { index: PrevLogEntry, term: PrevLogTerm };
  for (const entry of Entries ?? []) {
    index++;
    if (entry.Index !== index) return `entry ${entry.Index} stands where entry ${index} should`;
    if (entry.Term < term || entry.Term > Term) return `entry ${index} of term ${entry.Term} does not follow ${term}`;
    term = entry.Term;
    if (!knownTypes.has(entry.Type)) return `entry ${index} has the unknown type ${entry.Type}`;
    try {
      configurationOf(entry);
    } catch (error) {
      return `the configuration of entry ${index}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return undefined;
}
