/**
 * Checks of a service (reference/registrator.md §7, R30–R34). `SERVICE_CHECK_<KIND>` gives the one compatible check,
 * `SERVICE_CHECK_<n>_<KIND>` as many more as wanted. A check that cannot be built never loses the service: a critical
 * note takes its place and says which variable is wrong (R13).
 *
 * Checks that we feed ourselves — the HEALTHCHECK mirror, notes, the container's state — are TTL checks, the only kind
 * every Consul agent lets others feed. Their TTL is long and the reconciler feeds them well before it is over, so it
 * runs out only when nobody watches the containers any more.
 */
import { hostPort } from '../lib/index.ts';
import { GoDurationError, parseGoDurationMs } from '../codec/index.ts';
import type { CheckDefinition, CheckStatus } from '../model/index.ts';
import type { ContainerInspect } from '../ports/index.ts';
import { type Decision, hasHealthcheck, shortId } from './facts.ts';
import { cutToBytes } from './meta.ts';
import type { Settings } from './options.ts';
import { type Applied, isTrue, type Variable } from './variables.ts';
import { needsShell, splitWords } from './words.ts';

/** A check whose status we set, and what it should say now. */
export interface FedCheck {
  readonly checkId: string;
  /** undefined: leave it as it is (a paused container's health means nothing, R30). */
  readonly status: CheckStatus | undefined;
  readonly output: string;
}

export interface BuiltChecks {
  readonly checks: readonly CheckDefinition[];
  readonly fed: readonly FedCheck[];
  readonly decisions: readonly Decision[];
  readonly notes: readonly string[];
}

/** Where the checks of a service aim, and what they belong to. */
export interface CheckSubject {
  readonly serviceId: string;
  readonly inspect: ContainerInspect;
  /** Registered address and port; 0 without port. */
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  /** Port inside the container. */
  readonly containerPort: number;
  /** Address of the container on its chosen network, when it has one. */
  readonly containerAddress: string | undefined;
  /** Why the service is critical whatever its checks say. */
  readonly note: string | undefined;
}

/** Interval of the reference program for everything but TTL. */
const intervalTextDefault = '10s';
/**
 * TTL of fed checks, ms: an hour without a look at the engine is when "healthy" stops being true. The reconciler
 * feeds them at a quarter of it.
 */
export const fedTtlMs = 3_600_000;
/** Below Consul's 4096 bytes of output, so that what the agent keeps equals what we sent. */
const outputBytesMax = 3_900;

/** Kinds in the order the reference program looks for them, ours after. */
const kinds = ['http', 'https', 'cmd', 'script', 'ttl', 'tcp', 'grpc', 'docker', 'exec'] as const;
type Kind = (typeof kinds)[number];
/** Kinds that speak TCP and mean nothing to a UDP port unless someone asks for that very port (R33). */
const tcpKinds: ReadonlySet<Kind> = new Set(['http', 'https', 'tcp', 'grpc']);

export const fedCheckId = {
  health: (serviceId: string): string => `service:${serviceId}:health`,
  state: (serviceId: string): string => `service:${serviceId}:container`,
  note: (serviceId: string, number: string): string =>
    number === '' ? `service:${serviceId}:note` : `service:${serviceId}:note-${number}`,
};

/** Builds all checks of one service. */
export function buildChecks(subject: CheckSubject, applied: Applied, settings: Settings): BuiltChecks {
  const checks: CheckDefinition[] = [];
  const fed: FedCheck[] = [];
  const decisions: Decision[] = [];
  const notes: string[] = [];
  const feed = (check: FedCheck, name: string): void => {
    checks.push({
      id: check.checkId,
      name,
      ttlMs: fedTtlMs,
      status: check.status ?? 'critical',
    });
    fed.push({ ...check, output: cutToBytes(check.output, outputBytesMax) });
  };
  for (const number of numbersOf(applied)) {
    const found = kindOf(number, subject, applied);
    if (found === undefined) continue;
    const { kind, variable } = found;
    try {
      const check = buildCheck(kind, variable, number, subject, applied, settings);
      if ('withheld' in check) {
        notes.push(check.withheld);
        continue;
      }
      checks.push(check);
      decisions.push({ what: `check ${check.id}`, value: describe(kind, check), because: variable.source });
    } catch (error) {
      if (!(error instanceof CheckError)) throw error;
      notes.push(`${error.message}; a critical check stands in its place`);
      feed(
        { checkId: fedCheckId.note(subject.serviceId, number), status: 'critical', output: error.message },
        'Invalid check',
      );
    }
  }
  if (settings.healthcheck && hasHealthcheck(subject.inspect)) {
    const off = applied.flag('check_health');
    if (off?.value !== false) {
      const check = mirror(subject, settings);
      feed(check, 'Docker HEALTHCHECK');
      decisions.push({
        what: `check ${check.checkId}`,
        value: check.status ?? 'unchanged',
        because: "the container's HEALTHCHECK",
      });
    }
  }
  if (subject.note !== undefined) {
    const checkId = fedCheckId.state(subject.serviceId);
    feed({ checkId, status: 'critical', output: subject.note }, 'Container state');
    decisions.push({ what: `check ${checkId}`, value: 'critical', because: subject.note });
  }
  return { checks, fed, decisions, notes };
}

class CheckError extends Error {}

/** "" for the plain variables, then the numbers in use. */
function numbersOf(applied: Applied): string[] {
  const numbers = new Set<string>();
  for (const { key } of applied.all()) {
    const match = /^check_(\d+)_/.exec(key);
    if (match) numbers.add(match[1]!);
  }
  return ['', ...[...numbers].sort((a, b) => Number(a) - Number(b))];
}

function keyOf(number: string, key: string): string {
  return number === '' ? `check_${key}` : `check_${number}_${key}`;
}

/** The first kind that is asked for; `false` and `0` switch a kind off. */
function kindOf(
  number: string,
  subject: CheckSubject,
  applied: Applied,
): { kind: Kind; variable: Variable } | undefined {
  for (const kind of kinds) {
    const variable = applied.filled(keyOf(number, kind));
    if (variable === undefined || !isTrue(variable.value)) continue;
    if (subject.protocol === 'udp' && tcpKinds.has(kind) && variable.scope.kind === 'all') continue;
    return { kind, variable };
  }
  return undefined;
}

function buildCheck(
  kind: Kind,
  variable: Variable,
  number: string,
  subject: CheckSubject,
  applied: Applied,
  settings: Settings,
): (CheckDefinition & { id: string }) | { withheld: string } {
  const option = (key: string): Variable | undefined => applied.filled(keyOf(number, key));
  const id = number === '' ? `service:${subject.serviceId}` : `service:${subject.serviceId}:${number}`;
  const common: CheckDefinition & { id: string } = {
    id,
    ...optional('name', option('name')?.value),
    ...optional('notes', option('notes')?.value),
    ...optional('status', statusOf(option('initial_status'))),
    ...optional('deregisterCriticalServiceAfterMs', durationOf(option('deregister_after'))),
    ...optional('successBeforePassing', countOf(option('success_before_passing'))),
    ...optional('failuresBeforeCritical', countOf(option('failures_before_critical'))),
    ...optional('outputMaxSize', countOf(option('output_max_size'))),
  };
  if (kind === 'ttl') return { ...common, ttlMs: durationOf(variable)! };
  const timed = {
    ...common,
    intervalMs: durationOf(option('interval')) ?? parseGoDurationMs(intervalTextDefault),
    ...optional('timeoutMs', durationOf(option('timeout'))),
  };
  switch (kind) {
    case 'http':
    case 'https': {
      const path = variable.value.startsWith('/') ? variable.value : `/${variable.value}`;
      return {
        ...timed,
        http: `${kind}://${target(variable, subject, settings)}${path}`,
        ...optional('method', (option(`${kind}_method`) ?? option('method'))?.value.toUpperCase()),
        ...optional('header', headersOf(number, applied)),
        ...optional('body', option('body')?.value),
        ...tlsOf(option),
      };
    }
    case 'tcp':
      return { ...timed, tcp: target(variable, subject, settings) };
    case 'grpc': {
      const service = option('grpc_service')?.value ?? (variable.value.startsWith('/') ? variable.value.slice(1) : '');
      const address = target(variable, subject, settings);
      return {
        ...timed,
        grpc: service === '' ? address : `${address}/${service}`,
        ...(isTrue(option('grpc_use_tls')?.value ?? '') ? { grpcUseTls: true } : {}),
        ...tlsOf(option),
      };
    }
    case 'cmd':
    case 'script': {
      if (!settings.scriptChecks) {
        return {
          withheld: `${variable.source}: no check, script checks are off; set enable_script_checks = true on the agent`,
        };
      }
      const command = placeholders(variable.value, subject);
      const scriptArgs =
        kind === 'cmd'
          ? ['check-cmd', shortId(subject.inspect.Id), String(subject.containerPort), command]
          : ['sh', '-c', command];
      return { ...timed, scriptArgs };
    }
    case 'docker':
    case 'exec': {
      if (!settings.execChecks) {
        return {
          withheld: `${variable.source}: no check, commands in containers are off; allow POST on the engine's exec calls and enable them`,
        };
      }
      return {
        ...timed,
        dockerContainerId: subject.inspect.Id,
        scriptArgs: commandOf(variable, option('shell'), subject),
      };
    }
  }
}

/** Command inside the container: words as they are, or through a shell when asked or needed (R31). */
function commandOf(variable: Variable, shell: Variable | undefined, subject: CheckSubject): readonly string[] {
  const command = placeholders(variable.value, subject);
  const shellPath =
    shell === undefined ? (needsShell(command) ? '/bin/sh' : '') : isTrue(shell.value) ? shell.value : '';
  if (shellPath !== '') return [shellPath === 'true' || shellPath === '1' ? '/bin/sh' : shellPath, '-c', command];
  const words = splitWords(command);
  if (words === undefined)
    throw new CheckError(`${variable.source}: a quote is not closed in ${JSON.stringify(command)}`);
  if (words.length === 0) throw new CheckError(`${variable.source}: the command is empty`);
  return words;
}

function placeholders(text: string, subject: CheckSubject): string {
  const values: Readonly<Record<string, string>> = {
    SERVICE_IP: subject.address,
    SERVICE_PORT: String(subject.port),
    SERVICE_ID: subject.serviceId,
    CONTAINER_ID: subject.inspect.Id,
  };
  return text.replaceAll(
    /\$(?:\{(SERVICE_IP|SERVICE_PORT|SERVICE_ID|CONTAINER_ID)\}|(SERVICE_IP|SERVICE_PORT|SERVICE_ID|CONTAINER_ID)(?![A-Za-z0-9_]))/g,
    (_, braced: string | undefined, bare: string | undefined) => values[braced ?? bare!]!,
  );
}

/** Address and port the check connects to (R34). */
function target(variable: Variable, subject: CheckSubject, settings: Settings): string {
  if (subject.port === 0) throw new CheckError(`${variable.source}: the service has no port to connect to`);
  switch (settings.checkTarget) {
    case 'container':
      return hostPort(
        subject.containerAddress ?? subject.address,
        subject.containerAddress === undefined ? subject.port : subject.containerPort,
      );
    case 'loopback':
      return hostPort('127.0.0.1', subject.port);
    case 'service':
      return hostPort(subject.address, subject.port);
  }
}

function tlsOf(
  option: (key: string) => Variable | undefined,
): Pick<CheckDefinition, 'tlsSkipVerify' | 'tlsServerName'> {
  return {
    ...(isTrue(option('tls_skip_verify')?.value ?? '') ? { tlsSkipVerify: true } : {}),
    ...optional('tlsServerName', option('tls_server_name')?.value),
  };
}

/** `CHECK_HEADERS={"Name":["value"]}` and `CHECK_HEADER_<NAME>=value`. */
function headersOf(number: string, applied: Applied): Readonly<Record<string, readonly string[]>> | undefined {
  const headers: Record<string, readonly string[]> = {};
  const json = applied.filled(keyOf(number, 'headers'));
  if (json !== undefined) Object.assign(headers, parseHeaders(json));
  const prefix = keyOf(number, 'header_');
  for (const variable of applied.all()) {
    if (!variable.key.startsWith(prefix) || variable.key.length === prefix.length) continue;
    const name = variable.key
      .slice(prefix.length)
      .split(/[_-]/)
      .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1))
      .join('-');
    headers[name] = [variable.value];
  }
  return Object.keys(headers).length === 0 ? undefined : headers;
}

function parseHeaders(variable: Variable): Record<string, readonly string[]> {
  const wrong = new CheckError(`${variable.source}: expected JSON such as {"X-Name":["value"]}`);
  let value: unknown;
  try {
    value = JSON.parse(variable.value);
  } catch {
    throw wrong;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong;
  return Object.fromEntries(
    Object.entries(value).map(([name, given]: [string, unknown]) => {
      const list: unknown[] = Array.isArray(given) ? given : [given];
      if (!list.every((each) => typeof each === 'string')) throw wrong;
      return [name, list];
    }),
  );
}

function durationOf(variable: Variable | undefined): number | undefined {
  if (variable === undefined) return undefined;
  try {
    const ms = parseGoDurationMs(variable.value);
    if (ms > 0) return ms;
  } catch (error) {
    if (!(error instanceof GoDurationError)) throw error;
  }
  throw new CheckError(
    `${variable.source}: "${variable.value}" is no duration; write a number and a unit, such as 10s`,
  );
}

function countOf(variable: Variable | undefined): number | undefined {
  if (variable === undefined) return undefined;
  if (/^\d{1,9}$/.test(variable.value)) return Number(variable.value);
  throw new CheckError(`${variable.source}: "${variable.value}" is no whole number`);
}

function statusOf(variable: Variable | undefined): string | undefined {
  if (variable === undefined) return undefined;
  const status = variable.value.toLowerCase();
  if (['passing', 'warning', 'critical'].includes(status)) return status;
  throw new CheckError(`${variable.source}: "${variable.value}" is not passing, warning or critical`);
}

/** What the HEALTHCHECK says now. */
function mirror(subject: CheckSubject, settings: Settings): FedCheck {
  const checkId = fedCheckId.health(subject.serviceId);
  const state = subject.inspect.State;
  const health = state?.Health;
  const last = health?.Log?.at(-1)?.Output?.trim();
  if (state?.Paused === true || state?.Running !== true) return { checkId, status: undefined, output: '' };
  switch (health?.Status) {
    case 'healthy':
      return { checkId, status: 'passing', output: last ?? 'healthy' };
    case 'unhealthy':
      return { checkId, status: 'critical', output: last ?? 'unhealthy' };
    default:
      return { checkId, status: settings.healthStarting, output: last ?? 'the HEALTHCHECK has not decided yet' };
  }
}

function describe(kind: Kind, check: CheckDefinition): string {
  const subject =
    check.http ??
    check.tcp ??
    check.grpc ??
    (check.scriptArgs ? JSON.stringify(check.scriptArgs) : `${check.ttlMs} ms`);
  return `${kind} ${subject}`;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
}
