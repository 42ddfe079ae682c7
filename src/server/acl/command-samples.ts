/** Names of the samples that time the ACL commands (reference/agent.md §6). */
import type { AclCommandName } from '../../state/index.ts';

export const aclCommandSamples: Readonly<Record<AclCommandName, readonly string[]>> = {
  LegacyACL: ['fsm', 'acl'],
  ACLBootstrap: ['fsm', 'acl', 'token'],
  ACLTokenSet: ['fsm', 'acl', 'token'],
  ACLTokenDelete: ['fsm', 'acl', 'token'],
  ACLPolicySet: ['fsm', 'acl', 'policy'],
  ACLPolicyDelete: ['fsm', 'acl', 'policy'],
  ACLRoleSet: ['fsm', 'acl', 'role'],
  ACLRoleDelete: ['fsm', 'acl', 'role'],
  ACLBindingRuleSet: ['fsm', 'acl', 'bindingrule'],
  ACLBindingRuleDelete: ['fsm', 'acl', 'bindingrule'],
  ACLAuthMethodSet: ['fsm', 'acl', 'authmethod'],
  ACLAuthMethodDelete: ['fsm', 'acl', 'authmethod'],
};
