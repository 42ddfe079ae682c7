/**
 * What Consul's members say of themselves: everything about a node that others must know before they can call it is in
 * its tags. A member counts as a server only when all of the tags that servers have can be read; one that cannot
 * makes it a stranger everywhere (reference/gossip.md §6.1).
 */
import type { Member, MemberStatus } from '../model/index.ts';

/** Versions of Consul's own protocol, which every member of this age speaks. */
export const consulProtocol = { current: 2, min: 2, max: 3 } as const;
export const raftProtocol = 3;

/** Whether a node knows of ACLs: 2 while it waits for its servers to say that the newer kind is in use. */
export const aclModes = { disabled: '0', enabled: '1', legacy: '2' } as const;
export type AclMode = (typeof aclModes)[keyof typeof aclModes];

export const serverRole = 'consul';
export const clientRole = 'node';

export interface ClientTagFacts {
  readonly datacenter: string;
  /** UUID. */
  readonly nodeId: string;
  /** Version without a `v`, and the first characters of the revision; "" = none. */
  readonly version: string;
  readonly revision: string;
  readonly aclMode: AclMode;
}

export interface ServerTagFacts extends ClientTagFacts {
  /** Port for server RPC. */
  readonly port: number;
  /** Port of the WAN pool; undefined when there is none. */
  readonly wanPort: number | undefined;
  readonly bootstrap: boolean;
  /** Servers to wait for before the first election; 0 or 1 says nothing. */
  readonly bootstrapExpect: number;
  readonly nonVoter: boolean;
  readonly useTls: boolean;
}

type Tags = Readonly<Record<string, string>>;

/** In the place of a real agent's revision: operators, and servers of ours, tell us apart by it. */
export const ownRevision = 'portolan';
/** Characters of a revision that are shown. */
const revisionLength = 8;

export function consulClientTags(facts: ClientTagFacts): Tags {
  return { role: clientRole, ...commonTags(facts) };
}

/** @param pool the WAN pool's members do not say how to reach them there. */
export function consulServerTags(facts: ServerTagFacts, pool: 'lan' | 'wan'): Tags {
  // `bootstrap_expect = 1` is another word for bootstrap.
  const bootstrap = facts.bootstrap || facts.bootstrapExpect === 1;
  return {
    role: serverRole,
    ...commonTags(facts),
    port: String(facts.port),
    raft_vsn: String(raftProtocol),
    ft_fs: '1',
    ...(pool === 'lan' && facts.wanPort !== undefined ? { wan_join_port: String(facts.wanPort) } : {}),
    ...(bootstrap ? { bootstrap: '1' } : {}),
    ...(facts.bootstrapExpect > 1 ? { expect: String(facts.bootstrapExpect) } : {}),
    ...(facts.nonVoter ? { nonvoter: '1' } : {}),
    ...(facts.useTls ? { use_tls: '1' } : {}),
  };
}

function commonTags({ datacenter, nodeId, version, revision, aclMode }: ClientTagFacts): Tags {
  return {
    dc: datacenter,
    segment: '',
    id: nodeId,
    vsn: String(consulProtocol.current),
    vsn_min: String(consulProtocol.min),
    vsn_max: String(consulProtocol.max),
    build: `${version}:${revision.slice(0, revisionLength)}`,
    acls: aclMode,
  };
}

/** A server as its tags describe it. */
export interface ConsulServer {
  /** Name in the pool it was seen in; `node.dc` in the WAN. */
  readonly name: string;
  readonly id: string;
  readonly datacenter: string;
  readonly address: string;
  readonly port: number;
  /** 0 = it says nothing. */
  readonly wanJoinPort: number;
  readonly segment: string;
  readonly bootstrap: boolean;
  readonly expect: number;
  readonly nonVoter: boolean;
  readonly useTls: boolean;
  /** `major.minor.patch`. */
  readonly build: string;
  /** Whether it is one of ours, which knows more than the peer's protocol has. */
  readonly isPortolan: boolean;
  readonly version: number;
  readonly raftVersion: number;
  /** The `acls` tag; "3" when it says nothing. */
  readonly acls: string;
  /** Numbers of the `ft_` tags by the rest of their names. */
  readonly features: ReadonlyMap<string, number>;
  readonly status: MemberStatus;
}

/** What an absent `acls` tag means; never sent. */
export const aclModeUnknown = '3';

/** The server that a member is, or null. */
export function parseConsulServer(member: Member): ConsulServer | null {
  const { Tags } = member;
  if (Tags['role'] !== serverRole) return null;
  const port = integer(Tags['port'] ?? '');
  const version = integer(Tags['vsn'] ?? '');
  const expect = integer(Tags['expect'] ?? '0');
  const wanJoinPort = integer(Tags['wan_join_port'] ?? '0');
  const raftVersion = integer(Tags['raft_vsn'] ?? '0');
  const build = consulBuild(Tags);
  if (port === null || version === null || expect === null || wanJoinPort === null || raftVersion === null) return null;
  if (build === null) return null;
  const features = new Map<string, number>();
  for (const [key, value] of Object.entries(Tags)) {
    if (key.startsWith('ft_')) {
      const number = integer(value);
      if (number === null) return null;
      features.set(key.slice('ft_'.length), number);
    }
    if (key.startsWith('sl_') && integer(value.slice(value.lastIndexOf(':') + 1)) === null) return null;
  }
  return {
    name: member.Name,
    id: Tags['id'] ?? '',
    datacenter: Tags['dc'] ?? '',
    address: member.Addr,
    port,
    wanJoinPort,
    segment: Tags['segment'] ?? '',
    bootstrap: 'bootstrap' in Tags,
    expect,
    nonVoter: 'nonvoter' in Tags,
    useTls: 'use_tls' in Tags,
    build,
    isPortolan: Tags['build']?.endsWith(`:${ownRevision}`) ?? false,
    version,
    raftVersion,
    acls: Tags['acls'] ?? aclModeUnknown,
    features,
    status: member.Status,
  };
}

/** The `major.minor.patch` of the build that a member says it is, or null. */
export function consulBuild(tags: Tags): string | null {
  return /\d+\.\d+\.\d+/.exec(tags['build'] ?? '')?.[0] ?? null;
}

function integer(text: string): number | null {
  if (!/^[+-]?\d+$/.test(text)) return null;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : null;
}

/** The name of a server in the WAN pool. */
export function wanName(nodeName: string, datacenter: string): string {
  return `${nodeName}.${datacenter}`;
}
