import type { Node, ServiceNode } from '../../model/index.ts';
import { attempt, command, expectNoArgs } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { byBytes, formatTable } from '../text.ts';

export const catalogNodes = command({
  name: 'catalog nodes',
  summary: 'List the nodes of a datacenter',
  description: ['Prints the nodes of the catalog, all of them or those that match.'],
  flags: {
    ...serverFlags,
    ...formatFlag,
    detailed: { kind: 'bool', help: 'Print whole IDs, tagged addresses and metadata too.' },
    filter: { kind: 'string', value: 'EXPRESSION', help: 'Filter expression, such as Meta.rack == "a".' },
    near: { kind: 'string', value: 'NODE', help: 'Sort by network distance from this node; _agent is the agent.' },
    'node-meta': { kind: 'map', help: 'Only nodes with this metadata. May be given several times.' },
    service: { kind: 'string', value: 'NAME', help: 'Only nodes that offer this service.' },
  },
  async run({ io, values, args, out, warn, client }) {
    expectNoArgs(args);
    const json = wantsJson(values.format);
    const query = { filter: values.filter, near: values.near, 'node-meta': nodeMetaQuery(values['node-meta']) };
    const nodes = values.service
      ? (
          await attempt(
            'Error listing nodes for service',
            client().json<readonly ServiceNode[]>('GET', `/v1/catalog/service/${values.service}`, { query }),
          )
        ).map((found): Node => ({ ...found, Meta: found.NodeMeta }))
      : await attempt('Error listing nodes', client().json<readonly Node[]>('GET', '/v1/catalog/nodes', { query }));
    if (json) writeJson(io, nodes);
    else if (nodes.length === 0) warn('No nodes match the given query - try expanding your search.');
    else out(formatNodes(nodes, values.detailed ?? false));
    return 0;
  },
});

/** `-node-meta=k=v` as the API takes it, `k:v`. */
export function nodeMetaQuery(meta: Readonly<Record<string, string>> | undefined): string[] | undefined {
  return meta && Object.entries(meta).map(([key, value]) => `${key}:${value}`);
}

function formatNodes(nodes: readonly Node[], detailed: boolean): string {
  if (!detailed) {
    return formatTable([
      ['Node', 'ID', 'Address', 'DC'],
      ...nodes.map((node) => [node.Node, node.ID.split('-')[0]!, node.Address, node.Datacenter]),
    ]);
  }
  return formatTable([
    ['Node', 'ID', 'Address', 'DC', 'TaggedAddresses', 'Meta'],
    ...nodes.map((node) => [
      node.Node,
      node.ID,
      node.Address,
      node.Datacenter,
      joinPairs(node.TaggedAddresses),
      joinPairs(node.Meta),
    ]),
  ]);
}

function joinPairs(pairs: Readonly<Record<string, string>> | null): string {
  return Object.entries(pairs ?? {})
    .sort(([a], [b]) => byBytes(a, b))
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
}
