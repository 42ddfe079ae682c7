/**
 * This agent among the others: its pools, what it says of itself in them, and what members and operators can ask of
 * it. What changes is told to the hooks; they decide what it means for the catalog or for the way to the servers.
 */
import type { Config } from '../config/index.ts';
import { hostPort } from '../lib/index.ts';
import {
  aclModes,
  consulClientTags,
  consulEventKind,
  consulServerTags,
  type JoinResult,
  type KeyResult,
  lanMergeProblem,
  type MemberEvent,
  ownRevision,
  parseConsulServer,
  type Serf,
  type SerfEvent,
  type UserEventMessage,
  wanMergeProblem,
  wanName,
} from '../gossip/index.ts';
import {
  type Coordinate,
  type KeyringRequest,
  type KeyringResponse,
  type Member,
  memberStatus,
} from '../model/index.ts';
import type { Clock, Logger, Timer } from '../ports/index.ts';
import type { KeyringOperation } from '../server/index.ts';
import { createGossipPool, type GossipPorts, type PoolHooks, type PoolKind } from './gossip-pool.ts';

/** How often servers of this datacenter that are missing in the WAN pool are invited, ms (reference/gossip.md §6.3). */
const floodIntervalMs = 60_000;

export interface MembershipHooks {
  /** Members of a pool came, went or changed; also when it is this one. Called inside gossip's step: must not throw. */
  readonly onMembers: (event: MemberEvent, pool: PoolKind) => void;
  /** A message for every agent of the datacenter. */
  readonly onUserEvent: (event: UserEventMessage) => void;
  /** The datacenter has a new leader. */
  readonly onNewLeader: (nodeName: string) => void;
  /** A LAN pool was joined. */
  readonly onJoined: () => void;
}

export interface MembershipIdentity {
  readonly nodeName: string;
  /** UUID. */
  readonly nodeId: string;
  /** Consul version to be compatible with. */
  readonly version: string;
  /** Address that members of the LAN are told. */
  readonly advertise: string;
  /** The same for the WAN. */
  readonly advertiseWan: string;
}

export class Membership {
  readonly lan: Serf;
  /** Of servers, unless the port is switched off. */
  readonly wan: Serf | undefined;
  readonly #datacenter: string;
  readonly #isServer: boolean;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onJoined: () => void;
  #flood: Timer | undefined;
  #flooding = false;

  private constructor(
    pools: { lan: Serf; wan: Serf | undefined },
    config: Config,
    ports: GossipPorts,
    joined: () => void,
  ) {
    this.lan = pools.lan;
    this.wan = pools.wan;
    this.#datacenter = config.datacenter;
    this.#isServer = config.server.enabled;
    this.#clock = ports.clock;
    this.#logger = ports.logger;
    this.#onJoined = joined;
  }

  /** Nothing is bound before {@link Membership.start}. @throws Error when a keyring file is unusable. */
  static async create(
    config: Config,
    identity: MembershipIdentity,
    hooks: MembershipHooks,
    ports: GossipPorts,
  ): Promise<Membership> {
    const { nodeName, nodeId, version } = identity;
    const { datacenter, server } = config;
    const facts = {
      datacenter,
      nodeId,
      version,
      revision: ownRevision,
      aclMode: config.acl.enabled ? aclModes.enabled : aclModes.disabled,
    };
    const tags = (pool: PoolKind): Readonly<Record<string, string>> =>
      server.enabled
        ? consulServerTags(
            {
              ...facts,
              port: config.ports.server,
              wanPort: config.ports.serfWan > 0 ? config.ports.serfWan : undefined,
              bootstrap: server.bootstrap,
              bootstrapExpect: server.bootstrapExpect,
              nonVoter: false,
              useTls: config.tls.caFile !== '' || config.tls.caPath !== '',
            },
            pool,
          )
        : consulClientTags(facts);
    const own = { nodeName, nodeId, datacenter, segment: '' };
    const logger = ports.logger;
    const lanHooks: PoolHooks = {
      mergeProblem: (members) => lanMergeProblem(own, members),
      onEvent: (event) => {
        hear(event, 'lan', hooks, logger);
        if (event.type === 'member-join' && event.members.some((member) => parseConsulServer(member) !== null)) {
          membership.#floodSoon();
        }
      },
    };
    const wanHooks: PoolHooks = {
      mergeProblem: wanMergeProblem,
      onEvent: (event) => hear(event, 'wan', hooks, logger),
    };
    const hasWan = server.enabled && config.ports.serfWan > 0;
    const lan = await createGossipPool(
      'lan',
      config,
      { name: nodeName, tags: tags('lan'), advertise: identity.advertise },
      lanHooks,
      ports,
    );
    const wan = hasWan
      ? await createGossipPool(
          'wan',
          config,
          { name: wanName(nodeName, datacenter), tags: tags('wan'), advertise: identity.advertiseWan },
          wanHooks,
          ports,
        )
      : undefined;
    const membership: Membership = new Membership({ lan, wan }, config, ports, hooks.onJoined);
    return membership;
  }

  /** Binds the pools' ports. @throws Error when one is taken. */
  async start(): Promise<void> {
    // The WAN first: others learn from the LAN that they may join us there.
    await this.wan?.start();
    await this.lan.start();
    this.#scheduleFlood();
  }

  /** All members of a pool, this one included; of a pool that this agent is not in, none. */
  members({ wan }: { readonly wan: boolean }): readonly Member[] {
    return (wan ? this.wan : this.lan)?.members() ?? [];
  }

  /** This agent as the members of its LAN see it. */
  get self(): Member {
    return this.lan.localMember;
  }

  /** Members of the LAN that are alive, this one included. */
  get memberCount(): number {
    return this.lan.numAlive;
  }

  /** Where this node stands in the LAN; null when it does not measure. */
  get coordinate(): Coordinate | null {
    return this.lan.coordinate;
  }

  /**
   * Enters a pool through members of it.
   * @throws Error for the WAN on an agent that is no server.
   */
  async join(addresses: readonly string[], { wan }: { readonly wan: boolean }): Promise<JoinResult> {
    const pool = wan ? this.wan : this.lan;
    if (pool === undefined) {
      // On a client in Consul's words.
      const server = this.#isServer ? 'a server with a WAN port' : 'a server';
      throw new Error(`Must be ${server} to join WAN cluster`);
    }
    const name = wan ? 'WAN' : 'LAN';
    this.#logger.info(`(${name}) joining`, { [`${name.toLowerCase()}_addresses`]: addresses });
    // What happened before is not ours to repeat: events would fire twice (reference/gossip.md §6.2).
    const result = await pool.join(addresses, true);
    if (result.joined > 0) {
      this.#logger.info(`(${name}) joined`, { number_of_nodes: result.joined });
      if (!wan) this.#onJoined();
    } else {
      this.#logger.warn(`(${name}) couldn't join`, { number_of_nodes: 0, error: result.errors.join('; ') });
    }
    return result;
  }

  /**
   * Declares a failed member gone for good, in the WAN too.
   * @returns false when no member has that name.
   */
  async forceLeave(name: string, prune: boolean): Promise<boolean> {
    const suffix = `.${this.#datacenter}`;
    const inWan = name.endsWith(suffix) ? name : name + suffix;
    const pools = [
      { pool: this.lan, member: name },
      { pool: this.wan, member: inWan },
    ].filter(({ pool, member }) => pool?.member(member) !== undefined);
    for (const { pool, member } of pools) await pool!.removeFailedNode(member, { prune });
    return pools.length > 0;
  }

  /** Sends a message to every agent of the datacenter, this one included. @throws SerfError when it is too long. */
  broadcast(name: string, payload: Uint8Array): void {
    this.lan.userEvent(name, payload, false);
  }

  /** Says goodbye, in the WAN first: who is still in the LAN is a member of the datacenter. */
  async leave(): Promise<void> {
    this.#flood?.cancel();
    await this.wan?.leave();
    await this.lan.leave();
  }

  async shutdown(): Promise<void> {
    this.#flood?.cancel();
    await Promise.all([this.wan?.shutdown(), this.lan.shutdown()]);
  }

  /** Asks the members of the pools about their keys. */
  readonly keyring: KeyringOperation = async (request) => {
    const { lan, wan } = this;
    const answer = async (pool: Serf, isWan: boolean): Promise<KeyringResponse> => ({
      WAN: isWan,
      Datacenter: this.#datacenter,
      Segment: '',
      ...(await askKeys(pool, request)),
    });
    if (request.Forwarded || request.LocalOnly || wan === undefined) return [await answer(lan, false)];
    return [await answer(wan, true), await answer(lan, false)];
  };

  #scheduleFlood(): void {
    if (this.wan === undefined) return;
    this.#flood = this.#clock.after(floodIntervalMs, () => {
      this.#floodSoon();
      this.#scheduleFlood();
    });
  }

  /** Invites this datacenter's servers into the WAN pool (reference/gossip.md §6.3). */
  #floodSoon(): void {
    const { wan } = this;
    if (wan === undefined || this.#flooding) return;
    this.#flooding = true;
    queueMicrotask(() => {
      void this.#inviteServers(wan).finally(() => (this.#flooding = false));
    });
  }

  async #inviteServers(wan: Serf): Promise<void> {
    for (const member of this.lan.members()) {
      const server = parseConsulServer(member);
      if (server === null || server.status !== memberStatus.alive || server.datacenter !== this.#datacenter) continue;
      const name = wanName(server.name, server.datacenter);
      if (server.wanJoinPort === 0 || wan.member(name)?.Status === memberStatus.alive) continue;
      try {
        const { errors } = await wan.join([`${name}/${hostPort(server.address, server.wanJoinPort)}`], true);
        if (errors.length > 0)
          this.#logger.warn('cannot invite a server into the WAN pool', { name, error: errors[0] });
      } catch (error) {
        this.#logger.debug('cannot invite a server into the WAN pool', { name, error });
      }
    }
  }
}

function hear(event: SerfEvent, pool: PoolKind, hooks: MembershipHooks, logger: Logger): void {
  if (event.type === 'query') return;
  if (event.type !== 'user') {
    hooks.onMembers(event, pool);
    return;
  }
  if (pool !== 'lan') return;
  switch (consulEventKind(event.name)) {
    case 'user':
      hooks.onUserEvent(event);
      break;
    case 'new-leader':
      hooks.onNewLeader(Buffer.from(event.payload).toString());
      break;
    case 'unknown':
      logger.warn('Unhandled local event', { event: event.name });
      break;
    case 'foreign':
      break;
  }
}

type KeyAnswer = Pick<KeyringResponse, 'Messages' | 'Keys' | 'PrimaryKeys' | 'NumNodes' | 'Error'>;

async function askKeys({ keys }: Serf, { Operation, Key, RelayFactor }: KeyringRequest): Promise<KeyAnswer> {
  const options = { relayFactor: RelayFactor };
  let result: KeyResult;
  try {
    result = await (Operation === 'list' ? keys.list(options) : keys[Operation](Key, options));
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { Messages: null, Keys: null, PrimaryKeys: null, NumNodes: 0, Error: problem };
  }
  const object = <T>(map: ReadonlyMap<string, T>): Readonly<Record<string, T>> | null =>
    map.size === 0 ? null : Object.fromEntries(map);
  return {
    Messages: object(result.messages),
    Keys: object(result.keys),
    PrimaryKeys: object(result.primaryKeys),
    NumNodes: result.numNodes,
    Error: result.error ?? '',
  };
}
