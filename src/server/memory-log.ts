/**
 * The log of a single server without a disk (`-dev`): nobody to agree with and nothing to keep, so a command is applied
 * the moment it is proposed.
 */
import { CallError } from '../model/index.ts';
import type { Clock, Metrics } from '../ports/index.ts';
import { type Configuration, snapshotMeta, suffrage } from '../raft/index.ts';
import {
  type Command,
  type CommandName,
  type CommandOf,
  type CommandResult,
  SnapshotRestore,
  type StateStore,
  writeSnapshot,
} from '../state/index.ts';
import type { Consensus, SavedState } from './command-log.ts';
import { sampleCommand } from './measured-state.ts';

const applyCounter: readonly string[] = ['raft', 'apply'];
/**
 * The first command's index. As in a log with consensus, whose first entry is its configuration, no command has 1: that
 * is the index of an answer about nothing, and what is created first must be greater.
 */
const firstIndex = 2;

/** A log that began with its configuration and was handed to its only server in the first election. */
const term = 2;

export class MemoryLog implements Consensus {
  readonly isLeader = true;
  readonly term = term;
  readonly lastTerm = term;
  readonly configurationIndex = 1;
  readonly lastContactNs = 0;
  readonly leaderAddress: string;
  readonly peers: readonly string[];
  readonly configuration: Configuration;
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #metrics: Metrics;

  /**
   * @param options.id of this server.
   * @param options.address `host:port` of this server.
   */
  constructor(options: {
    readonly store: StateStore;
    readonly id?: string;
    readonly address: string;
    readonly clock: Clock;
    readonly metrics: Metrics;
  }) {
    const { id, address } = options;
    this.leaderAddress = address;
    this.peers = [address];
    this.configuration = { Servers: [{ Suffrage: suffrage.voter, ID: id ?? address, Address: address }] };
    this.#store = options.store;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
  }

  get lastIndex(): number {
    return this.#store.lastIndex;
  }

  // oxlint-disable-next-line require-await -- a failure must become a rejection, and nothing here waits
  async propose<T extends CommandName>(command: CommandOf<T>): Promise<CommandResult<T>> {
    const startMs = this.#clock.monotonicMs();
    this.#metrics.count(applyCounter);
    try {
      return this.#store.apply(Math.max(firstIndex, this.#store.lastIndex + 1), command);
    } finally {
      sampleCommand(this.#metrics, command as Command, this.#clock.monotonicMs() - startMs);
    }
  }

  async barrier(): Promise<void> {}
  async verifyLeader(): Promise<void> {}

  addVoter(): Promise<void> {
    return refuseMembers();
  }
  addNonvoter(): Promise<void> {
    return refuseMembers();
  }
  transferLeadership(): Promise<void> {
    return Promise.reject(new CallError('cannot find peer to transfer leadership to'));
  }
  bootstrap(): Promise<void> {
    return Promise.reject(new CallError('bootstrap only works on new clusters'));
  }
  removeServer(): Promise<void> {
    return Promise.reject(new CallError('need at least one voter in configuration: this is the only server'));
  }

  onLeadership(): () => void {
    return () => undefined;
  }

  /** The state is kept as of now, whole: who has no disk has room for it. */
  async save(): Promise<SavedState> {
    const pieces = [...writeSnapshot(this.#store.snapshot(), new Map())];
    const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const { configuration, configurationIndex } = this;
    const index = Math.max(firstIndex, this.lastIndex);
    const meta = snapshotMeta(
      `${term}-${index}-${this.#clock.wallMs()}`,
      { index, term, configuration, configurationIndex },
      size,
    );
    return { meta, pieces: () => inTurns(pieces) };
  }

  async restore({ meta, pieces }: SavedState): Promise<void> {
    const restore = new SnapshotRestore();
    for await (const piece of pieces()) restore.push(piece);
    this.#store.replace(restore.finish().tables, Math.max(this.lastIndex, meta.Index) + 1);
  }

  stats(): Readonly<Record<string, string>> {
    const index = String(this.lastIndex);
    const servers = this.configuration.Servers.map(({ ID, Address }) => `{Suffrage:Voter ID:${ID} Address:${Address}}`);
    return {
      applied_index: index,
      commit_index: index,
      fsm_pending: '0',
      last_contact: '0',
      last_log_index: index,
      last_log_term: String(term),
      last_snapshot_index: '0',
      last_snapshot_term: '0',
      latest_configuration: `[${servers.join(' ')}]`,
      latest_configuration_index: '0',
      num_peers: '0',
      protocol_version: '3',
      protocol_version_max: '3',
      protocol_version_min: '0',
      snapshot_version_max: '1',
      snapshot_version_min: '0',
      state: 'Leader',
      term: String(term),
    };
  }
}

function refuseMembers(): Promise<never> {
  return Promise.reject(
    new CallError('this server keeps its state in memory and has no others; start it with a data directory instead'),
  );
}

async function* inTurns(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
