/** ACL records as they travel (reference/server-rpc.md §4.15). Times are RFC 3339 texts, so no digit is lost. */
import type { RaftIndex } from './catalog.ts';

/** A reference to a policy or role; the log keeps the ID only, because names may change. */
export interface ACLLink {
  readonly ID: string;
  readonly Name: string;
}

/** Stands for the rules a service's instance and its sidecar need. */
export interface ACLServiceIdentity {
  readonly ServiceName: string;
  /** Where it holds; null or empty = everywhere. */
  readonly Datacenters: readonly string[] | null;
}

/** Stands for the rules an agent needs to keep its node in the catalog. */
export interface ACLNodeIdentity {
  readonly NodeName: string;
  readonly Datacenter: string;
}

/** What a token or a role stands for. */
export interface ACLGrants {
  readonly Policies: readonly ACLLink[] | null;
  readonly ServiceIdentities: readonly ACLServiceIdentity[] | null;
  readonly NodeIdentities: readonly ACLNodeIdentity[] | null;
}

export interface ACLToken extends ACLGrants, RaftIndex {
  /** Names the token without giving its rights away; "" only in legacy tokens that are not upgraded yet. */
  readonly AccessorID: string;
  /** Whoever sends this has the token's rights. */
  readonly SecretID: string;
  readonly Description: string;
  readonly Roles: readonly ACLLink[] | null;
  /** `client` or `management` in legacy tokens and the first management tokens, else "". */
  readonly Type: string;
  /** Legacy tokens carry their rules themselves. */
  readonly Rules: string;
  /** Only known in its own datacenter. */
  readonly Local: boolean;
  /** The auth method whose login made it, or "". */
  readonly AuthMethod: string;
  readonly ExpirationTime: string | null;
  /** Nanoseconds; only in requests, where it becomes ExpirationTime. */
  readonly ExpirationTTL: number;
  readonly CreateTime: string;
  readonly Hash: Uint8Array | null;
}

/** A token as lists show it: without its secret. */
export type ACLTokenListStub = Pick<
  ACLToken,
  | 'AccessorID'
  | 'Description'
  | 'Policies'
  | 'Roles'
  | 'ServiceIdentities'
  | 'NodeIdentities'
  | 'Local'
  | 'AuthMethod'
  | 'ExpirationTime'
  | 'CreateTime'
  | 'Hash'
  | 'CreateIndex'
  | 'ModifyIndex'
> & { readonly Legacy: boolean };

/** How a rule text is read: old ones say `key` where new ones say `key_prefix`. */
export const aclSyntax = { current: 0, legacy: 1 } as const;

export interface ACLPolicy extends RaftIndex {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Rules: string;
  /** See {@link aclSyntax}. */
  readonly Syntax: number;
  /** Where it holds; null or empty = everywhere. */
  readonly Datacenters: readonly string[] | null;
  readonly Hash: Uint8Array | null;
}

export type ACLPolicyListStub = Omit<ACLPolicy, 'Rules' | 'Syntax'>;

export interface ACLRole extends ACLGrants, RaftIndex {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Hash: Uint8Array | null;
}

export interface ACLAuthMethod extends RaftIndex {
  readonly Name: string;
  readonly Type: string;
  readonly DisplayName: string;
  readonly Description: string;
  /** Nanoseconds; 0 = tokens made by login do not expire. */
  readonly MaxTokenTTL: number;
  /** `global`, `local` or "" (local). */
  readonly TokenLocality: string;
  readonly Config: Readonly<Record<string, unknown>> | null;
}

export type ACLAuthMethodListStub = Pick<
  ACLAuthMethod,
  'Name' | 'Type' | 'DisplayName' | 'Description' | 'CreateIndex' | 'ModifyIndex'
>;

export interface ACLBindingRule extends RaftIndex {
  readonly ID: string;
  readonly Description: string;
  readonly AuthMethod: string;
  /** Filter over the identity that logs in; "" matches every one. */
  readonly Selector: string;
  /** `service`, `node` or `role`. */
  readonly BindType: string;
  /** May hold `${value.NAME}`. */
  readonly BindName: string;
}

/** A token of the time before policies; its ID is the secret. */
export interface LegacyACL extends RaftIndex {
  readonly ID: string;
  readonly Name: string;
  /** `client` or `management`. */
  readonly Type: string;
  readonly Rules: string;
}

export interface ACLReplicationStatus {
  readonly Enabled: boolean;
  readonly Running: boolean;
  readonly SourceDatacenter: string;
  readonly ReplicationType: string;
  readonly ReplicatedIndex: number;
  readonly ReplicatedRoleIndex: number;
  readonly ReplicatedTokenIndex: number;
  readonly LastSuccess: string;
  readonly LastError: string;
}

/** Go's zero time. */
export const zeroTime = '0001-01-01T00:00:00Z';

/** The built-in objects (reference/http-api.md §9.11). */
export const globalManagementPolicyId = '00000000-0000-0000-0000-000000000001';
export const anonymousTokenAccessor = '00000000-0000-0000-0000-000000000002';
/** What a request without a token stands for. */
export const anonymousTokenSecret = 'anonymous';
/** IDs beginning with this are kept for built-in objects. */
export const reservedIdPrefix = '00000000-0000-0000-0000-0000000000';

export const emptyToken: ACLToken = {
  AccessorID: '',
  SecretID: '',
  Description: '',
  Policies: null,
  Roles: null,
  ServiceIdentities: null,
  NodeIdentities: null,
  Type: '',
  Rules: '',
  Local: false,
  AuthMethod: '',
  ExpirationTime: null,
  ExpirationTTL: 0,
  CreateTime: zeroTime,
  Hash: null,
  CreateIndex: 0,
  ModifyIndex: 0,
};

export const emptyPolicy: ACLPolicy = {
  ID: '',
  Name: '',
  Description: '',
  Rules: '',
  Syntax: aclSyntax.current,
  Datacenters: null,
  Hash: null,
  CreateIndex: 0,
  ModifyIndex: 0,
};

export const emptyRole: ACLRole = {
  ID: '',
  Name: '',
  Description: '',
  Policies: null,
  ServiceIdentities: null,
  NodeIdentities: null,
  Hash: null,
  CreateIndex: 0,
  ModifyIndex: 0,
};

export const emptyAuthMethod: ACLAuthMethod = {
  Name: '',
  Type: '',
  DisplayName: '',
  Description: '',
  MaxTokenTTL: 0,
  TokenLocality: '',
  Config: null,
  CreateIndex: 0,
  ModifyIndex: 0,
};

export const emptyBindingRule: ACLBindingRule = {
  ID: '',
  Description: '',
  AuthMethod: '',
  Selector: '',
  BindType: '',
  BindName: '',
  CreateIndex: 0,
  ModifyIndex: 0,
};
