import type { HealthCheck, NodeService, RegisterRequest, Unindexed } from '../../../src/model/index.ts';
import { emptyCheckDefinition, emptyService } from '../../../src/model/index.ts';
import type { StateStore } from '../../../src/state/index.ts';

export function service(given: Partial<Unindexed<NodeService>> & { readonly Service: string }): Unindexed<NodeService> {
  return { ...emptyService, ID: given.Service, ...given };
}

export function check(
  given: Partial<Unindexed<HealthCheck>> & { readonly Node: string; readonly CheckID: string },
): Unindexed<HealthCheck> {
  return {
    Name: given.CheckID,
    Status: 'passing',
    Notes: '',
    Output: '',
    ServiceID: '',
    ServiceName: '',
    ServiceTags: null,
    Type: '',
    Definition: emptyCheckDefinition,
    ...given,
  };
}

/** Registers at the next index and returns that. */
export function register(store: StateStore, request: Partial<RegisterRequest> & { readonly Node: string }): number {
  const index = store.lastIndex + 1;
  store.apply(index, { type: 'Register', request: { Datacenter: 'dc1', Address: '192.0.2.1', ...request } });
  return index;
}
