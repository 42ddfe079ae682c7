/** `ACL.Policy*` and `ACL.Role*` (reference/server-rpc.md §4.15). */
import {
  type ACLPolicy,
  type ACLPolicyListStub,
  type ACLRole,
  CallError,
  globalManagementPolicyId,
} from '../../model/index.ts';
import { aclPolicyHash, aclRoleHash, isUuid } from '../../state/index.ts';
import { type Handlers, queryMeta, requireDatacenter } from '../endpoint.ts';
import type { AclEndpoint } from './endpoint.ts';
import { requireIdentities, requireName, resolvedLinks } from './names.ts';
import { parseRules } from './rules.ts';

type PolicyCall = 'ACL.PolicyRead' | 'ACL.PolicySet' | 'ACL.PolicyDelete' | 'ACL.PolicyList';
type RoleCall = 'ACL.RoleRead' | 'ACL.RoleSet' | 'ACL.RoleDelete' | 'ACL.RoleList';

export function policyHandlers(endpoint: AclEndpoint): Handlers<PolicyCall> {
  const { store, log, queries } = endpoint;
  return {
    'ACL.PolicyRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      const { PolicyID = '', PolicyName = '' } = request;
      return queries.run(
        request,
        (watch) => {
          const { index, result } =
            PolicyID === '' ? store.acl.policyByName(PolicyName, watch) : store.acl.policy(PolicyID, watch);
          return { ...queryMeta(endpoint, index), Policy: result };
        },
        signal,
      );
    },
    'ACL.PolicySet': async (request) => {
      requireDatacenter(endpoint, request);
      const policy = validatedPolicy(endpoint, request.Policy);
      await log.propose({ type: 'ACLPolicySet', request: { Policies: [policy] } });
      return store.acl.policyRecord(policy.ID) ?? policy;
    },
    'ACL.PolicyDelete': async (request) => {
      requireDatacenter(endpoint, request);
      const policy = store.acl.policy(request.PolicyID).result;
      if (policy === null) return '';
      if (policy.ID === globalManagementPolicyId) {
        throw new CallError('Delete operation not permitted on the builtin global-management policy');
      }
      await log.propose({ type: 'ACLPolicyDelete', request: { PolicyIDs: [policy.ID] } });
      return policy.Name;
    },
    'ACL.PolicyList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.policies(watch);
          const Policies = result.map(({ Rules: _r, Syntax: _s, ...stub }): ACLPolicyListStub => stub);
          return { ...queryMeta(endpoint, index), Policies };
        },
        signal,
      );
    },
  };
}

function validatedPolicy(endpoint: AclEndpoint, wanted: ACLPolicy): ACLPolicy {
  const { acl } = endpoint.store;
  requireName('Policy', wanted.Name);
  const before = wanted.ID === '' ? null : existing('Policy', wanted.ID, (id) => acl.policy(id).result);
  const twin = acl.policyByName(wanted.Name).result;
  if (twin !== null && twin.ID !== before?.ID) {
    // The peer has two texts.
    const what = before === null ? 'A Policy with Name' : 'A policy with name';
    throw new CallError(`Invalid Policy: ${what} "${wanted.Name}" already exists`);
  }
  if (before?.ID === globalManagementPolicyId) {
    if (wanted.Datacenters !== null && wanted.Datacenters.length > 0) {
      throw new CallError('Changing the Datacenters of the builtin global-management policy is not permitted');
    }
    if (wanted.Rules !== before.Rules) {
      throw new CallError('Changing the Rules for the builtin global-management policy is not permitted');
    }
  }
  parseRules(wanted.Rules, wanted.Syntax);
  const policy = { ...wanted, ID: before?.ID ?? unusedId(endpoint, (id) => acl.policyRecord(id)) };
  return { ...policy, Hash: aclPolicyHash(policy) };
}

export function roleHandlers(endpoint: AclEndpoint): Handlers<RoleCall> {
  const { store, log, queries } = endpoint;
  return {
    'ACL.RoleRead': (request, signal) => {
      requireDatacenter(endpoint, request);
      const { RoleID = '', RoleName = '' } = request;
      return queries.run(
        request,
        (watch) => {
          const { index, result } =
            RoleID === '' ? store.acl.roleByName(RoleName, watch) : store.acl.role(RoleID, watch);
          return { ...queryMeta(endpoint, index), Role: result };
        },
        signal,
      );
    },
    'ACL.RoleSet': async (request) => {
      requireDatacenter(endpoint, request);
      const role = validatedRole(endpoint, request.Role);
      await log.propose({ type: 'ACLRoleSet', request: { Roles: [role] } });
      return store.acl.role(role.ID).result ?? role;
    },
    'ACL.RoleDelete': async (request) => {
      requireDatacenter(endpoint, request);
      const role = store.acl.role(request.RoleID).result;
      if (role === null) return '';
      await log.propose({ type: 'ACLRoleDelete', request: { RoleIDs: [role.ID] } });
      return role.Name;
    },
    'ACL.RoleList': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.acl.roles(watch);
          const { Policy } = request;
          const Roles =
            Policy === '' ? result : result.filter((role) => role.Policies?.some(({ ID }) => ID === Policy));
          return { ...queryMeta(endpoint, index), Roles };
        },
        signal,
      );
    },
  };
}

function validatedRole(endpoint: AclEndpoint, wanted: ACLRole): ACLRole {
  const { store } = endpoint;
  requireName('Role', wanted.Name);
  const before = wanted.ID === '' ? null : existing('Role', wanted.ID, (id) => store.acl.role(id).result);
  const twin = store.acl.roleByName(wanted.Name).result;
  if (twin !== null && twin.ID !== before?.ID) {
    throw new CallError(`Invalid Role: A Role with Name "${wanted.Name}" already exists`);
  }
  const Policies = resolvedLinks(store, 'policy', wanted.Policies);
  const identities = requireIdentities('role', wanted, false);
  const role = {
    ...wanted,
    ...identities,
    Policies,
    ID: before?.ID ?? unusedId(endpoint, (id) => store.acl.roleRecord(id)),
  };
  return { ...role, Hash: aclRoleHash(role) };
}

/** What is to be updated. @throws CallError with the peer's text. */
function existing<T>(kind: 'Policy' | 'Role', id: string, find: (id: string) => T | null): T {
  if (!isUuid(id)) throw new CallError(`${kind} ID invalid UUID`);
  const found = find(id);
  if (found === null) throw new CallError(`cannot find ${kind.toLowerCase()} ${id}`);
  return found;
}

function unusedId({ random }: AclEndpoint, find: (id: string) => unknown): string {
  for (;;) {
    const id = random.uuid();
    if (find(id) === undefined) return id;
  }
}
