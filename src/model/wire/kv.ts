/** Keys, sessions and coordinates on the wire (reference/server-rpc.md §4.5-§4.7). */
import { opt, record, shapes, text } from '../../codec/index.ts';
import type { KeyListRequest, KeyRequest, KVSRequest } from '../calls.ts';
import type { Coordinate, CoordinateUpdateRequest, DatacenterMap, NodeCoordinate } from '../coordinate.ts';
import type { DirEntry, KvOp } from '../kv.ts';
import type {
  Session,
  SessionBehavior,
  SessionRequest,
  SessionServiceCheck,
  SessionSpecificRequest,
} from '../session.ts';
import { dcFields, givenIndexFields, queryOptionsFields, raftIndexFields, writeFields } from './parts.ts';

const { byteString, bytes, durationNs, float64, fullList, index, list, nullable, str, uint64 } = shapes;

export const dirEntry = record<DirEntry>({
  LockIndex: index,
  Key: byteString,
  Flags: uint64,
  Value: bytes,
  Session: str,
  ...raftIndexFields,
});
export const givenDirEntry = record<KVSRequest['DirEnt']>({
  LockIndex: opt(index),
  Key: byteString,
  Flags: opt(uint64),
  Value: opt(bytes),
  Session: opt(str),
  ...givenIndexFields,
});
export const kvsRequest = record<KVSRequest>({
  Datacenter: str,
  Op: text<KvOp>(),
  DirEnt: givenDirEntry,
  Token: writeFields.Token,
});
export const keyRequest = record<KeyRequest>({ Datacenter: str, Key: byteString, ...queryOptionsFields });
export const keyListRequest = record<KeyListRequest>({
  Datacenter: str,
  Prefix: byteString,
  Seperator: byteString,
  ...queryOptionsFields,
});

const serviceCheck = record<SessionServiceCheck>({ ID: str, Namespace: str });
export const session = record<Session>({
  ID: str,
  Name: str,
  Node: str,
  LockDelay: durationNs,
  Behavior: text<SessionBehavior>(),
  TTL: str,
  NodeChecks: list(str),
  ServiceChecks: list(serviceCheck),
  Checks: list(str),
  ...raftIndexFields,
});
export const givenSession = record<SessionRequest['Session']>({
  ID: opt(str),
  Name: opt(str),
  Node: opt(str),
  LockDelay: opt(durationNs),
  Behavior: opt(str),
  TTL: opt(str),
  NodeChecks: opt(list(str)),
  ServiceChecks: opt(list(serviceCheck)),
  Checks: opt(list(str)),
  ...givenIndexFields,
});
export const sessionRequest = record<SessionRequest>({
  Datacenter: str,
  Op: text<SessionRequest['Op']>(),
  Session: givenSession,
  Token: writeFields.Token,
});
export const sessionSpecific = record<SessionSpecificRequest>({
  Datacenter: dcFields.Datacenter,
  SessionID: str,
  Session: opt(str),
  ...queryOptionsFields,
});

export const coordinate = record<Coordinate>({
  Vec: fullList(float64),
  Error: float64,
  Adjustment: float64,
  Height: float64,
});
/** A nil coordinate is none: it has no dimension, so it goes nowhere. */
export const nodeCoordinate = record<NodeCoordinate>({ Node: str, Segment: str, Coord: coordinate });
export const coordinateUpdate = record<CoordinateUpdateRequest>({
  Datacenter: str,
  Node: str,
  Segment: opt(str),
  Coord: nullable(coordinate),
  Token: writeFields.Token,
});
export const datacenterMap = record<DatacenterMap>({
  Datacenter: str,
  AreaID: str,
  Coordinates: fullList(nodeCoordinate),
});
