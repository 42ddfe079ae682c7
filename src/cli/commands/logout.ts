import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';

export const logout = command({
  name: 'logout',
  summary: 'Destroy the token of a login',
  description: ["Destroys the token with which it asks; it must be one that 'portolan login' made."],
  flags: { ...serverFlags, ...namespaceFlag },
  async run({ args, client }) {
    if (args.length > 0) throw new CliError('Should have no non-flag arguments.');
    await attempt('Error destroying token', client().ok('POST', '/v1/acl/logout'));
    return 0;
  },
});
