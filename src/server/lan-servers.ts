/**
 * The servers of this datacenter as gossip's LAN pool knows them, by the address and by the id that consensus calls
 * them by. A list of its own, because members are many and servers few, and every forwarded call looks one up.
 */
import { hostPort } from '../lib/index.ts';
import { type ConsulServer, parseConsulServer } from '../gossip/index.ts';
import { type Member, memberStatus } from '../model/index.ts';

export class LanServers {
  readonly #datacenter: string;
  readonly #byName = new Map<string, ConsulServer>();
  readonly #byAddress = new Map<string, ConsulServer>();

  constructor(datacenter: string) {
    this.#datacenter = datacenter;
  }

  /** In every status. */
  get all(): readonly ConsulServer[] {
    return [...this.#byName.values()];
  }

  /** @param address `ip:port` of its RPC door. */
  at(address: string): ConsulServer | undefined {
    return this.#byAddress.get(address);
  }

  withId(id: string): ConsulServer | undefined {
    const same = this.all.filter((server) => server.id === id);
    return same.find(isAlive) ?? same[0];
  }

  /** Takes over what gossip knows, and forgets what it does not. */
  replace(members: readonly Member[]): void {
    this.#byName.clear();
    this.#byAddress.clear();
    for (const member of members) this.update(member);
  }

  /** The server that a member is; undefined when it is none of this datacenter. */
  serverOf(member: Member): ConsulServer | undefined {
    const server = parseConsulServer(member);
    return server?.datacenter === this.#datacenter ? server : undefined;
  }

  /** @returns whether the member is one of the servers. */
  update(member: Member): boolean {
    this.forget(member.Name);
    const server = this.serverOf(member);
    if (server === undefined) return false;
    this.#byName.set(server.name, server);
    const address = raftAddress(server);
    const other = this.#byAddress.get(address);
    if (other === undefined || isAlive(server) || !isAlive(other)) this.#byAddress.set(address, server);
    return true;
  }

  forget(name: string): void {
    const server = this.#byName.get(name);
    if (server === undefined) return;
    this.#byName.delete(name);
    const address = raftAddress(server);
    if (this.#byAddress.get(address) === server) this.#byAddress.delete(address);
  }
}

/** What consensus calls the server by: always `ip:port` of what it advertises. */
export function raftAddress({ address, port }: { readonly address: string; readonly port: number }): string {
  return hostPort(address, port);
}

export function isAlive({ status }: ConsulServer): boolean {
  return status === memberStatus.alive;
}
