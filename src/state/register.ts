/**
 * Register: a node, perhaps a service on it, perhaps checks, in one piece. What is equal to the stored row is not
 * written and keeps its index, so that agents can repeat themselves for free (reference/raft.md §6.4).
 */
import {
  CallError,
  emptyCheckDefinition,
  emptyConnect,
  emptyProxy,
  metaProblem,
  serfHealthCheckId,
  weightsProblem,
  type HealthCheck,
  type Node,
  type NodeService,
  type RegisterRequest,
  type Unindexed,
} from '../model/index.ts';
import type { NodeEntry } from './catalog.ts';
import { type CatalogTables, deleteNode, writeCheck, writeNode, writeService } from './catalog-writes.ts';
import { sameRecord } from './same.ts';
import { endSessionsOfCheck } from './session-writes.ts';
import type { Transaction } from './transaction.ts';
import { isUuid } from './uuid.ts';

const nodeIgnored: ReadonlySet<string> = new Set(['CreateIndex', 'ModifyIndex']);
const serviceIgnored: ReadonlySet<string> = new Set(['CreateIndex', 'ModifyIndex', 'LocallyRegisteredAsSidecar']);
const checkIgnored: ReadonlySet<string> = new Set(['CreateIndex', 'ModifyIndex', 'Type']);

export function applyRegister(tables: CatalogTables, tx: Transaction, request: RegisterRequest): null {
  const { Node: name } = request;
  if (tables.catalog.node(name) === undefined || !request.SkipNodeUpdate) {
    const node: Unindexed<Node> = {
      ID: request.ID ?? '',
      Node: name,
      Address: request.Address,
      Datacenter: request.Datacenter,
      TaggedAddresses: request.TaggedAddresses ?? null,
      Meta: request.NodeMeta ?? null,
    };
    explained('failed inserting node: ', '', () => ensureNode(tables, tx, node));
  }
  const { Service } = request;
  if (Service) explained('failed inserting service: ', '', () => ensureService(tables, tx, name, Service));
  for (const check of [...(request.Check ? [request.Check] : []), ...(request.Checks ?? [])]) {
    if (check.Node !== name) throw new CallError(`check node "${check.Node}" does not match node "${name}"`);
    explained('failed inserting check: ', ` on node "${name}"`, () => ensureCheck(tables, tx, check));
  }
  return null;
}

/** Says which part of the registration failed. */
function explained(before: string, after: string, step: () => void): void {
  try {
    step();
  } catch (error) {
    throw error instanceof CallError ? new CallError(before + error.message + after, { cause: error }) : error;
  }
}

/**
 * Writes the node unless it says the same already.
 * @throws CallError when the name belongs to another node that is alive.
 */
export function ensureNode(tables: CatalogTables, tx: Transaction, wanted: Unindexed<Node>): void {
  const existing = tables.catalog.node(wanted.Node);
  if (existing !== undefined && sameRecord(existing.node, wanted, nodeIgnored)) return;
  const CreateIndex = claimIdentity(tables, tx, wanted, existing) ?? tx.index;
  writeNode(tables, tx, Object.freeze({ ...wanted, CreateIndex, ModifyIndex: tx.index }));
}

/**
 * Decides which stored node, if any, the wanted one is; renames and take-overs are settled here.
 * @returns the CreateIndex to go on with.
 * @throws CallError when the name belongs to another node that is alive.
 */
function claimIdentity(
  tables: CatalogTables,
  tx: Transaction,
  wanted: Unindexed<Node>,
  named: NodeEntry | undefined,
): number | undefined {
  if (wanted.ID === '') return named?.node.CreateIndex;
  if (!isUuid(wanted.ID)) throw new CallError('index error: UUID must be 36 characters');
  const known = tables.catalog.nodeById(wanted.ID);
  if (known?.node.Node === wanted.Node) return known.node.CreateIndex;
  const owner = named?.node;
  if (owner !== undefined && owner.ID.toLowerCase() !== wanted.ID.toLowerCase() && isAlive(named!)) {
    // A node that never said its id may be given one; a rename may not take its name.
    if (owner.ID !== '' || known !== undefined) {
      throw new CallError(
        `Error while renaming Node ID: "${wanted.ID}": Node name ${wanted.Node} ` +
          `is reserved by node ${owner.ID} with name ${owner.Node} (${owner.Address})`,
      );
    }
  }
  if (known === undefined) return owner?.CreateIndex;
  const { CreateIndex } = known.node;
  deleteNode(tables, tx, known);
  return CreateIndex;
}

/** Whether gossip holds the node for alive, or at least not for dead. */
function isAlive(entry: NodeEntry): boolean {
  const check = entry.checks.map.get(serfHealthCheckId.toLowerCase());
  return check !== undefined && check.Status !== 'critical';
}

/**
 * Writes the service on a node unless it says the same already.
 * @throws CallError when the node is unknown or the metadata is not valid.
 */
export function ensureService(
  tables: CatalogTables,
  tx: Transaction,
  node: string,
  service: Unindexed<NodeService>,
): void {
  const problem = metaProblem(service.Meta ?? {});
  if (problem !== null) throw new CallError(`Invalid Service Meta: ${problem}`);
  const entry = tables.catalog.node(node);
  if (entry === undefined) throw new CallError('Missing node registration');
  if (service.ID === '') throw new CallError('failed inserting service: object missing primary index');
  const wanted: Unindexed<NodeService> = {
    ...service,
    Kind: service.Kind ?? '',
    Tags: service.Tags ?? null,
    Address: service.Address ?? '',
    TaggedAddresses: service.TaggedAddresses ?? null,
    Meta: service.Meta ?? null,
    Port: service.Port ?? 0,
    Weights: service.Weights && weightsProblem(service.Weights) === null ? service.Weights : defaultWeights,
    EnableTagOverride: service.EnableTagOverride ?? false,
    Proxy: service.Proxy ?? emptyProxy,
    Connect: service.Connect ?? emptyConnect,
  };
  const before = entry.services.get(wanted.ID.toLowerCase())?.service;
  if (before !== undefined && sameRecord(before, wanted, serviceIgnored)) return;
  const CreateIndex = before?.CreateIndex ?? tx.index;
  writeService(tables, tx, node, Object.freeze({ ...wanted, CreateIndex, ModifyIndex: tx.index }));
}

/** In place of weights that are not given or not valid. */
const defaultWeights = Object.freeze({ Passing: 1, Warning: 1 });

/**
 * Writes the check unless it says the same already; a critical one ends the sessions bound to it in any case.
 * @throws CallError when its node or service is unknown.
 */
export function ensureCheck(tables: CatalogTables, tx: Transaction, check: Unindexed<HealthCheck>): void {
  const entry = tables.catalog.node(check.Node);
  if (entry === undefined) throw new CallError('Missing node registration');
  const ServiceID = check.ServiceID ?? '';
  const service = ServiceID === '' ? undefined : entry.services.get(ServiceID.toLowerCase())?.service;
  if (ServiceID !== '' && service === undefined) throw new CallError('Missing service registration');
  if (check.CheckID === '') throw new CallError('failed inserting check: object missing primary index');
  const wanted: Unindexed<HealthCheck> = {
    ...check,
    Name: check.Name ?? '',
    Status: check.Status || 'critical',
    Notes: check.Notes ?? '',
    Output: check.Output ?? '',
    ServiceID,
    ServiceName: service?.Service ?? check.ServiceName ?? '',
    ServiceTags: service === undefined ? (check.ServiceTags ?? null) : service.Tags,
    Type: check.Type ?? '',
    Definition: check.Definition ?? emptyCheckDefinition,
  };
  const before = entry.checks.map.get(wanted.CheckID.toLowerCase());
  if (before !== undefined && sameRecord(before, wanted, checkIgnored)) {
    // The peer moves the table's row even so, visible in every answer that carries it (raft.md §8).
    tables.rows.move(tx, 'checks');
  } else {
    const CreateIndex = before?.CreateIndex ?? tx.index;
    writeCheck(tables, tx, Object.freeze({ ...wanted, CreateIndex, ModifyIndex: tx.index }));
  }
  if (wanted.Status === 'critical') endSessionsOfCheck(tables, tx, check.Node, check.CheckID);
}
