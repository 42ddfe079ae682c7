/**
 * The agent as the front doors see it: answers about itself, and takes requests for the registry. Nothing in here
 * waits for a server (DESIGN rule 10).
 */
import os from 'node:os';
import { multiErrorText } from '../lib/index.ts';
import type { AgentAcl, AgentDoor, AgentSelf, EventDoor, MetricsSnapshot } from '../http/index.ts';
import { AgentRequestError } from '../http/index.ts';
import {
  type CheckDefinition,
  type CheckStatus,
  type HealthCheck,
  type Member,
  type NodeService,
  type ServiceDefinition,
} from '../model/index.ts';
import type { LogLevel } from '../ports/index.ts';
import type { LocalState } from './local-state.ts';
import type { Membership } from './membership.ts';
import type { Registry } from './registry.ts';

/** The Consul version whose protocols and API this agent speaks; clients parse it. */
export const compatibleVersion = '1.8.7';

export interface AgentFacts {
  readonly nodeName: string;
  readonly nodeId: string;
  readonly datacenter: string;
  readonly isServer: boolean;
  readonly revision: string;
  /** Whether there is a port for proxies. */
  readonly grpcEnabled: boolean;
}

export interface AgentHooks {
  /** Without it ACLs are off. */
  readonly acl?: AgentAcl;
  readonly debugConfig: () => Readonly<Record<string, unknown>>;
  readonly nodeMeta: () => Readonly<Record<string, string>>;
  /** Figures of what stands behind this agent's calls, for `info`: sections `consul` and, of a server, `raft`. */
  readonly clusterStats: () => AgentSelf['Stats'];
  readonly metrics: () => MetricsSnapshot;
  readonly prometheusMetrics: () => string | null;
  readonly subscribeLog: (
    options: { readonly level: LogLevel; readonly json: boolean },
    onLine: (line: string) => void,
  ) => () => void;
  readonly reload: () => Promise<void>;
  /** Resolves when the others know; the process ends afterwards. */
  readonly leave: () => Promise<void>;
}

export class Agent implements AgentDoor {
  readonly events: EventDoor;
  readonly #facts: AgentFacts;
  readonly #state: LocalState;
  readonly #registry: Registry;
  readonly #membership: Membership;
  readonly #hooks: AgentHooks;

  constructor(
    facts: AgentFacts,
    parts: {
      readonly state: LocalState;
      readonly registry: Registry;
      readonly events: EventDoor;
      readonly membership: Membership;
    },
    hooks: AgentHooks,
  ) {
    this.#facts = facts;
    this.events = parts.events;
    this.#state = parts.state;
    this.#registry = parts.registry;
    this.#membership = parts.membership;
    this.#hooks = hooks;
  }

  get nodeName(): string {
    return this.#facts.nodeName;
  }

  get datacenter(): string {
    return this.#facts.datacenter;
  }

  get acl(): AgentAcl | undefined {
    return this.#hooks.acl;
  }

  self(): AgentSelf {
    const { nodeName, nodeId, datacenter, isServer, revision } = this.#facts;
    return {
      Config: {
        Datacenter: datacenter,
        NodeName: nodeName,
        NodeID: nodeId,
        Revision: revision,
        Server: isServer,
        Version: compatibleVersion,
      },
      DebugConfig: this.#hooks.debugConfig(),
      Coord: this.#membership.coordinate,
      Member: this.#membership.self,
      Stats: this.#stats(),
      Meta: this.#hooks.nodeMeta(),
      // There is a port for them, but no version of a proxy that this agent configures.
      ...(this.#facts.grpcEnabled ? { xDS: { SupportedProxies: {} } } : {}),
    };
  }

  #stats(): AgentSelf['Stats'] {
    const definitions = [...this.#state.checks.values()].map(({ definition }) => definition);
    const ttls = definitions.filter((definition) => definition?.ttlMs).length;
    const monitors = definitions.filter((definition) => definition?.scriptArgs && !definition.dockerContainerId).length;
    const { lan, wan } = this.#membership;
    return {
      agent: {
        check_monitors: String(monitors),
        check_ttls: String(ttls),
        checks: String(this.#state.checks.size),
        services: String(this.#state.services.size),
      },
      build: { prerelease: '', revision: this.#facts.revision, version: compatibleVersion },
      ...this.#hooks.clusterStats(),
      runtime: {
        arch: process.arch === 'x64' ? 'amd64' : process.arch,
        cpu_count: String(os.cpus().length),
        // Go's word for what runs at a time; here the event loop's open handles and requests.
        goroutines: String(process.getActiveResourcesInfo().length),
        max_procs: String(os.availableParallelism()),
        os: process.platform,
        version: `node${process.versions.node}`,
      },
      serf_lan: lan.stats,
      ...(wan === undefined ? {} : { serf_wan: wan.stats }),
    };
  }

  members(options: { readonly wan: boolean }): readonly Member[] {
    return this.#membership.members(options);
  }

  services(): ReadonlyMap<string, NodeService> {
    return this.#state.serviceRecords;
  }

  checks(): ReadonlyMap<string, HealthCheck> {
    return this.#state.checkRecords;
  }

  onLocalChange(callback: () => void): () => void {
    return this.#state.onChange(callback);
  }

  async registerService(
    definition: ServiceDefinition,
    options: { readonly token: string; readonly replaceExistingChecks: boolean },
  ): Promise<void> {
    await this.#registry.registerService(definition, { ...options, origin: 'api' });
  }

  async deregisterService(id: string): Promise<void> {
    await this.#registry.deregisterService(id);
  }

  async registerCheck(definition: CheckDefinition, { token }: { readonly token: string }): Promise<void> {
    await this.#registry.registerCheck(definition, { token, origin: 'api' });
  }

  async deregisterCheck(id: string): Promise<void> {
    await this.#registry.deregisterCheck(id);
  }

  async updateTtlCheck(id: string, status: CheckStatus, output: string): Promise<void> {
    await this.#registry.updateTtlCheck(id, status, output);
  }

  async setServiceMaintenance(id: string, enable: boolean, reason: string, token: string): Promise<void> {
    await this.#registry.setServiceMaintenance(id, enable, reason, token);
  }

  async setNodeMaintenance(enable: boolean, reason: string, token: string): Promise<void> {
    await this.#registry.setNodeMaintenance(enable, reason, token);
  }

  async join(address: string, wan: boolean): Promise<void> {
    let problems: readonly string[];
    try {
      const { joined, errors } = await this.#membership.join([address], { wan });
      if (joined > 0) return;
      problems = errors;
    } catch (error) {
      throw new AgentRequestError(500, error instanceof Error ? error.message : String(error));
    }
    throw new AgentRequestError(500, multiErrorText(problems));
  }

  async forceLeave(node: string, prune: boolean): Promise<void> {
    if (await this.#membership.forceLeave(node, prune)) return;
    throw new AgentRequestError(500, `agent: No node found with name '${node}'`);
  }

  async leave(): Promise<void> {
    await this.#hooks.leave();
  }

  async reload(): Promise<void> {
    await this.#hooks.reload();
  }

  metrics(): MetricsSnapshot {
    return this.#hooks.metrics();
  }

  prometheusMetrics(): string | null {
    return this.#hooks.prometheusMetrics();
  }

  monitor(options: { readonly level: LogLevel; readonly json: boolean }, onLine: (line: string) => void): () => void {
    return this.#hooks.subscribeLog(options, onLine);
  }
}
