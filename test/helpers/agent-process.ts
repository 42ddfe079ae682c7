/** A real agent, `dist/portolan.js`, in a process of its own, for tests that look at it from outside. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Answer, decode, encode, type RecordType } from 'dns-packet';
import { waitUntil } from './wait.ts';

const bundle = resolve(import.meta.dirname, '../../dist/portolan.js');
/** Longest start of an agent on a loaded machine (ms). */
const startLimitMs = 20_000;
/** Longest orderly end (ms). */
const stopLimitMs = 20_000;
/** How far below its HTTP port an agent's other ports are. */
const serfLanBelowHttp = 10_000;
const serverBelowHttp = 8_000;
/** One DNS answer over loopback (ms). */
const dnsLimitMs = 2_000;

export interface AgentProcessOptions {
  /** Ports of its own for each agent of a test run. */
  readonly ports: { readonly http: number; readonly dns: number };
  /** Address on which the agent serves and the test asks. */
  readonly address?: string;
  /** Network namespace file, "" for the machine's own. */
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Another program that understands the same command line; our own when not given. */
  readonly program?: string;
}

export class AgentProcess {
  readonly #options: AgentProcessOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), 'portolan-agent-'));
  #child: ChildProcess | undefined;
  #log = '';

  constructor(options: AgentProcessOptions) {
    this.#options = options;
  }

  get address(): string {
    return this.#options.address ?? '127.0.0.1';
  }

  get dataDir(): string {
    return join(this.#directory, 'data');
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Whether it ended by itself. */
  get exited(): boolean {
    return this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Everything it wrote so far, over all starts. */
  get log(): string {
    return this.#log;
  }

  /** Starts it and waits until it has elected itself. */
  async start(): Promise<void> {
    this.launch();
    await waitUntil(
      () => `the agent to answer\n${this.#log}`,
      async () => {
        if (this.#child?.exitCode != null)
          throw new Error(`the agent ended with ${this.#child.exitCode}\n${this.#log}`);
        const answer = await this.get('/v1/status/leader').catch(() => undefined);
        return answer?.status === 200 && answer.json !== '';
      },
      startLimitMs,
    );
  }

  /** Starts it and waits for nothing. */
  launch(): void {
    const { ports, netns = '', env = {}, args = [], program } = this.#options;
    const command = [
      ...(program === undefined ? [process.execPath, bundle] : [program]),
      'agent',
      '-dev',
      '-log-level=debug',
      `-http-port=${ports.http}`,
      `-dns-port=${ports.dns}`,
      '-grpc-port=-1',
      // Next to those of HTTP, so that agents side by side do not meet; nobody joins them through the WAN.
      `-serf-lan-port=${ports.http - serfLanBelowHttp}`,
      `-server-port=${ports.http - serverBelowHttp}`,
      '-serf-wan-port=-1',
      `-client=${this.address === '127.0.0.1' ? '127.0.0.1' : '0.0.0.0'}`,
      `-data-dir=${this.dataDir}`,
      ...args,
    ];
    const [file, ...rest] = netns === '' ? command : ['nsenter', `--net=${netns}`, ...command];
    const child = spawn(file!, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    this.#child = child;
  }

  /** Sends a signal; nothing is waited for. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Sends a signal and waits for the end. @returns the exit code, null when a signal ended it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (!child) return null;
    this.#child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), stopLimitMs);
    await exited;
    clearTimeout(timer);
    return child.exitCode;
  }

  /** Ends it and removes what it kept. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get(path: string): Promise<{ readonly status: number; readonly json: unknown; readonly text: string }> {
    return this.request('GET', path);
  }

  request(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly json: unknown; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        { host: this.address, port: this.#options.ports.http, method, path, agent: false },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            resolve({ status: response.statusCode ?? 0, json: tryJson(text), text });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Asks its DNS over UDP; the records of the answer section. */
  async dns(name: string, type: RecordType): Promise<readonly Answer[]> {
    const socket = createSocket('udp4');
    try {
      const answered = new Promise<Buffer>((resolve, reject) => {
        socket.once('message', resolve);
        socket.once('error', reject);
        setTimeout(() => reject(new Error(`no DNS answer for ${name}`)), dnsLimitMs).unref();
      });
      socket.send(
        encode({ type: 'query', id: 1, flags: 0, questions: [{ type, name }] }),
        this.#options.ports.dns,
        this.address,
      );
      return decode(await answered).answers ?? [];
    } finally {
      socket.close();
    }
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
