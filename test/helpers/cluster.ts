/**
 * Agents on the hosts of a network: real Consul and Portolan side by side, servers and clients, with the same words on
 * their command lines. A member can be killed, frozen and started again on its data; the test asks it over HTTP and DNS.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join, resolve } from 'node:path';
import { type Answer, decode, encode, type RecordType } from 'dns-packet';
import type { Host, Network } from './namespaces.ts';
import { waitUntil } from './wait.ts';

const root = resolve(import.meta.dirname, '../..');
/** The agent under test; PORTOLAN_BUNDLE names another build of it. */
const bundle = process.env['PORTOLAN_BUNDLE'] ?? join(root, 'dist/portolan.js');
/** Where logs of failed tests stay. */
const keptLogs = join(root, '.cache/cluster-logs');

export const ports = { http: 8500, dns: 8600, server: 8300, serfLan: 8301, serfWan: 8302 } as const;

/** Longest orderly end: leaving a cluster takes up to 15 s (ms). */
const stopLimitMs = 30_000;
/** First leader of a new cluster, first join of a client (ms). */
const formLimitMs = 60_000;
/** An answer of an agent that is well (ms). */
const answerLimitMs = 15_000;
const dnsLimitMs = 2_000;
const commandLimitMs = 60_000;

/** Which program a member runs. */
export type Kind = 'consul' | 'portolan';

export interface MemberOptions {
  readonly name: string;
  readonly kind: Kind;
  readonly server: boolean;
  /** Settings on top of the cluster's. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** A supervisor: starts it again this long after it has ended by itself (ms). Nobody does when not given. */
  readonly restartMs?: number;
  /** Last part of its address; the next free one when not given. */
  readonly number?: number;
}

export interface ClusterOptions {
  readonly network: Network;
  /** The real Consul. */
  readonly consul: string;
  /** Settings of every member. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Settings of every server. */
  readonly serverConfig?: Readonly<Record<string, unknown>>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface RequestOptions {
  readonly body?: string | Uint8Array | object;
  /** Longest time until the answer is whole (ms). */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Member {
  readonly name: string;
  readonly kind: Kind;
  readonly server: boolean;
  readonly host: Host;
  readonly dataDir: string;
  readonly logFile: string;
  readonly nodeId: string = randomUUID();
  readonly #command: readonly string[];
  readonly #config: () => Readonly<Record<string, unknown>>;
  readonly #env: Readonly<Record<string, string>>;
  readonly #http = new Agent({ keepAlive: true });
  readonly #restartMs: number | undefined;
  #child: ChildProcess | undefined;

  /** @param shared settings that members of the cluster have in common, asked at each start */
  constructor(
    host: Host,
    options: MemberOptions,
    command: readonly string[],
    shared: () => Readonly<Record<string, unknown>>,
  ) {
    this.name = options.name;
    this.kind = options.kind;
    this.server = options.server;
    this.host = host;
    this.dataDir = join(host.directory, 'data');
    this.logFile = join(host.directory, 'log');
    this.#command = command;
    this.#env = options.env ?? {};
    this.#restartMs = options.restartMs;
    this.#config = () => ({
      node_name: options.name,
      node_id: this.nodeId,
      server: options.server,
      data_dir: this.dataDir,
      bind_addr: host.address,
      client_addr: '0.0.0.0',
      ...shared(),
      ...options.config,
    });
  }

  get address(): string {
    return this.host.address;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether it has ended by itself, and nobody starts it again. */
  get gaveUp(): boolean {
    return this.#child !== undefined && !this.running && this.#restartMs === undefined;
  }

  /** Everything it wrote so far, over all starts. */
  get log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  /** The end of its log, for a failure's text. */
  get logTail(): string {
    return `${this.name}: …${this.log.slice(-3000)}`;
  }

  /** Resident memory now, bytes. */
  get residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024;
  }

  /** How long it could have run but others had the processors, since its start (ms); 0 where the kernel does not say. */
  get starvedMs(): number {
    const file = `/proc/${this.pid}/schedstat`;
    return existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[1]) / 1e6 : 0;
  }

  /** Starts it and waits for nothing. @param config settings of this start and later ones, on top of its own */
  start(config: Readonly<Record<string, unknown>> = {}): void {
    if (this.running) throw new Error(`${this.name} runs already`);
    const file = join(this.host.directory, 'config.json');
    writeFileSync(file, JSON.stringify({ ...this.#config(), ...config }, null, 2));
    const log = openSync(this.logFile, 'a');
    this.#child = this.host.spawn([...this.#command, 'agent', `-config-file=${file}`], {
      cwd: this.host.directory,
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const child = this.#child;
    const restartMs = this.#restartMs;
    if (restartMs === undefined) return;
    child.once('exit', () => {
      setTimeout(() => {
        // Unless the test itself has ended or started it.
        if (this.#child === child) this.start(config);
      }, restartMs);
    });
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** An orderly end. @returns the exit code, null when a signal ended it */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    return this.#end(signal);
  }

  /** Freezes it, as a machine that stalls. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    this.#http.destroy();
    if (child === undefined) return null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopLimitMs);
    await exited;
    clearTimeout(timer);
    return child.exitCode;
  }

  /** One HTTP request. @throws on a connection that fails or takes too long; any status is an answer */
  request(method: string, path: string, options: RequestOptions = {}): Promise<HttpAnswer> {
    const { body, timeoutMs = answerLimitMs, headers = {} } = options;
    return new Promise((resolve, reject) => {
      const sent = request(
        { host: this.address, port: ports.http, method, path, agent: this.#http, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            clearTimeout(timer);
            const text = Buffer.concat(chunks).toString();
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
          });
        },
      );
      const timer = setTimeout(() => {
        sent.destroy(new Error(`${this.name}: ${method} ${path} took longer than ${timeoutMs} ms`));
      }, timeoutMs);
      sent.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      const raw = typeof body === 'string' || body instanceof Uint8Array || body === undefined;
      sent.end(raw ? body : JSON.stringify(body));
    });
  }

  /** The JSON of a successful answer. @throws on any other status */
  async get<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>('GET', path, options);
  }

  async put<T>(path: string, body?: string | object, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>('PUT', path, { ...options, ...(body === undefined ? {} : { body }) });
  }

  async #json<T>(method: string, path: string, options: RequestOptions): Promise<T> {
    const { status, text } = await this.request(method, path, options);
    if (status !== 200) throw new Error(`${this.name}: ${method} ${path}: ${status} ${text.trim()}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
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
      socket.send(encode({ type: 'query', id: 1, flags: 0, questions: [{ type, name }] }), ports.dns, this.address);
      return decode(await answered).answers ?? [];
    } finally {
      socket.close();
    }
  }
}

interface MemberRecord {
  readonly Name: string;
  readonly Status: number;
}

/** `Status` of a member that is alive. */
const alive = 1;

export class Cluster {
  readonly network: Network;
  readonly #consul: string;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #serverConfig: Readonly<Record<string, unknown>>;
  readonly #bundle: string;
  readonly #members = new Map<string, Member>();
  #keepsLogs = false;

  constructor({ network, consul, config = {}, serverConfig = {} }: ClusterOptions) {
    this.network = network;
    this.#consul = consul;
    this.#config = config;
    this.#serverConfig = serverConfig;
    this.#bundle = join(network.directory, 'portolan.js');
    // A copy: somebody may build meanwhile.
    if (existsSync(bundle)) copyFileSync(bundle, this.#bundle);
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  get servers(): readonly Member[] {
    return this.members.filter(({ server }) => server);
  }

  get clients(): readonly Member[] {
    return this.members.filter(({ server }) => !server);
  }

  member(name: string): Member {
    const found = this.#members.get(name);
    if (found === undefined) throw new Error(`no member ${name}`);
    return found;
  }

  /** The words that start a program of this kind. */
  command(kind: Kind): readonly string[] {
    return kind === 'consul' ? [this.#consul] : [process.execPath, this.#bundle];
  }

  /** A new member on a new host; it is not started. */
  add(options: MemberOptions): Member {
    const host = this.network.addHost(options.name, options.number);
    const settings = (): Readonly<Record<string, unknown>> => ({
      disable_update_check: true,
      disable_host_node_id: true,
      log_level: 'DEBUG',
      ports: { grpc: -1 },
      // Elections within a second or two, as on a machine of its own.
      performance: { raft_multiplier: 1 },
      retry_join: this.servers.filter((other) => other.host !== host).map(({ address }) => address),
      retry_interval: '1s',
      ...this.#config,
      ...(options.server ? this.#serverConfig : {}),
    });
    const member = new Member(host, options, this.command(options.kind), settings);
    this.#members.set(options.name, member);
    return member;
  }

  /** Starts members and waits until all of `all` know a leader and list each other as alive. */
  async startAll(all: readonly Member[] = this.members): Promise<void> {
    for (const member of all) if (!member.running) member.start();
    await this.formed(all);
  }

  /** Waits until every one of `all` knows a leader and lists all of them as alive. */
  async formed(all: readonly Member[] = this.members, limitMs = formLimitMs): Promise<void> {
    await waitUntil(
      () => `the cluster to form\n${all.map(({ logTail }) => logTail).join('\n')}`,
      async () => {
        for (const member of all) {
          if (member.gaveUp) throw new Error(`${member.name} ended by itself\n${member.logTail}`);
          const known = await leaderOf(member);
          if (known === undefined) return false;
          const records = await member.get<MemberRecord[]>('/v1/agent/members').catch(() => []);
          const up = new Set(records.filter(({ Status }) => Status === alive).map(({ Name }) => Name));
          if (!all.every(({ name }) => up.has(name))) return false;
        }
        return true;
      },
      limitMs,
    );
  }

  /** The server that leads, by the word of most servers. */
  async leader(limitMs = formLimitMs): Promise<Member> {
    return waitUntil(
      () => `a leader\n${this.servers.map(({ logTail }) => logTail).join('\n')}`,
      async () => {
        const votes = await Promise.all(
          this.servers.filter(({ running }) => running).map((server) => leaderOf(server)),
        );
        const found = this.servers.filter(
          ({ address, running }) =>
            running && votes.filter((vote) => vote === address).length > this.servers.length / 2,
        );
        return found[0];
      },
      limitMs,
    );
  }

  /** Runs a client command of `kind` on the host of `member`, pointed at it. */
  cli(member: Member, kind: Kind, args: readonly string[], input = ''): Promise<CommandResult> {
    const words = [`--net=${member.host.netnsPath}`, ...this.command(kind), ...args];
    return new Promise((resolve) => {
      const child = execFile(
        'nsenter',
        words,
        {
          cwd: member.host.directory,
          timeout: commandLimitMs,
          env: { ...process.env, CONSUL_HTTP_ADDR: '127.0.0.1:8500' },
        },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ code, stdout, stderr });
        },
      );
      // Who reads nothing may have ended by now.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
    });
  }

  /** Keeps the logs when the cluster closes: a test has failed. */
  keepLogs(): void {
    this.#keepsLogs = true;
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    const folder = join(keptLogs, this.network.directory.split('/').pop()!);
    rmSync(folder, { recursive: true, force: true });
    if (this.#keepsLogs) {
      mkdirSync(folder, { recursive: true });
      for (const { name, logFile } of this.members) {
        if (existsSync(logFile)) copyFileSync(logFile, join(folder, `${name}.log`));
      }
      console.log(`cluster: logs of the failed test are in ${folder}`);
    }
    this.network.close();
  }
}

/** Address of the leader that a member names, without the port. */
export async function leaderOf(member: Member): Promise<string | undefined> {
  const answer = await member.get<string>('/v1/status/leader', { timeoutMs: 1_000 }).catch(() => '');
  return answer === '' ? undefined : answer.slice(0, answer.lastIndexOf(':'));
}
