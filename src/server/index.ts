export {
  type AclSettings,
  Authorizer,
  createRemoteResolver,
  type DownPolicy,
  downPolicies,
  type RemoteAclSettings,
  type RemoteResolver,
  translateRules,
} from './acl/index.ts';
export { blockingQueriesMax, defaultQueryTimeMsDefault, maxQueryTimeMsDefault } from './blocking-queries.ts';
export {
  type AnyCallName,
  type AnyCallReply,
  type AnyCallRequest,
  type CallServer,
  callServerBy,
  type Cluster,
  insecureMethods,
  serverMethods,
  type Wan,
  type WanCoordinates,
} from './cluster.ts';
export type { CommandLog, Consensus, SavedState } from './command-log.ts';
export { type KeyringOperation, noKeyring } from './keyring.ts';
export { MeasuredState } from './measured-state.ts';
export { MemoryLog } from './memory-log.ts';
export { noClusterLeader, RaftLog, type RaftLogOptions } from './raft-log.ts';
export { raftAddress } from './lan-servers.ts';
export type { ServerRpc } from './server-rpc.ts';
export { createServer, type Server, type ServerOptions } from './server.ts';
export type { SavedSnapshot, Snapshots, SnapshotTarget } from './snapshots.ts';
export { tombstoneGranularityMs, tombstoneTtlMs } from './tombstone-gc.ts';
export {
  createRouter,
  isServersFault,
  type Router,
  type RouterOptions,
  type RpcLimits,
  type ServersCaller,
  type ServersCallName,
} from './router/index.ts';
