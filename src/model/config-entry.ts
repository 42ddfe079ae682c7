/**
 * Config entries: settings for the whole datacenter that live in the replicated state, one record per kind and name. A
 * field that was not given is left out here and zero on the wire. Durations in nanoseconds
 * (reference/server-rpc.md §4.14).
 */
import type { ExposeConfig, MeshGatewayConfig, RaftIndex } from './catalog.ts';
import type { DCRequest, QueryMeta, WriteRequest } from './query.ts';

export const configEntryKinds = [
  'service-defaults',
  'proxy-defaults',
  'service-router',
  'service-splitter',
  'service-resolver',
  'ingress-gateway',
  'terminating-gateway',
] as const;
export type ConfigEntryKind = (typeof configEntryKinds)[number];

/** The only name a `proxy-defaults` entry has, whatever is asked for. */
export const proxyDefaultsName = 'global';

interface EntryBase extends RaftIndex {
  readonly Name: string;
  readonly Meta?: Readonly<Record<string, string>>;
}

export interface ServiceDefaults extends EntryBase {
  readonly Kind: 'service-defaults';
  readonly Protocol?: string;
  readonly MeshGateway?: MeshGatewayConfig;
  readonly Expose?: ExposeConfig;
  readonly ExternalSNI?: string;
}

export interface ProxyDefaults extends EntryBase {
  readonly Kind: 'proxy-defaults';
  readonly Config?: Readonly<Record<string, unknown>>;
  readonly MeshGateway?: MeshGatewayConfig;
  readonly Expose?: ExposeConfig;
}

export interface HttpMatchHeader {
  readonly Name?: string;
  readonly Present?: boolean;
  readonly Exact?: string;
  readonly Prefix?: string;
  readonly Suffix?: string;
  readonly Regex?: string;
  readonly Invert?: boolean;
}

export interface HttpMatchQueryParam {
  readonly Name?: string;
  readonly Present?: boolean;
  readonly Exact?: string;
  readonly Regex?: string;
}

export interface ServiceRouteHttpMatch {
  readonly PathExact?: string;
  readonly PathPrefix?: string;
  readonly PathRegex?: string;
  readonly Header?: readonly HttpMatchHeader[];
  readonly QueryParam?: readonly HttpMatchQueryParam[];
  readonly Methods?: readonly string[];
}

export interface ServiceRouteDestination {
  readonly Service?: string;
  readonly ServiceSubset?: string;
  readonly Namespace?: string;
  readonly PrefixRewrite?: string;
  readonly RequestTimeout?: number;
  readonly NumRetries?: number;
  readonly RetryOnConnectFailure?: boolean;
  readonly RetryOnStatusCodes?: readonly number[];
}

export interface ServiceRoute {
  readonly Match?: { readonly HTTP?: ServiceRouteHttpMatch };
  readonly Destination?: ServiceRouteDestination;
}

export interface ServiceRouter extends EntryBase {
  readonly Kind: 'service-router';
  readonly Routes?: readonly ServiceRoute[];
}

export interface ServiceSplit {
  /** Percent, two decimals count. */
  readonly Weight?: number;
  readonly Service?: string;
  readonly ServiceSubset?: string;
  readonly Namespace?: string;
}

export interface ServiceSplitter extends EntryBase {
  readonly Kind: 'service-splitter';
  readonly Splits?: readonly ServiceSplit[];
}

export interface ServiceResolverSubset {
  readonly Filter?: string;
  readonly OnlyPassing?: boolean;
}

export interface ServiceResolverFailover {
  readonly Service?: string;
  readonly ServiceSubset?: string;
  readonly Namespace?: string;
  readonly Datacenters?: readonly string[];
}

export interface ServiceResolver extends EntryBase {
  readonly Kind: 'service-resolver';
  readonly DefaultSubset?: string;
  readonly Subsets?: Readonly<Record<string, ServiceResolverSubset>>;
  readonly Redirect?: {
    readonly Service?: string;
    readonly ServiceSubset?: string;
    readonly Namespace?: string;
    readonly Datacenter?: string;
  };
  /** By subset; `*` for all. */
  readonly Failover?: Readonly<Record<string, ServiceResolverFailover>>;
  readonly ConnectTimeout?: number;
}

export interface IngressService {
  readonly Name?: string;
  readonly Hosts?: readonly string[];
  readonly Meta?: Readonly<Record<string, string>>;
}

export interface IngressListener {
  readonly Port?: number;
  readonly Protocol?: string;
  readonly Services?: readonly IngressService[];
}

export interface IngressGateway extends EntryBase {
  readonly Kind: 'ingress-gateway';
  readonly TLS?: { readonly Enabled?: boolean };
  readonly Listeners?: readonly IngressListener[];
}

export interface LinkedService {
  readonly Name?: string;
  readonly CAFile?: string;
  readonly CertFile?: string;
  readonly KeyFile?: string;
  readonly SNI?: string;
}

export interface TerminatingGateway extends EntryBase {
  readonly Kind: 'terminating-gateway';
  readonly Services?: readonly LinkedService[];
}

export type ConfigEntry =
  | ServiceDefaults
  | ProxyDefaults
  | ServiceRouter
  | ServiceSplitter
  | ServiceResolver
  | IngressGateway
  | TerminatingGateway;
export type ConfigEntryOf<K extends ConfigEntryKind> = Extract<ConfigEntry, { readonly Kind: K }>;

export function isConfigEntryKind(kind: string): kind is ConfigEntryKind {
  return (configEntryKinds as readonly string[]).includes(kind);
}

/** What these kinds share beside their index; a request need not give indexes. */
export type ConfigEntryBody = { [K in ConfigEntryKind]: Omit<ConfigEntryOf<K>, keyof RaftIndex> }[ConfigEntryKind];

export interface ConfigEntryRequest extends WriteRequest {
  /** `upsert-cas` only when the entry's ModifyIndex is still that of `Entry`; 0 = there is none yet. */
  readonly Op: 'upsert' | 'upsert-cas' | 'delete';
  readonly Entry: ConfigEntryBody & Partial<RaftIndex>;
}

export interface ConfigEntryQuery extends DCRequest {
  readonly Kind: string;
  readonly Name?: string;
}

export interface ConfigEntryCalls {
  /** Whether it was written; only `upsert-cas` may say no. */
  'ConfigEntry.Apply': { request: ConfigEntryRequest; reply: boolean };
  /** Succeeds when there is no such entry. */
  'ConfigEntry.Delete': { request: ConfigEntryRequest; reply: null };
  'ConfigEntry.Get': { request: ConfigEntryQuery; reply: QueryMeta & { readonly Entry: ConfigEntry | null } };
  /** Of one kind, or with "" of all. */
  'ConfigEntry.List': {
    request: ConfigEntryQuery;
    reply: QueryMeta & { readonly Kind: string; readonly Entries: readonly ConfigEntry[] };
  };
}
