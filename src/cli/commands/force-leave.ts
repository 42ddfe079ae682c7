import { attempt, CliError, command } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const forceLeave = command({
  name: 'force-leave',
  operands: 'name',
  summary: 'Declare a failed member as left',
  description: [
    'A failed member is tried again for 72 h. This ends that at once, and its services go from the catalog. A member that is alive comes back by itself.',
  ],
  flags: { ...clientFlags, prune: { kind: 'bool', help: 'Take the member off the list of members, too.' } },
  async run({ values, args, client }) {
    const [node] = args;
    if (node === undefined || args.length > 1) {
      throw new CliError('A single node name must be specified to force leave.', { usage: true });
    }
    await attempt(
      'Error force leaving',
      client().ok('PUT', `/v1/agent/force-leave/${node}`, { query: values.prune ? { prune: '1' } : {} }),
    );
    return 0;
  },
});
