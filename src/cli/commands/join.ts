import { CliError, command } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const join = command({
  name: 'join',
  operands: 'address ...',
  summary: 'Make the agent join a cluster',
  description: ['The agent contacts each address. It is a failure only when none of them can be joined.'],
  flags: { ...clientFlags, wan: { kind: 'bool', help: 'Join servers of another datacenter (WAN pool).' } },
  async run({ values, args, out, warn, client }) {
    if (args.length === 0) throw new CliError('At least one address to join must be specified.', { usage: true });
    const agent = client();
    let joined = 0;
    for (const address of args) {
      try {
        await agent.ok('PUT', `/v1/agent/join/${address}`, { query: values.wan ? { wan: '1' } : {} });
        joined++;
      } catch (error) {
        warn(`Error joining address '${address}': ${(error as Error).message}`);
      }
    }
    if (joined === 0) throw new CliError('Failed to join any nodes.');
    out(`Successfully joined cluster by contacting ${joined} nodes.`);
    return 0;
  },
});
