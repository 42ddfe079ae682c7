/** The certificate authority, intentions and discovery chains on the wire (reference/server-rpc.md §4.12). */
import { converted, opt, record, type Shape, shapes, text } from '../../codec/index.ts';
import type {
  CAConfiguration,
  CAProviderState,
  CARequest,
  CARoot,
  CASignRequest,
  CALeafRequest,
  IssuedCert,
} from '../connect-ca.ts';
import type {
  CompiledDiscoveryChain,
  DiscoveryChainRequest,
  DiscoveryGraphNode,
  DiscoveryResolver,
  DiscoveryRoute,
  DiscoverySplit,
  DiscoveryTarget,
} from '../discovery-chain.ts';
import type { Intention, IntentionMatchEntry, IntentionQueryRequest, IntentionRequest } from '../intention.ts';
import type { RaftIndex } from '../catalog.ts';
import { meshGateway } from './catalog.ts';
import { resolverSubset, serviceRoute, weight } from './config-entry.ts';
import { givenIndexFields, queryOptionsFields, raftIndexFields, writeFields } from './parts.ts';

const { any, bool, bytes, durationNs, fullList, fullMap, index, int, list, localTime, map, nullable, str, time } =
  shapes;

const rootFields = {
  ID: str,
  Name: str,
  SerialNumber: index,
  SigningKeyID: str,
  ExternalTrustDomain: str,
  NotBefore: time,
  NotAfter: time,
  RootCert: str,
  IntermediateCerts: list(str),
  SigningCert: opt(str),
  SigningKey: opt(str),
  Active: bool,
  RotatedOutAt: opt(localTime),
  PrivateKeyType: str,
  PrivateKeyBits: int,
};
export const caRoot = record<CARoot>({ ...rootFields, ...raftIndexFields });
type GivenRoot = Omit<CARoot, keyof RaftIndex> & Partial<RaftIndex>;
const givenRoot = record<GivenRoot>({ ...rootFields, ...givenIndexFields });

const settingsFields = {
  Provider: str,
  Config: map(any),
  State: map(str),
  ForceWithoutCrossSigning: bool,
};
const configFields = { ClusterID: str, ...settingsFields };
export const caConfiguration = record<CAConfiguration>({ ...configFields, ...raftIndexFields });
type GivenConfig = Omit<CAConfiguration, keyof RaftIndex> & Partial<RaftIndex>;
export const givenCaConfiguration = record<GivenConfig>({ ...configFields, ...givenIndexFields });
/** Of a request: the cluster keeps its id. */
export const unnamedCaConfiguration = record<Omit<CAConfiguration, keyof RaftIndex | 'ClusterID'>>(settingsFields, {
  ClusterID: str,
  ...raftIndexFields,
});

export const caProviderState = record<CAProviderState>({
  ID: str,
  PrivateKey: str,
  RootCert: str,
  IntermediateCert: opt(str),
  ...givenIndexFields,
});

/** All that an operation may need; each has its part. */
interface WireCaRequest {
  readonly Op: CARequest['Op'];
  readonly Datacenter: string;
  readonly Token?: string;
  readonly Index?: number;
  readonly Roots?: readonly GivenRoot[];
  readonly Config?: GivenConfig;
  readonly ProviderState?: CAProviderState;
}
export const caRequest = converted<CARequest, WireCaRequest>(
  record<WireCaRequest>({
    Op: text<CARequest['Op']>(),
    Datacenter: str,
    Index: opt(index),
    Roots: opt(list(givenRoot)),
    Config: opt(nullable(givenCaConfiguration)),
    ProviderState: opt(nullable(caProviderState)),
    Token: writeFields.Token,
  }),
  { to: (request) => request, from: (request) => request as CARequest },
);
export const caLeafRequest = record<CALeafRequest>({
  Op: text<CALeafRequest['Op']>(),
  Datacenter: str,
  Token: writeFields.Token,
});

export const signRequest = record<CASignRequest>({ Datacenter: str, CSR: str, Token: writeFields.Token });
export const issuedCert = record<IssuedCert>({
  SerialNumber: str,
  CertPEM: str,
  PrivateKeyPEM: opt(str),
  Service: str,
  ServiceURI: str,
  Agent: opt(str),
  AgentURI: opt(str),
  ValidAfter: time,
  ValidBefore: time,
  ...raftIndexFields,
});

/** Its hash is never nil in memory. */
export const someBytes: Shape<Uint8Array> = converted<Uint8Array, Uint8Array | null>(bytes, {
  to: (value) => (value.length === 0 ? null : value),
  from: (value) => value ?? new Uint8Array(),
});
export const intention = record<Intention>({
  ID: str,
  Description: str,
  SourceNS: str,
  SourceName: str,
  DestinationNS: str,
  DestinationName: str,
  SourceType: str,
  Action: str,
  DefaultAddr: str,
  DefaultPort: int,
  Meta: map(str),
  Precedence: int,
  CreatedAt: time,
  UpdatedAt: time,
  Hash: someBytes,
  ...raftIndexFields,
});
const givenIntention = record<Partial<Intention>>({
  ID: opt(str),
  Description: opt(str),
  SourceNS: opt(str),
  SourceName: opt(str),
  DestinationNS: opt(str),
  DestinationName: opt(str),
  SourceType: opt(str),
  Action: opt(str),
  DefaultAddr: opt(str),
  DefaultPort: opt(int),
  Meta: opt(map(str)),
  Precedence: opt(int),
  CreatedAt: opt(time),
  UpdatedAt: opt(time),
  Hash: opt(bytes),
  ...givenIndexFields,
});
export const intentionRequest = record<IntentionRequest>({
  Datacenter: str,
  Op: text<IntentionRequest['Op']>(),
  Intention: givenIntention,
  Token: writeFields.Token,
});
export const intentionQuery = record<IntentionQueryRequest>({
  Datacenter: str,
  IntentionID: opt(str),
  Match: opt(
    nullable(
      record<NonNullable<IntentionQueryRequest['Match']>>({
        Type: text<'source' | 'destination'>(),
        Entries: fullList(record<IntentionMatchEntry>({ Namespace: str, Name: str })),
      }),
    ),
  ),
  Check: opt(
    nullable(
      record<NonNullable<IntentionQueryRequest['Check']>>({
        SourceNS: str,
        SourceName: str,
        DestinationNS: str,
        DestinationName: str,
        SourceType: str,
      }),
    ),
  ),
  ...queryOptionsFields,
});

export const chainRequest = record<DiscoveryChainRequest>({
  Name: str,
  EvaluateInDatacenter: opt(str),
  EvaluateInNamespace: opt(str),
  OverrideMeshGateway: opt(meshGateway),
  OverrideProtocol: opt(str),
  OverrideConnectTimeout: opt(durationNs),
  Datacenter: str,
  ...queryOptionsFields,
});
const resolver = record<DiscoveryResolver>({
  Default: bool,
  ConnectTimeout: durationNs,
  Target: str,
  Failover: opt(nullable(record<NonNullable<DiscoveryResolver['Failover']>>({ Targets: fullList(str) }))),
});
const graphNode = record<DiscoveryGraphNode>({
  Type: text<DiscoveryGraphNode['Type']>(),
  Name: str,
  Routes: opt(list(record<DiscoveryRoute>({ Definition: serviceRoute, NextNode: str }))),
  Splits: opt(list(record<DiscoverySplit>({ Weight: weight, NextNode: str }))),
  Resolver: opt(nullable(resolver)),
});
const target = record<DiscoveryTarget>({
  ID: str,
  Service: str,
  ServiceSubset: opt(str),
  Namespace: str,
  Datacenter: str,
  MeshGateway: meshGateway,
  Subset: resolverSubset,
  External: opt(bool),
  SNI: str,
  Name: str,
});
export const discoveryChain = record<CompiledDiscoveryChain>({
  ServiceName: str,
  Namespace: str,
  Datacenter: str,
  CustomizationHash: str,
  Protocol: str,
  StartNode: str,
  Nodes: fullMap(graphNode),
  Targets: fullMap(target),
});
