/**
 * Transactions: up to a request's size of operations on keys, nodes, services and checks that are applied together or
 * not at all (reference/server-rpc.md §4.8).
 */
import type { HealthCheck, Node, NodeService, RaftIndex } from './catalog.ts';
import type { KVSRequest } from './calls.ts';
import type { IntentionRequest } from './intention.ts';
import type { DirEntry } from './kv.ts';
import type { DCRequest, QueryMeta, WriteRequest } from './query.ts';
import type { Session } from './session.ts';

export const txnKvWriteVerbs = ['set', 'delete', 'delete-cas', 'delete-tree', 'cas', 'lock', 'unlock'] as const;
export const txnKvReadVerbs = ['get', 'get-tree', 'check-session', 'check-index', 'check-not-exists'] as const;
/** Verbs of nodes, services and checks. */
export const txnCatalogVerbs = ['get', 'set', 'cas', 'delete', 'delete-cas'] as const;

/** A record as an operation gives it: ModifyIndex is what `cas` and `delete-cas` compare, 0 = must not exist. */
type Given<T extends RaftIndex> = Omit<T, keyof RaftIndex> & Partial<RaftIndex>;

/** Verbs come from outside and may be any text. */
export interface TxnKVOp {
  readonly Verb: string;
  readonly DirEnt: KVSRequest['DirEnt'];
}

export interface TxnNodeOp {
  readonly Verb: string;
  readonly Node: Given<Node>;
}

export interface TxnServiceOp {
  readonly Verb: string;
  /** Name of the node it is on. */
  readonly Node: string;
  readonly Service: Given<NodeService>;
}

export interface TxnCheckOp {
  readonly Verb: string;
  readonly Check: Given<HealthCheck>;
}

export interface TxnSessionOp {
  /** `delete`. */
  readonly Verb: string;
  readonly Session: Partial<Session>;
}

/** One of them is given. */
export interface TxnOp {
  /** Only servers send it; HTTP has no way to. */
  readonly Intention?: IntentionRequest | null;
  readonly KV?: TxnKVOp | null;
  readonly Node?: TxnNodeOp | null;
  readonly Service?: TxnServiceOp | null;
  readonly Check?: TxnCheckOp | null;
  readonly Session?: TxnSessionOp | null;
}

export interface TxnRequest extends WriteRequest {
  readonly Ops: readonly TxnOp[] | null;
}

export interface TxnReadRequest extends DCRequest {
  readonly Ops: readonly TxnOp[] | null;
}

export interface TxnError {
  /** Position of the operation, from 0. */
  readonly OpIndex: number;
  readonly What: string;
}

/** What one operation returned; reads of a tree return several, deletions none. */
export type TxnResult =
  | { readonly KV: DirEntry }
  | { readonly Node: Node }
  | { readonly Service: NodeService }
  | { readonly Check: HealthCheck };

/** One of the lists is null: nothing was applied, or nothing failed. */
export interface TxnResponse {
  readonly Results: readonly TxnResult[] | null;
  readonly Errors: readonly TxnError[] | null;
}

export type TxnReadResponse = TxnResponse & QueryMeta;

/** Whether the operation leaves everything as it is. What is not known to write counts as a read for keys only. */
export function isTxnRead(op: TxnOp): boolean {
  if (op.KV) return !(txnKvWriteVerbs as readonly string[]).includes(op.KV.Verb);
  const other = op.Node ?? op.Service ?? op.Check;
  if (other) return other.Verb === 'get';
  return !op.Session;
}
