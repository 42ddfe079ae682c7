/**
 * The Docker Engine API as far as Portolan uses it. Documents keep the Engine's field names and list only the fields
 * we read; every one of them may be missing on some engine (Podman, proxies), hence the question marks
 * (reference/container-environments.md §2-§6).
 */
export interface DockerEngine {
  /** Where it is, for messages: `unix:///var/run/docker.sock`, `tcp://h:2376`. */
  readonly endpoint: string;
  version(signal?: AbortSignal): Promise<EngineVersion>;
  info(signal?: AbortSignal): Promise<EngineInfo>;
  /** All containers, or running, paused and restarting ones only. */
  listContainers(options: { readonly all: boolean }, signal?: AbortSignal): Promise<readonly ContainerSummary[]>;
  /** @throws EngineError with statusCode 404 when it is gone. */
  inspectContainer(id: string, signal?: AbortSignal): Promise<ContainerInspect>;
  inspectImage(id: string, signal?: AbortSignal): Promise<ImageInspect>;
  /**
   * Subscribes to events. `onOpen` is called when the engine has accepted the subscription (list containers after
   * that, and nothing is missed), `onEvent` for each event in the engine's order. Resolves when the stream ends,
   * rejects when it breaks or `signal` aborts.
   */
  events(
    options: {
      readonly since?: string;
      readonly types: readonly string[];
      readonly events: readonly string[];
    },
    handlers: { onOpen(): void; onEvent(event: EngineEvent): void },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Runs a command inside a running container. When `timeoutMs` is over, the process in the container is ended
   * (see node/docker-exec.ts for the ways) and `timedOut` is true.
   * @throws EngineError (404 unknown container, 409 not running or paused, …)
   */
  exec(containerId: string, options: ExecOptions, signal?: AbortSignal): Promise<ExecResult>;
}

export interface EngineVersion {
  readonly Version?: string;
  readonly ApiVersion?: string;
  readonly MinAPIVersion?: string;
  readonly Components?: readonly { readonly Name?: string; readonly Version?: string }[];
}

export interface EngineInfo {
  readonly ID?: string;
  readonly Name?: string;
  readonly ServerVersion?: string;
  readonly OperatingSystem?: string;
  readonly LiveRestoreEnabled?: boolean;
  readonly SecurityOptions?: readonly string[];
  readonly Swarm?: { readonly NodeID?: string; readonly NodeAddr?: string; readonly LocalNodeState?: string };
}

export interface ContainerSummary {
  readonly Id: string;
  readonly Names?: readonly string[];
  readonly Image?: string;
  readonly State?: string;
  readonly Status?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

export interface PortBinding {
  readonly HostIp?: string;
  readonly HostPort?: string;
}

export interface EndpointSettings {
  readonly NetworkID?: string;
  readonly IPAddress?: string;
  readonly GlobalIPv6Address?: string;
  readonly Gateway?: string;
  readonly MacAddress?: string;
  readonly Aliases?: readonly string[] | null;
}

export interface ContainerHealth {
  /** `starting`, `healthy`, `unhealthy`, `none`. */
  readonly Status?: string;
  readonly FailingStreak?: number;
  readonly Log?:
    | readonly {
        readonly Start?: string;
        readonly End?: string;
        readonly ExitCode?: number;
        readonly Output?: string;
      }[]
    | null;
}

export interface ContainerInspect {
  readonly Id: string;
  /** With a leading slash. */
  readonly Name?: string;
  readonly Created?: string;
  /** Image id, `sha256:…`. */
  readonly Image?: string;
  readonly RestartCount?: number;
  readonly State?: {
    readonly Status?: string;
    readonly Running?: boolean;
    readonly Paused?: boolean;
    readonly Restarting?: boolean;
    readonly OOMKilled?: boolean;
    readonly Dead?: boolean;
    readonly Pid?: number;
    readonly ExitCode?: number;
    readonly Error?: string;
    readonly StartedAt?: string;
    readonly FinishedAt?: string;
    readonly Health?: ContainerHealth | null;
  };
  readonly Config?: {
    readonly Hostname?: string;
    readonly Image?: string;
    readonly Env?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
    readonly StopSignal?: string;
    readonly StopTimeout?: number;
    readonly Healthcheck?: {
      readonly Test?: readonly string[] | null;
      readonly Interval?: number;
      readonly Timeout?: number;
      readonly StartPeriod?: number;
      readonly Retries?: number;
    } | null;
  };
  readonly HostConfig?: {
    /** `bridge`, `default`, `host`, `none`, `container:<id>`, or a network's name or id. */
    readonly NetworkMode?: string;
    readonly PortBindings?: Readonly<Record<string, readonly PortBinding[] | null>> | null;
    readonly RestartPolicy?: { readonly Name?: string; readonly MaximumRetryCount?: number };
    readonly PidMode?: string;
    readonly UsernsMode?: string;
  };
  readonly NetworkSettings?: {
    readonly IPAddress?: string;
    readonly GlobalIPv6Address?: string;
    readonly Ports?: Readonly<Record<string, readonly PortBinding[] | null>> | null;
    readonly Networks?: Readonly<Record<string, EndpointSettings | null>> | null;
  };
  readonly Mounts?: readonly { readonly Source?: string; readonly Destination?: string }[] | null;
}

export interface ImageInspect {
  readonly Id?: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
}

export interface EngineEvent {
  /** `container`, `network`, … */
  readonly Type: string;
  /** `start`, `die`, `health_status: healthy`, … */
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  /** Unix seconds. */
  readonly time: number;
  /** Unix nanoseconds as decimal text: 19 digits do not fit a number. */
  readonly timeNano: string;
}

export interface ExecOptions {
  readonly argv: readonly string[];
  /** Time for the command, ms; over it the command is killed. */
  readonly timeoutMs: number;
  /** At most so many bytes of output are kept, the last ones. */
  readonly outputBytesMax: number;
  readonly env?: readonly string[];
  readonly user?: string;
}

export interface ExecResult {
  /** null when it timed out. */
  readonly exitCode: number | null;
  readonly output: Uint8Array;
  readonly outputBytesTotal: number;
  readonly timedOut: boolean;
  /** After a timeout: whether the process in the container was seen gone, and how it was ended or why it was not. */
  readonly ended?: { readonly gone: boolean; readonly by: string };
}

/** An answer of the Engine that is not success, or no answer (`statusCode` undefined). */
export class EngineError extends Error {
  readonly statusCode: number | undefined;

  constructor(message: string, statusCode: number | undefined, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'EngineError';
    this.statusCode = statusCode;
  }
}
