/**
 * The catalog's records, with the field names of Consul's wire (DESIGN rule 2). Records are immutable once stored.
 * nil and empty are different values to the state store (reference/raft.md §6.4), so lists and maps may be null.
 * Durations in records are nanoseconds, as on the wire.
 */
export interface RaftIndex {
  /** Log index of the write that created the record. */
  readonly CreateIndex: number;
  /** Log index of the last write that changed it. */
  readonly ModifyIndex: number;
}

export interface Node extends RaftIndex {
  /** UUID or "". */
  readonly ID: string;
  readonly Node: string;
  readonly Address: string;
  readonly Datacenter: string;
  readonly TaggedAddresses: Readonly<Record<string, string>> | null;
  readonly Meta: Readonly<Record<string, string>> | null;
}

export interface ServiceAddress {
  readonly Address: string;
  readonly Port: number;
}

export interface Weights {
  readonly Passing: number;
  readonly Warning: number;
}

export interface MeshGatewayConfig {
  readonly Mode?: string;
}

export interface ExposePath {
  readonly ListenerPort?: number;
  readonly Path?: string;
  readonly LocalPathPort?: number;
  readonly Protocol?: string;
  readonly ParsedFromCheck: boolean;
}

export interface ExposeConfig {
  readonly Checks?: boolean;
  readonly Paths?: readonly ExposePath[];
}

export interface Upstream {
  readonly DestinationType: string;
  readonly DestinationNamespace?: string;
  readonly DestinationName: string;
  readonly Datacenter: string;
  readonly LocalBindAddress?: string;
  readonly LocalBindPort: number;
  readonly Config: Readonly<Record<string, unknown>> | null;
  readonly MeshGateway: MeshGatewayConfig;
  /** Names an ingress gateway answers to for this upstream. */
  readonly IngressHosts?: readonly string[] | null;
}

export interface ConnectProxyConfig {
  readonly DestinationServiceName?: string;
  readonly DestinationServiceID?: string;
  readonly LocalServiceAddress?: string;
  readonly LocalServicePort?: number;
  readonly Config?: Readonly<Record<string, unknown>> | null;
  readonly Upstreams?: readonly Upstream[] | null;
  readonly MeshGateway: MeshGatewayConfig;
  readonly Expose: ExposeConfig;
}

export interface ServiceConnect {
  readonly Native?: boolean;
}

/** "" is a typical service. */
export type ServiceKind = string;

export interface NodeService extends RaftIndex {
  readonly Kind: ServiceKind;
  readonly ID: string;
  readonly Service: string;
  readonly Tags: readonly string[] | null;
  readonly Address: string;
  readonly TaggedAddresses: Readonly<Record<string, ServiceAddress>> | null;
  readonly Meta: Readonly<Record<string, string>> | null;
  readonly Port: number;
  readonly Weights: Weights | null;
  readonly EnableTagOverride: boolean;
  readonly Proxy: ConnectProxyConfig;
  readonly Connect: ServiceConnect;
  readonly LocallyRegisteredAsSidecar?: boolean;
}

export const emptyProxy: ConnectProxyConfig = Object.freeze({
  MeshGateway: Object.freeze({}),
  Expose: Object.freeze({}),
});
export const emptyConnect: ServiceConnect = Object.freeze({});

/** A service in which nothing is given: decoders lay what they read over it. */
export const emptyService: Omit<NodeService, keyof RaftIndex> = Object.freeze({
  Kind: '',
  ID: '',
  Service: '',
  Tags: null,
  Address: '',
  TaggedAddresses: null,
  Meta: null,
  Port: 0,
  Weights: null,
  EnableTagOverride: false,
  Proxy: emptyProxy,
  Connect: emptyConnect,
});

/** A service joined with its node's columns, as `Catalog.ServiceNodes` returns it. */
export interface ServiceNode extends RaftIndex {
  readonly ID: string;
  readonly Node: string;
  readonly Address: string;
  readonly Datacenter: string;
  readonly TaggedAddresses: Readonly<Record<string, string>> | null;
  readonly NodeMeta: Readonly<Record<string, string>> | null;
  readonly ServiceKind: ServiceKind;
  readonly ServiceID: string;
  readonly ServiceName: string;
  readonly ServiceTags: readonly string[];
  readonly ServiceAddress: string;
  readonly ServiceTaggedAddresses: Readonly<Record<string, ServiceAddress>> | null;
  readonly ServiceWeights: Weights;
  readonly ServiceMeta: Readonly<Record<string, string>>;
  readonly ServicePort: number;
  readonly ServiceEnableTagOverride: boolean;
  readonly ServiceProxy: ConnectProxyConfig;
  readonly ServiceConnect: ServiceConnect;
}

export const checkStatuses = ['passing', 'warning', 'critical'] as const;
export type CheckStatus = (typeof checkStatuses)[number];

/** Server form of a check's definition; the agent leaves it empty for its own checks. Durations in ns. */
export interface HealthCheckDefinition {
  readonly HTTP?: string;
  readonly TLSSkipVerify?: boolean;
  readonly Header?: Readonly<Record<string, readonly string[]>> | null;
  readonly Method?: string;
  readonly Body?: string;
  readonly TCP?: string;
  readonly Interval?: number;
  readonly OutputMaxSize?: number;
  readonly Timeout?: number;
  readonly DeregisterCriticalServiceAfter?: number;
  readonly ScriptArgs?: readonly string[] | null;
  readonly DockerContainerID?: string;
  readonly Shell?: string;
  readonly GRPC?: string;
  readonly GRPCUseTLS?: boolean;
  readonly AliasNode?: string;
  readonly AliasService?: string;
  readonly TTL?: number;
}

export interface HealthCheck extends RaftIndex {
  readonly Node: string;
  readonly CheckID: string;
  readonly Name: string;
  /** One of {@link CheckStatus}; servers store any string. */
  readonly Status: string;
  readonly Notes: string;
  readonly Output: string;
  /** "" for a node-level check. */
  readonly ServiceID: string;
  readonly ServiceName: string;
  readonly ServiceTags: readonly string[] | null;
  /** `ttl http tcp grpc script docker alias maintenance`, "" when untyped. */
  readonly Type: string;
  readonly Definition: HealthCheckDefinition;
}

export const emptyCheckDefinition: HealthCheckDefinition = Object.freeze({});

/** A check's definition as the peer's client library shows it to programs: these fields are always there. */
export const shownEmptyCheckDefinition = {
  Interval: '0s',
  Timeout: '0s',
  DeregisterCriticalServiceAfter: '0s',
  HTTP: '',
  Header: null,
  Method: '',
  Body: '',
  TLSSkipVerify: false,
  TCP: '',
} as const;

export interface CheckServiceNode {
  readonly Node: Node;
  readonly Service: NodeService;
  readonly Checks: readonly HealthCheck[];
}

/** Node as the UI reads it: with its services and checks. */
export interface NodeInfo {
  readonly ID: string;
  readonly Node: string;
  readonly Address: string;
  readonly TaggedAddresses: Readonly<Record<string, string>> | null;
  readonly Meta: Readonly<Record<string, string>> | null;
  readonly Services: readonly NodeService[];
  readonly Checks: readonly HealthCheck[];
}

/** The check every member gets from the leader. */
export const serfHealthCheckId = 'serfHealth';
export const serfHealthCheckName = 'Serf Health Status';
export const serfHealthAliveOutput = 'Agent alive and reachable';
/** The service every server registers for itself. */
export const consulServiceId = 'consul';
export const consulServiceName = 'consul';
export const nodeMaintenanceCheckId = '_node_maintenance';
export const serviceMaintenanceCheckPrefix = '_service_maintenance:';
