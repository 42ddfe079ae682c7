import { coordinateDistance, type Coordinate } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { clientFlags, formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';

interface NodeAt {
  readonly Node: string;
  readonly Coord: Coordinate;
}

export const rtt = command({
  name: 'rtt',
  operands: 'node1 [node2]',
  summary: 'Estimate the round trip time between nodes',
  description: [
    'Estimates from network coordinates, without sending anything between the two. Without node2: from this agent. With -wan the names are those of servers, NAME.DATACENTER.',
  ],
  flags: {
    ...clientFlags,
    ...formatFlag,
    wan: { kind: 'bool', help: 'Between servers of different datacenters.' },
  },
  async run({ io, values, args, out, client }) {
    const [first, second] = args;
    if (first === undefined || args.length > 2) {
      throw new CliError('One or two node names must be specified', { usage: true });
    }
    const json = wantsJson(values.format);
    const agent = client();
    const other = second ?? (await attempt('Unable to look up agent info', ownName(values.wan ?? false)));
    const nodes = await attempt('Error getting coordinates', values.wan ? readServers() : readNodes());
    const at = (name: string): Coordinate => {
      const found = nodes.get(name);
      if (found === undefined) throw new CliError(`Could not find a coordinate for node ${JSON.stringify(name)}`);
      return found;
    };
    const milliseconds = coordinateDistance(at(first), at(other)) * 1000;
    if (json) {
      writeJson(io, { Node1: first, Node2: other, Milliseconds: milliseconds, WAN: values.wan ?? false });
      return 0;
    }
    out(
      `Estimated ${first} <-> ${other} rtt: ${milliseconds.toFixed(3)} ms (using ${values.wan ? 'WAN' : 'LAN'} coordinates)`,
    );
    return 0;

    async function ownName(wan: boolean): Promise<string> {
      const { Config } = await agent.json<{
        readonly Config: { readonly NodeName: string; readonly Datacenter: string };
      }>('GET', '/v1/agent/self');
      return wan ? `${Config.NodeName}.${Config.Datacenter}` : Config.NodeName;
    }
    async function readNodes(): Promise<ReadonlyMap<string, Coordinate>> {
      const found = await agent.json<readonly NodeAt[] | null>('GET', '/v1/coordinate/nodes');
      return new Map(found?.map(({ Node, Coord }) => [Node, Coord]));
    }
    async function readServers(): Promise<ReadonlyMap<string, Coordinate>> {
      const found = await agent.json<
        readonly { readonly Datacenter: string; readonly Coordinates: readonly NodeAt[] }[]
      >('GET', '/v1/coordinate/datacenters');
      return new Map(
        found.flatMap(({ Datacenter, Coordinates }) =>
          Coordinates.map(({ Node, Coord }) => [`${Node}.${Datacenter}`, Coord] as const),
        ),
      );
    }
  },
});
