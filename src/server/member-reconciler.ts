/**
 * The leader's look at members: what gossip says of them becomes rows of the catalog and, for servers, places in the
 * configuration of consensus (reference/raft.md §3.3, §3.4).
 */
import { type ConsulServer, clientRole } from '../gossip/index.ts';
import { consulServiceId, type Member, memberStatus, serfHealthCheckId } from '../model/index.ts';
import type { Logger } from '../ports/index.ts';
import type { StateStore } from '../state/index.ts';
import type { Consensus } from './command-log.ts';
import { isAlive, type LanServers, raftAddress } from './lan-servers.ts';
import { reconciledMember, reconcileMember, type ReconciledMember } from './reconcile.ts';

/** Something gossip said about a member. */
export interface MemberNews {
  readonly member: Member;
  /** It was forgotten: nobody will hear of it again. */
  readonly isReaped: boolean;
}

/** Fewer servers than this get along without having their own leader reconciled into the configuration. */
const selfReconcileServersMin = 3;
/** Below it, servers of that age are added as voters right away; autopilot promotes those of this one. */
const autopilotRaftVersion = 3;

export class MemberReconciler {
  readonly #datacenter: string;
  readonly #nodeName: string;
  readonly #store: StateStore;
  readonly #log: Consensus;
  readonly #lan: LanServers;
  readonly #logger: Logger;
  readonly #onServerAdded: () => void;

  constructor(parts: {
    readonly datacenter: string;
    readonly nodeName: string;
    readonly store: StateStore;
    readonly log: Consensus;
    readonly lan: LanServers;
    readonly logger: Logger;
    /** A server has come: a dead one may be what it replaces. */
    readonly onServerAdded: () => void;
  }) {
    this.#datacenter = parts.datacenter;
    this.#nodeName = parts.nodeName;
    this.#store = parts.store;
    this.#log = parts.log;
    this.#lan = parts.lan;
    this.#logger = parts.logger;
    this.#onServerAdded = parts.onServerAdded;
  }

  /** Every member, and every node that was one. */
  async all(members: readonly Member[], signal: AbortSignal): Promise<void> {
    const known = new Set(members.map(({ Name }) => Name.toLowerCase()));
    for (const member of members) {
      if (signal.aborted) return;
      await this.one({ member, isReaped: false }).catch((error: unknown) =>
        this.#logger.error('failed to reconcile a member', { member: member.Name, error }),
      );
    }
    for (const node of this.#store.nodes().result) {
      if (signal.aborted) return;
      if (known.has(node.Node.toLowerCase())) continue;
      if (this.#store.nodeCheck(node.Node, serfHealthCheckId) === undefined) continue;
      await this.#forgotten(node.Node, node.Address).catch((error: unknown) =>
        this.#logger.error('failed to reconcile a node that gossip forgot', { node: node.Node, error }),
      );
    }
  }

  /** @throws CallError when a command fails, as for a name that another live node has. */
  async one({ member, isReaped }: MemberNews): Promise<void> {
    const server = this.#lan.serverOf(member);
    const isClient = member.Tags['role'] === clientRole && member.Tags['dc'] === this.#datacenter;
    if (!isClient && (server === undefined || server.segment !== '')) return;
    const { Status } = member;
    if (isReaped || Status === memberStatus.left) {
      // Our own departure is for the next leader to note.
      if (member.Name === this.#nodeName) return;
      if (server !== undefined) await this.#removeFromRaft(server.id);
      await this.#write({ name: member.Name, address: member.Addr, id: '', status: 'left' });
      return;
    }
    if (Status !== memberStatus.alive && Status !== memberStatus.failed) return;
    if (server !== undefined && Status === memberStatus.alive) await this.#joinRaft(server);
    await this.#write(reconciledMember(member, server));
  }

  async #write(member: ReconciledMember): Promise<void> {
    const command = reconcileMember(this.#store, this.#datacenter, member);
    if (command === undefined) return;
    this.#logger.info('reconciling member', { node: member.name, status: member.status });
    await this.#log.propose(command);
  }

  /** The catalog still has a node that gossip knows nothing of any more. */
  async #forgotten(name: string, address: string): Promise<void> {
    const service = this.#store.nodeService(name, consulServiceId);
    if (service !== undefined) {
      const at = raftAddress({ address, port: service.Port });
      const configured = this.#log.configuration.Servers.find(({ Address }) => Address === at);
      if (configured !== undefined && this.#lan.at(at) === undefined) await this.#removeFromRaft(configured.ID);
    }
    await this.#write({ name, address, id: '', status: 'left' });
  }

  async #removeFromRaft(id: string): Promise<void> {
    if (!this.#log.configuration.Servers.some(({ ID }) => ID === id)) return;
    this.#logger.info('removing a server that is gone', { id });
    await this.#log.removeServer(id);
  }

  async #joinRaft(server: ConsulServer): Promise<void> {
    const others = this.#lan.all.filter((other) => isAlive(other) && other.name !== server.name);
    if (server.bootstrap && others.some(({ bootstrap }) => bootstrap)) {
      this.#logger.error('two servers are in bootstrap mode; only one may be. The other is not added', {
        server: server.name,
      });
      return;
    }
    const { Servers } = this.#log.configuration;
    if (server.name === this.#nodeName && Servers.length < selfReconcileServersMin) return;
    const address = raftAddress(server);
    const versions = [server, ...others].map(({ raftVersion }) => raftVersion);
    const isOld = Math.min(...versions) < autopilotRaftVersion;
    const id = server.raftVersion < autopilotRaftVersion ? address : server.id;
    for (const { ID, Address } of Servers) {
      if (Address === address && ID === id) return;
      if (Address !== address && ID !== id) continue;
      this.#logger.info('removing a server whose address or id another one has now', { id: ID, address: Address });
      await this.#log.removeServer(ID);
    }
    this.#logger.info('adding a server', { server: server.name, id, address });
    if (isOld) await this.#log.addVoter(id, address);
    else await this.#log.addNonvoter(id, address);
    this.#onServerAdded();
  }
}
