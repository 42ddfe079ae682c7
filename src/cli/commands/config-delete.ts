import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';

export const configDelete = command({
  name: 'config delete',
  summary: 'Delete a config entry',
  description: ['Deletes a config entry; one that does not exist is no error.'],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    kind: { kind: 'string', value: 'KIND', help: 'Kind of the entry. Required.' },
    name: { kind: 'string', value: 'NAME', help: 'Name of the entry. Required.' },
  },
  async run({ values, out, client }) {
    const { kind = '', name = '' } = values;
    if (kind === '') throw new CliError('Must specify the -kind parameter');
    if (name === '') throw new CliError('Must specify the -name parameter');
    await attempt(`Error deleting config entry ${kind}/${name}`, client().ok('DELETE', `/v1/config/${kind}/${name}`));
    out(`Config entry deleted: ${kind}/${name}`);
    return 0;
  },
});
