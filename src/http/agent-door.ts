/**
 * What the HTTP server needs from the agent it fronts. The agent (a floor above) implements this; the HTTP server
 * never reaches into it. Everything here is local and never waits for the network (DESIGN rule 10).
 */
import type { LogLevel } from '../ports/index.ts';
import type { AgentAcl } from './agent-acl.ts';
import type {
  CheckDefinition,
  CheckStatus,
  HealthCheck,
  Member,
  NodeService,
  ServiceDefinition,
  UserEvent,
  WriteRequest,
} from '../model/index.ts';

/** Answer of `/v1/agent/self`. */
export interface AgentSelf {
  readonly Config: {
    readonly Datacenter: string;
    readonly NodeName: string;
    readonly NodeID: string;
    readonly Revision: string;
    readonly Server: boolean;
    readonly Version: string;
  };
  readonly DebugConfig: Readonly<Record<string, unknown>>;
  readonly Coord: {
    readonly Vec: readonly number[];
    readonly Error: number;
    readonly Adjustment: number;
    readonly Height: number;
  } | null;
  readonly Member: Member;
  readonly Stats: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly Meta: Readonly<Record<string, string>>;
  /** Absent while no proxy can be served. */
  readonly xDS?: { readonly SupportedProxies: Readonly<Record<string, readonly string[]>> };
}

/** A value of `/v1/agent/metrics` (reference/agent.md §6). */
export interface MetricsSnapshot {
  readonly Timestamp: string;
  readonly Gauges: readonly {
    readonly Name: string;
    readonly Value: number;
    readonly Labels: Readonly<Record<string, string>>;
  }[];
  readonly Points: readonly never[];
  readonly Counters: readonly MetricAggregate[];
  readonly Samples: readonly MetricAggregate[];
}

export interface MetricAggregate {
  readonly Name: string;
  readonly Count: number;
  readonly Rate: number;
  readonly Sum: number;
  readonly Min: number;
  readonly Max: number;
  readonly Mean: number;
  readonly Stddev: number;
  readonly Labels: Readonly<Record<string, string>>;
}

/** User events of this agent. */
export interface EventDoor {
  /** The last events that are for this agent, newest last. */
  readonly events: readonly UserEvent[];
  /** Calls back after every further one, until the returned function is called. */
  onEvent(callback: () => void): () => void;
  /**
   * Sends an event to every agent of the datacenter; resolves when it is on its way.
   * @throws CallError for filters that are not regular expressions, and for events that are too large.
   */
  fire(event: Omit<UserEvent, 'ID' | 'Version' | 'LTime'>, target: WriteRequest): Promise<UserEvent>;
}

export interface AgentDoor {
  readonly nodeName: string;
  readonly datacenter: string;
  readonly events: EventDoor;
  /** Without it ACLs are off. */
  readonly acl?: AgentAcl | undefined;
  self(): AgentSelf;
  members(options: { readonly wan: boolean }): readonly Member[];
  /** Services of this agent by ID (the server's own `consul` service is not among them). */
  services(): ReadonlyMap<string, NodeService>;
  /** Checks of this agent by ID. */
  checks(): ReadonlyMap<string, HealthCheck>;
  /** Calls back after every change of local services or checks, until the returned function is called. */
  onLocalChange(callback: () => void): () => void;
  /**
   * Registers; the definition is complete in itself and replaces an existing one of the same ID.
   * @throws AgentRequestError for everything the user can mend.
   */
  registerService(
    definition: ServiceDefinition,
    options: { readonly token: string; readonly replaceExistingChecks: boolean },
  ): Promise<void>;
  /** Removes the service, its checks and its sidecar; an unknown ID succeeds. */
  deregisterService(id: string): Promise<void>;
  registerCheck(definition: CheckDefinition, options: { readonly token: string }): Promise<void>;
  deregisterCheck(id: string): Promise<void>;
  /** @throws AgentRequestError (500) `CheckID "x" does not have associated TTL`. */
  updateTtlCheck(id: string, status: CheckStatus, output: string): Promise<void>;
  /** @throws AgentRequestError (404) `No service registered with ID "x"`. */
  setServiceMaintenance(id: string, enable: boolean, reason: string, token: string): Promise<void>;
  setNodeMaintenance(enable: boolean, reason: string, token: string): Promise<void>;
  join(address: string, wan: boolean): Promise<void>;
  forceLeave(node: string, prune: boolean): Promise<void>;
  /** Answers when the others know; the process ends afterwards. */
  leave(): Promise<void>;
  reload(): Promise<void>;
  metrics(): MetricsSnapshot;
  /** Prometheus text format 0.0.4; null when the retention time is not positive. */
  prometheusMetrics(): string | null;
  /** Streams log lines (text or JSON, without line feed) at `level` and above until the returned function is called. */
  monitor(options: { readonly level: LogLevel; readonly json: boolean }, onLine: (line: string) => void): () => void;
}

/** A request the agent refused, with the HTTP status and text that Consul gives. */
export class AgentRequestError extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.name = 'AgentRequestError';
    this.statusCode = statusCode;
  }
}
