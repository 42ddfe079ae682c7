/** ACL objects as the API shows them and reads them (reference/http-api.md §8, §9.11). */
import { formatGoDuration } from '../codec/index.ts';
import {
  type ACLAuthMethod,
  type ACLBindingRule,
  type ACLGrants,
  type ACLLink,
  type ACLNodeIdentity,
  type ACLPolicy,
  type ACLPolicyListStub,
  type ACLRole,
  type ACLServiceIdentity,
  type ACLToken,
  type ACLTokenListStub,
  type LegacyACL,
} from '../model/index.ts';
import { freeMap, bool, type Decode, DecodeError, durationNs, ignored, list, string, struct } from './decode.ts';

type View = Readonly<Record<string, unknown>>;

function nonEmpty<T>(items: readonly T[] | null): readonly T[] | undefined {
  return items === null || items.length === 0 ? undefined : items;
}

function grantsView({ Policies, ServiceIdentities, NodeIdentities }: ACLGrants): View {
  return {
    Policies: nonEmpty(Policies)?.map(linkView),
    ServiceIdentities: nonEmpty(ServiceIdentities)?.map(({ ServiceName, Datacenters }) => ({
      ServiceName,
      Datacenters: nonEmpty(Datacenters),
    })),
    NodeIdentities: nonEmpty(NodeIdentities)?.map(({ NodeName, Datacenter }) => ({ NodeName, Datacenter })),
  };
}

function linkView({ ID, Name }: ACLLink): View {
  return { ID, Name };
}

export function tokenView(token: ACLToken): View {
  const { Policies, ...identities } = grantsView(token);
  return {
    AccessorID: token.AccessorID,
    SecretID: token.SecretID,
    Description: token.Description,
    Policies,
    Roles: nonEmpty(token.Roles)?.map(linkView),
    ...identities,
    Rules: token.Rules || undefined,
    Local: token.Local,
    AuthMethod: token.AuthMethod || undefined,
    ExpirationTime: token.ExpirationTime ?? undefined,
    CreateTime: token.CreateTime,
    Hash: token.Hash,
    CreateIndex: token.CreateIndex,
    ModifyIndex: token.ModifyIndex,
  };
}

export function tokenStubView(token: ACLTokenListStub): View {
  const { Policies, ...identities } = grantsView(token);
  return {
    AccessorID: token.AccessorID,
    Description: token.Description,
    Policies,
    Roles: nonEmpty(token.Roles)?.map(linkView),
    ...identities,
    Local: token.Local,
    AuthMethod: token.AuthMethod || undefined,
    ExpirationTime: token.ExpirationTime ?? undefined,
    CreateTime: token.CreateTime,
    Hash: token.Hash,
    CreateIndex: token.CreateIndex,
    ModifyIndex: token.ModifyIndex,
    Legacy: token.Legacy || undefined,
  };
}

export function policyView(policy: ACLPolicy): View {
  return {
    ID: policy.ID,
    Name: policy.Name,
    Description: policy.Description,
    Rules: policy.Rules,
    Datacenters: nonEmpty(policy.Datacenters),
    Hash: policy.Hash,
    CreateIndex: policy.CreateIndex,
    ModifyIndex: policy.ModifyIndex,
  };
}

export function policyStubView(policy: ACLPolicyListStub): View {
  return {
    ID: policy.ID,
    Name: policy.Name,
    Description: policy.Description,
    Datacenters: nonEmpty(policy.Datacenters) ?? null,
    Hash: policy.Hash,
    CreateIndex: policy.CreateIndex,
    ModifyIndex: policy.ModifyIndex,
  };
}

export function roleView(role: ACLRole): View {
  return {
    ID: role.ID,
    Name: role.Name,
    Description: role.Description,
    ...grantsView(role),
    Hash: role.Hash,
    CreateIndex: role.CreateIndex,
    ModifyIndex: role.ModifyIndex,
  };
}

export function authMethodView(method: ACLAuthMethod): View {
  return {
    MaxTokenTTL: method.MaxTokenTTL === 0 ? undefined : formatGoDuration(method.MaxTokenTTL),
    Name: method.Name,
    Type: method.Type,
    DisplayName: method.DisplayName || undefined,
    Description: method.Description || undefined,
    TokenLocality: method.TokenLocality || undefined,
    Config: method.Config === null ? null : new Map(Object.entries(method.Config)),
    CreateIndex: method.CreateIndex,
    ModifyIndex: method.ModifyIndex,
  };
}

type AuthMethodStub = Pick<
  ACLAuthMethod,
  'Name' | 'Type' | 'DisplayName' | 'Description' | 'CreateIndex' | 'ModifyIndex'
>;

export function authMethodStubView(method: AuthMethodStub): View {
  return {
    Name: method.Name,
    Type: method.Type,
    DisplayName: method.DisplayName || undefined,
    Description: method.Description || undefined,
    CreateIndex: method.CreateIndex,
    ModifyIndex: method.ModifyIndex,
  };
}

export function bindingRuleView(rule: ACLBindingRule): View {
  return {
    ID: rule.ID,
    Description: rule.Description,
    AuthMethod: rule.AuthMethod,
    Selector: rule.Selector,
    BindType: rule.BindType,
    BindName: rule.BindName,
    CreateIndex: rule.CreateIndex,
    ModifyIndex: rule.ModifyIndex,
  };
}

export function legacyView({ ID, Name, Type, Rules, CreateIndex, ModifyIndex }: LegacyACL): View {
  return { ID, Name, Type, Rules, CreateIndex, ModifyIndex };
}

/** Links and identities may come with fields left out. */
function complete<T extends object>(zero: T, decode: Decode<Partial<T>>): Decode<T> {
  return (value, field) => ({ ...zero, ...decode(value, field) });
}

const noLink: ACLLink = { ID: '', Name: '' };
const links = list(complete(noLink, struct<ACLLink>({ ID: ['ID', string], Name: ['Name', string] })), noLink);
const noService: ACLServiceIdentity = { ServiceName: '', Datacenters: null };
const serviceIdentities = list(
  complete(
    noService,
    struct<ACLServiceIdentity>({
      ServiceName: ['ServiceName', string],
      Datacenters: ['Datacenters', list(string, '')],
    }),
  ),
  noService,
);
const noNode: ACLNodeIdentity = { NodeName: '', Datacenter: '' };
const nodeIdentities = list(
  complete(noNode, struct<ACLNodeIdentity>({ NodeName: ['NodeName', string], Datacenter: ['Datacenter', string] })),
  noNode,
);

const time: Decode<string> = (value, field) => {
  const text = string(value, field);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.test(text) || Number.isNaN(Date.parse(text))) {
    throw new DecodeError(`parsing time ${JSON.stringify(text)} as "2006-01-02T15:04:05Z07:00": cannot parse`);
  }
  return text;
};

/** Indexes, hashes and times of creation come back from clients that read an object before they write it. */
const own = {
  Hash: ['Hash', ignored],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
} as const;

export const tokenBody = struct<ACLToken>({
  AccessorID: ['AccessorID', string],
  SecretID: ['SecretID', string],
  Description: ['Description', string],
  Policies: ['Policies', links],
  Roles: ['Roles', links],
  ServiceIdentities: ['ServiceIdentities', serviceIdentities],
  NodeIdentities: ['NodeIdentities', nodeIdentities],
  Rules: ['Rules', string],
  Local: ['Local', bool],
  AuthMethod: ['AuthMethod', string],
  ExpirationTime: ['ExpirationTime', time],
  ExpirationTTL: ['ExpirationTTL', durationNs],
  CreateTime: ['CreateTime', ignored],
  ...own,
});

export const policyBody = struct<ACLPolicy>({
  ID: ['ID', string],
  Name: ['Name', string],
  Description: ['Description', string],
  Rules: ['Rules', string],
  Datacenters: ['Datacenters', list(string, '')],
  ...own,
});

export const roleBody = struct<ACLRole>({
  ID: ['ID', string],
  Name: ['Name', string],
  Description: ['Description', string],
  Policies: ['Policies', links],
  ServiceIdentities: ['ServiceIdentities', serviceIdentities],
  NodeIdentities: ['NodeIdentities', nodeIdentities],
  ...own,
});

export const authMethodBody = struct<ACLAuthMethod>({
  Name: ['Name', string],
  Type: ['Type', string],
  DisplayName: ['DisplayName', string],
  Description: ['Description', string],
  MaxTokenTTL: ['MaxTokenTTL', durationNs],
  TokenLocality: ['TokenLocality', string],
  Config: ['Config', freeMap],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

export const bindingRuleBody = struct<ACLBindingRule>({
  ID: ['ID', string],
  Description: ['Description', string],
  AuthMethod: ['AuthMethod', string],
  Selector: ['Selector', string],
  BindType: ['BindType', string],
  BindName: ['BindName', string],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

export const legacyBody = struct<LegacyACL>({
  ID: ['ID', string],
  Name: ['Name', string],
  Type: ['Type', string],
  Rules: ['Rules', string],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});
