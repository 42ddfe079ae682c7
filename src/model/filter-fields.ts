/**
 * What a filter expression may select in each kind of record (reference/http-api.md §4.5). Indexes, definitions and
 * hashes cannot be selected. A name missing here is answered with `Selector "X" is not valid`.
 */

import type { FilterField, FilterFields } from '../codec/index.ts';

export type { FilterField, FilterFields };

const meshGateway: FilterField = { struct: { Mode: 'string' } };
const serviceAddresses: FilterField = { map: { Address: 'string', Port: 'int' } };
const weights: FilterField = { struct: { Passing: 'int', Warning: 'int' } };
const connect: FilterField = { struct: { Native: 'bool' } };
const proxy: FilterField = {
  struct: {
    DestinationServiceName: 'string',
    DestinationServiceID: 'string',
    LocalServiceAddress: 'string',
    LocalServicePort: 'int',
    MeshGateway: meshGateway,
    Upstreams: {
      list: {
        DestinationType: 'string',
        DestinationNamespace: 'string',
        DestinationName: 'string',
        Datacenter: 'string',
        LocalBindAddress: 'string',
        LocalBindPort: 'int',
        MeshGateway: meshGateway,
      },
    },
    Expose: {
      struct: {
        Checks: 'bool',
        Paths: {
          list: {
            Path: 'string',
            ListenerPort: 'int',
            LocalPathPort: 'int',
            Protocol: 'string',
            ParsedFromCheck: 'bool',
          },
        },
      },
    },
  },
};

/** `catalog/nodes`. */
export const nodeFilterFields: FilterFields = {
  ID: 'string',
  Node: 'string',
  Address: 'string',
  Datacenter: 'string',
  TaggedAddresses: 'string-map',
  Meta: 'string-map',
};

/** `catalog/service`, `catalog/connect`. */
export const serviceNodeFilterFields: FilterFields = {
  ID: 'string',
  Node: 'string',
  Address: 'string',
  Datacenter: 'string',
  TaggedAddresses: 'string-map',
  NodeMeta: 'string-map',
  ServiceKind: 'string',
  ServiceID: 'string',
  ServiceName: 'string',
  ServiceTags: 'strings',
  ServiceAddress: 'string',
  ServiceTaggedAddresses: serviceAddresses,
  ServiceWeights: weights,
  ServiceMeta: 'string-map',
  ServicePort: 'int',
  ServiceEnableTagOverride: 'bool',
  ServiceProxy: proxy,
  ServiceConnect: connect,
};

/** `catalog/node`, `catalog/node-services` and `agent/services` (both forms have the same names). */
export const nodeServiceFilterFields: FilterFields = {
  Kind: 'string',
  ID: 'string',
  Service: 'string',
  Tags: 'strings',
  Meta: 'string-map',
  Port: 'int',
  Address: 'string',
  TaggedAddresses: serviceAddresses,
  Weights: weights,
  EnableTagOverride: 'bool',
  Proxy: proxy,
  Connect: connect,
};

/** `health/node`, `health/checks`, `health/state`, `agent/checks`. */
export const healthCheckFilterFields: FilterFields = {
  Node: 'string',
  CheckID: 'string',
  Name: 'string',
  Status: 'string',
  Notes: 'string',
  Output: 'string',
  ServiceID: 'string',
  ServiceName: 'string',
  ServiceTags: 'strings',
  Type: 'string',
};

/** `health/service`, `health/connect`, `health/ingress`, `internal/ui/services`. */
export const checkServiceNodeFilterFields: FilterFields = {
  Node: { struct: nodeFilterFields },
  Service: { struct: nodeServiceFilterFields },
  Checks: { list: healthCheckFilterFields },
};

/** `internal/ui/nodes`. */
export const nodeInfoFilterFields: FilterFields = {
  ID: 'string',
  Node: 'string',
  Address: 'string',
  TaggedAddresses: 'string-map',
  Meta: 'string-map',
  Services: { list: nodeServiceFilterFields },
  Checks: { list: healthCheckFilterFields },
};

/** `connect/intentions`. */
export const intentionFilterFields: FilterFields = {
  ID: 'string',
  Description: 'string',
  SourceNS: 'string',
  SourceName: 'string',
  DestinationNS: 'string',
  DestinationName: 'string',
  SourceType: 'string',
  Action: 'string',
  DefaultAddr: 'string',
  DefaultPort: 'int',
  Precedence: 'int',
  Meta: 'string-map',
};
