/** Every record and call in the msgpack of the peer: one shape each, for both directions. */
export { aclAuthMethod, aclBindingRule, aclPolicy, aclRole, aclToken, legacyAcl, legacyAclRequest } from './acl.ts';
export { type CallShape, callShapes, serverCallShapes } from './calls.ts';
export {
  checkServiceNode,
  deregisterRequest,
  givenCheck,
  givenNode,
  givenService,
  healthCheck,
  node,
  nodeInfo,
  nodeService,
  registerFields,
  registerRequest,
  serviceNode,
} from './catalog.ts';
export { configEntryRequest } from './config-entry.ts';
export {
  caConfiguration,
  caLeafRequest,
  caProviderState,
  caRequest,
  caRoot,
  intention,
  intentionRequest,
} from './connect.ts';
export { federationState, federationStateRequest } from './gateway.ts';
export { coordinate, dirEntry, kvsRequest, nodeCoordinate, session, sessionRequest } from './kv.ts';
export { autopilotConfig, autopilotSetConfig } from './operator.ts';
export { preparedQuery, preparedQueryRequest } from './prepared-query.ts';
export { txnRequest } from './txn.ts';
