/**
 * What configures the DNS front door (reference/dns.md §11). Plain values with their units; the agent's
 * configuration is translated into this, and a reload hands over a whole new one.
 */
export interface SoaOptions {
  /** All in seconds. */
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  /** Negative caching time, and the SOA record's own TTL. */
  readonly minTtl: number;
}

export interface DnsOptions {
  readonly nodeName: string;
  readonly datacenter: string;
  /** With or without the final dot, in any letter case. */
  readonly domain: string;
  /** "" = none. */
  readonly altDomain: string;
  readonly nodeTtlMs: number;
  /** Service name, prefix ending in `*`, or `*` → TTL in ms. Names are compared as they stand with the lower-cased label. */
  readonly serviceTtlMs: Readonly<Record<string, number>>;
  /** Answer only instances whose checks are all passing; else warning ones too. */
  readonly onlyPassing: boolean;
  /** Most records in a UDP answer without EDNS, >= 0; more than 8 counts as 8. */
  readonly udpAnswerLimit: number;
  /** Most instances in an address answer; 0 = no limit. */
  readonly aRecordLimit: number;
  /** Set TC when records were left out. */
  readonly enableTruncate: boolean;
  readonly disableCompression: boolean;
  readonly soa: SoaOptions;
  /** Add node metadata as TXT records to ADDITIONAL. */
  readonly nodeMetaTxt: boolean;
  /** Let any server answer, not only the leader. */
  readonly allowStale: boolean;
  /** Older answers are asked for again, of the leader. */
  readonly maxStaleMs: number;
  /** Ask through the agent's cache, where the agent gave one. */
  readonly useCache: boolean;
  /** Upstream resolvers in order: IP, IP:port, [v6]:port or host name. */
  readonly recursors: readonly string[];
  readonly recursorTimeoutMs: number;
  /** Answer WAN addresses for other datacenters. */
  readonly translateWanAddrs: boolean;
}

/** Consul's defaults; node name and datacenter have none. */
export const defaultDnsOptions: Omit<DnsOptions, 'nodeName' | 'datacenter'> = Object.freeze({
  domain: 'consul.',
  altDomain: '',
  nodeTtlMs: 0,
  serviceTtlMs: {},
  onlyPassing: false,
  udpAnswerLimit: 3,
  aRecordLimit: 0,
  enableTruncate: false,
  disableCompression: false,
  soa: { refresh: 3600, retry: 600, expire: 86_400, minTtl: 0 },
  nodeMetaTxt: true,
  allowStale: true,
  maxStaleMs: 87_600 * 3_600_000,
  useCache: false,
  recursors: [],
  recursorTimeoutMs: 2000,
  translateWanAddrs: false,
});

/** TTL of a service in whole seconds: the exact key, else the longest prefix ending in `*`, else 0. */
export function serviceTtlSeconds(ttls: DnsOptions['serviceTtlMs'], service: string): number {
  const exact = Object.hasOwn(ttls, service) ? ttls[service] : undefined;
  if (exact !== undefined) return Math.trunc(exact / 1000);
  let best = '';
  for (const key of Object.keys(ttls)) {
    if (key.endsWith('*') && service.startsWith(key.slice(0, -1)) && key.length > best.length) best = key;
  }
  return best === '' ? 0 : Math.trunc(ttls[best]! / 1000);
}
