/**
 * The datacenters and their servers as the WAN pool knows them, the nearest first: calls for another datacenter go to
 * one of its servers, and a failover asks datacenters in this order (reference/server-rpc.md §6, reference/gossip.md
 * §6.9).
 */
import { type ConsulServer, parseConsulServer, type Serf } from '../gossip/index.ts';
import { coordinateDistance, memberStatus } from '../model/index.ts';
import { type Random, shuffled } from '../ports/index.ts';
import type { RpcServerAddress } from '../rpc/index.ts';
import type { Wan, WanCoordinates } from '../server/index.ts';

export class WanMap implements Wan {
  readonly #pool: () => Serf | undefined;
  readonly #datacenter: string;
  readonly #random: Random;

  /** @param pool asked for at each call: the pool is made after those who use its map. */
  constructor(options: {
    readonly pool: () => Serf | undefined;
    readonly datacenter: string;
    readonly random: Random;
  }) {
    this.#pool = options.pool;
    this.#datacenter = options.datacenter;
    this.#random = options.random;
  }

  datacenters(): readonly string[] {
    const distances = new Map<string, number>([[this.#datacenter, 0]]);
    const here = this.#pool()?.coordinate ?? undefined;
    const samples = new Map<string, number[]>();
    for (const server of this.#servers()) {
      if (server.datacenter === this.#datacenter) continue;
      const there = this.#pool()?.cachedCoordinate(server.name);
      const rtt =
        here === undefined || there === undefined ? Number.POSITIVE_INFINITY : coordinateDistance(here, there);
      samples.set(server.datacenter, [...(samples.get(server.datacenter) ?? []), rtt]);
    }
    for (const [datacenter, rtts] of samples) distances.set(datacenter, median(rtts));
    return [...distances]
      .sort(([a, near], [b, far]) => (near === far ? (a < b ? -1 : 1) : near - far))
      .map(([datacenter]) => datacenter);
  }

  serversOf(datacenter: string): readonly RpcServerAddress[] {
    const servers = this.#servers().filter(
      (server) => server.datacenter === datacenter && server.status === memberStatus.alive,
    );
    return shuffled(servers, this.#random).map(({ name, address, port }) => ({ name, datacenter, address, port }));
  }

  coordinates(): WanCoordinates {
    const pool = this.#pool();
    const byDatacenter = new Map<string, WanCoordinates[number]['Coordinates'][number][]>();
    for (const { name, datacenter } of this.#servers()) {
      const Coord = pool?.cachedCoordinate(name);
      const list = byDatacenter.get(datacenter) ?? [];
      byDatacenter.set(datacenter, list);
      // Servers of a datacenter call themselves by their own names.
      if (Coord !== undefined) list.push({ Node: name.slice(0, -(datacenter.length + 1)), Segment: '', Coord });
    }
    return [...byDatacenter].map(([Datacenter, Coordinates]) => ({ Datacenter, AreaID: 'wan', Coordinates }));
  }

  #servers(): readonly ConsulServer[] {
    return (this.#pool()?.members() ?? [])
      .map(parseConsulServer)
      .filter((server): server is ConsulServer => server !== null && server.status !== memberStatus.left);
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
