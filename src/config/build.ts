/**
 * Merged settings to the checked {@link Config}: address rules first, then the accumulated conversion errors, then the
 * services (the order of reference/agent.md §2.4, because only the first failing rule is reported).
 */
import { invariant, hostPort } from '../lib/index.ts';
import { ipFamily, isAnyAddress, metaProblem } from '../model/index.ts';
import type { Config, GossipConfig } from './config.ts';
import {
  coordinateUpdatePeriodDevMs,
  coordinateUpdatePeriodMs,
  defaults,
  raftTimesDevMs,
  raftTimesMs,
  serverHealthIntervalDevMs,
  serverHealthIntervalMs,
  soaDefaults,
} from './defaults.ts';
import { checkDefinition, requireSoundDefinitions, serviceDefinition, watchDefinition } from './definitions.ts';
import type { RawConfig } from './keys.ts';
import { Problems } from './problems.ts';
import { registratorConfig } from './registrator-config.ts';
import { ConfigError } from './schema.ts';
import { expandTemplate, TemplateError, type TemplateHost } from './sockaddr.ts';

/** What the configuration needs to know about the machine. */
export interface ConfigHost extends TemplateHost {
  readonly hostname: string;
  /** Most open files of the process; checked against `limits.http_max_conns_per_client` when given. */
  readonly fileDescriptorMax?: number;
  /** Whether a path exists and is no directory; for `data_dir`. */
  readonly isOtherThanDirectory?: (path: string) => boolean;
}

/** `RawConfig` in which the keys of the table of defaults are always there. */
type Filled<R, D> = R & {
  readonly [K in keyof D & keyof R]-?: D[K] extends Readonly<Record<string, unknown>>
    ? Filled<NonNullable<R[K]>, D[K]>
    : NonNullable<R[K]>;
};
type FilledConfig = Filled<RawConfig, typeof defaults>;

type AdvertiseKey =
  | 'advertise_addr'
  | 'advertise_addr_ipv4'
  | 'advertise_addr_ipv6'
  | 'advertise_addr_wan'
  | 'advertise_addr_wan_ipv4'
  | 'advertise_addr_wan_ipv6';

/** File descriptors an agent needs besides its HTTP connections. */
const fileDescriptorsReserved = 20;
const caProviders = ['', 'consul', 'vault', 'aws-pca'];
const tlsVersions = ['tls10', 'tls11', 'tls12', 'tls13'];
const cipherSuites = new Set(
  [
    'TLS_RSA_WITH_RC4_128_SHA TLS_RSA_WITH_3DES_EDE_CBC_SHA TLS_RSA_WITH_AES_128_CBC_SHA TLS_RSA_WITH_AES_256_CBC_SHA',
    'TLS_RSA_WITH_AES_128_CBC_SHA256 TLS_RSA_WITH_AES_128_GCM_SHA256 TLS_RSA_WITH_AES_256_GCM_SHA384',
    'TLS_ECDHE_ECDSA_WITH_RC4_128_SHA TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA',
    'TLS_ECDHE_RSA_WITH_RC4_128_SHA TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA',
    'TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256',
    'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
    'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305',
  ].flatMap((line) => line.split(' ')),
);

/** @throws ConfigError */
export function buildConfig(
  merged: RawConfig,
  devMode: boolean,
  host: ConfigHost,
  warn: (text: string) => void,
): Config {
  invariant(merged.datacenter !== undefined, 'the defaults are part of the merged settings');
  const c = withDeprecated(merged as FilledConfig, warn);
  warnOfEnterprise(c, warn);
  const problems = new Problems(host);
  const ms = (key: string, text: string): number => problems.durationMs(key, text);

  const ports: Config['ports'] = {
    dns: problems.port('ports.dns', c.ports.dns),
    http: problems.port('ports.http', c.ports.http),
    https: problems.port('ports.https', c.ports.https),
    grpc: problems.port('ports.grpc', c.ports.grpc),
    serfLan: problems.port('ports.serf_lan', c.ports.serf_lan),
    serfWan: problems.port('ports.serf_wan', c.ports.serf_wan),
    server: problems.port('ports.server', c.ports.server),
    sidecarMin: problems.port('ports.sidecar_min_port', c.ports.sidecar_min_port),
    sidecarMax: problems.port('ports.sidecar_max_port', c.ports.sidecar_max_port),
    exposeMin: problems.port('ports.expose_min_port', c.ports.expose_min_port),
    exposeMax: problems.port('ports.expose_max_port', c.ports.expose_max_port),
    proxyMin: problems.port('ports.proxy_min_port', c.ports.proxy_min_port),
    proxyMax: problems.port('ports.proxy_max_port', c.ports.proxy_max_port),
  };
  const addresses = buildAddresses(c, problems, host, warn);
  const dataDir = c.data_dir ?? '';
  const datacenter = c.datacenter.toLowerCase();
  const primaryDatacenter = (c.primary_datacenter ?? c.datacenter).toLowerCase();
  const nodeName = (c.node_name ?? host.hostname).trim();
  const recursors = [...new Set((c.recursors ?? []).flatMap((text) => problems.words('recursors', text)))];

  if (datacenter === '') throw new ConfigError('datacenter cannot be empty');
  if (!/^[a-z0-9_-]+$/.test(datacenter)) {
    throw new ConfigError(`datacenter cannot be ${JSON.stringify(datacenter)}. Please use only [a-z0-9-_]`);
  }
  if (dataDir === '' && !devMode) throw new ConfigError('data_dir cannot be empty');
  if (host.isOtherThanDirectory?.(dataDir) === true) {
    throw new ConfigError(`data_dir ${JSON.stringify(dataDir)} is not a directory`);
  }
  requireSoundLimits(c, devMode, host);
  if (nodeName === '') throw new ConfigError('node_name cannot be empty');
  requireSoundAddresses(addresses, ports, recursors);
  requireSoundNames(c, datacenter);
  const nodeMeta = c.node_meta ?? {};
  const metaText = metaProblem(nodeMeta);
  if (metaText !== null) throw new ConfigError(`node_meta invalid: ${metaText}`);
  const encrypt = c.encrypt ?? '';
  requireBase64(encrypt);
  if (c.auto_encrypt?.tls === true && c.server) throw new ConfigError('auto_encrypt.tls can only be used on a client.');
  warnOfRisks(c, nodeName, warn);

  const gossip = (name: 'gossip_lan' | 'gossip_wan'): GossipConfig => ({
    gossipIntervalMs: ms(`${name}.gossip_interval`, c[name].gossip_interval),
    gossipNodes: c[name].gossip_nodes,
    probeIntervalMs: ms(`${name}.probe_interval`, c[name].probe_interval),
    probeTimeoutMs: ms(`${name}.probe_timeout`, c[name].probe_timeout),
    suspicionMult: c[name].suspicion_mult,
    retransmitMult: c[name].retransmit_mult,
  });
  const times = devMode ? raftTimesDevMs : raftTimesMs;
  const multiplier = devMode ? 1 : c.performance.raft_multiplier;
  const aclEnabled = c.acl.enabled ?? false;
  const verifyServerHostname = c.verify_server_hostname ?? false;
  const prefixes = c.telemetry.prefix_filter ?? [];
  for (const prefix of prefixes) {
    if (!/^[+-]/.test(prefix)) {
      warn(`Filter rule must begin with either '+' or '-': ${JSON.stringify(prefix)}`);
    }
  }

  const config: Config = {
    devMode,
    dataDir: dataDir === '' ? null : dataDir,
    nodeName,
    nodeId: c.node_id ?? null,
    disableHostNodeId: c.disable_host_node_id,
    datacenter,
    primaryDatacenter,
    nodeMeta,
    addresses,
    unixSockets: {
      user: c.unix_sockets?.user ?? '',
      group: c.unix_sockets?.group ?? '',
      mode: c.unix_sockets?.mode ?? '',
    },
    ports,
    join: {
      start: joinAddresses(c.start_join, 'start_join', problems),
      startWan: joinAddresses(c.start_join_wan, 'start_join_wan', problems),
      retry: joinAddresses(c.retry_join, 'retry_join', problems),
      retryWan: joinAddresses(c.retry_join_wan, 'retry_join_wan', problems),
      retryIntervalMs: ms('retry_interval', c.retry_interval),
      retryIntervalWanMs: ms('retry_interval_wan', c.retry_interval_wan),
      retryMax: c.retry_max,
      retryMaxWan: c.retry_max_wan,
      rejoinAfterLeave: c.rejoin_after_leave,
      primaryGateways: joinAddresses(c.primary_gateways, 'primary_gateways', problems),
      primaryGatewaysIntervalMs: ms('primary_gateways_interval', c.primary_gateways_interval),
    },
    leaveOnTerminate: c.leave_on_terminate ?? !c.server,
    skipLeaveOnInterrupt: c.skip_leave_on_interrupt ?? c.server,
    reconnectTimeoutMs: ms('reconnect_timeout', c.reconnect_timeout),
    reconnectTimeoutWanMs: ms('reconnect_timeout_wan', c.reconnect_timeout_wan),
    server: {
      enabled: c.server,
      // One expected server is the same as bootstrap.
      bootstrap: c.bootstrap || c.bootstrap_expect === 1,
      bootstrapExpect: c.bootstrap_expect === 1 ? 0 : c.bootstrap_expect,
      protocol: c.protocol,
      raftProtocol: c.raft_protocol,
      healthIntervalMs: devMode ? serverHealthIntervalDevMs : serverHealthIntervalMs,
      coordinateUpdatePeriodMs: devMode ? coordinateUpdatePeriodDevMs : coordinateUpdatePeriodMs,
      sessionTtlMinMs: ms('session_ttl_min', c.session_ttl_min),
      configEntries: Array.isArray(c.config_entries?.bootstrap) ? c.config_entries.bootstrap : [],
      centralServiceConfig: c.enable_central_service_config,
    },
    raft: {
      heartbeatTimeoutMs: times.heartbeatTimeout * multiplier,
      electionTimeoutMs: times.electionTimeout * multiplier,
      leaderLeaseTimeoutMs: times.leaderLeaseTimeout * multiplier,
      snapshotThreshold: c.raft_snapshot_threshold,
      snapshotIntervalMs: ms('raft_snapshot_interval', c.raft_snapshot_interval),
      trailingLogs: c.raft_trailing_logs,
    },
    autopilot: {
      cleanupDeadServers: c.autopilot.cleanup_dead_servers,
      lastContactThresholdMs: ms('autopilot.last_contact_threshold', c.autopilot.last_contact_threshold),
      maxTrailingLogs: c.autopilot.max_trailing_logs,
      minQuorum: c.autopilot.min_quorum,
      serverStabilizationTimeMs: ms('autopilot.server_stabilization_time', c.autopilot.server_stabilization_time),
    },
    performance: {
      raftMultiplier: c.performance.raft_multiplier,
      leaveDrainTimeMs: ms('performance.leave_drain_time', c.performance.leave_drain_time),
      rpcHoldTimeoutMs: ms('performance.rpc_hold_timeout', c.performance.rpc_hold_timeout),
    },
    http: {
      blockEndpoints: c.http_config.block_endpoints ?? [],
      responseHeaders: c.http_config.response_headers ?? {},
      allowWriteFrom: problems.cidrs('allow_write_http_from', c.http_config.allow_write_http_from ?? []),
      useCache: c.http_config.use_cache,
      disableUnprintableCharFilter: c.disable_http_unprintable_char_filter,
    },
    limits: {
      httpMaxConnsPerClient: c.limits.http_max_conns_per_client,
      httpsHandshakeTimeoutMs: ms('limits.https_handshake_timeout', c.limits.https_handshake_timeout),
      rpcHandshakeTimeoutMs: ms('limits.rpc_handshake_timeout', c.limits.rpc_handshake_timeout),
      rpcRate: c.limits.rpc_rate,
      rpcMaxBurst: c.limits.rpc_max_burst,
      rpcMaxConnsPerClient: c.limits.rpc_max_conns_per_client,
      kvMaxValueBytes: c.limits.kv_max_value_size,
      txnMaxBytes: c.limits.txn_max_req_len,
    },
    defaultQueryTimeMs: ms('default_query_time', c.default_query_time),
    maxQueryTimeMs: ms('max_query_time', c.max_query_time),
    discoveryMaxStaleMs: ms('discovery_max_stale', c.discovery_max_stale),
    cache: { entryFetchRate: c.cache.entry_fetch_rate, entryFetchMaxBurst: c.cache.entry_fetch_max_burst },
    dns: {
      domain: domainOf(c.domain),
      altDomain: c.alt_domain === undefined || c.alt_domain === '' ? '' : domainOf(c.alt_domain),
      recursors,
      allowStale: c.dns_config.allow_stale,
      maxStaleMs: ms('dns_config.max_stale', c.dns_config.max_stale),
      nodeTtlMs: ms('dns_config.node_ttl', c.dns_config.node_ttl),
      serviceTtlMs: Object.fromEntries(
        Object.entries(c.dns_config.service_ttl ?? {}).map(([service, ttl]) => [
          service,
          ms(`dns_config.service_ttl[${JSON.stringify(service)}]`, ttl),
        ]),
      ),
      enableTruncate: c.dns_config.enable_truncate,
      onlyPassing: c.dns_config.only_passing,
      recursorTimeoutMs: ms('dns_config.recursor_timeout', c.dns_config.recursor_timeout),
      udpAnswerLimit: c.dns_config.udp_answer_limit,
      aRecordLimit: c.dns_config.a_record_limit,
      disableCompression: c.dns_config.disable_compression,
      nodeMetaTxt: c.dns_config.enable_additional_node_meta_txt,
      soa: {
        refresh: c.dns_config.soa?.refresh ?? soaDefaults.refresh,
        retry: c.dns_config.soa?.retry ?? soaDefaults.retry,
        expire: c.dns_config.soa?.expire ?? soaDefaults.expire,
        minTtl: c.dns_config.soa?.min_ttl ?? soaDefaults.min_ttl,
      },
      useCache: c.dns_config.use_cache,
      cacheMaxAgeMs: ms('dns_config.cache_max_age', c.dns_config.cache_max_age),
    },
    ui: {
      enabled: c.ui || (c.ui_dir ?? '') !== '',
      dir: c.ui_dir ?? '',
      contentPath: contentPathOf(c.ui_content_path),
    },
    enableDebug: c.enable_debug,
    gossip: {
      encrypt,
      verifyIncoming: c.encrypt_verify_incoming,
      verifyOutgoing: c.encrypt_verify_outgoing,
      disableKeyringFile: c.disable_keyring_file,
      lan: gossip('gossip_lan'),
      wan: gossip('gossip_wan'),
    },
    tls: {
      caFile: c.ca_file ?? '',
      caPath: c.ca_path ?? '',
      certFile: c.cert_file ?? '',
      keyFile: c.key_file ?? '',
      verifyIncoming: c.verify_incoming ?? false,
      verifyIncomingRpc: c.verify_incoming_rpc ?? false,
      verifyIncomingHttps: c.verify_incoming_https ?? false,
      verifyOutgoing: (c.verify_outgoing ?? false) || verifyServerHostname,
      verifyServerHostname,
      serverName: c.server_name ?? '',
      minVersion: c.tls_min_version,
      cipherSuites: cipherSuitesOf(c.tls_cipher_suites ?? '', problems),
      preferServerCipherSuites: c.tls_prefer_server_cipher_suites,
      forChecks: c.enable_agent_tls_for_checks ?? false,
    },
    autoEncrypt: {
      tls: c.auto_encrypt?.tls ?? false,
      allowTls: c.auto_encrypt?.allow_tls ?? false,
      dnsSan: c.auto_encrypt?.dns_san ?? [],
      ipSan: c.auto_encrypt?.ip_san ?? [],
    },
    acl: {
      enabled: aclEnabled,
      defaultPolicy: c.acl.default_policy,
      downPolicy: c.acl.down_policy,
      tokenTtlMs: ms('acl.token_ttl', c.acl.token_ttl),
      policyTtlMs: ms('acl.policy_ttl', c.acl.policy_ttl),
      roleTtlMs: ms('acl.role_ttl', c.acl.role_ttl),
      enableKeyListPolicy: c.acl.enable_key_list_policy,
      enableTokenReplication: c.acl.enable_token_replication,
      enableTokenPersistence: c.acl.enable_token_persistence,
      tokens: {
        default: c.acl.tokens?.default ?? '',
        agent: c.acl.tokens?.agent ?? '',
        agentMaster: c.acl.tokens?.agent_master ?? '',
        replication: c.acl.tokens?.replication ?? '',
        master: c.acl.tokens?.master ?? '',
      },
    },
    connect: {
      enabled: c.connect?.enabled ?? false,
      caProvider: c.connect?.ca_provider ?? '',
      caConfig: (c.connect?.ca_config as Readonly<Record<string, unknown>> | undefined) ?? {},
      meshGatewayWanFederation: c.connect?.enable_mesh_gateway_wan_federation ?? false,
    },
    services: (c.services ?? []).map((service) => serviceDefinition(service, problems)),
    checks: (c.checks ?? []).map((check) => checkDefinition(check, problems)),
    watches: (c.watches ?? []).map((watch) => watchDefinition(watch, problems)),
    enableRemoteScriptChecks: c.enable_script_checks,
    enableLocalScriptChecks: c.enable_local_script_checks ?? c.enable_script_checks,
    checkUpdateIntervalMs: ms('check_update_interval', c.check_update_interval),
    checkOutputMaxSize: c.check_output_max_size,
    discardCheckOutput: c.discard_check_output,
    disableRemoteExec: c.disable_remote_exec,
    disableCoordinates: c.disable_coordinates,
    registrator: registratorConfig(c.registrator ?? {}, devMode, ms),
    log: {
      level: c.log_level,
      json: c.log_json,
      file: c.log_file ?? '',
      rotateDurationMs: ms('log_rotate_duration', c.log_rotate_duration),
      rotateBytes: c.log_rotate_bytes,
      rotateMaxFiles: c.log_rotate_max_files,
      syslog: c.enable_syslog,
      syslogFacility: c.syslog_facility,
    },
    pidFile: c.pid_file ?? '',
    disableUpdateCheck: c.disable_update_check,
    telemetry: {
      metricsPrefix: c.telemetry.metrics_prefix,
      disableHostname: c.telemetry.disable_hostname,
      filterDefault: c.telemetry.filter_default,
      allowedPrefixes: prefixes.filter((prefix) => prefix.startsWith('+')).map((prefix) => prefix.slice(1)),
      blockedPrefixes: prefixes.filter((prefix) => prefix.startsWith('-')).map((prefix) => prefix.slice(1)),
      prometheusRetentionMs: ms('telemetry.prometheus_retention_time', c.telemetry.prometheus_retention_time),
      statsdAddress: c.telemetry.statsd_address ?? '',
      statsiteAddress: c.telemetry.statsite_address ?? '',
      dogstatsdAddress: c.telemetry.dogstatsd_addr ?? '',
      dogstatsdTags: c.telemetry.dogstatsd_tags ?? [],
    },
  };
  problems.throwIfAny();
  requireSoundDefinitions(config.services, config.checks);
  return deepFreeze(config);
}

/** The old homes of the `acl` block (reference/agent.md §2.3); what is set in the new home wins. */
function withDeprecated(c: FilledConfig, warn: (text: string) => void): FilledConfig {
  if (c.acl_enforce_version_8 !== undefined) {
    warn('config key "acl_enforce_version_8" is deprecated and should be removed');
  }
  if (c.acl_datacenter !== undefined) {
    warn("The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.");
  }
  const given = c.acl.tokens ?? {};
  const older = <T>(value: T, preset: T, old: T | undefined): T => (value === preset ? (old ?? value) : value);
  const tokens = {
    default: given.default ?? c.acl_token ?? '',
    agent: given.agent ?? c.acl_agent_token ?? '',
    agent_master: given.agent_master ?? c.acl_agent_master_token ?? '',
    replication: given.replication ?? c.acl_replication_token ?? '',
    master: given.master ?? c.acl_master_token ?? '',
  };
  const preset = defaults.acl;
  const primary = c.primary_datacenter ?? c.acl_datacenter;
  return {
    ...c,
    ...(primary === undefined ? {} : { primary_datacenter: primary }),
    acl: {
      ...c.acl,
      enabled: c.acl.enabled ?? c.acl_datacenter !== undefined,
      default_policy: older<string>(c.acl.default_policy, preset.default_policy, c.acl_default_policy),
      down_policy: older<string>(c.acl.down_policy, preset.down_policy, c.acl_down_policy),
      token_ttl: older<string>(c.acl.token_ttl, preset.token_ttl, c.acl_ttl),
      enable_key_list_policy: c.acl.enable_key_list_policy || (c.acl_enable_key_list_policy ?? false),
      enable_token_replication: c.acl.enable_token_replication || (c.enable_acl_replication ?? false),
      tokens,
    },
  };
}

function warnOfEnterprise(c: FilledConfig, warn: (text: string) => void): void {
  const given: readonly (readonly [string, unknown])[] = [
    ['autopilot.redundancy_zone_tag', c.autopilot.redundancy_zone_tag],
    ['autopilot.upgrade_version_tag', c.autopilot.upgrade_version_tag],
    ['autopilot.disable_upgrade_migration', c.autopilot.disable_upgrade_migration],
    ['dns_config.prefer_namespace', c.dns_config.prefer_namespace],
    ['acl.msp_disable_bootstrap', c.acl.msp_disable_bootstrap],
    ['acl.tokens.managed_service_provider', c.acl.tokens?.managed_service_provider],
    ['audit', c.audit],
    ['non_voting_server', c.non_voting_server ? true : undefined],
  ];
  for (const [key, value] of given) {
    if (value !== undefined)
      warn(`${JSON.stringify(key)} is a Consul Enterprise configuration and will have no effect`);
  }
  for (const key of ['segment', 'segments'] as const) {
    const value = c[key];
    if (value !== undefined && value !== '') {
      throw new ConfigError(`${JSON.stringify(key)} is a Consul Enterprise configuration. Remove it`);
    }
  }
}

function buildAddresses(
  c: FilledConfig,
  problems: Problems,
  host: TemplateHost,
  warn: (text: string) => void,
): Config['addresses'] {
  // A failing template leaves the choice to the bind address (reference/agent.md §2.5).
  const advertised = (key: AdvertiseKey): string | null => {
    const text = c[key];
    if (text === undefined) return null;
    try {
      return problems.oneAddress(key, expandTemplate(text, host));
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      warn(`${key} is ignored: ${error.message}`);
      return null;
    }
  };
  const bind = bindAddress(c.bind_addr, host);
  const client = problems.addresses('client_addr', c.client_addr).filter((address) => {
    if (!address.startsWith('unix://')) return true;
    problems.add('client_addr cannot be a unix socket');
    return false;
  });
  const listeners = (key: 'dns' | 'http' | 'https' | 'grpc'): readonly string[] => {
    const text = c.addresses?.[key];
    return text === undefined ? client : problems.addresses(`addresses.${key}`, text);
  };
  return {
    bind,
    advertise: advertised('advertise_addr'),
    advertiseIpv4: advertised('advertise_addr_ipv4'),
    advertiseIpv6: advertised('advertise_addr_ipv6'),
    advertiseWan: advertised('advertise_addr_wan'),
    advertiseWanIpv4: advertised('advertise_addr_wan_ipv4'),
    advertiseWanIpv6: advertised('advertise_addr_wan_ipv6'),
    client,
    dns: listeners('dns'),
    http: listeners('http'),
    https: listeners('https'),
    grpc: listeners('grpc'),
    serfLan: problems.oneAddress('serf_lan', c.serf_lan) ?? bind,
    serfWan: problems.oneAddress('serf_wan', c.serf_wan) ?? bind,
    serfLanAllowedCidrs: problems.cidrs('serf_lan_allowed_cidrs', c.serf_lan_allowed_cidrs ?? []),
    serfWanAllowedCidrs: problems.cidrs('serf_wan_allowed_cidrs', c.serf_wan_allowed_cidrs ?? []),
    tagged: c.tagged_addresses ?? {},
    translateWan: c.translate_wan_addrs,
  };
}

/** The peer hides every reason behind "cannot be empty"; here it follows on a line of its own. */
function bindAddress(text: string, host: TemplateHost): string {
  const empty = (reason: string): ConfigError =>
    new ConfigError(
      `bind_addr cannot be empty${reason === '' ? '' : `\n  (bind_addr is ${JSON.stringify(text)}: ${reason})`}`,
    );
  let words: string[];
  try {
    words = expandTemplate(text, host)
      .split(/\s+/)
      .filter((word) => word !== '');
  } catch (error) {
    if (error instanceof TemplateError) throw empty(error.message);
    throw error;
  }
  const [word] = words;
  if (word === undefined) throw empty(text === '' ? '' : 'the template gives no address');
  if (words.some((address) => address.startsWith('unix://')))
    throw new ConfigError('bind_addr cannot be a unix socket');
  if (words.length > 1) {
    throw new ConfigError("bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.");
  }
  if (ipFamily(word) === 0) throw empty(`${JSON.stringify(word)} is no IP address`);
  return word;
}

function joinAddresses(texts: readonly string[] | undefined, key: string, problems: Problems): string[] {
  return (texts ?? []).flatMap((text) => (text.includes('{{') ? problems.words(key, text) : [text]));
}

function requireSoundLimits(c: FilledConfig, devMode: boolean, host: ConfigHost): void {
  const { bootstrap, bootstrap_expect: expect, server } = c;
  const refuse = (text: string): never => {
    throw new ConfigError(text);
  };
  if (bootstrap && !server) refuse("'bootstrap = true' requires 'server = true'");
  if (expect < 0) refuse(`bootstrap_expect cannot be ${expect}. Must be greater than or equal to zero`);
  if (expect > 0 && !server) refuse("'bootstrap_expect > 0' requires 'server = true'");
  if (expect > 0 && devMode) refuse("'bootstrap_expect > 0' not allowed in dev mode");
  if (expect > 0 && bootstrap) refuse("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
  for (const key of ['udp_answer_limit', 'a_record_limit'] as const) {
    const value = c.dns_config[key];
    if (value < 0) refuse(`dns_config.${key} cannot be ${value}. Must be greater than or equal to zero`);
  }
  const multiplier = c.performance.raft_multiplier;
  if (multiplier < 1 || multiplier > 10) {
    refuse(`performance.raft_multiplier cannot be ${multiplier}. Must be between 1 and 10`);
  }
  if (c.check_output_max_size < 1) {
    refuse('check_output_max_size must be positive, to discard check output use the discard_check_output flag');
  }
  const connections = c.limits.http_max_conns_per_client;
  const needed = connections + fileDescriptorsReserved;
  if (host.fileDescriptorMax !== undefined && needed > host.fileDescriptorMax) {
    refuse(
      `system allows a max of ${host.fileDescriptorMax} file descriptors, ` +
        `but limits.http_max_conns_per_client: ${connections} needs at least ${needed}`,
    );
  }
}

function requireSoundAddresses(
  addresses: Config['addresses'],
  ports: Config['ports'],
  recursors: readonly string[],
): void {
  const { advertise, advertiseWan } = addresses;
  if (advertise !== null && isAnyAddress(advertise)) {
    throw new ConfigError('Advertise address cannot be 0.0.0.0, :: or [::]');
  }
  if (advertiseWan !== null && isAnyAddress(advertiseWan)) {
    throw new ConfigError('Advertise WAN address cannot be 0.0.0.0, :: or [::]');
  }
  for (const [key, address, family] of [
    ['advertise_addr_ipv4', addresses.advertiseIpv4, 4],
    ['advertise_addr_ipv6', addresses.advertiseIpv6, 6],
    ['advertise_addr_wan_ipv4', addresses.advertiseWanIpv4, 4],
    ['advertise_addr_wan_ipv6', addresses.advertiseWanIpv6, 6],
  ] as const) {
    if (address !== null && ipFamily(address) !== family)
      throw new ConfigError(`${key} must be an ipv${family} address`);
  }
  if (addresses.dns.some((address) => address.startsWith('unix://'))) {
    throw new ConfigError('DNS address cannot be a unix socket');
  }
  for (const recursor of recursors) {
    if (recursor.startsWith('unix://')) throw new ConfigError(`DNS Recursors cannot be unix sockets: ${recursor}`);
    if (isAnyAddress(recursor)) throw new ConfigError('DNS recursor address cannot be 0.0.0.0, :: or [::]');
  }
  const taken = new Map<string, string>();
  const claim = (name: string, hosts: readonly string[], port: number): void => {
    if (port < 0) return;
    for (const host of hosts) {
      const address = host.startsWith('unix://') ? host : hostPort(host, port);
      const owner = taken.get(address);
      if (owner !== undefined) throw new ConfigError(`${name} address ${address} already configured for ${owner}`);
      taken.set(address, name);
    }
  };
  claim('DNS', addresses.dns, ports.dns);
  claim('HTTP', addresses.http, ports.http);
  claim('HTTPS', addresses.https, ports.https);
  claim('gRPC', addresses.grpc, ports.grpc);
}

function requireSoundNames(c: FilledConfig, datacenter: string): void {
  const alt = (c.alt_domain ?? '').toLowerCase();
  const reserved = ['service', 'connect', 'node', 'query', 'addr', datacenter];
  if (alt !== '' && reserved.some((label) => alt === label || alt.startsWith(`${label}.`))) {
    throw new ConfigError(`alt_domain cannot start with {${reserved.join(',')}}`);
  }
  const provider = c.connect?.ca_provider ?? '';
  if (!caProviders.includes(provider)) throw new ConfigError(`${provider} is not a valid CA provider`);
  if (!tlsVersions.includes(c.tls_min_version)) {
    throw new ConfigError(
      `tls_min_version: value ${c.tls_min_version} not supported, please specify one of [${tlsVersions.join(',')}]`,
    );
  }
}

/** Go's strict base64; the length of the key is checked when it is used. */
function requireBase64(key: string): void {
  const bad = /[^A-Za-z0-9+/]/.exec(key.replace(/={0,2}$/, ''))?.index ?? (key.length % 4 === 0 ? -1 : key.length);
  if (bad >= 0) throw new ConfigError(`encrypt has invalid key: illegal base64 data at input byte ${bad}`);
}

function warnOfRisks(c: FilledConfig, nodeName: string, warn: (text: string) => void): void {
  if (/[^A-Za-z0-9-]/.test(nodeName)) {
    warn(
      `Node name ${JSON.stringify(nodeName)} will not be discoverable via DNS due to invalid characters. ` +
        'Valid characters include all alpha-numerics and dashes.',
    );
  } else if (nodeName.length > 63) {
    warn(
      `Node name ${JSON.stringify(nodeName)} will not be discoverable via DNS due to it being too long. ` +
        'Valid lengths are between 1 and 63 bytes.',
    );
  }
  const expect = c.bootstrap_expect;
  if (c.bootstrap) warn('bootstrap = true: do not enable unless necessary');
  if (expect === 1) warn('BootstrapExpect is set to 1; this is the same as Bootstrap mode.');
  if (expect > 1) warn(`bootstrap_expect > 0: expecting ${expect} servers`);
  if (expect > 1 && expect % 2 === 0) {
    warn(
      expect === 2
        ? 'bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. Use 3 or 5'
        : 'bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault tolerance. Use one more or one less',
    );
  }
  const guarded = c.acl.enabled === true || (c.http_config.allow_write_http_from ?? []).length > 0;
  if (c.enable_script_checks && !guarded) {
    warn(
      'using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, ' +
        'use enable-local-script-checks instead',
    );
  }
}

function cipherSuitesOf(text: string, problems: Problems): string[] {
  const suites = text
    .split(',')
    .map((suite) => suite.trim())
    .filter((suite) => suite !== '');
  const unknown = suites.find((suite) => !cipherSuites.has(suite));
  if (unknown !== undefined) {
    problems.add(`tls_cipher_suites: invalid tls cipher suites: unsupported cipher ${JSON.stringify(unknown)}`);
  }
  return suites;
}

const domainOf = (text: string): string => `${text.toLowerCase().replace(/\.+$/, '')}.`;
const contentPathOf = (text: string): string => `/${text.replaceAll(/^\/+|\/+$/g, '')}/`.replace('//', '/');

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const field of Object.values(value)) deepFreeze(field);
  }
  return value;
}
