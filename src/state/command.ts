/**
 * Everything that changes replicated state is a command in one ordered log; applying the same commands in the same
 * order gives the same state on every server. A command's number is its first byte in the log (reference/raft.md §4.2).
 */
import type {
  AutopilotSetConfigRequest,
  CALeafRequest,
  CARequest,
  ConfigEntryRequest,
  DeregisterRequest,
  FederationStateRequest,
  IntentionRequest,
  KVSRequest,
  NodeCoordinate,
  PreparedQueryRequest,
  RegisterRequest,
  SessionRequest,
  WriteRequest,
  TxnRequest,
  TxnResponse,
} from '../model/index.ts';
import { aclCommandNumbers, type AclCommands } from './acl.ts';

/** Forgets deletions up to an index, so that the tombstones table does not grow for ever. */
export interface TombstoneRequest extends WriteRequest {
  readonly Op: 'reap';
  /** Tombstones with this index or a lower one go. */
  readonly ReapIndex: number;
}

/** Payload and result of every command, by name. */
export interface Commands extends AclCommands {
  Register: { request: RegisterRequest; result: null };
  Deregister: { request: DeregisterRequest; result: null };
  /** null for unconditional operations, else whether it was applied. */
  KVS: { request: KVSRequest; result: boolean | null };
  /** The ID of a new session. */
  Session: { request: SessionRequest; result: string | null };
  /** With errors in it nothing was applied. */
  Txn: { request: TxnRequest; result: TxnResponse };
  Tombstone: { request: TombstoneRequest; result: null };
  Coordinate: { request: readonly NodeCoordinate[]; result: null };
  PreparedQuery: { request: PreparedQueryRequest; result: null };
  /** With CAS whether it was written, else null. */
  Autopilot: { request: AutopilotSetConfigRequest; result: boolean | null };
  Intention: { request: IntentionRequest; result: null };
  /** Whether it was written; null for `set-config` without an index, the number of `increment-provider-serial`. */
  ConnectCA: { request: CARequest; result: boolean | number | null };
  /** The command's own index. */
  ConnectCALeaf: { request: CALeafRequest; result: number };
  /** Whether it was written; null for `delete`. */
  ConfigEntry: { request: ConfigEntryRequest; result: boolean | null };
  /** true for `upsert`, null for `delete`. */
  FederationState: { request: FederationStateRequest; result: boolean | null };
}

export type CommandName = keyof Commands;
export type CommandOf<T extends CommandName> = { readonly type: T; readonly request: Commands[T]['request'] };
export type Command = { [T in CommandName]: CommandOf<T> }[CommandName];
export type CommandResult<T extends CommandName = CommandName> = Commands[T]['result'];

/** Type numbers in the log. */
export const commandNumbers: Readonly<Record<CommandName, number>> = {
  ...aclCommandNumbers,
  Register: 0,
  Deregister: 1,
  KVS: 2,
  Session: 3,
  Tombstone: 5,
  Txn: 8,
  Coordinate: 6,
  PreparedQuery: 7,
  Autopilot: 9,
  Intention: 12,
  ConnectCA: 13,
  ConnectCALeaf: 21,
  ConfigEntry: 22,
  FederationState: 30,
};
