/**
 * Services, checks and watches as files write them (snake_case, Go durations) to the definitions the agent works with
 * (reference/agent.md §2.3, §2.7). Defaults that depend on the agent are filled in when they are registered.
 */
import {
  type CheckDefinition,
  type ConnectProxyConfig,
  metaProblem,
  type ServiceDefinition,
  serviceDefinitionProblem,
  type SidecarDefinition,
  weightsProblem,
} from '../model/index.ts';
import type { RawCheck, RawProxy, RawService, RawSidecar, RawWatch } from './keys.ts';
import type { Problems } from './problems.ts';
import { ConfigError } from './schema.ts';

/** Kinds the peer knows; any other text means a typical service. */
const serviceKinds = new Set(['connect-proxy', 'mesh-gateway', 'terminating-gateway', 'ingress-gateway']);
/** What can be watched (reference/agent.md §2.3). */
export const watchTypes = ['key', 'keyprefix', 'services', 'nodes', 'service', 'checks', 'event'] as const;
export type WatchType = (typeof watchTypes)[number];
const watchHttpTimeoutDefault = '10s';

export type WatchHandler =
  | { readonly kind: 'script'; readonly args: readonly string[] }
  /** Deprecated `handler`: a line for the shell. */
  | { readonly kind: 'shell'; readonly command: string }
  | {
      readonly kind: 'http';
      readonly url: string;
      readonly method: string;
      readonly timeoutMs: number;
      readonly header: Readonly<Record<string, readonly string[]>>;
      readonly tlsSkipVerify: boolean;
    };

export interface WatchDefinition {
  readonly type: WatchType;
  readonly datacenter: string;
  readonly token: string;
  readonly key: string;
  readonly prefix: string;
  readonly service: string;
  readonly tags: readonly string[];
  readonly passingOnly: boolean;
  readonly state: string;
  readonly name: string;
  readonly stale: boolean;
  readonly handler: WatchHandler;
}

/** An object without the fields that are undefined. */
function compact<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

export function checkDefinition(raw: RawCheck, problems: Problems): CheckDefinition {
  const ms = (key: keyof RawCheck, text: string | undefined): number | undefined =>
    text === undefined ? undefined : problems.durationMs(`check[${raw.id ?? raw.name ?? ''}].${key}`, text);
  return compact<CheckDefinition>({
    id: raw.id,
    name: raw.name,
    notes: raw.notes,
    serviceId: raw.service_id,
    token: raw.token,
    status: raw.status,
    intervalMs: ms('interval', raw.interval),
    timeoutMs: ms('timeout', raw.timeout),
    ttlMs: ms('ttl', raw.ttl),
    scriptArgs: raw.args,
    dockerContainerId: raw.docker_container_id,
    shell: raw.shell,
    http: raw.http,
    method: raw.method,
    header: raw.header,
    body: raw.body,
    tlsSkipVerify: raw.tls_skip_verify,
    tlsServerName: raw.tls_server_name,
    tcp: raw.tcp,
    grpc: raw.grpc,
    grpcUseTls: raw.grpc_use_tls,
    aliasNode: raw.alias_node,
    aliasService: raw.alias_service,
    outputMaxSize: raw.output_max_size,
    successBeforePassing: raw.success_before_passing,
    failuresBeforeCritical: raw.failures_before_critical,
    deregisterCriticalServiceAfterMs: ms('deregister_critical_service_after', raw.deregister_critical_service_after),
  });
}

export function serviceDefinition(raw: RawService, problems: Problems): ServiceDefinition {
  const sidecar = raw.connect?.sidecar_service;
  const definition: ServiceDefinition = {
    ...plainService(raw, problems),
    name: raw.name ?? '',
    ...(raw.connect === undefined
      ? {}
      : {
          connect: compact<NonNullable<ServiceDefinition['connect']>>({
            native: raw.connect.native,
            sidecarService: sidecar === undefined ? undefined : plainService(sidecar, problems),
          }),
        }),
  };
  const weights = definition.weights === undefined ? null : weightsProblem(definition.weights);
  if (weights !== null) problems.add(`Invalid weight definition for service ${definition.name}: ${weights}`);
  const meta = metaProblem(definition.meta ?? {});
  if (meta !== null) problems.add(`invalid meta for service ${definition.name}: ${meta}`);
  return definition;
}

function plainService(raw: RawService | RawSidecar, problems: Problems): SidecarDefinition {
  const checks = [...(raw.checks ?? []), ...(raw.check === undefined ? [] : [raw.check])];
  return compact<SidecarDefinition>({
    id: raw.id,
    name: raw.name,
    kind: raw.kind !== undefined && serviceKinds.has(raw.kind) ? raw.kind : undefined,
    tags: raw.tags,
    address: raw.address,
    port: raw.port,
    meta: raw.meta,
    taggedAddresses:
      raw.tagged_addresses === undefined
        ? undefined
        : Object.fromEntries(
            Object.entries(raw.tagged_addresses).map(([tag, { address, port }]) => [
              tag,
              { Address: address ?? '', Port: port ?? 0 },
            ]),
          ),
    enableTagOverride: raw.enable_tag_override,
    weights:
      raw.weights === undefined ? undefined : { Passing: raw.weights.passing ?? 0, Warning: raw.weights.warning ?? 0 },
    token: raw.token,
    checks: checks.length === 0 ? undefined : checks.map((check) => checkDefinition(check, problems)),
    proxy: raw.proxy === undefined ? undefined : proxyDefinition(raw.proxy),
  });
}

type Upstream = NonNullable<ConnectProxyConfig['Upstreams']>[number];
type Expose = ConnectProxyConfig['Expose'];
type MeshGateway = ConnectProxyConfig['MeshGateway'];

function proxyDefinition(raw: RawProxy): ConnectProxyConfig {
  const mesh = (block: { readonly mode?: string } | undefined): MeshGateway =>
    compact<MeshGateway>({ Mode: block?.mode });
  return compact<ConnectProxyConfig>({
    DestinationServiceName: raw.destination_service_name,
    DestinationServiceID: raw.destination_service_id,
    LocalServiceAddress: raw.local_service_address,
    LocalServicePort: raw.local_service_port,
    Config: raw.config as Readonly<Record<string, unknown>> | undefined,
    Upstreams: raw.upstreams?.map((upstream) =>
      compact<Upstream>({
        DestinationType: upstream.destination_type ?? 'service',
        DestinationNamespace: upstream.destination_namespace,
        DestinationName: upstream.destination_name ?? '',
        Datacenter: upstream.datacenter ?? '',
        LocalBindAddress: upstream.local_bind_address,
        LocalBindPort: upstream.local_bind_port ?? 0,
        Config: (upstream.config as Readonly<Record<string, unknown>> | undefined) ?? null,
        MeshGateway: mesh(upstream.mesh_gateway),
      }),
    ),
    MeshGateway: mesh(raw.mesh_gateway),
    Expose: compact<Expose>({
      Checks: raw.expose?.checks,
      Paths: raw.expose?.paths?.map((path) => ({
        ListenerPort: path.listener_port ?? 0,
        Path: path.path ?? '',
        LocalPathPort: path.local_path_port ?? 0,
        Protocol: path.protocol ?? '',
        ParsedFromCheck: false,
      })),
    }),
  });
}

/**
 * The rules that come after the accumulated errors: each service for itself, then ids over all files. Wrong checks
 * are reported when they are registered, as the peer does.
 * @throws ConfigError
 */
export function requireSoundDefinitions(
  services: readonly ServiceDefinition[],
  checks: readonly CheckDefinition[],
): void {
  for (const service of services) {
    const problem = serviceDefinitionProblem({ ...service, checks: [] });
    if (problem !== null) throw new ConfigError(`service ${JSON.stringify(service.name)}: ${problem}`);
  }
  requireDistinct(
    'service',
    services.map((service) => service.id ?? service.name),
  );
  const inServices = services.flatMap(({ id, name, checks = [] }) =>
    checks.map((check, index) => check.id ?? `service:${id ?? name}${checks.length > 1 ? `:${index + 1}` : ''}`),
  );
  requireDistinct('check', [...checks.map((check) => check.id ?? check.name ?? ''), ...inServices]);
}

function requireDistinct(kind: 'service' | 'check', ids: readonly string[]): void {
  const repeated = ids.find((id, index) => ids.indexOf(id) !== index);
  if (repeated === undefined) return;
  throw new ConfigError(
    `${kind} id ${JSON.stringify(repeated)} is defined more than once. Give each ${kind} of that name its own "id"`,
  );
}

/** @throws ConfigError for an unknown type or a missing handler. */
export function watchDefinition(raw: RawWatch, problems: Problems): WatchDefinition {
  const type = watchTypes.find((known) => known === raw.type);
  if (type === undefined) {
    if (raw.type === undefined) throw new ConfigError('watches: "type" is missing');
    throw new ConfigError(`watches: unsupported watch type: ${raw.type}. Use one of ${watchTypes.join(', ')}`);
  }
  const { tag } = raw;
  return {
    type,
    datacenter: raw.datacenter ?? '',
    token: raw.token ?? '',
    key: raw.key ?? '',
    prefix: raw.prefix ?? '',
    service: raw.service ?? '',
    tags: Array.isArray(tag) ? tag.map(String) : typeof tag === 'string' ? [tag] : [],
    passingOnly: raw.passingonly ?? false,
    state: raw.state ?? '',
    name: raw.name ?? '',
    stale: raw.stale ?? false,
    handler: watchHandler(raw, problems),
  };
}

function watchHandler(raw: RawWatch, problems: Problems): WatchHandler {
  const http = raw.http_handler_config;
  const kind = raw.handler_type ?? 'script';
  if (kind === 'http') {
    if (http?.path === undefined)
      throw new ConfigError("Requires 'path' to be set: watches[].http_handler_config.path");
    return {
      kind: 'http',
      url: http.path,
      method: http.method ?? 'POST',
      timeoutMs: problems.durationMs('watches.http_handler_config.timeout', http.timeout ?? watchHttpTimeoutDefault),
      header: http.header ?? {},
      tlsSkipVerify: http.tls_skip_verify ?? false,
    };
  }
  if (kind !== 'script') throw new ConfigError(`Handler type '${kind}' not recognized. Use script or http`);
  if (raw.args !== undefined && raw.handler !== undefined) throw new ConfigError('Only one watch handler allowed');
  if (raw.args !== undefined && raw.args.length > 0) return { kind: 'script', args: raw.args };
  if (raw.handler !== undefined && raw.handler !== '') return { kind: 'shell', command: raw.handler };
  throw new ConfigError(
    'Must define a watch handler: set "args", or "handler_type": "http" with "http_handler_config"',
  );
}
