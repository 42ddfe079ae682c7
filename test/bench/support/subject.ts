/**
 * A program under measurement: Portolan or the real Consul, started with the same words. Both understand them; that is
 * the point of Portolan's command line.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { http, type HttpTarget, json } from './http.ts';

/** A start that takes longer has failed (ms). */
const startLimitMs = 60_000;
const stopLimitMs = 10_000;
/** Time between two tries to connect while it starts (ms); bounds the error of start times. */
const pollMs = 1;

export interface Subject {
  readonly name: string;
  readonly command: readonly string[];
}

export interface SubjectOptions {
  /** Where it serves and is asked. Default 127.0.0.1. */
  readonly address?: string;
  /** Network namespace file, "" for the machine's own. */
  readonly netns?: string;
  /** The first of five ports: HTTP, DNS, server, Serf LAN, Serf WAN. */
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** A server of its own with its data on disk, in the place of `-dev`. */
  readonly durable?: boolean;
}

export interface StartTimes {
  /** From exec to the first HTTP answer, ms. */
  readonly answerMs: number;
  /** From exec to a known leader, ms. */
  readonly leaderMs: number;
}

export function portolan(bundle: string, node: string = process.execPath): Subject {
  return { name: 'Portolan', command: [node, bundle] };
}

/** The real Consul, fetched when it is not there; or why it cannot be had. */
export function consulOrReason(root: string): Subject | string {
  const script = join(root, 'test/bench/support/peer.sh');
  try {
    const path = execFileSync('sh', [script], { stdio: ['ignore', 'pipe', 'inherit'] })
      .toString()
      .trim();
    return { name: 'Consul', command: [path] };
  } catch {
    return `${script} could not fetch it`;
  }
}

export class RunningSubject {
  readonly name: string;
  readonly address: string;
  readonly dnsPort: number;
  readonly target: HttpTarget;
  readonly #child: ChildProcess;
  readonly #cwd: string;
  readonly #startedMs: number;
  #log = '';

  constructor({ name, command }: Subject, options: SubjectOptions) {
    const { address = '127.0.0.1', netns = '', port, env = {}, args = [], durable = false } = options;
    this.name = name;
    this.address = address;
    this.dnsPort = port + 1;
    this.target = { host: address, port, agent: new Agent({ keepAlive: true }) };
    this.#cwd = mkdtempSync(join(tmpdir(), 'portolan-bench-'));
    const words = [
      ...(netns === '' ? [] : ['nsenter', `--net=${netns}`]),
      ...command,
      'agent',
      ...(durable
        ? ['-server', '-bootstrap-expect=1', `-data-dir=${join(this.#cwd, 'data')}`, '-bind=127.0.0.1']
        : ['-dev']),
      '-log-level=warn',
      '-node=bench',
      `-http-port=${port}`,
      `-dns-port=${port + 1}`,
      `-server-port=${port + 2}`,
      `-serf-lan-port=${port + 3}`,
      `-serf-wan-port=${port + 4}`,
      '-grpc-port=-1',
      `-client=${address === '127.0.0.1' ? address : '0.0.0.0'}`,
      '-hcl=disable_update_check = true',
      ...args,
    ];
    this.#startedMs = performance.now();
    this.#child = spawn(words[0]!, words.slice(1), {
      cwd: this.#cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-10_000)));
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The end of what it wrote. */
  get log(): string {
    return this.#log;
  }

  /** Waits for its first answer and for a leader. */
  async started(): Promise<StartTimes> {
    let answerMs: number | undefined;
    for (;;) {
      const sinceMs = performance.now() - this.#startedMs;
      if (this.#child.exitCode !== null || sinceMs > startLimitMs) {
        await this.stop();
        throw new Error(`${this.name} did not start:\n${this.#log}`);
      }
      const { host, port } = this.target as { readonly host: string; readonly port: number };
      const answer = await http({ host, port }, 'GET', '/v1/status/leader').catch(() => undefined);
      const nowMs = performance.now() - this.#startedMs;
      if (answer !== undefined) answerMs ??= nowMs;
      if (answer?.status === 200 && answer.text.length > '""'.length) return { answerMs: answerMs!, leaderMs: nowMs };
      await pause(pollMs);
    }
  }

  get<T>(path: string): Promise<T> {
    return json<T>(this.target, 'GET', path);
  }

  put<T>(path: string, body?: unknown): Promise<T> {
    return json<T>(this.target, 'PUT', path, body);
  }

  /** Resident memory now, bytes. */
  residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024;
  }

  /** Processor time used so far, all threads, ms. */
  processorMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    // utime and stime, in ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopLimitMs);
      await exited;
      clearTimeout(timer);
    }
    this.target.agent?.destroy();
    rmSync(this.#cwd, { recursive: true, force: true });
  }
}
