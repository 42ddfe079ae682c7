/**
 * Single writes to the catalog's tables inside a transaction: the row, the index rows it moves and the watchers it
 * wakes (reference/raft.md §6.2). Rules about whether to write at all are in the commands.
 */
import type { HealthCheck, Node, NodeService } from '../model/index.ts';
import { connectTargetOf, type Catalog, type Instance, type NodeEntry } from './catalog.ts';
import type { CoordinateTable } from './coordinates.ts';
import { type IndexRows, kindRow, serviceLastExtinction, serviceRow } from './index-rows.ts';
import { endSessionsOfCheck, endSessionsOfNode, type SessionTables } from './session-writes.ts';
import type { Transaction } from './transaction.ts';
import { watchKeys } from './watches.ts';

export interface CatalogTables extends SessionTables {
  readonly catalog: Catalog;
  readonly coordinates: CoordinateTable;
}

export function writeNode({ catalog, rows }: CatalogTables, tx: Transaction, node: Node): void {
  const existing = catalog.node(node.Node);
  const before = existing?.node;
  const entry = catalog.putNode(node);
  tx.onRollback(() => {
    if (before === undefined) catalog.dropNode(entry);
    else catalog.putNode(before);
  });
  rows.move(tx, 'nodes');
  tx.touch(watchKeys.nodes);
  tx.touch(watchKeys.node(node.Node));
  moveServicesOf(rows, tx, entry);
}

/** Deletes the node with its services, checks, coordinates and sessions. */
export function deleteNode(tables: CatalogTables, tx: Transaction, entry: NodeEntry): void {
  for (const instance of entry.services.values()) deleteService(tables, tx, instance);
  for (const check of entry.checks.answer) deleteCheck(tables, tx, entry, check);
  const { node } = entry;
  tables.coordinates.deleteOfNode(tx, node.Node);
  tables.catalog.dropNode(entry);
  tx.onRollback(() => {
    tables.catalog.putNode(node);
  });
  tables.rows.move(tx, 'nodes');
  tx.touch(watchKeys.nodes);
  tx.touch(watchKeys.node(node.Node));
  endSessionsOfNode(tables, tx, node.Node);
}

export function writeService(
  { catalog, rows }: CatalogTables,
  tx: Transaction,
  nodeName: string,
  service: NodeService,
): void {
  const entry = catalog.node(nodeName)!;
  const before = entry.services.get(service.ID.toLowerCase());
  catalog.putService(entry, service);
  tx.onRollback(() => {
    if (before === undefined) catalog.dropService(catalog.node(nodeName)!.services.get(service.ID.toLowerCase())!);
    else catalog.putService(catalog.node(nodeName)!, before.service);
  });
  rows.move(tx, 'services');
  moveService(rows, tx, service);
  // An instance that changed its name or destination leaves another answer: who watches that one must see it.
  if (before !== undefined) touchService(tx, before.service);
  touchInstance(tx, entry, service);
}

/** Deletes the service with its checks. The last instance of a name takes the name's row with it. */
export function deleteService(tables: CatalogTables, tx: Transaction, instance: Instance): void {
  const { catalog, rows } = tables;
  const { on: entry, service } = instance;
  for (const check of instance.checks.answer) deleteCheck(tables, tx, entry, check);
  const nodeName = entry.node.Node;
  catalog.dropService(instance);
  tx.onRollback(() => catalog.putService(catalog.node(nodeName)!, service));
  // Also without any check: visible in every answer that carries the table's index.
  rows.move(tx, 'checks');
  rows.move(tx, 'services');
  rows.move(tx, kindRow(service.Kind));
  if (catalog.service(service.Service) === undefined) {
    rows.delete(tx, serviceRow(service.Service));
    rows.move(tx, serviceLastExtinction);
  } else {
    rows.move(tx, serviceRow(service.Service));
  }
  touchInstance(tx, entry, service);
}

/** Writes the check. What becomes of sessions bound to a critical one is the command's business. */
export function writeCheck({ catalog, rows }: CatalogTables, tx: Transaction, check: HealthCheck): void {
  const entry = catalog.node(check.Node)!;
  const id = check.CheckID.toLowerCase();
  const before = entry.checks.map.get(id);
  catalog.putCheck(entry, check);
  tx.onRollback(() => {
    if (before === undefined) catalog.dropCheck(catalog.node(check.Node)!, check);
    else catalog.putCheck(catalog.node(check.Node)!, before);
  });
  rows.move(tx, 'checks');
  moveServicesOfCheck(rows, tx, entry, check);
  if (before !== undefined) touchCheck(tx, entry, before);
  touchCheck(tx, entry, check);
}

/** Deletes the check with the sessions bound to it. */
export function deleteCheck(tables: CatalogTables, tx: Transaction, entry: NodeEntry, check: HealthCheck): void {
  const { catalog, rows } = tables;
  catalog.dropCheck(entry, check);
  const nodeName = entry.node.Node;
  tx.onRollback(() => catalog.putCheck(catalog.node(nodeName)!, check));
  rows.move(tx, 'checks');
  moveServicesOfCheck(rows, tx, entry, check);
  if (check.ServiceID === '') rows.move(tx, 'services');
  touchCheck(tx, entry, check);
  endSessionsOfCheck(tables, tx, nodeName, check.CheckID);
}

function moveServicesOfCheck(rows: IndexRows, tx: Transaction, entry: NodeEntry, check: HealthCheck): void {
  if (check.ServiceID === '') {
    moveServicesOf(rows, tx, entry);
    return;
  }
  const instance = entry.services.get(check.ServiceID.toLowerCase());
  if (instance !== undefined) moveService(rows, tx, instance.service);
}

/** What a node shows, its columns and its own checks, shows in every service on it. */
function moveServicesOf(rows: IndexRows, tx: Transaction, entry: NodeEntry): void {
  entry.services.forEach(({ service }) => {
    moveService(rows, tx, service);
    tx.touch(watchKeys.service(service.Service));
  });
}

function moveService(rows: IndexRows, tx: Transaction, service: NodeService): void {
  rows.move(tx, serviceRow(service.Service));
  rows.move(tx, kindRow(service.Kind));
}

function touchInstance(tx: Transaction, entry: NodeEntry, service: NodeService): void {
  tx.touch(watchKeys.services);
  tx.touch(watchKeys.node(entry.key));
  touchService(tx, service);
}

function touchService(tx: Transaction, service: NodeService): void {
  tx.touch(watchKeys.service(service.Service));
  const target = connectTargetOf(service);
  if (target !== undefined) tx.touch(watchKeys.connect(target));
}

function touchCheck(tx: Transaction, entry: NodeEntry, check: HealthCheck): void {
  tx.touch(watchKeys.checks);
  tx.touch(watchKeys.checksOfNode(entry.key));
  tx.touch(watchKeys.checksInState(check.Status));
  if (check.ServiceName !== '') tx.touch(watchKeys.checksOfService(check.ServiceName));
  if (check.ServiceID === '') {
    entry.services.forEach(({ service }) => tx.touch(watchKeys.service(service.Service)));
  } else {
    const instance = entry.services.get(check.ServiceID.toLowerCase());
    if (instance !== undefined) tx.touch(watchKeys.service(instance.service.Service));
  }
}
