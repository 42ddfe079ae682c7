import { attempt, CliError, command } from '../command.ts';
import { formatFlag, namespaceFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';

export const configList = command({
  name: 'config list',
  summary: 'List the config entries of a kind',
  description: ['Prints the names of all entries of a kind.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    ...formatFlag,
    kind: { kind: 'string', value: 'KIND', help: 'Kind of the entries. Required.' },
  },
  async run({ io, values, out, client }) {
    const { kind = '' } = values;
    if (kind === '') throw new CliError('Must specify the -kind parameter');
    const json = wantsJson(values.format);
    const entries = await attempt(
      `Error listing config entries for kind ${JSON.stringify(kind)}`,
      client().json<readonly { readonly Name: string }[] | null>('GET', `/v1/config/${kind}`, {
        query: { stale: values.stale },
      }),
    );
    if (json) writeJson(io, entries ?? []);
    else for (const { Name } of entries ?? []) out(Name);
    return 0;
  },
});
