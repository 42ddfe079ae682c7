/**
 * Everything is put together here, and only here: this file knows the real ports, which part holds which, and the
 * order in which they start and stop. It decides nothing else.
 */
import { hostPort, multiErrorText } from '../lib/index.ts';
import { existsSync, statSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { type CheckTls, createChecks } from '../checks/index.ts';
import {
  type AgentFlags,
  agentFlags,
  type Config,
  ConfigError,
  configFormatOf,
  debugConfig,
  type LoadedConfig,
  loadConfig,
  logLevelProblem,
  parseFlags,
} from '../config/index.ts';
import { createDnsServer } from '../dns/index.ts';
import {
  type AdvertiseDecision,
  collectFacts,
  decideAdvertise,
  describeAdvertise,
  type EnvironmentFacts,
  isDecidedBySettings,
  resolveJoinAddresses,
} from '../environment/index.ts';
import { createHttpServer } from '../http/index.ts';
import { unmeasuredCoordinate } from '../model/index.ts';
import { openAppendFile } from '../node/append-file.ts';
import { readConfigFiles } from '../node/config-files.ts';
import { openDataDirectory } from '../node/data-directory.ts';
import { nodeDisk } from '../node/disk.ts';
import { DockerodeEngine } from '../node/dockerode-engine.ts';
import { engineEndpoint } from '../node/engine-endpoint.ts';
import { createProbePorts, requestOverHttp } from '../node/environment-probes.ts';
import { readHostId } from '../node/host-id.ts';
import { findDefaultInterface, listInterfaces } from '../node/interfaces.ts';
import { createLogger, type LogSystem } from '../node/logger.ts';
import { startRuntimeMetrics } from '../node/metrics-runtime.ts';
import { createMetrics } from '../node/metrics-sink.ts';
import { createStatsdOutlet, openStatsdSocket, openStatsiteSocket } from '../node/metrics-statsd.ts';
import { SystemProcessRunner } from '../node/process-runner.ts';
import { resolveHost } from '../node/resolve-host.ts';
import { SystemClock } from '../node/system-clock.ts';
import { storeScript } from '../node/script-file.ts';
import { SystemRandom } from '../node/system-random.ts';
import { notifyReady } from '../node/systemd-notify.ts';
import { TcpNetwork } from '../node/tcp-network.ts';
import { createTlsClient, createTlsServer } from '../node/tls-streams.ts';
import { UdpNetwork } from '../node/udp-network.ts';
import type { DockerEngine, Logger, Metrics } from '../ports/index.ts';
import {
  type AdvertisedAddress as AdvertisedHost,
  createRegistrator,
  type RegistrationBackend,
  type Registrator,
  validateRegistratorOptions,
} from '../registrator/index.ts';
import { AdvertisedAddress } from './advertised-address.ts';
import { addressBytesOf } from '../gossip/index.ts';
import { agentAcl, tokensOf } from './acl.ts';
import { Agent, compatibleVersion } from './agent.ts';
import { AgentCache } from './agent-cache.ts';
import { createAliasSource } from './alias-source.ts';
import { AntiEntropy } from './anti-entropy.ts';
import { AutoEncrypt, serverHosts, signByServers } from './auto-encrypt.ts';
import { bannerLines } from './banner.ts';
import { openClientSide } from './client-side.ts';
import type { ClusterSide } from './cluster-side.ts';
import { CoordinateReports } from './coordinate-reports.ts';
import { logCrashes } from './crash-log.ts';
import { createLocalBackend } from './local-backend.ts';
import { LocalState, type LocalStateOptions } from './local-state.ts';
import { Membership } from './membership.ts';
import { resolveNodeId } from './node-id.ts';
import { dnsAddresses, dnsOptions, httpListeners, httpOptions, logLevelOf, registratorOptionsOf } from './options.ts';
import { Persistence } from './persistence.ts';
import { Registry } from './registry.ts';
import { rpcTlsLimits } from './outgoing-rpc.ts';
import { RemoteExec } from './remote-exec.ts';
import { RetryJoin } from './retry-join.ts';
import { openServerSide } from './server-side.ts';
import { SignalHandler } from './signals.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';
import { AgentTokens } from './tokens.ts';
import { UserEvents } from './user-events.ts';
import { portolanRevision, portolanVersion } from './version.ts';
import { watchEndpoint, Watches } from './watches.ts';
import { warningsOf } from './without-effect.ts';

/** What the agent needs of the process it runs in. */
export interface AgentIo {
  readonly stdout: { write(data: string): unknown };
  readonly stderr: { write(data: string): unknown };
  readonly env: NodeJS.ProcessEnv;
  readonly isTTY: boolean;
}

/** Reads all sources anew; the same at the start and at a reload. @throws ConfigError */
function readConfig(flags: AgentFlags, paths: readonly string[]): LoadedConfig {
  const format = flags['config-format'];
  const known = format === undefined || format === '' ? undefined : configFormatOf(`x.${format}`);
  if (format && known === undefined)
    throw new ConfigError(`-config-format cannot be "${format}". Use json, hcl or yaml`);
  const { files, warnings } = readConfigFiles(paths, known);
  const defaultInterface = findDefaultInterface();
  const loaded = loadConfig({
    flags,
    files,
    host: {
      hostname: hostname(),
      interfaces: listInterfaces(),
      ...(defaultInterface === undefined ? {} : { defaultInterface }),
      isOtherThanDirectory: (path) => existsSync(path) && !statSync(path).isDirectory(),
    },
  });
  return { config: loaded.config, warnings: [...warnings, ...loaded.warnings] };
}

/**
 * Runs the agent until it ends.
 * @param argv the words after `agent`.
 * @returns the exit code (reference/agent.md §1.6).
 */
export async function runAgent(argv: readonly string[], io: AgentIo): Promise<number> {
  let loaded: LoadedConfig;
  const parsed = parseFlags(agentFlags, argv);
  if (parsed.args.length > 0) {
    io.stderr.write(`==> Unexpected extra arguments: [${parsed.args.join(' ')}]\n`);
    return 1;
  }
  const paths = parsed.given
    .filter(({ name }) => name === 'config-file' || name === 'config-dir')
    .map(({ text }) => text);
  const read = (): LoadedConfig => readConfig(parsed.values, paths);
  try {
    loaded = read();
    const problem = logLevelProblem(loaded.config.log.level);
    if (problem !== null) throw new ConfigError(problem);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.stderr.write(`==> ${error.message}\n`);
    return 1;
  }
  try {
    return await new RunningAgent(loaded, read, io).run();
  } catch (error) {
    io.stderr.write(`==> ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

/** What runs, by name: who starts and stops it needs to know it. */
interface Parts {
  readonly nodeId: string;
  readonly nodeAddress: string;
  readonly advertised: AdvertisedAddress;
  /** Whether settings decide about the address of published ports, so that it never changes. */
  readonly isAddressGiven: boolean;
  readonly telemetry: Telemetry;
  readonly tokens: AgentTokens;
  readonly side: ClusterSide;
  readonly membership: Membership;
  readonly cache: AgentCache;
  readonly state: LocalState;
  readonly sync: AntiEntropy;
  readonly coordinateReports: CoordinateReports;
  readonly registry: Registry;
  readonly registrators: readonly Registrator[];
  readonly remoteExec: RemoteExec;
  readonly watches: Watches;
  readonly http: ReturnType<typeof createHttpServer>;
  readonly dns: ReturnType<typeof createDnsServer>;
  readonly signals: SignalHandler;
  readonly joins: readonly RetryJoin[];
  /** Tells the supervisor that others can count on us. */
  ready(): Promise<void>;
}

interface Addresses {
  readonly facts: EnvironmentFacts;
  readonly nodeAddress: string;
  readonly advertised: AdvertisedAddress;
  readonly isAddressGiven: boolean;
  readonly probes: ReturnType<typeof createProbePorts>;
}

interface Telemetry {
  readonly system: ReturnType<typeof createMetrics>;
  stop(): void;
}

interface StatsdConnection {
  readonly outlet: ReturnType<typeof createStatsdOutlet>;
  close(): void;
}

/** One agent from start to end. */
class RunningAgent {
  readonly #io: AgentIo;
  readonly #readConfig: () => LoadedConfig;
  readonly #warnings: readonly string[];
  #config: Config;
  readonly #clock = new SystemClock();
  readonly #random = new SystemRandom();
  readonly #log: LogSystem;
  readonly #logger: Logger;
  /** As read at the start or at the last reload. */
  #tlsFiles: TlsFiles;
  #exit: (code: number) => void = () => undefined;
  readonly #exited: Promise<number>;
  /** What has not been started by now never is. */
  #ending = false;
  /** Whether others know us. */
  #isMember = false;
  #goodbye: Promise<void> | undefined;
  /** Written by this agent. */
  #pidFile: string | undefined;

  constructor(loaded: LoadedConfig, read: () => LoadedConfig, io: AgentIo) {
    this.#io = io;
    this.#readConfig = read;
    this.#config = loaded.config;
    this.#warnings = [...loaded.warnings, ...warningsOf(loaded.config)];
    this.#exited = new Promise((resolve) => {
      this.#exit = (code) => {
        this.#ending = true;
        resolve(code);
      };
    });
    const { log } = loaded.config;
    this.#log = createLogger({
      level: logLevelOf(log.level),
      json: log.json,
      stdout: { write: (text) => io.stdout.write(text), isTTY: io.isTTY },
      clock: this.#clock,
      ...(log.file === ''
        ? {}
        : {
            file: {
              path: log.file,
              rotateBytes: log.rotateBytes,
              rotateMs: log.rotateDurationMs,
              filesMax: log.rotateMaxFiles,
            },
          }),
    });
    this.#logger = this.#log.logger;
    this.#tlsFiles = readTlsFiles(loaded.config);
  }

  /** Starts everything, waits for the end and stops it. @returns the exit code */
  async run(): Promise<number> {
    const parts = await this.#assemble();
    const { signals, advertised, registrators } = parts;
    const config = this.#config;
    this.#banner(parts.nodeId, parts.nodeAddress, advertised.current);
    for (const warning of this.#warnings) this.#logger.warn(warning);
    const isServiceAddress = registrators.length > 0 && !config.registrator.internal;
    for (const { text, fix } of isServiceAddress ? advertised.current.warnings : []) this.#logger.warn(text, { fix });
    const letSignalsGo = this.#onSignals(signals);
    const close = (): void => {
      letSignalsGo();
      this.#log.close();
    };
    try {
      // Servers that do not answer keep a step waiting; a signal does not wait for it.
      await Promise.race([this.#start(parts), this.#exited]);
    } catch (error) {
      if (!this.#ending) {
        this.#logger.error('Error starting agent', { error });
        await this.#shutDown(parts, 'stop');
        close();
        return 1;
      }
    }
    if (!this.#ending) {
      parts.watches.replace(config.watches);
      for (const registrator of registrators) registrator.start();
      if (registrators.length > 0 && !parts.isAddressGiven) advertised.start();
      if (!config.log.json) this.#io.stdout.write('==> Portolan agent running!\n');
      for (const join of parts.joins) join.start();
      // Who has nobody to join is ready as it is.
      if (isAlone(config)) await parts.ready();
    }

    const code = await this.#exited;
    if (!signals.left) await this.#shutDown(parts, 'stop');
    this.#logger.info('Exit code', { code });
    close();
    return code;
  }

  /** Makes every part and tells each of those it needs; nothing runs yet. */
  async #assemble(): Promise<Parts> {
    const config = this.#config;
    const clock = this.#clock;
    const random = this.#random;
    const logger = this.#logger;
    const telemetry = this.#openTelemetry();
    const { metrics } = telemetry.system;

    const files = config.dataDir === null ? undefined : await openDataDirectory(config.dataDir);
    const hostId = config.disableHostNodeId ? undefined : await readHostId();
    const nodeId = await resolveNodeId(config.nodeId ?? '', files, random, hostId);

    const engines = this.#engines(metrics);
    const { facts, nodeAddress, advertised, isAddressGiven, probes } = await this.#findAddresses(engines[0], () => {
      for (const registrator of registrators) registrator.reconcile();
    });

    const nodeMeta = (): Readonly<Record<string, string>> => ({
      ...this.#config.nodeMeta,
      'consul-network-segment': '',
    });
    const tokens = new AgentTokens({
      configured: tokensOf(config),
      files: config.acl.enableTokenPersistence ? files : undefined,
      logger: logger.named('agent'),
    });
    const tlsSettings = {
      identity: () => {
        const ca = [...this.#tlsFiles.ca, ...side.trustedRoots()].join('\n');
        const own = { ca, cert: this.#tlsFiles.cert, key: this.#tlsFiles.key };
        const signed = autoEncrypt?.identity;
        return signed === undefined ? own : { ...signed, ca: `${own.ca}\n${signed.ca}` };
      },
      ...rpcTlsLimits(config),
    };
    const streams = new TcpNetwork();
    const tlsClient = createTlsClient(tlsSettings);
    const fail = (error: Error): void => {
      logger.error('cannot go on; the next start takes up what is on the disk', { error });
      this.#exit(1);
    };
    const joinPorts = { ...probes, logger };
    const discover = (entry: string): Promise<readonly string[]> => resolveJoinAddresses(entry, joinPorts);
    const autoEncrypt = config.autoEncrypt.tls
      ? new AutoEncrypt({
          nodeName: config.nodeName,
          datacenter: config.datacenter,
          dnsNames: config.autoEncrypt.dnsSan,
          ipAddresses: config.autoEncrypt.ipSan.map(addressBytesOf).filter((bytes) => bytes !== undefined),
          servers: async () => {
            const entries = await Promise.all([...config.join.start, ...config.join.retry].map(discover));
            return serverHosts(entries.flat(), resolveHost);
          },
          sign: signByServers(config, { clock, streams, tls: tlsClient }),
          token: () => tokens.agent,
          clock,
          random,
          logger,
        })
      : undefined;
    /** Filled in when the side, which needs it, has been made. */
    const made: { membership?: Membership } = {};
    const side: ClusterSide = config.server.enabled
      ? await openServerSide({
          config,
          nodeId,
          address: nodeAddress,
          version: compatibleVersion,
          membership: () => made.membership,
          clock,
          random,
          logger,
          metrics,
          streams,
          http: requestOverHttp,
          files: config.devMode ? undefined : files,
          tls: { client: tlsClient, server: this.#tlsFiles.cert === '' ? null : createTlsServer(tlsSettings) },
          ca: this.#tlsFiles.ca,
          disk: config.devMode || config.dataDir === null ? undefined : nodeDisk(config.dataDir),
          onFailure: fail,
        })
      : openClientSide({
          config: () => this.#config,
          clock,
          random,
          logger,
          metrics,
          streams,
          tls: tlsClient,
          autoEncrypt,
          memberCount: () => membership.memberCount,
          onServerUp: () => sync.serversChanged(),
        });
    const journals = config.devMode ? null : config.dataDir;
    const membership = await Membership.create(
      config,
      {
        nodeName: config.nodeName,
        nodeId,
        version: compatibleVersion,
        advertise: nodeAddress,
        advertiseWan: config.addresses.advertiseWan ?? nodeAddress,
      },
      {
        onMembers: (event, pool) => side.membersChanged(event, pool),
        onUserEvent: (message) => events.receive(message),
        onNewLeader: (leader) => {
          logger.info('New leader elected', { payload: leader });
          sync.serversChanged();
        },
        onJoined: () => void ready(),
      },
      {
        clock,
        random,
        logger,
        metrics,
        datagrams: new UdpNetwork(),
        streams,
        resolve: resolveHost,
        files,
        openJournal: journals === null ? undefined : (path) => openAppendFile(join(journals, path)),
      },
    );
    made.membership = membership;
    const ready = (): Promise<void> => notifyReady({ logger, variables: this.#io.env });

    const cache = new AgentCache({
      caller: side.caller,
      clock,
      random,
      metrics,
      limits: () => this.#config.cache,
      defaultQueryTimeMs: config.defaultQueryTimeMs,
      maxQueryTimeMs: config.maxQueryTimeMs,
    });
    const state = new LocalState({
      clock,
      random,
      options: localStateOptions(config),
      onDirty: () => sync.trigger(),
    });
    const shell = this.#io.env.SHELL || '/bin/sh';
    const remoteExec = new RemoteExec({
      caller: side.caller,
      datacenter: config.datacenter,
      nodeName: config.nodeName,
      token: () => tokens.agent,
      clock,
      logger,
      processRunner: new SystemProcessRunner({ clock }),
      storeScript,
      shell,
      disabled: config.disableRemoteExec,
    });
    const events = new UserEvents({
      nodeName: config.nodeName,
      services: () => state.serviceRecords,
      caller: side.caller,
      random,
      logger,
      onRemoteExec: (event) => void remoteExec.handle(event),
    });
    const checks = createChecks({
      clock,
      random,
      logger,
      metrics,
      processRunner: new SystemProcessRunner({ clock }),
      docker: () => engines[0],
      aliasSource: createAliasSource({
        state,
        caller: side.caller,
        datacenter: config.datacenter,
        clock,
        token: () => tokens.user,
      }),
      options: {
        outputMaxSize: config.checkOutputMaxSize,
        discardOutput: config.discardCheckOutput,
        ...(config.tls.forChecks ? { tls: checkTls(config) } : {}),
      },
      onStatus: (id, status, output) => state.updateCheck(id, status, output),
    });
    const sync = new AntiEntropy({
      state,
      caller: side.caller,
      node: () => ({
        ID: nodeId,
        Node: config.nodeName,
        Address: nodeAddress,
        Datacenter: config.datacenter,
        TaggedAddresses: taggedAddresses(config, nodeAddress),
        Meta: nodeMeta(),
      }),
      clock,
      random,
      logger,
      acl: {
        user: () => tokens.user,
        agent: () => tokens.agent,
        accessorOf: (token) => side.accessorOf(token),
      },
      memberCount: () => membership.memberCount,
    });
    const coordinateReports = new CoordinateReports({
      caller: side.caller,
      datacenter: config.datacenter,
      nodeName: config.nodeName,
      token: () => tokens.agent,
      coordinate: () => membership.coordinate ?? unmeasuredCoordinate,
      memberCount: () => membership.memberCount,
      clock,
      random,
      logger: logger.named('agent'),
    });
    const registry = new Registry({
      state,
      checks,
      antiEntropy: sync,
      persistence: files && new Persistence({ files, clock, logger }),
      clock,
      logger,
      options: {
        nodeName: config.nodeName,
        scripts: { fromApi: config.enableRemoteScriptChecks, fromFiles: config.enableLocalScriptChecks },
        sidecarPorts: { min: config.ports.sidecarMin, max: config.ports.sidecarMax },
      },
    });
    const registrators = this.#registrators(engines, facts, advertised, createLocalBackend(state, registry), metrics);

    const agent = new Agent(
      {
        nodeName: config.nodeName,
        nodeId,
        datacenter: config.datacenter,
        isServer: config.server.enabled,
        revision: portolanRevision,
        grpcEnabled: config.ports.grpc > 0,
      },
      { state, registry, events, membership },
      {
        acl: agentAcl({
          enabled: config.acl.enabled,
          defaultAllows: config.acl.defaultPolicy !== 'deny',
          nodeName: config.nodeName,
          tokens,
          server: side,
        }),
        debugConfig: () => debugConfig(config),
        nodeMeta,
        clusterStats: () => side.stats(),
        metrics: telemetry.system.snapshot,
        prometheusMetrics: telemetry.system.prometheus,
        subscribeLog: this.#log.subscribe,
        reload: () => this.#reload(parts),
        leave: async () => {
          signals.leave();
          // The answer says that the others know; its listener waits for it before it closes.
          await this.#goodbye;
        },
      },
    );
    const http = createHttpServer({
      caller: side.caller,
      snapshots: side.snapshots,
      cache,
      agent,
      options: httpOptions(config),
      clock,
      random,
      logger: logger.named('http'),
      metrics,
    });
    const dns = createDnsServer({
      caller: side.caller,
      cachedCaller: cache.asCaller(() => this.#config.dns.cacheMaxAgeMs),
      token: () => tokens.user,
      options: dnsOptions(config),
      clock,
      random,
      logger: logger.named('dns'),
      metrics,
    });
    const watches = new Watches({
      clock,
      logger: logger.named('watch'),
      processRunner: new SystemProcessRunner({ clock }),
      endpoint: () => watchEndpoint(httpListeners(config)),
      shell,
    });
    const signals = new SignalHandler({
      logger,
      clock,
      policy: { skipLeaveOnInterrupt: config.skipLeaveOnInterrupt, leaveOnTerminate: config.leaveOnTerminate },
      actions: {
        reload: () => this.#reload(parts),
        leave: () => this.#shutDown(parts, 'leave'),
        exit: (code) => this.#exit(code),
        abort: (code) => {
          this.#log.close();
          process.exit(code);
        },
      },
    });

    const parts: Parts = {
      nodeId,
      nodeAddress,
      telemetry,
      tokens,
      side,
      membership,
      cache,
      state,
      sync,
      coordinateReports,
      registry,
      remoteExec,
      watches,
      http,
      dns,
      signals,
      joins: this.#retryJoins(membership, discover),
      registrators,
      advertised,
      isAddressGiven,
      ready,
    };
    return parts;
  }

  /** One part after the other: each finds what it needs at work. */
  async #start(parts: Parts): Promise<void> {
    const { tokens, side, membership, registry, sync, coordinateReports, dns, http } = parts;
    const config = this.#config;
    const logger = this.#logger;
    const steps: readonly (() => Promise<void> | void)[] = [
      () => tokens.load(),
      () => side.prepare(),
      async () => {
        await membership.start();
        this.#isMember = true;
      },
      () => side.start(),
      () => registry.replaceFileDefinitions(config.services, config.checks),
      () => registry.restore(),
      () => {
        sync.start();
        if (!config.disableCoordinates) coordinateReports.start();
        registry.start();
      },
      async () => {
        if (config.pidFile === '') return;
        await mkdir(dirname(config.pidFile), { recursive: true });
        await writeFile(config.pidFile, String(process.pid));
        this.#pidFile = config.pidFile;
      },
      async () => {
        for (const { host, port } of await dns.start(dnsAddresses(config))) {
          for (const network of ['udp', 'tcp']) {
            logger.info('Started DNS server', { address: hostPort(host, port), network });
          }
        }
      },
      async () => {
        const listeners = httpListeners(config);
        for (const [index, address] of (await http.start(listeners)).entries()) {
          const what = listeners[index]?.tls === true ? 'HTTPS' : 'HTTP';
          logger.info(`Started ${what} server`, { address, network: address.startsWith('/') ? 'unix' : 'tcp' });
        }
      },
      () => this.#startJoins(membership),
    ];
    for (const step of steps) {
      if (this.#ending) return;
      await step();
    }
  }

  /** What acts by itself comes to rest, and others hear that we go. */
  async #sayGoodbye(parts: Parts, mode: 'leave' | 'stop'): Promise<void> {
    const { advertised, watches, remoteExec, registrators, sync, coordinateReports, joins, side, membership } = parts;
    const services = mode === 'leave' && !this.#config.registrator.leaveServices ? 'deregister-all' : 'leave-services';
    advertised.stop();
    watches.stop();
    remoteExec.stop();
    await Promise.all(registrators.map((registrator) => registrator.stop(services)));
    sync.stop();
    coordinateReports.stop();
    for (const join of joins) join.stop();
    if (mode === 'stop' || !this.#isMember) return;
    await side.prepareLeave();
    await membership.leave();
    await side.finishLeave();
  }

  async #shutDown(parts: Parts, mode: 'leave' | 'stop'): Promise<void> {
    const { registry, dns, http, membership, cache, side, telemetry } = parts;
    this.#ending = true;
    this.#logger.info('Requesting shutdown');
    await (this.#goodbye ??= this.#sayGoodbye(parts, mode));
    // Together: each has a limit of its own, and a supervisor does not wait for their sum.
    await Promise.all([registry.stop(), dns.stop(), http.stop(), membership.shutdown()]);
    cache.stop();
    await side.stop();
    this.#logger.info('shutdown complete');
    telemetry.stop();
    if (this.#pidFile !== undefined) await rm(this.#pidFile, { force: true });
  }

  /** Takes what may change in the configuration. @throws ConfigError before anything is touched */
  async #reload({ registry, state, tokens, dns, http, watches, sync }: Parts): Promise<void> {
    const { config: next, warnings } = this.#readConfig();
    const problem = logLevelProblem(next.log.level);
    if (problem !== null) throw new ConfigError(problem);
    const nextHttp = httpOptions(next);
    const nextTls = readTlsFiles(next);
    for (const warning of warnings) this.#logger.warn(warning);
    await registry.replaceFileDefinitions(next.services, next.checks);
    const metaChanged = JSON.stringify(next.nodeMeta) !== JSON.stringify(this.#config.nodeMeta);
    this.#config = next;
    this.#log.setLevel(logLevelOf(next.log.level));
    state.setOptions(localStateOptions(next));
    tokens.configure(tokensOf(next));
    this.#tlsFiles = nextTls;
    await dns.reload(dnsOptions(next));
    http.reload(nextHttp);
    watches.replace(next.watches);
    if (metaChanged) sync.nodeInfoChanged();
  }

  /** `-join` and `-join-wan`: one attempt, without which there is no agent. @throws Error when it fails. */
  async #startJoins(membership: Membership): Promise<void> {
    const { start, startWan } = this.#config.join;
    for (const [addresses, wan] of [
      [start, false],
      [startWan, true],
    ] as const) {
      if (addresses.length === 0) continue;
      if (!this.#config.log.json) this.#io.stdout.write('==> Joining cluster...\n');
      const { joined, errors } = await membership.join(addresses, { wan });
      if (joined === 0) throw new Error(multiErrorText(errors));
      if (!this.#config.log.json) {
        this.#io.stdout.write(`    Join completed. Synced with ${joined} initial agents\n`);
      }
    }
  }

  /** `retry_join` of both pools, not started yet. */
  #retryJoins(membership: Membership, discover: (entry: string) => Promise<readonly string[]>): readonly RetryJoin[] {
    const retryJoin = (cluster: 'LAN' | 'WAN', entries: readonly string[], intervalMs: number, retriesMax: number) =>
      new RetryJoin({
        cluster,
        entries,
        intervalMs,
        retriesMax,
        discover,
        join: (addresses) => membership.join(addresses, { wan: cluster === 'WAN' }),
        onExhausted: () => this.#exit(1),
        clock: this.#clock,
        logger: this.#logger,
      });
    const { retry, retryIntervalMs, retryMax, retryWan, retryIntervalWanMs, retryMaxWan } = this.#config.join;
    return [
      retryJoin('LAN', retry, retryIntervalMs, retryMax),
      ...(membership.wan === undefined ? [] : [retryJoin('WAN', retryWan, retryIntervalWanMs, retryMaxWan)]),
    ];
  }

  /** Where figures go: kept for whoever asks, and sent where the configuration says. */
  #openTelemetry(): Telemetry {
    const { metricsPrefix, disableHostname, allowedPrefixes, blockedPrefixes, filterDefault, prometheusRetentionMs } =
      this.#config.telemetry;
    const runtime = startRuntimeMetrics();
    const statsd = this.#openStatsd();
    const system = createMetrics({
      clock: this.#clock,
      prefix: metricsPrefix,
      // As the peer: host names only where metrics of several hosts come together.
      hostName: disableHostname || (statsd.length === 0 && prometheusRetentionMs <= 0) ? null : hostname(),
      prefixFilter: [...allowedPrefixes.map((name) => `+${name}`), ...blockedPrefixes.map((name) => `-${name}`)],
      filterDefault,
      prometheusRetentionMs,
      outlets: statsd.map(({ outlet }) => outlet),
      collect: runtime.collect,
      prometheusProcess: runtime.prometheusProcess,
    });
    return {
      system,
      stop: () => {
        system.stop();
        runtime.stop();
        for (const connection of statsd) connection.close();
      },
    };
  }

  #openStatsd(): readonly StatsdConnection[] {
    const { statsdAddress, statsiteAddress, dogstatsdAddress, dogstatsdTags } = this.#config.telemetry;
    const open = (
      address: string,
      openSocket: typeof openStatsdSocket,
      dogTags?: readonly string[],
    ): readonly StatsdConnection[] => {
      if (address === '') return [];
      const socket = openSocket(address);
      const outlet = createStatsdOutlet({
        clock: this.#clock,
        send: (datagram) => socket.send(datagram),
        ...(dogTags === undefined ? {} : { dogTags }),
      });
      return [{ outlet, close: () => socket.close() }];
    };
    return [
      ...open(statsdAddress, openStatsdSocket),
      ...open(statsiteAddress, openStatsiteSocket),
      ...open(dogstatsdAddress, openStatsdSocket, dogstatsdTags),
    ];
  }

  /**
   * What this host knows about itself, and the addresses that follow: this node's, and that of published ports.
   * @param onChange the latter is another one.
   * @throws Error when no address can be found, with what to set
   */
  async #findAddresses(engine: DockerEngine | undefined, onChange: () => void): Promise<Addresses> {
    const config = this.#config;
    const { bind, advertise } = config.addresses;
    const { serfLan, serfWan, server } = config.ports;
    const nodeSettings = { advertiseAddr: advertise, bindAddr: bind, ports: { serfLan, serfWan, server } };
    // The address of published ports is the host's, also when this node itself only listens on loopback (-dev).
    // Whether gossip is published says nothing about theirs.
    const serviceSettings = {
      ...nodeSettings,
      ...(config.devMode && advertise === null ? { bindAddr: '0.0.0.0' } : {}),
      ports: { serfLan: 0, serfWan: 0, server: 0 },
    };
    const isAddressGiven = isDecidedBySettings(serviceSettings, definedOnly(this.#io.env));
    const probes = createProbePorts(this.#clock, engine ?? null);
    const look = (): Promise<EnvironmentFacts> =>
      collectFacts(probes, { decided: isAddressGiven, metadata: 'auto', gossipPort: serfLan });
    const facts = await look();
    const { address: nodeAddress, error } = decideAdvertise(facts, nodeSettings);
    const advertised = new AdvertisedAddress({
      first: decideAdvertise(facts, serviceSettings),
      decide: async () => decideAdvertise(await look(), serviceSettings),
      clock: this.#clock,
      logger: this.#logger,
      onChange,
    });
    if (nodeAddress === null) throw new Error(error ?? 'no address to advertise');
    return { facts, nodeAddress, advertised, isAddressGiven, probes };
  }

  #engines(metrics: Metrics): readonly DockerEngine[] {
    const { enabled, dockerHosts } = this.#config.registrator;
    // Docker checks need an engine whether or not containers are watched.
    const urls = dockerHosts.length > 0 && enabled !== false ? dockerHosts : [dockerHosts[0]];
    return urls.map(
      (url) =>
        new DockerodeEngine({
          endpoint: engineEndpoint(this.#io.env, url),
          clock: this.#clock,
          random: this.#random,
          logger: this.#logger.named('docker'),
          metrics,
        }),
    );
  }

  #registrators(
    engines: readonly DockerEngine[],
    facts: EnvironmentFacts,
    advertised: AdvertisedAddress,
    backend: RegistrationBackend,
    metrics: Metrics,
  ): readonly Registrator[] {
    if (this.#config.registrator.enabled === false) return [];
    const advertise = (): AdvertisedHost => {
      const { address, source } = advertised.current;
      if (address === null) return { source };
      return address.includes(':') ? { source, ipv6: address } : { source, ipv4: address };
    };
    const options = registratorOptionsOf(this.#config, {
      hostname: hostname(),
      advertise,
      ownContainerIds: facts.container.inContainer ? facts.container.candidates.map(({ id }) => id) : [],
    });
    const problems = validateRegistratorOptions(options);
    if (problems.length > 0) throw new Error(`registrator: ${problems.join(' ')}`);
    return engines.map((engine) =>
      createRegistrator({
        engine,
        backend,
        options,
        clock: this.#clock,
        random: this.#random,
        logger: this.#logger.named('registrator'),
        metrics,
      }),
    );
  }

  #banner(nodeId: string, nodeAddress: string, service: AdvertiseDecision): void {
    const config = this.#config;
    if (config.log.json) return;
    const { http, https, dns, serfLan, serfWan } = config.ports;
    const lines = bannerLines({
      version: `${portolanVersion} (Consul ${compatibleVersion} compatible)`,
      nodeId,
      nodeName: config.nodeName,
      datacenter: config.datacenter,
      isServer: config.server.enabled,
      bootstrap: config.server.bootstrap,
      clientAddresses: config.addresses.client,
      ports: { http, https, grpc: -1, dns, serfLan, serfWan },
      clusterAddress: nodeAddress,
      advertise: describeAdvertise(service),
      gossipEncrypted: config.gossip.encrypt !== '',
      tlsOutgoing: config.tls.verifyOutgoing,
      tlsIncoming: config.tls.verifyIncoming,
      autoEncryptTls: config.autoEncrypt.tls || config.autoEncrypt.allowTls,
    });
    this.#io.stdout.write(`${lines.join('\n')}\n`);
  }

  /** Takes the process's signals; @returns how to let go of them. */
  #onSignals(handler: SignalHandler): () => void {
    const hangup = (): void => handler.hangup();
    const interrupt = (): void => handler.end('SIGINT');
    const terminate = (): void => handler.end('SIGTERM');
    const ignore = (): void => undefined;
    const ignored = ['SIGPIPE', 'SIGUSR2'] as const;
    process.on('SIGHUP', hangup).on('SIGINT', interrupt).on('SIGTERM', terminate);
    for (const signal of ignored) process.on(signal, ignore);
    const letCrashesGo = logCrashes(process, this.#logger);
    return () => {
      letCrashesGo();
      process.off('SIGHUP', hangup).off('SIGINT', interrupt).off('SIGTERM', terminate);
      for (const signal of ignored) process.off(signal, ignore);
    };
  }
}

function localStateOptions(config: Config): LocalStateOptions {
  return { checkUpdateIntervalMs: config.checkUpdateIntervalMs, discardCheckOutput: config.discardCheckOutput };
}

function isAlone({ join }: Config): boolean {
  return join.start.length === 0 && join.retry.length === 0;
}

/** The agent's own CA and certificate, for checks of services that ask for one. */
function checkTls(config: Config): CheckTls {
  const { ca, cert, key } = readTlsFiles(config);
  return { ...(ca.length === 0 ? {} : { ca: [...ca] }), ...(cert === '' ? {} : { cert, key }) };
}

/** `lan` and `wan` with their families, over what the configuration names. */
function taggedAddresses(config: Config, address: string): Readonly<Record<string, string>> {
  const { tagged, advertiseIpv4, advertiseIpv6, advertiseWan, advertiseWanIpv4 } = config.addresses;
  const wan = advertiseWan ?? address;
  const family = (ip: string): string => (ip.includes(':') ? 'ipv6' : 'ipv4');
  return {
    ...tagged,
    lan: address,
    [`lan_${family(address)}`]: address,
    wan,
    [`wan_${family(wan)}`]: wan,
    ...(advertiseIpv4 === null ? {} : { lan_ipv4: advertiseIpv4 }),
    ...(advertiseIpv6 === null ? {} : { lan_ipv6: advertiseIpv6 }),
    ...(advertiseWanIpv4 === null ? {} : { wan_ipv4: advertiseWanIpv4 }),
  };
}

function definedOnly(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
