/** Nodes, services and checks on the wire (reference/server-rpc.md §4.1, §4.3, §4.4). */
import { nil, opt, record, shapes } from '../../codec/index.ts';
import type { DeregisterRequest, RegisterRequest, Unindexed } from '../calls.ts';
import type {
  CheckServiceNode,
  ConnectProxyConfig,
  ExposeConfig,
  ExposePath,
  HealthCheck,
  HealthCheckDefinition,
  MeshGatewayConfig,
  Node,
  NodeInfo,
  NodeService,
  RaftIndex,
  ServiceAddress,
  ServiceConnect,
  ServiceNode,
  Upstream,
  Weights,
} from '../catalog.ts';
import { givenIndexFields, raftIndexFields, rows, writeFields } from './parts.ts';

const { any, bool, durationNs, fullList, fullMap, index, int, list, map, nullable, str } = shapes;

type Given<T extends RaftIndex> = Unindexed<T> & Partial<RaftIndex>;

const nodeFields = {
  ID: str,
  Node: str,
  Address: str,
  Datacenter: str,
  TaggedAddresses: map(str),
  Meta: map(str),
};
export const node = record<Node>({ ...nodeFields, ...raftIndexFields });
export const givenNode = record<Given<Node>>({ ...nodeFields, ...givenIndexFields });

const serviceAddress = record<ServiceAddress>({ Address: str, Port: int });
const weights = record<Weights>({ Passing: int, Warning: int });
export const meshGateway = record<MeshGatewayConfig>({ Mode: opt(str) });
const exposePath = record<ExposePath>({
  ListenerPort: opt(int),
  Path: opt(str),
  LocalPathPort: opt(int),
  Protocol: opt(str),
  ParsedFromCheck: bool,
});
export const expose = record<ExposeConfig>({ Checks: opt(bool), Paths: opt(list(exposePath)) });
const upstream = record<Upstream>({
  DestinationType: str,
  DestinationNamespace: opt(str),
  DestinationName: str,
  Datacenter: str,
  LocalBindAddress: opt(str),
  LocalBindPort: int,
  Config: map(any),
  MeshGateway: meshGateway,
  IngressHosts: opt(list(str)),
});
export const proxyConfig = record<ConnectProxyConfig>({
  DestinationServiceName: opt(str),
  DestinationServiceID: opt(str),
  LocalServiceAddress: opt(str),
  LocalServicePort: opt(int),
  Config: opt(map(any)),
  Upstreams: opt(list(upstream)),
  MeshGateway: meshGateway,
  Expose: expose,
});
/** Nobody sends the definition of a sidecar to a server: the agent has made a service of it. */
export const serviceConnect = record<ServiceConnect>({ Native: opt(bool) }, { SidecarService: nil });

const serviceFields = {
  Kind: str,
  ID: str,
  Service: str,
  Tags: list(str),
  Address: str,
  TaggedAddresses: map(serviceAddress),
  Meta: map(str),
  Port: int,
  Weights: nullable(weights),
  EnableTagOverride: bool,
  Proxy: proxyConfig,
  Connect: serviceConnect,
  LocallyRegisteredAsSidecar: opt(bool),
};
export const nodeService = record<NodeService>({ ...serviceFields, ...raftIndexFields });
export const givenService = record<Given<NodeService>>({ ...serviceFields, ...givenIndexFields });

export const serviceNode = record<ServiceNode>({
  ...raftIndexFields,
  ID: str,
  Node: str,
  Address: str,
  Datacenter: str,
  TaggedAddresses: map(str),
  NodeMeta: map(str),
  ServiceKind: str,
  ServiceID: str,
  ServiceName: str,
  ServiceTags: fullList(str),
  ServiceAddress: str,
  ServiceTaggedAddresses: map(serviceAddress),
  ServiceWeights: weights,
  ServiceMeta: fullMap(str),
  ServicePort: int,
  ServiceEnableTagOverride: bool,
  ServiceProxy: proxyConfig,
  ServiceConnect: serviceConnect,
});

const definition = record<HealthCheckDefinition>({
  HTTP: opt(str),
  TLSSkipVerify: opt(bool),
  Header: opt(map(fullList(str))),
  Method: opt(str),
  Body: opt(str),
  TCP: opt(str),
  Interval: opt(durationNs),
  OutputMaxSize: opt(index),
  Timeout: opt(durationNs),
  DeregisterCriticalServiceAfter: opt(durationNs),
  ScriptArgs: opt(list(str)),
  DockerContainerID: opt(str),
  Shell: opt(str),
  GRPC: opt(str),
  GRPCUseTLS: opt(bool),
  AliasNode: opt(str),
  AliasService: opt(str),
  TTL: opt(durationNs),
});
const checkFields = {
  Node: str,
  CheckID: str,
  Name: str,
  Status: str,
  Notes: str,
  Output: str,
  ServiceID: str,
  ServiceName: str,
  ServiceTags: list(str),
  Type: str,
  Definition: definition,
};
export const healthCheck = record<HealthCheck>({ ...checkFields, ...raftIndexFields });
export const givenCheck = record<Given<HealthCheck>>({ ...checkFields, ...givenIndexFields });

export const checkServiceNode = record<CheckServiceNode>({
  Node: node,
  Service: nodeService,
  Checks: rows(healthCheck),
});

export const nodeInfo = record<NodeInfo>({
  ID: str,
  Node: str,
  Address: str,
  TaggedAddresses: map(str),
  Meta: map(str),
  Services: fullList(nodeService),
  Checks: fullList(healthCheck),
});

export const registerFields = {
  Datacenter: str,
  ID: opt(str),
  Node: str,
  Address: str,
  TaggedAddresses: opt(map(str)),
  NodeMeta: opt(map(str)),
  Service: opt(nullable(givenService)),
  Check: opt(nullable(givenCheck)),
  Checks: opt(list(givenCheck)),
  SkipNodeUpdate: opt(bool),
  Token: writeFields.Token,
};
export const registerRequest = record<RegisterRequest>(registerFields, raftIndexFields);

export const deregisterRequest = record<DeregisterRequest>({
  ...writeFields,
  Node: str,
  ServiceID: opt(str),
  CheckID: opt(str),
});
