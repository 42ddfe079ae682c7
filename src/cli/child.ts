/**
 * Children of `lock` and `watch`. A child leads its own process group, so that ending it ends what a shell started for
 * it too; its output is ours, and how it ended is told in the words Go has for it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { CliError, type CliIo } from './command.ts';

export interface ChildOptions {
  /** Let a shell read the words, joined by spaces. */
  readonly shell: boolean;
  /** What its stdin gives it; default nothing. */
  readonly input?: string;
  /** Give it our stdin instead. */
  readonly inheritStdin?: boolean;
  /** Added to our environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Child {
  /** Resolves when it is gone: undefined after exit code 0, else `exit status 3` or `signal: killed`. */
  readonly ended: Promise<string | undefined>;
  /** Sends a signal to it and what it started. */
  kill(signal: NodeJS.Signals): void;
}

const signalNames: Readonly<Record<string, string>> = {
  SIGHUP: 'hangup',
  SIGINT: 'interrupt',
  SIGKILL: 'killed',
  SIGTERM: 'terminated',
};

/** Starts `words`. A program that does not exist makes {@link Child.ended} reject with a {@link CliError}. */
export function startChild(
  io: CliIo,
  words: readonly string[],
  { shell, input = '', inheritStdin = false, env }: ChildOptions,
): Child {
  const [program = '', ...args] = shell ? [io.env.SHELL || '/bin/sh', '-c', words.join(' ')] : words;
  // A child that writes to our terminal itself sees a terminal; only captured streams go through us.
  const direct = io.stdout === process.stdout;
  const child: ChildProcess = spawn(program, args, {
    detached: true,
    env: { ...process.env, ...io.env, ...env },
    stdio: [inheritStdin ? 'inherit' : 'pipe', direct ? 'inherit' : 'pipe', direct ? 'inherit' : 'pipe'],
  });
  child.stdout?.on('data', (chunk: Buffer) => io.stdout.write(chunk));
  child.stderr?.on('data', (chunk: Buffer) => io.stderr.write(chunk));
  // A child need not read what it is given.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return;
      const reason =
        error.code === 'ENOENT'
          ? `exec: ${JSON.stringify(program)}: executable file not found in $PATH`
          : `fork/exec ${program}: ${error.message}`;
      reject(new CliError(reason, { cause: error }));
    });
    child.once('close', (code, signal) => resolve(endOf(code, signal)));
  });
  return {
    ended,
    kill(signal) {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It has ended by itself.
      }
    },
  };
}

function endOf(code: number | null, signal: NodeJS.Signals | null): string | undefined {
  if (signal !== null) return `signal: ${signalNames[signal] ?? `signal ${constants.signals[signal]}`}`;
  return code === 0 ? undefined : `exit status ${code}`;
}
