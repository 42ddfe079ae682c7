/** Which names ACL objects may have, and which links they may hold (reference/http-api.md §9.11). */
import {
  type ACLGrants,
  type ACLLink,
  type ACLNodeIdentity,
  type ACLServiceIdentity,
  CallError,
} from '../../model/index.ts';
import type { StateStore } from '../../state/index.ts';

/** Longest name of a policy or an auth method. */
const nameMax = 128;
/** Longest name of a role, service identity or node identity. */
const longNameMax = 256;
/** Links and identities an object may hold; a token is resolved as a whole. */
const linksMax = 1024;

const validCharacters = "Only alphanumeric characters, '-' and '_' are allowed";

/** @throws CallError with the peer's text. */
export function requireName(kind: 'Policy' | 'Role' | 'Auth Method', name: string): void {
  if (name === '') throw new CallError(`Invalid ${kind}: no Name is set`);
  const max = kind === 'Role' ? longNameMax : nameMax;
  if (name.length > max || !/^[\w-]+$/.test(name))
    throw new CallError(`Invalid ${kind}: invalid Name. ${validCharacters}`);
}

export function isServiceIdentityName(name: string): boolean {
  return name.length <= longNameMax && /^[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?$/.test(name);
}

export function isNodeIdentityName(name: string): boolean {
  return name.length <= longNameMax && /^[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?$/.test(name);
}

export function isRoleName(name: string): boolean {
  return name.length <= longNameMax && /^[\w-]+$/.test(name);
}

/**
 * Links by ID, without names: those may change.
 * @throws CallError for one that leads nowhere.
 */
export function resolvedLinks(
  store: StateStore,
  kind: 'policy' | 'role',
  links: readonly ACLLink[] | null,
): readonly ACLLink[] | null {
  if (links === null || links.length === 0) return null;
  if (links.length > linksMax) throw new CallError(`${links.length} links to ACL objects; ${linksMax} are allowed`);
  const ids = new Map<string, ACLLink>();
  for (const { ID, Name } of links) {
    const found =
      ID === ''
        ? (kind === 'policy' ? store.acl.policyByName(Name) : store.acl.roleByName(Name)).result
        : kind === 'policy'
          ? store.acl.policyRecord(ID)
          : store.acl.roleRecord(ID);
    if (!found) throw new CallError(`No such ACL ${kind} with ${ID === '' ? `name "${Name}"` : `ID "${ID}"`}`);
    ids.set(found.ID, { ID: found.ID, Name: '' });
  }
  return [...ids.values()];
}

type ACLIdentities = Pick<ACLGrants, 'ServiceIdentities' | 'NodeIdentities'>;

/**
 * The identities as they are stored: each once, by name.
 * @throws CallError with the peer's text.
 */
export function requireIdentities(
  kind: 'token' | 'role',
  { ServiceIdentities, NodeIdentities }: ACLIdentities,
  local: boolean,
): ACLIdentities {
  if ((ServiceIdentities?.length ?? 0) + (NodeIdentities?.length ?? 0) > linksMax) {
    throw new CallError(`more than ${linksMax} identities on this ${kind}`);
  }
  for (const { ServiceName, Datacenters } of ServiceIdentities ?? []) {
    if (ServiceName === '') throw new CallError(`Service identity is missing the service name field on this ${kind}`);
    if (local && Datacenters !== null && Datacenters.length > 0) {
      throw new CallError(`Service identity "${ServiceName}" cannot specify a list of datacenters on a local token`);
    }
    if (!isServiceIdentityName(ServiceName)) {
      throw new CallError(`Service identity "${ServiceName}" has an invalid name. ${validCharacters}`);
    }
  }
  for (const { NodeName, Datacenter } of NodeIdentities ?? []) {
    if (NodeName === '') throw new CallError(`Node identity is missing the node name field on this ${kind}`);
    if (Datacenter === '') throw new CallError(`Node identity is missing the datacenter field on this ${kind}`);
    if (!isNodeIdentityName(NodeName)) throw new CallError(`Node identity has an invalid name. ${validCharacters}`);
  }
  return {
    ServiceIdentities: ServiceIdentities && mergedServices(ServiceIdentities),
    NodeIdentities: NodeIdentities && mergedNodes(NodeIdentities),
  };
}

/** One identity for each service, for all the datacenters that any of them names; for every one when one names none. */
function mergedServices(identities: readonly ACLServiceIdentity[]): readonly ACLServiceIdentity[] {
  const merged = new Map<string, ACLServiceIdentity>();
  for (const identity of identities) {
    const before = merged.get(identity.ServiceName);
    merged.set(
      identity.ServiceName,
      before === undefined ? identity : { ...identity, Datacenters: union(before, identity) },
    );
  }
  return [...merged.values()].toSorted((a, b) => (a.ServiceName < b.ServiceName ? -1 : 1));
}

function union(a: ACLServiceIdentity, b: ACLServiceIdentity): readonly string[] | null {
  if (!a.Datacenters?.length || !b.Datacenters?.length) return null;
  return [...new Set([...a.Datacenters, ...b.Datacenters])].toSorted();
}

function mergedNodes(identities: readonly ACLNodeIdentity[]): readonly ACLNodeIdentity[] {
  const merged = new Map(identities.map((identity) => [`${identity.NodeName}\0${identity.Datacenter}`, identity]));
  return [...merged].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, identity]) => identity);
}
