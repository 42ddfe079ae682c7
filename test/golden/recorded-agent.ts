// An agent as in the recordings, for the built program to be tried against: a server on free ports of loopback
// (reference/agent.md §1.7), a folder with the files that command lines name, and the comparison with what was recorded.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { freePort } from '../helpers/free-ports.mjs';
import type { Capture } from './cli-capture.ts';

export const program = resolve(import.meta.dirname, '../../dist/portolan.js');
export const built = existsSync(program);

/** Longest time until the agent leads, ms. */
const startMs = 20_000;

/** Ports of the recordings by name. */
const recordedPorts = { http: 8500, dns: 8600, server: 8300, serf_lan: 8301, serf_wan: 8302 } as const;

export interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class RecordedAgent {
  readonly dir: string;
  readonly process: ChildProcess;
  readonly #ports: Readonly<Record<string, number>>;
  #output = '';

  private constructor(dir: string, ports: Readonly<Record<string, number>>, mode: readonly string[]) {
    this.dir = dir;
    this.#ports = ports;
    this.process = spawn(process.execPath, [program, 'agent', ...mode, '-config-file', join(dir, 'agent.json')], {
      cwd: dir,
    });
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.on('data', (data) => (this.#output += String(data)));
    }
  }

  /** Starts `srv-1`; resolves when it leads. */
  static async start(settings: Readonly<Record<string, unknown>>): Promise<RecordedAgent> {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-cli-agent-'));
    const ports: Record<string, number> = { grpc: -1 };
    for (const name of Object.keys(recordedPorts)) ports[name] = await freePort();
    const config = {
      node_name: 'srv-1',
      node_id: '11111111-1111-1111-1111-111111111111',
      bind_addr: '127.0.0.1',
      node_meta: { rack: 'a' },
      ports,
      disable_update_check: true,
      log_level: 'warn',
      ...settings,
    };
    writeFileSync(join(dir, 'agent.json'), JSON.stringify(config));
    const agent = new RecordedAgent(dir, ports, ['-dev']);
    await agent.#until('/v1/status/leader', (text) => text.length > '""'.length + 1);
    return agent;
  }

  /** Starts a client agent of this server's pool at another address, with the same ports; resolves when it knows the server. */
  async startClient(
    node: string,
    address: string,
    settings: Readonly<Record<string, unknown>>,
  ): Promise<RecordedAgent> {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-cli-client-'));
    const config = {
      node_name: node,
      bind_addr: address,
      client_addr: address,
      data_dir: join(dir, 'data'),
      ports: this.#ports,
      retry_join: [`127.0.0.1:${this.#ports['serf_lan']}`],
      disable_update_check: true,
      log_level: 'warn',
      ...settings,
    };
    writeFileSync(join(dir, 'agent.json'), JSON.stringify(config));
    const agent = new RecordedAgent(dir, this.#ports, []);
    await this.#until('/v1/catalog/nodes', (text) => text.includes(`"${node}"`));
    return agent;
  }

  /** Resolves when the list of members here is as wanted. */
  untilMembers(
    holds: (members: readonly { readonly Name: string; readonly Status: number }[]) => boolean,
  ): Promise<void> {
    return this.#until('/v1/agent/members', (text) => holds(JSON.parse(text || '[]') as never));
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(this.dir, name), content);
  }

  get address(): string {
    return `127.0.0.1:${this.#ports['http']}`;
  }

  async put(path: string, body: unknown): Promise<unknown> {
    const response = await fetch(`http://${this.address}${path}`, { method: 'PUT', body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return text === '' ? null : JSON.parse(text);
  }

  /** Asks until `ready` holds; the time limit is only for a broken agent. */
  async #until(path: string, ready: (text: string) => boolean): Promise<void> {
    const deadline = Date.now() + startMs;
    for (;;) {
      const text = await fetch(`http://${this.address}${path}`).then(
        (response) => (response.ok ? response.text() : ''),
        () => '',
      );
      if (ready(text)) return;
      if (Date.now() > deadline || this.process.exitCode !== null) {
        throw new Error(`the agent did not get ready (${path}: ${text}):\n${this.#output}`);
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  untilRegistered(): Promise<void> {
    return this.#until('/v1/catalog/nodes', (text) => text.includes('srv-1'));
  }

  /** Runs the command line of a capture in our folder; what varies is hidden in the outcome. */
  async run(capture: Capture): Promise<Outcome> {
    const { raw: _, ...outcome } = await this.runRaw(capture);
    return outcome;
  }

  /** {@link run}, with stdout as it was too. */
  runRaw(capture: Capture): Promise<Outcome & { readonly raw: string }> {
    const here = (text: string): string => text.replace(/(127\.0\.0\.[1-3]):8500/, `$1:${this.#ports['http']}`);
    const named = Object.fromEntries(Object.entries(capture.env).map(([name, value]) => [name, here(value ?? '')]));
    const env = { PATH: process.env['PATH'], CONSUL_HTTP_ADDR: this.address, ...named };
    return new Promise((done) => {
      const child = execFile(
        process.execPath,
        [program, ...capture.argv.map(here)],
        { cwd: this.dir, env },
        (error, stdout, stderr) =>
          done({
            exit: error === null ? 0 : Number(error.code),
            stdout: this.#asRecorded(stdout),
            stderr: this.#asRecorded(stderr),
            raw: stdout,
          }),
      );
      // Who reads nothing may have ended by now.
      child.stdin!.on('error', () => undefined);
      child.stdin!.end(capture.stdin);
      if (capture.interruptMs !== undefined) {
        const timer = setTimeout(() => child.kill('SIGINT'), capture.interruptMs);
        child.once('exit', () => clearTimeout(timer));
      }
    });
  }

  /** Puts back the ports of the recordings, and hides what varies. */
  #asRecorded(text: string): string {
    let result = text;
    for (const [name, port] of Object.entries(recordedPorts)) {
      result = result.replaceAll(String(this.#ports[name]), String(port));
    }
    return withoutVariance(result.replaceAll('portolan', 'consul'));
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((done) => this.process.once('exit', done));
      this.process.kill('SIGKILL');
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What the capture holds, as {@link RecordedAgent.run} gives it. */
export function recordedOutcome({ exit, stdout, stderr }: Capture): Outcome {
  return { exit, stdout: withoutVariance(stdout.text), stderr: withoutVariance(stderr.text) };
}

/**
 * Identifiers, times, indexes, hashes over them (§1.7), and what a filter's parser would have liked instead (the
 * reference's hangs on its parser generator).
 */
export function withoutVariance(text: string): string {
  return text
    .replaceAll(/^((?:Create|Modify)Index +)\d+$/gm, '$1N')
    .replaceAll(/^(\s+"(?:Create|Modify)Index": |\s+"LTime": )\d+/gm, '$1N')
    .replaceAll(/(?!([1-3])\1{7})[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/g, '…')
    .replaceAll('<management token>', '…')
    .replaceAll(/("Hash": ").*"/g, '$1…"')
    .replaceAll(/(reset index: )\d+/g, '$1N')
    .replaceAll(/\d{4}-\d\d-\d\d[ T][\d:.]+(Z| \+0000 UTC)/g, '…')
    .replaceAll(/^(Created At: +).+$/gm, '$1…')
    .replaceAll(/(Completed in )[\d.]+/g, '$1…')
    .replaceAll(/(no match found, expected: ).*\)$/gm, '$1…)');
}
