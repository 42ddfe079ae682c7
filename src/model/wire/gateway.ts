/** Gateways, federation states and proxy settings on the wire (reference/server-rpc.md §4.3, §4.9, §4.13, §4.14). */
import { opt, record, shapes, text } from '../../codec/index.ts';
import type { FederationState, FederationStateQuery, FederationStateRequest } from '../federation-state.ts';
import type { GatewayService, ServiceDumpRequest, ServiceInfo } from '../gateway.ts';
import type { ServiceConfigRequest, ServiceConfigResponse } from '../server-calls.ts';
import { checkServiceNode, expose, healthCheck, meshGateway, node, nodeService } from './catalog.ts';
import {
  dcSpecificFields,
  givenIndexFields,
  metaOnWire,
  queryMetaFields,
  queryOptionsFields,
  raftIndexFields,
  writeFields,
} from './parts.ts';

const { any, bool, index, int, list, map, nullable, str, time, wrapped } = shapes;

export const serviceName = record<{ readonly Name: string }>({ Name: str });
export const gatewayService = record<GatewayService>({
  Gateway: serviceName,
  Service: serviceName,
  GatewayKind: text<GatewayService['GatewayKind']>(),
  Port: opt(int),
  Protocol: opt(str),
  Hosts: opt(list(str)),
  CAFile: opt(str),
  CertFile: opt(str),
  KeyFile: opt(str),
  SNI: opt(str),
  FromWildcard: opt(bool),
  ...raftIndexFields,
});
export const serviceInfo = record<ServiceInfo>({
  Node: opt(nullable(node)),
  Service: opt(nullable(nodeService)),
  Checks: opt(list(healthCheck)),
  GatewayService: opt(nullable(gatewayService)),
});
const { NodeMetaFilters: _, Datacenter, ...restFields } = dcSpecificFields;
/** Nobody can filter it by node metadata. */
export const serviceDumpRequest = record<Omit<ServiceDumpRequest, 'NodeMetaFilters'>>({
  Datacenter,
  ServiceKind: opt(str),
  UseServiceKind: opt(bool),
  ...restFields,
});

const stateFields = {
  Datacenter: str,
  MeshGateways: list(checkServiceNode),
  UpdatedAt: time,
  PrimaryModifyIndex: index,
};
export const federationState = record<FederationState>({ ...stateFields, ...raftIndexFields });
export const federationStateRequest = record<FederationStateRequest>({
  Datacenter: str,
  Op: text<FederationStateRequest['Op']>(),
  State: record<FederationStateRequest['State']>({ ...stateFields, ...givenIndexFields }),
  Token: writeFields.Token,
});
export const federationStateQuery = record<FederationStateQuery>({
  Datacenter: str,
  TargetDatacenter: str,
  ...queryOptionsFields,
});

const serviceId = record<{ readonly ID: string }>({ ID: str });
export const serviceConfigRequest = record<ServiceConfigRequest>({
  Name: str,
  Datacenter: str,
  Upstreams: list(str),
  UpstreamIDs: list(serviceId),
  ...queryOptionsFields,
});
type IdConfig = NonNullable<ServiceConfigResponse['UpstreamIDConfigs']>[number];
export const serviceConfigResponse = wrapped(
  record<ServiceConfigResponse>(
    {
      ProxyConfig: map(any),
      UpstreamConfigs: map(map(any)),
      UpstreamIDConfigs: list(record<IdConfig>({ Upstream: serviceId, Config: map(any) })),
      MeshGateway: meshGateway,
      Expose: expose,
      ...queryMetaFields,
    },
    metaOnWire,
  ),
);
