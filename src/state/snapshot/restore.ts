/**
 * Makes a state from a snapshot, piece by piece beside the state in use, which is replaced in one step at the end. Rows
 * keep their indexes; what is not in a snapshot (who is bound to which check, which key is held by whom, look-ups by
 * name) follows from the rows (reference/raft.md §5.2).
 */
import { decodeShape, MsgpackError, MsgpackReader, MsgpackStream, type Shape } from '../../codec/index.ts';
import { CallError, emptyToken, type Node } from '../../model/index.ts';
import { writeCheck, writeNode, writeService } from '../catalog-writes.ts';
import { ChunkAssembler } from '../chunks.ts';
import { bootstrapRow } from '../acl.ts';
import { sameRecord } from '../same.ts';
import { writeSession } from '../session-writes.ts';
import { newTables, type Tables } from '../tables.ts';
import { Transaction } from '../transaction.ts';
import { Watches } from '../watches.ts';
import { header, recordNameOf, recordShapes, type RecordName, type RecordOf } from './records.ts';

/** Longest record, bytes: larger than any value that a log entry holds. */
const recordBytesMax = 1024 ** 3;

/** What was given is no snapshot, or not one that this version can take over. */
export class SnapshotError extends Error {
  constructor(problem: string, options?: { cause?: unknown }) {
    super(`cannot restore the snapshot: ${problem}`, options);
    this.name = 'SnapshotError';
  }
}

type Restorers = {
  readonly [N in RecordName]: (target: Target, value: RecordOf<N>) => void;
};

interface Target {
  readonly tables: Tables;
  readonly lastIndex: number;
  readonly chunks: ChunkAssembler;
  /** A write with an index of its own; nobody watches it. */
  readonly at: (index?: number) => Transaction;
}

const none: ReadonlySet<string> = new Set();

const restorers: Restorers = {
  register: restoreRegistration,
  key: ({ tables, at }, entry) => tables.kv.put(tables.rows, at(entry.ModifyIndex), Object.freeze(entry)),
  session: ({ tables, at }, session) => writeSession(tables, at(session.ModifyIndex), Object.freeze(session)),
  legacyAcl: ({ tables, at }, { ID, Name, Type, Rules, CreateIndex, ModifyIndex }) => {
    const token = { ...emptyToken, SecretID: ID, Description: Name, Type, Rules, CreateIndex, ModifyIndex };
    tables.acl.restoreToken(at(ModifyIndex), token);
  },
  tombstone: ({ tables, at }, { Key, ModifyIndex }) => tables.kv.bury(tables.rows, at(ModifyIndex), Key),
  coordinates: ({ tables, at, lastIndex }, batch) => {
    for (const one of batch) tables.coordinates.restore(at(lastIndex), one);
  },
  query: ({ tables, at }, query) => tables.queries.restore(at(query.ModifyIndex), query),
  autopilot: ({ tables }, config) => tables.autopilot.restore(config),
  legacyBootstrap: ({ tables, at }, { ModifyIndex }) => tables.rows.set(at(ModifyIndex), bootstrapRow, ModifyIndex),
  intention: ({ tables, at }, intention) => tables.intentions.restore(at(intention.ModifyIndex), intention),
  caRoot: ({ tables, at }, root) => tables.connectCa.restoreRoot(at(root.ModifyIndex), root),
  caProvider: ({ tables, at }, state) => tables.connectCa.restoreProvider(at(state.ModifyIndex), state),
  caConfig: ({ tables, at }, config) => tables.connectCa.restoreConfig(at(config.ModifyIndex), config),
  indexRow: ({ tables }, row) => tables.rows.restore(row),
  token: ({ tables, at }, token) => tables.acl.restoreToken(at(token.ModifyIndex), token),
  policy: ({ tables, at }, policy) => tables.acl.restorePolicy(at(policy.ModifyIndex), policy),
  configEntry: ({ tables, at }, { Entry }) => {
    const { CreateIndex = 0, ModifyIndex = 0 } = Entry;
    tables.configEntries.restore(at(ModifyIndex), { ...Entry, CreateIndex, ModifyIndex });
  },
  role: ({ tables, at }, role) => tables.acl.restoreRole(at(role.ModifyIndex), role),
  bindingRule: ({ tables, at }, rule) => tables.acl.restoreBindingRule(at(rule.ModifyIndex), rule),
  authMethod: ({ tables, at }, method) => tables.acl.restoreAuthMethod(at(method.ModifyIndex), method),
  chunks: ({ chunks }, { ChunkMap }) => chunks.restore(ChunkMap),
  federationState: ({ tables, at }, { State }) => {
    const { CreateIndex = 0, ModifyIndex = 0 } = State;
    tables.federationStates.restore(at(ModifyIndex), { ...State, CreateIndex, ModifyIndex });
  },
};

/** The node is repeated with each service and check, and written once. */
function restoreRegistration({ tables, at, lastIndex }: Target, given: RecordOf<'register'>): void {
  const { catalog } = tables;
  const node: Node = {
    ID: given.ID ?? '',
    Node: given.Node,
    Address: given.Address,
    Datacenter: given.Datacenter,
    TaggedAddresses: given.TaggedAddresses ?? null,
    Meta: given.NodeMeta ?? null,
    // Snapshots of old servers know no index of nodes.
    CreateIndex: given.CreateIndex || lastIndex,
    ModifyIndex: given.CreateIndex === 0 ? lastIndex : given.ModifyIndex,
  };
  const existing = catalog.node(node.Node)?.node;
  if (existing === undefined || !sameRecord(existing, node, none)) {
    writeNode(tables, at(lastIndex), Object.freeze(node));
  }
  const { Service } = given;
  if (Service) {
    writeService(tables, at(Service.ModifyIndex), node.Node, Object.freeze(Service));
  }
  for (const check of [...(given.Check ? [given.Check] : []), ...(given.Checks ?? [])]) {
    const entry = catalog.node(check.Node);
    if (entry === undefined) throw new CallError(`check ${check.CheckID} is on node ${check.Node}, which is not there`);
    if (check.ServiceID !== '' && entry.services.get(check.ServiceID.toLowerCase()) === undefined) {
      throw new CallError(`check ${check.CheckID} is of service ${check.ServiceID}, which is not there`);
    }
    writeCheck(tables, at(lastIndex), Object.freeze(check));
  }
}

/** What a whole snapshot has become. */
export interface Restored {
  readonly tables: Tables;
  /** The greatest index any row of the state has. */
  readonly lastIndex: number;
  readonly chunks: ChunkAssembler;
}

export class SnapshotRestore {
  readonly #stream = new MsgpackStream(recordBytesMax);
  readonly #watches = new Watches();
  readonly #tables = newTables();
  readonly #chunks = new ChunkAssembler();
  #lastIndex: number | undefined;
  /** Of the record whose value comes next. */
  #type: RecordName | undefined;

  constructor() {
    this.#tables.rows.restoring = true;
  }

  /** @throws SnapshotError */
  push(piece: Uint8Array): void {
    this.#stream.push(piece);
    try {
      for (let value = this.#stream.next(); value !== undefined; value = this.#stream.next()) this.#take(value);
    } catch (error) {
      if (!(error instanceof MsgpackError) && !(error instanceof CallError)) throw error;
      const where = this.#type === undefined ? '' : `${this.#type}: `;
      throw new SnapshotError(`${where}${error.message}`, { cause: error });
    }
  }

  /** @throws SnapshotError when the snapshot is cut off. */
  finish(): Restored {
    if (this.#lastIndex === undefined || this.#type !== undefined || this.#stream.bufferedBytes > 0) {
      throw new SnapshotError('it ends in the middle of a record; fetch it again');
    }
    this.#tables.rows.restoring = false;
    return { tables: this.#tables, lastIndex: this.#lastIndex, chunks: this.#chunks };
  }

  #take(value: Uint8Array): void {
    if (this.#lastIndex === undefined) {
      this.#lastIndex = decodeShape(header, value).LastIndex;
      return;
    }
    if (this.#type === undefined) {
      const number = new MsgpackReader(value).int();
      this.#type = recordNameOf(number);
      if (this.#type === undefined) throw new SnapshotError(`records of type ${number} are not known here`);
      return;
    }
    const target: Target = {
      tables: this.#tables,
      lastIndex: this.#lastIndex,
      chunks: this.#chunks,
      at: (index = 0) => new Transaction(index, this.#watches),
    };
    restore(target, this.#type, value);
    this.#type = undefined;
  }
}

function restore<N extends RecordName>(target: Target, type: N, bytes: Uint8Array): void {
  const shape = recordShapes[type].shape as Shape<unknown>;
  restorers[type](target, decodeShape(shape, bytes) as RecordOf<N>);
}
