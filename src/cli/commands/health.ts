import { attempt, CliError, command, expectNoArgs } from '../command.ts';
import { clientFlags } from '../flags.ts';

/** Docker gives a HEALTHCHECK 30 s by default; this answers well before, ms. */
const healthTimeoutMs = 5_000;

export const health = command({
  name: 'health',
  summary: 'Ask the agent whether it works: exit code 0 if it knows a leader',
  description: [
    'For HEALTHCHECK lines and scripts. Exit code 0 when the agent answers and knows a cluster leader, else 1 with the reason.',
  ],
  flags: clientFlags,
  async run({ args, out, client }) {
    expectNoArgs(args);
    const leader = await attempt(
      'Error querying agent',
      client().json<string>('GET', '/v1/status/leader', { timeoutMs: healthTimeoutMs }),
    );
    if (leader === '') throw new CliError('The agent answers but the cluster has no leader');
    out(`Leader: ${leader}`);
    return 0;
  },
});
