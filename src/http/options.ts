import type { TlsOptions } from './tls-door.ts';
import type { UiOptions } from './ui-endpoint.ts';

/** What can be configured about the HTTP API; the agent fills this from its own configuration. */
export interface HttpOptions {
  readonly datacenter: string;
  /** Indent every JSON answer, as `-dev` does. */
  readonly pretty: boolean;
  /** `http_config.response_headers`. */
  readonly responseHeaders: Readonly<Record<string, string>>;
  /** `http_config.block_endpoints`: path prefixes. */
  readonly blockEndpoints: readonly string[];
  /** `http_config.allow_write_http_from`: CIDR ranges; empty = everyone. */
  readonly allowWriteHttpFrom: readonly string[];
  /** `http_config.use_cache`: whether `?cached` is looked at. */
  readonly useCache: boolean;
  /** `limits.http_max_conns_per_client`; 0 = no limit. Changed by a reload for new connections. */
  readonly maxConnsPerClient: number;
  /** `limits.kv_max_value_size`, bytes. */
  readonly kvMaxValueSize: number;
  /** `limits.txn_max_req_len`, bytes; the limit of a value counts where that is larger. */
  readonly txnMaxRequestSize: number;
  /** `discovery_max_stale`; 0 = catalog and health reads go to the leader unless asked otherwise. */
  readonly discoveryMaxStaleMs: number;
  /** `disable_http_unprintable_char_filter`. */
  readonly disableUnprintableFilter: boolean;
  /** `translate_wan_addrs`: only the header is the HTTP layer's. */
  readonly translateWanAddrs: boolean;
  /** `disable_coordinates`. */
  readonly disableCoordinates: boolean;
  /** `domain` of the DNS front, for names that answers contain. */
  readonly dnsDomain: string;
  /** null without a UI. Not changed by a reload. */
  readonly ui: UiOptions | null;
  /** `enable_debug`: profiles without ACLs. */
  readonly enableDebug: boolean;
  /** For HTTPS listeners; null when there is none. */
  readonly tls: TlsOptions | null;
  /** Wait of a blocking query that does not say how long (`default_query_time`). */
  readonly defaultQueryTimeMs: number;
  /** Longest wait a blocking query may ask for (`max_query_time`). */
  readonly maxQueryTimeMs: number;
}

/** Consul 1.8's defaults (reference/agent.md §2). */
export const httpOptionDefaults: Omit<HttpOptions, 'datacenter'> = {
  pretty: false,
  responseHeaders: {},
  blockEndpoints: [],
  allowWriteHttpFrom: [],
  useCache: true,
  maxConnsPerClient: 200,
  kvMaxValueSize: 512 * 1024,
  txnMaxRequestSize: 512 * 1024,
  discoveryMaxStaleMs: 0,
  disableUnprintableFilter: false,
  translateWanAddrs: false,
  disableCoordinates: false,
  dnsDomain: 'consul.',
  ui: null,
  enableDebug: false,
  tls: null,
  defaultQueryTimeMs: 300_000,
  maxQueryTimeMs: 600_000,
};
