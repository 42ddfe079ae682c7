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
import { readTlsFiles } from './tls-files.ts';
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
  #exit: (code: number) => void = () => undefined;
  readonly #exited: Promise<number>;
  /** What has not been started by now never is. */
  #ending = false;

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
  }

  async run(): Promise<number> {
    const config = this.#config;
    const clock = this.#clock;
    const random = this.#random;
    const logger = this.#logger;
    const { bind, advertise } = config.addresses;
    const { serfLan, serfWan, server: serverPort } = config.ports;

    const runtime = startRuntimeMetrics();
    const { metricsPrefix, disableHostname, allowedPrefixes, blockedPrefixes, filterDefault, prometheusRetentionMs } =
      config.telemetry;
    const statsd = this.#openStatsd();
    const metricsSystem = createMetrics({
      clock,
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
    const { metrics } = metricsSystem;

    const files = config.dataDir === null ? undefined : await openDataDirectory(config.dataDir);
    const hostId = config.disableHostNodeId ? undefined : await readHostId();
    const nodeId = await resolveNodeId(config.nodeId ?? '', files, random, hostId);

    const engines = this.#engines(metrics);
    const ports = { serfLan, serfWan, server: serverPort };
    const nodeSettings = { advertiseAddr: advertise, bindAddr: bind, ports };
    // The address of published ports is the host's, also when this node itself only listens on loopback (-dev).
    // Whether gossip is published says nothing about theirs.
    const serviceSettings = {
      ...nodeSettings,
      ...(config.devMode && advertise === null ? { bindAddr: '0.0.0.0' } : {}),
      ports: { serfLan: 0, serfWan: 0, server: 0 },
    };
    const isAddressGiven = isDecidedBySettings(serviceSettings, definedOnly(this.#io.env));
    const probes = createProbePorts(clock, engines[0] ?? null);
    const look = (): Promise<EnvironmentFacts> =>
      collectFacts(probes, { decided: isAddressGiven, metadata: 'auto', gossipPort: serfLan });
    const facts = await look();
    const nodeDecision = decideAdvertise(facts, nodeSettings);
    const advertised = new AdvertisedAddress({
      first: decideAdvertise(facts, serviceSettings),
      decide: async () => decideAdvertise(await look(), serviceSettings),
      clock,
      logger,
      onChange: () => {
        for (const registrator of registrators) registrator.reconcile();
      },
    });
    const serviceDecision = advertised.current;
    if (nodeDecision.address === null) throw new Error(nodeDecision.error ?? 'no address to advertise');
    const nodeAddress = nodeDecision.address;

    const nodeMeta = (): Readonly<Record<string, string>> => ({
      ...this.#config.nodeMeta,
      'consul-network-segment': '',
    });
    const tokens = new AgentTokens({
      configured: tokensOf(config),
      files: config.acl.enableTokenPersistence ? files : undefined,
      logger: logger.named('agent'),
    });
    let tlsFiles = readTlsFiles(config);
    const tlsSettings = {
      identity: () => {
        const ca = [...tlsFiles.ca, ...side.trustedRoots()].join('\n');
        const own = { ca, cert: tlsFiles.cert, key: tlsFiles.key };
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
          tls: { client: tlsClient, server: tlsFiles.cert === '' ? null : createTlsServer(tlsSettings) },
          ca: tlsFiles.ca,
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
        revision: portolanRevision,
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

    /** Whether others know us. */
    let isMember = false;
    /** What acts by itself comes to rest, and others hear that we go. */
    const sayGoodbye = async (mode: 'leave' | 'stop'): Promise<void> => {
      const services = mode === 'leave' && !config.registrator.leaveServices ? 'deregister-all' : 'leave-services';
      advertised.stop();
      watches.stop();
      remoteExec.stop();
      await Promise.all(registrators.map((registrator) => registrator.stop(services)));
      sync.stop();
      coordinateReports.stop();
      for (const join of joins) join.stop();
      if (mode === 'stop' || !isMember) return;
      await side.prepareLeave();
      await membership.leave();
      await side.finishLeave();
    };
    let goodbye: Promise<void> | undefined;
    const shutDown = async (mode: 'leave' | 'stop'): Promise<void> => {
      this.#ending = true;
      logger.info('Requesting shutdown');
      await (goodbye ??= sayGoodbye(mode));
      // Together: each has a limit of its own, and a supervisor does not wait for their sum.
      await Promise.all([registry.stop(), dns.stop(), http.stop(), membership.shutdown()]);
      cache.stop();
      await side.stop();
      logger.info('shutdown complete');
      metricsSystem.stop();
      runtime.stop();
      for (const connection of statsd) connection.close();
      if (config.pidFile !== '') await rm(config.pidFile, { force: true });
    };
    const reload = async (): Promise<void> => {
      const next = this.#readConfig();
      const problem = logLevelProblem(next.config.log.level);
      if (problem !== null) throw new ConfigError(problem);
      const nextHttp = httpOptions(next.config);
      const nextTls = readTlsFiles(next.config);
      for (const warning of next.warnings) logger.warn(warning);
      await registry.replaceFileDefinitions(next.config.services, next.config.checks);
      const metaChanged = JSON.stringify(next.config.nodeMeta) !== JSON.stringify(this.#config.nodeMeta);
      this.#config = next.config;
      this.#log.setLevel(logLevelOf(next.config.log.level));
      state.setOptions(localStateOptions(next.config));
      tokens.configure(tokensOf(next.config));
      tlsFiles = nextTls;
      await dns.reload(dnsOptions(next.config));
      http.reload(nextHttp);
      watches.replace(next.config.watches);
      if (metaChanged) sync.nodeInfoChanged();
    };
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
        metrics: metricsSystem.snapshot,
        prometheusMetrics: metricsSystem.prometheus,
        subscribeLog: this.#log.subscribe,
        reload,
        leave: async () => {
          signals.leave();
          // The answer says that the others know; its listener waits for it before it closes.
          await goodbye;
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
        reload,
        leave: () => shutDown('leave'),
        exit: (code) => this.#exit(code),
        abort: (code) => {
          this.#log.close();
          process.exit(code);
        },
      },
    });

    const retryJoin = (cluster: 'LAN' | 'WAN', entries: readonly string[], intervalMs: number, retriesMax: number) =>
      new RetryJoin({
        cluster,
        entries,
        intervalMs,
        retriesMax,
        discover,
        join: (addresses) => membership.join(addresses, { wan: cluster === 'WAN' }),
        onExhausted: () => this.#exit(1),
        clock,
        logger,
      });
    const { retry, retryIntervalMs, retryMax, retryWan, retryIntervalWanMs, retryMaxWan } = config.join;
    const joins = [
      retryJoin('LAN', retry, retryIntervalMs, retryMax),
      ...(membership.wan === undefined ? [] : [retryJoin('WAN', retryWan, retryIntervalWanMs, retryMaxWan)]),
    ];

    this.#banner(nodeId, nodeAddress, serviceDecision);
    for (const warning of this.#warnings) logger.warn(warning);
    const isServiceAddress = registrators.length > 0 && !config.registrator.internal;
    for (const { text, fix } of isServiceAddress ? serviceDecision.warnings : []) logger.warn(text, { fix });
    const onSignal = this.#onSignals(signals);
    const startUp: readonly (() => Promise<void> | void)[] = [
      () => tokens.load(),
      () => side.prepare(),
      async () => {
        await membership.start();
        isMember = true;
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
    try {
      // Servers that do not answer keep a step waiting; a signal does not wait for it.
      await Promise.race([this.#oneByOne(startUp), this.#exited]);
    } catch (error) {
      if (!this.#ending) {
        logger.error('Error starting agent', { error });
        await shutDown('stop');
        onSignal();
        this.#log.close();
        return 1;
      }
    }
    if (!this.#ending) {
      watches.replace(config.watches);
      for (const registrator of registrators) registrator.start();
      if (registrators.length > 0 && !isAddressGiven) advertised.start();
      if (!config.log.json) this.#io.stdout.write('==> Portolan agent running!\n');
      for (const join of joins) join.start();
      // Who has nobody to join is ready as it is.
      if (isAlone(config)) await ready();
    }

    const code = await this.#exited;
    if (!signals.left) await shutDown('stop');
    logger.info('Exit code', { code });
    onSignal();
    this.#log.close();
    return code;
  }

  async #oneByOne(steps: readonly (() => Promise<void> | void)[]): Promise<void> {
    for (const step of steps) {
      if (this.#ending) return;
      await step();
    }
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
