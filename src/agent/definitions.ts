/**
 * From what a user asked for to the records the catalog holds: IDs, names and defaults filled in as Consul does
 * (reference/agent.md §2.7).
 */
import {
  type CheckDefinition,
  checkTypeOf,
  emptyCheckDefinition,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  type NodeService,
  type ServiceAddress,
  type ServiceDefinition,
} from '../model/index.ts';
import { isIPv4, isIPv6 } from 'node:net';

const defaultWeights = Object.freeze({ Passing: 1, Warning: 1 });

/** The service record of a definition; indexes are 0 until a server has stored it. */
export function serviceRecord(definition: ServiceDefinition): NodeService {
  return {
    Kind: definition.kind ?? '',
    ID: definition.id || definition.name,
    Service: definition.name,
    Tags: definition.tags ?? null,
    Address: definition.address ?? '',
    TaggedAddresses: taggedAddresses(definition),
    Meta: definition.meta ?? null,
    Port: definition.port ?? 0,
    Weights: definition.weights ?? defaultWeights,
    EnableTagOverride: definition.enableTagOverride ?? false,
    Proxy: definition.proxy ?? emptyProxy,
    Connect: definition.connect?.native ? { Native: true } : emptyConnect,
    CreateIndex: 0,
    ModifyIndex: 0,
  };
}

/**
 * An IP address names the service on both networks unless the definition says otherwise. Never null: servers keep both
 * apart, and agents of either kind would take turns in correcting the other's.
 */
function taggedAddresses({
  address,
  port = 0,
  taggedAddresses: given,
}: ServiceDefinition): NodeService['TaggedAddresses'] {
  const family = address === undefined ? undefined : isIPv4(address) ? 'ipv4' : isIPv6(address) ? 'ipv6' : undefined;
  if (address === undefined || family === undefined) return given ?? {};
  const own: ServiceAddress = { Address: address, Port: port };
  return { [`lan_${family}`]: own, [`wan_${family}`]: own, ...given };
}

/** A check with its final ID, and what runs it. */
export interface CheckRegistration {
  readonly check: HealthCheck;
  readonly definition: CheckDefinition;
}

/** The checks that come with a service: `service:<id>`, numbered by position when there are several. */
export function serviceChecks(
  nodeName: string,
  service: NodeService,
  checks: readonly CheckDefinition[],
): readonly CheckRegistration[] {
  return checks.map((definition, index) => {
    const suffix = checks.length > 1 ? `:${index + 1}` : '';
    return checkRegistration(nodeName, service, {
      ...definition,
      id: definition.id || `service:${service.ID}${suffix}`,
      name: definition.name || `Service '${service.Service}' check`,
    });
  });
}

/** The record of one check; `service` is undefined for a node-level check. */
export function checkRegistration(
  nodeName: string,
  service: NodeService | undefined,
  definition: CheckDefinition,
): CheckRegistration {
  return {
    definition,
    check: {
      Node: nodeName,
      CheckID: definition.id || definition.name || '',
      Name: definition.name || definition.id || '',
      Status: definition.status || 'critical',
      Notes: definition.notes ?? '',
      Output: '',
      ServiceID: service?.ID ?? '',
      ServiceName: service?.Service ?? '',
      ServiceTags: service?.Tags ?? null,
      Type: checkTypeOf(definition),
      Definition: emptyCheckDefinition,
      CreateIndex: 0,
      ModifyIndex: 0,
    },
  };
}
