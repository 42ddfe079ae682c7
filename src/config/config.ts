/** The agent's configuration after everything is merged, checked and filled in. Frozen; durations in milliseconds. */
import type { CheckDefinition, ServiceDefinition } from '../model/index.ts';
import type { WatchDefinition } from './definitions.ts';
import type { RegistratorConfig } from './registrator-config.ts';

export interface GossipConfig {
  readonly gossipIntervalMs: number;
  readonly gossipNodes: number;
  readonly probeIntervalMs: number;
  readonly probeTimeoutMs: number;
  readonly suspicionMult: number;
  readonly retransmitMult: number;
}

export interface Config {
  /** `-dev`: one server in memory. */
  readonly devMode: boolean;
  /** null only with `-dev`. */
  readonly dataDir: string | null;
  readonly nodeName: string;
  /** null = from the data directory or new. Not validated here. */
  readonly nodeId: string | null;
  readonly disableHostNodeId: boolean;
  readonly datacenter: string;
  readonly primaryDatacenter: string;
  readonly nodeMeta: Readonly<Record<string, string>>;

  readonly addresses: {
    /** May be `0.0.0.0` or `::`. */
    readonly bind: string;
    /** null = not given: the bind address if it is one, else to be detected. */
    readonly advertise: string | null;
    readonly advertiseIpv4: string | null;
    readonly advertiseIpv6: string | null;
    /** null = the LAN address. */
    readonly advertiseWan: string | null;
    readonly advertiseWanIpv4: string | null;
    readonly advertiseWanIpv6: string | null;
    readonly client: readonly string[];
    /** IPs; http, https and grpc also `unix://path`. */
    readonly dns: readonly string[];
    readonly http: readonly string[];
    readonly https: readonly string[];
    readonly grpc: readonly string[];
    readonly serfLan: string;
    readonly serfWan: string;
    /** Empty = all. */
    readonly serfLanAllowedCidrs: readonly string[];
    readonly serfWanAllowedCidrs: readonly string[];
    /** As written; `lan`, `wan` and their families are filled in over these. */
    readonly tagged: Readonly<Record<string, string>>;
    readonly translateWan: boolean;
  };
  readonly unixSockets: { readonly user: string; readonly group: string; readonly mode: string };
  /** -1 = off. */
  readonly ports: {
    readonly dns: number;
    readonly http: number;
    readonly https: number;
    readonly grpc: number;
    readonly serfLan: number;
    readonly serfWan: number;
    readonly server: number;
    readonly sidecarMin: number;
    readonly sidecarMax: number;
    readonly exposeMin: number;
    readonly exposeMax: number;
    readonly proxyMin: number;
    readonly proxyMax: number;
  };

  /** Addresses and provider strings, templates expanded. */
  readonly join: {
    readonly start: readonly string[];
    readonly startWan: readonly string[];
    readonly retry: readonly string[];
    readonly retryWan: readonly string[];
    readonly retryIntervalMs: number;
    readonly retryIntervalWanMs: number;
    /** 0 = for ever. */
    readonly retryMax: number;
    readonly retryMaxWan: number;
    readonly rejoinAfterLeave: boolean;
    readonly primaryGateways: readonly string[];
    readonly primaryGatewaysIntervalMs: number;
  };
  readonly leaveOnTerminate: boolean;
  readonly skipLeaveOnInterrupt: boolean;
  readonly reconnectTimeoutMs: number;
  readonly reconnectTimeoutWanMs: number;

  readonly server: {
    readonly enabled: boolean;
    readonly bootstrap: boolean;
    readonly bootstrapExpect: number;
    readonly protocol: number;
    readonly raftProtocol: number;
    /** Period of autopilot's look at the servers. */
    readonly healthIntervalMs: number;
    readonly coordinateUpdatePeriodMs: number;
    readonly sessionTtlMinMs: number;
    readonly configEntries: readonly unknown[];
    readonly centralServiceConfig: boolean;
  };
  /** Multiplier already applied. */
  readonly raft: {
    readonly heartbeatTimeoutMs: number;
    readonly electionTimeoutMs: number;
    readonly leaderLeaseTimeoutMs: number;
    readonly snapshotThreshold: number;
    readonly snapshotIntervalMs: number;
    readonly trailingLogs: number;
  };
  readonly autopilot: {
    readonly cleanupDeadServers: boolean;
    readonly lastContactThresholdMs: number;
    readonly maxTrailingLogs: number;
    readonly minQuorum: number;
    readonly serverStabilizationTimeMs: number;
  };
  readonly performance: {
    readonly raftMultiplier: number;
    readonly leaveDrainTimeMs: number;
    readonly rpcHoldTimeoutMs: number;
  };

  readonly http: {
    readonly blockEndpoints: readonly string[];
    readonly responseHeaders: Readonly<Record<string, string>>;
    /** CIDRs; empty = all. */
    readonly allowWriteFrom: readonly string[];
    readonly useCache: boolean;
    readonly disableUnprintableCharFilter: boolean;
  };
  readonly limits: {
    readonly httpMaxConnsPerClient: number;
    readonly httpsHandshakeTimeoutMs: number;
    readonly rpcHandshakeTimeoutMs: number;
    /** Requests a second; -1 = no limit. */
    readonly rpcRate: number;
    readonly rpcMaxBurst: number;
    readonly rpcMaxConnsPerClient: number;
    readonly kvMaxValueBytes: number;
    readonly txnMaxBytes: number;
  };
  readonly defaultQueryTimeMs: number;
  readonly maxQueryTimeMs: number;
  readonly discoveryMaxStaleMs: number;
  readonly cache: { readonly entryFetchRate: number; readonly entryFetchMaxBurst: number };
  readonly dns: {
    /** Lower case, with final dot. */
    readonly domain: string;
    /** "" = none. */
    readonly altDomain: string;
    /** `IP` or `IP:port`. */
    readonly recursors: readonly string[];
    readonly allowStale: boolean;
    readonly maxStaleMs: number;
    readonly nodeTtlMs: number;
    readonly serviceTtlMs: Readonly<Record<string, number>>;
    readonly enableTruncate: boolean;
    readonly onlyPassing: boolean;
    readonly recursorTimeoutMs: number;
    readonly udpAnswerLimit: number;
    readonly aRecordLimit: number;
    readonly disableCompression: boolean;
    readonly nodeMetaTxt: boolean;
    /** Seconds. */
    readonly soa: {
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      readonly minTtl: number;
    };
    readonly useCache: boolean;
    readonly cacheMaxAgeMs: number;
  };
  readonly ui: { readonly enabled: boolean; readonly dir: string; readonly contentPath: string };
  readonly enableDebug: boolean;

  readonly gossip: {
    /** Base64; "" = none. */
    readonly encrypt: string;
    readonly verifyIncoming: boolean;
    readonly verifyOutgoing: boolean;
    readonly disableKeyringFile: boolean;
    readonly lan: GossipConfig;
    readonly wan: GossipConfig;
  };
  readonly tls: {
    readonly caFile: string;
    readonly caPath: string;
    readonly certFile: string;
    readonly keyFile: string;
    readonly verifyIncoming: boolean;
    readonly verifyIncomingRpc: boolean;
    readonly verifyIncomingHttps: boolean;
    readonly verifyOutgoing: boolean;
    readonly verifyServerHostname: boolean;
    readonly serverName: string;
    readonly minVersion: string;
    readonly cipherSuites: readonly string[];
    readonly preferServerCipherSuites: boolean;
    readonly forChecks: boolean;
  };
  readonly autoEncrypt: {
    readonly tls: boolean;
    readonly allowTls: boolean;
    readonly dnsSan: readonly string[];
    readonly ipSan: readonly string[];
  };
  readonly acl: {
    readonly enabled: boolean;
    readonly defaultPolicy: string;
    readonly downPolicy: string;
    readonly tokenTtlMs: number;
    readonly policyTtlMs: number;
    readonly roleTtlMs: number;
    readonly enableKeyListPolicy: boolean;
    readonly enableTokenReplication: boolean;
    readonly enableTokenPersistence: boolean;
    /** "" = none. */
    readonly tokens: {
      readonly default: string;
      readonly agent: string;
      readonly agentMaster: string;
      readonly replication: string;
      readonly master: string;
    };
  };
  readonly connect: {
    readonly enabled: boolean;
    readonly caProvider: string;
    readonly caConfig: Readonly<Record<string, unknown>>;
    readonly meshGatewayWanFederation: boolean;
  };

  readonly services: readonly ServiceDefinition[];
  readonly checks: readonly CheckDefinition[];
  readonly watches: readonly WatchDefinition[];
  /** Script and docker checks from the HTTP API. */
  readonly enableRemoteScriptChecks: boolean;
  /** Script and docker checks from files. */
  readonly enableLocalScriptChecks: boolean;
  readonly checkUpdateIntervalMs: number;
  /** Bytes. */
  readonly checkOutputMaxSize: number;
  readonly discardCheckOutput: boolean;
  readonly disableRemoteExec: boolean;
  readonly disableCoordinates: boolean;
  readonly registrator: RegistratorConfig;

  readonly log: {
    /** As written: an unknown level is an error only when the agent starts ({@link logLevelProblem}). */
    readonly level: string;
    readonly json: boolean;
    readonly file: string;
    readonly rotateDurationMs: number;
    readonly rotateBytes: number;
    readonly rotateMaxFiles: number;
    readonly syslog: boolean;
    readonly syslogFacility: string;
  };
  readonly pidFile: string;
  readonly disableUpdateCheck: boolean;
  readonly telemetry: {
    readonly metricsPrefix: string;
    readonly disableHostname: boolean;
    readonly filterDefault: boolean;
    readonly allowedPrefixes: readonly string[];
    readonly blockedPrefixes: readonly string[];
    /** 0 = off. */
    readonly prometheusRetentionMs: number;
    readonly statsdAddress: string;
    readonly statsiteAddress: string;
    readonly dogstatsdAddress: string;
    readonly dogstatsdTags: readonly string[];
  };
}

const logLevels = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERR', 'ERROR'];

/** The text for an unknown log level, or null. */
export function logLevelProblem(level: string): string | null {
  if (logLevels.includes(level.toUpperCase())) return null;
  return `Invalid log level: ${level}. Valid log levels are: [${logLevels.join(' ')}]`;
}
