/**
 * A Docker engine in memory, for simulations: containers, networks, health, the event stream with its `since` replay
 * from a buffer of 256 events, and everything that goes wrong with a real one (daemon away, stream broken, slow or
 * failing answers, events lost by a live-restore restart). What it emits, and in which order, follows
 * reference/container-environments.md §2-§5. State changes come from the methods below `// What happens on the host`.
 */
import { invariant } from '../lib/index.ts';
import { EngineError, sleep } from '../ports/index.ts';
import type {
  Clock,
  ContainerHealth,
  ContainerInspect,
  ContainerSummary,
  DockerEngine,
  EndpointSettings,
  EngineEvent,
  EngineInfo,
  EngineVersion,
  ExecOptions,
  ExecResult,
  ImageInspect,
  PortBinding,
  Random,
} from '../ports/index.ts';

/** Events an engine keeps for `since`, of all types together (container-environments.md §3). */
export const replayBufferEvents = 256;

export interface FakeContainerSpec {
  readonly name: string;
  /** Default `busybox:latest`. */
  readonly image?: string;
  readonly env?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** `80/tcp`; published ports are added. */
  readonly exposed?: readonly string[];
  /** What is asked for, `{ '80/tcp': [{ HostPort: '8080' }] }`; an empty HostIp means both wildcards, as on Docker. */
  readonly published?: Readonly<Record<string, readonly PortBinding[]>>;
  /** `bridge` (default), `host`, `none`, `container:<id>`, or a network's name. */
  readonly networkMode?: string;
  /** Further networks it is attached to. */
  readonly networks?: readonly string[];
  readonly healthcheck?: { readonly Test: readonly string[]; readonly Interval?: number };
  readonly stopSignal?: string;
  readonly restartPolicy?: { readonly Name: string; readonly MaximumRetryCount?: number };
  /** Removed at its end (`--rm`). */
  readonly autoRemove?: boolean;
}

/** What a command does in a container; the default ends at once with exit code 0 and no output. */
export interface FakeExec {
  readonly exitCode?: number;
  readonly output?: string;
  /** How long it runs, ms; beyond the timeout it is killed. */
  readonly durationMs?: number;
}

interface FakeContainer {
  readonly id: string;
  readonly spec: FakeContainerSpec;
  readonly created: string;
  name: string;
  status: 'created' | 'running' | 'paused' | 'restarting' | 'exited';
  exitCode: number;
  oomKilled: boolean;
  restartCount: number;
  startedAt: string;
  finishedAt: string;
  health: ContainerHealth | undefined;
  /** Network name → address; null while stopped. */
  readonly networks: Map<string, string | null>;
}

interface Subscriber {
  readonly types: readonly string[];
  readonly events: readonly string[];
  deliver(event: EngineEvent): void;
  /** Without an error the stream ends as if the engine closed it in good order. */
  end(error?: Error): void;
}

/** The requests that {@link FakeEngine.failNext} can make fail. */
export type FakeRequest = 'version' | 'info' | 'list' | 'inspect' | 'image' | 'events' | 'exec';

export class FakeEngine implements DockerEngine {
  readonly endpoint = 'unix:///sim/docker.sock';
  readonly #clock: Clock;
  readonly #random: Random | undefined;
  readonly #containers = new Map<string, FakeContainer>();
  readonly #images = new Map<string, string>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #failures = new Map<FakeRequest, Error[]>();
  readonly #requests = new Map<FakeRequest, number>();
  #buffer: EngineEvent[] = [];
  #up = true;
  #nextId = 1;
  #nextAddress = 2;
  #lastNano = 0n;
  /** Time a request takes, ms; with a `random`, between half and one and a half of it. */
  latencyMs: number;
  /** Time an event takes to its subscriber, ms. */
  eventLatencyMs: number;
  /** What {@link exec} does. */
  onExec: (containerId: string, options: ExecOptions) => FakeExec = () => ({});

  constructor(options: {
    readonly clock: Clock;
    readonly random?: Random;
    readonly latencyMs?: number;
    readonly eventLatencyMs?: number;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.latencyMs = options.latencyMs ?? 0;
    this.eventLatencyMs = options.eventLatencyMs ?? 0;
  }

  // The port

  version(signal?: AbortSignal): Promise<EngineVersion> {
    return this.#request('version', signal, () => ({ Version: '28.2.2', ApiVersion: '1.50', MinAPIVersion: '1.24' }));
  }

  info(signal?: AbortSignal): Promise<EngineInfo> {
    return this.#request('info', signal, () => ({ ID: 'SIM:ENGINE', Name: 'sim-host', ServerVersion: '28.2.2' }));
  }

  listContainers(options: { readonly all: boolean }, signal?: AbortSignal): Promise<readonly ContainerSummary[]> {
    return this.#request('list', signal, () =>
      [...this.#containers.values()]
        .filter((container) => options.all || isUp(container))
        .reverse()
        .map(summaryOf),
    );
  }

  inspectContainer(id: string, signal?: AbortSignal): Promise<ContainerInspect> {
    return this.#request('inspect', signal, () => this.#inspect(this.#find(id)));
  }

  inspectImage(id: string, signal?: AbortSignal): Promise<ImageInspect> {
    return this.#request('image', signal, () => {
      const name = this.#images.get(id);
      if (name === undefined) throw new EngineError(`No such image: ${id}`, 404);
      return { Id: id, RepoTags: [name], RepoDigests: [] };
    });
  }

  async events(
    options: { readonly since?: string; readonly types: readonly string[]; readonly events: readonly string[] },
    handlers: { onOpen(): void; onEvent(event: EngineEvent): void },
    signal: AbortSignal,
  ): Promise<void> {
    const since = options.since === undefined ? undefined : parseSince(options.since);
    await this.#request('events', signal, () => undefined);
    return new Promise((resolve, reject) => {
      const subscriber: Subscriber = {
        types: options.types,
        events: options.events,
        deliver: (event) => {
          if (!matches(subscriber, event)) return;
          this.#clock.after(this.eventLatencyMs, () => {
            if (this.#subscribers.has(subscriber)) handlers.onEvent(event);
          });
        },
        end: (error) => {
          this.#subscribers.delete(subscriber);
          signal.removeEventListener('abort', onAbort);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const onAbort = (): void => subscriber.end(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#subscribers.add(subscriber);
      handlers.onOpen();
      if (since === undefined) return;
      for (const event of this.#buffer) if (BigInt(event.timeNano) >= since) subscriber.deliver(event);
    });
  }

  async exec(containerId: string, options: ExecOptions, signal?: AbortSignal): Promise<ExecResult> {
    const container = await this.#request('exec', signal, () => {
      const found = this.#find(containerId);
      if (found.status === 'paused') {
        throw new EngineError(`Container ${containerId} is paused, unpause the container before exec`, 409);
      }
      if (found.status !== 'running') throw new EngineError(`Container ${containerId} is not running`, 409);
      return found;
    });
    const command = options.argv.join(' ');
    this.#emitContainer(container, `exec_create: ${command}`);
    this.#emitContainer(container, `exec_start: ${command}`);
    const { exitCode = 0, output = '', durationMs = 0 } = this.onExec(container.id, options);
    const timedOut = durationMs >= options.timeoutMs;
    if (durationMs > 0) await sleep(this.#clock, Math.min(durationMs, options.timeoutMs), signal);
    if (!this.#up) throw new EngineError(`connect ECONNREFUSED ${this.endpoint}`, undefined);
    this.#emitContainer(container, 'exec_die', { exitCode: String(timedOut ? 137 : exitCode) });
    const bytes = Buffer.from(output, 'utf8');
    return {
      exitCode: timedOut ? null : isUp(container) ? exitCode : 137,
      output: bytes.subarray(Math.max(0, bytes.length - options.outputBytesMax)),
      outputBytesTotal: bytes.length,
      timedOut,
      ...(timedOut ? { ended: { gone: true, by: 'simulation' } } : {}),
    };
  }

  // What happens on the host

  /** `docker create`; returns the container's id. */
  create(spec: FakeContainerSpec): string {
    const id = (this.#nextId++).toString(16).padStart(12, '0').padEnd(64, 'f');
    const image = spec.image ?? 'busybox:latest';
    this.#images.set(imageIdOf(image), image);
    const container: FakeContainer = {
      id,
      spec,
      created: this.#now(),
      name: spec.name,
      status: 'created',
      exitCode: 0,
      oomKilled: false,
      restartCount: 0,
      startedAt: '0001-01-01T00:00:00Z',
      finishedAt: '0001-01-01T00:00:00Z',
      health: undefined,
      networks: new Map([...initialNetworks(spec)].map((name) => [name, null])),
    };
    this.#containers.set(id, container);
    this.#emitContainer(container, 'create');
    return id;
  }

  start(id: string): void {
    const container = this.#find(id);
    invariant(!isUp(container), `container ${container.name} runs already`);
    for (const network of container.networks.keys()) {
      container.networks.set(network, network === 'host' || network === 'none' ? '' : this.#address());
      this.#emitNetwork(network, 'connect', container);
    }
    container.status = 'running';
    container.exitCode = 0;
    container.oomKilled = false;
    container.startedAt = this.#now();
    if (container.spec.healthcheck !== undefined && container.spec.healthcheck.Test[0] !== 'NONE') {
      container.health = { Status: 'starting', FailingStreak: 0, Log: [] };
    }
    this.#emitContainer(container, 'start');
  }

  /** {@link create} and {@link start}. */
  run(spec: FakeContainerSpec): string {
    const id = this.create(spec);
    this.start(id);
    return id;
  }

  /** A signal is sent; whether the process ends from it is for {@link die}. */
  kill(id: string, signal = 9): void {
    this.#emitContainer(this.#find(id), 'kill', { signal: String(signal) });
  }

  /** The process ends by itself, or after a signal. */
  die(id: string, exitCode = 0): void {
    const container = this.#find(id);
    invariant(isUp(container), `container ${container.name} does not run`);
    container.status = 'exited';
    container.exitCode = exitCode;
    container.finishedAt = this.#now();
    if (container.health !== undefined) container.health = { ...container.health, Status: 'unhealthy' };
    this.#emitContainer(container, 'die', { exitCode: String(exitCode) });
    for (const network of container.networks.keys()) {
      container.networks.set(network, null);
      this.#emitNetwork(network, 'disconnect', container);
    }
    if (container.spec.autoRemove === true) this.remove(id);
  }

  /** `docker stop`: kill 15, die, stop. */
  stop(id: string, exitCode = 143): void {
    const container = this.#find(id);
    this.kill(id, 15);
    this.die(id, exitCode);
    this.#emitContainer(container, 'stop');
  }

  /** `docker restart`: kill, die, stop, start, restart. */
  restart(id: string): void {
    const container = this.#find(id);
    this.stop(id);
    this.start(id);
    this.#emitContainer(container, 'restart');
  }

  /** The process ended and the restart policy waits to start it again; then call {@link start}. */
  dieRestarting(id: string, exitCode = 1): void {
    const container = this.#find(id);
    this.die(id, exitCode);
    container.status = 'restarting';
    container.restartCount++;
  }

  /** The policy's wait of {@link dieRestarting} is over. */
  startAgain(id: string): void {
    const container = this.#find(id);
    invariant(container.status === 'restarting', `container ${container.name} does not wait for its restart`);
    container.status = 'exited';
    this.start(id);
  }

  oom(id: string): void {
    const container = this.#find(id);
    container.oomKilled = true;
    this.#emitContainer(container, 'oom');
    this.die(id, 137);
  }

  pause(id: string): void {
    const container = this.#find(id);
    invariant(container.status === 'running', `container ${container.name} does not run`);
    container.status = 'paused';
    // The engine says so in inspect, without an event (container-environments.md §5).
    if (container.health !== undefined) container.health = { ...container.health, Status: 'unhealthy' };
    this.#emitContainer(container, 'pause');
  }

  unpause(id: string): void {
    const container = this.#find(id);
    invariant(container.status === 'paused', `container ${container.name} is not paused`);
    container.status = 'running';
    this.#emitContainer(container, 'unpause');
  }

  rename(id: string, name: string): void {
    const container = this.#find(id);
    const oldName = `/${container.name}`;
    container.name = name;
    this.#emitContainer(container, 'rename', { oldName });
  }

  /** `docker rm -f`, also at the end of `--rm`. */
  remove(id: string): void {
    const container = this.#find(id);
    if (isUp(container)) {
      this.kill(id, 9);
      const { autoRemove } = container.spec;
      this.die(id, 137);
      if (autoRemove === true) return;
    }
    this.#containers.delete(container.id);
    this.#emitContainer(container, 'destroy');
  }

  connect(id: string, network: string): void {
    const container = this.#find(id);
    container.networks.set(network, isUp(container) ? this.#address() : null);
    if (isUp(container)) this.#emitNetwork(network, 'connect', container);
  }

  disconnect(id: string, network: string): void {
    const container = this.#find(id);
    invariant(container.networks.delete(network), `container ${container.name} is not on network ${network}`);
    this.#emitNetwork(network, 'disconnect', container);
  }

  /** A probe of the HEALTHCHECK ended; an event is emitted when the status changed. */
  setHealth(id: string, status: 'starting' | 'healthy' | 'unhealthy', output = ''): void {
    const container = this.#find(id);
    const before = container.health?.Status;
    const exitCode = status === 'healthy' ? 0 : 1;
    container.health = {
      Status: status,
      FailingStreak: status === 'unhealthy' ? (container.health?.FailingStreak ?? 0) + 1 : 0,
      Log: [
        ...(container.health?.Log ?? []),
        { Start: this.#now(), End: this.#now(), ExitCode: exitCode, Output: output },
      ].slice(-5),
    };
    if (before !== status && status !== 'starting') this.#emitContainer(container, `health_status: ${status}`);
  }

  /** As many in-container commands as `count`, three events each: they push others out of the replay buffer. */
  execNoise(id: string, count: number): void {
    const container = this.#find(id);
    for (let i = 0; i < count; i++) {
      for (const action of ['exec_create: true', 'exec_start: true', 'exec_die'])
        this.#emitContainer(container, action);
    }
  }

  // What goes wrong

  /** The next request of this kind fails with `error` (default: the engine answers 500). */
  failNext(request: FakeRequest, error: Error = new EngineError('simulated failure', 500)): void {
    this.#failures.set(request, [...(this.#failures.get(request) ?? []), error]);
  }

  /** Event streams break; the engine goes on. */
  breakStreams(): void {
    for (const subscriber of this.#subscribers) subscriber.end(new EngineError('unexpected EOF', undefined));
  }

  /** Event streams end in good order, as through a proxy with a time limit. */
  endStreams(): void {
    for (const subscriber of this.#subscribers) subscriber.end();
  }

  /** The daemon is away: streams break, requests fail. Containers go on running, and may die unseen. */
  down(): void {
    this.#up = false;
    this.breakStreams();
  }

  /** It is back; a new daemon process (`newProcess`, default) remembers no event. */
  up(options: { readonly newProcess?: boolean } = {}): void {
    if (options.newProcess !== false) this.#buffer = [];
    this.#up = true;
  }

  /** Changes made by `change` emit no event, as while a live-restore daemon is down. */
  silently(change: () => void): void {
    const buffer = this.#buffer;
    const subscribers = [...this.#subscribers];
    this.#buffer = [];
    this.#subscribers.clear();
    change();
    this.#buffer = buffer;
    for (const subscriber of subscribers) this.#subscribers.add(subscriber);
  }

  // What a test asks

  /** Ids of containers that run, are paused or restart: the truth a registrator must arrive at. */
  get runningIds(): readonly string[] {
    return [...this.#containers.values()].filter(isUp).map(({ id }) => id);
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Requests of this kind so far, failed ones included. */
  requestCount(request: FakeRequest): number {
    return this.#requests.get(request) ?? 0;
  }

  /** What inspect answers now, without latency or failure. */
  inspectNow(id: string): ContainerInspect {
    return this.#inspect(this.#find(id));
  }

  async #request<T>(kind: FakeRequest, signal: AbortSignal | undefined, answer: () => T): Promise<T> {
    this.#requests.set(kind, this.requestCount(kind) + 1);
    signal?.throwIfAborted();
    const latencyMs = this.latencyMs * (this.#random === undefined ? 1 : 0.5 + this.#random.next());
    // The answer is made half-way: it may be out of date when it arrives.
    if (latencyMs > 0) await sleep(this.#clock, latencyMs / 2, signal);
    this.#refuseWhenDown();
    const failure = this.#failures.get(kind)?.shift();
    if (failure !== undefined) throw failure;
    const value = answer();
    if (latencyMs > 0) await sleep(this.#clock, latencyMs / 2, signal);
    this.#refuseWhenDown();
    return value;
  }

  #refuseWhenDown(): void {
    if (!this.#up) throw new EngineError(`connect ECONNREFUSED ${this.endpoint}`, undefined);
  }

  /** By id, a unique beginning of it, or name. */
  #find(reference: string): FakeContainer {
    const exact = this.#containers.get(reference);
    if (exact !== undefined) return exact;
    for (const container of this.#containers.values()) {
      if (container.name === reference || (reference.length >= 12 && container.id.startsWith(reference)))
        return container;
    }
    throw new EngineError(`No such container: ${reference}`, 404);
  }

  #inspect(container: FakeContainer): ContainerInspect {
    const { spec } = container;
    const up = isUp(container);
    const image = spec.image ?? 'busybox:latest';
    const mode = spec.networkMode ?? 'bridge';
    const published = spec.published ?? {};
    const exposed = [...new Set([...(spec.exposed ?? []), ...Object.keys(published)])];
    const ineffective = mode === 'host' || mode === 'none' || mode.startsWith('container:');
    const networks: Record<string, EndpointSettings> = {};
    for (const [name, address] of container.networks) {
      networks[name] = { NetworkID: networkIdOf(name), IPAddress: address ?? '', Gateway: address ? '172.17.0.1' : '' };
    }
    const ports: Record<string, readonly PortBinding[] | null> = {};
    if (up && !ineffective) {
      for (const port of exposed) ports[port] = published[port]?.flatMap(effectiveBindings) ?? null;
    }
    return {
      Id: container.id,
      Name: `/${container.name}`,
      Created: container.created,
      Image: imageIdOf(image),
      RestartCount: container.restartCount,
      State: {
        Status: container.status,
        Running: up,
        Paused: container.status === 'paused',
        Restarting: container.status === 'restarting',
        OOMKilled: container.oomKilled,
        Dead: false,
        Pid: up ? 4000 : 0,
        ExitCode: container.exitCode,
        Error: '',
        StartedAt: container.startedAt,
        FinishedAt: container.finishedAt,
        ...(container.health === undefined ? {} : { Health: container.health }),
      },
      Config: {
        Hostname: container.id.slice(0, 12),
        Image: image,
        Env: spec.env ?? [],
        Labels: spec.labels ?? {},
        ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
        ...(spec.stopSignal === undefined ? {} : { StopSignal: spec.stopSignal }),
        ...(spec.healthcheck === undefined ? {} : { Healthcheck: spec.healthcheck }),
      },
      HostConfig: {
        NetworkMode: mode,
        PortBindings: published,
        RestartPolicy: spec.restartPolicy ?? { Name: 'no', MaximumRetryCount: 0 },
      },
      NetworkSettings: { Ports: ports, Networks: networks },
      Mounts: [],
    };
  }

  #emitContainer(container: FakeContainer, action: string, more: Readonly<Record<string, string>> = {}): void {
    const attributes = {
      ...container.spec.labels,
      image: container.spec.image ?? 'busybox:latest',
      name: container.name,
    };
    this.#emit('container', action, container.id, { ...attributes, ...more });
  }

  #emitNetwork(network: string, action: string, container: FakeContainer): void {
    const type = network === 'host' || network === 'none' ? network : 'bridge';
    this.#emit('network', action, networkIdOf(network), { container: container.id, name: network, type });
  }

  #emit(type: string, action: string, id: string, attributes: Readonly<Record<string, string>>): void {
    const wallNano = BigInt(Math.round(this.#clock.wallMs() * 1000)) * 1000n;
    this.#lastNano = wallNano > this.#lastNano ? wallNano : this.#lastNano + 1n;
    const event: EngineEvent = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      time: Number(this.#lastNano / 1_000_000_000n),
      timeNano: String(this.#lastNano),
    };
    this.#buffer.push(event);
    if (this.#buffer.length > replayBufferEvents) this.#buffer.shift();
    for (const subscriber of this.#subscribers) subscriber.deliver(event);
  }

  #address(): string {
    const host = this.#nextAddress++;
    return `172.17.${(host >> 8) & 0xff}.${host & 0xff}`;
  }

  #now(): string {
    return new Date(this.#clock.wallMs()).toISOString();
  }
}

/** What the engine lists without `all`: running, paused and restarting containers. */
function isUp(container: FakeContainer): boolean {
  return container.status === 'running' || container.status === 'paused' || container.status === 'restarting';
}

function summaryOf(container: FakeContainer): ContainerSummary {
  const suffix = container.status === 'paused' ? ' (Paused)' : '';
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.spec.image ?? 'busybox:latest',
    State: container.status,
    Status: isUp(container) ? `Up 1 minute${suffix}` : `Exited (${container.exitCode})`,
    Labels: container.spec.labels ?? {},
  };
}

function initialNetworks(spec: FakeContainerSpec): Set<string> {
  const mode = spec.networkMode ?? 'bridge';
  const first = mode.startsWith('container:') ? [] : [mode === 'default' ? 'bridge' : mode];
  return new Set([...first, ...(spec.networks ?? [])]);
}

/** A wildcard publish is in effect on both families, as two entries (container-environments.md §2). */
function effectiveBindings(binding: PortBinding): PortBinding[] {
  const HostPort = binding.HostPort ?? '';
  if (binding.HostIp) return [{ HostIp: binding.HostIp, HostPort }];
  return [
    { HostIp: '0.0.0.0', HostPort },
    { HostIp: '::', HostPort },
  ];
}

function matches(filter: Pick<Subscriber, 'types' | 'events'>, event: EngineEvent): boolean {
  const word = event.Action.split(':')[0]!;
  return (
    (filter.types.length === 0 || filter.types.includes(event.Type)) &&
    (filter.events.length === 0 || filter.events.includes(event.Action) || filter.events.includes(word))
  );
}

/** Unix seconds, with up to nine digits of nanoseconds; the API answers 500 to anything else. */
function parseSince(text: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) throw new EngineError(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`, 500);
  return BigInt(match[1]!) * 1_000_000_000n + BigInt((match[2] ?? '0').padEnd(9, '0'));
}

/** A stable made-up id: the name's bytes in hex, cut and filled to 64 digits. */
function imageIdOf(image: string): string {
  return `sha256:${Buffer.from(image).toString('hex').slice(0, 64).padEnd(64, '0')}`;
}

function networkIdOf(name: string): string {
  return Buffer.from(name).toString('hex').slice(0, 64).padEnd(64, '0');
}
