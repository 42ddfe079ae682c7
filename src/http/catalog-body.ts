/** Bodies of `catalog/register` and `catalog/deregister` (reference/http-api.md §9.2): records in their wire form. */
import {
  type DeregisterRequest,
  emptyCheckDefinition,
  emptyService,
  type HealthCheck,
  type HealthCheckDefinition,
  type NodeService,
  type RegisterRequest,
  type ServiceConnect,
  type Unindexed,
} from '../model/index.ts';
import { bool, type Decode, DecodeError, durationNs, ignored, int, list, map, string, struct } from './decode.ts';
import { catalogProxy, serviceAddress, serviceWeights } from './definition-body.ts';

const stringMap = map(string, '');

const serviceStruct = struct<NodeService>({
  Kind: ['Kind', string],
  ID: ['ID', string],
  Service: ['Service', string],
  Tags: ['Tags', list(string, '')],
  Address: ['Address', string],
  TaggedAddresses: ['TaggedAddresses', map(serviceAddress, { Address: '', Port: 0 })],
  Meta: ['Meta', stringMap],
  Port: ['Port', int],
  Weights: ['Weights', serviceWeights],
  EnableTagOverride: ['EnableTagOverride', bool],
  Proxy: ['Proxy', catalogProxy],
  Connect: ['Connect', struct<ServiceConnect>({ Native: ['Native', bool] })],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

const service: Decode<Unindexed<NodeService>> = (value, field) => {
  const { CreateIndex: _, ModifyIndex: __, ...given } = serviceStruct(value, field);
  return { ...emptyService, ...given };
};

/** The four durations may come under a second name that older clients write. */
const checkDefinition: Decode<HealthCheckDefinition> = struct<HealthCheckDefinition>({
  HTTP: ['HTTP', string],
  TLSSkipVerify: ['TLSSkipVerify', bool],
  Header: ['Header', map(list(string, ''), [])],
  Method: ['Method', string],
  Body: ['Body', string],
  TCP: ['TCP', string],
  Interval: ['Interval', durationNs],
  IntervalDuration: ['Interval', durationNs],
  OutputMaxSize: ['OutputMaxSize', int],
  Timeout: ['Timeout', durationNs],
  TimeoutDuration: ['Timeout', durationNs],
  DeregisterCriticalServiceAfter: ['DeregisterCriticalServiceAfter', durationNs],
  DeregisterCriticalServiceAfterDuration: ['DeregisterCriticalServiceAfter', durationNs],
  ScriptArgs: ['ScriptArgs', list(string, '')],
  DockerContainerID: ['DockerContainerID', string],
  Shell: ['Shell', string],
  GRPC: ['GRPC', string],
  GRPCUseTLS: ['GRPCUseTLS', bool],
  AliasNode: ['AliasNode', string],
  AliasService: ['AliasService', string],
  TTL: ['TTL', durationNs],
});

const checkStruct = struct<HealthCheck>({
  Node: ['Node', string],
  CheckID: ['CheckID', string],
  Name: ['Name', string],
  Status: ['Status', string],
  Notes: ['Notes', string],
  Output: ['Output', string],
  ServiceID: ['ServiceID', string],
  ServiceName: ['ServiceName', string],
  ServiceTags: ['ServiceTags', list(string, '')],
  Type: ['Type', string],
  Definition: ['Definition', checkDefinition],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

const emptyCheck: Unindexed<HealthCheck> = {
  Node: '',
  CheckID: '',
  Name: '',
  Status: '',
  Notes: '',
  Output: '',
  ServiceID: '',
  ServiceName: '',
  ServiceTags: null,
  Type: '',
  Definition: emptyCheckDefinition,
};

const check: Decode<Unindexed<HealthCheck>> = (value, field) => {
  const { CreateIndex: _, ModifyIndex: __, ...given } = checkStruct(value, field);
  return { ...emptyCheck, ...given };
};

export const registerBody: Decode<Partial<RegisterRequest>> = withNamespaceHint(
  struct<RegisterRequest>({
    Datacenter: ['Datacenter', string],
    ID: ['ID', string],
    Node: ['Node', string],
    Address: ['Address', string],
    TaggedAddresses: ['TaggedAddresses', stringMap],
    NodeMeta: ['NodeMeta', stringMap],
    Service: ['Service', service],
    Check: ['Check', check],
    Checks: ['Checks', list(check, emptyCheck)],
    SkipNodeUpdate: ['SkipNodeUpdate', bool],
    Token: ['Token', ignored],
  }),
);

interface DeregisterBody extends DeregisterRequest {
  /** Tolerated: old clients send it. */
  readonly Address: string;
}

export const deregisterBody: Decode<Partial<DeregisterBody>> = withNamespaceHint(
  struct<DeregisterBody>({
    Datacenter: ['Datacenter', string],
    Node: ['Node', string],
    Address: ['Address', ignored],
    ServiceID: ['ServiceID', string],
    CheckID: ['CheckID', string],
    Token: ['Token', ignored],
  }),
);

/** These endpoints say why they do not know the field `Namespace` (§5). */
function withNamespaceHint<T>(decode: Decode<T>): Decode<T> {
  return (value, field) => {
    try {
      return decode(value, field);
    } catch (error) {
      if (error instanceof DecodeError && error.message.toLowerCase() === 'json: unknown field "namespace"') {
        throw new DecodeError(`${error.message} - Namespaces are a Consul Enterprise feature`);
      }
      throw error;
    }
  };
}
