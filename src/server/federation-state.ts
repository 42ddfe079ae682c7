/**
 * `FederationState.*`: where the mesh gateways of each datacenter are (reference/server-rpc.md §4.13), and the leader's
 * duty to say so of its own (reference/raft.md §3.10).
 */
import { CallError, type CheckServiceNode } from '../model/index.ts';
import type { Clock, Logger } from '../ports/index.ts';
import { serviceDump, type StateStore } from '../state/index.ts';
import type { CommandLog } from './command-log.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';

const gatewayKind = 'mesh-gateway';
/** Between two looks (ms): gateways move rarely, and a look walks over all services. Also after a failed write. */
const pauseMs = 10_000;

type Calls =
  | 'FederationState.Apply'
  | 'FederationState.Get'
  | 'FederationState.List'
  | 'FederationState.ListMeshGateways';

export function federationStateHandlers(endpoint: Endpoint): Handlers<Calls> {
  const { store, queries, log } = endpoint;
  return {
    'FederationState.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      if (!request.State) throw new CallError('missing federation state');
      return (await log.propose({ type: 'FederationState', request })) ?? false;
    },
    'FederationState.Get': (request, signal) => {
      requireDatacenter(endpoint, { Datacenter: request.TargetDatacenter });
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.federationStates.get(request.Datacenter, watch);
          return { ...queryMeta(endpoint, index), State: result ?? null };
        },
        signal,
      );
    },
    'FederationState.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.federationStates.list(watch);
          return { ...queryMeta(endpoint, index), States: result };
        },
        signal,
      );
    },
    'FederationState.ListMeshGateways': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.federationStates.list(watch);
          const DatacenterNodes = Object.fromEntries(
            result
              .filter(({ MeshGateways }) => (MeshGateways ?? []).length > 0)
              .map(({ Datacenter, MeshGateways }) => [Datacenter, MeshGateways ?? []]),
          );
          return { ...queryMeta(endpoint, index), DatacenterNodes };
        },
        signal,
      );
    },
  };
}

/** Writes the own datacenter's state when there is none or its mesh gateways have changed. */
export class FederationStateUpkeep {
  readonly #store: StateStore;
  readonly #log: CommandLog;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #datacenter: string;
  readonly #follow: boolean;
  /** Ends the wait for the next look; null while this server does not lead. */
  #letGo: (() => void) | null = null;

  constructor(parts: {
    readonly store: StateStore;
    readonly log: CommandLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly datacenter: string;
    /** Whether there can be gateways at all; else the state is written once. */
    readonly follow: boolean;
  }) {
    this.#store = parts.store;
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#datacenter = parts.datacenter;
    this.#follow = parts.follow;
  }

  /** Takes up the duty; resolves when the state has been written once, or has failed to be. */
  async start(): Promise<void> {
    this.#letGo ??= () => undefined;
    await this.#look();
  }

  stop(): void {
    this.#letGo?.();
    this.#letGo = null;
  }

  /** Writes until nothing is left to write, then waits for the next change. */
  async #look(): Promise<void> {
    while (this.#letGo !== null) {
      const watch: string[] = [];
      const gateways = serviceDump(this.#store, gatewayKind, watch).result;
      const known = this.#store.federationStates.get(this.#datacenter, watch).result;
      if (known !== undefined && sameInstances(known.MeshGateways ?? [], gateways)) {
        if (this.#follow) this.#letGo = this.#store.watch(watch, () => this.#lookLater());
        return;
      }
      try {
        await this.#write(gateways);
      } catch (error) {
        this.#logger.warn('could not write the federation state', { error });
        this.#lookLater();
        return;
      }
    }
  }

  #lookLater(): void {
    if (this.#letGo === null) return;
    const timer = this.#clock.after(pauseMs, () => void this.#look());
    this.#letGo = () => timer.cancel();
  }

  async #write(gateways: readonly CheckServiceNode[]): Promise<void> {
    const State = {
      Datacenter: this.#datacenter,
      MeshGateways: gateways.length === 0 ? null : gateways,
      UpdatedAt: new Date(this.#clock.wallMs()).toISOString(),
      PrimaryModifyIndex: 0,
    };
    await this.#log.propose({
      type: 'FederationState',
      request: { Datacenter: this.#datacenter, Op: 'upsert', State },
    });
  }
}

/** Records are immutable, so their indexes tell whether anything about them has changed. */
function sameInstances(a: readonly CheckServiceNode[], b: readonly CheckServiceNode[]): boolean {
  const marks = (all: readonly CheckServiceNode[]): string =>
    JSON.stringify(
      all.map(({ Node, Service, Checks }) => [
        [Node.Node, Node.ModifyIndex],
        [Service.ID, Service.ModifyIndex],
        ...Checks.map(({ CheckID, ModifyIndex }) => [CheckID, ModifyIndex]),
      ]),
    );
  return marks(a) === marks(b);
}
