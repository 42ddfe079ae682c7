/** The registrator's backend inside this agent: no HTTP, no copy, the registry itself. */
import type { CheckStatus, ServiceDefinition } from '../model/index.ts';
import { serviceMaintenanceCheckPrefix } from '../model/index.ts';
import type { HeldService, RegistrationBackend } from '../registrator/index.ts';
import type { LocalState } from './local-state.ts';
import type { Registry } from './registry.ts';

export function createLocalBackend(state: LocalState, registry: Registry): RegistrationBackend {
  const held = (id: string): HeldService => {
    const { service } = state.services.get(id)!;
    const checks = new Map(
      [...state.checkIdsOf(id)]
        .filter((checkId) => !checkId.startsWith(serviceMaintenanceCheckPrefix))
        .map((checkId) => {
          const { check } = state.checks.get(checkId)!;
          return [checkId, { status: check.Status, output: check.Output, type: check.Type }] as const;
        }),
    );
    return {
      id,
      name: service.Service,
      address: service.Address,
      port: service.Port,
      tags: service.Tags ?? [],
      meta: service.Meta ?? {},
      checks,
    };
  };
  return {
    name: 'this agent',
    async list() {
      return new Map([...state.services.keys()].map((id) => [id, held(id)]));
    },
    async register(definition: ServiceDefinition) {
      await registry.registerService(definition, {
        token: definition.token ?? '',
        replaceExistingChecks: true,
        origin: 'registrator',
      });
    },
    async deregister(serviceId: string) {
      await registry.deregisterService(serviceId, 'registrator');
    },
    async setCheckStatus(checkId: string, status: CheckStatus, output: string) {
      await registry.updateTtlCheck(checkId, status, output, 'registrator');
    },
  };
}
