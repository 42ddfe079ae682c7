/**
 * Calls that only agents and servers make of servers, for replication, proxies and the cluster itself
 * (reference/server-rpc.md §4). None of them has a front door of its own here.
 */
import type { ACLPolicy, ACLRole, ACLToken, LegacyACL } from './acl.ts';
import type { ExposeConfig, MeshGatewayConfig } from './catalog.ts';
import type { CARoot, CASignRequest, IssuedCert } from './connect-ca.ts';
import type { DCRequest, DCSpecificRequest, QueryMeta } from './query.ts';

/** How a server's log stands; the leader asks every 2 s. */
export interface ServerStats {
  /** Go duration since it heard from the leader, `0` on the leader, `never`. */
  readonly LastContact: string;
  readonly LastTerm: number;
  readonly LastIndex: number;
}

export interface KeyringRequest extends DCRequest {
  readonly Operation: 'list' | 'install' | 'use' | 'remove';
  /** Base64; "" for `list`. */
  readonly Key: string;
  /** From a server that has asked its own pools: only the LAN is left. */
  readonly Forwarded: boolean;
  /** Through how many other members each answer comes as well, for bad networks. */
  readonly RelayFactor: number;
  readonly LocalOnly: boolean;
}

export interface KeyringResponse {
  readonly WAN: boolean;
  readonly Datacenter: string;
  readonly Segment: string;
  /** What went wrong, by member. */
  readonly Messages: Readonly<Record<string, string>> | null;
  /** How many members have each key. */
  readonly Keys: Readonly<Record<string, number>> | null;
  readonly PrimaryKeys: Readonly<Record<string, number>> | null;
  readonly NumNodes: number;
  readonly Error: string;
}

export interface ServiceConfigRequest extends DCRequest {
  readonly Name: string;
  readonly Upstreams: readonly string[] | null;
  readonly UpstreamIDs: readonly { readonly ID: string }[] | null;
}

type FreeMap = Readonly<Record<string, unknown>>;

/** Settings of a service's proxy, put together from its config entries. */
export interface ServiceConfigResponse extends QueryMeta {
  readonly ProxyConfig: FreeMap | null;
  readonly UpstreamConfigs: Readonly<Record<string, FreeMap | null>> | null;
  readonly UpstreamIDConfigs:
    | readonly { readonly Upstream: { readonly ID: string }; readonly Config: FreeMap | null }[]
    | null;
  readonly MeshGateway: MeshGatewayConfig;
  readonly Expose: ExposeConfig;
}

/** What an agent of the time before policies knows a token by. */
export interface LegacyPolicyRequest extends DCRequest {
  readonly ACL: string;
  readonly ETag: string;
}

export interface LegacyPolicyResponse extends QueryMeta {
  readonly ETag: string;
  readonly Parent: string;
  readonly Policy: unknown;
  /** ns. */
  readonly TTL: number;
}

export interface CARoots extends QueryMeta {
  readonly ActiveRootID: string;
  readonly TrustDomain: string;
  readonly Roots: readonly CARoot[];
}

/** A client agent's certificate and what it needs to trust the others. */
export interface AutoEncryptReply {
  readonly IssuedCert: IssuedCert;
  readonly ConnectCARoots: CARoots;
  readonly ManualCARoots: readonly string[] | null;
  readonly GossipKey: string;
  readonly VerifyServerHostname: boolean;
}

type Policies = QueryMeta & { readonly Policies: readonly ACLPolicy[] };
type Roles = QueryMeta & { readonly Roles: readonly ACLRole[] };

export interface ServerCalls {
  'Status.RaftStats': { request: null; reply: ServerStats };
  'Catalog.ServiceList': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly Services: readonly { readonly Name: string }[] };
  };
  /** PEM of an intermediate certificate, for the leader of a secondary datacenter. */
  'ConnectCA.SignIntermediate': { request: CASignRequest; reply: string };
  'ACL.Bootstrap': { request: DCRequest; reply: LegacyACL };
  'ACL.TokenBatchRead': {
    request: DCRequest & { readonly AccessorIDs: readonly string[] };
    reply: QueryMeta & { readonly Tokens: readonly ACLToken[]; readonly Redacted: boolean; readonly Removed: boolean };
  };
  'ACL.PolicyBatchRead': { request: DCRequest & { readonly PolicyIDs: readonly string[] }; reply: Policies };
  /** Only policies that the caller's token has. */
  'ACL.PolicyResolve': { request: DCRequest & { readonly PolicyIDs: readonly string[] }; reply: Policies };
  'ACL.RoleBatchRead': { request: DCRequest & { readonly RoleIDs: readonly string[] }; reply: Roles };
  /** Only roles that the caller's token has. */
  'ACL.RoleResolve': { request: DCRequest & { readonly RoleIDs: readonly string[] }; reply: Roles };
  'ACL.GetPolicy': { request: LegacyPolicyRequest; reply: LegacyPolicyResponse };
  /** Over TLS without client certificate only. */
  'AutoEncrypt.Sign': { request: CASignRequest; reply: AutoEncryptReply };
  /** Over TLS without client certificate only; both are protobuf (reference/server-rpc.md §1.8). */
  'AutoConfig.InitialConfiguration': { request: Uint8Array | null; reply: Uint8Array | null };
}

export type ServerCallName = keyof ServerCalls;
