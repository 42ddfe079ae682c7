/**
 * One server's part in consensus, as a machine: an event and the time go in, a list of things to do comes out. It knows
 * terms and indexes only; contents of entries, the disk and the network are the driver's. The rules are those of
 * hashicorp/raft 1.1 as recorded in reference/raft.md §2.
 */
import type { Random } from '../ports/index.ts';
import type { Action, Outgoing, RaftEvent, Refusal, Role } from './actions.ts';
import { commitIndexFor } from './commitment.ts';
import {
  changedConfiguration,
  checkConfiguration,
  type Configuration,
  ConfigurationError,
  configurationOf,
  encodeConfiguration,
  isVoter,
  serverById,
  votersOf,
} from './configuration.ts';
import { ConfigurationHistory, type IndexedConfiguration } from './configuration-history.ts';
import { Durability } from './durability.ts';
import { judgePreVote, judgeVote, Tally } from './election.ts';
import { leaseState } from './lease.ts';
import { type LogEntry, type LogPosition, logStart, logTypes } from './log-entry.ts';
import { LogTerms } from './log-terms.ts';
import {
  type AppendEntriesRequest,
  type InstallSnapshotRequest,
  isHeartbeat,
  protocolVersion,
  type RaftResponse,
  type RequestVoteRequest,
} from './messages.ts';
import type { RaftOptions } from './options.ts';
import { Follower } from './replication.ts';
import type { HardState } from './stores.ts';
import { randomTimeout } from './timeout.ts';
import { Verification } from './verification.ts';

/** Membership changes that may wait for the one before them. */
const waitingChangesMax = 64;

/** The rules whose loss the simulation must notice; only its tests put others in their place. */
export interface SafetyRules {
  commitIndexFor(matches: readonly number[], ownTermStart: number, current: number): number;
  /** Whether a message of `term` is to be refused. */
  isStale(term: number, currentTerm: number): boolean;
}

const safetyRules: SafetyRules = { commitIndexFor, isStale: (term, currentTerm) => term < currentTerm };

export interface RaftCoreOptions {
  readonly id: string;
  /** `ip:port` of this server, as the others know it. */
  readonly address: string;
  readonly timing: RaftOptions;
  readonly random: Random;
  readonly hard: HardState;
  /** Newest snapshot; undefined for none. */
  readonly snapshot: (LogPosition & { readonly configuration: IndexedConfiguration }) | undefined;
  /** Position before the first entry on the disk. */
  readonly logBase: LogPosition;
  /** Entries on the disk, ascending. */
  readonly log: Iterable<Pick<LogEntry, 'Index' | 'Term' | 'Type' | 'Data'>>;
  readonly nowMs: number;
  /** Whether the server with this id knows pre-votes; those of Consul 1.8 do not. */
  readonly speaksPreVote?: (id: string) => boolean;
  readonly rules?: SafetyRules;
}

type Held = Action | { readonly kind: 'ownVote'; readonly term: number };

type Pending =
  | {
      readonly kind: 'append';
      readonly follower: Follower;
      readonly term: number;
      readonly prevIndex: number;
      readonly through: number;
      readonly sentMs: number;
    }
  | {
      readonly kind: 'heartbeat';
      readonly follower: Follower;
      readonly term: number;
      readonly question: number;
      readonly sentMs: number;
    }
  | { readonly kind: 'snapshot'; readonly follower: Follower; readonly term: number; readonly sentMs: number }
  | { readonly kind: 'vote' | 'preVote'; readonly voter: string; readonly term: number }
  | { readonly kind: 'timeoutNow'; readonly term: number };

interface Transfer {
  readonly id: number;
  readonly target: string;
  readonly deadlineMs: number;
  told: boolean;
}

interface WaitingChange {
  readonly id: number;
  readonly change: Parameters<typeof changedConfiguration>[1];
  readonly prevIndex: number;
}

/** What only a leader has. */
interface Leadership {
  /** Index of its first entry, the no-op. */
  readonly start: number;
  readonly followers: Map<string, Follower>;
  readonly verification: Verification;
  readonly changes: WaitingChange[];
  leaseDueMs: number;
  transfer: Transfer | undefined;
  restoring: boolean;
}

export class RaftCore {
  readonly id: string;
  readonly address: string;
  readonly #timing: RaftOptions;
  readonly #random: Random;
  readonly #speaksPreVote: (id: string) => boolean;
  readonly #rules: SafetyRules;
  readonly #terms = new LogTerms();
  readonly #durability: Durability<Held>;
  readonly #configurations: ConfigurationHistory;
  readonly #pending = new Map<number, Pending>();
  #hard: HardState;
  /** Number of the write that makes the newest term durable. */
  #hardSequence = 0;
  #role: Role = 'follower';
  #leader = '';
  #commitIndex: number;
  #snapshot: LogPosition;
  #lastContactMs: number;
  #electionDueMs: number;
  #tally: Tally | undefined;
  #preVoting = false;
  #leadership: Leadership | undefined;
  #requests = 0;
  #actions: Action[] = [];
  #nowMs: number;

  constructor(options: RaftCoreOptions) {
    this.id = options.id;
    this.address = options.address;
    this.#timing = options.timing;
    this.#random = options.random;
    this.#speaksPreVote = options.speaksPreVote ?? (() => false);
    this.#rules = options.rules ?? safetyRules;
    this.#nowMs = options.nowMs;
    this.#snapshot = options.snapshot ?? logStart;
    this.#commitIndex = this.#snapshot.index;
    this.#configurations = new ConfigurationHistory(options.snapshot?.configuration);
    this.#terms.reset(options.logBase);
    for (const entry of options.log) this.#remember(entry);
    this.#durability = new Durability(this.#terms.last.index);
    // A follower may have stored entries of a term before the term itself.
    this.#hard =
      this.#terms.last.term > options.hard.currentTerm
        ? { ...options.hard, currentTerm: this.#terms.last.term }
        : options.hard;
    this.#lastContactMs = options.nowMs;
    this.#electionDueMs = options.nowMs + this.#firstElectionInMs();
  }

  get role(): Role {
    return this.#role;
  }
  get term(): number {
    return this.#hard.currentTerm;
  }
  /** Address of the leader; "" when none is known. */
  get leader(): string {
    return this.#leader;
  }
  get last(): LogPosition {
    return this.#terms.last;
  }
  get commitIndex(): number {
    return this.#commitIndex;
  }
  get snapshot(): LogPosition {
    return this.#snapshot;
  }
  get configuration(): IndexedConfiguration {
    return this.#configurations.latest;
  }
  get committedConfiguration(): IndexedConfiguration {
    return this.#configurations.committed;
  }
  /** When a follower last heard from its leader, monotonic ms. */
  get lastContactMs(): number {
    return this.#lastContactMs;
  }
  /** The term of an entry, while it is known. */
  termOf(index: number): number | undefined {
    return this.#terms.term(index);
  }

  /** When a `tick` is due, monotonic ms. */
  get dueMs(): number {
    const leadership = this.#leadership;
    if (leadership === undefined) return this.#electionDueMs;
    let due = Math.min(leadership.leaseDueMs, leadership.transfer?.deadlineMs ?? Number.POSITIVE_INFINITY);
    for (const follower of leadership.followers.values()) {
      due = Math.min(due, follower.dueMs(follower.nextIndex <= this.#terms.last.index));
    }
    return due;
  }

  /** @returns what to do, in order. */
  step(event: RaftEvent, nowMs: number): readonly Action[] {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    this.#actions = [];
    switch (event.kind) {
      case 'tick':
        this.#tick();
        break;
      case 'persisted':
        this.#persisted(event.sequence);
        break;
      case 'request':
        this.#receive(event.replyId, event.message);
        break;
      case 'response':
        this.#responded(event.requestId, event.message, event.sentIndex);
        break;
      case 'failed':
        this.#failed(event.requestId, event.unsupported ?? false);
        break;
      case 'propose':
        this.#propose(event.proposals);
        break;
      case 'change':
        this.#requestChange(event);
        break;
      case 'verify':
        this.#verify(event.id);
        break;
      case 'transfer':
        this.#startTransfer(event.id, event.target);
        break;
      case 'bootstrap':
        this.#bootstrap(event.id, event.configuration);
        break;
      case 'snapshotTaken':
        this.#snapshotTaken(event.position);
        break;
      case 'snapshotInstalled':
        this.#snapshotInstalled(event);
        break;
      case 'snapshotRefused':
        this.#actions.push({
          kind: 'replyError',
          replyId: event.replyId,
          error: event.error,
          message: this.#snapshotReply(false),
        });
        break;
      case 'restoreBegin':
        this.#beginRestore(event.id, event.archiveIndex);
        break;
      case 'restoreEnd':
        this.#endRestore(event.position);
        break;
    }
    return this.#actions;
  }

  // --- time ---------------------------------------------------------------------------------------------------------

  #tick(): void {
    const leadership = this.#leadership;
    if (leadership === undefined) {
      if (this.#nowMs >= this.#electionDueMs) this.#electionTimeout();
      return;
    }
    if (this.#nowMs >= leadership.leaseDueMs && !this.#checkLease(leadership)) return;
    if (leadership.transfer !== undefined && this.#nowMs >= leadership.transfer.deadlineMs) {
      this.#refuse(leadership.transfer.id, 'transfer timed out');
      leadership.transfer = undefined;
    }
    this.#replicate(leadership);
  }

  #electionTimeout(): void {
    const { heartbeatTimeoutMs } = this.#timing;
    if (this.#role === 'follower' && this.#nowMs - this.#lastContactMs < heartbeatTimeoutMs && !this.#isAlone()) {
      this.#electionDueMs = this.#nowMs + randomTimeout(heartbeatTimeoutMs, this.#random);
      return;
    }
    const { configuration } = this.#configurations.latest;
    const self = serverById(configuration, this.id);
    // Without a configuration there is nobody to ask; a server that was taken out stays quiet (§2.4).
    if (configuration.Servers.length === 0 || self === undefined || !isVoter(self)) {
      this.#electionDueMs = this.#nowMs + randomTimeout(heartbeatTimeoutMs, this.#random);
      if (this.#leader !== '') this.#becomeFollower('');
      return;
    }
    if (this.#asksBeforeVoting()) this.#startPreVote();
    else this.#campaign(false);
  }

  /** The only voter has nobody to wait for. */
  #isAlone(): boolean {
    const voters = votersOf(this.#configurations.latest.configuration);
    return voters.length === 1 && voters[0]!.ID === this.id;
  }

  #firstElectionInMs(): number {
    return this.#isAlone() ? 0 : randomTimeout(this.#timing.heartbeatTimeoutMs, this.#random);
  }

  // --- elections ----------------------------------------------------------------------------------------------------

  #otherVoters(): readonly { readonly ID: string; readonly Address: string }[] {
    return votersOf(this.#configurations.latest.configuration).filter(({ ID }) => ID !== this.id);
  }

  /** Pre-votes say something only when enough voters know them. */
  #asksBeforeVoting(): boolean {
    return this.#otherVoters().some(({ ID }) => this.#speaksPreVote(ID));
  }

  #startPreVote(): void {
    this.#setRole('candidate', '');
    this.#preVoting = true;
    this.#electionDueMs = this.#nowMs + randomTimeout(this.#timing.electionTimeoutMs, this.#random);
    const tally = new Tally(this.#configurations.latest.configuration);
    this.#tally = tally;
    tally.grant(this.id);
    const { last } = this.#terms;
    for (const { ID, Address } of this.#otherVoters()) {
      if (!this.#speaksPreVote(ID)) {
        // It would say yes to an older server's kind of question too.
        tally.grant(ID);
        continue;
      }
      const request = {
        Addr: this.address,
        ID: this.id,
        LastLogIndex: last.index,
        LastLogTerm: last.term,
        ProtocolVersion: protocolVersion,
        Term: this.#hard.currentTerm + 1,
      };
      this.#send(ID, Address, { rpc: 'requestPreVote', request }, { kind: 'preVote', voter: ID, term: this.term });
    }
    if (tally.won) this.#campaign(false);
  }

  #campaign(transfer: boolean): void {
    this.#setRole('candidate', '');
    this.#preVoting = false;
    const term = this.#hard.currentTerm + 1;
    const sequence = this.#save({ currentTerm: term, votedTerm: term, votedFor: this.address });
    this.#electionDueMs = this.#nowMs + randomTimeout(this.#timing.electionTimeoutMs, this.#random);
    this.#tally = new Tally(this.#configurations.latest.configuration);
    const { last } = this.#terms;
    const request: RequestVoteRequest = {
      Candidate: this.address,
      LastLogIndex: last.index,
      LastLogTerm: last.term,
      LeadershipTransfer: transfer,
      ProtocolVersion: protocolVersion,
      Term: term,
    };
    for (const { ID, Address } of this.#otherVoters()) {
      this.#send(ID, Address, { rpc: 'requestVote', request }, { kind: 'vote', voter: ID, term }, sequence);
    }
    this.#durability.hold(sequence, { kind: 'ownVote', term });
    this.#actions.push({ kind: 'role', role: 'candidate', term, leader: '' });
  }

  #countVote(voter: string, term: number): void {
    if (this.#role !== 'candidate' || this.#preVoting || term !== this.term) return;
    this.#tally!.grant(voter);
    if (this.#tally!.won) this.#becomeLeader();
  }

  #becomeLeader(): void {
    const start = this.#terms.last.index + 1;
    this.#setRole('leader', this.address);
    this.#leadership = {
      start,
      followers: new Map(),
      verification: new Verification(),
      changes: [],
      leaseDueMs: this.#nowMs + this.#timing.leaderLeaseMs,
      transfer: undefined,
      restoring: false,
    };
    this.#actions.push({ kind: 'role', role: 'leader', term: this.term, leader: this.address });
    this.#followConfiguration(this.#leadership);
    this.#appendOwn([{ type: logTypes.noop, data: null, extensions: null }]);
    this.#replicate(this.#leadership);
  }

  /** Steps down, or stays follower under another leader. The caller has raised the term if it must be. */
  #becomeFollower(leader: string): void {
    const was = this.#role;
    const leadership = this.#leadership;
    const changed = was !== 'follower' || this.#leader !== leader;
    this.#setRole('follower', leader);
    if (was !== 'follower') {
      this.#electionDueMs = this.#nowMs + randomTimeout(this.#timing.heartbeatTimeoutMs, this.#random);
    }
    if (leadership !== undefined) {
      this.#lastContactMs = this.#nowMs;
      this.#leadership = undefined;
      if (leadership.transfer !== undefined) {
        this.#actions.push({ kind: 'done', id: leadership.transfer.id, index: this.#commitIndex });
      }
      for (const id of leadership.verification.takeAll()) this.#refuse(id, 'leadership lost');
      for (const { id } of leadership.changes) this.#refuse(id, 'leadership lost');
    }
    if (changed) this.#actions.push({ kind: 'role', role: 'follower', term: this.term, leader });
  }

  #setRole(role: Role, leader: string): void {
    this.#role = role;
    this.#leader = leader;
    if (role !== 'candidate') {
      this.#tally = undefined;
      this.#preVoting = false;
    }
  }

  /** Takes over a higher term: whatever we were, we follow now. */
  #adoptTerm(term: number, leader: string): void {
    if (term > this.term) this.#save({ ...this.#hard, currentTerm: term });
    this.#becomeFollower(leader);
  }

  // --- requests of others -------------------------------------------------------------------------------------------

  #receive(replyId: number, message: Extract<RaftEvent, { kind: 'request' }>['message']): void {
    switch (message.rpc) {
      case 'appendEntries':
        this.#receiveAppend(replyId, message.request);
        break;
      case 'requestVote':
        this.#receiveVoteRequest(replyId, message.request);
        break;
      case 'requestPreVote': {
        const granted = judgePreVote(this.#elector(), message.request);
        const response = { Granted: granted, ProtocolVersion: protocolVersion, Term: this.term };
        this.#reply(replyId, { rpc: 'requestPreVote', response }, this.#hardSequence);
        break;
      }
      case 'installSnapshot':
        this.#receiveSnapshot(replyId, message.request);
        break;
      case 'timeoutNow':
        this.#reply(replyId, { rpc: 'timeoutNow', response: { ProtocolVersion: 0 } }, 0);
        this.#timeoutNow();
        break;
    }
  }

  #elector(): Parameters<typeof judgeVote>[0] {
    return {
      hard: this.#hard,
      leader: this.#leader,
      last: this.#terms.last,
      configuration: this.#configurations.latest.configuration,
    };
  }

  #receiveVoteRequest(replyId: number, request: RequestVoteRequest): void {
    const { granted, adoptTerm } = judgeVote(this.#elector(), request);
    if (adoptTerm) this.#adoptTerm(request.Term, '');
    if (granted) {
      if (this.#hard.votedTerm !== request.Term) {
        this.#save({ currentTerm: request.Term, votedTerm: request.Term, votedFor: request.Candidate });
      }
      this.#lastContactMs = this.#nowMs;
    }
    const response = { Granted: granted, Peers: null, ProtocolVersion: protocolVersion, Term: this.term };
    this.#reply(replyId, { rpc: 'requestVote', response }, this.#hardSequence);
  }

  #timeoutNow(): void {
    const self = serverById(this.#configurations.latest.configuration, this.id);
    if (this.#role === 'leader' || self === undefined || !isVoter(self)) return;
    this.#campaign(true);
  }

  #receiveAppend(replyId: number, request: AppendEntriesRequest): void {
    const lastLog = this.#terms.last.index;
    const reply = (success: boolean, noBackoff: boolean, after: number): void => {
      const response = {
        LastLog: lastLog,
        NoRetryBackoff: noBackoff,
        ProtocolVersion: protocolVersion,
        Success: success,
        Term: this.term,
      };
      this.#reply(replyId, { rpc: 'appendEntries', response }, after);
    };
    if (this.#rules.isStale(request.Term, this.term)) {
      reply(false, false, this.#hardSequence);
      return;
    }
    const refuse = (error: string): void => {
      const response = { LastLog: lastLog, NoRetryBackoff: true, ProtocolVersion: protocolVersion, Success: false };
      const message = { rpc: 'appendEntries', response: { ...response, Term: this.term } } as const;
      this.#actions.push({ kind: 'replyError', replyId, error, message });
    };
    // Neither can come from a server that keeps the rules, but this server has done no wrong: it goes on.
    if (this.#role === 'leader' && request.Term === this.term) {
      refuse(`two leaders in term ${request.Term}: this server and ${request.Leader}`);
      return;
    }
    if (request.Term > this.term || this.#role !== 'follower' || this.#leader !== request.Leader) {
      this.#adoptTerm(request.Term, request.Leader);
    }
    if (isHeartbeat(request)) {
      // Does not wait for entries on their way to the disk (§1.6): only for the term, if that is new.
      this.#lastContactMs = this.#nowMs;
      reply(true, false, this.#hardSequence);
      return;
    }
    const prev = { index: request.PrevLogEntry, term: request.PrevLogTerm };
    if (!this.#agreesOn(prev)) {
      reply(false, true, this.#hardSequence);
      return;
    }
    const entries = request.Entries ?? [];
    const contradiction = this.#store(entries);
    if (contradiction !== undefined) {
      refuse(contradiction);
      return;
    }
    const through = prev.index + entries.length;
    this.#advanceCommit(Math.min(request.LeaderCommitIndex, Math.max(through, this.#commitIndex)));
    this.#lastContactMs = this.#nowMs;
    reply(true, false, through <= this.#durability.durableIndex ? this.#hardSequence : this.#durability.issued);
  }

  /** Whether our log holds the leader's entry `position`. What is compacted is committed, and so agreed on. */
  #agreesOn(position: LogPosition): boolean {
    return position.index < this.#terms.firstIndex - 1 || this.#terms.term(position.index) === position.term;
  }

  /** Takes over the entries we lack; what contradicts them goes. @returns why not, when it is committed. */
  #store(entries: readonly LogEntry[]): string | undefined {
    const missing = entries.findIndex(
      ({ Index, Term }) => Index >= this.#terms.firstIndex && this.#terms.term(Index) !== Term,
    );
    if (missing < 0) return undefined;
    const fresh = entries.slice(missing);
    const [{ Index: from, Term: term }] = fresh as readonly LogEntry[] as readonly [LogEntry];
    if (from <= this.#commitIndex || term < (this.#terms.term(from - 1) ?? 0)) {
      return `entry ${from} of term ${term} contradicts what is committed up to ${this.#commitIndex}`;
    }
    if (from <= this.#terms.last.index) {
      this.#terms.truncateFrom(from);
      this.#configurations.truncatedFrom(from);
      this.#actions.push({ kind: 'truncate', sequence: this.#durability.issueCut(from - 1), from });
    }
    this.#append(fresh);
    return undefined;
  }

  #append(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#remember(entry);
    this.#actions.push({ kind: 'append', sequence: this.#durability.issueAppend(this.#terms.last.index), entries });
  }

  #remember(entry: Pick<LogEntry, 'Index' | 'Term' | 'Type' | 'Data'>): void {
    this.#terms.append(entry.Index, entry.Term);
    if (entry.Index <= this.#snapshot.index) return;
    const configuration = configurationOf({ ...entry, Extensions: null });
    if (configuration !== undefined) this.#configurations.stored(entry.Index, configuration);
  }

  #advanceCommit(index: number): void {
    if (index <= this.#commitIndex) return;
    this.#commitIndex = index;
    this.#configurations.committedThrough(index);
    this.#actions.push({ kind: 'commit', index });
  }

  // --- snapshots ----------------------------------------------------------------------------------------------------

  #snapshotReply(success: boolean): RaftResponse {
    return { rpc: 'installSnapshot', response: { ProtocolVersion: 0, Success: success, Term: this.term } };
  }

  #receiveSnapshot(replyId: number, request: InstallSnapshotRequest): void {
    if (this.#rules.isStale(request.Term, this.term)) {
      this.#reply(replyId, this.#snapshotReply(false), this.#hardSequence);
      return;
    }
    if (request.Term > this.term || this.#role !== 'follower' || this.#leader !== request.Leader) {
      this.#adoptTerm(request.Term, request.Leader);
    }
    this.#lastContactMs = this.#nowMs;
    this.#actions.push({ kind: 'receiveSnapshot', replyId });
  }

  #snapshotInstalled(event: Extract<RaftEvent, { kind: 'snapshotInstalled' }>): void {
    const { position } = event;
    this.#lastContactMs = this.#nowMs;
    if (position.index > this.#commitIndex) {
      this.#commitIndex = position.index;
      this.#snapshot = position;
      const configuration = { index: event.configurationIndex, configuration: event.configuration };
      if (this.#terms.term(position.index) === position.term) {
        // Our log goes on where the snapshot ends.
        if (this.#configurations.latest.index <= position.index) this.#configurations.installed(configuration);
        else this.#configurations.committedThrough(position.index);
        this.#compact();
      } else {
        this.#resetLog(position);
        this.#configurations.installed(configuration);
      }
    }
    this.#reply(event.replyId, this.#snapshotReply(true), this.#durability.issued);
  }

  #resetLog(position: LogPosition): void {
    this.#terms.reset(position);
    const sequence = this.#durability.issueReset(position.index);
    this.#actions.push({ kind: 'resetLog', sequence, nextIndex: position.index + 1 });
  }

  #snapshotTaken(position: LogPosition): void {
    if (position.index <= this.#snapshot.index) return;
    this.#snapshot = position;
    this.#compact();
  }

  /** Entries behind a snapshot go, except some for followers that are a little behind. */
  #compact(): void {
    const through = Math.min(this.#snapshot.index, this.#terms.last.index - this.#timing.trailingLogs);
    if (through < this.#terms.firstIndex) return;
    this.#terms.compactThrough(through);
    this.#actions.push({ kind: 'compactLog', through });
  }

  // --- the disk -----------------------------------------------------------------------------------------------------

  #save(state: HardState): number {
    this.#hard = state;
    const sequence = this.#durability.issue();
    this.#hardSequence = sequence;
    this.#actions.push({ kind: 'saveState', sequence, state });
    return sequence;
  }

  #persisted(sequence: number): void {
    for (const held of this.#durability.complete(sequence)) {
      if (held.kind === 'ownVote') this.#countVote(this.id, held.term);
      else this.#actions.push(held);
    }
    if (this.#leadership !== undefined) this.#updateCommit(this.#leadership);
  }

  #reply(replyId: number, message: RaftResponse, after: number): void {
    this.#emit({ kind: 'reply', replyId, message }, after);
  }

  #emit(action: Action, after: number): void {
    if (after === 0 || this.#durability.isDone(after)) this.#actions.push(action);
    else this.#durability.hold(after, action);
  }

  #send(id: string, address: string, message: Outgoing, pending: Pending, after = 0): void {
    const requestId = ++this.#requests;
    this.#pending.set(requestId, pending);
    this.#emit({ kind: 'send', requestId, to: { id, address }, message }, after);
  }

  #refuse(id: number, reason: Refusal): void {
    this.#actions.push({ kind: 'refused', id, reason });
  }

  // --- answers of others --------------------------------------------------------------------------------------------

  #responded(requestId: number, message: RaftResponse, sentIndex: number | undefined): void {
    const pending = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    const term = message.rpc === 'timeoutNow' || message.rpc === 'requestPreVote' ? 0 : message.response.Term;
    if (term > this.term) {
      this.#adoptTerm(term, '');
      return;
    }
    if (pending === undefined) return;
    if (message.rpc === 'requestVote' && pending.kind === 'vote') {
      if (message.response.Granted) this.#countVote(pending.voter, pending.term);
      return;
    }
    if (message.rpc === 'requestPreVote' && pending.kind === 'preVote') {
      if (message.response.Term > this.term + 1) this.#adoptTerm(message.response.Term, '');
      else if (message.response.Granted) this.#countPreVote(pending.voter, pending.term);
      return;
    }
    const leadership = this.#leadershipOf(pending);
    if (leadership === undefined || !('follower' in pending)) return;
    const { follower } = pending;
    follower.lastContactMs = Math.max(follower.lastContactMs, pending.sentMs);
    if (message.rpc === 'appendEntries' && pending.kind === 'heartbeat') {
      follower.heartbeatAnswered(true, this.#nowMs);
      if (message.response.Success) leadership.verification.answer(follower.id, pending.question);
      this.#settleQuestions(leadership);
    } else if (message.rpc === 'appendEntries' && pending.kind === 'append') {
      follower.inFlight--;
      const { Success, LastLog, NoRetryBackoff } = message.response;
      if (Success) follower.accepted(pending.through);
      else follower.rejected(pending.prevIndex, LastLog, NoRetryBackoff, this.#nowMs);
      this.#updateCommit(leadership);
    } else if (message.rpc === 'installSnapshot' && pending.kind === 'snapshot') {
      follower.snapshotInFlight = false;
      if (message.response.Success && sentIndex !== undefined) follower.accepted(sentIndex);
      else follower.failed(this.#nowMs);
      this.#updateCommit(leadership);
    }
    if (this.#leadership !== undefined) this.#replicate(this.#leadership);
  }

  /** Leadership under which `pending` was sent, if it still holds and the follower is still one. */
  #leadershipOf(pending: Pending): Leadership | undefined {
    const leadership = this.#leadership;
    if (leadership === undefined || pending.term !== this.term) return undefined;
    if ('follower' in pending && leadership.followers.get(pending.follower.id) !== pending.follower) return undefined;
    return leadership;
  }

  #failed(requestId: number, unsupported: boolean): void {
    const pending = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    if (pending === undefined) return;
    if (pending.kind === 'preVote' && unsupported) this.#countPreVote(pending.voter, pending.term);
    const leadership = this.#leadershipOf(pending);
    if (leadership === undefined) return;
    switch (pending.kind) {
      case 'append':
        pending.follower.inFlight--;
        pending.follower.failed(this.#nowMs);
        break;
      case 'heartbeat':
        pending.follower.heartbeatAnswered(false, this.#nowMs);
        break;
      case 'snapshot':
        pending.follower.snapshotInFlight = false;
        pending.follower.failed(this.#nowMs);
        break;
      case 'timeoutNow':
        if (leadership.transfer !== undefined) leadership.transfer.told = false;
        break;
      case 'vote':
      case 'preVote':
        break;
    }
    this.#replicate(leadership);
  }

  #countPreVote(voter: string, term: number): void {
    if (this.#role !== 'candidate' || !this.#preVoting || term !== this.term) return;
    this.#tally!.grant(voter);
    if (this.#tally!.won) this.#campaign(false);
  }

  // --- leading ------------------------------------------------------------------------------------------------------

  #appendOwn(
    drafts: readonly {
      readonly type: number;
      readonly data: Uint8Array | null;
      readonly extensions: Uint8Array | null;
    }[],
  ): void {
    const first = this.#terms.last.index + 1;
    this.#append(
      drafts.map(({ type, data, extensions }, i) => ({
        Index: first + i,
        Term: this.term,
        Type: type,
        Data: data,
        Extensions: extensions,
      })),
    );
  }

  /** Why nothing may be proposed now. */
  #proposalRefusal(): Refusal | undefined {
    const leadership = this.#leadership;
    if (leadership === undefined) return 'not leader';
    if (leadership.transfer !== undefined) return 'leadership transfer in progress';
    if (leadership.restoring) return 'restore in progress';
    // A leader that took itself out leads on until that is committed, but takes nothing new (§2.11).
    if (serverById(this.#configurations.latest.configuration, this.id) === undefined) return 'leadership lost';
    return undefined;
  }

  #propose(proposals: Extract<RaftEvent, { kind: 'propose' }>['proposals']): void {
    const refusal = this.#proposalRefusal();
    if (refusal !== undefined) {
      for (const { id } of proposals) this.#refuse(id, refusal);
      return;
    }
    let index = this.#terms.last.index;
    for (const { id } of proposals) this.#actions.push({ kind: 'accepted', id, index: ++index });
    this.#appendOwn(proposals);
    this.#replicate(this.#leadership!);
  }

  /** Sends every follower what it may get now. */
  #replicate(leadership: Leadership): void {
    for (const follower of leadership.followers.values()) {
      this.#heartbeat(leadership, follower);
      this.#sendEntries(follower);
    }
    this.#continueTransfer(leadership);
  }

  #heartbeat(leadership: Leadership, follower: Follower): void {
    if (!follower.mayHeartbeat(this.#nowMs)) return;
    const { verification } = leadership;
    if (this.#nowMs < follower.heartbeatDueMs && !verification.wants(follower.id)) return;
    follower.heartbeatInFlight = true;
    follower.scheduleHeartbeat(this.#nowMs, this.#timing.heartbeatTimeoutMs, this.#random);
    this.#send(
      follower.id,
      follower.address,
      { rpc: 'appendEntries', heartbeat: true, term: this.term, prev: logStart, through: 0, commitIndex: 0 },
      { kind: 'heartbeat', follower, term: this.term, question: verification.newest, sentMs: this.#nowMs },
    );
  }

  #sendEntries(follower: Follower): void {
    const last = this.#terms.last.index;
    while (follower.mayAppend(this.#nowMs)) {
      if (follower.nextIndex > last && this.#nowMs < follower.keepaliveDueMs) return;
      const prevIndex = follower.nextIndex - 1;
      const prevTerm = this.#terms.term(prevIndex);
      if (prevTerm === undefined) {
        this.#sendSnapshot(follower);
        return;
      }
      const through = Math.min(last, prevIndex + this.#timing.appendEntriesMax);
      follower.inFlight++;
      follower.nextIndex = through + 1;
      follower.scheduleKeepalive(this.#nowMs, this.#timing.commitTimeoutMs, this.#random);
      this.#send(
        follower.id,
        follower.address,
        {
          rpc: 'appendEntries',
          heartbeat: false,
          term: this.term,
          prev: { index: prevIndex, term: prevTerm },
          through,
          commitIndex: this.#commitIndex,
        },
        { kind: 'append', follower, term: this.term, prevIndex, through, sentMs: this.#nowMs },
      );
    }
  }

  #sendSnapshot(follower: Follower): void {
    follower.snapshotInFlight = true;
    this.#send(
      follower.id,
      follower.address,
      { rpc: 'installSnapshot', term: this.term },
      { kind: 'snapshot', follower, term: this.term, sentMs: this.#nowMs },
    );
  }

  #updateCommit(leadership: Leadership): void {
    const matches = votersOf(this.#configurations.latest.configuration).map(({ ID }) =>
      ID === this.id ? this.#durability.durableIndex : (leadership.followers.get(ID)?.matchIndex ?? 0),
    );
    const before = this.#commitIndex;
    this.#advanceCommit(this.#rules.commitIndexFor(matches, leadership.start, before));
    if (this.#commitIndex === before) return;
    const self = serverById(this.#configurations.committed.configuration, this.id);
    if (this.#configurations.latestIsCommitted && (self === undefined || !isVoter(self))) {
      this.#becomeFollower('');
      return;
    }
    this.#continueChanges(leadership);
    this.#settleQuestions(leadership);
  }

  #checkLease(leadership: Leadership): boolean {
    const { configuration } = this.#configurations.latest;
    const self = serverById(configuration, this.id);
    const ages = this.#otherVoters().map(
      ({ ID }) => this.#nowMs - (leadership.followers.get(ID)?.lastContactMs ?? Number.NEGATIVE_INFINITY),
    );
    const lease = leaseState(ages, self !== undefined && isVoter(self), this.#timing.leaderLeaseMs);
    leadership.leaseDueMs = this.#nowMs + lease.checkInMs;
    if (!lease.held) this.#becomeFollower('');
    return lease.held;
  }

  #verify(id: number): void {
    const leadership = this.#leadership;
    if (leadership === undefined) {
      this.#refuse(id, 'not leader');
      return;
    }
    leadership.verification.ask(id);
    this.#settleQuestions(leadership);
    this.#replicate(leadership);
  }

  /** Answers what a majority vouched for, once an entry of our own term shows what is committed. */
  #settleQuestions(leadership: Leadership): void {
    if (this.#commitIndex < leadership.start) return;
    const { configuration } = this.#configurations.latest;
    const self = serverById(configuration, this.id);
    const others = this.#otherVoters().map(({ ID }) => ID);
    for (const id of leadership.verification.takeProven(others, self !== undefined && isVoter(self))) {
      this.#actions.push({ kind: 'done', id, index: this.#commitIndex });
    }
  }

  // --- membership ---------------------------------------------------------------------------------------------------

  #requestChange(waiting: WaitingChange): void {
    const refusal = this.#proposalRefusal();
    if (refusal !== undefined) {
      this.#refuse(waiting.id, refusal);
      return;
    }
    const leadership = this.#leadership!;
    if (leadership.changes.length >= waitingChangesMax) {
      this.#refuse(waiting.id, 'too many changes');
      return;
    }
    leadership.changes.push(waiting);
    this.#continueChanges(leadership);
  }

  /** One change at a time, and only once an entry of our own term is committed (§2.11). */
  #continueChanges(leadership: Leadership): void {
    while (
      this.#configurations.latestIsCommitted &&
      this.#commitIndex >= leadership.start &&
      leadership.changes.length > 0
    ) {
      const { id, change, prevIndex } = leadership.changes.shift()!;
      const refusal = this.#proposalRefusal();
      if (refusal !== undefined) this.#refuse(id, refusal);
      else this.#changeConfiguration(leadership, id, change, prevIndex);
    }
  }

  #changeConfiguration(leadership: Leadership, id: number, change: WaitingChange['change'], prevIndex: number): void {
    const { index, configuration } = this.#configurations.latest;
    if (prevIndex !== 0 && prevIndex !== index) {
      const invalid = `configuration changed since ${prevIndex} (latest is ${index})`;
      this.#refuse(id, { invalid });
      return;
    }
    let changed: Configuration;
    try {
      changed = changedConfiguration(configuration, change);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      this.#refuse(id, { invalid: error.message });
      return;
    }
    this.#actions.push({ kind: 'accepted', id, index: this.#terms.last.index + 1 });
    this.#appendOwn([{ type: logTypes.configuration, data: encodeConfiguration(changed), extensions: null }]);
    // Whoever leaves gets the entry that says so, as far as one attempt goes.
    this.#replicate(leadership);
    this.#followConfiguration(leadership);
    this.#replicate(leadership);
    this.#updateCommit(leadership);
  }

  /** Brings the followers in line with the configuration in force. */
  #followConfiguration(leadership: Leadership): void {
    const { Servers } = this.#configurations.latest.configuration;
    for (const { ID, Address } of Servers) {
      if (ID === this.id) continue;
      const known = leadership.followers.get(ID);
      if (known !== undefined) known.address = Address;
      else leadership.followers.set(ID, new Follower(ID, Address, this.#terms.last.index + 1, this.#nowMs));
    }
    for (const id of leadership.followers.keys()) {
      if (!Servers.some(({ ID }) => ID === id)) leadership.followers.delete(id);
    }
  }

  // --- transfer, bootstrap, restore ---------------------------------------------------------------------------------

  #startTransfer(id: number, target: string | undefined): void {
    const refusal = this.#proposalRefusal();
    if (refusal !== undefined) {
      this.#refuse(id, refusal);
      return;
    }
    const leadership = this.#leadership!;
    const voters = this.#otherVoters().map(({ ID }) => ID);
    const chosen =
      target ??
      voters.toSorted((a, b) => leadership.followers.get(b)!.nextIndex - leadership.followers.get(a)!.nextIndex)[0];
    if (chosen === undefined || !voters.includes(chosen)) {
      this.#refuse(id, 'no target');
      return;
    }
    const deadlineMs = this.#nowMs + this.#timing.electionTimeoutMs;
    leadership.transfer = { id, target: chosen, deadlineMs, told: false };
    this.#replicate(leadership);
  }

  /** Tells the target to stand for election as soon as it has everything. */
  #continueTransfer(leadership: Leadership): void {
    const { transfer } = leadership;
    if (transfer === undefined || transfer.told) return;
    const follower = leadership.followers.get(transfer.target);
    if (follower === undefined || follower.matchIndex < this.#terms.last.index) return;
    transfer.told = true;
    this.#send(follower.id, follower.address, { rpc: 'timeoutNow' }, { kind: 'timeoutNow', term: this.term });
  }

  #bootstrap(id: number, configuration: Configuration): void {
    if (this.#terms.last.index !== 0 || this.#snapshot.index !== 0 || this.term > 0) {
      this.#refuse(id, 'already bootstrapped');
      return;
    }
    try {
      checkConfiguration(configuration);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      this.#refuse(id, { invalid: error.message });
      return;
    }
    this.#save({ ...this.#hard, currentTerm: 1 });
    this.#actions.push({ kind: 'accepted', id, index: 1 });
    const data = encodeConfiguration(configuration);
    this.#append([{ Index: 1, Term: 1, Type: logTypes.configuration, Data: data, Extensions: null }]);
    this.#electionDueMs = this.#nowMs + this.#firstElectionInMs();
  }

  #beginRestore(id: number, archiveIndex: number): void {
    const refusal = this.#proposalRefusal();
    if (refusal !== undefined) {
      this.#refuse(id, refusal);
      return;
    }
    if (!this.#configurations.latestIsCommitted) {
      this.#refuse(id, { invalid: 'cannot restore while a configuration change is not committed' });
      return;
    }
    this.#leadership!.restoring = true;
    this.#actions.push({ kind: 'accepted', id, index: Math.max(this.#terms.last.index, archiveIndex) + 1 });
  }

  /** The snapshot takes the place of the whole log; followers find theirs too short and get it (§5.4). */
  #endRestore(position: LogPosition | undefined): void {
    const leadership = this.#leadership;
    if (leadership === undefined) return;
    leadership.restoring = false;
    if (position === undefined) return;
    this.#resetLog(position);
    this.#snapshot = position;
    this.#commitIndex = position.index;
    for (const follower of leadership.followers.values()) follower.nextIndex = position.index + 1;
    this.#appendOwn([{ type: logTypes.noop, data: null, extensions: null }]);
    this.#replicate(leadership);
  }
}
