// The process: command line in, exit code out. Everything else is elsewhere.
import { compatibleVersion, portolanRevision, portolanVersion, runAgent } from './agent/index.ts';
import { runCli } from './cli/index.ts';
import { followLoad } from './node/heap-policy.ts';

/** 128 + SIGPIPE, what a shell shows for programs that let the signal end them. */
const sigpipeExitCode = 141;

// A reader that has seen enough (`portolan members | head -1`) closes the pipe: that ends us, quietly, as it does others.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(sigpipeExitCode);
    throw error;
  });
}

followLoad();

const code = await runCli(
  process.argv.slice(2),
  {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    isTTY: process.stdout.isTTY,
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
