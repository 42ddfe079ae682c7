/**
 * What makes a service or check definition unacceptable, whoever wrote it: HTTP body, file or container label. Every
 * function returns the text of the problem, or null. The texts are Consul's, because clients match on them
 * (reference/http-api.md §9.1); what depends on the agent's state (unknown ServiceID, scripts disabled) is not here.
 */
import { multiErrorText, hostPort } from '../lib/index.ts';
import { type CheckStatus, checkStatuses, type NodeService, type ServiceAddress, type Weights } from './catalog.ts';
import type { CheckDefinition, ServiceDefinition } from './definition.ts';

/** Limits of service and node metadata (reference/http-api.md §9.1, `Meta`). */
const metaPairsMax = 64;
const metaKeyBytesMax = 128;
const metaValueBytesMax = 512;
const metaReservedPrefix = 'consul-';
/** Highest weight a DNS SRV record can carry. */
const weightMax = 65_535;

/** Address upstreams listen on unless told otherwise. */
const upstreamBindAddressDefault = '127.0.0.1';

export const connectProxyKind = 'connect-proxy';
const gatewayKinds: ReadonlySet<string> = new Set(['mesh-gateway', 'terminating-gateway', 'ingress-gateway']);

/** Whether `status` is `passing`, `warning` or `critical`. */
export function isCheckStatus(status: string): status is CheckStatus {
  return (checkStatuses as readonly string[]).includes(status);
}

/** Whether the address means "every interface", which nobody can connect to. */
export function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '[::]';
}

/**
 * Everything wrong with a service definition that can be told without the agent's state: the text of a 400 answer.
 * `definition.name` may be empty here, that is one of the problems.
 */
export function serviceDefinitionProblem(definition: ServiceDefinition): string | null {
  if (definition.name === '') return 'Missing service name';
  if (isAnyAddress(definition.address ?? '')) return 'Invalid service address';
  const weights = definition.weights === undefined ? null : weightsProblem(definition.weights);
  if (weights !== null) return `Invalid Weights: ${weights}`;
  const meta = metaProblem(definition.meta ?? {});
  if (meta !== null) return `Invalid Service Meta: ${meta}`;
  const checks = checksProblem(definition.checks ?? []);
  if (checks !== null) return checks;
  const sidecar = definition.connect?.sidecarService;
  const problems = kindProblems({
    Kind: definition.kind ?? '',
    Port: definition.port ?? 0,
    ...(definition.proxy === undefined ? {} : { Proxy: definition.proxy }),
    Connect: { Native: definition.connect?.native ?? false },
    hasSidecar: sidecar !== undefined,
  });
  if (sidecar !== undefined) {
    if ((sidecar.id ?? '') !== '') {
      problems.push('A SidecarService cannot specify an ID as this is managed by the agent');
    }
    if (sidecar.connect?.sidecarService !== undefined) {
      problems.push('A SidecarService cannot have a nested SidecarService');
    }
  }
  if (problems.length > 0) return multiErrorText(problems);
  if (sidecar !== undefined) {
    for (const check of sidecar.checks ?? []) {
      const problem = checkKindProblem(check);
      if (problem !== null) return `Invalid check in sidecar_service: ${problem}`;
    }
  }
  return null;
}

function checksProblem(checks: readonly CheckDefinition[]): string | null {
  for (const check of checks) {
    const problem = checkKindProblem(check);
    if (problem !== null) return `Invalid check: ${problem}`;
    if ((check.status ?? '') !== '' && !isCheckStatus(check.status!)) {
      return "Status for checks must 'passing', 'warning', 'critical'";
    }
  }
  return null;
}

/** Everything wrong with a stand-alone check definition: the text of a 400 answer. */
export function checkDefinitionProblem(definition: CheckDefinition): string | null {
  if ((definition.name ?? '') === '') return 'Missing check name';
  if ((definition.status ?? '') !== '' && !isCheckStatus(definition.status!)) return 'Bad check status';
  const problem = checkKindProblem(definition);
  return problem === null ? null : `Invalid check: ${problem}`;
}

/** Whether the parts of a check make one of the known kinds, without the name. */
export function checkKindProblem(check: CheckDefinition): string | null {
  const given = (text: string | undefined): boolean => text !== undefined && text !== '';
  const interval = check.intervalMs ?? 0;
  const ttl = check.ttlMs ?? 0;
  const alias = given(check.aliasNode) || given(check.aliasService);
  const repeated = (check.scriptArgs ?? []).length > 0 || given(check.http) || given(check.tcp) || given(check.grpc);
  if (interval > 0 && ttl > 0) return 'Interval and TTL cannot both be specified';
  if (repeated && interval <= 0) return 'Interval must be > 0 for Script, HTTP, or TCP checks';
  if (repeated && alias) return 'Interval cannot be set for Alias checks';
  if (alias && ttl > 0) return 'TTL must be not be set for Alias checks';
  if (!repeated && !alias && ttl <= 0) return 'TTL must be > 0 for TTL checks';
  if ((check.outputMaxSize ?? 0) < 0) return 'MaxOutputMaxSize must be positive';
  return null;
}

/**
 * Metadata of a service, or of a node.
 * @param options.reserved whether names may have the prefix that is reserved: one may ask for them, not set them.
 */
export function metaProblem(
  meta: Readonly<Record<string, string>>,
  { reserved }: { readonly reserved: boolean } = { reserved: false },
): string | null {
  const pairs = Object.entries(meta);
  if (pairs.length > metaPairsMax) {
    return `Node metadata cannot contain more than ${metaPairsMax} key/value pairs`;
  }
  for (const [key, value] of pairs) {
    const problem = metaPairProblem(key, value, reserved);
    if (problem !== null) return `Couldn't load metadata pair ('${key}', '${value}'): ${problem}`;
  }
  return null;
}

function metaPairProblem(key: string, value: string, reserved: boolean): string | null {
  if (key === '') return 'Key cannot be blank';
  if (!/^[\w-]+$/.test(key)) return 'Key contains invalid characters';
  if (key.length > metaKeyBytesMax) return `Key is too long (limit: ${metaKeyBytesMax} characters)`;
  if (!reserved && key.startsWith(metaReservedPrefix))
    return `Key prefix '${metaReservedPrefix}' is reserved for internal use`;
  if (Buffer.byteLength(value) > metaValueBytesMax) return `Value is too long (limit: ${metaValueBytesMax} characters)`;
  return null;
}

export function weightsProblem(weights: Weights): string | null {
  if (weights.Passing < 1) return 'Passing must be greater than 0';
  if (weights.Warning < 0) return 'Warning must be greater or equal than 0';
  if (weights.Passing > weightMax || weights.Warning > weightMax) {
    return `DNS Weight must be between 0 and ${weightMax}`;
  }
  return null;
}

/** Tagged addresses whose name promises a family must be literals of it. */
export function taggedAddressesProblem(addresses: Readonly<Record<string, ServiceAddress>>): string | null {
  for (const [tag, { Address }] of Object.entries(addresses)) {
    const family = tag === 'lan_ipv4' || tag === 'wan_ipv4' ? 4 : tag === 'lan_ipv6' || tag === 'wan_ipv6' ? 6 : 0;
    if (family !== 0 && ipFamily(Address) !== family) {
      return `Service tagged address "${tag}" must be a valid ipv${family} address`;
    }
  }
  return null;
}

/** 4 or 6 for an IP literal, 0 for anything else. */
export function ipFamily(address: string): 0 | 4 | 6 {
  if (/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(address)) return 4;
  if (!address.includes(':') || !/^[\da-fA-F:.]+$/.test(address)) return 0;
  const halves = address.split('::');
  if (halves.length > 2) return 0;
  let groups = 0;
  for (const [index, half] of halves.entries()) {
    if (half === '') continue;
    const parts = half.split(':');
    for (const [at, part] of parts.entries()) {
      const last = at === parts.length - 1 && index === halves.length - 1;
      if (last && part.includes('.')) {
        if (ipFamily(part) !== 4) return 0;
        groups += 2;
      } else if (/^[\da-fA-F]{1,4}$/.test(part)) {
        groups++;
      } else {
        return 0;
      }
    }
  }
  return (halves.length === 2 ? groups < 8 : groups === 8) ? 6 : 0;
}

/**
 * The rules of proxies and gateways; the catalog applies them to what it is given, the agent to what it will give.
 * @returns a list for `multiErrorText`, empty when all is well.
 */
export function kindProblems(
  service: Pick<NodeService, 'Kind' | 'Port' | 'Connect'> &
    Partial<Pick<NodeService, 'Proxy'>> & { readonly hasSidecar?: boolean },
): string[] {
  const proxy = service.Proxy ?? { MeshGateway: {}, Expose: {} };
  const kind = service.Kind;
  const problems: string[] = [];
  if (kind === connectProxyKind) {
    if ((proxy.DestinationServiceName ?? '').trim() === '') {
      problems.push('Proxy.DestinationServiceName must be non-empty for Connect proxy services');
    }
    if (service.Port === 0) problems.push('Port must be set for a Connect proxy');
    if (service.Connect.Native === true) {
      problems.push('A Proxy cannot also be Connect Native, only typical services');
    }
    problems.push(...upstreamProblems(proxy.Upstreams ?? []));
  }
  if (gatewayKinds.has(kind)) {
    if (service.Port === 0 && kind !== 'ingress-gateway') problems.push(`Port must be non-zero for a ${kind}`);
    if (service.hasSidecar === true) problems.push(`A ${kind} cannot have a sidecar service defined`);
    const set: readonly (readonly [string, boolean])[] = [
      ['DestinationServiceName', (proxy.DestinationServiceName ?? '') !== ''],
      ['DestinationServiceID', (proxy.DestinationServiceID ?? '') !== ''],
      ['LocalServiceAddress', (proxy.LocalServiceAddress ?? '') !== ''],
      ['LocalServicePort', (proxy.LocalServicePort ?? 0) !== 0],
      ['Upstreams', (proxy.Upstreams ?? []).length > 0],
    ];
    for (const [field, isSet] of set) {
      if (isSet) problems.push(`The Proxy.${field} configuration is invalid for a ${kind}`);
    }
  }
  return problems;
}

function upstreamProblems(upstreams: NonNullable<NodeService['Proxy']['Upstreams']>): string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  const listeners = new Set<string>();
  for (const upstream of upstreams) {
    const type = upstream.DestinationType;
    if (!['', 'service', 'prepared_query'].includes(type)) {
      problems.push(`unknown upstream destination type: "${type}"`);
      continue;
    }
    if (upstream.DestinationName === '') {
      problems.push('upstream destination name cannot be empty');
      continue;
    }
    if (upstream.LocalBindPort === 0) {
      problems.push('upstream local bind port cannot be zero');
      continue;
    }
    const address = upstream.LocalBindAddress ?? '';
    const host = address === '' ? upstreamBindAddressDefault : address;
    const listener = hostPort(host, upstream.LocalBindPort);
    if (listeners.has(listener)) {
      problems.push(
        `upstreams cannot contain duplicates by local bind address and port; "${listener}" is specified twice`,
      );
    } else {
      listeners.add(listener);
    }
    const name =
      `[type="${type}", name="${upstream.DestinationName}", ` +
      `namespace="${upstream.DestinationNamespace ?? ''}", datacenter="${upstream.Datacenter}"]`;
    if (names.has(name)) problems.push(`upstreams cannot contain duplicates of ${name}`);
    else names.add(name);
  }
  return problems;
}
