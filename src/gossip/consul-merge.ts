/**
 * Who may be in one pool with us. Two clusters that join by mistake would become one, so every list of members that a
 * join brings is looked through first, and every single newcomer after that (reference/gossip.md §6.5). The texts are
 * the peers'; users search for them.
 */
import { type Member, memberStatus } from '../model/index.ts';
import { clientRole, consulBuild, parseConsulServer } from './consul-tags.ts';

/** From this build on a node's id is its own; older ones took it from the machine, which containers share. */
const uniqueIdBuild = [0, 8, 5] as const;

export interface LanIdentity {
  readonly nodeName: string;
  readonly nodeId: string;
  readonly datacenter: string;
  readonly segment: string;
}

/** Why these members cannot be in our LAN pool, or null. */
export function lanMergeProblem(own: LanIdentity, members: readonly Member[]): string | null {
  const names = new Map<string, string>();
  for (const member of members) {
    const { Name, Tags } = member;
    const id = Tags['id'] ?? '';
    if (id !== '' && member.Status !== memberStatus.left) {
      if (id === own.nodeId && Name !== own.nodeName) {
        return `Member '${Name}' has conflicting node ID '${id}' with this agent's ID`;
      }
      if (hasUniqueId(member)) {
        const other = names.get(id);
        if (other !== undefined) return `Member '${Name}' has conflicting node ID '${id}' with member '${other}'`;
        names.set(id, Name);
      }
    }
    const datacenter = Tags['dc'] ?? '';
    const isOurs = Tags['role'] === clientRole || parseConsulServer(member) !== null;
    if (isOurs && datacenter !== own.datacenter) return `Member '${Name}' part of wrong datacenter '${datacenter}'`;
    const segment = Tags['segment'] ?? '';
    if (segment !== own.segment) {
      return `Member '${Name}' part of wrong segment '${segment}' (expected '${own.segment}')`;
    }
  }
  return null;
}

/** Why these members cannot be in our WAN pool, or null. */
export function wanMergeProblem(members: readonly Member[]): string | null {
  const stranger = members.find((member) => parseConsulServer(member) === null);
  return stranger === undefined ? null : `Member '${stranger.Name}' is not a server`;
}

function hasUniqueId({ Tags }: Member): boolean {
  const build = consulBuild(Tags)?.split('.').map(Number);
  if (build === undefined) return false;
  for (const [i, least] of uniqueIdBuild.entries()) {
    if (build[i] !== least) return build[i]! > least;
  }
  return true;
}
