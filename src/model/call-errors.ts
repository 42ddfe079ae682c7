/** Texts of calls that failed before any server saw them; clients match on them (reference/server-rpc.md §3.5). */

/** Gossip shows no server of the datacenter. */
export const noKnownServers = 'No known Consul servers';
/** `limits.rpc_rate`. */
export const rpcRateLimitExceeded = 'RPC rate limit exceeded';
