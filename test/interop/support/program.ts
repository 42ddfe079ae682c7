/** A client program in a process of its own, with what it wrote at hand when a test fails. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from '../../helpers/wait.ts';
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

  /** Makes it do what a signal means to it, as to go on (`SIGCONT`). */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Stops it for a while, and waits until none of its threads runs any more: those on their way answer still. */
  async freeze(): Promise<void> {
    this.signal('SIGSTOP');
    const threads = `/proc/${this.#child.pid}/task`;
    const state = (id: string): string =>
      /^State:\s+(\w)/m.exec(readFileSync(join(threads, id, 'status'), 'utf8'))?.[1] ?? '';
    await waitUntil('all threads to stop', () => readdirSync(threads).every((id) => state(id) === 'T'));
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
