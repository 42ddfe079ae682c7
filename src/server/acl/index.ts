export { Authorizer, type DefaultPolicy } from './authorizer.ts';
export { enforced } from './enforce.ts';
export { aclHandlers } from './handlers.ts';
export { initialiseAcl, TokenReaper } from './initialise.ts';
export { AclResolver, type AclSettings, aclSettingsOff } from './resolver.ts';
export { parseRules, translateRules } from './rules.ts';
export {
  createRemoteResolver,
  type DownPolicy,
  downPolicies,
  type RemoteAclSettings,
  type RemoteResolver,
} from './remote-resolver.ts';
