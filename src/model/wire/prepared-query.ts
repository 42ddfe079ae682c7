/** Prepared queries on the wire (reference/server-rpc.md §4.10). */
import { opt, record, shapes, text } from '../../codec/index.ts';
import type {
  PreparedQuery,
  PreparedQueryExecuteRemoteRequest,
  PreparedQueryExecuteReply,
  PreparedQueryExecuteRequest,
  PreparedQueryRequest,
  PreparedQuerySpecificRequest,
  QueryDns,
  QueryFailover,
  QueryTemplate,
  ServiceQuery,
} from '../prepared-query.ts';
import { checkServiceNode } from './catalog.ts';
import { metaOnWire, queryMetaFields, queryOptionsFields, querySource, raftIndexFields, writeFields } from './parts.ts';

const { bool, fullList, int, list, map, str } = shapes;

const failover = record<QueryFailover>({ NearestN: int, Datacenters: list(str) });
const serviceQuery = record<ServiceQuery>({
  Service: str,
  Failover: failover,
  OnlyPassing: bool,
  IgnoreCheckIDs: list(str),
  Near: str,
  Tags: list(str),
  NodeMeta: map(str),
  ServiceMeta: map(str),
  Connect: bool,
});
const template = record<QueryTemplate>({ Type: str, Regexp: str, RemoveEmptyTags: bool });
const dns = record<QueryDns>({ TTL: str });

export const preparedQuery = record<PreparedQuery>({
  ID: str,
  Name: str,
  Session: str,
  Token: str,
  Template: template,
  Service: serviceQuery,
  DNS: dns,
  ...raftIndexFields,
});
/** A nil query, which stops the peer, is read as an empty one. */
export const preparedQueryRequest = record<PreparedQueryRequest>({
  Datacenter: str,
  Op: text<PreparedQueryRequest['Op']>(),
  Query: preparedQuery,
  Token: writeFields.Token,
});
export const preparedQuerySpecific = record<PreparedQuerySpecificRequest>({
  Datacenter: str,
  QueryID: str,
  ...queryOptionsFields,
});
export const executeRequest = record<PreparedQueryExecuteRequest>({
  Datacenter: str,
  QueryIDOrName: str,
  Limit: opt(int),
  Connect: opt(bool),
  Source: opt(querySource),
  Agent: querySource,
  ...queryOptionsFields,
});
export const executeRemoteRequest = record<PreparedQueryExecuteRemoteRequest>({
  Datacenter: str,
  Query: preparedQuery,
  Limit: opt(int),
  Connect: opt(bool),
  ...queryOptionsFields,
});
export const executeReply = record<PreparedQueryExecuteReply>(
  {
    Service: str,
    Nodes: fullList(checkServiceNode),
    DNS: dns,
    Datacenter: str,
    Failovers: int,
    ...queryMetaFields,
  },
  metaOnWire,
);
