import { attempt, command, expectNoArgs } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';

export const catalogDatacenters = command({
  name: 'catalog datacenters',
  summary: 'List the datacenters that are known',
  description: ['Prints one datacenter a line, the nearest first.'],
  flags: { ...serverFlags, ...formatFlag },
  async run({ io, values, args, out, client }) {
    expectNoArgs(args);
    const json = wantsJson(values.format);
    const names = await attempt(
      'Error listing datacenters',
      client().json<readonly string[]>('GET', '/v1/catalog/datacenters', { query: { stale: values.stale } }),
    );
    if (json) writeJson(io, names);
    else for (const name of names) out(name);
    return 0;
  },
});
