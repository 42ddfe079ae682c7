/**
 * The servers a client knows, in the order in which it turns to them: all calls go to the first, one that fails goes
 * to the end (reference/server-rpc.md §6.1). From time to time the list is shuffled, so that clients spread anew over
 * servers that came back; how often follows from what that costs the servers.
 */
import type { ConsulServer } from '../../gossip/index.ts';
import { type Random, shuffled } from '../../ports/index.ts';

/** A client stays with its server for so long at least, and up to half as much again at random (ms). */
export const connectionUseMsMin = 120_000;
/** New connections that all clients together may cause, a second and server. */
const rebalancesPerSecond = 64;

export class ServerList {
  readonly #random: Random;
  #servers: ConsulServer[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get all(): readonly ConsulServer[] {
    return this.#servers;
  }

  get size(): number {
    return this.#servers.length;
  }

  /** The first server that is none of `tried`. */
  next(tried?: ReadonlySet<string>): ConsulServer | undefined {
    return this.#servers.find(({ name }) => tried?.has(name) !== true);
  }

  /** Puts a server at the end, or in the place of what was known by its name. @returns what was known. */
  add(server: ConsulServer): ConsulServer | undefined {
    const at = this.#servers.findIndex(({ name }) => name === server.name);
    if (at < 0) {
      this.#servers.push(server);
      return undefined;
    }
    const known = this.#servers[at];
    this.#servers[at] = server;
    return known;
  }

  /** @returns what was known by the name. */
  remove(name: string): ConsulServer | undefined {
    const at = this.#servers.findIndex((server) => server.name === name);
    return at < 0 ? undefined : this.#servers.splice(at, 1)[0];
  }

  /** Turns to the next server, if it is the first that has failed: of many calls to one server the first to fail does. */
  failed(name: string): void {
    if (this.#servers[0]?.name === name) this.#servers.push(this.#servers.shift()!);
  }

  /** All servers in random order. */
  shuffled(): ConsulServer[] {
    return shuffled(this.#servers, this.#random);
  }

  /** Takes an order of {@link shuffled}, `first` at its head; servers that came or went meanwhile are respected. */
  reorder(order: readonly ConsulServer[], first: string): void {
    const places = new Map(order.map(({ name }, at) => [name, name === first ? -1 : at]));
    const place = ({ name }: ConsulServer): number => places.get(name) ?? order.length;
    this.#servers = this.#servers.toSorted((a, b) => place(a) - place(b));
  }

  clear(): void {
    this.#servers = [];
  }
}

/** Time until the next rebalance (ms): more in large clusters, so that servers are not flooded with connections. */
export function rebalanceDelayMs(members: number, servers: number, random: Random): number {
  const useMs = connectionUseMsMin * (1 + random.next() / 2);
  return Math.max(useMs, (members / (rebalancesPerSecond * Math.max(1, servers))) * 1000);
}
