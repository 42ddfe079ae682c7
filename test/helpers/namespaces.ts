/**
 * A network of hosts on one machine: a switch (a bridge in a network namespace of its own) and one namespace a host,
 * plugged into it. There is no way out, and packets between hosts never leave these namespaces. The test itself has
 * one leg on the switch, as the last address of the network, so that it can ask every host over HTTP and DNS whatever
 * is cut between the hosts. Cables are cut by packet filter rules in the switch: whoever is cut off notices silence,
 * as with a real network.
 *
 * Names carry the test's process id. What a crashed run left behind (namespaces, processes in them, mounts) is removed
 * by the next one.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Networks come from the range for tests between networks (RFC 2544 §C.2.2), which no machine here uses: 198.18.N.0/24. */
const range = '198.18';
const namePrefix = 'ptl';
const networksMax = 254;
/** Hosts have addresses from 1; the test itself has the last one. */
const ownHost = 254;
const filterTable = 'portolan';

/** Networks of this process so far: part of the names. */
let made = 0;

/** Why networks cannot be made here, in one line; undefined when they can. */
export function namespacesSkipReason(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const tool of ['ip', 'nft', 'nsenter']) {
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
    } catch {
      return `network namespaces need \`${tool}\` (Debian: iproute2, nftables, util-linux)`;
    }
  }
  try {
    const probe = `${namePrefix}-${process.pid}-probe`;
    run('ip', 'netns', 'add', probe);
    run('ip', 'netns', 'del', probe);
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made here: ${String(error).split('\n')[0]}`;
  }
}

/** One machine of the network. */
export class Host {
  readonly name: string;
  readonly address: string;
  /** Folder that is removed with the network. */
  readonly directory: string;
  /** Name of its network namespace. */
  readonly netns: string;
  /** Its socket on the switch. */
  readonly plug: string;

  constructor(name: string, address: string, directory: string, netns: string, plug: string) {
    this.name = name;
    this.address = address;
    this.directory = directory;
    this.netns = netns;
    this.plug = plug;
  }

  /** Path of its network namespace. */
  get netnsPath(): string {
    return `/run/netns/${this.netns}`;
  }

  /** Starts a program on this host; its process id is the program's own. */
  spawn(command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('nsenter', [`--net=${this.netnsPath}`, ...command], options);
  }

  /** Runs a program to its end. @returns what it wrote. @throws when it fails. */
  run(...command: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${this.netnsPath}`, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
    });
  }

  /** Sends connections from here to `from` on to `to`: a proxy before somebody's port. */
  redirect(from: { address: string; port: number }, to: { address: string; port: number }): void {
    filter(
      this.netns,
      `table ip ${filterTable} {
        chain elsewhere {
          type nat hook output priority -100
          ip daddr ${from.address} tcp dport ${from.port} dnat to ${to.address}:${to.port}
        }
      }`,
    );
  }
}

export class Network {
  /** Address of the test itself. */
  readonly ownAddress: string;
  /** Folder that is removed with the network. */
  readonly directory: string;
  readonly #id: string;
  readonly #subnet: string;
  readonly #switch: string;
  readonly #hosts = new Map<string, Host>();
  readonly #disks: string[] = [];
  readonly #onExit = (): void => this.close();
  #closed = false;

  constructor() {
    sweep();
    this.#id = `${namePrefix}-${process.pid}-${made++}`;
    this.#subnet = freeSubnet();
    this.#switch = `${this.#id}-switch`;
    this.ownAddress = `${this.#subnet}.${ownHost}`;
    this.directory = join(tmpdir(), this.#id);
    mkdirSync(this.directory, { recursive: true });
    process.once('exit', this.#onExit);
    run('ip', 'netns', 'add', this.#switch);
    run('ip', '-n', this.#switch, 'link', 'add', 'switch', 'type', 'bridge', 'forward_delay', '0');
    run('ip', '-n', this.#switch, 'link', 'set', 'switch', 'up');
    // The leg of the test: its name in the machine's namespace must fit into 15 characters.
    const leg = `${namePrefix}${process.pid.toString(36)}x${made}`;
    run('ip', 'link', 'add', leg, 'type', 'veth', 'peer', 'name', 'test', 'netns', this.#switch);
    run('ip', '-n', this.#switch, 'link', 'set', 'test', 'master', 'switch', 'up');
    run('ip', 'addr', 'add', `${this.ownAddress}/24`, 'dev', leg);
    run('ip', 'link', 'set', leg, 'up');
  }

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  /** A new host. @param number last part of its address, 1..253; the next free one when not given */
  addHost(name: string, number = this.#hosts.size + 1): Host {
    if (number < 1 || number >= ownHost) throw new Error(`a network has addresses 1..${ownHost - 1}, not ${number}`);
    const plug = `h${number}`;
    const host = new Host(name, `${this.#subnet}.${number}`, join(this.directory, name), `${this.#id}-${name}`, plug);
    mkdirSync(host.directory, { recursive: true });
    run('ip', 'netns', 'add', host.netns);
    this.#hosts.set(name, host);
    run('ip', '-n', host.netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', plug, 'netns', this.#switch);
    run('ip', '-n', this.#switch, 'link', 'set', plug, 'master', 'switch', 'up');
    run('ip', '-n', host.netns, 'addr', 'add', `${host.address}/24`, 'dev', 'eth0');
    run('ip', '-n', host.netns, 'link', 'set', 'lo', 'up');
    run('ip', '-n', host.netns, 'link', 'set', 'eth0', 'up');
    return host;
  }

  /** Cuts hosts of different sides from each other; each side stays whole. Replaces an earlier cut. */
  partition(...sides: readonly (readonly Host[])[]): void {
    const rules = sides.flatMap((side, at) =>
      sides.filter((_, other) => other !== at).map((other) => `iifname ${plugs(side)} oifname ${plugs(other)} drop`),
    );
    this.heal();
    filter(
      this.#switch,
      `table bridge ${filterTable} {
        chain cut {
          type filter hook forward priority 0
          ${rules.join('\n')}
        }
      }`,
    );
  }

  /** Cuts one host from all others. */
  isolate(host: Host): void {
    const others = this.hosts.filter((other) => other !== host);
    this.partition([host], others);
  }

  /** Mends every cable. */
  heal(): void {
    filter(this.#switch, `table bridge ${filterTable}\ndelete table bridge ${filterTable}`);
  }

  /** A disk of its own for `path`, which a test can fill. */
  mountDisk(path: string, megabytes: number): Disk {
    mkdirSync(path, { recursive: true });
    run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, this.#id, path);
    this.#disks.push(path);
    return new Disk(path);
  }

  /** Ends every process that runs in the network, and removes all of it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.removeListener('exit', this.#onExit);
    removeAll(this.#id, this.directory);
  }
}

/** A small disk. */
export class Disk {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  get #ballast(): string {
    return join(this.#path, 'ballast');
  }

  /** Leaves no byte free. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.#path);
    try {
      writeFileSync(this.#ballast, Buffer.alloc(bavail * bsize + 1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  free(): void {
    if (existsSync(this.#ballast)) unlinkSync(this.#ballast);
  }
}

function plugs(hosts: readonly Host[]): string {
  return `{ ${hosts.map(({ plug }) => `"${plug}"`).join(', ')} }`;
}

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

function filter(netns: string, rules: string): void {
  execFileSync('nsenter', [`--net=/run/netns/${netns}`, 'nft', '-f', '-'], {
    input: `${rules}\n`,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}

function freeSubnet(): string {
  const used = new Set(
    Object.values(networkInterfaces())
      .flat()
      .map((entry) => entry!.address.split('.').slice(0, 3).join('.')),
  );
  for (let step = 0; step < networksMax; step++) {
    const subnet = `${range}.${((process.pid + step) % networksMax) + 1}`;
    if (!used.has(subnet)) return subnet;
  }
  throw new Error(`every network of ${range}.0.0/16 is in use; is something left behind? (ip netns list)`);
}

/** Removes what processes that are gone have left behind. */
function sweep(): void {
  const ids = new Set<string>();
  const names = [...listNetns(), ...readdirSync(tmpdir())];
  for (const name of names) {
    const found = new RegExp(`^${namePrefix}-(\\d+)-[a-z0-9]+`).exec(name);
    if (found !== null && !existsSync(`/proc/${found[1]}`)) ids.add(found[0]);
  }
  for (const id of ids) removeAll(id, join(tmpdir(), id));
}

function listNetns(): readonly string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns') : [];
}

function removeAll(id: string, directory: string): void {
  for (const netns of listNetns().filter((name) => name.startsWith(`${id}-`) || name === id)) {
    for (const pid of run('ip', 'netns', 'pids', netns).split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    run('ip', 'netns', 'del', netns);
  }
  for (const line of run('mount', '-t', 'tmpfs').split('\n')) {
    const path = / on (\S+) type tmpfs /.exec(line)?.[1];
    if (path?.startsWith(`${directory}/`)) run('umount', '-l', path);
  }
  rmSync(directory, { recursive: true, force: true });
}
