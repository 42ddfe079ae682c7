/**
 * A snapshot is a header and then one record after the other: a byte that says what it is, and its msgpack. Bytes up to
 * 127 are msgpack numbers themselves, so the whole is a row of values (reference/raft.md §5.2).
 */
import { opt, record, type Shape, shapes } from '../../codec/index.ts';
import type { HealthCheck, NodeService, RaftIndex, RegisterRequest } from '../../model/index.ts';
import {
  aclAuthMethod,
  aclBindingRule,
  aclPolicy,
  aclRole,
  aclToken,
  autopilotConfig,
  caConfiguration,
  caProviderState,
  caRoot,
  configEntryRequest,
  dirEntry,
  federationStateRequest,
  healthCheck,
  intention,
  legacyAcl,
  nodeCoordinate,
  nodeService,
  preparedQuery,
  registerFields,
  session,
} from '../../model/wire/index.ts';
import type { WaitingChunk } from '../chunks.ts';
import type { IndexRow } from '../index-rows.ts';

const { bytes, fullList, index, list, nullable, str, uint64 } = shapes;

export interface SnapshotHeader {
  /** The greatest of the index rows; not an index of the log. */
  readonly LastIndex: number;
}
export const header = record<SnapshotHeader>({ LastIndex: index });

/** A node alone, or with one service, or with one check. */
export type SnapshotRegister = Omit<RegisterRequest, 'Service' | 'Check' | 'Checks'> &
  RaftIndex & {
    readonly Service?: NodeService | null;
    readonly Check?: HealthCheck | null;
    readonly Checks?: readonly HealthCheck[] | null;
  };

const waitingChunk = record<WaitingChunk>({
  OpNum: uint64,
  SequenceNum: index,
  NumChunks: index,
  Term: index,
  Data: bytes,
});
const waitingList = list(nullable(waitingChunk));
type WaitingMap = ReadonlyMap<bigint, readonly (WaitingChunk | null)[]>;
/** Keys are numbers here and nowhere else. */
const waitingMap: Shape<WaitingMap> = {
  write: (writer, value) => {
    writer.mapHeader(value.size);
    for (const [operation, chunks] of value) {
      writer.int(operation);
      waitingList.write(writer, chunks);
    }
  },
  read: (reader) => {
    const waiting = new Map<bigint, readonly (WaitingChunk | null)[]>();
    for (let rest = reader.mapHeader() ?? 0; rest > 0; rest--) {
      waiting.set(reader.uint64(), waitingList.read(reader) ?? []);
    }
    return waiting;
  },
  zero: new Map(),
};

/** Everything that a snapshot may hold, by the number in front of it. */
export const recordShapes = {
  register: {
    number: 0,
    shape: record<SnapshotRegister>({
      ...registerFields,
      Service: opt(nullable(nodeService)),
      Check: opt(nullable(healthCheck)),
      Checks: opt(list(healthCheck)),
      CreateIndex: index,
      ModifyIndex: index,
    }),
  },
  key: { number: 2, shape: dirEntry },
  session: { number: 3, shape: session },
  /** Only read: of servers that had not upgraded their tokens. */
  legacyAcl: { number: 4, shape: legacyAcl },
  /** A key that is no more: only Key and ModifyIndex count. */
  tombstone: { number: 5, shape: dirEntry },
  coordinates: { number: 6, shape: fullList(nodeCoordinate) },
  query: { number: 7, shape: preparedQuery },
  autopilot: { number: 9, shape: autopilotConfig },
  /** Only read: when the tokens were bootstrapped, of old servers. */
  legacyBootstrap: { number: 11, shape: record<{ readonly ModifyIndex: number }>({ ModifyIndex: index }) },
  intention: { number: 12, shape: intention },
  caRoot: { number: 13, shape: caRoot },
  caProvider: { number: 14, shape: caProviderState },
  caConfig: { number: 15, shape: caConfiguration },
  indexRow: { number: 16, shape: record<IndexRow>({ Key: str, Value: index }) },
  token: { number: 17, shape: aclToken },
  policy: { number: 19, shape: aclPolicy },
  configEntry: { number: 22, shape: configEntryRequest },
  role: { number: 23, shape: aclRole },
  bindingRule: { number: 25, shape: aclBindingRule },
  authMethod: { number: 27, shape: aclAuthMethod },
  chunks: {
    number: 29,
    shape: record<{ readonly ChunkMap: WaitingMap }>({ ChunkMap: waitingMap }),
  },
  federationState: { number: 30, shape: federationStateRequest },
} as const;

export type RecordName = keyof typeof recordShapes;
export type RecordOf<N extends RecordName> = (typeof recordShapes)[N]['shape'] extends Shape<infer T> ? T : never;
export type SnapshotRecord = {
  readonly [N in RecordName]: { readonly type: N; readonly value: RecordOf<N> };
}[RecordName];

const byNumber: ReadonlyMap<number, RecordName> = new Map(
  (Object.keys(recordShapes) as RecordName[]).map((name) => [recordShapes[name].number, name]),
);

export function recordNameOf(number: number): RecordName | undefined {
  return byNumber.get(number);
}
