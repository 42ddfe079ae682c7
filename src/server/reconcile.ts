/**
 * Reconcile: what gossip knows about a member becomes what the catalog says about it. The leader writes the row, the
 * `serfHealth` check and, for servers, the `consul` service; it writes nothing that is there already, so that a full
 * pass over the members costs no log entries (reference/raft.md §3.3).
 */
import type { ConsulServer } from '../gossip/index.ts';
import {
  consulServiceId,
  consulServiceName,
  emptyCheckDefinition,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  type Member,
  memberStatus,
  type NodeService,
  type RegisterRequest,
  serfHealthAliveOutput,
  serfHealthCheckId,
  serfHealthCheckName,
  type Unindexed,
} from '../model/index.ts';
import type { Command, StateStore } from '../state/index.ts';

/** A member of the gossip pool as the catalog needs it. */
export interface ReconciledMember {
  readonly name: string;
  readonly address: string;
  /** Tag `id`; "" when the member has none. */
  readonly id: string;
  readonly status: 'alive' | 'failed' | 'left';
  /** For servers. */
  readonly server?: { readonly port: number; readonly meta: Readonly<Record<string, string>> };
}

const serfHealthFailedOutput = 'Agent not live or unreachable';

/** A member as the catalog needs it. @param server what it is, if it is one. */
export function reconciledMember(member: Member, server: ConsulServer | undefined): ReconciledMember {
  return {
    name: member.Name,
    address: member.Addr,
    id: member.Tags['id'] ?? '',
    status: member.Status === memberStatus.alive ? 'alive' : 'failed',
    ...(server && { server: { port: server.port, meta: serverMeta(member, server) } }),
  };
}

/** Metadata of the service `consul`. */
function serverMeta(member: Member, server: ConsulServer): Readonly<Record<string, string>> {
  return {
    // The peer never says anything else.
    non_voter: 'false',
    raft_version: String(server.raftVersion),
    serf_protocol_current: String(member.ProtocolCur),
    serf_protocol_min: String(member.ProtocolMin),
    serf_protocol_max: String(member.ProtocolMax),
    version: server.build,
  };
}

/** The command that brings the catalog in line with the member; undefined when it is already. */
export function reconcileMember(store: StateStore, datacenter: string, member: ReconciledMember): Command | undefined {
  const row = store.node(member.name);
  if (member.status === 'left') {
    return row && { type: 'Deregister', request: { Datacenter: datacenter, Node: member.name } };
  }
  const alive = member.status === 'alive';
  const status = alive ? 'passing' : 'critical';
  if (row === undefined && !alive) return undefined;
  const { server } = member;
  // Between this look and the write the agent may tell of itself. The peer's leader then takes its metadata away again,
  // until the agent's next full sync; who creates a node without changing one does not.
  const isNodeRight = row === undefined || (row.Address === member.address && row.ID === member.id);
  const unchanged =
    row?.Address === member.address &&
    store.nodeCheck(member.name, serfHealthCheckId)?.Status === status &&
    (!alive || server === undefined || sameMeta(store.nodeService(member.name, consulServiceId)?.Meta, server.meta));
  if (unchanged) return undefined;
  const request: RegisterRequest = {
    Datacenter: datacenter,
    Node: member.name,
    ID: member.id,
    Address: member.address,
    // What the agent wrote about itself stays; of a failed member only the check is written.
    TaggedAddresses: (alive && row?.TaggedAddresses) || null,
    NodeMeta: (alive && row?.Meta) || null,
    Service: alive && server !== undefined ? consulService(server) : null,
    Check: serfHealth(member.name, status, alive ? serfHealthAliveOutput : serfHealthFailedOutput),
    SkipNodeUpdate: !alive || isNodeRight,
  };
  return { type: 'Register', request };
}

function consulService(server: NonNullable<ReconciledMember['server']>): Unindexed<NodeService> {
  return {
    Kind: '',
    ID: consulServiceId,
    Service: consulServiceName,
    Tags: null,
    Address: '',
    TaggedAddresses: null,
    Meta: server.meta,
    Port: server.port,
    Weights: { Passing: 1, Warning: 1 },
    EnableTagOverride: false,
    Proxy: emptyProxy,
    Connect: emptyConnect,
  };
}

function serfHealth(node: string, status: string, output: string): Unindexed<HealthCheck> {
  return {
    Node: node,
    CheckID: serfHealthCheckId,
    Name: serfHealthCheckName,
    Status: status,
    Notes: '',
    Output: output,
    ServiceID: '',
    ServiceName: '',
    ServiceTags: null,
    Type: '',
    Definition: emptyCheckDefinition,
  };
}

function sameMeta(a: NodeService['Meta'] | undefined, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(b);
  return !!a && Object.keys(a).length === keys.length && keys.every((key) => a[key] === b[key]);
}
