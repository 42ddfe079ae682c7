/**
 * This agent as a server: replicated state, the log behind it (in memory alone with `-dev`, raft on disk otherwise), and
 * port 8300, where clients and other servers come in.
 */
import { goNetError } from '../client/index.ts';
import { parseConsulServer } from '../gossip/index.ts';
import { hostPort, splitHostPort } from '../lib/index.ts';
import { type Config, ConfigError } from '../config/index.ts';
import { ConfigEntryError, decodeConfigEntry } from '../http/index.ts';
import { type ConfigEntryBody, type Member, memberStatus, unmeasuredCoordinate } from '../model/index.ts';
import type {
  Clock,
  Disk,
  FileStore,
  HttpClient,
  Logger,
  Metrics,
  Random,
  StreamListener,
  StreamNetwork,
  TlsClient,
  TlsServer,
} from '../ports/index.ts';
import {
  DirectorySnapshotStore,
  FileStableStore,
  NetworkTransport,
  RaftNode,
  type RaftOptions,
  raftOptions,
  readPeersFile,
  recoverCluster,
  SegmentedLog,
} from '../raft/index.ts';
import { createRpcClient, createRpcServer, RpcAcceptor, selectors, serveSnapshot } from '../rpc/index.ts';
import {
  callServerBy,
  type Consensus,
  createServer,
  insecureMethods,
  MeasuredState,
  MemoryLog,
  RaftLog,
  serverMethods,
} from '../server/index.ts';
import { ReplicatedState, StateStore } from '../state/index.ts';
import { aclOptions } from './acl.ts';
import { autopilotSettings } from './autopilot.ts';
import type { ClusterSide } from './cluster-side.ts';
import type { Membership } from './membership.ts';
import { createOutgoingRpc } from './outgoing-rpc.ts';
import { WanMap } from './wan-map.ts';

/** Where raft keeps its files in the data directory. */
const raftDirectory = 'raft';

export interface ServerSideOptions {
  readonly config: Config;
  readonly nodeId: string;
  /** Address that this server advertises. */
  readonly address: string;
  /** Consul version to be compatible with. */
  readonly version: string;
  /** This server among the members; undefined until it is made, which needs the server. */
  readonly membership: () => Membership | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly streams: StreamNetwork;
  readonly http: HttpClient;
  /** Small files in the data directory, if there is one. */
  readonly files: FileStore | undefined;
  readonly tls: { readonly client: TlsClient; readonly server: TlsServer | null };
  /** PEM of the authorities that were configured. */
  readonly ca: readonly string[];
  /** The data directory; undefined keeps everything in memory. */
  readonly disk: Disk | undefined;
  /** The disk or the state failed: this process must end, and starts over from what is on the disk. */
  readonly onFailure: (error: Error) => void;
}

/** @throws Error when what is on the disk is damaged, or `peers.json` wrong. */
export async function openServerSide(options: ServerSideOptions): Promise<ClusterSide> {
  const { config, nodeId, address, clock, random, logger, metrics, streams, tls } = options;
  const { datacenter, ports } = config;
  const store = new StateStore();
  const rpc = createOutgoingRpc(config, { clock, streams, tls: tls.client });
  const wan = new WanMap({ pool: () => options.membership()?.wan, datacenter, random });
  const own = hostPort(address, ports.server);
  const members = (): readonly Member[] => options.membership()?.members({ wan: false }) ?? [];

  const transport = new NetworkTransport({
    clock,
    logger: logger.named('server.raft'),
    dial: async ({ id, address: to }) => {
      const parts = splitHostPort(to);
      if (parts === undefined) throw new Error(`server ${id} has no address to dial: ${JSON.stringify(to)}`);
      return await rpc.dial({ name: id, datacenter, address: parts.host, port: parts.port }, selectors.raft);
    },
  });
  const backing =
    options.disk === undefined
      ? { log: new MemoryLog({ store, id: nodeId, address: own, clock, metrics }), close: () => Promise.resolve() }
      : await openRaftLog({ ...options, disk: options.disk }, store, own, transport);

  const server = createServer({
    datacenter,
    nodeName: config.nodeName,
    nodeId,
    address,
    serverPort: ports.server,
    version: options.version,
    clock,
    random,
    logger,
    metrics,
    store,
    log: backing.log,
    cluster: {
      members,
      callServer: callServerBy(createRpcClient({ pool: rpc.pool, shapes: serverMethods, clock })),
      dialSnapshot: (to) => rpc.dial(to, selectors.snapshot),
      forceLeave: async (name) => {
        await options.membership()?.forceLeave(name, false);
      },
      wan: {
        datacenters: () => wan.datacenters(),
        serversOf: (other) => wan.serversOf(other),
        // Without a WAN pool this server stands where everybody begins.
        coordinates: () =>
          options.membership()?.wan === undefined
            ? [
                {
                  Datacenter: datacenter,
                  AreaID: 'wan',
                  Coordinates: [{ Node: config.nodeName, Segment: '', Coord: unmeasuredCoordinate }],
                },
              ]
            : wan.coordinates(),
      },
    },
    bootstrapExpect: config.server.bootstrap || config.devMode ? 1 : config.server.bootstrapExpect,
    rpcHoldTimeoutMs: config.performance.rpcHoldTimeoutMs,
    ...(config.autoEncrypt.allowTls
      ? {
          autoEncrypt: {
            manualCaRoots: options.ca,
            gossipKey: config.gossip.encrypt,
            verifyServerHostname: config.tls.verifyServerHostname,
          },
        }
      : {}),
    configEntries: bootstrapEntries(config),
    serverHealthIntervalMs: config.server.healthIntervalMs,
    acl: aclOptions(config),
    ...(options.files === undefined ? {} : { files: options.files }),
    // In the words that people look up.
    http: (request) =>
      options.http(request).catch((error: unknown) => {
        throw new Error(goNetError(error), { cause: error });
      }),
    defaultQueryTimeMs: config.defaultQueryTimeMs,
    maxQueryTimeMs: config.maxQueryTimeMs,
    sessionTtlMinMs: config.server.sessionTtlMinMs,
    broadcastEvent: (name, payload) => options.membership()?.broadcast(name, payload),
    keyring: (request) => options.membership()!.keyring(request),
    autopilot: autopilotSettings(config),
    connectEnabled: config.connect.enabled,
    coordinatePeriodMs: config.server.coordinateUpdatePeriodMs,
    disableCoordinates: config.disableCoordinates,
  });

  const rpcServer = createRpcServer({ shapes: serverMethods, handler: server.rpc.handler, logger });
  const insecureServer = createRpcServer({ shapes: insecureMethods, handler: server.rpc.insecureHandler, logger });
  const acceptor = new RpcAcceptor({
    clock,
    logger: logger.named('server'),
    doors: {
      rpc: (stream) => rpcServer.serve(stream),
      raft: (stream) => transport.accept(stream),
      snapshot: (stream) => void serveSnapshot(stream, server.rpc.snapshotHandler, { clock, logger }),
      insecure: (stream) => insecureServer.serve(stream),
    },
    tls: tls.server,
    verifyIncoming: config.tls.verifyIncoming || config.tls.verifyIncomingRpc,
    handshakeTimeoutMs: config.limits.rpcHandshakeTimeoutMs,
    connectionsPerClientMax: config.limits.rpcMaxConnsPerClient,
  });
  let listener: StreamListener | undefined;

  return {
    caller: server.caller,
    snapshots: server.snapshots,
    // oxlint-disable-next-line require-await -- a failure must become a rejection, and nothing here waits
    resolveToken: async (secret) => server.resolveToken(secret),
    accessorOf: (secret) => Promise.resolve(server.accessorOf(secret)),
    trustedRoots: () =>
      config.autoEncrypt.allowTls ? store.connectCa.roots().result.map(({ RootCert }) => RootCert) : [],
    stats: () => server.stats(),
    membersChanged: ({ type, members }, pool) => {
      if (pool !== 'lan') return;
      for (const member of members) server.memberChanged(member, type === 'member-reap' ? 'reaped' : 'changed');
    },
    prepare: async () => {
      listener = await streams.listen({ address: config.addresses.bind, port: ports.server }, (stream) =>
        acceptor.accept(stream),
      );
    },
    start: () => server.start(),
    prepareLeave: () => server.prepareLeave(),
    finishLeave: async () => {
      if (hasOthers(members(), config.nodeName)) await server.finishLeave(config.performance.leaveDrainTimeMs);
    },
    stop: async () => {
      server.stop();
      acceptor.close();
      rpc.pool.close();
      await listener?.close();
      await backing.close();
    },
  };
}

/** @throws ConfigError for an entry that cannot be one. */
function bootstrapEntries({ server }: Config): readonly ConfigEntryBody[] {
  return server.configEntries.map((entry, at) => {
    try {
      return decodeConfigEntry(entry);
    } catch (error) {
      if (!(error instanceof ConfigEntryError)) throw error;
      throw new ConfigError(`config_entries.bootstrap[${at}]: ${error.message}`);
    }
  });
}

function hasOthers(members: readonly Member[], self: string): boolean {
  return members.some(({ Name, Status }) => Name !== self && Status === memberStatus.alive);
}

async function openRaftLog(
  options: ServerSideOptions & { readonly disk: Disk },
  store: StateStore,
  address: string,
  transport: NetworkTransport,
): Promise<{ readonly log: Consensus; close(): Promise<void> }> {
  const { disk, config, clock, random, metrics, nodeId } = options;
  const logger = options.logger.named('server.raft');
  await disk.makeDirectory('');
  const recovery = await readPeersFile(disk, raftDirectory);
  const log = await SegmentedLog.open({ disk, directory: `${raftDirectory}/log`, logger });
  const stable = await FileStableStore.open(disk, raftDirectory, 'term');
  const snapshots = await DirectorySnapshotStore.open({ disk, directory: `${raftDirectory}/snapshots`, clock });
  if (recovery !== undefined) {
    const stateMachine = new ReplicatedState(new StateStore());
    const stores = { log, stable, snapshots, stateMachine, logger };
    await recoverCluster(stores, recovery, { disk, directory: raftDirectory });
  }
  const node = await RaftNode.start({
    id: nodeId,
    address,
    timing: raftTiming(config),
    clock,
    random,
    logger,
    log,
    stable,
    snapshots,
    stateMachine: new MeasuredState({ store, clock, metrics }),
    transport,
    speaksPreVote: (id) =>
      (options.membership()?.members({ wan: false }) ?? []).some((member) => {
        const server = parseConsulServer(member);
        return server?.id === id && server.isPortolan;
      }),
    onFailure: options.onFailure,
  });
  return { log: new RaftLog({ node, snapshots, clock, random, metrics }), close: () => node.close() };
}

function raftTiming({ raft }: Config): RaftOptions {
  return {
    ...raftOptions(),
    heartbeatTimeoutMs: raft.heartbeatTimeoutMs,
    electionTimeoutMs: raft.electionTimeoutMs,
    leaderLeaseMs: raft.leaderLeaseTimeoutMs,
    snapshotIntervalMs: raft.snapshotIntervalMs,
    snapshotThreshold: raft.snapshotThreshold,
    trailingLogs: raft.trailingLogs,
  };
}
