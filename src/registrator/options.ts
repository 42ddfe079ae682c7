/**
 * Everything a user can decide about the registrator, with its defaults and the check of it. The command line
 * (reference/registrator.md §2) and the agent's configuration both end here; the mapping and the reconciler read
 * nothing else.
 */
import { isUnusableAddress } from './address.ts';
import { sampleDocument } from './document.ts';
import { parseTemplate, type Template, TemplateError } from './template.ts';

export const namingPolicies = ['compatible', 'when-needed', 'never', 'always'] as const;
/**
 * When a name gets `-<port>` (R24): `compatible` as the reference program does (ports count before IGNORE and
 * `-explicit`), `when-needed` counts the services that are really registered.
 */
export type NamingPolicy = (typeof namingPolicies)[number];

export const nameSources = ['image', 'compose', 'swarm', 'ecs'] as const;
export type NameSource = (typeof nameSources)[number];

export const checkTargets = ['service', 'container', 'loopback'] as const;
export type CheckTarget = (typeof checkTargets)[number];

export const stopReactions = ['none', 'critical', 'deregister'] as const;
/** What a terminating signal does before the container is dead (R6). */
export type StopReaction = (typeof stopReactions)[number];

/** What happens to the services of a container that has ended (R8). */
export type DeregisterMode =
  | { readonly kind: 'always' | 'on-success' | 'never' }
  | { readonly kind: 'keep-critical'; readonly keepMs: number };

/** The address other hosts reach this host by, and where it was learnt (R21). */
export interface AdvertisedAddress {
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** For messages: `-advertise`, `EC2 metadata`, `interface eth0`. */
  readonly source: string;
}

export interface RegistratorOptions {
  /** First part of every service ID; the host name the reference program would see. */
  readonly hostname: string;
  /** Asked at every mapping, so that a changed address reaches the services with the next reconciliation. */
  readonly advertise: () => AdvertisedAddress;
  /** `-ip`: address of every service. "" = not given. */
  readonly ip: string;
  /** `-internal`: container address and port instead of the published ones. */
  readonly internal: boolean;
  /** `-explicit`: only ports that a NAME variable applies to. */
  readonly explicit: boolean;
  /** `-useIpFromLabel`: name of the label that holds the address. "" = not given. */
  readonly useIpFromLabel: string;
  /** `-tags`: template of tags for every service. "" = none. */
  readonly tags: string;
  /** Meta for every service: key → template (R26). */
  readonly meta: Readonly<Record<string, string>>;
  readonly deregister: DeregisterMode;
  /** `-cleanup`: also remove leftovers of the reference program, by ID pattern and own host name (R3). */
  readonly importLeftovers: boolean;
  /** Period of the full reconciliation, ms; jittered by a tenth. `-resync` in ms. */
  readonly resyncMs: number;
  /** Networks in order of preference for container addresses (R17). */
  readonly networks: readonly string[];
  readonly naming: NamingPolicy;
  /** Where the default name comes from, first hit wins (R25). */
  readonly nameFrom: readonly NameSource[];
  /** Dotted label namespace (R22): `portolan` reads `portolan.name`, `portolan.80.name`. */
  readonly namespace: string;
  /** Container names to register; `*` is any text. Empty = all. */
  readonly include: readonly string[];
  /** Container names never to register. */
  readonly exclude: readonly string[];
  /** Images never to register, without tag; `*` is any text. */
  readonly excludeImages: readonly string[];
  /** `key`, `key=value` or `!key`; all must hold. */
  readonly labelSelector: readonly string[];
  /** Ids (full or at least 12 characters) of containers never to register: the agent's own. */
  readonly ownContainerIds: readonly string[];
  /** Registers ports that are bound to loopback, for use on the same host only (R15). */
  readonly loopback: boolean;
  readonly checkTarget: CheckTarget;
  /** Mirrors the container's HEALTHCHECK as a check (R30). */
  readonly healthcheck: boolean;
  /** Status of the mirror while the HEALTHCHECK has not decided. */
  readonly healthStarting: 'passing' | 'warning' | 'critical';
  /** Registers a container with HEALTHCHECK only when it has been healthy. */
  readonly delayUntilHealthy: boolean;
  /** Adds container id, name, image, image tag and engine host as Meta (R27). */
  readonly autoMeta: boolean;
  /** Whether the agent runs script checks (R32). */
  readonly scriptChecks: boolean;
  /** Whether the engine lets us run commands in containers (R31, R40). */
  readonly execChecks: boolean;
  /** Own name of the engine in ownership marks; "" = the engine's id from `/info`. */
  readonly engineId: string;
  /** ACL tokens by name; `SERVICE_TOKEN=<name>` picks one (R28). */
  readonly tokens: Readonly<Record<string, string>>;
  /** Environment variables of containers that templates may read as `.Portolan.Env`. */
  readonly envAllow: readonly string[];
  /** Facts about the host for templates as `.Portolan.Host`: zone, instance, … */
  readonly hostMeta: Readonly<Record<string, string>>;
  readonly onStop: StopReaction;
  /** Restart loops (R9): at `flapsMax` starts within `flapWindowMs` the service stays, critical. 0 = off. */
  readonly flapsMax: number;
  readonly flapWindowMs: number;
}

/** Orchestration agents and the containers that only own a network; by image path without tag. */
const excludedImages: readonly string[] = ['*amazon-ecs-agent', '*amazon-ecs-pause', '*/pause', 'pause'];

/** Slow timer of R2, ms. */
export const resyncMsDefault = 60_000;
/** Below it a full reconciliation would be most of the work, ms. */
const resyncMsMin = 1_000;
/**
 * Five starts in five minutes: an engine that restarts a crashing container backs off to one try a minute, and the
 * loop must still be seen then.
 */
const flapsMaxDefault = 5;
const flapWindowMsDefault = 300_000;

/** Fills in the defaults; only the host name and the advertised address have none. */
export function registratorOptions(
  given: Pick<RegistratorOptions, 'hostname' | 'advertise'> & Partial<RegistratorOptions>,
): RegistratorOptions {
  return {
    ip: '',
    internal: false,
    explicit: false,
    useIpFromLabel: '',
    tags: '',
    meta: {},
    deregister: { kind: 'always' },
    importLeftovers: false,
    resyncMs: resyncMsDefault,
    networks: [],
    naming: 'compatible',
    nameFrom: ['image'],
    namespace: 'portolan',
    include: [],
    exclude: [],
    excludeImages: excludedImages,
    labelSelector: [],
    ownContainerIds: [],
    loopback: false,
    checkTarget: 'service',
    healthcheck: true,
    healthStarting: 'critical',
    delayUntilHealthy: false,
    autoMeta: false,
    scriptChecks: false,
    execChecks: true,
    engineId: '',
    tokens: {},
    envAllow: [],
    hostMeta: {},
    onStop: 'none',
    flapsMax: flapsMaxDefault,
    flapWindowMs: flapWindowMsDefault,
    ...given,
  };
}

/**
 * Reads `always`, `on-success`, `never` or `keep-critical=<Go duration>`.
 * @throws Error that names the four forms.
 */
export function parseDeregisterMode(text: string, parseDurationMs: (text: string) => number): DeregisterMode {
  if (text === 'always' || text === 'on-success' || text === 'never') return { kind: text };
  if (text.startsWith('keep-critical=')) {
    const keepMs = parseDurationMs(text.slice('keep-critical='.length));
    if (keepMs > 0) return { kind: 'keep-critical', keepMs };
  }
  throw new Error(
    `-deregister must be "always", "on-success", "never" or "keep-critical=<duration>" such as keep-critical=10m, not "${text}"`,
  );
}

/** Everything wrong with the options, one sentence each that says what to type; empty = good. */
export function validateRegistratorOptions(options: RegistratorOptions): readonly string[] {
  const problems: string[] = [];
  if (options.hostname === '') problems.push('The host name is empty; set it with -hostname.');
  if (options.ip !== '' && isUnusableAddress(options.ip)) {
    problems.push(`-ip ${options.ip} is not an address that other hosts can reach; give this host's own address.`);
  }
  if (options.resyncMs < resyncMsMin) {
    problems.push(`-resync must be at least ${resyncMsMin / 1000} s, not ${options.resyncMs / 1000} s.`);
  }
  if (!/^[a-z0-9]+([.-][a-z0-9]+)*$/.test(options.namespace)) {
    problems.push(
      `The label namespace "${options.namespace}" must be lower-case words joined by dots, such as "portolan".`,
    );
  }
  const compile = (what: string, text: string): void => {
    try {
      parseTemplate(text, sampleDocument(options));
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      problems.push(`${what}: ${error.message}`);
    }
  };
  compile('-tags', options.tags);
  for (const [key, text] of Object.entries(options.meta)) compile(`meta template "${key}"`, text);
  for (const term of options.labelSelector) {
    if (!/^!?[^=\s!]+(=.*)?$/.test(term) || (term.startsWith('!') && term.includes('='))) {
      problems.push(`The label selector "${term}" must be key, key=value or !key.`);
    }
  }
  if (options.flapsMax < 0 || !Number.isInteger(options.flapsMax)) {
    problems.push('The number of starts that makes a restart loop must be a whole number, 0 to switch it off.');
  }
  return problems;
}

/** Options with their templates parsed once; what the mapping reads. */
export interface Settings extends RegistratorOptions {
  readonly tagsTemplate: Template;
  readonly metaTemplates: readonly (readonly [string, Template])[];
  /** Id of the engine for ownership marks, and its host name. */
  readonly engine: { readonly id: string; readonly name: string; readonly podman: boolean };
}

/**
 * Prepares validated options for the mapping.
 * @throws TemplateError when a template is bad: call {@link validateRegistratorOptions} first.
 */
export function settingsOf(options: RegistratorOptions, engine: Settings['engine']): Settings {
  const sample = sampleDocument(options);
  return {
    ...options,
    engine,
    tagsTemplate: parseTemplate(options.tags, sample),
    metaTemplates: Object.entries(options.meta).map(([key, text]) => [key, parseTemplate(text, sample)] as const),
  };
}
