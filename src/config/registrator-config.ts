/** The container registrator's part of the configuration: block `registrator`, flags `-registrator`, `-docker-host`. */
import type { RawRegistrator } from './keys.ts';
import { ConfigError } from './schema.ts';

/** Period of the full reconciliation (reference/registrator.md R2), Go duration. */
const resyncDefault = '60s';
/** Five starts in five minutes are a restart loop (reference/registrator.md R9). */
const flapCountDefault = 5;
const flapWindowDefault = '5m';

const deregisterModes = ['always', 'on-success', 'never'] as const;
const namings = ['compatible', 'never', 'always'] as const;
const nameSources = ['image', 'orchestrator'] as const;
const checkTargets = ['service', 'container', 'loopback'] as const;
const statuses = ['passing', 'warning', 'critical'] as const;

export interface RegistratorConfig {
  /** `auto`: on when a Docker engine answers. Default: `auto` with `-dev`, else false. */
  readonly enabled: boolean | 'auto';
  /** Engine endpoints, `unix:///var/run/docker.sock`; empty = `DOCKER_HOST` or the usual places. */
  readonly dockerHosts: readonly string[];
  /** Address of every service; "" = the agent's advertised one. */
  readonly ip: string;
  /** Container address and port instead of the published ones. */
  readonly internal: boolean;
  /** Only ports that a name label or variable applies to. */
  readonly explicit: boolean;
  /** Label that holds the address; "" = none. */
  readonly useIpFromLabel: string;
  /** Template of tags for every service. */
  readonly tags: string;
  /** Meta for every service: key → template. */
  readonly meta: Readonly<Record<string, string>>;
  readonly deregister: (typeof deregisterModes)[number];
  /** How long an ended container's services stay, critical, before they are removed; 0 = not at all. */
  readonly keepCriticalMs: number;
  readonly resyncMs: number;
  /** Also removes what gliderlabs/registrator left behind: services of its ID form with this host's name. */
  readonly cleanup: boolean;
  /** Networks in order of preference for container addresses. */
  readonly networks: readonly string[];
  /** When a name gets `-<port>`. */
  readonly naming: (typeof namings)[number];
  /** Where the default name comes from. */
  readonly nameFrom: (typeof nameSources)[number];
  readonly labelNamespace: string;
  /** Container names, `*` is any text; empty `include` = all. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** `key`, `key=value`, `!key`, separated by commas; all must hold. */
  readonly labelSelector: string;
  /** Registers ports bound to loopback, too. */
  readonly loopback: boolean;
  readonly checkTarget: (typeof checkTargets)[number];
  /** Status while a container's HEALTHCHECK has not decided. */
  readonly healthStarting: (typeof statuses)[number];
  readonly delayUntilHealthy: boolean;
  /** Deregisters at the terminating signal, not at the end of the container. */
  readonly deregisterOnStop: boolean;
  readonly autoMeta: boolean;
  /** Leaves the services registered when the agent stops. */
  readonly leaveServices: boolean;
  readonly flapCount: number;
  readonly flapWindowMs: number;
  /** First part of every service ID; "" = the host name. */
  readonly hostname: string;
}

/** Fills in the defaults. `durationMs` notes bad durations under the key it is given. */
export function registratorConfig(
  raw: RawRegistrator,
  devMode: boolean,
  durationMs: (key: string, text: string) => number,
): RegistratorConfig {
  return {
    enabled: raw.enabled ?? (devMode ? 'auto' : false),
    dockerHosts: raw.docker_hosts ?? [],
    ip: raw.ip ?? '',
    internal: raw.internal ?? false,
    explicit: raw.explicit ?? false,
    useIpFromLabel: raw.use_ip_from_label ?? '',
    tags: raw.tags ?? '',
    meta: raw.meta ?? {},
    deregister: oneOf('deregister', raw.deregister, deregisterModes, 'always'),
    keepCriticalMs: durationMs('registrator.keep_critical', raw.keep_critical ?? '0s'),
    resyncMs: durationMs('registrator.resync', raw.resync ?? resyncDefault),
    cleanup: raw.cleanup ?? false,
    networks: raw.networks ?? [],
    naming: oneOf('naming', raw.naming, namings, 'compatible'),
    nameFrom: oneOf('name_from', raw.name_from, nameSources, 'image'),
    labelNamespace: raw.label_namespace ?? 'portolan',
    include: raw.include ?? [],
    exclude: raw.exclude ?? [],
    labelSelector: raw.label_selector ?? '',
    loopback: raw.loopback ?? false,
    checkTarget: oneOf('check_target', raw.check_target, checkTargets, 'service'),
    healthStarting: oneOf('health_starting', raw.health_starting, statuses, 'critical'),
    delayUntilHealthy: raw.delay_until_healthy ?? false,
    deregisterOnStop: raw.deregister_on_stop ?? false,
    autoMeta: raw.auto_meta ?? false,
    leaveServices: raw.leave_services ?? false,
    flapCount: raw.flap_count ?? flapCountDefault,
    flapWindowMs: durationMs('registrator.flap_window', raw.flap_window ?? flapWindowDefault),
    hostname: raw.hostname ?? '',
  };
}

function oneOf<const T extends string>(key: string, value: string | undefined, allowed: readonly T[], other: T): T {
  if (value === undefined) return other;
  const found = allowed.find((word) => word === value);
  if (found === undefined) {
    throw new ConfigError(`registrator.${key} cannot be ${JSON.stringify(value)}. Use one of ${allowed.join(', ')}`);
  }
  return found;
}
