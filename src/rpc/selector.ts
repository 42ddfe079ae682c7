/**
 * The first byte of a connection to port 8300 says what it carries (reference/server-rpc.md §1.1). With native TLS the
 * name chosen by ALPN says it instead (§1.2).
 */
export const selectors = {
  /** net/rpc itself, one request after another. */
  rpc: 0,
  raft: 1,
  /** TLS, and inside it another selector. */
  tls: 3,
  /** yamux; every stream carries net/rpc. */
  multiplex: 4,
  /** One snapshot, saved or restored. */
  snapshot: 5,
  /** Reserved for an edition that we are not. */
  gossip: 6,
  /** TLS without a certificate of the client, and inside it net/rpc with the few methods that hand out certificates. */
  insecure: 7,
} as const;

export type Selector = (typeof selectors)[keyof typeof selectors];

/** What a connection can carry once TLS is out of the way. */
export type Carried = 'rpc' | 'raft' | 'multiplex' | 'snapshot';

/** The same by ALPN. */
export const alpnCarried: Readonly<Record<string, Carried>> = {
  'consul/rpc-single': 'rpc',
  'consul/raft': 'raft',
  'consul/rpc-multi': 'multiplex',
  'consul/rpc-snapshot': 'snapshot',
};

/** A first byte above the selectors may begin a TLS handshake. */
export const selectorMax = 7;
