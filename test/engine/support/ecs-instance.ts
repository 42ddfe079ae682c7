/**
 * An ECS container instance and its surroundings, on one machine: the namespace of a test engine becomes the instance,
 * another one the network around it, with the metadata service, EC2's API and a real Consul server. Nothing leads out
 * of the two. What AWS answers is simulated (simulated-aws.mjs); the way it takes, bridge and hop limit included, is
 * the kernel's.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '../../helpers/wait.ts';
import { type BuildEngine, repository } from './base-images.ts';
import { importPrograms } from './program-image.ts';

const run = promisify(execFile);

/** The instance, and the server in the network around it. */
export const instanceAddress = '10.0.1.10';
export const instanceName = 'i-0a1b2c3d4e5f60718';
export const serverAddress = '10.0.1.11';
/** What joins by tag there; the endpoint because no name leads to the simulated API. */
export const joinString = 'provider=aws tag_key=portolan tag_value=server endpoint=http://10.0.1.2';
/** Image with what the shipped script finds on Amazon Linux: bash, curl, Docker's command line. */
const hostImage = 'stand-in/container-instance';
const stopMsMax = 10_000;

/** One request that the simulated AWS has seen. */
export interface SeenRequest {
  readonly name: 'metadata' | 'ec2' | 'task' | 'introspection';
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly from: string;
}

export interface Member {
  readonly address: string;
  readonly status: string;
}

export class EcsInstance {
  readonly build: BuildEngine;
  readonly #consul: string;
  readonly #dir: string;
  readonly #children: ChildProcess[] = [];
  readonly #region: string;
  #output = '';

  static async start(build: BuildEngine, consul: string): Promise<EcsInstance> {
    const instance = new EcsInstance(build, consul, await mkdtemp(join(tmpdir(), 'portolan-ecs-')));
    try {
      await instance.#wire();
      await instance.#makeHostImage();
      await Promise.all([
        instance.#simulate('region', instance.#region),
        instance.#simulate('host', basename(build.engine.netns)),
        instance.#startServer(),
      ]);
    } catch (error) {
      await instance.close();
      throw error;
    }
    return instance;
  }

  private constructor(build: BuildEngine, consul: string, dir: string) {
    this.build = build;
    this.#consul = consul;
    this.#dir = dir;
    this.#region = `${basename(build.engine.netns)}-region`;
  }

  /** Requests so far. */
  get requests(): readonly SeenRequest[] {
    return this.#output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as SeenRequest);
  }

  /** Takes the engine's namespace off the machine and connects it with the region. */
  async #wire(): Promise<void> {
    const instance = basename(this.build.engine.netns);
    const ip = (...args: readonly string[]): Promise<unknown> => run('ip', args);
    await ip('netns', 'add', this.#region);
    await ip('-n', instance, 'link', 'delete', this.build.engine.hostInterface);
    await ip('-n', this.#region, 'link', 'set', 'lo', 'up');
    await ip('-n', this.#region, 'link', 'add', 'vpc', 'type', 'veth', 'peer', 'name', 'ens5', 'netns', instance);
    for (const address of ['10.0.1.1/24', '10.0.1.2/24', `${serverAddress}/24`, '169.254.169.254/32']) {
      await ip('-n', this.#region, 'address', 'add', address, 'dev', 'vpc');
    }
    await ip('-n', this.#region, 'link', 'set', 'vpc', 'up');
    await ip('-n', instance, 'address', 'add', `${instanceAddress}/24`, 'dev', 'ens5');
    await ip('-n', instance, 'link', 'set', 'ens5', 'up');
    await ip('-n', instance, 'route', 'add', 'default', 'via', '10.0.1.1');
    // Where the ECS agent answers tasks; the real one redirects it to itself.
    await ip('-n', instance, 'address', 'add', '169.254.170.2/32', 'dev', 'lo');
    await ip('-n', this.#region, 'rule', 'add', 'from', '169.254.169.254', 'lookup', '169');
    await this.setHopLimit(2);
  }

  /** `HttpPutResponseHopLimit`: through how many routers what the metadata service sends may go, plus one. */
  async setHopLimit(hops: number): Promise<void> {
    await run('ip', [
      ...['-n', this.#region, 'route', 'replace', '10.0.1.0/24', 'dev', 'vpc'],
      ...['table', '169', 'hoplimit', String(hops)],
    ]);
  }

  async #makeHostImage(): Promise<void> {
    await importPrograms(this.build.engine, hostImage, {
      programs: ['bash', 'curl', 'docker'],
      files: { '/etc/ecs/ecs.config': 'ECS_CLUSTER=other\nECS_LOGLEVEL=warn\n' },
    });
    await this.build.engine.docker(
      ...['run', '-d', '--name', 'instance', '--network', 'host'],
      ...['-v', `${this.build.socket}:${this.build.socket}`, hostImage, 'sleep', '1000000'],
    );
    await run('docker', [
      '-H',
      this.build.engine.host,
      'cp',
      join(repository, 'ecs/user-data.sh'),
      'instance:/user-data.sh',
    ]);
  }

  /** Runs the shipped script as cloud-init does, behind the settings; everything it wrote. Rejects when it fails. */
  async userData(settings: Readonly<Record<string, string>>): Promise<string> {
    const all = {
      ...settings,
      DOCKER_SOCKET: this.build.socket,
      DOCKER_HOST: this.build.engine.host,
      PORTOLAN_OPEN_FILES: String(await openFilesMax()),
    };
    const exports = Object.entries(all).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
    return this.build.cli(['exec', ...exports, 'instance', 'bash', '/user-data.sh']);
  }

  /** A folder of this machine that stands for the instance's root, for mounts into containers. */
  get folder(): string {
    return join(this.#dir, 'instance');
  }

  /** A file of the instance. */
  file(path: string): Promise<string> {
    return this.build.engine.docker('exec', 'instance', 'cat', path);
  }

  /** On the host side of the instance. */
  inside(...command: readonly string[]): Promise<string> {
    return this.build.engine.docker('exec', 'instance', ...command);
  }

  async #simulate(part: 'region' | 'host', netns: string): Promise<void> {
    const child = this.#spawn(netns, [process.execPath, join(import.meta.dirname, 'simulated-aws.mjs'), part]);
    let ready = false;
    const take = (chunk: Buffer): void => {
      this.#output += chunk.toString();
      ready ||= chunk.toString().includes('ready');
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    await waitUntil(
      () => `the simulated ${part}\n${this.#output}`,
      () => ready,
    );
  }

  async #startServer(): Promise<void> {
    const log: string[] = [];
    const child = this.#spawn(this.#region, [
      ...[this.#consul, 'agent', '-server', '-bootstrap', `-bind=${serverAddress}`, '-node=server'],
      ...[`-data-dir=${join(this.#dir, 'consul')}`, '-hcl=disable_update_check = true'],
      // A failed member is given up and forgotten sooner, and probed more often, than by default.
      ...['-hcl=gossip_lan { probe_interval = "300ms" probe_timeout = "200ms" suspicion_mult = 2 }'],
    ]);
    child.stdout?.on('data', (chunk: Buffer) => log.push(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => log.push(chunk.toString()));
    await waitUntil(
      () => `the Consul server\n${log.join('').slice(-2000)}`,
      async () => (await this.server('/v1/status/leader').catch(() => '')) === `${serverAddress}:8300`,
    );
  }

  /** GET of the real server's API. */
  async server(path: string): Promise<unknown> {
    const url = `http://127.0.0.1:8500${path}`;
    const { stdout } = await run('nsenter', [`--net=/var/run/netns/${this.#region}`, 'curl', '-sSf', '-m', '5', url]);
    return JSON.parse(stdout) as unknown;
  }

  /** The pool by the real server's word, without the server itself. */
  async members(): Promise<Readonly<Record<string, Member>>> {
    const statuses = ['none', 'alive', 'leaving', 'left', 'failed'];
    const list = (await this.server('/v1/agent/members')) as readonly {
      readonly Name: string;
      readonly Addr: string;
      readonly Port: number;
      readonly Status: number;
    }[];
    return Object.fromEntries(
      list
        .filter(({ Name }) => Name !== 'server')
        .map(({ Name, Addr, Port, Status }) => [
          Name,
          { address: `${Addr}:${Port}`, status: statuses[Status] ?? String(Status) },
        ]),
    );
  }

  #spawn(netns: string, command: readonly string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=/var/run/netns/${netns}`, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.push(child);
    return child;
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
            child.once('exit', () => {
              clearTimeout(timer);
              resolve();
            });
            child.kill('SIGTERM');
            return undefined;
          }),
      ),
    );
    await run('ip', ['netns', 'delete', this.#region]).catch(() => undefined);
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** More than the test itself may have, an engine on this machine may not be allowed to give. */
async function openFilesMax(): Promise<number> {
  return Number(/^Max open files +\d+ +(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1] ?? 1024);
}

/** `docker run` arguments for a shipped task definition, as the ECS agent of an instance makes them. */
export async function taskArguments(
  file: string,
  instance: {
    readonly socket: string;
    /** Where the instance's folders are on this machine. */
    readonly folder: string;
    /** Address of its bridge, which the definition takes to be the default one. */
    readonly gateway: string;
    readonly variables: Readonly<Record<string, string>>;
  },
): Promise<readonly string[]> {
  const definition = JSON.parse(await readFile(join(repository, 'ecs', file), 'utf8')) as TaskDefinition;
  const [container] = definition.containerDefinitions;
  const volumes = new Map(definition.volumes.map(({ name, host }) => [name, host.sourcePath]));
  const filesMax = await openFilesMax();
  const labels = {
    'com.amazonaws.ecs.cluster': 'harbour',
    'com.amazonaws.ecs.container-name': container.name,
    'com.amazonaws.ecs.task-definition-family': definition.family,
  };
  return [
    ...['--network', definition.networkMode === 'host' ? 'host' : 'bridge', '--user', container.user],
    ...(container.readonlyRootFilesystem ? ['--read-only'] : []),
    ...container.linuxParameters.capabilities.drop.flatMap((each) => ['--cap-drop', each]),
    ...container.dockerSecurityOptions.flatMap((each) => ['--security-opt', each]),
    ...['--memory', `${container.memory}m`, '--stop-timeout', String(container.stopTimeout)],
    ...container.ulimits.flatMap(({ name, softLimit, hardLimit }) => [
      '--ulimit',
      `${name}=${Math.min(softLimit, filesMax)}:${Math.min(hardLimit, filesMax)}`,
    ]),
    ...(container.portMappings ?? []).flatMap(({ containerPort, hostPort, protocol }) => [
      '-p',
      `${hostPort}:${containerPort}/${protocol}`,
    ]),
    ...container.mountPoints.flatMap(({ sourceVolume, containerPath }) => {
      const source = volumes.get(sourceVolume)!;
      const here = source === '/var/run/docker.sock' ? instance.socket : join(instance.folder, source);
      return ['-v', `${here}:${containerPath}`];
    }),
    ...['--health-cmd', container.healthCheck.command.slice(1).join(' '), '--health-interval', '1s'],
    ...Object.entries(labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
    ...Object.entries(instance.variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
    container.image,
    ...container.command.map((each) => each.replace('172.17.0.1', instance.gateway)),
  ];
}

interface TaskDefinition {
  readonly family: string;
  readonly networkMode: string;
  readonly volumes: readonly { readonly name: string; readonly host: { readonly sourcePath: string } }[];
  readonly containerDefinitions: readonly [
    {
      readonly name: string;
      readonly image: string;
      readonly user: string;
      readonly memory: number;
      readonly stopTimeout: number;
      readonly readonlyRootFilesystem: boolean;
      readonly linuxParameters: { readonly capabilities: { readonly drop: readonly string[] } };
      readonly dockerSecurityOptions: readonly string[];
      readonly ulimits: readonly { readonly name: string; readonly softLimit: number; readonly hardLimit: number }[];
      readonly portMappings?: readonly {
        readonly containerPort: number;
        readonly hostPort: number;
        readonly protocol: string;
      }[];
      readonly mountPoints: readonly { readonly sourceVolume: string; readonly containerPath: string }[];
      readonly healthCheck: { readonly command: readonly string[] };
      readonly command: readonly string[];
    },
  ];
}
