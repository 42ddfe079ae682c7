/**
 * A Docker engine for tests. With DOCKER_HOST set that engine is used; otherwise the suite starts a dockerd of its own:
 * own data, own socket, own network namespace (two daemons in one namespace would overwrite each other's packet
 * filter), reachable at `hostAddress` through a veth pair. It is never the machine's engine that a test kills.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '../../helpers/wait.ts';
import { importImages } from './images.ts';

const run = promisify(execFile);

/** A daemon on a loaded machine takes this long at most, ms. */
const startMsMax = 60_000;
const stopMsMax = 20_000;
/** Daemons at a time; the number is also the third byte of its addresses. */
const slotsMax = 200;

/** Why there can be no engine here; undefined when there can. Throws with CI=true: there nothing may be skipped. */
export function engineSkipReason(options: { readonly own?: boolean } = {}): string | undefined {
  const reason = findSkipReason(options.own ?? false);
  if (reason !== undefined && process.env['CI'] === 'true') throw new Error(`engine tests cannot run: ${reason}`);
  if (reason !== undefined) console.log(`engine tests skipped: ${reason}`);
  return reason;
}

function findSkipReason(own: boolean): string | undefined {
  const tools = ['docker', 'busybox'];
  if (own || process.env['DOCKER_HOST'] === undefined) {
    if (process.getuid?.() !== 0) return 'starting a dockerd needs root; or set DOCKER_HOST';
    tools.push('dockerd', 'ip', 'iptables', 'nsenter');
  }
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  const missing = tools.filter((tool) => !folders.some((folder) => existsSync(join(folder, tool))));
  return missing.length === 0 ? undefined : `no ${missing.join(', ')} here; run test/engine/support/install.sh`;
}

export interface TestEngine {
  /** `unix:///…/docker.sock` or DOCKER_HOST. */
  readonly host: string;
  /** Whether the daemon is ours: only then {@link killDaemon}, {@link startDaemon}, {@link stopDaemon} work. */
  readonly own: boolean;
  /** Where published ports are reached from the tests. */
  readonly hostAddress: string;
  /** The same over IPv6, from the documentation's range; "" when the engine is not ours. */
  readonly hostAddressV6: string;
  /** The interface in the namespace that has both; "" when the engine is not ours. */
  readonly hostInterface: string;
  /** The network namespace's file for `nsenter --net=`, "" when it is the machine's. */
  readonly netns: string;
  /** Pid of the daemon; 0 when it is not ours or down. */
  readonly pid: number;
  /** Runs the docker command line; its trimmed stdout. */
  docker(...args: string[]): Promise<string>;
  /** `docker run -d …`; the container's id. It is removed with the engine. */
  run(...args: string[]): Promise<string>;
  /** `docker top`: the command lines that run in the container. */
  top(container: string): Promise<string[]>;
  /** SIGKILL. Containers go on running with live restore, otherwise until the next start. */
  killDaemon(): Promise<void>;
  /** SIGTERM, and waits for its end. */
  stopDaemon(): Promise<void>;
  startDaemon(): Promise<void>;
  /** Everything the daemon wrote. */
  log(): string;
  /** Removes the containers of {@link run}, and the daemon with everything it left when it is ours. */
  close(): Promise<void>;
}

/** @param options.own never DOCKER_HOST's engine, for tests that kill it. */
export async function startEngine(
  options: { readonly own?: boolean; readonly liveRestore?: boolean; readonly args?: readonly string[] } = {},
): Promise<TestEngine> {
  const given = process.env['DOCKER_HOST'];
  const engine = options.own !== true && given !== undefined ? new GivenEngine(given) : await OwnEngine.create(options);
  try {
    await importImages((...args) => engine.docker(...args));
  } catch (error) {
    await engine.close();
    throw error;
  }
  return engine;
}

class GivenEngine implements TestEngine {
  readonly host: string;
  readonly own: boolean = false;
  readonly #containers: string[] = [];

  constructor(host: string) {
    this.host = host;
  }

  get hostAddress(): string {
    return '127.0.0.1';
  }

  get hostAddressV6(): string {
    return '';
  }

  get hostInterface(): string {
    return '';
  }

  get netns(): string {
    return '';
  }

  get pid(): number {
    return 0;
  }

  async docker(...args: string[]): Promise<string> {
    const { stdout } = await run('docker', ['-H', this.host, ...args], { maxBuffer: 64 << 20 });
    return stdout.trim();
  }

  async run(...args: string[]): Promise<string> {
    const id = await this.docker('run', '-d', ...args);
    this.#containers.push(id);
    return id;
  }

  async top(container: string): Promise<string[]> {
    return (await this.docker('top', container, '-o', 'pid,args'))
      .split('\n')
      .slice(1)
      .map((line) => line.trim().replace(/^\d+\s+/, ''));
  }

  killDaemon(): Promise<void> {
    return Promise.reject(new Error('this engine is not ours to kill'));
  }

  stopDaemon(): Promise<void> {
    return Promise.reject(new Error('this engine is not ours to stop'));
  }

  startDaemon(): Promise<void> {
    return Promise.reject(new Error('this engine is not ours to start'));
  }

  log(): string {
    return '';
  }

  async close(): Promise<void> {
    for (const id of this.#containers) await this.docker('rm', '-fv', id).catch(() => undefined);
  }
}

class OwnEngine extends GivenEngine {
  override readonly own = true;
  readonly #dir: string;
  readonly #slot: number;
  readonly #args: readonly string[];
  #pid = 0;
  #exited: Promise<void> = Promise.resolve();

  static async create(options: {
    readonly liveRestore?: boolean;
    readonly args?: readonly string[];
  }): Promise<OwnEngine> {
    const slot = await takeSlot();
    const dir = await mkdtemp(join(tmpdir(), 'portolan-engine-'));
    const engine = new OwnEngine(dir, slot, [
      ...(options.liveRestore ? ['--live-restore'] : []),
      ...(options.args ?? []),
    ]);
    try {
      await engine.startDaemon();
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  private constructor(dir: string, slot: number, args: readonly string[]) {
    super(`unix://${dir}/docker.sock`);
    this.#dir = dir;
    this.#slot = slot;
    this.#args = args;
  }

  override get hostAddress(): string {
    return `10.213.${this.#slot}.2`;
  }

  override get hostAddressV6(): string {
    return `${prefixV6(this.#slot)}::2`;
  }

  override get hostInterface(): string {
    return `ptl${this.#slot}b`;
  }

  override get netns(): string {
    return `/var/run/netns/${namespaceOf(this.#slot)}`;
  }

  override get pid(): number {
    return this.#pid;
  }

  override async startDaemon(): Promise<void> {
    const log = await open(join(this.#dir, 'dockerd.log'), 'a');
    const slot = this.#slot;
    // nsenter and not `ip netns exec`: the latter mounts a new /sys and hides the cgroups.
    const child = spawn(
      'nsenter',
      [
        `--net=${this.netns}`,
        'dockerd',
        `--host=${this.host}`,
        `--data-root=${this.#dir}/data`,
        `--exec-root=${this.#dir}/exec`,
        `--pidfile=${this.#dir}/docker.pid`,
        `--bip=10.214.${slot}.1/24`,
        `--default-address-pool=base=10.${216 + (slot >> 6)}.${(slot & 63) * 4}.0/22,size=26`,
        ...this.#args,
      ],
      { stdio: ['ignore', log.fd, log.fd], detached: true },
    );
    let ended = false;
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => {
        ended = true;
        this.#pid = 0;
        resolve();
      });
    });
    await log.close();
    this.#pid = child.pid ?? 0;
    await waitUntil(
      'dockerd to answer',
      async () => {
        if (ended) throw new Error(`dockerd ended at its start:\n${this.log().slice(-2000)}`);
        return this.docker('version', '--format', '{{.Server.Version}}').catch(() => undefined);
      },
      startMsMax,
    );
  }

  override async killDaemon(): Promise<void> {
    process.kill(this.#pid, 'SIGKILL');
    await this.#exited;
    // Its containerd dies with it. Where pid 1 reaps nobody, the zombie looks alive to the next daemon.
    await this.#endContainerd();
  }

  override async stopDaemon(): Promise<void> {
    if (this.#pid === 0) return;
    const pid = this.#pid;
    process.kill(pid, 'SIGTERM');
    const timer = setTimeout(() => {
      if (this.#pid === pid) process.kill(pid, 'SIGKILL');
    }, stopMsMax);
    await this.#exited;
    clearTimeout(timer);
  }

  override log(): string {
    return readFileSync(join(this.#dir, 'dockerd.log'), 'utf8');
  }

  override async close(): Promise<void> {
    if (this.#pid !== 0) {
      const ids = (await this.docker('ps', '-aq').catch(() => '')).split('\n').filter((id) => id !== '');
      if (ids.length > 0) await this.docker('rm', '-fv', ...ids).catch(() => undefined);
      await this.stopDaemon();
    }
    await this.#endContainerd();
    // Mounts of containers that a killed daemon left would keep the folder busy.
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((path) => path.startsWith(`${this.#dir}/`)).toReversed()) {
      await run('umount', ['-l', mount]).catch(() => undefined);
    }
    await rm(this.#dir, { recursive: true, force: true });
    await freeSlot(this.#slot);
  }

  /** A pid file tells which containerd is ours. */
  async #endContainerd(): Promise<void> {
    const pidFile = join(this.#dir, 'exec/containerd/containerd.pid');
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    if (pid > 1 && (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(this.#dir)) {
      process.kill(pid, 'SIGTERM');
    }
    await waitUntil('containerd to end', () => !isAlive(pid), stopMsMax);
    await rm(pidFile, { force: true });
  }
}

/** A zombie whose parent does not reap it is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function namespaceOf(slot: number): string {
  return `portolan-${slot}`;
}

/** First 64 bits of the slot's addresses: the documentation's prefix, so that they lead nowhere else. */
function prefixV6(slot: number): string {
  return `2001:db8:213:${slot.toString(16)}`;
}

/** Makes a network namespace with a veth pair; the namespace's name is the lock of the slot. */
async function takeSlot(): Promise<number> {
  for (let slot = 1; slot < slotsMax; slot++) {
    const name = namespaceOf(slot);
    const taken = await run('ip', ['netns', 'add', name]).then(
      () => false,
      () => true,
    );
    if (taken) continue;
    const [outside, inside] = [`ptl${slot}a`, `ptl${slot}b`];
    const inner = (...args: string[]): Promise<unknown> => run('ip', ['-n', name, ...args]);
    // A namespace that was deleted a moment ago lives, with its pair, until its last process is gone.
    await run('ip', ['link', 'delete', outside]).catch(() => undefined);
    await run('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', name]);
    await run('ip', ['address', 'add', `10.213.${slot}.1/24`, 'dev', outside]);
    await run('ip', ['link', 'set', outside, 'up']);
    await inner('link', 'set', 'lo', 'up');
    await inner('address', 'add', `10.213.${slot}.2/24`, 'dev', inside);
    await inner('link', 'set', inside, 'up');
    // A kernel without IPv6 fails only the tests that need it.
    const v6 = `${prefixV6(slot)}::`;
    await run('ip', ['address', 'add', `${v6}1/64`, 'dev', outside, 'nodad']).catch(() => undefined);
    await inner('address', 'add', `${v6}2/64`, 'dev', inside, 'nodad').catch(() => undefined);
    await inner('route', 'add', 'default', 'via', `10.213.${slot}.1`);
    return slot;
  }
  throw new Error(`all ${slotsMax} namespaces portolan-N are taken; remove those of ended tests with: ip netns delete`);
}

async function freeSlot(slot: number): Promise<void> {
  await run('ip', ['netns', 'delete', namespaceOf(slot)]).catch(() => undefined);
}
