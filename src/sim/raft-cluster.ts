/**
 * A cluster of servers in one process on a virtual clock, with everything going wrong that a seed can think of:
 * crashes that lose unsynced data and tear writes, partitions, lost, doubled and reordered messages, clocks of
 * different speed, membership changes, snapshots and transfers at any moment. Meanwhile clients write and read, and
 * after every step of a server the promises of consensus are checked:
 *
 *  - one leader a term;
 *  - every server applies the same entry at the same index, and logs that agree on an entry agree on all before it;
 *  - what was acknowledged is in the state for good, once;
 *  - a verified read sees all that was acknowledged before it;
 *  - when all is well again, all states are equal.
 */
import { type Clock, type Logger, sleep, type Timer } from '../ports/index.ts';
import {
  brokenRules,
  type Configuration,
  DirectorySnapshotStore,
  FileStableStore,
  type LogEntry,
  type LogStore,
  logTypes,
  RaftNode,
  type RaftOptions,
  type SafetyRules,
  SegmentedLog,
  type StateMachine,
  suffrage,
} from '../raft/index.ts';
import { FaultyDisk } from './faulty-disk.ts';
import { RaftNetwork } from './raft-network.ts';
import { SeededRandom } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Short enough that many elections fit in a run, in proportion to the ways of messages. */
const timing: RaftOptions = {
  heartbeatTimeoutMs: 300,
  electionTimeoutMs: 300,
  leaderLeaseMs: 150,
  commitTimeoutMs: 30,
  appendEntriesMax: 1,
  snapshotIntervalMs: 400,
  snapshotThreshold: 25,
  trailingLogs: 10,
};

/** One of these is chosen for a run: with few entries a message, logs are caught in between more often. */
const appendEntriesChoices = [1, 2, 8];

const delayMs = 12;
const requestTimeoutMs = 120;
const diskLatencyMs = 6;
/** Segments so small that a run has many. */
const segmentBytes = 2048;
const cacheBytes = 2048;

/** Clocks run up to so much faster or slower than true time. */
const driftMax = 0.1;

const clients = 3;
const clientPauseMs = 40;
const clientPatienceMs = 400;
const faultPauseMs = 350;
/** Time for a healed cluster to agree. */
const settleMs = 15_000;

/** Share of new leaders that die within so many ms. */
const earlyDeathRate = 0.2;
const earlyDeathMs = 80;

/** Share of new leaders that nobody hears for up to so many ms from the start: what they store stays with them. */
const earlySilenceRate = 0.3;
const silenceMs = 700;

/** Share of leaders that die the moment they have applied an entry of an earlier leader. */
const inheritedDeathRate = 0.5;

/** Share of requests that come a second time, much later, as long as there are faults. */
const doubleRate = 0.08;

/** A promise of consensus was broken. */
export class RaftViolation extends Error {
  constructor(seed: number, what: string) {
    super(`seed ${seed}: ${what}`);
    this.name = 'RaftViolation';
  }
}

export interface RaftClusterOptions {
  readonly seed: number;
  /** Servers there are; the first `members` of them found the cluster. */
  readonly servers?: number;
  readonly members?: number;
  /** How long faults go on, virtual ms. */
  readonly chaosMs?: number;
  readonly preVote?: boolean;
  /** Servers that say an entry is on the disk when it is only on its way. */
  readonly skipSync?: boolean;
  readonly rules?: SafetyRules;
}

/** What happened, so that a test can see that something did. */
export interface RaftClusterReport {
  acknowledged: number;
  reads: number;
  crashes: number;
  elections: number;
  snapshots: number;
  installs: number;
  changes: number;
  transfers: number;
}

interface Committed {
  readonly term: number;
  readonly text: string;
}

interface Server {
  readonly id: string;
  readonly address: string;
  readonly disk: FaultyDisk;
  /** Speed of its clock. */
  readonly rate: number;
  clock: ServerClock | undefined;
  node: RaftNode | undefined;
  log: LogStore | undefined;
  machine: HistoryMachine | undefined;
}

const silent: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  named: () => silent,
};

export class RaftCluster {
  readonly report: RaftClusterReport = {
    acknowledged: 0,
    reads: 0,
    crashes: 0,
    elections: 0,
    snapshots: 0,
    installs: 0,
    changes: 0,
    transfers: 0,
  };
  readonly #options: RaftClusterOptions;
  readonly #clock = new VirtualClock();
  readonly #random: SeededRandom;
  readonly #network: RaftNetwork;
  readonly #appendEntriesMax: number;
  readonly #servers: Server[] = [];
  readonly #leaders = new Map<number, string>();
  /** What was applied at each index, by whoever was first. */
  readonly #committed = new Map<number, Committed>();
  readonly #acknowledged = new Map<number, string>();
  #acknowledgedMax = 0;
  #violation: RaftViolation | undefined;
  #chaos = true;
  #commands = 0;

  constructor(options: RaftClusterOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#appendEntriesMax = this.#pick(appendEntriesChoices)!;
    this.#network = new RaftNetwork({
      clock: this.#clock,
      random: this.#random.fork(),
      delayMs,
      timeoutMs: requestTimeoutMs,
    });
    for (let i = 0; i < (options.servers ?? 5); i++) {
      const random = this.#random.fork();
      this.#servers.push({
        id: `s${i}`,
        address: `10.0.0.${i}:8300`,
        disk: new FaultyDisk({
          clock: this.#clock,
          random,
          latencyMs: diskLatencyMs,
        }),
        rate: 1 + (random.next() * 2 - 1) * driftMax,
        clock: undefined,
        node: undefined,
        log: undefined,
        machine: undefined,
      });
    }
  }

  /** @throws RaftViolation with the seed when a promise was broken. */
  async run(): Promise<RaftClusterReport> {
    const founders = this.#servers.slice(0, this.#options.members ?? 3);
    const configuration: Configuration = {
      Servers: founders.map(({ id, address }) => ({ Suffrage: suffrage.voter, ID: id, Address: address })),
    };
    this.#network.doubleRate = doubleRate;
    const begun = this.#begin(configuration, founders);
    await this.#advance(this.#options.chaosMs ?? 6000);
    this.#chaos = false;
    await begun;
    await this.#settle();
    return this.report;
  }

  async #begin(configuration: Configuration, founders: readonly Server[]): Promise<void> {
    for (const server of this.#servers) await this.#start(server);
    for (const { node } of founders) await node!.bootstrap(configuration).catch(() => {});
    for (let i = 0; i < clients; i++) void this.#client(i);
    void this.#reader();
    void this.#faults();
  }

  /** Time goes on until a promise is broken or `ms` are over. */
  async #advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += clientPauseMs) {
      await this.#clock.advance(clientPauseMs);
      if (this.#violation !== undefined) throw this.#violation;
    }
  }

  #violated(what: string): void {
    this.#violation ??= new RaftViolation(this.#options.seed, what);
  }

  // --- servers ------------------------------------------------------------------------------------------------------

  async #start(server: Server): Promise<void> {
    const clock = new ServerClock(this.#clock, server.rate);
    server.clock = clock;
    const disk = server.disk.mount();
    try {
      await disk.makeDirectory('raft');
      const log = await SegmentedLog.open({ disk, directory: 'raft/log', logger: silent, segmentBytes, cacheBytes });
      const stable = await FileStableStore.open(disk, 'raft', 'vote');
      const snapshots = await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock });
      const machine = new HistoryMachine((entry, text) => this.#applied(server, entry, text));
      machine.onRestore = () => {
        if (server.machine === machine) this.report.installs++;
      };
      const node = await RaftNode.start({
        id: server.id,
        address: server.address,
        timing: { ...timing, appendEntriesMax: this.#appendEntriesMax },
        clock,
        random: this.#random.fork(),
        logger: {
          ...silent,
          error: (message, fields) => {
            if (message === brokenRules) this.#violated(`${server.id}: ${String(fields?.['error'])}`);
          },
        },
        log: this.#options.skipSync ? impatient(log) : log,
        stable,
        snapshots,
        stateMachine: machine,
        transport: this.#network.transport(server.address),
        speaksPreVote: () => this.#options.preVote ?? false,
        onFailure: (error) => this.#violated(`${server.id} stopped: ${error.stack}`),
        ...(this.#options.rules && { rules: this.#options.rules }),
      });
      if (clock.dead) return;
      server.node = node;
      server.log = log;
      server.machine = machine;
      node.onLeadership(({ role, term }) => {
        if (role !== 'leader') return;
        this.report.elections++;
        const other = this.#leaders.get(term);
        if (other !== undefined && other !== server.id) {
          this.#violated(`term ${term} has two leaders, ${other} and ${server.id}`);
        }
        this.#leaders.set(term, server.id);
        if (this.#chaos) this.#troubleNewLeader(server, clock);
      });
    } catch (error) {
      if (!clock.dead) this.#violated(`${server.id} does not start: ${(error as Error).stack}`);
    }
  }

  /** The first moments of a leader are the dangerous ones. */
  #troubleNewLeader(server: Server, clock: ServerClock): void {
    const dice = this.#random.next();
    if (dice < earlyDeathRate) {
      this.#clock.after(this.#random.next() * earlyDeathMs, () => this.#crashIf(server, clock));
    } else if (dice < earlyDeathRate + earlySilenceRate) {
      this.#silence(server);
      this.#clock.after(this.#random.next() * silenceMs, () => this.#network.heal());
    }
  }

  /** What it sends arrives nowhere. */
  #silence(server: Server): void {
    for (const to of this.#servers) if (to !== server) this.#network.cut(server.address, to.address);
  }

  #crashIf(server: Server, clock: ServerClock): void {
    if (this.#chaos && server.clock === clock) this.#crashFor(server, this.#random.next() * 800);
  }

  #crash(server: Server): void {
    if (server.clock === undefined) return;
    this.report.crashes++;
    server.clock.dead = true;
    server.clock = undefined;
    server.node = undefined;
    server.log = undefined;
    server.machine = undefined;
    this.#network.drop(server.address);
    server.disk.crash();
  }

  #applied(server: Server, entry: LogEntry, text: string): void {
    const { node, clock } = server;
    if (node?.isLeader && entry.Term < node.term && this.#random.next() < inheritedDeathRate) {
      this.#clock.after(0, () => this.#crashIf(server, clock!));
    }
    const known = this.#committed.get(entry.Index);
    if (known === undefined) {
      this.#committed.set(entry.Index, { term: entry.Term, text });
      return;
    }
    if (known.term !== entry.Term || known.text !== text) {
      this.#violated(
        `${server.id} applied "${text}" of term ${entry.Term} at ${entry.Index}, where another applied ` +
          `"${known.text}" of term ${known.term}`,
      );
    }
  }

  #alive(): readonly Server[] {
    return this.#servers.filter(({ node }) => node !== undefined);
  }

  #leader(): Server | undefined {
    const leaders = this.#alive().filter(({ node }) => node!.isLeader);
    return leaders.toSorted((a, b) => b.node!.term - a.node!.term)[0];
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[this.#random.integer(Math.max(1, from.length))];
  }

  // --- clients ------------------------------------------------------------------------------------------------------

  /** Resolves with undefined when it takes too long or fails: the client does not know what became of it. */
  async #patiently<T>(promise: Promise<T>): Promise<T | undefined> {
    return await Promise.race([
      promise.catch(() => undefined),
      sleep(this.#clock, clientPatienceMs).then(() => undefined),
    ]);
  }

  async #client(number: number): Promise<void> {
    while (this.#chaos) {
      await sleep(this.#clock, this.#random.next() * clientPauseMs);
      const server = this.#random.next() < 0.8 ? this.#leader() : this.#pick(this.#alive());
      if (server === undefined) continue;
      const text = `c${number}-${++this.#commands}`;
      const applied = await this.#patiently(server.node!.propose(Buffer.from(text)));
      if (applied === undefined) continue;
      this.report.acknowledged++;
      this.#acknowledged.set(applied.index, text);
      this.#acknowledgedMax = Math.max(this.#acknowledgedMax, applied.index);
      const known = this.#committed.get(applied.index);
      if (known?.text !== text)
        this.#violated(`"${text}" was acknowledged at ${applied.index}, "${known?.text}" is there`);
    }
  }

  async #reader(): Promise<void> {
    while (this.#chaos) {
      await sleep(this.#clock, this.#random.next() * clientPauseMs);
      const node = this.#pick(this.#alive())?.node;
      if (!node?.isLeader) continue;
      const before = this.#acknowledgedMax;
      const verified = await this.#patiently(node.verifyLeader().then(() => node.appliedIndex));
      if (verified === undefined) continue;
      this.report.reads++;
      if (verified < before) this.#violated(`a verified read saw ${verified}, although ${before} was acknowledged`);
    }
  }

  // --- faults -------------------------------------------------------------------------------------------------------

  async #faults(): Promise<void> {
    while (this.#chaos) {
      await sleep(this.#clock, this.#random.next() * faultPauseMs);
      if (this.#chaos) this.#fault();
    }
  }

  #fault(): void {
    const random = this.#random;
    const dice = random.next();
    if (dice < 0.3) {
      const victim = this.#random.next() < 0.5 ? this.#leader() : this.#pick(this.#alive());
      if (victim !== undefined) this.#crashFor(victim, random.next() * 800);
    } else if (dice < 0.35) {
      // The lights go out.
      for (const server of this.#alive()) this.#crashFor(server, random.next() * 300);
    } else if (dice < 0.5) {
      this.#network.partition(new Map(this.#servers.map(({ address }) => [address, random.integer(2)])));
    } else if (dice < 0.56) {
      this.#silence(this.#pick(this.#servers)!);
    } else if (dice < 0.72) {
      this.#network.heal();
      this.#network.lossRate = random.next() < 0.5 ? random.next() * 0.3 : 0;
    } else if (dice < 0.82) {
      const node = this.#pick(this.#alive())?.node;
      node?.snapshot().then(
        () => this.report.snapshots++,
        () => {},
      );
    } else if (dice < 0.88) {
      const node = this.#leader()?.node;
      node?.transferLeadership().then(
        () => this.report.transfers++,
        () => {},
      );
    } else {
      this.#changeMembers();
    }
  }

  #crashFor(server: Server, ms: number): void {
    this.#crash(server);
    this.#clock.after(ms, () => {
      if (server.clock === undefined) void this.#start(server);
    });
  }

  #changeMembers(): void {
    const node = this.#leader()?.node;
    const server = this.#pick(this.#servers)!;
    if (node === undefined) return;
    const dice = this.#random.next();
    const { id, address } = server;
    const voters = node.configuration.configuration.Servers.filter(({ Suffrage }) => Suffrage === suffrage.voter);
    const change =
      dice < 0.45
        ? node.addVoter(id, address)
        : dice < 0.6
          ? node.addNonvoter(id, address)
          : voters.length <= 2
            ? undefined
            : dice < 0.85
              ? node.removeServer(id)
              : node.demoteVoter(id);
    change?.then(
      () => this.report.changes++,
      () => {},
    );
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  async #settle(): Promise<void> {
    this.#network.heal();
    this.#network.doubleRate = 0;
    for (const server of this.#servers) if (server.clock === undefined) void this.#start(server);
    const deadlineMs = this.#clock.monotonicMs() + settleMs;
    while (!(await this.#agree())) {
      if (this.#clock.monotonicMs() > deadlineMs) {
        const states = this.#servers.map(
          ({ id, node }) =>
            `${id} ${node?.role} term ${node?.term} last ${node?.lastIndex} applied ${node?.appliedIndex}`,
        );
        this.#violated(`the healed cluster does not come to rest: ${states.join(', ')}`);
      }
      await this.#advance(200);
    }
    this.#compareStates();
    await this.#compareLogs();
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Whether there is a leader, and every member has applied all it has. */
  async #agree(): Promise<boolean> {
    const leader = this.#leader()?.node;
    if (leader === undefined) return false;
    let index: number | undefined;
    void leader.barrier().then(
      (at) => (index = at),
      () => {},
    );
    await this.#advance(1000);
    if (index === undefined || !leader.isLeader) return false;
    const members = new Set(leader.configuration.configuration.Servers.map(({ ID }) => ID));
    return this.#servers.every(({ id, node }) => !members.has(id) || (node?.appliedIndex ?? 0) >= index!);
  }

  #members(): readonly Server[] {
    const members = new Set(this.#leader()!.node!.configuration.configuration.Servers.map(({ ID }) => ID));
    return this.#servers.filter(({ id }) => members.has(id));
  }

  #compareStates(): void {
    const [first, ...others] = this.#members();
    const state = first!.machine!.history;
    for (const { id, machine } of others) {
      if (machine!.history.join() !== state.join()) {
        this.#violated(
          `the states of ${first!.id} and ${id} differ: ${state.length} and ${machine!.history.length} commands`,
        );
      }
    }
    const seen = new Set(state);
    if (seen.size !== state.length) this.#violated('a command was applied twice');
    for (const [index, text] of this.#acknowledged) {
      if (!seen.has(text)) this.#violated(`the acknowledged command "${text}" at ${index} is lost`);
    }
  }

  /** Two logs that have an entry of the same index and term are the same up to it. */
  async #compareLogs(): Promise<void> {
    const logs: { readonly id: string; readonly entries: ReadonlyMap<number, LogEntry> }[] = [];
    for (const { id, log } of this.#alive()) {
      const entries = new Map<number, LogEntry>();
      const reading = (async () => {
        for (let index = log!.firstIndex; index > 0 && index <= log!.lastIndex;) {
          const read = await log!.read(index, log!.lastIndex, 1 << 20);
          for (const entry of read) entries.set(entry.Index, entry);
          index += read.length;
        }
      })();
      await this.#clock.advance(100);
      await reading;
      logs.push({ id, entries });
    }
    for (const a of logs) {
      for (const b of logs) {
        if (a.id >= b.id) continue;
        let agreed = false;
        for (const [index, entry] of [...a.entries].toReversed()) {
          const other = b.entries.get(index);
          if (other === undefined) continue;
          const same = other.Term === entry.Term && textOf(other) === textOf(entry) && other.Type === entry.Type;
          agreed ||= same;
          if (agreed && !same) this.#violated(`the logs of ${a.id} and ${b.id} agree behind ${index}, but not at it`);
          if (other.Term === entry.Term && !same) this.#violated(`entry ${index} differs in ${a.id} and ${b.id}`);
        }
      }
    }
  }
}

function textOf(entry: LogEntry): string {
  return entry.Type === logTypes.command ? Buffer.from(entry.Data ?? []).toString() : `type ${entry.Type}`;
}

/** The log, promising too early: the broken rule "skip fsync". */
function impatient(log: LogStore): LogStore {
  return {
    get firstIndex() {
      return log.firstIndex;
    },
    get lastIndex() {
      return log.lastIndex;
    },
    append: async (entries) => void log.append(entries),
    truncateFrom: (index) => log.truncateFrom(index),
    compactThrough: (index) => log.compactThrough(index),
    reset: (index) => log.reset(index),
    read: (from, through, bytesMax) => log.read(from, through, bytesMax),
    close: () => log.close(),
  };
}

/** A clock that is fast or slow, and stops with its server. */
class ServerClock implements Clock {
  dead = false;
  readonly #clock: Clock;
  readonly #rate: number;

  constructor(clock: Clock, rate: number) {
    this.#clock = clock;
    this.#rate = rate;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs() * this.#rate;
  }

  wallMs(): number {
    return Math.floor(this.#clock.wallMs());
  }

  after(ms: number, callback: () => void): Timer {
    return this.#clock.after(ms / this.#rate, () => {
      if (!this.dead) callback();
    });
  }
}

/** The state is the list of all commands. */
class HistoryMachine implements StateMachine {
  history: readonly string[] = [];
  onRestore: () => void = () => {};
  readonly #onApply: (entry: LogEntry, text: string) => void;

  constructor(onApply: (entry: LogEntry, text: string) => void) {
    this.#onApply = onApply;
  }

  apply(entry: LogEntry): unknown {
    const text = textOf(entry);
    this.#onApply(entry, text);
    this.history = [...this.history, text];
    return this.history.length;
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const text = JSON.stringify(this.history);
    return (async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(text);
    })();
  }

  async restore(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const all: Uint8Array[] = [];
    for await (const piece of pieces) all.push(piece);
    this.history = JSON.parse(Buffer.concat(all).toString()) as string[];
    this.onRestore();
  }
}
