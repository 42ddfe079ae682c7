/**
 * The parts that requests and replies share (reference/server-rpc.md §3.1). Fields stand in Go's order of declaration;
 * what the wire has and memory has not is in the second table of a `record`.
 */
import { converted, opt, record, type Shape, shapes } from '../../codec/index.ts';
import type {
  ChecksInStateRequest,
  DCRequest,
  DCSpecificRequest,
  NodeSpecificRequest,
  QueryMeta,
  QueryOptions,
  QuerySource,
  ServiceSpecificRequest,
  WriteRequest,
} from '../query.ts';

const { bool, durationNs, index, list, map, str } = shapes;

/** A list that is never null in memory, and nil on the wire when it is empty: the peer's lists begin so. */
export function rows<T>(item: Shape<T>): Shape<readonly T[]> {
  return converted(list(item), { to: (items) => (items.length === 0 ? null : items), from: (items) => items ?? [] });
}

/** A list that is the whole of a reply: the peers make it before the call, so it is never nil, and cannot read nil. */
export const replyList = shapes.fullList;

export const raftIndexFields = { CreateIndex: index, ModifyIndex: index };
/** Of records in requests, which need not give them. */
export const givenIndexFields = { CreateIndex: opt(index), ModifyIndex: opt(index) };

export const queryOptionsFields = {
  Token: opt(str),
  MinQueryIndex: opt(index),
  MaxQueryTime: opt(durationNs),
  AllowStale: opt(bool),
  RequireConsistent: opt(bool),
  UseCache: opt(bool),
  MaxStaleDuration: opt(durationNs),
  MaxAge: opt(durationNs),
  MustRevalidate: opt(bool),
  StaleIfError: opt(durationNs),
  Filter: opt(str),
};
export const queryOptions = record<QueryOptions>(queryOptionsFields);

/** Servers of this version leave the level empty; the agent knows it. */
export const metaOnWire = { ConsistencyLevel: str };
export const queryMetaFields = { Index: index, LastContact: durationNs, KnownLeader: bool };
export const queryMeta = record<QueryMeta>(queryMetaFields, metaOnWire);

export const writeFields = { Datacenter: str, Token: opt(str) };
export const writeRequest = record<WriteRequest>(writeFields);

export const querySource = record<QuerySource>({ Datacenter: str, Segment: opt(str), Node: str, Ip: opt(str) });

export const dcFields = { Datacenter: str, ...queryOptionsFields };
export const dcRequest = record<DCRequest>(dcFields);
export const dcSpecificFields = {
  Datacenter: str,
  NodeMetaFilters: opt(map(str)),
  Source: opt(querySource),
  ...queryOptionsFields,
};
export const dcSpecific = record<DCSpecificRequest>(dcSpecificFields);
export const nodeSpecific = record<NodeSpecificRequest>({ Datacenter: str, Node: str, ...queryOptionsFields });
export const checksInState = record<ChecksInStateRequest>({
  Datacenter: str,
  NodeMetaFilters: opt(map(str)),
  State: str,
  Source: opt(querySource),
  ...queryOptionsFields,
});

const { Datacenter, NodeMetaFilters, ...restFields } = dcSpecificFields;
const serviceFields = {
  Datacenter,
  NodeMetaFilters,
  ServiceName: str,
  ServiceTags: opt(list(str)),
  ServiceAddress: opt(str),
  TagFilter: opt(bool),
  Connect: opt(bool),
  Ingress: opt(bool),
  ...restFields,
};
/** Agents before 1.3 give a single tag, which then wins. */
type OnWire = ServiceSpecificRequest & { readonly ServiceTag?: string };
export const serviceSpecific = converted<ServiceSpecificRequest, OnWire>(
  record<OnWire>({ ...serviceFields, ServiceTag: opt(str) }),
  {
    to: (request) => request,
    from: ({ ServiceTag, ...request }) => (ServiceTag ? { ...request, ServiceTags: [ServiceTag] } : request),
  },
);
