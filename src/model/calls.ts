/**
 * The named calls: the one way to data (DESIGN rule 3). A front door asks `Health.ServiceNodes` and does not know
 * whether the answer comes from this process or from a server across the network.
 */
import type { ByteString } from '../lib/index.ts';
import type { AclCalls } from './acl-calls.ts';
import type { CheckServiceNode, HealthCheck, Node, NodeInfo, NodeService, RaftIndex, ServiceNode } from './catalog.ts';
import type { CoordinateCalls } from './coordinate.ts';
import type { ConfigEntry, ConfigEntryCalls } from './config-entry.ts';
import type { OperatorCalls } from './operator.ts';
import type { GatewayCalls } from './gateway.ts';
import type { ConnectCaCalls } from './connect-ca.ts';
import type { DiscoveryChainCalls } from './discovery-chain.ts';
import type { FederationStateCalls } from './federation-state.ts';
import type { IntentionCalls } from './intention.ts';
import type { DirEntry, KvOp } from './kv.ts';
import type { PreparedQueryCalls } from './prepared-query.ts';
import type {
  ChecksInStateRequest,
  DCRequest,
  DCSpecificRequest,
  NodeSpecificRequest,
  QueryMeta,
  QueryOptions,
  ServiceSpecificRequest,
  WriteRequest,
} from './query.ts';
import type { KeyringRequest, KeyringResponse, ServiceConfigRequest, ServiceConfigResponse } from './server-calls.ts';
import type { Session, SessionRequest, SessionSpecificRequest } from './session.ts';
import type { TxnReadRequest, TxnReadResponse, TxnRequest, TxnResponse } from './txn.ts';
import type { UserEventCalls } from './user-event.ts';

export type Unindexed<T> = Omit<T, keyof RaftIndex>;

export interface RegisterRequest extends WriteRequest {
  readonly ID?: string;
  readonly Node: string;
  readonly Address: string;
  readonly TaggedAddresses?: Readonly<Record<string, string>> | null;
  readonly NodeMeta?: Readonly<Record<string, string>> | null;
  readonly Service?: Unindexed<NodeService> | null;
  readonly Check?: Unindexed<HealthCheck> | null;
  readonly Checks?: readonly Unindexed<HealthCheck>[] | null;
  readonly SkipNodeUpdate?: boolean;
}

export interface DeregisterRequest extends WriteRequest {
  readonly Node: string;
  readonly ServiceID?: string;
  readonly CheckID?: string;
}

export interface KVSRequest extends WriteRequest {
  readonly Op: KvOp;
  readonly DirEnt: Partial<Omit<DirEntry, 'Key'>> & { readonly Key: ByteString };
}

export interface KeyRequest extends DCRequest {
  readonly Key: ByteString;
}

export interface KeyListRequest extends DCRequest {
  readonly Prefix: ByteString;
  /** Sic: the wire's spelling. */
  readonly Seperator: ByteString;
}

export type IndexedSessions = QueryMeta & { readonly Sessions: readonly Session[] | null };

/** Request and reply of every call. */
export interface Calls
  extends
    AclCalls,
    ConfigEntryCalls,
    ConnectCaCalls,
    DiscoveryChainCalls,
    FederationStateCalls,
    GatewayCalls,
    OperatorCalls,
    CoordinateCalls,
    IntentionCalls,
    PreparedQueryCalls,
    UserEventCalls {
  'Status.Ping': { request: QueryOptions; reply: null };
  /** `host:port` of the leader, "" when there is none. */
  'Status.Leader': { request: DCRequest; reply: string };
  'Status.Peers': { request: DCRequest; reply: readonly string[] };
  'Catalog.Register': { request: RegisterRequest; reply: null };
  'Catalog.Deregister': { request: DeregisterRequest; reply: null };
  'Catalog.ListDatacenters': { request: QueryOptions; reply: readonly string[] };
  'Catalog.ListNodes': { request: DCSpecificRequest; reply: QueryMeta & { readonly Nodes: readonly Node[] } };
  /** Service name → union of its instances' tags. */
  'Catalog.ListServices': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly Services: Readonly<Record<string, readonly string[]>> };
  };
  'Catalog.ServiceNodes': {
    request: ServiceSpecificRequest;
    reply: QueryMeta & { readonly ServiceNodes: readonly ServiceNode[] };
  };
  'Catalog.NodeServices': {
    request: NodeSpecificRequest;
    reply: QueryMeta & {
      readonly NodeServices: { readonly Node: Node; readonly Services: Readonly<Record<string, NodeService>> } | null;
    };
  };
  'Catalog.NodeServiceList': {
    request: NodeSpecificRequest;
    reply: QueryMeta & {
      readonly NodeServices: { readonly Node: Node | null; readonly Services: readonly NodeService[] | null };
    };
  };
  'Health.ChecksInState': {
    request: ChecksInStateRequest;
    reply: QueryMeta & { readonly HealthChecks: readonly HealthCheck[] };
  };
  'Health.NodeChecks': {
    request: NodeSpecificRequest;
    reply: QueryMeta & { readonly HealthChecks: readonly HealthCheck[] };
  };
  'Health.ServiceChecks': {
    request: ServiceSpecificRequest;
    reply: QueryMeta & { readonly HealthChecks: readonly HealthCheck[] };
  };
  'Health.ServiceNodes': {
    request: ServiceSpecificRequest;
    reply: QueryMeta & { readonly Nodes: readonly CheckServiceNode[] };
  };
  /** Whether a conditional write was applied; unconditional ones reply false (reference/server-rpc.md §4.5). */
  'KVS.Apply': { request: KVSRequest; reply: boolean };
  'KVS.Get': { request: KeyRequest; reply: QueryMeta & { readonly Entries: readonly DirEntry[] | null } };
  'KVS.List': { request: KeyRequest; reply: QueryMeta & { readonly Entries: readonly DirEntry[] | null } };
  'KVS.ListKeys': { request: KeyListRequest; reply: QueryMeta & { readonly Keys: readonly ByteString[] | null } };
  /** The ID of a new session; "" for `destroy`, also of an unknown one. */
  'Session.Apply': { request: SessionRequest; reply: string };
  'Session.Get': { request: SessionSpecificRequest; reply: IndexedSessions };
  'Session.List': { request: SessionSpecificRequest; reply: IndexedSessions };
  'Session.NodeSessions': { request: NodeSpecificRequest; reply: IndexedSessions };
  /** Restarts its TTL; never blocks. Sessions is null when it is unknown. */
  'Session.Renew': { request: SessionSpecificRequest; reply: IndexedSessions };
  /** Of all kinds, for other datacenters. */
  'ConfigEntry.ListAll': {
    request: DCSpecificRequest;
    reply: QueryMeta & { readonly Entries: readonly ConfigEntry[] };
  };
  'ConfigEntry.ResolveServiceConfig': { request: ServiceConfigRequest; reply: ServiceConfigResponse };
  /** Lists or changes the keys of gossip's encryption. */
  'Internal.KeyringOperation': {
    request: KeyringRequest;
    reply: QueryMeta & { readonly Responses: readonly KeyringResponse[] };
  };
  /** All operations or none; what is wrong is in the reply, not thrown. */
  'Txn.Apply': { request: TxnRequest; reply: TxnResponse };
  /** Reads only; never blocks. */
  'Txn.Read': { request: TxnReadRequest; reply: TxnReadResponse };
  'Internal.NodeInfo': { request: NodeSpecificRequest; reply: QueryMeta & { readonly Dump: readonly NodeInfo[] } };
  'Internal.NodeDump': { request: DCSpecificRequest; reply: QueryMeta & { readonly Dump: readonly NodeInfo[] } };
}

export type CallName = keyof Calls;
export type CallRequest<M extends CallName> = Calls[M]['request'];
export type CallReply<M extends CallName> = Calls[M]['reply'];

/**
 * Makes a named call. Aborting `signal` ends a blocking query's wait at once (the promise rejects with its reason).
 * @throws CallError with the text the peer would send.
 */
export interface NamedCaller {
  call<M extends CallName>(method: M, request: CallRequest<M>, signal?: AbortSignal): Promise<CallReply<M>>;
}

/** A call that failed with a text that clients may match on (reference/server-rpc.md §3.5). */
export class CallError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CallError';
  }
}
