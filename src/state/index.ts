export { type Command, type CommandName, commandNumbers, type CommandOf, type CommandResult } from './command.ts';
export type { TombstoneRequest } from './command.ts';
export type { IndexRow } from './index-rows.ts';
export type { KvTable, Tombstone } from './kv-table.ts';
export type { SessionChange } from './session-table.ts';
export { type Answer, StateStore, type StateSnapshot } from './store.ts';
export { isUuid } from './uuid.ts';
export { watchKeys } from './watches.ts';
