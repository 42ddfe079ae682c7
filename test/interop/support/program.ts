/** A client program in a process of its own, with what it wrote at hand when a test fails. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Client } from './clients.ts';

/** Longest orderly end before it is killed (ms). */
const stopLimitMs = 5_000;

export class Program {
  readonly #child: ChildProcess;
  #log = '';

  constructor({ path, env }: Client, args: readonly string[], cwd: string) {
    this.#child = spawn(path, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.on('error', (error) => (this.#log += `${error}\n`));
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    }
  }

  /** Everything it wrote so far. */
  get log(): string {
    return this.#log;
  }

  /** Stops it for a while (`SIGSTOP`, `SIGCONT`), or makes it do what another signal means to it. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** @returns the exit code when it has ended; null when a signal ended it. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }

  /** Ends it without a word and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  /** Ends it and waits until it is gone. */
  async close(): Promise<void> {
    if (this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopLimitMs);
    await exited;
    clearTimeout(timer);
  }
}
