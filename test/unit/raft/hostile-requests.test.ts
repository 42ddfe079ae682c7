// Requests that no server sends: one packet of somebody must not stop a server, nor hold it up.
import { describe, expect, test } from 'vitest';
import {
  DirectorySnapshotStore,
  FileStableStore,
  logTypes,
  NetworkTransport,
  RaftNode,
  type RaftRequest,
  SegmentedLog,
  suffrage,
} from '../../../src/raft/index.ts';
import { requestProblem } from '../../../src/raft/request-problem.ts';
import { encodeRequest } from '../../../src/raft/wire.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';
import { record, streamPair } from '../../helpers/stream-pair.ts';
import { command as entry } from './support.ts';

const command = (index: number, term = 1) => entry(index, 'x', term);

type Append = Extract<RaftRequest, { rpc: 'appendEntries' }>['request'];

function append(fields: Partial<Append>): RaftRequest {
  return {
    rpc: 'appendEntries',
    request: {
      Entries: null,
      Leader: '10.0.0.2:8300',
      LeaderCommitIndex: 0,
      PrevLogEntry: 0,
      PrevLogTerm: 0,
      ProtocolVersion: 3,
      Term: 3,
      ...fields,
    },
  };
}

function install(fields: { readonly Size?: number; readonly Term?: number }): RaftRequest {
  return {
    rpc: 'installSnapshot',
    request: {
      Configuration: null,
      ConfigurationIndex: 1,
      LastLogIndex: 9,
      LastLogTerm: 2,
      Leader: '10.0.0.2:8300',
      Peers: null,
      ProtocolVersion: 3,
      Size: 0,
      SnapshotVersion: 1,
      Term: 3,
      ...fields,
    },
  };
}

function vote(fields: { readonly Candidate?: string; readonly Term?: number }): RaftRequest {
  const request = { LastLogIndex: 1, LastLogTerm: 1, LeadershipTransfer: false, ProtocolVersion: 3 };
  return { rpc: 'requestVote', request: { Candidate: '10.0.0.2:8300', Term: 3, ...request, ...fields } };
}

const huge = Number.MAX_SAFE_INTEGER;
const configuration = { ...command(1), Type: logTypes.configuration };

test.each<[string, RaftRequest, string]>([
  ['a term that nothing could follow', append({ Term: huge }), 'too large'],
  ['a commit index that nothing could follow', append({ LeaderCommitIndex: huge }), 'too large'],
  ['a vote for a term that nothing could follow', vote({ Term: huge }), 'too large'],
  ['a candidate with an endless address', vote({ Candidate: 'x'.repeat(10_000) }), 'an address of 10000 bytes'],
  ['a snapshot larger than memory', install({ Size: 2 ** 50 }), 'a snapshot of 1125899906842624 bytes'],
  ['a snapshot of less than nothing', install({ Size: -1 }), 'a snapshot of -1 bytes'],
  ['a gap between entries', append({ Entries: [command(1), command(3)] }), 'entry 3 stands where entry 2 should'],
  ['entries that do not begin behind the last', append({ Entries: [command(2)] }), 'entry 2 stands where entry 1'],
  ['terms that go down', append({ Entries: [command(1, 2), command(2, 1)] }), 'entry 2 of term 1 does not follow 2'],
  ['an entry of a term to come', append({ Entries: [command(1, 4)] }), 'entry 1 of term 4'],
  ['an entry of no known type', append({ Entries: [{ ...command(1), Type: 77 }] }), 'unknown type 77'],
  [
    'a configuration that is none',
    append({ Entries: [{ ...configuration, Data: Buffer.from('ff', 'hex') }] }),
    'the configuration of entry 1',
  ],
])('%s is told', (_, request, problem) => {
  expect(requestProblem(request)).toContain(problem);
});

test('what servers send is none', () => {
  expect(requestProblem(append({}))).toBeUndefined();
  expect(requestProblem(append({ Entries: [command(1), command(2, 3)] }))).toBeUndefined();
  expect(requestProblem(install({ Size: 1024 }))).toBeUndefined();
  expect(requestProblem(vote({}))).toBeUndefined();
});

describe('a leader', () => {
  /** Alone in its cluster, so that it leads; requests go in over a connection. */
  async function leading() {
    const clock = new VirtualClock();
    const { logger, lines } = recordingLogger();
    const disk = new FaultyDisk({ clock, random: new SeededRandom(1), latencyMs: 0 }).mount();
    await disk.makeDirectory('raft');
    const transport = new NetworkTransport({ clock, logger, dial: () => Promise.reject(new Error('nobody')) });
    const failures: Error[] = [];
    const node = await RaftNode.start({
      id: 'a',
      address: '10.0.0.1:8300',
      timing: {
        heartbeatTimeoutMs: 1_000,
        electionTimeoutMs: 1_000,
        leaderLeaseMs: 500,
        commitTimeoutMs: 50,
        appendEntriesMax: 64,
        snapshotIntervalMs: 120_000,
        snapshotThreshold: 8192,
        trailingLogs: 128,
      },
      clock,
      random: new SeededRandom(2),
      logger,
      log: await SegmentedLog.open({ disk, directory: 'raft/log', logger }),
      stable: await FileStableStore.open(disk, 'raft', 'term'),
      snapshots: await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock }),
      stateMachine: { apply: () => null, snapshot: async function* none() {}, restore: () => Promise.resolve() },
      transport,
      onFailure: (error) => failures.push(error),
    });
    await node.bootstrap({ Servers: [{ Suffrage: suffrage.voter, ID: 'a', Address: '10.0.0.1:8300' }] });
    await clock.advance(5_000);
    expect(node.isLeader).toBe(true);
    const said = async (request: RaftRequest): Promise<string> => {
      const { a, b, settle } = streamPair();
      const heard = record(a);
      transport.accept(b);
      a.write(encodeRequest(request));
      for (let turn = 0; turn < 5; turn++) {
        settle();
        await clock.advance(1);
      }
      return heard.bytes.toString('latin1');
    };
    return { clock, node, lines, failures, said };
  }

  test('goes on leading when somebody else claims its term', async () => {
    const { node, failures, said } = await leading();
    expect(await said(append({ Term: node.term }))).toContain(`two leaders in term ${node.term}`);
    expect(failures).toEqual([]);
    expect(node.isLeader).toBe(true);
  });

  test('keeps what is committed when a later leader contradicts it', async () => {
    const { node, failures, said } = await leading();
    const Term = node.term + 1;
    const { index } = await node.propose(Buffer.from('kept'));
    const answer = await said(
      append({ Term, Entries: Array.from({ length: index }, (_, at) => command(at + 1, Term)) }),
    );
    expect(answer).toContain(`contradicts what is committed up to ${index}`);
    expect(failures).toEqual([]);
  });
});

test('a snapshot that does not come on is given up, and makes room for another', async () => {
  const clock = new VirtualClock();
  const { logger, lines } = recordingLogger();
  const transport = new NetworkTransport({ clock, logger, dial: () => Promise.reject(new Error('nobody')) });
  let broken: unknown;
  transport.serve(async (_, body) => {
    try {
      for await (const piece of body!.pieces) expect(piece.length).toBeGreaterThan(0);
    } catch (error) {
      broken = error;
      throw error;
    }
    throw new Error('it was not to come');
  });
  const { a, b, settle } = streamPair();
  record(a);
  transport.accept(b);
  a.write(encodeRequest(install({ Size: 10_000_000 })));
  for (let second = 0; second < 12; second++) {
    a.write(Uint8Array.of(1));
    settle();
    await clock.advance(1_000);
  }
  expect(String(broken)).toBe('Error: short read');
  expect(b.closed).toBe(true);
  expect(lines).toEqual([expect.stringContaining('the rest of a snapshot does not come')]);
  expect(clock.pendingTimers).toBe(0);
});
