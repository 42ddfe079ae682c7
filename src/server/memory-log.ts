/**
 * The log of a single server without a disk (`-dev`): nobody to agree with and nothing to keep, so a command is applied
 * the moment it is proposed.
 */
import { CallError } from '../model/index.ts';
import type { Clock, Metrics } from '../ports/index.ts';
import type { CommandName, CommandOf, CommandResult, StateStore } from '../state/index.ts';
import { aclCommandSamples } from './acl/command-samples.ts';
import type { CommandLog } from './command-log.ts';

const applyCounter: readonly string[] = ['raft', 'apply'];
const applySample: readonly string[] = ['raft', 'fsm', 'apply'];
const commandSamples: Readonly<Record<CommandName, readonly string[]>> = {
  ...aclCommandSamples,
  Register: ['fsm', 'register'],
  Deregister: ['fsm', 'deregister'],
  KVS: ['fsm', 'kvs'],
  Session: ['fsm', 'session'],
  Tombstone: ['fsm', 'tombstone'],
  Txn: ['fsm', 'txn'],
  Coordinate: ['fsm', 'coordinate', 'batch-update'],
  PreparedQuery: ['fsm', 'prepared-query'],
  Autopilot: ['fsm', 'autopilot'],
  Intention: ['fsm', 'intention'],
  ConnectCA: ['fsm', 'ca'],
  ConnectCALeaf: ['fsm', 'ca', 'leaf'],
  ConfigEntry: ['fsm', 'config_entry'],
  FederationState: ['fsm', 'federation_state'],
};

/**
 * The first command's index. As in a log with consensus, whose first entry is its configuration, no command has 1: that
 * is the index of an answer about nothing, and what is created first must be greater.
 */
const firstIndex = 2;

export class MemoryLog implements CommandLog {
  readonly isLeader = true;
  readonly term = 1;
  readonly configurationIndex = 1;
  readonly lastContactNs = 0;
  readonly leaderAddress: string;
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #metrics: Metrics;

  /** @param options.address `host:port` of this server. */
  constructor(options: {
    readonly store: StateStore;
    readonly address: string;
    readonly clock: Clock;
    readonly metrics: Metrics;
  }) {
    this.leaderAddress = options.address;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
  }

  get lastIndex(): number {
    return this.#store.lastIndex;
  }

  get peers(): readonly string[] {
    return [this.leaderAddress];
  }

  removePeer(): Promise<void> {
    return Promise.reject(new CallError('need at least one voter in configuration: this is the only server'));
  }

  // oxlint-disable-next-line require-await -- a failure must become a rejection, and nothing here waits
  async propose<T extends CommandName>(command: CommandOf<T>): Promise<CommandResult<T>> {
    const startMs = this.#clock.monotonicMs();
    this.#metrics.count(applyCounter);
    try {
      return this.#store.apply(Math.max(firstIndex, this.#store.lastIndex + 1), command);
    } finally {
      const tookMs = this.#clock.monotonicMs() - startMs;
      this.#metrics.sample(applySample, tookMs);
      const { request } = command;
      const labels = 'Op' in request ? [{ name: 'op', value: request.Op }] : [];
      this.#metrics.sample(commandSamples[command.type], tookMs, labels);
    }
  }
}
