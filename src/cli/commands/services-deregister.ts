import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { servicesFromFiles } from '../config-paths.ts';

export const servicesDeregister = command({
  name: 'services deregister',
  operands: '[FILE ...]',
  summary: 'Remove services from the agent',
  description: [
    'Removes the service -id names, or those defined in configuration files. A service that does not exist counts as removed.',
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    id: { kind: 'string', value: 'ID', help: 'ID of the service.' },
  },
  async run({ values, args, out, client }) {
    const { id = '' } = values;
    if (args.length === 0 && id === '') {
      throw new CliError('Service deregistration requires at least one argument or -id.');
    }
    if (args.length > 0 && id !== '') throw new CliError('Service deregistration requires arguments or -id, not both.');
    const ids = id !== '' ? [id] : servicesFromFiles(args).map((service) => service.id || service.name);
    for (const each of ids) {
      await attempt(
        `Error deregistering service ${JSON.stringify(each)}`,
        client().ok('PUT', `/v1/agent/service/deregister/${each}`),
      );
      out(`Deregistered service: ${each}`);
    }
    return 0;
  },
});
