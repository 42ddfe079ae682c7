export { type AclSettings, Authorizer, translateRules } from './acl/index.ts';
export { blockingQueriesMax, defaultQueryTimeMsDefault, maxQueryTimeMsDefault } from './blocking-queries.ts';
export type { CommandLog } from './command-log.ts';
export { type KeyringOperation, noKeyring } from './keyring.ts';
export { MemoryLog } from './memory-log.ts';
export { reconcileMember, type ReconciledMember, serverMeta } from './reconcile.ts';
export { createServer, type Server, type ServerOptions } from './server.ts';
export { tombstoneGranularityMs, tombstoneTtlMs } from './tombstone-gc.ts';
