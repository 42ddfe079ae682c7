/**
 * What a token may do, put together: the rules of its policies, of its roles' policies, and of what service and node
 * identities stand for (reference/http-api.md §10). Tokens of equal rights share one authorizer.
 */
import {
  type ACLGrants,
  type ACLNodeIdentity,
  type ACLPolicy,
  type ACLRole,
  type ACLServiceIdentity,
  aclSyntax,
  type ACLToken,
  globalManagementPolicyId,
} from '../../model/index.ts';
import { Authorizer, type DefaultPolicy } from './authorizer.ts';
import { parseRules, type PolicyRules } from './rules.ts';

/** Authorizers shared by tokens of equal rights; at more they are dropped and made again. */
const authorizersMax = 1024;

/** Where policies and roles are looked up; what is gone gives no rights. */
export interface Grants {
  policy(id: string): ACLPolicy | null | undefined;
  role(id: string): ACLRole | null | undefined;
}

/** The policies that a token needs beside its roles'. */
export function policyIdsOf({ Policies, Type }: Pick<ACLToken, 'Policies' | 'Type'>): readonly string[] {
  const ids = (Policies ?? []).map(({ ID }) => ID);
  return Type === 'management' ? [...ids, globalManagementPolicyId] : ids;
}

export class Authorizers {
  readonly #datacenter: string;
  readonly #defaultPolicy: DefaultPolicy;
  readonly #authorizers = new Map<string, Authorizer>();

  constructor(datacenter: string, defaultPolicy: DefaultPolicy) {
    this.#datacenter = datacenter;
    this.#defaultPolicy = defaultPolicy;
  }

  of(token: ACLToken, grants: Grants): Authorizer {
    const policies = new Map<string, ACLPolicy>();
    const services = new Map<string, ACLServiceIdentity>();
    const nodes = new Map<string, ACLNodeIdentity>();
    const addPolicy = (id: string): void => {
      const policy = grants.policy(id) ?? undefined;
      if (policy !== undefined && this.#holdsHere(policy.Datacenters)) policies.set(policy.ID, policy);
    };
    const add = ({ ServiceIdentities, NodeIdentities }: ACLGrants): void => {
      for (const identity of ServiceIdentities ?? []) {
        if (this.#holdsHere(identity.Datacenters)) services.set(identity.ServiceName, identity);
      }
      for (const identity of NodeIdentities ?? []) {
        if (identity.Datacenter === this.#datacenter) nodes.set(identity.NodeName, identity);
      }
    };
    add(token);
    for (const id of policyIdsOf(token)) addPolicy(id);
    for (const { ID } of token.Roles ?? []) {
      const role = grants.role(ID) ?? undefined;
      if (role === undefined) continue;
      add(role);
      for (const { ID: id } of role.Policies ?? []) addPolicy(id);
    }
    const key = JSON.stringify([
      [...policies.values()].map(({ ID, ModifyIndex }) => [ID, ModifyIndex]),
      [...services.keys()],
      [...nodes.keys()],
      token.Rules,
    ]);
    const known = this.#authorizers.get(key);
    if (known !== undefined) return known;
    const rules = [
      ...[...policies.values()].map(({ Rules, Syntax }) => parseRules(Rules, Syntax)),
      ...[...services.keys()].map(serviceIdentityRules),
      ...[...nodes.keys()].map(nodeIdentityRules),
      ...(token.Rules === '' ? [] : [parseRules(token.Rules, aclSyntax.legacy)]),
    ];
    const authorizer = new Authorizer(rules, this.#defaultPolicy);
    if (this.#authorizers.size >= authorizersMax) this.#authorizers.clear();
    this.#authorizers.set(key, authorizer);
    return authorizer;
  }

  #holdsHere(datacenters: readonly string[] | null): boolean {
    return datacenters === null || datacenters.length === 0 || datacenters.includes(this.#datacenter);
  }
}

/** What a service needs: to register itself and its sidecar, and to find others. */
function serviceIdentityRules(service: string): PolicyRules {
  return {
    names: [
      { resource: 'service', match: 'exact', name: service, access: 'write' },
      { resource: 'service', match: 'exact', name: `${service}-sidecar-proxy`, access: 'write' },
      { resource: 'service', match: 'prefix', name: '', access: 'read' },
      { resource: 'node', match: 'prefix', name: '', access: 'read' },
    ],
    singles: {},
  };
}

/** What an agent needs: to keep its node, and to see services. */
function nodeIdentityRules(node: string): PolicyRules {
  return {
    names: [
      { resource: 'node', match: 'exact', name: node, access: 'write' },
      { resource: 'service', match: 'prefix', name: '', access: 'read' },
    ],
    singles: {},
  };
}
