import { AgentClient, createHttpBackend, resolveClientOptions } from '../../client/index.ts';
import { createLogger } from '../../node/logger.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { createRegistrator, formatExplanation } from '../../registrator/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { mappingFlags, noMetrics, registratorWorld } from '../registrator-flags.ts';

export const registratorExplain = command({
  name: 'registrator explain',
  operands: '[CONTAINER]',
  summary: 'Show what would be registered for a container, and why',
  description: [
    'For one container, or all of them: which services its ports become, where each name, address, tag and check comes from, and what to set for ports that are left out. Nothing is registered. Give the same flags as the registrator that runs.',
  ],
  flags: { ...mappingFlags, ...formatFlag },
  async run({ io, values, args }) {
    if (args.length > 1) throw new CliError(`Too many arguments (expected 0 or 1, got ${args.length})`);
    const json = wantsJson(values.format);
    const { logger } = createLogger({ level: 'error', json: false, stdout: io.stderr, clock: new SystemClock() });
    const world = await registratorWorld(values, io.env, logger);
    const client = new AgentClient(resolveClientOptions(io.env), world.clock);
    const service = createRegistrator({ ...world, backend: createHttpBackend(client), logger, metrics: noMetrics });
    const explanation = await attempt('Error asking the Docker engine', service.explain(args[0]));
    client.close();
    if (json) writeJson(io, explanation);
    else io.stdout.write(formatExplanation(explanation));
    return 0;
  },
});
