/**
 * Runs the core over real (or simulated) ports: feeds it what happens, does what it says, in its order. Everything
 * that takes time is here; every decision is in core.ts.
 */
import { formatGoDuration } from '../codec/index.ts';
import { type Clock, type Logger, type Random, sleep, type Timer } from '../ports/index.ts';
import type { Action, Outgoing, RaftEvent, Role } from './actions.ts';
import { Applier } from './applier.ts';
import {
  type Configuration,
  type ConfigurationChange,
  decodeConfiguration,
  decodePeers,
  encodeConfiguration,
  encodePeers,
  suffrage,
  votersOf,
} from './configuration.ts';
import type { IndexedConfiguration } from './configuration-history.ts';
import { RaftCore, type SafetyRules } from './core.ts';
import { RaftError, refusalError, shutdownError } from './errors.ts';
import { type LogEntry, logTypes } from './log-entry.ts';
import { protocolVersion, type InstallSnapshotRequest, type RaftRequest } from './messages.ts';
import type { RaftOptions } from './options.ts';
import { recover } from './start-up.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStore, SnapshotMeta, SnapshotPoint, SnapshotSink, SnapshotStore, StableStore } from './stores.ts';
import { randomTimeout } from './timeout.ts';
import {
  type RaftAnswer,
  type RaftPeer,
  type RaftTransport,
  type SnapshotBody,
  UnsupportedRequest,
} from './transport.ts';

/** Commands that may wait for their result; beyond that callers are told to come back later. */
const waitingMax = 65_536;

/** Snapshots of these versions can be installed. */
const snapshotVersionMax = 1;
/** Who writes a snapshot holds up the event loop for about so long at a time, ms. */
const snapshotTurnMs = 2;

export interface RaftNodeOptions {
  readonly id: string;
  /** `ip:port` of this server, as the others know it. */
  readonly address: string;
  readonly timing: RaftOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly log: LogStore;
  readonly stable: StableStore;
  readonly snapshots: SnapshotStore;
  readonly stateMachine: StateMachine;
  readonly transport: RaftTransport;
  readonly speaksPreVote?: (id: string) => boolean;
  /** The disk or the state machine failed: the process must end, and starts over from what is on the disk. */
  readonly onFailure: (error: Error) => void;
  /** For tests of the simulation. */
  readonly rules?: SafetyRules;
}

export interface Leadership {
  readonly role: Role;
  readonly term: number;
  /** Address of the leader; "" when none is known. */
  readonly leader: string;
}

/** What became of a proposal. */
export interface Applied {
  readonly index: number;
  /** What the state machine returned. */
  readonly result: unknown;
}

interface Waiting {
  readonly resolve: (applied: Applied) => void;
  readonly reject: (error: Error) => void;
}

interface InFlight extends Waiting {
  readonly term: number;
}

/** Told when a request can only come from a server that does not keep the rules; it is refused. */
export const brokenRules = 'refusing what another server sends as leader: it contradicts what is settled';

export class RaftNode {
  readonly #options: RaftNodeOptions;
  readonly #core: RaftCore;
  readonly #applier: Applier;
  readonly #listeners = new Set<(leadership: Leadership) => void>();
  /** Callers by the id the core knows them by. */
  readonly #waiting = new Map<number, Waiting>();
  /** Callers by the index of their entry. */
  readonly #inFlight = new Map<number, InFlight>();
  readonly #replies = new Map<number, (answer: RaftAnswer) => void>();
  readonly #snapshotBodies = new Map<number, { request: InstallSnapshotRequest; body: SnapshotBody | undefined }>();
  /** Requests to a peer leave in order although reading entries takes time. */
  readonly #sending = new Map<string, Promise<void>>();
  /** Callers that are content when their request is taken. */
  readonly #untilAccepted = new Set<number>();
  #ids = 0;
  #proposals: { id: number; type: number; data: Uint8Array | null; extensions: Uint8Array | null }[] = [];
  #flushQueued = false;
  /** Appends of our own on their way to the disk. */
  #appending = 0;
  #inbox: RaftEvent[] = [];
  #stepping = false;
  #timer: Timer | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #snapshotTimer: Timer | undefined;
  #snapshotting = false;
  #installing = false;
  #heardOfLeader = false;
  #stopped: Error | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: RaftNodeOptions, core: RaftCore, appliedIndex: number) {
    this.#options = options;
    this.#core = core;
    this.#applier = new Applier({
      log: options.log,
      stateMachine: options.stateMachine,
      clock: options.clock,
      appliedIndex,
      onApplied: (entry, result) => this.#applied(entry, result),
      onFailure: (error) => this.#fail(error),
    });
  }

  /**
   * Recovers from the disk and starts. The state machine must be empty.
   * @throws Error when what is on the disk is damaged, saying where.
   */
  static async start(options: RaftNodeOptions): Promise<RaftNode> {
    const recovered = await recover(options);
    const { id, address, timing, random, clock, speaksPreVote, rules } = options;
    const core = new RaftCore({
      id,
      address,
      timing,
      random,
      nowMs: clock.monotonicMs(),
      ...recovered,
      ...(speaksPreVote && { speaksPreVote }),
      ...(rules && { rules }),
    });
    const node = new RaftNode(options, core, recovered.snapshot?.index ?? 0);
    options.transport.serve((request, body) => node.#serve(request, body));
    node.#schedule();
    node.#scheduleSnapshot();
    return node;
  }

  // --- what it is ---------------------------------------------------------------------------------------------------

  get isLeader(): boolean {
    return this.#core.role === 'leader' && this.#stopped === undefined;
  }
  get role(): Role {
    return this.#core.role;
  }
  /** `ip:port` of the leader; "" when none is known. */
  get leaderAddress(): string {
    return this.#core.leader;
  }
  get term(): number {
    return this.#core.term;
  }
  /** Index and term of the last entry in the log. */
  get lastIndex(): number {
    return this.#core.last.index;
  }
  get lastTerm(): number {
    return this.#core.last.term;
  }
  get commitIndex(): number {
    return this.#core.commitIndex;
  }
  get appliedIndex(): number {
    return this.#applier.appliedIndex;
  }
  /** The configuration in force, committed or not. */
  get configuration(): IndexedConfiguration {
    return this.#core.configuration;
  }

  /** Ms since this server heard from the leader: 0 on the leader, undefined when it never did. */
  get lastContactMs(): number | undefined {
    if (this.#core.role === 'leader') return 0;
    if (!this.#heardOfLeader) return undefined;
    return this.#options.clock.monotonicMs() - this.#core.lastContactMs;
  }

  /** The `raft` section of `info`. */
  stats(): Readonly<Record<string, string>> {
    const core = this.#core;
    const { configuration, index } = core.configuration;
    const voters = votersOf(configuration);
    const votes = voters.some(({ ID }) => ID === core.id);
    const contact = this.lastContactMs;
    const servers = configuration.Servers.map(
      ({ Suffrage, ID, Address }) => `{Suffrage:${suffrageNames[Suffrage]} ID:${ID} Address:${Address}}`,
    );
    return {
      applied_index: String(this.appliedIndex),
      commit_index: String(core.commitIndex),
      fsm_pending: String(this.#applier.pending),
      last_contact: contact === undefined ? 'never' : contact === 0 ? '0' : formatGoDuration(Math.round(contact * 1e6)),
      last_log_index: String(core.last.index),
      last_log_term: String(core.last.term),
      last_snapshot_index: String(core.snapshot.index),
      last_snapshot_term: String(core.snapshot.term),
      latest_configuration: `[${servers.join(' ')}]`,
      latest_configuration_index: String(index),
      num_peers: String(votes ? voters.length - 1 : 0),
      protocol_version: String(protocolVersion),
      protocol_version_max: String(protocolVersion),
      protocol_version_min: '0',
      snapshot_version_max: String(snapshotVersionMax),
      snapshot_version_min: '0',
      state: { follower: 'Follower', candidate: 'Candidate', leader: 'Leader' }[core.role],
      term: String(core.term),
    };
  }

  /** Calls `listener` at every change of role or leader, after the change. @returns a function that ends it. */
  onLeadership(listener: (leadership: Leadership) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // --- what it can be asked -----------------------------------------------------------------------------------------

  /**
   * Appends a command and resolves when it is committed and applied here. Commands of one caller are applied in order.
   * @throws RaftError `not-leader` when it was not taken; `leadership-lost` when it was and may still come true.
   */
  propose(data: Uint8Array, extensions: Uint8Array | null = null): Promise<Applied> {
    return this.#enqueue(logTypes.command, data, extensions);
  }

  /** Resolves when everything before it is applied here. @returns its index. */
  async barrier(): Promise<number> {
    return (await this.#enqueue(logTypes.barrier, null, null)).index;
  }

  /**
   * Resolves when a majority has vouched, after this call, that this server leads, and everything that was committed
   * by then is applied: what is read after that is up to date.
   */
  async verifyLeader(): Promise<void> {
    const { index } = await this.#ask((id) => ({ kind: 'verify', id }));
    await this.#applier.until(index);
  }

  /** @param prevIndex when not 0, the change is refused unless this is the index of the configuration in force. */
  addVoter(id: string, address: string, prevIndex = 0): Promise<number> {
    return this.#change({ kind: 'addVoter', id, address }, prevIndex);
  }
  addNonvoter(id: string, address: string, prevIndex = 0): Promise<number> {
    return this.#change({ kind: 'addNonvoter', id, address }, prevIndex);
  }
  removeServer(id: string, prevIndex = 0): Promise<number> {
    return this.#change({ kind: 'removeServer', id }, prevIndex);
  }
  demoteVoter(id: string, prevIndex = 0): Promise<number> {
    return this.#change({ kind: 'demoteVoter', id }, prevIndex);
  }

  /** Hands leadership to `target`, by default the voter that is furthest. Resolves when it is given up. */
  async transferLeadership(target?: string): Promise<void> {
    await this.#ask((id) => ({ kind: 'transfer', id, target }));
  }

  /** Gives a new cluster its first configuration. Once on one server, or on several with the same members. */
  async bootstrap(configuration: Configuration): Promise<void> {
    // The entry commits when a leader was elected, here or elsewhere: that it was taken is all there is to wait for.
    await this.#ask((id) => ({ kind: 'bootstrap', id, configuration }), true);
  }

  /**
   * Writes a snapshot of what is applied and drops the log behind it.
   * @throws RaftError `nothing-new` when nothing was applied since the last one.
   */
  async snapshot(): Promise<SnapshotMeta> {
    if (this.#snapshotting) throw new RaftError('invalid', 'a snapshot is being taken already');
    this.#snapshotting = true;
    try {
      const { point, pieces } = await this.#applier.exclusively(async () => this.#capture());
      const sink = await this.#options.snapshots.create(point);
      let meta: SnapshotMeta;
      try {
        await this.#writeInTurns(pieces, sink);
        meta = await sink.commit();
      } catch (error) {
        await sink.abort().catch(() => {});
        throw error;
      }
      this.#step({ kind: 'snapshotTaken', position: point });
      return meta;
    } finally {
      this.#snapshotting = false;
    }
  }

  /** Gives way to whatever waits in between: a large state takes seconds. */
  async #writeInTurns(pieces: AsyncIterable<Uint8Array>, sink: SnapshotSink): Promise<void> {
    const { clock } = this.#options;
    let beganMs = clock.monotonicMs();
    for await (const piece of pieces) {
      await sink.write(piece);
      if (clock.monotonicMs() - beganMs < snapshotTurnMs) continue;
      await sleep(clock, 0);
      beganMs = clock.monotonicMs();
    }
  }

  /** The state as of now with its place in the log, for whoever saves it elsewhere. */
  capture(): Promise<{ readonly point: SnapshotPoint; readonly pieces: AsyncIterable<Uint8Array> }> {
    return this.#applier.exclusively(async () => this.#capture());
  }

  /**
   * Replaces the state of the whole cluster by that of an archive. Leader only; commands in flight are aborted.
   * Resolves when a majority has it.
   * @param archive.pieces the state from its start, as often as it is called.
   */
  async restore(archive: { readonly index: number; pieces(): AsyncIterable<Uint8Array> }): Promise<void> {
    const { index } = await this.#ask((id) => ({ kind: 'restoreBegin', id, archiveIndex: archive.index }), true);
    const { term } = this.#core;
    const meanwhile = new RaftError('restore-in-progress', 'the state was replaced by a snapshot meanwhile');
    this.#abortInFlight(meanwhile, () => true);
    let replaced = false;
    try {
      const { configuration, index: configurationIndex } = this.#core.configuration;
      const sink = await this.#options.snapshots.create({ index, term, configuration, configurationIndex });
      try {
        for await (const piece of archive.pieces()) await sink.write(piece);
        await this.#applier.exclusively(async () => {
          this.#checkLeads(term);
          await this.#options.stateMachine.restore(archive.pieces());
          replaced = true;
          this.#checkLeads(term);
          await sink.commit();
          this.#applier.restored(index);
        });
      } catch (error) {
        await sink.abort().catch(() => {});
        throw error;
      }
    } catch (error) {
      // A state that is not that of the log must not live on: what is on the disk is right.
      if (replaced) this.#fail(error as Error);
      else this.#step({ kind: 'restoreEnd', position: undefined });
      throw error;
    }
    this.#step({ kind: 'restoreEnd', position: { index, term } });
    await this.barrier();
  }

  /** Stops taking part and waits for the disk. Proposals in flight are refused; they may still come true. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#stop(shutdownError());
      await this.#options.transport.close();
      await this.#options.log.close();
      await this.#options.stable.close();
    })();
    return this.#closing;
  }

  // --- asking the core ----------------------------------------------------------------------------------------------

  #enqueue(type: number, data: Uint8Array | null, extensions: Uint8Array | null): Promise<Applied> {
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    if (this.#core.role !== 'leader') return Promise.reject(refusalError('not leader'));
    if (this.#waiting.size + this.#inFlight.size >= waitingMax) {
      return Promise.reject(
        new RaftError('queue-full', 'timed out enqueuing operation: too many commands are waiting'),
      );
    }
    return new Promise((resolve, reject) => {
      const id = ++this.#ids;
      this.#waiting.set(id, { resolve, reject });
      this.#proposals.push({ id, type, data, extensions });
      this.#queueFlush();
    });
  }

  /** Proposals made together go out together, and those made while the disk works wait for it: group commit. */
  #queueFlush(): void {
    if (this.#flushQueued || this.#appending > 0 || this.#proposals.length === 0) return;
    this.#flushQueued = true;
    queueMicrotask(() => {
      this.#flushQueued = false;
      if (this.#appending > 0 || this.#proposals.length === 0) return;
      const proposals = this.#proposals;
      this.#proposals = [];
      this.#step({ kind: 'propose', proposals });
    });
  }

  /** Asks for something that is answered by `done`, or by `accepted` when that is all there is to know. */
  #ask(event: (id: number) => RaftEvent, untilAccepted = false): Promise<Applied> {
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    return new Promise((resolve, reject) => {
      const id = ++this.#ids;
      this.#waiting.set(id, { resolve, reject });
      if (untilAccepted) this.#untilAccepted.add(id);
      this.#step(event(id));
    });
  }

  async #change(change: ConfigurationChange, prevIndex: number): Promise<number> {
    return (await this.#ask((id) => ({ kind: 'change', id, change, prevIndex }))).index;
  }

  #checkLeads(term: number): void {
    if (this.#core.role !== 'leader' || this.#core.term !== term) throw refusalError('leadership lost');
  }

  // --- steps --------------------------------------------------------------------------------------------------------

  /** Feeds the core. What happens while its actions are performed waits for its turn. */
  #step(event: RaftEvent): void {
    if (this.#stopped !== undefined) return;
    this.#inbox.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
        const actions = this.#core.step(next, this.#options.clock.monotonicMs());
        for (const action of actions) this.#perform(action);
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#stepping = false;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stopped !== undefined) return;
    const { clock } = this.#options;
    const dueMs = this.#core.dueMs;
    if (dueMs >= this.#timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      this.#timerDueMs = Number.POSITIVE_INFINITY;
      this.#step({ kind: 'tick' });
      this.#schedule();
    });
  }

  #perform(action: Action): void {
    const { log, stable } = this.#options;
    switch (action.kind) {
      case 'saveState':
        this.#persist(action.sequence, stable.write(action.state));
        break;
      case 'append':
        this.#appending++;
        this.#persist(
          action.sequence,
          log.append(action.entries).then(() => {
            this.#appending--;
          }),
        );
        break;
      case 'truncate':
        this.#persist(action.sequence, log.truncateFrom(action.from));
        break;
      case 'resetLog':
        this.#persist(action.sequence, log.reset(action.nextIndex));
        break;
      case 'compactLog':
        log.compactThrough(action.through).catch((error: unknown) => this.#fail(error as Error));
        break;
      case 'send':
        this.#send(action.requestId, action.to, action.message);
        break;
      case 'reply':
        this.#answer(action.replyId, { error: '', message: action.message });
        break;
      case 'replyError':
        if (action.message.rpc === 'appendEntries') this.#options.logger.error(brokenRules, { error: action.error });
        this.#answer(action.replyId, { error: action.error, message: action.message });
        break;
      case 'receiveSnapshot':
        void this.#install(action.replyId);
        break;
      case 'commit':
        this.#applier.commit(action.index);
        break;
      case 'role':
        this.#roleChanged(action);
        break;
      case 'accepted':
        this.#accepted(action.id, action.index);
        break;
      case 'refused':
        this.#take(action.id)?.reject(refusalError(action.reason));
        break;
      case 'done':
        this.#take(action.id)?.resolve({ index: action.index, result: undefined });
        break;
    }
  }

  #persist(sequence: number, write: Promise<void>): void {
    write.then(
      () => {
        this.#step({ kind: 'persisted', sequence });
        this.#queueFlush();
      },
      (error: unknown) => this.#fail(error as Error),
    );
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#untilAccepted.delete(id);
    return waiting;
  }

  #accepted(id: number, index: number): void {
    if (this.#untilAccepted.has(id)) {
      this.#take(id)?.resolve({ index, result: undefined });
      return;
    }
    const waiting = this.#take(id);
    if (waiting !== undefined) this.#inFlight.set(index, { ...waiting, term: this.#core.term });
  }

  #applied(entry: LogEntry, result: unknown): void {
    const waiting = this.#inFlight.get(entry.Index);
    if (waiting === undefined) return;
    this.#inFlight.delete(entry.Index);
    if (waiting.term === entry.Term) waiting.resolve({ index: entry.Index, result });
    else waiting.reject(refusalError('leadership lost'));
  }

  #roleChanged(leadership: Leadership): void {
    if (leadership.leader !== '') this.#heardOfLeader = true;
    // What is committed comes true all the same; its callers wait until it is applied.
    const { commitIndex } = this.#core;
    if (leadership.role !== 'leader') this.#abortInFlight(refusalError('leadership lost'), (at) => at > commitIndex);
    this.#options.logger.info(`entering ${leadership.role} state`, {
      term: leadership.term,
      leader: leadership.leader,
    });
    for (const listener of this.#listeners) listener(leadership);
  }

  #abortInFlight(error: Error, which: (index: number) => boolean): void {
    for (const [index, { reject }] of this.#inFlight) {
      if (!which(index)) continue;
      this.#inFlight.delete(index);
      reject(error);
    }
  }

  #fail(error: Error): void {
    if (this.#stopped !== undefined) return;
    this.#options.logger.error('raft stops: restart this server, it recovers from its disk', { error });
    this.#stop(error);
    this.#options.onFailure(error);
  }

  #stop(reason: Error): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.#timer?.cancel();
    this.#snapshotTimer?.cancel();
    this.#applier.stop(reason);
    const waiting = [...this.#waiting.values(), ...this.#inFlight.values()];
    this.#waiting.clear();
    this.#inFlight.clear();
    for (const { reject } of waiting) reject(reason);
    this.#replies.clear();
  }

  // --- talking to others --------------------------------------------------------------------------------------------

  #send(requestId: number, to: RaftPeer, message: Outgoing): void {
    const failed = (error: unknown): void => {
      this.#options.logger.debug('raft request failed', { rpc: message.rpc, peer: to.id, address: to.address, error });
      this.#step({ kind: 'failed', requestId, unsupported: error instanceof UnsupportedRequest });
    };
    if (message.rpc === 'appendEntries' && message.through > message.prev.index) {
      const before = this.#sending.get(to.id) ?? Promise.resolve();
      const sent = before.then(async () => {
        try {
          const entries = await this.#readEntries(message.prev.index + 1, message.through);
          this.#call(requestId, to, this.#appendRequest(message, entries), failed);
        } catch (error) {
          failed(error);
        }
      });
      this.#sending.set(to.id, sent);
      return;
    }
    switch (message.rpc) {
      case 'appendEntries':
        this.#call(requestId, to, this.#appendRequest(message, message.heartbeat ? null : []), failed);
        break;
      case 'installSnapshot':
        void this.#sendSnapshot(requestId, to, message.term).catch(failed);
        break;
      case 'timeoutNow':
        this.#call(requestId, to, { rpc: 'timeoutNow', request: { ProtocolVersion: protocolVersion } }, failed);
        break;
      case 'requestVote':
      case 'requestPreVote':
        this.#call(requestId, to, message, failed);
        break;
    }
  }

  #appendRequest(
    message: Extract<Outgoing, { rpc: 'appendEntries' }>,
    entries: readonly LogEntry[] | null,
  ): RaftRequest {
    return {
      rpc: 'appendEntries',
      request: {
        Entries: entries,
        Leader: this.#options.address,
        LeaderCommitIndex: message.commitIndex,
        PrevLogEntry: message.prev.index,
        PrevLogTerm: message.prev.term,
        ProtocolVersion: protocolVersion,
        Term: message.term,
      },
    };
  }

  async #readEntries(from: number, through: number): Promise<readonly LogEntry[]> {
    const { log } = this.#options;
    const all: LogEntry[] = [];
    for (let index = from; index <= through;) {
      const entries = await log.read(index, through, Number.POSITIVE_INFINITY);
      all.push(...entries);
      index += entries.length;
    }
    return all;
  }

  #call(requestId: number, to: RaftPeer, request: RaftRequest, failed: (error: unknown) => void): void {
    if (this.#stopped !== undefined) return;
    this.#options.transport
      .call(to, request)
      .then((message) => this.#step({ kind: 'response', requestId, message }), failed);
  }

  async #sendSnapshot(requestId: number, to: RaftPeer, term: number): Promise<void> {
    const { snapshots, transport, logger } = this.#options;
    const [meta] = await snapshots.list();
    if (meta === undefined) throw new Error('there is no snapshot to send');
    logger.info('sending a snapshot', { peer: to.id, address: to.address, index: meta.Index, bytes: meta.Size });
    const request: InstallSnapshotRequest = {
      Configuration: encodeConfiguration(meta.Configuration),
      ConfigurationIndex: meta.ConfigurationIndex,
      LastLogIndex: meta.Index,
      LastLogTerm: meta.Term,
      Leader: this.#options.address,
      Peers: encodePeers(meta.Configuration),
      ProtocolVersion: protocolVersion,
      Size: meta.Size,
      SnapshotVersion: meta.Version,
      Term: term,
    };
    const body = { size: meta.Size, pieces: snapshots.read(meta) };
    const message = await transport.call(to, { rpc: 'installSnapshot', request }, body);
    this.#step({ kind: 'response', requestId, message, sentIndex: meta.Index });
  }

  #serve(request: RaftRequest, body: SnapshotBody | undefined): Promise<RaftAnswer> {
    if (this.#stopped !== undefined) return Promise.reject(shutdownError());
    return new Promise((resolve) => {
      const replyId = ++this.#ids;
      this.#replies.set(replyId, resolve);
      if (request.rpc === 'installSnapshot') this.#snapshotBodies.set(replyId, { request: request.request, body });
      this.#step({ kind: 'request', replyId, message: request });
    });
  }

  #answer(replyId: number, answer: RaftAnswer): void {
    this.#snapshotBodies.delete(replyId);
    const reply = this.#replies.get(replyId);
    this.#replies.delete(replyId);
    reply?.(answer);
  }

  // --- snapshots ----------------------------------------------------------------------------------------------------

  #scheduleSnapshot(): void {
    const { clock, random, timing, logger } = this.#options;
    this.#snapshotTimer = clock.after(randomTimeout(timing.snapshotIntervalMs, random), () => {
      const fresh = this.#core.last.index - this.#core.snapshot.index;
      if (fresh >= timing.snapshotThreshold && !this.#snapshotting) {
        this.snapshot().catch((error: unknown) => {
          if (this.#stopped === undefined) logger.error('cannot take a snapshot, trying again later', { error });
        });
      }
      this.#scheduleSnapshot();
    });
  }

  #capture(): { readonly point: SnapshotPoint; readonly pieces: AsyncIterable<Uint8Array> } {
    const index = this.appliedIndex;
    const term = this.#core.termOf(index);
    if (index === 0 || term === undefined || index <= this.#core.snapshot.index) {
      throw new RaftError('nothing-new', 'nothing new to snapshot');
    }
    const committed = this.#core.committedConfiguration;
    if (committed.index > index) {
      throw new RaftError(
        'nothing-new',
        `cannot take snapshot now, wait until the configuration entry at ${committed.index} has been applied ` +
          `(have applied ${index})`,
      );
    }
    const point = { index, term, configuration: committed.configuration, configurationIndex: committed.index };
    return { point, pieces: this.#options.stateMachine.snapshot() };
  }

  /** Takes a snapshot that the leader sends: to the disk first, then into the state machine, then into the log. */
  async #install(replyId: number): Promise<void> {
    const { request, body } = this.#snapshotBodies.get(replyId)!;
    const refuse = (error: string): void => this.#step({ kind: 'snapshotRefused', replyId, error });
    if (this.#installing) {
      refuse('another snapshot is being installed');
      return;
    }
    if (request.SnapshotVersion < 0 || request.SnapshotVersion > snapshotVersionMax) {
      refuse(`unsupported snapshot version ${request.SnapshotVersion}`);
      return;
    }
    this.#installing = true;
    try {
      const { snapshots, stateMachine, logger } = this.#options;
      const configuration =
        request.Configuration === null
          ? decodePeers(request.Peers ?? new Uint8Array([0x90]))
          : decodeConfiguration(request.Configuration);
      const configurationIndex = request.Configuration === null ? request.LastLogIndex : request.ConfigurationIndex;
      const position = { index: request.LastLogIndex, term: request.LastLogTerm };
      const sink = await snapshots.create({ ...position, configuration, configurationIndex });
      let meta: SnapshotMeta;
      try {
        for await (const piece of body?.pieces ?? []) await sink.write(piece);
        if (sink.size !== request.Size) throw new Error('short read');
        meta = await sink.commit();
      } catch (error) {
        await sink.abort().catch(() => {});
        throw error;
      }
      await this.#applier.exclusively(async () => {
        if (position.index <= this.appliedIndex) return;
        await stateMachine.restore(snapshots.read(meta));
        this.#applier.restored(position.index);
        // Their entries are somewhere in the snapshot, or were never committed: nobody can tell.
        this.#abortInFlight(refusalError('leadership lost'), (at) => at <= position.index);
      });
      logger.info('installed a snapshot', { index: position.index, bytes: request.Size });
      this.#step({ kind: 'snapshotInstalled', replyId, position, configuration, configurationIndex });
    } catch (error) {
      refuse((error as Error).message);
    } finally {
      this.#installing = false;
    }
  }
}

const suffrageNames: Readonly<Record<number, string>> = {
  [suffrage.voter]: 'Voter',
  [suffrage.nonvoter]: 'Nonvoter',
  [suffrage.staging]: 'Staging',
};
