/**
 * Writes the state as the peer's snapshot (reference/raft.md §5.2). What is written was there when it began, because
 * rows never change; so it may be written in pieces while commands go on being applied.
 */
import { encodeShape, MsgpackWriter, type Shape } from '../../codec/index.ts';
import type { ConfigEntry, Node } from '../../model/index.ts';
import type { ChunkAssembler } from '../chunks.ts';
import type { StateSnapshot } from '../store.ts';
import { header, type RecordName, type RecordOf, recordShapes, type SnapshotRecord } from './records.ts';

/** A piece ends with the record that makes it this long, bytes. */
const pieceBytes = 64 * 1024;

/** @param chunks commands that have come in part. */
export function* writeSnapshot(
  snapshot: StateSnapshot,
  chunks: ReturnType<ChunkAssembler['snapshot']> = new Map(),
): Generator<Uint8Array> {
  let writer = new MsgpackWriter();
  const LastIndex = Math.max(0, ...snapshot.indexRows.map(({ Value }) => Value));
  writer.encoded(encodeShape(header, { LastIndex }));
  for (const { type, value } of recordsOf(snapshot, chunks)) {
    const { number, shape } = recordShapes[type];
    writer.int(number);
    (shape as Shape<unknown>).write(writer, value);
    if (writer.length < pieceBytes) continue;
    yield writer.bytes();
    writer = new MsgpackWriter(pieceBytes);
  }
  if (writer.length > 0) yield writer.bytes();
}

/** All records in the peer's order, which puts what others refer to first and the index rows behind everything. */
function* recordsOf(
  snapshot: StateSnapshot,
  ChunkMap: ReturnType<ChunkAssembler['snapshot']>,
): Generator<SnapshotRecord> {
  yield* registrations(snapshot);
  yield* each(
    'coordinates',
    snapshot.coordinates.map((one) => [one]),
  );
  yield* each('session', snapshot.sessions);
  yield* each('token', snapshot.acl.tokens);
  yield* each('policy', snapshot.acl.policies);
  yield* each('role', snapshot.acl.roles);
  yield* each('bindingRule', snapshot.acl.bindingRules);
  // The peer writes the first only, and loses the others: that need not be copied (§8).
  yield* each('authMethod', snapshot.acl.authMethods);
  yield* each('key', snapshot.kv.entries());
  for (const { Key, ModifyIndex } of snapshot.kv.tombstones()) {
    const value = { LockIndex: 0, Key, Flags: 0n, Value: null, Session: '', CreateIndex: 0, ModifyIndex };
    yield { type: 'tombstone', value };
  }
  yield* each('query', snapshot.queries);
  if (snapshot.autopilot !== undefined) yield { type: 'autopilot', value: snapshot.autopilot };
  yield* each(
    'intention',
    snapshot.intentions.toSorted((a, b) => (a.ID < b.ID ? -1 : 1)),
  );
  yield* each('caRoot', snapshot.connectCa.roots);
  yield* each('caProvider', snapshot.connectCa.providers);
  if (snapshot.connectCa.config !== undefined) yield { type: 'caConfig', value: snapshot.connectCa.config };
  for (const entry of snapshot.configEntries) yield { type: 'configEntry', value: entryRequest(entry) };
  for (const State of snapshot.federationStates) {
    yield { type: 'federationState', value: { Datacenter: '', Op: 'upsert', State } };
  }
  yield* each('indexRow', snapshot.indexRows);
  yield { type: 'chunks', value: { ChunkMap } };
}

function* each<N extends RecordName>(type: N, values: Iterable<RecordOf<N>>): Generator<SnapshotRecord> {
  for (const value of values) yield { type, value } as SnapshotRecord;
}

/** A snapshot says nothing of how the entry came about. */
function entryRequest(Entry: ConfigEntry): RecordOf<'configEntry'> {
  return { Op: '' as RecordOf<'configEntry'>['Op'], Datacenter: '', Entry };
}

function* registrations({ nodes, nodeRows }: StateSnapshot): Generator<SnapshotRecord> {
  for (const [i, { Services, Checks }] of nodes.entries()) {
    const node = registration(nodeRows[i]!);
    yield { type: 'register', value: node };
    for (const Service of Services) yield { type: 'register', value: { ...node, Service } };
    for (const Check of Checks) yield { type: 'register', value: { ...node, Check } };
  }
}

function registration({ Meta, ...node }: Node): RecordOf<'register'> {
  return { ...node, NodeMeta: Meta };
}
