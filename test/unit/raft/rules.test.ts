// The rules of consensus one by one (reference/raft.md §2).
import { describe, expect, test } from 'vitest';
import { commitIndexFor } from '../../../src/raft/commitment.ts';
import {
  changedConfiguration,
  type ConfigurationChange,
  type Server,
  suffrage,
} from '../../../src/raft/configuration.ts';
import { ConfigurationHistory } from '../../../src/raft/configuration-history.ts';
import { Durability } from '../../../src/raft/durability.ts';
import { type Elector, judgePreVote, judgeVote, Tally } from '../../../src/raft/election.ts';
import { leaseState } from '../../../src/raft/lease.ts';
import { LogTerms } from '../../../src/raft/log-terms.ts';
import { backoffMs } from '../../../src/raft/replication.ts';
import { Verification } from '../../../src/raft/verification.ts';

const server = (id: string, say: Server['Suffrage'] = suffrage.voter): Server => ({
  Suffrage: say,
  ID: id,
  Address: `${id}:8300`,
});
const three = { Servers: [server('a'), server('b'), server('c')] };

describe('a vote', () => {
  const elector: Elector = {
    hard: { currentTerm: 5, votedTerm: 4, votedFor: 'z:1' },
    leader: '',
    last: { index: 10, term: 4 },
    configuration: three,
  };
  const request = {
    Candidate: 'b:8300',
    LastLogIndex: 10,
    LastLogTerm: 4,
    LeadershipTransfer: false,
    ProtocolVersion: 3,
    Term: 6,
  };
  const voted = { hard: { currentTerm: 6, votedTerm: 6, votedFor: 'c:8300' } };

  test.each([
    ['is given to a log as good as ours', {}, {}, true, true],
    ['is given to a longer log', {}, { LastLogIndex: 11 }, true, true],
    ['is given to a shorter log of a later term', {}, { LastLogIndex: 1, LastLogTerm: 5 }, true, true],
    ['is not given to a shorter log, whose term counts all the same', {}, { LastLogIndex: 9 }, false, true],
    ['is not given to a longer log of an earlier term', {}, { LastLogIndex: 99, LastLogTerm: 3 }, false, true],
    ['is not given in an earlier term', {}, { Term: 4 }, false, false],
    ['is given in the same term when none was given yet', {}, { Term: 5 }, true, false],
    ['is not given twice in a term', voted, {}, false, false],
    ['is given again to the same candidate', voted, { Candidate: 'c:8300' }, true, false],
    ['is not given while a leader is heard, and the term does not count', { leader: 'a:8300' }, {}, false, false],
    ['is given to the leader that is heard', { leader: 'b:8300' }, {}, true, true],
    [
      'is given while a leader is heard that hands over',
      { leader: 'a:8300' },
      { LeadershipTransfer: true },
      true,
      true,
    ],
    ['is given to a server that is not in the configuration', {}, { Candidate: 'x:8300' }, true, true],
  ])('%s', (_, state, fields, granted, adoptTerm) => {
    expect(judgeVote({ ...elector, ...state }, { ...request, ...fields })).toEqual({ granted, adoptTerm });
  });

  const preVote = { Addr: 'b:8300', ID: 'b', LastLogIndex: 10, LastLogTerm: 4, ProtocolVersion: 3, Term: 6 };
  test.each([
    ['is promised to a log as good as ours', {}, {}, true],
    ['is promised in our own term', {}, { Term: 5 }, true],
    ['is not promised in an earlier term', {}, { Term: 4 }, false],
    ['is not promised while another leader is heard', { leader: 'a:8300' }, {}, false],
    ['is not promised to a shorter log', {}, { LastLogIndex: 9 }, false],
    ['is not promised to a stranger', {}, { ID: 'x' }, false],
    ['is promised to anyone by a server without configuration', { configuration: { Servers: [] } }, { ID: 'x' }, true],
    [
      'is not promised to one without a vote',
      { configuration: { Servers: [server('a'), server('b', suffrage.nonvoter)] } },
      {},
      false,
    ],
  ])('%s', (_, state, fields, granted) => {
    expect(judgePreVote({ ...elector, ...state }, { ...preVote, ...fields })).toBe(granted);
  });

  test('counts once, and only from voters', () => {
    const tally = new Tally({ Servers: [...three.Servers, server('d', suffrage.nonvoter)] });
    tally.grant('a');
    tally.grant('a');
    tally.grant('d');
    expect(tally.won).toBe(false);
    tally.grant('b');
    expect(tally.won).toBe(true);
  });
});

test.each([
  ['one server', [7], 1, 0, 7],
  ['two of three', [7, 5, 0], 1, 0, 5],
  ['two of four are not enough', [9, 9, 2, 1], 1, 0, 2],
  ['three of five', [9, 8, 7, 1, 1], 1, 0, 7],
  ['not an entry of an old term', [7, 5, 0], 6, 4, 4],
  ['from the first entry of the own term on', [7, 6, 0], 6, 4, 6],
  ['never back', [3, 2, 1], 1, 9, 9],
  ['nobody votes', [], 1, 3, 3],
])('commit: %s', (_, matches, ownTermStart, current, expected) => {
  expect(commitIndexFor(matches, ownTermStart, current)).toBe(expected);
});

test.each([
  ['alone', [], true, { held: true, checkInMs: 500 }],
  ['one of two others answers', [100, 900], true, { held: true, checkInMs: 400 }],
  ['nobody answers', [600, 900], true, { held: false, checkInMs: 500 }],
  ['looked at no more often than every 10 ms', [499, 900], true, { held: true, checkInMs: 10 }],
  ['a leader without a vote needs two of two', [100, 900], false, { held: false, checkInMs: 400 }],
])('lease: %s', (_, ages, selfVotes, expected) => {
  expect(leaseState(ages, selfVotes, 500)).toEqual(expected);
});

test.each([
  [0, 0],
  [2, 0],
  [3, 20],
  [4, 40],
  [12, 10_240],
  [99, 10_240],
])('after %i failures a follower is left alone for %i ms', (failures, ms) => {
  expect(backoffMs(failures)).toBe(ms);
});

describe('a change of members', () => {
  const nonvoter = server('d', suffrage.nonvoter);
  const members = { Servers: [...three.Servers, nonvoter] };
  test.each<[string, ConfigurationChange, readonly Server[]]>([
    ['adds a voter at the end', { kind: 'addVoter', id: 'e', address: 'e:8300' }, [...members.Servers, server('e')]],
    ['makes a non-voter a voter', { kind: 'addVoter', id: 'd', address: 'd:8300' }, [...three.Servers, server('d')]],
    [
      'moves a voter',
      { kind: 'addVoter', id: 'b', address: 'n:8300' },
      [server('a'), { ...server('b'), Address: 'n:8300' }, server('c'), nonvoter],
    ],
    [
      'adds a non-voter',
      { kind: 'addNonvoter', id: 'e', address: 'e:8300' },
      [...members.Servers, server('e', suffrage.nonvoter)],
    ],
    [
      'leaves a voter its vote when it is added as non-voter, and moves it',
      { kind: 'addNonvoter', id: 'b', address: 'n:8300' },
      [server('a'), { ...server('b'), Address: 'n:8300' }, server('c'), nonvoter],
    ],
    [
      'takes a vote',
      { kind: 'demoteVoter', id: 'b' },
      [server('a'), server('b', suffrage.nonvoter), server('c'), nonvoter],
    ],
    ['takes no vote from a stranger', { kind: 'demoteVoter', id: 'x' }, members.Servers],
    ['removes', { kind: 'removeServer', id: 'b' }, [server('a'), server('c'), nonvoter]],
  ])('%s', (_, change, expected) => {
    expect(changedConfiguration(members, change).Servers).toEqual(expected);
  });

  test.each<[string, ConfigurationChange]>([
    ['need at least one voter', { kind: 'removeServer', id: 'a' }],
    ['empty ID', { kind: 'addVoter', id: '', address: 'x:1' }],
    ['empty address', { kind: 'addVoter', id: 'x', address: '' }],
    ['duplicate address', { kind: 'addVoter', id: 'x', address: 'a:8300' }],
  ])('is refused: %s', (text, change) => {
    expect(() => changedConfiguration({ Servers: [server('a')] }, change)).toThrow(text);
  });
});

test('configurations come into force when stored, and go with the log', () => {
  const history = new ConfigurationHistory();
  history.stored(1, three);
  history.committedThrough(1);
  const two = { Servers: three.Servers.slice(0, 2) };
  history.stored(5, two);
  expect([history.latest.index, history.committed.index, history.latestIsCommitted]).toEqual([5, 1, false]);
  history.truncatedFrom(4);
  expect([history.latest.index, history.latestIsCommitted]).toEqual([1, true]);
  expect(() => history.truncatedFrom(1)).toThrow('was cut off');
});

test('the terms of a log survive cuts and compaction', () => {
  const terms = new LogTerms();
  for (const [index, term] of [1, 1, 2, 2, 2, 5].entries()) terms.append(index + 1, term);
  const known = (): (number | undefined)[] => [0, 1, 2, 3, 5, 6, 7].map((index) => terms.term(index));
  expect(known()).toEqual([0, 1, 1, 2, 2, 5, undefined]);
  terms.compactThrough(3);
  expect(known()).toEqual([undefined, undefined, undefined, 2, 2, 5, undefined]);
  terms.truncateFrom(5);
  expect(terms.last).toEqual({ index: 4, term: 2 });
  terms.append(5, 6);
  expect(terms.last).toEqual({ index: 5, term: 6 });
  terms.compactThrough(5);
  expect([terms.firstIndex, terms.last]).toEqual([6, { index: 5, term: 6 }]);
  terms.reset({ index: 90, term: 7 });
  expect([terms.firstIndex, terms.term(90), terms.term(91)]).toEqual([91, 7, undefined]);
  expect(() => terms.append(91, 6)).toThrow('below');
});

describe('what depends on the disk', () => {
  test('waits for its write and all before it, in order', () => {
    const durability = new Durability<string>(3);
    const first = durability.issue();
    const second = durability.issueAppend(5);
    durability.hold(second, 'answer');
    expect(durability.complete(second)).toEqual([]);
    expect(durability.durableIndex).toBe(3);
    expect(durability.complete(first)).toEqual(['answer']);
    expect(durability.durableIndex).toBe(5);
  });

  test('does not count what is cut off while it is written', () => {
    const durability = new Durability<string>(3);
    const append = durability.issueAppend(9);
    const cut = durability.issueCut(2);
    expect(durability.durableIndex).toBe(2);
    durability.complete(append);
    expect(durability.durableIndex).toBe(2);
    durability.complete(cut);
    expect(durability.durableIndex).toBe(2);
  });
});

describe('the question who leads', () => {
  test('needs a majority of answers to heartbeats sent after it', () => {
    const verification = new Verification();
    verification.ask(1);
    verification.answer('b', 0);
    expect(verification.takeProven(['b', 'c'], true)).toEqual([]);
    expect(verification.wants('b')).toBe(true);
    verification.answer('b', verification.newest);
    verification.ask(2);
    expect(verification.takeProven(['b', 'c'], true)).toEqual([1]);
    verification.answer('c', 2);
    expect(verification.takeProven(['b', 'c'], true)).toEqual([2]);
    expect(verification.wants('b')).toBe(false);
  });

  test('is answered at once where there is nobody else', () => {
    const verification = new Verification();
    verification.ask(1);
    expect(verification.takeProven([], true)).toEqual([1]);
  });

  test('needs both others when the leader has no vote', () => {
    const verification = new Verification();
    verification.ask(1);
    verification.answer('b', 1);
    expect(verification.takeProven(['b', 'c'], false)).toEqual([]);
    verification.answer('c', 1);
    expect(verification.takeProven(['b', 'c'], false)).toEqual([1]);
  });
});
