import type { NodeService } from '../../model/index.ts';
import { attempt, command, expectNoArgs } from '../command.ts';
import { formatFlag, namespaceFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { byBytes, formatTable } from '../text.ts';
import { nodeMetaQuery } from './catalog-nodes.ts';

/** Room behind the names of `-tags`, columns; wider than in other tables, as the reference program prints it. */
const tagsGap = 6;

export const catalogServices = command({
  name: 'catalog services',
  summary: 'List the services of a datacenter',
  description: ['Prints the names of the services in the catalog, one a line.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    ...formatFlag,
    node: { kind: 'string', value: 'NAME_OR_ID', help: 'Only services of this node.' },
    'node-meta': { kind: 'map', help: 'Only services of nodes with this metadata. May be given several times.' },
    tags: { kind: 'bool', help: 'Print the tags behind each name.' },
  },
  async run({ io, values, args, out, warn, client }) {
    expectNoArgs(args);
    const json = wantsJson(values.format);
    const query = { stale: values.stale, 'node-meta': nodeMetaQuery(values['node-meta']) };
    const services = new Map<string, string[]>();
    if (values.node) {
      const found = await attempt(
        'Error listing services for node',
        client().json<{ readonly Services: Readonly<Record<string, NodeService>> } | null>(
          'GET',
          `/v1/catalog/node/${values.node}`,
          { query },
        ),
      );
      for (const { Service, Tags } of Object.values(found?.Services ?? {})) {
        services.set(Service, [...(services.get(Service) ?? []), ...(Tags ?? [])]);
      }
    } else {
      const found = await attempt(
        'Error listing services',
        client().json<Readonly<Record<string, readonly string[]>>>('GET', '/v1/catalog/services', { query }),
      );
      for (const [name, tags] of Object.entries(found)) services.set(name, [...tags]);
    }
    const names = [...services.keys()].sort(byBytes);
    const tagsOf = (name: string): string[] => services.get(name)!.sort(byBytes);
    if (json) writeJson(io, Object.fromEntries(names.map((name) => [name, tagsOf(name)])));
    else if (names.length === 0) warn('No services match the given query - try expanding your search.');
    else if (values.tags) {
      out(
        formatTable(
          names.map((name) => [name, tagsOf(name).join(',')]),
          tagsGap,
        ).trimEnd(),
      );
    } else for (const name of names) out(name);
    return 0;
  },
});
