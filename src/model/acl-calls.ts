/** Requests and replies of `ACL.*` (reference/server-rpc.md §4.15). */
import type {
  ACLAuthMethod,
  ACLAuthMethodListStub,
  ACLBindingRule,
  ACLPolicy,
  ACLPolicyListStub,
  ACLReplicationStatus,
  ACLRole,
  ACLToken,
  ACLTokenListStub,
  LegacyACL,
} from './acl.ts';
import type { DCRequest, QueryMeta, WriteRequest } from './query.ts';

export interface ACLTokenSetRequest extends WriteRequest {
  /** Not `Token`: that is the caller's secret. */
  readonly ACLToken: ACLToken;
  /** The token is new; an AccessorID in it is one to be given, not one to be found. */
  readonly Create: boolean;
}

export interface ACLTokenGetRequest extends DCRequest {
  readonly TokenID: string;
  readonly TokenIDType: 'secret' | 'accessor';
}

export interface ACLTokenListRequest extends DCRequest {
  readonly IncludeLocal: boolean;
  readonly IncludeGlobal: boolean;
  /** ID of a policy, "" for all tokens. */
  readonly Policy: string;
  /** ID of a role, "" for all tokens. */
  readonly Role: string;
  readonly AuthMethod: string;
}

export interface ACLPolicyGetRequest extends DCRequest {
  readonly PolicyID?: string;
  readonly PolicyName?: string;
}

export interface ACLRoleGetRequest extends DCRequest {
  readonly RoleID?: string;
  readonly RoleName?: string;
}

export interface ACLLoginParams {
  readonly AuthMethod: string;
  readonly BearerToken: string;
  readonly Meta: Readonly<Record<string, string>> | null;
}

/** What may be asked about: `key`, `service`, `operator`, … with `read`, `list` or `write`. */
export interface ACLAuthorizationRequest {
  readonly Resource: string;
  readonly Segment: string;
  readonly Access: string;
}

export type ACLAuthorizationResponse = ACLAuthorizationRequest & { readonly Allow: boolean };

export interface LegacyACLRequest extends WriteRequest {
  readonly Op: 'set' | 'delete';
  readonly ACL: LegacyACL;
}

/** Questions that one `ACL.Authorize` may ask. */
export const authorizationsMax = 64;

export interface AclCalls {
  /** The first management token; works once. */
  'ACL.BootstrapTokens': { request: DCRequest; reply: ACLToken };
  'ACL.TokenRead': {
    request: ACLTokenGetRequest;
    reply: QueryMeta & {
      readonly Token: ACLToken | null;
      readonly Redacted: boolean;
      /** Where it was found. */
      readonly SourceDatacenter?: string;
    };
  };
  'ACL.TokenClone': { request: ACLTokenSetRequest; reply: ACLToken };
  'ACL.TokenSet': { request: ACLTokenSetRequest; reply: ACLToken };
  /** The AccessorID, "" when it was unknown. */
  'ACL.TokenDelete': { request: WriteRequest & { readonly TokenID: string }; reply: string };
  'ACL.TokenList': {
    request: ACLTokenListRequest;
    reply: QueryMeta & { readonly Tokens: readonly ACLTokenListStub[] };
  };
  'ACL.PolicyRead': { request: ACLPolicyGetRequest; reply: QueryMeta & { readonly Policy: ACLPolicy | null } };
  'ACL.PolicySet': { request: WriteRequest & { readonly Policy: ACLPolicy }; reply: ACLPolicy };
  /** The name, "" when it was unknown. */
  'ACL.PolicyDelete': { request: WriteRequest & { readonly PolicyID: string }; reply: string };
  'ACL.PolicyList': { request: DCRequest; reply: QueryMeta & { readonly Policies: readonly ACLPolicyListStub[] } };
  'ACL.RoleRead': { request: ACLRoleGetRequest; reply: QueryMeta & { readonly Role: ACLRole | null } };
  'ACL.RoleSet': { request: WriteRequest & { readonly Role: ACLRole }; reply: ACLRole };
  /** The name, "" when it was unknown. */
  'ACL.RoleDelete': { request: WriteRequest & { readonly RoleID: string }; reply: string };
  'ACL.RoleList': {
    request: DCRequest & { readonly Policy: string };
    reply: QueryMeta & { readonly Roles: readonly ACLRole[] };
  };
  'ACL.BindingRuleRead': {
    request: DCRequest & { readonly BindingRuleID: string };
    reply: QueryMeta & { readonly BindingRule: ACLBindingRule | null };
  };
  'ACL.BindingRuleSet': { request: WriteRequest & { readonly BindingRule: ACLBindingRule }; reply: ACLBindingRule };
  /** Whether it was known. */
  'ACL.BindingRuleDelete': { request: WriteRequest & { readonly BindingRuleID: string }; reply: boolean };
  'ACL.BindingRuleList': {
    request: DCRequest & { readonly AuthMethod: string };
    reply: QueryMeta & { readonly BindingRules: readonly ACLBindingRule[] };
  };
  'ACL.AuthMethodRead': {
    request: DCRequest & { readonly AuthMethodName: string };
    reply: QueryMeta & { readonly AuthMethod: ACLAuthMethod | null };
  };
  'ACL.AuthMethodSet': { request: WriteRequest & { readonly AuthMethod: ACLAuthMethod }; reply: ACLAuthMethod };
  /** Whether it was known. */
  'ACL.AuthMethodDelete': { request: WriteRequest & { readonly AuthMethodName: string }; reply: boolean };
  'ACL.AuthMethodList': {
    request: DCRequest;
    reply: QueryMeta & { readonly AuthMethods: readonly ACLAuthMethodListStub[] };
  };
  'ACL.Login': { request: WriteRequest & { readonly Auth: ACLLoginParams | null }; reply: ACLToken };
  'ACL.Logout': { request: WriteRequest; reply: boolean };
  'ACL.Authorize': {
    request: DCRequest & { readonly Requests: readonly ACLAuthorizationRequest[] };
    reply: readonly ACLAuthorizationResponse[];
  };
  'ACL.ReplicationStatus': { request: DCRequest; reply: ACLReplicationStatus };
  /** The ID of what was set or deleted. */
  'ACL.Apply': { request: LegacyACLRequest; reply: string };
  'ACL.Get': {
    request: DCRequest & { readonly ACL: string };
    reply: QueryMeta & { readonly ACLs: readonly LegacyACL[] };
  };
  'ACL.List': { request: DCRequest; reply: QueryMeta & { readonly ACLs: readonly LegacyACL[] } };
}
