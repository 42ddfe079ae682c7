import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { writeJson } from '../json.ts';

export const configRead = command({
  name: 'config read',
  summary: 'Print a config entry',
  description: ['Prints a config entry as JSON.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    kind: { kind: 'string', value: 'KIND', help: 'Kind of the entry. Required.' },
    name: { kind: 'string', value: 'NAME', help: 'Name of the entry. Required.' },
  },
  async run({ io, values, client }) {
    const { kind = '', name = '' } = values;
    if (kind === '') throw new CliError('Must specify the -kind parameter');
    if (name === '') throw new CliError('Must specify the -name parameter');
    const entry = await attempt(
      `Error reading config entry ${kind}/${name}`,
      client().json<unknown>('GET', `/v1/config/${kind}/${name}`, { query: { stale: values.stale } }),
    );
    writeJson(io, entry);
    return 0;
  },
});
