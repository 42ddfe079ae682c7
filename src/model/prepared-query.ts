/**
 * Prepared queries: a service look-up stored under a name, that may filter, sort by distance, fail over to other
 * datacenters, or stand as a template for all names with a prefix (reference/server-rpc.md §4.10).
 */
import type { CheckServiceNode, RaftIndex } from './catalog.ts';
import type { DCRequest, DCSpecificRequest, QueryMeta, QuerySource, WriteRequest } from './query.ts';

export interface QueryFailover {
  /** How many of the nearest other datacenters are asked, >= 0. */
  readonly NearestN: number;
  /** Asked afterwards, in this order. */
  readonly Datacenters: readonly string[] | null;
}

export interface ServiceQuery {
  readonly Service: string;
  readonly Failover: QueryFailover;
  readonly OnlyPassing: boolean;
  /** Checks that do not count. */
  readonly IgnoreCheckIDs: readonly string[] | null;
  /** A node, `_agent`, `_ip`, or "". */
  readonly Near: string;
  /** All must be there, those with `!` in front must not. */
  readonly Tags: readonly string[] | null;
  readonly NodeMeta: Readonly<Record<string, string>> | null;
  readonly ServiceMeta: Readonly<Record<string, string>> | null;
  readonly Connect: boolean;
}

/** `Type` "" is no template. */
export interface QueryTemplate {
  readonly Type: string;
  readonly Regexp: string;
  readonly RemoveEmptyTags: boolean;
}

export const namePrefixMatch = 'name_prefix_match';

/** `TTL`: Go duration or "". */
export interface QueryDns {
  readonly TTL: string;
}

export interface PreparedQuery extends RaftIndex {
  readonly ID: string;
  readonly Name: string;
  /** The query goes with this session; "" = with none. */
  readonly Session: string;
  /** Used for the execution instead of the caller's. */
  readonly Token: string;
  readonly Template: QueryTemplate;
  readonly Service: ServiceQuery;
  readonly DNS: QueryDns;
}

/** Shown to those who may not see a query's token. */
export const hiddenQueryToken = '<hidden>';
/** The failure of a look-up; the HTTP layer makes a 404 of it. */
export const queryNotFound = 'Query not found';

export const preparedQueryOps = ['create', 'update', 'delete'] as const;
export type PreparedQueryOp = (typeof preparedQueryOps)[number];

export interface PreparedQueryRequest extends WriteRequest {
  readonly Op: PreparedQueryOp;
  readonly Query: PreparedQuery;
}

export interface PreparedQuerySpecificRequest extends DCRequest {
  readonly QueryID: string;
}

export interface PreparedQueryExecuteRequest extends DCRequest {
  readonly QueryIDOrName: string;
  /** Most instances in the result; 0 = all. */
  readonly Limit?: number;
  readonly Connect?: boolean;
  /** Where the client is; its Node beats the query's Near. */
  readonly Source?: QuerySource;
  /** The agent asked, for `_agent`. */
  readonly Agent: QuerySource;
}

export interface PreparedQueryExecuteRemoteRequest extends DCRequest {
  readonly Query: PreparedQuery;
  readonly Limit?: number;
  readonly Connect?: boolean;
}

export interface PreparedQueryExecuteReply extends QueryMeta {
  readonly Service: string;
  readonly Nodes: readonly CheckServiceNode[];
  readonly DNS: QueryDns;
  /** Which one the instances are from. */
  readonly Datacenter: string;
  /** How many other datacenters were asked. */
  readonly Failovers: number;
}

/** Request and reply of the calls about prepared queries. */
export interface PreparedQueryCalls {
  /** The query's ID. */
  'PreparedQuery.Apply': { request: PreparedQueryRequest; reply: string };
  /** @throws CallError {@link queryNotFound} */
  'PreparedQuery.Get': {
    request: PreparedQuerySpecificRequest;
    reply: QueryMeta & { readonly Queries: readonly PreparedQuery[] };
  };
  'PreparedQuery.List': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly Queries: readonly PreparedQuery[] };
  };
  /** The query as it would be executed. */
  'PreparedQuery.Explain': {
    request: PreparedQueryExecuteRequest;
    reply: QueryMeta & { readonly Query: PreparedQuery };
  };
  'PreparedQuery.Execute': { request: PreparedQueryExecuteRequest; reply: PreparedQueryExecuteReply };
  /** A failover's share: the query as rendered, without another failover. */
  'PreparedQuery.ExecuteRemote': { request: PreparedQueryExecuteRemoteRequest; reply: PreparedQueryExecuteReply };
}
