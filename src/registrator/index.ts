export type { HeldService, RegistrationBackend } from './backend.ts';
export { fedTtlMs, type FedCheck } from './checks.ts';
export { type ContainerExplanation, type Explanation, formatExplanation, type ServiceExplanation } from './explain.ts';
export type { ContainerFacts, Decision, Skipped } from './facts.ts';
export { type DesiredService, mapContainer, type Mapping } from './mapping.ts';
export {
  type AdvertisedAddress,
  checkTargets,
  type CheckTarget,
  type DeregisterMode,
  nameSources,
  type NameSource,
  namingPolicies,
  type NamingPolicy,
  parseDeregisterMode,
  type RegistratorOptions,
  registratorOptions,
  settingsOf,
  type Settings,
  stopReactions,
  type StopReaction,
  validateRegistratorOptions,
} from './options.ts';
export { metaKeys, type Ownership, ownershipOf } from './ownership.ts';
export {
  createRegistrator,
  type LinkStatus,
  type Registrator,
  type RegistratorParts,
  type RegistratorStatus,
  type StopMode,
} from './registrator.ts';
