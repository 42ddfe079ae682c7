/** The other end of `serf-member.ts`: starts a member of ours as a process and talks with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { memberStatus } from '../../../src/model/index.ts';
import type { PeerMember } from './gossip-peers.ts';

const root = join(import.meta.dirname, '../../..');
const bundle = join(root, '.cache/interop/serf-member.mjs');

export interface MemberConfig {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tags: Readonly<Record<string, string>>;
  /** Times and limits of which agent. */
  readonly settings: 'serf' | 'consul';
  /** Base64; turns encryption on. */
  readonly key?: string;
  /** Path of the file by which it finds its pool again. */
  readonly snapshot?: string;
}

export type MemberCommand =
  | { readonly op: 'members' | 'leave' | 'events' | 'keys' }
  | { readonly op: 'join'; readonly addresses: readonly string[] }
  | { readonly op: 'forceLeave'; readonly name: string }
  | { readonly op: 'tags'; readonly tags: Readonly<Record<string, string>> }
  | { readonly op: 'event' | 'query'; readonly name: string; readonly payload: string }
  | { readonly op: 'key'; readonly action: 'install' | 'use' | 'remove'; readonly key: string };

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

const statusNames: readonly string[] = Object.entries(memberStatus)
  .toSorted(([, a], [, b]) => a - b)
  .map(([name]) => name);

let built: Promise<unknown> | undefined;

export class OwnMember {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #lastId = 0;
  #log = '';

  /** @param enter what goes before the command so that it runs on its machine. */
  static async start(config: MemberConfig, enter: readonly string[] = []): Promise<OwnMember> {
    built ??= build({
      absWorkingDir: root,
      entryPoints: ['test/interop/support/serf-member.ts'],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      packages: 'external',
      logLevel: 'warning',
    });
    await built;
    const member = new OwnMember(config, enter);
    const answer = await member.#answer(0);
    if (answer.error !== undefined) throw new Error(`${config.name}: ${answer.error}\n${member.log}`);
    return member;
  }

  private constructor(config: MemberConfig, enter: readonly string[]) {
    this.name = config.name;
    const [file, ...rest] = [...enter, process.execPath, bundle, JSON.stringify(config)];
    this.#child = spawn(file, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    this.#child.stdin!.on('error', () => {});
    this.#child.once('exit', (code) => {
      for (const [id, settle] of this.#waiting) settle({ id, error: `the process ended with ${code}` });
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.(answer);
    });
  }

  get log(): string {
    return this.#log;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** @throws Error with what it said when it could not. */
  async ask<T>(command: MemberCommand): Promise<T> {
    if (this.#hasExited) throw new Error(`${this.name} has ended`);
    const id = ++this.#lastId;
    const answered = this.#answer(id);
    this.#child.stdin!.write(`${JSON.stringify({ id, command })}\n`);
    const { error, result } = await answered;
    if (error !== undefined) throw new Error(`${this.name}: ${command.op}: ${error}`);
    return result as T;
  }

  async members(): Promise<readonly PeerMember[]> {
    const members = await this.ask<
      { readonly name: string; readonly status: number; readonly tags: PeerMember['tags'] }[]
    >({ op: 'members' });
    return members.map(({ name, status, tags }) => ({ name, status: statusNames[status]!, tags }));
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Ends it without a word and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#hasExited) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  get #hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #answer(id: number): Promise<Answer> {
    return new Promise((resolve) => {
      this.#waiting.set(id, (answer) => {
        this.#waiting.delete(id);
        resolve(answer);
      });
    });
  }
}
