// The process: command line in, exit code out. Everything else is elsewhere.
import { compatibleVersion, portolanRevision, portolanVersion, runAgent } from './agent/index.ts';
import { runCli } from './cli/index.ts';

const code = await runCli(
  process.argv.slice(2),
  {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    isTTY: process.stdout.isTTY === true,
    onSignal(callback) {
      const signals = ['SIGINT', 'SIGTERM'] as const;
      for (const signal of signals) process.on(signal, callback);
      return () => {
        for (const signal of signals) process.off(signal, callback);
      };
    },
  },
  {
    runAgent: (argv, io) => runAgent(argv, io),
    version: { version: portolanVersion, revision: portolanRevision, consul: compatibleVersion },
  },
);
// Output may still be on its way into a pipe: end when it is out.
await Promise.all(
  [process.stdout, process.stderr].map(
    (stream) => new Promise((resolve) => stream.write('', () => resolve(undefined))),
  ),
);
process.exit(code);
