/** How long commands take to be applied, by kind (`raft.fsm.apply`, `fsm.*`), whichever log they come from. */
import type { Clock, Metrics } from '../ports/index.ts';
import type { LogEntry, StateMachine } from '../raft/index.ts';
import { type Command, type CommandName, ReplicatedState, type StateStore } from '../state/index.ts';
import { aclCommandSamples } from './acl/command-samples.ts';

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

export function sampleCommand(metrics: Metrics, { type, request }: Command, tookMs: number): void {
  metrics.sample(applySample, tookMs);
  const labels = 'Op' in request ? [{ name: 'op', value: request.Op }] : [];
  metrics.sample(commandSamples[type], tookMs, labels);
}

/** The state that consensus replicates, with a watch in its hand. */
export class MeasuredState implements StateMachine {
  readonly #state: ReplicatedState;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  #command: Command | undefined;

  constructor(options: { readonly store: StateStore; readonly clock: Clock; readonly metrics: Metrics }) {
    this.#state = new ReplicatedState(options.store, (command) => (this.#command = command));
    this.#clock = options.clock;
    this.#metrics = options.metrics;
  }

  apply(entry: LogEntry): unknown {
    const startMs = this.#clock.monotonicMs();
    this.#command = undefined;
    const result = this.#state.apply(entry);
    // A chunk that is not the last is no command yet.
    if (this.#command !== undefined) {
      sampleCommand(this.#metrics, this.#command, this.#clock.monotonicMs() - startMs);
    }
    return result;
  }

  snapshot(): AsyncIterable<Uint8Array> {
    return this.#state.snapshot();
  }

  restore(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#state.restore(pieces);
  }
}
