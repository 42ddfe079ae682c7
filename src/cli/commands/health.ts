import { UnexpectedResponseError } from '../../client/index.ts';
import { attempt, CliError, command, expectNoArgs } from '../command.ts';
import { clientFlags } from '../flags.ts';

/** Less than Docker gives the image's HEALTHCHECK, so that the reason is seen, ms. */
const healthTimeoutMs = 2_500;
/** A program that answers with more than this is not well. */
const serverErrorMin = 500;

export const health = command({
  name: 'health',
  summary: 'Ask the agent whether it works: exit code 0 if it answers',
  description: [
    'For HEALTHCHECK lines and scripts. Exit code 0 when the agent answers, else 1 with the reason. A cluster without a',
    'leader is no fault of this agent, and restarting it would not help; with -leader that is exit code 1, too.',
  ],
  flags: {
    ...clientFlags,
    leader: { kind: 'bool', help: 'Fail also when the agent knows no leader of the cluster.' },
  },
  async run({ args, values, out, client }) {
    expectNoArgs(args);
    if (values.leader !== true) {
      await attempt('Error querying agent', isAlive(client().ok('GET', '/', { timeoutMs: healthTimeoutMs })));
      out('The agent answers');
      return 0;
    }
    const leader = await attempt(
      'Error querying agent',
      client().json<string>('GET', '/v1/status/leader', { timeoutMs: healthTimeoutMs }),
    );
    if (leader === '') throw new CliError('The agent answers but the cluster has no leader');
    out(`Leader: ${leader}`);
    return 0;
  },
});

/** What is at the root does not matter, only that somebody is at home: no server is asked and no right taken for it. */
async function isAlive(asked: Promise<unknown>): Promise<void> {
  try {
    await asked;
  } catch (error) {
    const answered = error instanceof UnexpectedResponseError && error.status < serverErrorMin;
    if (!answered) throw error;
  }
}
