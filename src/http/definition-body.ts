/** Bodies of `agent/service/register` and `agent/check/register`: fields, aliases and defaults of §9.1. */
import type {
  CheckDefinition,
  ConnectProxyConfig,
  ExposeConfig,
  ExposePath,
  MeshGatewayConfig,
  ServiceAddress,
  ServiceDefinition,
  Upstream,
  Weights,
} from '../model/index.ts';
import {
  freeMap,
  bool,
  type Decode,
  DecodeError,
  durationMs,
  type Fields,
  int,
  list,
  map,
  string,
  struct,
} from './decode.ts';

const checkFields = {
  Name: ['name', string],
  Notes: ['notes', string],
  ServiceID: ['serviceId', string],
  service_id: ['serviceId', string],
  Token: ['token', string],
  Status: ['status', string],
  Interval: ['intervalMs', durationMs],
  Timeout: ['timeoutMs', durationMs],
  TTL: ['ttlMs', durationMs],
  ScriptArgs: ['scriptArgs', list(string, '')],
  Args: ['scriptArgs', list(string, '')],
  script_args: ['scriptArgs', list(string, '')],
  DockerContainerID: ['dockerContainerId', string],
  docker_container_id: ['dockerContainerId', string],
  Shell: ['shell', string],
  HTTP: ['http', string],
  Method: ['method', string],
  Header: ['header', map(list(string, ''), [])],
  Body: ['body', string],
  TLSSkipVerify: ['tlsSkipVerify', bool],
  tls_skip_verify: ['tlsSkipVerify', bool],
  TCP: ['tcp', string],
  GRPC: ['grpc', string],
  GRPCUseTLS: ['grpcUseTls', bool],
  AliasNode: ['aliasNode', string],
  AliasService: ['aliasService', string],
  OutputMaxSize: ['outputMaxSize', int],
  SuccessBeforePassing: ['successBeforePassing', int],
  FailuresBeforeCritical: ['failuresBeforeCritical', int],
  DeregisterCriticalServiceAfter: ['deregisterCriticalServiceAfterMs', durationMs],
  deregister_critical_service_after: ['deregisterCriticalServiceAfterMs', durationMs],
} satisfies Partial<Fields<CheckDefinition>>;

/** A check of its own is named by `ID`. */
export const checkDefinitionBody: Decode<Partial<CheckDefinition>> = struct<CheckDefinition>({
  ...checkFields,
  ID: ['id', string],
});

/** A check inside a service is named by `CheckID`. */
const checkOfService = struct<CheckDefinition>({ ...checkFields, CheckID: ['id', string] });

const address: Decode<ServiceAddress> = (value, field) => ({
  Address: '',
  Port: 0,
  ...struct<ServiceAddress>({ Address: ['Address', string], Port: ['Port', int] })(value, field),
});

const weightsStruct = struct<Weights>({ Passing: ['Passing', int], Warning: ['Warning', int] });
const weights: Decode<Weights> = (value, field) => ({ Passing: 0, Warning: 0, ...weightsStruct(value, field) });

const meshGateway: Decode<MeshGatewayConfig> = struct<MeshGatewayConfig>({ Mode: ['Mode', string] });

const upstreamStruct = struct<Upstream>({
  DestinationType: ['DestinationType', string],
  destination_type: ['DestinationType', string],
  DestinationNamespace: ['DestinationNamespace', string],
  destination_namespace: ['DestinationNamespace', string],
  DestinationName: ['DestinationName', string],
  destination_name: ['DestinationName', string],
  Datacenter: ['Datacenter', string],
  LocalBindAddress: ['LocalBindAddress', string],
  local_bind_address: ['LocalBindAddress', string],
  LocalBindPort: ['LocalBindPort', int],
  local_bind_port: ['LocalBindPort', int],
  Config: ['Config', freeMap],
  MeshGateway: ['MeshGateway', meshGateway],
});
/** `typeDefault`: the agent fills in `service`, the catalog stores what it gets. */
const upstream =
  (typeDefault: string): Decode<Upstream> =>
  (value, field) => {
    const given = upstreamStruct(value, field);
    return {
      DestinationName: '',
      Datacenter: '',
      LocalBindPort: 0,
      Config: null,
      MeshGateway: {},
      ...given,
      DestinationType: given.DestinationType || typeDefault,
    };
  };

const exposePathStruct = struct<ExposePath>({
  ListenerPort: ['ListenerPort', int],
  listener_port: ['ListenerPort', int],
  Path: ['Path', string],
  LocalPathPort: ['LocalPathPort', int],
  local_path_port: ['LocalPathPort', int],
  Protocol: ['Protocol', string],
  ParsedFromCheck: ['ParsedFromCheck', bool],
});
const exposePath: Decode<ExposePath> = (value, field) => ({
  ParsedFromCheck: false,
  ...exposePathStruct(value, field),
});
const expose: Decode<ExposeConfig> = struct<ExposeConfig>({
  Checks: ['Checks', bool],
  Paths: ['Paths', list(exposePath, { ParsedFromCheck: false })],
});

const emptyUpstream: Upstream = {
  DestinationType: '',
  DestinationName: '',
  Datacenter: '',
  LocalBindPort: 0,
  Config: null,
  MeshGateway: {},
};

function proxy(upstreamTypeDefault: string): Decode<ConnectProxyConfig> {
  const decode = struct<ConnectProxyConfig>({
    DestinationServiceName: ['DestinationServiceName', string],
    destination_service_name: ['DestinationServiceName', string],
    DestinationServiceID: ['DestinationServiceID', string],
    destination_service_id: ['DestinationServiceID', string],
    LocalServiceAddress: ['LocalServiceAddress', string],
    local_service_address: ['LocalServiceAddress', string],
    LocalServicePort: ['LocalServicePort', int],
    local_service_port: ['LocalServicePort', int],
    Config: ['Config', freeMap],
    Upstreams: ['Upstreams', list(upstream(upstreamTypeDefault), emptyUpstream)],
    MeshGateway: ['MeshGateway', meshGateway],
    Expose: ['Expose', expose],
  });
  return (value, field) => ({ MeshGateway: {}, Expose: {}, ...decode(value, field) });
}

/** Proxy of a catalog registration. */
export const catalogProxy = proxy('');
export { address as serviceAddress, weights as serviceWeights };

/** A service as it stands in a body: one check may come as `Check`, several as `Checks`. */
interface ServiceBody extends Omit<ServiceDefinition, 'connect'> {
  readonly check: CheckDefinition;
  readonly connect: { readonly native?: boolean; readonly sidecarService?: Omit<ServiceDefinition, 'name'> };
}

/** Nesting of sidecars in sidecars is refused later, by its own text; deeper than that is nobody's mistake. */
const sidecarDepthMax = 2;

function service(depth: number): Decode<Partial<ServiceDefinition>> {
  const nested: Decode<Partial<ServiceDefinition>> = (value, field) => {
    if (depth >= sidecarDepthMax) throw new DecodeError(`json: unknown field "SidecarService"`);
    return service(depth + 1)(value, field);
  };
  const sidecarService = (value: unknown, field: string): Omit<ServiceDefinition, 'name'> => nested(value, field);
  const decode = struct<ServiceBody>({
    Kind: ['kind', string],
    ID: ['id', string],
    Name: ['name', string],
    Tags: ['tags', list(string, '')],
    Address: ['address', string],
    TaggedAddresses: ['taggedAddresses', map(address, { Address: '', Port: 0 })],
    tagged_addresses: ['taggedAddresses', map(address, { Address: '', Port: 0 })],
    Meta: ['meta', map(string, '')],
    Port: ['port', int],
    Check: ['check', checkOfService],
    Checks: ['checks', list(checkOfService, {})],
    Weights: ['weights', weights],
    Token: ['token', string],
    EnableTagOverride: ['enableTagOverride', bool],
    enable_tag_override: ['enableTagOverride', bool],
    Proxy: ['proxy', proxy('service')],
    Connect: [
      'connect',
      struct<ServiceBody['connect']>({
        Native: ['native', bool],
        SidecarService: ['sidecarService', sidecarService],
        sidecar_service: ['sidecarService', sidecarService],
      }),
    ],
  });
  return (value, field) => {
    const { check, checks, ...rest } = decode(value, field);
    // An entirely empty `Check` is a client's way to say none; inside `Checks` it is a mistake.
    const all = [...(check === undefined || isEmptyCheck(check) ? [] : [check]), ...(checks ?? [])];
    return all.length === 0 ? rest : { ...rest, checks: all };
  };
}

function isEmptyCheck(check: CheckDefinition): boolean {
  return Object.values(check).every(
    (value) => value === '' || value === 0 || value === false || (typeof value === 'object' && isEmpty(value)),
  );
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

export const serviceDefinitionBody: Decode<Partial<ServiceDefinition>> = service(0);
