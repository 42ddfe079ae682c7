/**
 * Docker checks: a command inside a container (reference/agent.md §4.6). Better than the peer's on three points: stderr
 * is in the output, the timeout applies (and really ends the command), and TLS endpoints work. The engine's error texts
 * come from node/docker-exec.ts in the peer's words.
 */
import type { DockerEngine } from '../ports/index.ts';
import { programOutput, timeoutOutput } from './output.ts';
import { statusOfExitCode, type CheckRunner } from './runner.ts';

/** `timeout` of a docker check that names none, ms: as for scripts (the peer has none and hangs for ever). */
export const dockerTimeoutMsDefault = 30_000;

export function dockerRunner(options: {
  readonly containerId: string;
  readonly argv: readonly string[];
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
  readonly engine: () => DockerEngine | undefined;
}): CheckRunner {
  const { containerId, argv, timeoutMs, outputBytesMax } = options;
  return {
    async run(report, signal) {
      const engine = options.engine();
      if (engine === undefined) {
        report({ status: 'critical', output: 'no Docker engine is configured on this agent; set DOCKER_HOST' });
        return;
      }
      try {
        const result = await engine.exec(containerId, { argv, timeoutMs, outputBytesMax }, signal);
        const output = programOutput(result.output, result.outputBytesTotal);
        if (result.timedOut) report({ status: 'critical', output: timeoutOutput(timeoutMs, output) });
        else report({ status: statusOfExitCode(result.exitCode), output });
      } catch (error) {
        signal.throwIfAborted();
        report({ status: 'critical', output: (error as Error).message });
      }
    },
  };
}
