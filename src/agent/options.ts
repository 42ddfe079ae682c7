/** From the agent's configuration to each part's own options: no decision, only names. */
import type { Config } from '../config/index.ts';
import type { DnsOptions } from '../dns/index.ts';
import type { HttpListener, HttpOptions } from '../http/index.ts';
import type { DnsAddress } from '../dns/index.ts';
import { readTlsFiles } from './tls-files.ts';
import { type AdvertisedAddress, type RegistratorOptions, registratorOptions } from '../registrator/index.ts';
import type { LogLevel } from '../ports/index.ts';

/** Where a default service name is looked for when orchestrators shall name it (registrator.md R25). */
const orchestrators = ['compose', 'swarm', 'ecs', 'image'] as const;

export function dnsOptions(config: Config): DnsOptions {
  const { dns } = config;
  return {
    nodeName: config.nodeName,
    datacenter: config.datacenter,
    domain: dns.domain,
    altDomain: dns.altDomain,
    nodeTtlMs: dns.nodeTtlMs,
    serviceTtlMs: dns.serviceTtlMs,
    onlyPassing: dns.onlyPassing,
    udpAnswerLimit: dns.udpAnswerLimit,
    aRecordLimit: dns.aRecordLimit,
    enableTruncate: dns.enableTruncate,
    disableCompression: dns.disableCompression,
    soa: dns.soa,
    nodeMetaTxt: dns.nodeMetaTxt,
    allowStale: dns.allowStale,
    maxStaleMs: dns.maxStaleMs,
    useCache: dns.useCache,
    recursors: dns.recursors,
    recursorTimeoutMs: dns.recursorTimeoutMs,
    translateWanAddrs: config.addresses.translateWan,
  };
}

export function dnsAddresses(config: Config): readonly DnsAddress[] {
  if (config.ports.dns <= 0) return [];
  return config.addresses.dns.map((host) => ({ host, port: config.ports.dns }));
}

/** @throws ConfigError for certificates that cannot be used. */
export function httpOptions(config: Config): HttpOptions {
  const { tls } = config;
  return {
    datacenter: config.datacenter,
    pretty: config.devMode,
    responseHeaders: config.http.responseHeaders,
    blockEndpoints: config.http.blockEndpoints,
    allowWriteHttpFrom: config.http.allowWriteFrom,
    useCache: config.http.useCache,
    maxConnsPerClient: config.limits.httpMaxConnsPerClient,
    kvMaxValueSize: config.limits.kvMaxValueBytes,
    txnMaxRequestSize: config.limits.txnMaxBytes,
    discoveryMaxStaleMs: config.discoveryMaxStaleMs,
    disableUnprintableFilter: config.http.disableUnprintableCharFilter,
    disableCoordinates: config.disableCoordinates,
    translateWanAddrs: config.addresses.translateWan,
    dnsDomain: config.dns.domain,
    defaultQueryTimeMs: config.defaultQueryTimeMs,
    maxQueryTimeMs: config.maxQueryTimeMs,
    ui: config.ui.enabled || config.ui.dir !== '' ? { contentPath: config.ui.contentPath, dir: config.ui.dir } : null,
    enableDebug: config.enableDebug,
    tls:
      config.ports.https > 0
        ? {
            ...readTlsFiles(config),
            minVersion: tls.minVersion,
            cipherSuites: tls.cipherSuites,
            preferServerCipherSuites: tls.preferServerCipherSuites,
            verifyIncoming: tls.verifyIncoming || tls.verifyIncomingHttps,
            handshakeTimeoutMs: config.limits.httpsHandshakeTimeoutMs,
          }
        : null,
  };
}

const unixPrefix = 'unix://';

export function httpListeners({ unixSockets, addresses, ports }: Config): readonly HttpListener[] {
  const mode = unixSockets.mode === '' ? 0 : Number.parseInt(unixSockets.mode, 8);
  const on = (hosts: readonly string[], port: number, tls: boolean): HttpListener[] =>
    hosts
      .filter((address) => address.startsWith(unixPrefix) || port > 0)
      .map((address) =>
        address.startsWith(unixPrefix)
          ? { kind: 'unix', path: address.slice(unixPrefix.length), mode, tls }
          : { kind: 'tcp', host: address, port, tls },
      );
  return [...on(addresses.http, ports.http, false), ...(ports.https > 0 ? on(addresses.https, ports.https, true) : [])];
}

export function registratorOptionsOf(
  config: Config,
  host: {
    readonly hostname: string;
    readonly advertise: () => AdvertisedAddress;
    readonly ownContainerIds: readonly string[];
  },
): RegistratorOptions {
  const { registrator } = config;
  return registratorOptions({
    hostname: registrator.hostname || host.hostname,
    advertise: host.advertise,
    ownContainerIds: host.ownContainerIds,
    ip: registrator.ip,
    internal: registrator.internal,
    importLeftovers: registrator.cleanup,
    explicit: registrator.explicit,
    useIpFromLabel: registrator.useIpFromLabel,
    tags: registrator.tags,
    meta: registrator.meta,
    deregister:
      registrator.keepCriticalMs > 0
        ? { kind: 'keep-critical', keepMs: registrator.keepCriticalMs }
        : { kind: registrator.deregister },
    resyncMs: registrator.resyncMs,
    networks: registrator.networks,
    naming: registrator.naming,
    nameFrom: registrator.nameFrom === 'image' ? ['image'] : orchestrators,
    namespace: registrator.labelNamespace,
    include: registrator.include,
    exclude: registrator.exclude,
    labelSelector: registrator.labelSelector.split(',').filter((term) => term !== ''),
    loopback: registrator.loopback,
    checkTarget: registrator.checkTarget,
    healthStarting: registrator.healthStarting,
    delayUntilHealthy: registrator.delayUntilHealthy,
    onStop: registrator.deregisterOnStop ? 'deregister' : 'none',
    autoMeta: registrator.autoMeta,
    scriptChecks: config.enableRemoteScriptChecks,
    flapsMax: registrator.flapCount,
    flapWindowMs: registrator.flapWindowMs,
  });
}

/** Consul's level names, in any case, as ours. */
export function logLevelOf(name: string): LogLevel {
  const lower = name.toLowerCase();
  if (lower === 'err') return 'error';
  return lower as LogLevel;
}
