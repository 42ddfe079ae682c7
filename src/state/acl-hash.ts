/**
 * Content hashes of ACL objects: secondary datacenters compare them to see what to fetch (reference/raft.md §4.3).
 */
import { blake2b256 } from '../codec/index.ts';
import type { ACLGrants, ACLPolicy, ACLRole, ACLToken } from '../model/index.ts';

const hashOf = (parts: readonly string[]): Uint8Array => blake2b256(Buffer.from(parts.join(''), 'utf8'));

function identityTexts({ ServiceIdentities, NodeIdentities }: ACLGrants): readonly string[] {
  return [
    ...(ServiceIdentities ?? []).flatMap(({ ServiceName, Datacenters }) => [ServiceName, ...(Datacenters ?? [])]),
    ...(NodeIdentities ?? []).flatMap(({ NodeName, Datacenter }) => [NodeName, Datacenter]),
  ];
}

export function aclTokenHash(token: ACLToken): Uint8Array {
  return hashOf([
    token.Description,
    token.Type,
    token.Rules,
    token.Local ? 'local' : 'global',
    ...(token.Policies ?? []).map(({ ID }) => ID),
    ...(token.Roles ?? []).map(({ ID }) => ID),
    ...identityTexts(token),
  ]);
}

export function aclPolicyHash(policy: ACLPolicy): Uint8Array {
  return hashOf([policy.Name, policy.Description, policy.Rules, ...(policy.Datacenters ?? [])]);
}

export function aclRoleHash(role: ACLRole): Uint8Array {
  return hashOf([role.Name, role.Description, ...(role.Policies ?? []).map(({ ID }) => ID), ...identityTexts(role)]);
}
