/** Script checks: a program of the host, run without a shell (reference/agent.md §4.4). */
import type { ProcessRunner } from '../ports/index.ts';
import { programOutput, timeoutOutput } from './output.ts';
import { statusOfExitCode, type CheckRunner } from './runner.ts';

/** `timeout` of a script check that names none, ms. */
export const scriptTimeoutMsDefault = 30_000;

export function scriptRunner(options: {
  readonly argv: readonly string[];
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
  readonly processRunner: ProcessRunner;
}): CheckRunner {
  const { argv, timeoutMs, outputBytesMax, processRunner } = options;
  return {
    async run(report, signal) {
      let reported = false;
      const result = await processRunner.run(argv, {
        timeoutMs,
        outputBytesMax,
        signal,
        // The status is told at once; the next run waits until the process is gone.
        onTimeout: (output) => {
          reported = true;
          const text = Buffer.from(output).toString('utf8');
          report({ status: 'critical', output: timeoutOutput(timeoutMs, text), atOnce: true });
        },
      });
      if (reported) return;
      if (result.startError !== undefined) {
        report({ status: 'critical', output: result.startError, atOnce: true });
        return;
      }
      const output = programOutput(result.output, result.outputBytesTotal);
      report({ status: statusOfExitCode(result.exitCode), output });
    },
  };
}
