/** Parts that every read shares (reference/server-rpc.md §3.1). Durations in nanoseconds, as on the wire. */
export interface QueryOptions {
  readonly Token?: string;
  /** > 0 blocks until the result's index is greater. */
  readonly MinQueryIndex?: number;
  /** Longest wait, ns; 0 = the server's default. */
  readonly MaxQueryTime?: number;
  readonly AllowStale?: boolean;
  readonly RequireConsistent?: boolean;
  readonly Filter?: string;
  /** This and those below are for the agent that asks; servers pass them over. */
  readonly UseCache?: boolean;
  /** A stale answer that is older is asked for again from the leader, ns; 0 = any will do. */
  readonly MaxStaleDuration?: number;
  /** Oldest cached answer that will do, ns. */
  readonly MaxAge?: number;
  readonly MustRevalidate?: boolean;
  /** How much older a cached answer may be when the servers cannot be reached, ns. */
  readonly StaleIfError?: number;
}

export interface QueryMeta {
  /** Never 0 in an answer to a client. */
  readonly Index: number;
  /** ns since the answering server heard from the leader. */
  readonly LastContact: number;
  readonly KnownLeader: boolean;
}

/** Where a client is, for sorting by network distance. */
export interface QuerySource {
  readonly Datacenter: string;
  readonly Segment?: string;
  readonly Node: string;
  readonly Ip?: string;
}

export interface DCRequest extends QueryOptions {
  readonly Datacenter: string;
}

export interface DCSpecificRequest extends DCRequest {
  readonly NodeMetaFilters?: Readonly<Record<string, string>> | null;
  readonly Source?: QuerySource;
}

export interface NodeSpecificRequest extends DCRequest {
  readonly Node: string;
}

export interface ServiceSpecificRequest extends DCSpecificRequest {
  readonly ServiceName: string;
  readonly ServiceTags?: readonly string[];
  readonly ServiceAddress?: string;
  readonly TagFilter?: boolean;
  readonly Connect?: boolean;
  readonly Ingress?: boolean;
}

export interface ChecksInStateRequest extends DCSpecificRequest {
  readonly State: string;
}

export interface WriteRequest {
  readonly Datacenter: string;
  readonly Token?: string;
}
