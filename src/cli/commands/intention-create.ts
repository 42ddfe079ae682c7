import { readFileSync } from 'node:fs';
import { goFileError } from '../../client/index.ts';
import type { Intention } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { describeIntention, findIntention } from '../intention.ts';

export const intentionCreate = command({
  name: 'intention create',
  operands: 'SRC DST',
  summary: 'Allow or deny a service to talk to another',
  description: [
    'Creates the intention that SRC may, or with -deny may not, talk to DST. "*" stands for every service. With -file the operands are files (JSON), each with one intention.',
  ],
  flags: {
    ...serverFlags,
    allow: { kind: 'bool', help: 'Allow. The default.' },
    deny: { kind: 'bool', help: 'Deny.' },
    file: { kind: 'bool', help: 'Read intentions from the files that the operands name.' },
    meta: { kind: 'map', help: 'Metadata. May be given several times.' },
    replace: { kind: 'bool', help: 'Replace the intention that exists between the two.' },
  },
  async run({ values, args, out, client }) {
    if (values.allow && values.deny) throw new CliError('Only one of -allow or -deny may be specified.');
    const wanted = values.file
      ? args.map((file) => readIntention(file))
      : [fromOperands(args, values.deny ? 'deny' : 'allow', values.meta)];
    if (wanted.length === 0) throw new CliError('Error: Must specify at least one file');
    const agent = client();
    for (const intention of wanted) {
      const description = describeIntention(intention);
      const { SourceName, DestinationName } = intention;
      if (values.replace) {
        const prefix = `Error looking up intention for replacement with source ${JSON.stringify(SourceName)} and destination ${JSON.stringify(DestinationName)}`;
        const old = await attempt(prefix, findIntention(agent, SourceName, DestinationName));
        if (old !== undefined) {
          await attempt(
            `Error replacing intention with source ${JSON.stringify(SourceName)} and destination ${JSON.stringify(DestinationName)}`,
            agent.ok('PUT', `/v1/connect/intentions/${old.ID}`, { body: JSON.stringify(intention) }),
          );
          continue;
        }
      }
      await attempt(
        `Error creating intention ${JSON.stringify(description)}`,
        agent.ok('POST', '/v1/connect/intentions', { body: JSON.stringify(intention) }),
      );
      out(`Created: ${description}`);
    }
    return 0;
  },
});

type NewIntention = Pick<Intention, 'SourceName' | 'DestinationName' | 'SourceType' | 'Action' | 'Meta'>;

function fromOperands(args: readonly string[], action: string, meta: Intention['Meta'] = {}): NewIntention {
  const [source, destination] = args;
  if (source === undefined || destination === undefined || args.length !== 2) {
    throw new CliError('Error: Must specify two arguments: source and destination');
  }
  return { SourceName: source, DestinationName: destination, SourceType: 'consul', Action: action, Meta: meta };
}

function readIntention(file: string): NewIntention {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`Error parsing file ${JSON.stringify(file)}: ${goFileError('open', file, error)}`, {
      cause: error,
    });
  }
  try {
    return JSON.parse(text) as NewIntention;
  } catch (error) {
    throw new CliError(`Error parsing file ${JSON.stringify(file)}: ${(error as Error).message}`, { cause: error });
  }
}
