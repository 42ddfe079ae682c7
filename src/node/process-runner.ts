/**
 * Runs programs of the host as Consul runs script checks (reference/agent.md §4.4): no shell, stdin from /dev/null unless there is input, own
 * process group, and SIGKILL to the whole group when the time is over, so that no grandchild stays behind.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { TailBuffer } from '../lib/index.ts';
import type { Clock, ProcessResult, ProcessRunner } from '../ports/index.ts';

/** Go's texts for why a program cannot start, by system error. */
const startTexts: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  ENOEXEC: 'exec format error',
  ENOTDIR: 'not a directory',
  E2BIG: 'argument list too long',
  EMFILE: 'too many open files',
  ENOMEM: 'cannot allocate memory',
  EAGAIN: 'resource temporarily unavailable',
};

/** After the group was killed, a process outside it may still hold the output open; it is not waited for longer, ms. */
const outputWaitMs = 1000;

export class SystemProcessRunner implements ProcessRunner {
  readonly #clock: Clock;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  run(argv: readonly string[], options: Parameters<ProcessRunner['run']>[1]): Promise<ProcessResult> {
    const output = new TailBuffer(options.outputBytesMax);
    const [program = '', ...args] = argv;
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) {
        reject(options.signal.reason as Error);
        return;
      }
      let child: ChildProcess;
      try {
        child = spawn(program, args, {
          detached: true,
          stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
          ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
        });
      } catch (error) {
        // Arguments that no program can take (a NUL in them) are refused before anything starts.
        resolve(notStarted(program, error as NodeJS.ErrnoException));
        return;
      }
      let timedOut = false;
      const killGroup = (): void => {
        if (child.pid === undefined) return;
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // The group has ended by itself.
        }
      };
      const onAbort = (): void => killGroup();
      const timer = this.#clock.after(options.timeoutMs, () => {
        timedOut = true;
        killGroup();
        options.onTimeout?.(output.bytes());
      });
      options.signal?.addEventListener('abort', onAbort, { once: true });
      const settle = (result: ProcessResult): void => {
        timer.cancel();
        options.signal?.removeEventListener('abort', onAbort);
        child.stdout?.destroy();
        child.stderr?.destroy();
        if (options.signal?.aborted) reject(options.signal.reason as Error);
        else resolve(result);
      };
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          output.push(chunk);
          options.onOutput?.(chunk);
        });
      }
      // A program need not read what it is given.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(options.input);
      child.once('error', (error: NodeJS.ErrnoException) => {
        if (child.pid === undefined) settle(notStarted(program, error));
      });
      const ended = (exitCode: number | null, signal: NodeJS.Signals | null): void => {
        settle({ exitCode, signal, output: output.bytes(), outputBytesTotal: output.bytesTotal, timedOut });
      };
      // `close` comes when the output has ended too: a background child keeps the check running, as in Go.
      child.once('close', ended);
      child.once('exit', (exitCode, signal) => {
        if (timedOut || options.signal?.aborted) this.#clock.after(outputWaitMs, () => ended(exitCode, signal));
      });
    });
  }
}

function notStarted(program: string, error: NodeJS.ErrnoException): ProcessResult {
  // Go passes over folders of $PATH that it may not read, and over files in them that it may not execute.
  const isSought = !program.includes('/') && (error.code === 'ENOENT' || error.code === 'EACCES');
  const startError = isSought
    ? `exec: ${JSON.stringify(program)}: executable file not found in $PATH`
    : `fork/exec ${program}: ${startTexts[error.code ?? ''] ?? error.message}`;
  return { exitCode: null, signal: null, output: new Uint8Array(), outputBytesTotal: 0, timedOut: false, startError };
}
