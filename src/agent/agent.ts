/**
 * The agent as the front doors see it: answers about itself, and takes requests for the registry. Nothing in here
 * waits for a server (DESIGN rule 10).
 */
import os from 'node:os';
import type { AgentAcl, AgentDoor, AgentSelf, EventDoor, MetricsSnapshot } from '../http/index.ts';
import { AgentRequestError } from '../http/index.ts';
import {
  type CheckDefinition,
  type CheckStatus,
  type HealthCheck,
  type Member,
  memberStatus,
  type NodeService,
  type ServiceDefinition,
  unmeasuredCoordinate,
} from '../model/index.ts';
import type { LogLevel } from '../ports/index.ts';
import type { LocalState } from './local-state.ts';
import type { Registry } from './registry.ts';

/** The Consul version whose protocols and API this agent speaks; clients parse it. */
export const compatibleVersion = '1.8.7';

/** Gossip protocol numbers of Consul 1.8 members. */
const protocol = {
  ProtocolMin: 1,
  ProtocolMax: 5,
  ProtocolCur: 2,
  DelegateMin: 2,
  DelegateMax: 5,
  DelegateCur: 4,
} as const;

export interface AgentFacts {
  readonly nodeName: string;
  readonly nodeId: string;
  readonly datacenter: string;
  readonly isServer: boolean;
  readonly bootstrap: boolean;
  readonly revision: string;
  readonly advertiseAddress: string;
  readonly ports: { readonly serfLan: number; readonly serfWan: number; readonly server: number };
  readonly disableCoordinates: boolean;
  /** Whether there is a port for proxies. */
  readonly grpcEnabled: boolean;
}

export interface AgentHooks {
  /** Without it ACLs are off. */
  readonly acl?: AgentAcl;
  readonly debugConfig: () => Readonly<Record<string, unknown>>;
  readonly nodeMeta: () => Readonly<Record<string, string>>;
  /** Figures of the log behind the catalog, for `info`. */
  readonly logStats: () => { readonly lastIndex: number };
  readonly metrics: () => MetricsSnapshot;
  readonly prometheusMetrics: () => string | null;
  readonly subscribeLog: (
    options: { readonly level: LogLevel; readonly json: boolean },
    onLine: (line: string) => void,
  ) => () => void;
  readonly reload: () => Promise<void>;
  /** Begins the leave; the process ends afterwards. */
  readonly leave: () => Promise<void>;
}

export class Agent implements AgentDoor {
  readonly events: EventDoor;
  readonly #facts: AgentFacts;
  readonly #state: LocalState;
  readonly #registry: Registry;
  readonly #hooks: AgentHooks;

  constructor(facts: AgentFacts, state: LocalState, registry: Registry, events: EventDoor, hooks: AgentHooks) {
    this.#facts = facts;
    this.events = events;
    this.#state = state;
    this.#registry = registry;
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
    const { nodeName, nodeId, datacenter, isServer, revision, disableCoordinates } = this.#facts;
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
      // Alone there is nobody to measure against.
      Coord: disableCoordinates ? null : unmeasuredCoordinate,
      Member: this.#member(),
      Stats: this.#stats(),
      Meta: this.#hooks.nodeMeta(),
      // There is a port for them, but no version of a proxy that this agent configures.
      ...(this.#facts.grpcEnabled ? { xDS: { SupportedProxies: {} } } : {}),
    };
  }

  #member(): Member {
    const { nodeName, nodeId, datacenter, isServer, bootstrap, advertiseAddress, ports, revision } = this.#facts;
    return {
      Name: nodeName,
      Addr: advertiseAddress,
      Port: ports.serfLan,
      Tags: {
        acls: this.#hooks.acl?.enabled === true ? '1' : '0',
        ...(bootstrap ? { bootstrap: '1' } : {}),
        build: `${compatibleVersion}:${revision}`,
        dc: datacenter,
        id: nodeId,
        ...(isServer ? { port: String(ports.server), raft_vsn: '3' } : {}),
        role: isServer ? 'consul' : 'node',
        segment: '',
        vsn: '2',
        vsn_max: '3',
        vsn_min: '2',
        ...(isServer && ports.serfWan > 0 ? { wan_join_port: String(ports.serfWan) } : {}),
      },
      Status: memberStatus.alive,
      ...protocol,
    };
  }

  #stats(): AgentSelf['Stats'] {
    const { isServer, bootstrap, advertiseAddress, ports, nodeId, revision } = this.#facts;
    const definitions = [...this.#state.checks.values()].map(({ definition }) => definition);
    const ttls = definitions.filter((definition) => definition?.ttlMs).length;
    const monitors = definitions.filter((definition) => definition?.scriptArgs && !definition.dockerContainerId).length;
    const index = String(this.#hooks.logStats().lastIndex);
    const leader = `${advertiseAddress}:${ports.server}`;
    const serf = {
      coordinate_resets: '0',
      encrypted: 'false',
      event_queue: '0',
      event_time: '1',
      failed: '0',
      health_score: '0',
      intent_queue: '0',
      left: '0',
      member_time: '1',
      members: '1',
      query_queue: '0',
      query_time: '1',
    };
    return {
      agent: {
        check_monitors: String(monitors),
        check_ttls: String(ttls),
        checks: String(this.#state.checks.size),
        services: String(this.#state.services.size),
      },
      build: { prerelease: '', revision, version: compatibleVersion },
      consul: {
        acl: this.#hooks.acl?.enabled === true ? 'enabled' : 'disabled',
        bootstrap: String(bootstrap),
        known_datacenters: '1',
        leader: 'true',
        leader_addr: leader,
        server: String(isServer),
      },
      raft: {
        applied_index: index,
        commit_index: index,
        fsm_pending: '0',
        last_contact: '0',
        last_log_index: index,
        last_log_term: '2',
        last_snapshot_index: '0',
        last_snapshot_term: '0',
        latest_configuration: `[{Suffrage:Voter ID:${nodeId} Address:${leader}}]`,
        latest_configuration_index: '0',
        num_peers: '0',
        protocol_version: '3',
        protocol_version_max: '3',
        protocol_version_min: '0',
        snapshot_version_max: '1',
        snapshot_version_min: '0',
        state: 'Leader',
        term: '2',
      },
      runtime: {
        arch: process.arch === 'x64' ? 'amd64' : process.arch,
        cpu_count: String(os.cpus().length),
        // Go's word for what runs at a time; here the event loop's open handles and requests.
        goroutines: String(process.getActiveResourcesInfo().length),
        max_procs: String(os.availableParallelism()),
        os: process.platform,
        version: `node${process.versions.node}`,
      },
      serf_lan: serf,
      serf_wan: serf,
    };
  }

  members({ wan }: { readonly wan: boolean }): readonly Member[] {
    const member = this.#member();
    if (!wan) return [member];
    const { nodeName, datacenter, ports } = this.#facts;
    return [{ ...member, Name: `${nodeName}.${datacenter}`, Port: ports.serfWan }];
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

  async join(address: string): Promise<void> {
    throw new AgentRequestError(
      500,
      `cannot join ${address}: this version of Portolan runs as one box (agent -dev) and has no gossip pool yet`,
    );
  }

  async forceLeave(node: string): Promise<void> {
    if (node === this.#facts.nodeName) return;
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
