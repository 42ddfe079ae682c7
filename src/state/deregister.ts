/**
 * Deregister: a service with its checks, a check, or a node with everything. What is unknown is gone already
 * (reference/raft.md §4.2, §6.4).
 */
import type { DeregisterRequest } from '../model/index.ts';
import { deleteCheck, deleteNode, deleteService, type CatalogTables } from './catalog-writes.ts';
import type { Transaction } from './transaction.ts';

export function applyDeregister(tables: CatalogTables, tx: Transaction, request: DeregisterRequest): null {
  const entry = tables.catalog.node(request.Node);
  if (entry === undefined) return null;
  if (request.ServiceID) {
    const instance = entry.services.get(request.ServiceID.toLowerCase());
    if (instance !== undefined) deleteService(tables, tx, instance);
  } else if (request.CheckID) {
    const check = entry.checks.map.get(request.CheckID.toLowerCase());
    if (check !== undefined) deleteCheck(tables, tx, entry, check);
  } else {
    deleteNode(tables, tx, entry);
  }
  return null;
}
