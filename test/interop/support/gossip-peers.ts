/** Real members of gossip pools, each a process on an address of its own: of loopback, or of a network namespace. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '../../helpers/wait.ts';

const run = promisify(execFile);
const cache = join(import.meta.dirname, '../../../.cache/peer/usr/bin');
const binaryOf = (name: string): string => (existsSync(join(cache, name)) ? join(cache, name) : name);

/** What both show of a member. */
export interface PeerMember {
  readonly name: string;
  readonly status: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** Whether a program is there to test against. */
export async function hasProgram(name: 'serf' | 'consul'): Promise<boolean> {
  return run(binaryOf(name), ['version']).then(
    () => true,
    () => false,
  );
}

export interface PeerOptions {
  readonly name: string;
  readonly address: string;
  /** For the files it writes. */
  readonly directory: string;
  /** More flags of its `agent`. */
  readonly args?: readonly string[];
  /** What goes before a command so that it runs in the network namespace of the address; default: nothing. */
  readonly enter?: readonly string[];
}

class Peer {
  readonly name: string;
  readonly address: string;
  readonly #child: ChildProcess;
  #log = '';

  constructor(binary: string, args: readonly string[], { name, address, enter = [] }: PeerOptions) {
    this.name = name;
    this.address = address;
    const [file, ...rest] = [...enter, binaryOf(binary), ...args];
    this.#child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    }
  }

  get log(): string {
    return this.#log;
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Sends a signal to the process, by its id. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Ends it without a word and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.hasExited) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

export class SerfPeer extends Peer {
  readonly #directory: string;

  static async start(options: PeerOptions): Promise<SerfPeer> {
    const { name, address, directory, args = [] } = options;
    const peer = new SerfPeer(
      'serf',
      [
        'agent',
        `-node=${name}`,
        `-bind=${address}:7946`,
        `-rpc-addr=${address}:7373`,
        '-log-level=debug',
        `-event-handler=user=echo "$SERF_USER_EVENT $(cat)" >> ${join(directory, `${name}.events`)}`,
        `-event-handler=query:uptime=echo "up $SERF_SELF_NAME $(cat)"`,
        ...args,
      ],
      options,
    );
    await waitUntil(`serf agent ${name} to answer`, () =>
      peer.members().then(
        () => true,
        () => false,
      ),
    );
    return peer;
  }

  private constructor(binary: string, args: readonly string[], options: PeerOptions) {
    super(binary, args, options);
    this.#directory = options.directory;
  }

  /** `serf COMMAND`, its standard output. */
  async command(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run(binaryOf('serf'), [command, `-rpc-addr=${this.address}:7373`, ...args]);
    return stdout;
  }

  async members(): Promise<readonly PeerMember[]> {
    const text = await this.command('members', '-format=json');
    const { members } = JSON.parse(text) as { readonly members: readonly PeerMember[] };
    return members.map(({ name, status, tags }) => ({ name, status, tags }));
  }

  /** User events it has delivered, `NAME PAYLOAD` each. */
  get events(): readonly string[] {
    const path = join(this.#directory, `${this.name}.events`);
    return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
  }

  async query(
    name: string,
    payload: string,
    ...args: readonly string[]
  ): Promise<{
    readonly Acks: readonly string[];
    readonly Responses: Readonly<Record<string, string>>;
  }> {
    const text = await this.command('query', '-format=json', '-timeout=2s', ...args, name, payload);
    return JSON.parse(text) as { Acks: string[]; Responses: Record<string, string> };
  }
}

const consulStatus = ['none', 'alive', 'leaving', 'left', 'failed'];

/** How often, and how long apart (ms), a request is repeated for want of a leader. */
const leaderAttempts = 40;
const leaderPauseMs = 500;

export class ConsulPeer extends Peer {
  static async start(options: PeerOptions): Promise<ConsulPeer> {
    const { name, address, directory, args = [] } = options;
    const peer = new ConsulPeer(
      'consul',
      [
        'agent',
        `-node=${name}`,
        `-bind=${address}`,
        `-client=${address}`,
        `-data-dir=${join(directory, name)}`,
        '-disable-host-node-id',
        '-log-level=debug',
        '-hcl=disable_update_check = true',
        ...args,
      ],
      options,
    );
    await waitUntil(`consul agent ${name} to answer`, () =>
      peer.members().then(
        () => true,
        () => false,
      ),
    );
    return peer;
  }

  /** @throws Error when the answer is no success. */
  async request(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    body?: string,
    attemptsLeft = leaderAttempts,
  ): Promise<string> {
    const response = await fetch(`http://${this.address}:8500/v1/${path}`, { method, ...(body ? { body } : {}) });
    const text = await response.text();
    if (response.ok) return text;
    // A server among the peers may still be electing itself.
    if (text === 'No cluster leader' && attemptsLeft > 0) {
      await new Promise((resolve) => setTimeout(resolve, leaderPauseMs));
      return this.request(method, path, body, attemptsLeft - 1);
    }
    throw new Error(`${method} ${path}: ${response.status} ${text}`);
  }

  async members(): Promise<readonly PeerMember[]> {
    const list = JSON.parse(await this.request('GET', 'agent/members')) as {
      readonly Name: string;
      readonly Status: number;
      readonly Tags: Readonly<Record<string, string>>;
    }[];
    return list.map(({ Name, Status, Tags }) => ({ name: Name, status: consulStatus[Status]!, tags: Tags }));
  }
}
