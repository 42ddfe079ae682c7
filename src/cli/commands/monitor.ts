import { attempt, CliError, command, expectNoArgs } from '../command.ts';
import { clientFlags } from '../flags.ts';

export const monitor = command({
  name: 'monitor',
  summary: "Follow the agent's log",
  description: ["Prints the agent's log lines as they are written, until interrupted."],
  flags: {
    ...clientFlags,
    'log-level': { kind: 'string', value: 'LEVEL', help: 'trace, debug, info, warn or error. Default info.' },
    'log-json': { kind: 'bool', help: 'Print the lines as JSON.' },
  },
  async run({ io, values, args, client }) {
    expectNoArgs(args);
    const hangUp = new AbortController();
    const removeHandler = io.onSignal(() => hangUp.abort());
    try {
      const { body } = await attempt(
        'Error starting monitor',
        client().stream('GET', '/v1/agent/monitor', {
          query: { loglevel: values['log-level'] ?? 'INFO', logjson: values['log-json'] },
          signal: hangUp.signal,
        }),
      );
      for await (const chunk of body as AsyncIterable<Uint8Array>) io.stdout.write(chunk);
    } catch (error) {
      if (hangUp.signal.aborted) return 0;
      if (error instanceof CliError) throw error;
    } finally {
      removeHandler();
    }
    throw new CliError(
      'Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.',
    );
  },
});
