/**
 * Txn: operations in order, each seeing what those before it wrote, all at one index. Every operation is tried, so that
 * the answer names everything that is wrong; if anything is, nothing stays (reference/raft.md §6.7).
 */
import { byteStringToUtf8, goQuote } from '../lib/index.ts';
import {
  CallError,
  type DirEntry,
  type HealthCheck,
  type Node,
  type NodeService,
  type TxnCheckOp,
  type TxnError,
  type TxnKVOp,
  type TxnNodeOp,
  type TxnOp,
  type TxnRequest,
  type TxnResponse,
  type TxnResult,
  type TxnServiceOp,
  type TxnSessionOp,
} from '../model/index.ts';
import { type CatalogTables, deleteCheck, deleteNode, deleteService } from './catalog-writes.ts';
import type { IntentionTable } from './intention.ts';
import { compareAndDelete, compareAndSet, deleteKey, deleteTree, lock, set, unlock } from './kvs.ts';
import { ensureCheck, ensureNode, ensureService } from './register.ts';
import { removeSessionRow } from './session-writes.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

interface TxnTables extends CatalogTables {
  readonly intentions: IntentionTable;
}

export function applyTxn(tables: TxnTables, tx: Transaction, request: TxnRequest): TxnResponse {
  const response = runTxn(tables, tx, request.Ops ?? []);
  if (response.Errors !== null) tx.rollback();
  return response;
}

/** Runs the operations without taking anything back. */
export function runTxn(tables: TxnTables, tx: Transaction, ops: readonly TxnOp[]): TxnResponse {
  const results: TxnResult[] = [];
  const errors: TxnError[] = [];
  for (const [OpIndex, op] of ops.entries()) {
    try {
      results.push(...runOp(tables, tx, op));
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      errors.push({ OpIndex, What: error.message });
    }
  }
  return errors.length > 0 ? { Results: null, Errors: errors } : { Results: results, Errors: null };
}

function runOp(tables: TxnTables, tx: Transaction, op: TxnOp): readonly TxnResult[] {
  if (op.KV) return runKv(tables, tx, op.KV);
  if (op.Node) return runNode(tables, tx, op.Node).map((node) => ({ Node: node }));
  if (op.Service) return runService(tables, tx, op.Service).map((service) => ({ Service: service }));
  if (op.Check) return runCheck(tables, tx, op.Check).map((check) => ({ Check: check }));
  if (op.Session) return runSession(tables, tx, op.Session);
  if (op.Intention) {
    tables.intentions.apply(tx, op.Intention);
    return [];
  }
  throw new CallError('no operation specified');
}

function runKv(tables: CatalogTables, tx: Transaction, { Verb, DirEnt }: TxnKVOp): readonly TxnResult[] {
  const { Key } = DirEnt;
  const key = goQuote(byteStringToUtf8(Key));
  const found = tables.kv.get(Key);
  /** The written row; its value is the caller's own and stays away. */
  const written = (): readonly TxnResult[] => [withoutValue(tables.kv.get(Key)!)];
  switch (Verb) {
    case 'set':
      set(tables, tx, DirEnt);
      return written();
    case 'cas':
      demand(compareAndSet(tables, tx, DirEnt), `failed to set key ${key}, index is stale`);
      return written();
    case 'delete':
      deleteKey(tables, tx, Key);
      return [];
    case 'delete-cas':
      demand(compareAndDelete(tables, tx, DirEnt), `failed to delete key ${key}, index is stale`);
      return [];
    case 'delete-tree':
      deleteTree(tables, tx, Key);
      return [];
    case 'lock':
      demand(lock(tables, tx, DirEnt), `failed to lock key ${key}, lock is already held`);
      return written();
    case 'unlock':
      demand(unlock(tables, tx, DirEnt), `failed to unlock key ${key}, lock isn't held, or is held by another session`);
      return written();
    case 'get':
      if (found === undefined) throw new CallError(`key ${key} doesn't exist`);
      return [{ KV: found }];
    case 'get-tree': {
      const results: TxnResult[] = [];
      tables.kv.forPrefix(Key, (entry) => {
        results.push({ KV: entry });
      });
      return results;
    }
    case 'check-session': {
      if (found === undefined) throw new CallError(`failed to check session, key ${key} doesn't exist`);
      const wanted = DirEnt.Session ?? '';
      demand(
        found.Session === wanted,
        `failed session check for key ${key}, current session ${goQuote(found.Session)} != ${goQuote(wanted)}`,
      );
      return [withoutValue(found)];
    }
    case 'check-index': {
      if (found === undefined) throw new CallError(`failed to check index, key ${key} doesn't exist`);
      const wanted = DirEnt.ModifyIndex ?? 0;
      demand(
        found.ModifyIndex === wanted,
        `failed index check for key ${key}, current modify index ${found.ModifyIndex} != ${wanted}`,
      );
      return [withoutValue(found)];
    }
    case 'check-not-exists':
      demand(found === undefined, `key ${key} exists`);
      return [];
    default:
      throw new CallError(`unknown KV verb ${goQuote(Verb)}`);
  }
}

function withoutValue(entry: DirEntry): TxnResult {
  return { KV: entry.Value === null ? entry : Object.freeze({ ...entry, Value: null }) };
}

function runNode(tables: CatalogTables, tx: Transaction, { Verb, Node: wanted }: TxnNodeOp): readonly Node[] {
  const { catalog } = tables;
  const name = goQuote(wanted.Node);
  const named = catalog.node(wanted.Node);
  const given = (): Node | undefined => {
    if (wanted.ID === '') return catalog.node(wanted.Node)?.node;
    if (!isUuid(wanted.ID)) {
      throw new CallError(
        `node lookup by ID failed: index error: UUID must be 36 characters, got ${goQuote(wanted.ID)}`,
      );
    }
    return catalog.nodeById(wanted.ID)?.node;
  };
  const stored = (): readonly Node[] => [given()!];
  switch (Verb) {
    case 'get': {
      const node = given();
      if (node === undefined) throw new CallError(`node ${name} doesn't exist`);
      return [node];
    }
    case 'cas':
      demand(fits(named?.node, wanted.ModifyIndex), `failed to set node ${name}, index is stale`);
      ensureNode(tables, tx, unindexed(wanted));
      return stored();
    case 'set':
      ensureNode(tables, tx, unindexed(wanted));
      return stored();
    case 'delete-cas':
      demand(isExactly(named?.node, wanted.ModifyIndex), `failed to delete node ${name}, index is stale`);
      deleteNode(tables, tx, named!);
      return [];
    case 'delete':
      if (named !== undefined) deleteNode(tables, tx, named);
      return [];
    default:
      throw new CallError(`unknown Node verb ${goQuote(Verb)}`);
  }
}

function runService(tables: CatalogTables, tx: Transaction, op: TxnServiceOp): readonly NodeService[] {
  const { Verb, Service: wanted } = op;
  const named = tables.catalog.node(op.Node)?.services.get(wanted.ID.toLowerCase());
  const place = `service ${goQuote(wanted.ID)} on node ${goQuote(op.Node)}`;
  const stored = (): readonly NodeService[] => [
    tables.catalog.node(op.Node)!.services.get(wanted.ID.toLowerCase())!.service,
  ];
  switch (Verb) {
    case 'get':
      if (named === undefined) throw new CallError(`${place} doesn't exist`);
      return [named.service];
    case 'cas':
      demand(fits(named?.service, wanted.ModifyIndex), `failed to set ${place}, index is stale`);
      ensureService(tables, tx, op.Node, unindexed(wanted));
      return stored();
    case 'set':
      ensureService(tables, tx, op.Node, unindexed(wanted));
      return stored();
    case 'delete-cas':
      demand(isExactly(named?.service, wanted.ModifyIndex), `failed to delete ${place}, index is stale`);
      deleteService(tables, tx, named!);
      return [];
    case 'delete':
      if (named !== undefined) deleteService(tables, tx, named);
      return [];
    default:
      throw new CallError(`unknown Service verb ${goQuote(Verb)}`);
  }
}

function runCheck(tables: CatalogTables, tx: Transaction, { Verb, Check: wanted }: TxnCheckOp): readonly HealthCheck[] {
  const entry = tables.catalog.node(wanted.Node);
  const id = wanted.CheckID.toLowerCase();
  const named = entry?.checks.map.get(id);
  const place = `check ${goQuote(wanted.CheckID)} on node ${goQuote(wanted.Node)}`;
  const stored = (): readonly HealthCheck[] => [tables.catalog.node(wanted.Node)!.checks.map.get(id)!];
  switch (Verb) {
    case 'get':
      if (named === undefined) throw new CallError(`${place} doesn't exist`);
      return [named];
    case 'cas':
      demand(fits(named, wanted.ModifyIndex), `failed to set ${place}, index is stale`);
      ensureCheck(tables, tx, unindexed(wanted));
      return stored();
    case 'set':
      ensureCheck(tables, tx, unindexed(wanted));
      return stored();
    case 'delete-cas':
      demand(isExactly(named, wanted.ModifyIndex), `failed to delete ${place}, index is stale`);
      deleteCheck(tables, tx, entry!, named!);
      return [];
    case 'delete':
      if (named !== undefined) deleteCheck(tables, tx, entry!, named);
      return [];
    default:
      throw new CallError(`unknown Check verb ${goQuote(Verb)}`);
  }
}

/** The peer deletes the row and nothing else: locks stay, in the name of a session that is gone. */
function runSession(tables: CatalogTables, tx: Transaction, { Verb, Session }: TxnSessionOp): readonly TxnResult[] {
  if (Verb !== 'delete') throw new CallError(`unknown Session verb ${goQuote(Verb)}`);
  const session = tables.sessions.get(Session.ID ?? '');
  if (session === undefined) throw new CallError('failed deleting session: not found');
  removeSessionRow(tables, tx, session);
  return [];
}

interface Indexed {
  readonly ModifyIndex: number;
}

/** Whether a compare-and-set may write: 0 means only where nothing is. */
function fits(stored: Indexed | undefined, index = 0): boolean {
  return (stored?.ModifyIndex ?? 0) === index;
}

/** Whether a compare-and-delete may delete; unlike a key, a row that is not there does not count as deleted. */
function isExactly(stored: Indexed | undefined, index = 0): boolean {
  return stored !== undefined && stored.ModifyIndex === index;
}

function demand(holds: boolean, text: string): void {
  if (!holds) throw new CallError(text);
}

/** Without the indexes of the operation, which are not those of the row. */
function unindexed<T extends { readonly CreateIndex?: number; readonly ModifyIndex?: number }>(
  given: T,
): Omit<T, 'CreateIndex' | 'ModifyIndex'> {
  const { CreateIndex: _, ModifyIndex: __, ...record } = given;
  return record;
}
