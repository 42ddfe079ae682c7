import type { Intention } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { describeIntention } from '../intention.ts';
import { writeJson } from '../json.ts';

export const intentionMatch = command({
  name: 'intention match',
  operands: 'NAME',
  summary: 'List the intentions that concern a service',
  description: ['Lists the intentions that apply to NAME, in the order in which they decide.'],
  flags: {
    ...serverFlags,
    ...formatFlag,
    source: { kind: 'bool', help: 'Those that have the service as their source.' },
    destination: { kind: 'bool', help: 'Those that have the service as their destination. The default.' },
  },
  usageExitCode: 2,
  async run({ io, values, args, out, client }) {
    const json = wantsJson(values.format);
    const [name] = args;
    if (name === undefined || args.length !== 1)
      throw new CliError('Error: command requires exactly one argument: the service name');
    if (values.source && values.destination) {
      throw new CliError('Error: only one of -source or -destination may be specified');
    }
    const matches = await attempt(
      'Error matching intentions',
      client().json<Readonly<Record<string, readonly Intention[] | null>>>('GET', '/v1/connect/intentions/match', {
        query: { by: values.source ? 'source' : 'destination', name },
      }),
    );
    const found = matches[name] ?? [];
    if (json) writeJson(io, found);
    else for (const intention of found) out(describeIntention(intention));
    return 0;
  },
});
