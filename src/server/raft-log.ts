/**
 * The log of servers that agree: commands become entries of raft's log, cut into chunks where they are large
 * (reference/raft.md §3.12), and what raft says about leadership becomes what callers of a server understand.
 */
import { CallError } from '../model/index.ts';
import { type Clock, type Metrics, type Random, sleep } from '../ports/index.ts';
import {
  type Configuration,
  RaftError,
  type RaftNode,
  type Role,
  type SnapshotMeta,
  type SnapshotStore,
} from '../raft/index.ts';
import { chunksOf, type CommandName, type CommandOf, type CommandResult, encodeCommand } from '../state/index.ts';
import { type Consensus, neverHeardNs, type SavedState } from './command-log.ts';

const applyCounter: readonly string[] = ['raft', 'apply'];
const barrierCounter: readonly string[] = ['raft', 'barrier'];
const verifyCounter: readonly string[] = ['raft', 'verify_leader'];
const roleCounters: Readonly<Record<Role, readonly string[]>> = {
  follower: ['raft', 'state', 'follower'],
  candidate: ['raft', 'state', 'candidate'],
  leader: ['raft', 'state', 'leader'],
};
const commitSample: readonly string[] = ['raft', 'commitTime'];

export const noClusterLeader = 'No cluster leader';

/** Between two looks whether a snapshot that is being taken is there, ms, and how often. */
const snapshotPauseMs = 100;
const snapshotAttemptsMax = 600;

export interface RaftLogOptions {
  readonly node: RaftNode;
  /** Where the node writes its snapshots. */
  readonly snapshots: SnapshotStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
}

export class RaftLog implements Consensus {
  readonly #node: RaftNode;
  readonly #snapshots: SnapshotStore;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  /** Of the last command: begun at random, so that no other leader's are like it. */
  #operation: bigint;
  #role: Role | undefined;

  constructor(options: RaftLogOptions) {
    this.#node = options.node;
    this.#snapshots = options.snapshots;
    this.#clock = options.clock;
    this.#operation = Buffer.from(options.random.bytes(8)).readBigUInt64BE();
    this.#metrics = options.metrics;
    this.#node.onLeadership(({ role }) => this.#countRole(role));
  }

  get lastIndex(): number {
    return this.#node.lastIndex;
  }
  get lastTerm(): number {
    return this.#node.lastTerm;
  }
  get isLeader(): boolean {
    return this.#node.isLeader;
  }
  get leaderAddress(): string {
    return this.#node.leaderAddress;
  }
  get term(): number {
    return this.#node.term;
  }
  get configuration(): Configuration {
    return this.#node.configuration.configuration;
  }
  get configurationIndex(): number {
    return this.#node.configuration.index;
  }
  get peers(): readonly string[] {
    return this.configuration.Servers.map(({ Address }) => Address);
  }
  get lastContactNs(): number {
    const ms = this.#node.lastContactMs;
    return ms === undefined ? neverHeardNs : Math.round(ms * 1e6);
  }

  async propose<T extends CommandName>(command: CommandOf<T>): Promise<CommandResult<T>> {
    if (!this.#node.isLeader) throw new CallError(noClusterLeader);
    const startMs = this.#clock.monotonicMs();
    this.#metrics.count(applyCounter);
    const bytes = encodeCommand(command as Parameters<typeof encodeCommand>[0]);
    this.#operation = BigInt.asUintN(64, this.#operation + 1n);
    // All at once: they get into the log side by side in one term, so that no server forgets the first ones of them.
    const proposed = chunksOf(bytes, this.#operation).map(({ data, extensions }) =>
      this.#node.propose(data, extensions),
    );
    const applied = await translated(Promise.all(proposed));
    this.#metrics.sample(commitSample, this.#clock.monotonicMs() - startMs);
    const { result } = applied.at(-1)!;
    if (result instanceof CallError) throw result;
    return result as CommandResult<T>;
  }

  async barrier(): Promise<void> {
    this.#metrics.count(barrierCounter);
    await translated(this.#node.barrier());
  }
  verifyLeader(): Promise<void> {
    this.#metrics.count(verifyCounter);
    return translated(this.#node.verifyLeader());
  }
  async addVoter(id: string, address: string): Promise<void> {
    await translated(this.#node.addVoter(id, address));
  }
  async addNonvoter(id: string, address: string): Promise<void> {
    await translated(this.#node.addNonvoter(id, address));
  }
  async removeServer(id: string): Promise<void> {
    await translated(this.#node.removeServer(id));
  }
  transferLeadership(): Promise<void> {
    return translated(this.#node.transferLeadership());
  }
  bootstrap(configuration: Configuration): Promise<void> {
    return translated(this.#node.bootstrap(configuration));
  }
  onLeadership(listener: () => void): () => void {
    return this.#node.onLeadership(listener);
  }
  stats(): Readonly<Record<string, string>> {
    return this.#node.stats();
  }

  async save(): Promise<SavedState> {
    // A snapshot ends with a command or a barrier: behind one everything is in it, who takes part as well.
    if (this.#node.isLeader) await this.barrier();
    const meta = await this.#newestSnapshot();
    return { meta, pieces: () => this.#snapshots.read(meta) };
  }

  async restore({ meta, pieces }: SavedState): Promise<void> {
    await translated(this.#node.restore({ index: meta.Index, pieces }));
  }

  /** Counts changes of role; a follower that follows somebody else is none. */
  #countRole(role: Role): void {
    if (role === this.#role) return;
    this.#role = role;
    this.#metrics.count(roleCounters[role]);
  }

  async #newestSnapshot(): Promise<SnapshotMeta> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#node.snapshot();
      } catch (error) {
        if (!(error instanceof RaftError)) throw error;
        const [newest] = await this.#snapshots.list();
        if (newest !== undefined && newest.Index >= this.#node.appliedIndex) return newest;
        // Another one is being taken, or the last entries are not of a kind that a snapshot can end with.
        if (attempt === snapshotAttemptsMax) throw new CallError(error.message, { cause: error });
        await sleep(this.#clock, snapshotPauseMs);
      }
    }
  }
}

/** Failures of raft as failures of a call. What was not taken at all may be tried again on another server. */
async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof RaftError)) throw error;
    throw new CallError(error.code === 'not-leader' ? noClusterLeader : error.message, { cause: error });
  }
}
