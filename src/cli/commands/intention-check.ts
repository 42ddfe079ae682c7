import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';

/** 1 says "denied", so errors have another code. */
const errorExitCode = 2;

export const intentionCheck = command({
  name: 'intention check',
  operands: 'SRC DST',
  summary: 'Whether a service may talk to another',
  description: ['Prints Allowed and ends with exit code 0, or Denied and 1; errors have exit code 2.'],
  flags: serverFlags,
  usageExitCode: errorExitCode,
  async run({ args, out, client }) {
    const [source, destination] = args;
    if (source === undefined || destination === undefined || args.length !== 2) {
      throw new CliError('Error: command requires exactly two arguments: src and dst', { exitCode: errorExitCode });
    }
    try {
      const { Allowed } = await attempt(
        'Error checking the connection',
        client().json<{ readonly Allowed: boolean }>('GET', '/v1/connect/intentions/check', {
          query: { source, destination, 'source-type': 'consul' },
        }),
      );
      out(Allowed ? 'Allowed' : 'Denied');
      return Allowed ? 0 : 1;
    } catch (error) {
      if (error instanceof CliError) throw new CliError(error.message, { exitCode: errorExitCode, cause: error });
      throw error;
    }
  },
});
