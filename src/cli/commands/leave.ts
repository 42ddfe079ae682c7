import { attempt, CliError, command } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const leave = command({
  name: 'leave',
  summary: 'Make the agent leave the cluster and stop',
  description: [
    'The agent tells the others that it leaves, so that it is not taken for failed, and ends. Returns when it has left: about 5 s for a client, 15 s for a server.',
  ],
  flags: clientFlags,
  async run({ args, help, out, client }) {
    if (args.length > 0) {
      out(help);
      throw new CliError(`Error found unexpected args: [${args.join(' ')}]`);
    }
    await attempt('Error leaving', client().ok('PUT', '/v1/agent/leave'));
    out('Graceful leave complete');
    return 0;
  },
});
