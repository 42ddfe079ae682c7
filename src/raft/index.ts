export type { Role } from './actions.ts';
export { type ArchiveContent, readArchive, writeArchive } from './archive.ts';
export {
  type Configuration,
  ConfigurationError,
  decodeConfiguration,
  encodeConfiguration,
  type Server,
  suffrage,
  votersOf,
} from './configuration.ts';
export type { IndexedConfiguration } from './configuration-history.ts';
export type { SafetyRules } from './core.ts';
export { RaftError, type RaftErrorCode } from './errors.ts';
export { type LogEntry, logTypes } from './log-entry.ts';
export * from './messages.ts';
export { type RaftOptions, raftMultiplierDefault, raftOptions } from './options.ts';
export { type Applied, brokenRules, type Leadership, RaftNode, type RaftNodeOptions } from './raft-node.ts';
export {
  parsePeers,
  peersFile,
  peersInfoFile,
  readPeersFile,
  recoverCluster,
  type RecoveryStores,
} from './recovery.ts';
export { SegmentedLog, type SegmentedLogOptions } from './segmented-log.ts';
export { NetworkTransport, type NetworkTransportOptions } from './network-transport.ts';
export { DirectorySnapshotStore, parseSnapshotMeta, snapshotMeta } from './snapshot-store.ts';
export { FileStableStore } from './stable-store.ts';
export type { StateMachine } from './state-machine.ts';
export {
  type HardState,
  LogCompactedError,
  LogCorruptionError,
  type LogStore,
  type SnapshotMeta,
  type SnapshotPoint,
  type SnapshotSink,
  type SnapshotStore,
  type StableStore,
} from './stores.ts';
export {
  type RaftAnswer,
  type RaftPeer,
  type RaftTransport,
  type SnapshotBody,
  UnsupportedRequest,
} from './transport.ts';
