/**
 * From a token's secret to its authorizer: the rules of its policies, of its roles' policies, and of what service and
 * node identities stand for. The outcome is kept beside the token's record until the record, a policy or a role
 * changes, so a call costs two map look-ups (reference/http-api.md §10).
 */
import {
  type ACLGrants,
  type ACLNodeIdentity,
  type ACLPolicy,
  type ACLServiceIdentity,
  aclSyntax,
  type ACLToken,
  anonymousTokenSecret,
  CallError,
  globalManagementPolicyId,
} from '../../model/index.ts';
import type { Clock } from '../../ports/index.ts';
import type { StateStore } from '../../state/index.ts';
import { Authorizer, type DefaultPolicy } from './authorizer.ts';
import { parseRules, type PolicyRules } from './rules.ts';

/** Authorizers shared by tokens of equal rights; at more they are dropped and made again. */
const authorizersMax = 1024;
/** Secrets that once stood for whole policies and must not be tokens. */
const rootSecrets = new Set(['allow', 'deny', 'manage']);

export interface AclSettings {
  readonly enabled: boolean;
  readonly defaultPolicy: DefaultPolicy;
  /** Listing keys takes the right to list (`acl.enable_key_list_policy`). */
  readonly keyListPolicy: boolean;
}

export const aclSettingsOff: AclSettings = { enabled: false, defaultPolicy: 'allow', keyListPolicy: false };

interface Resolved {
  readonly grantsIndex: number;
  readonly authorizer: Authorizer;
  /** ms since 1970; infinite when the token does not expire. */
  readonly expiresAtMs: number;
}

/** @throws CallError nothing stands behind the secret, or not any more. */
export function tokenNotFound(): CallError {
  return new CallError('ACL not found');
}

export function permissionDenied(): CallError {
  return new CallError('Permission denied');
}

export class AclResolver {
  readonly settings: AclSettings;
  readonly #datacenter: string;
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #resolved = new WeakMap<ACLToken, Resolved>();
  readonly #authorizers = new Map<string, Authorizer>();

  constructor(options: {
    readonly settings: AclSettings;
    readonly datacenter: string;
    readonly store: StateStore;
    readonly clock: Clock;
  }) {
    this.settings = options.settings;
    this.#datacenter = options.datacenter;
    this.#store = options.store;
    this.#clock = options.clock;
  }

  get enabled(): boolean {
    return this.settings.enabled;
  }

  /**
   * @param secret "" stands for the anonymous token.
   * @returns null when ACLs are off.
   * @throws CallError `ACL not found`.
   */
  resolve(secret: string): Authorizer | null {
    if (!this.settings.enabled) return null;
    if (rootSecrets.has(secret)) throw new CallError('Permission denied: Cannot resolve root ACL');
    const { acl } = this.#store;
    const token = acl.tokenRecord(secret === '' ? anonymousTokenSecret : secret);
    if (token === undefined) throw tokenNotFound();
    const { grantsIndex } = acl;
    let resolved = this.#resolved.get(token);
    if (resolved === undefined || resolved.grantsIndex !== grantsIndex) {
      const expiresAtMs = token.ExpirationTime === null ? Number.POSITIVE_INFINITY : Date.parse(token.ExpirationTime);
      resolved = { grantsIndex, authorizer: this.#authorizerOf(token), expiresAtMs };
      this.#resolved.set(token, resolved);
    }
    if (resolved.expiresAtMs <= this.#clock.wallMs()) throw tokenNotFound();
    return resolved.authorizer;
  }

  /** Whether the token's time is over: it is as if it were not there, also before it is reaped. */
  isExpired(token: ACLToken): boolean {
    return token.ExpirationTime !== null && Date.parse(token.ExpirationTime) <= this.#clock.wallMs();
  }

  #authorizerOf(token: ACLToken): Authorizer {
    const policies = new Map<string, ACLPolicy>();
    const services = new Map<string, ACLServiceIdentity>();
    const nodes = new Map<string, ACLNodeIdentity>();
    const add = (grants: ACLGrants): void => {
      for (const { ID } of grants.Policies ?? []) this.#addPolicy(policies, ID);
      for (const identity of grants.ServiceIdentities ?? []) {
        if (this.#holdsHere(identity.Datacenters)) services.set(identity.ServiceName, identity);
      }
      for (const identity of grants.NodeIdentities ?? []) {
        if (identity.Datacenter === this.#datacenter) nodes.set(identity.NodeName, identity);
      }
    };
    add(token);
    for (const { ID } of token.Roles ?? []) {
      const role = this.#store.acl.roleRecord(ID);
      if (role !== undefined) add(role);
    }
    if (token.Type === 'management') this.#addPolicy(policies, globalManagementPolicyId);
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
    const authorizer = new Authorizer(rules, this.settings.defaultPolicy);
    if (this.#authorizers.size >= authorizersMax) this.#authorizers.clear();
    this.#authorizers.set(key, authorizer);
    return authorizer;
  }

  #addPolicy(policies: Map<string, ACLPolicy>, id: string): void {
    const policy = this.#store.acl.policyRecord(id);
    if (policy !== undefined && this.#holdsHere(policy.Datacenters)) policies.set(policy.ID, policy);
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
