/** ACL records and calls on the wire (reference/server-rpc.md §4.15). */
import { opt, record, type Shape, shapes, text } from '../../codec/index.ts';
import type {
  ACLAuthorizationRequest,
  ACLAuthorizationResponse,
  ACLLoginParams,
  ACLPolicyGetRequest,
  ACLRoleGetRequest,
  ACLTokenGetRequest,
  ACLTokenListRequest,
  ACLTokenSetRequest,
  LegacyACLRequest,
} from '../acl-calls.ts';
import type {
  ACLAuthMethod,
  ACLAuthMethodListStub,
  ACLBindingRule,
  ACLLink,
  ACLNodeIdentity,
  ACLPolicy,
  ACLPolicyListStub,
  ACLReplicationStatus,
  ACLRole,
  ACLServiceIdentity,
  ACLToken,
  ACLTokenListStub,
  LegacyACL,
} from '../acl.ts';
import type { DCRequest, QueryMeta, WriteRequest } from '../query.ts';
import type { LegacyPolicyRequest, LegacyPolicyResponse } from '../server-calls.ts';
import { metaOnWire, queryMetaFields, queryOptionsFields, raftIndexFields, writeFields } from './parts.ts';

const { any, bool, bytes, durationNs, fullList, index, int, list, localTime, map, nullable, str } = shapes;
const { Token: callerToken } = writeFields;
const dcLast = { Datacenter: str, ...queryOptionsFields };

const link = record<ACLLink>({ ID: str, Name: str });
const serviceIdentity = record<ACLServiceIdentity>({ ServiceName: str, Datacenters: list(str) });
const nodeIdentity = record<ACLNodeIdentity>({ NodeName: str, Datacenter: str });

export const aclToken = record<ACLToken>({
  AccessorID: str,
  SecretID: str,
  Description: str,
  Policies: list(link),
  Roles: list(link),
  ServiceIdentities: list(serviceIdentity),
  NodeIdentities: list(nodeIdentity),
  Type: str,
  Rules: str,
  Local: bool,
  AuthMethod: str,
  ExpirationTime: nullable(localTime),
  ExpirationTTL: durationNs,
  CreateTime: localTime,
  Hash: bytes,
  ...raftIndexFields,
});
export const aclTokenStub = record<ACLTokenListStub>({
  AccessorID: str,
  Description: str,
  Policies: list(link),
  Roles: list(link),
  ServiceIdentities: list(serviceIdentity),
  NodeIdentities: list(nodeIdentity),
  Local: bool,
  AuthMethod: str,
  ExpirationTime: nullable(localTime),
  CreateTime: localTime,
  Hash: bytes,
  ...raftIndexFields,
  Legacy: bool,
});
const policyFields = { ID: str, Name: str, Description: str };
export const aclPolicy = record<ACLPolicy>({
  ...policyFields,
  Rules: str,
  Syntax: int,
  Datacenters: list(str),
  Hash: bytes,
  ...raftIndexFields,
});
export const aclPolicyStub = record<ACLPolicyListStub>({
  ...policyFields,
  Datacenters: list(str),
  Hash: bytes,
  ...raftIndexFields,
});
export const aclRole = record<ACLRole>({
  ...policyFields,
  Policies: list(link),
  ServiceIdentities: list(serviceIdentity),
  NodeIdentities: list(nodeIdentity),
  Hash: bytes,
  ...raftIndexFields,
});
export const aclBindingRule = record<ACLBindingRule>({
  ID: str,
  Description: str,
  AuthMethod: str,
  Selector: str,
  BindType: str,
  BindName: str,
  ...raftIndexFields,
});
export const aclAuthMethod = record<ACLAuthMethod>({
  Name: str,
  Type: str,
  DisplayName: str,
  Description: str,
  MaxTokenTTL: durationNs,
  TokenLocality: str,
  Config: map(any),
  ...raftIndexFields,
});
export const aclAuthMethodStub = record<ACLAuthMethodListStub>({
  Name: str,
  Type: str,
  DisplayName: str,
  Description: str,
  ...raftIndexFields,
});
export const aclReplicationStatus = record<ACLReplicationStatus>({
  Enabled: bool,
  Running: bool,
  SourceDatacenter: str,
  ReplicationType: str,
  ReplicatedIndex: index,
  ReplicatedRoleIndex: index,
  ReplicatedTokenIndex: index,
  LastSuccess: localTime,
  LastError: localTime,
});
export const legacyAcl = record<LegacyACL>({ ID: str, Name: str, Type: str, Rules: str, ...raftIndexFields });

export const tokenSetRequest = record<ACLTokenSetRequest>({
  ACLToken: aclToken,
  Create: bool,
  Datacenter: str,
  Token: callerToken,
});
export const tokenGetRequest = record<ACLTokenGetRequest>({
  TokenID: str,
  TokenIDType: text<ACLTokenGetRequest['TokenIDType']>(),
  ...dcLast,
});
export const tokenListRequest = record<ACLTokenListRequest>({
  IncludeLocal: bool,
  IncludeGlobal: bool,
  Policy: str,
  Role: str,
  AuthMethod: str,
  ...dcLast,
});
export const policyGetRequest = record<ACLPolicyGetRequest>({ PolicyID: opt(str), PolicyName: opt(str), ...dcLast });
export const roleGetRequest = record<ACLRoleGetRequest>({ RoleID: opt(str), RoleName: opt(str), ...dcLast });
export const loginRequest = record<WriteRequest & { readonly Auth: ACLLoginParams | null }>({
  Auth: nullable(record<ACLLoginParams>({ AuthMethod: str, BearerToken: str, Meta: map(str) })),
  Datacenter: str,
  Token: callerToken,
});
const authorizationFields = { Resource: str, Segment: str, Access: str };
export const authorizeRequest = record<DCRequest & { readonly Requests: readonly ACLAuthorizationRequest[] }>({
  Datacenter: str,
  Requests: fullList(record<ACLAuthorizationRequest>(authorizationFields)),
  ...queryOptionsFields,
});
export const authorizeReply: Shape<readonly ACLAuthorizationResponse[]> = fullList(
  record<ACLAuthorizationResponse>({ ...authorizationFields, Allow: bool }),
);
export const legacyAclRequest = record<LegacyACLRequest>({
  Datacenter: str,
  Op: text<LegacyACLRequest['Op']>(),
  ACL: legacyAcl,
  Token: callerToken,
});
export const legacyPolicyRequest = record<LegacyPolicyRequest>({
  Datacenter: str,
  ACL: str,
  ETag: str,
  ...queryOptionsFields,
});
export const legacyPolicyResponse = record<LegacyPolicyResponse>(
  { ETag: str, Parent: str, Policy: any, TTL: durationNs, ...queryMetaFields },
  metaOnWire,
);

/** A request for one thing by name or id, its field in front of the rest. */
export function writeOf<K extends string, T>(field: K, shape: Shape<T>): Shape<WriteRequest & Readonly<Record<K, T>>> {
  return record<WriteRequest & Readonly<Record<string, unknown>>>({
    [field]: shape,
    Datacenter: str,
    Token: callerToken,
  } as never) as Shape<unknown> as Shape<WriteRequest & Readonly<Record<K, T>>>;
}

export function readOf<K extends string, T>(field: K, shape: Shape<T>): Shape<DCRequest & Readonly<Record<K, T>>> {
  return record<DCRequest & Readonly<Record<string, unknown>>>({
    [field]: shape,
    ...dcLast,
  } as never) as Shape<unknown> as Shape<DCRequest & Readonly<Record<K, T>>>;
}

/** A reply with one field beside what every reply says. */
export function replyOf<K extends string, T>(field: K, shape: Shape<T>): Shape<QueryMeta & Readonly<Record<K, T>>> {
  return record<QueryMeta & Readonly<Record<string, unknown>>>(
    { [field]: shape, ...queryMetaFields } as never,
    metaOnWire,
  ) as Shape<unknown> as Shape<QueryMeta & Readonly<Record<K, T>>>;
}
