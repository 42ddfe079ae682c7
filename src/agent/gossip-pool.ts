/**
 * A gossip pool as this agent is in it: serf with the settings, tags and files that Consul's agents have. The LAN pool
 * holds all agents of a datacenter, the WAN pool the servers of all datacenters (reference/gossip.md §6).
 */
import { decodeGoBase64 } from '../codec/index.ts';
import type { Config } from '../config/index.ts';
import {
  consulSettings,
  createSerf,
  formatKeyringFile,
  Keyring,
  KeyringError,
  lanProfile,
  type MemberlistProfile,
  parseKeyringFile,
  type Serf,
  type SerfEvent,
  type Tags,
  wanProfile,
} from '../gossip/index.ts';
import type { Member } from '../model/index.ts';
import type {
  AppendFile,
  Clock,
  DatagramNetwork,
  FileStore,
  Logger,
  Metrics,
  Random,
  StreamNetwork,
} from '../ports/index.ts';

export type PoolKind = 'lan' | 'wan';

/** A dead member's name may be taken from another address after this long, as with every Consul agent, ms. */
const deadNodeReclaimMs = 30_000;

export interface GossipPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  /** Looks up a host name. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** The data directory; undefined keeps nothing. */
  readonly files: FileStore | undefined;
  /** Opens a journal in the data directory; undefined keeps nothing. */
  readonly openJournal: ((path: string) => AppendFile) | undefined;
}

export interface PoolIdentity {
  /** In the LAN the node's name, in the WAN with the datacenter behind it. */
  readonly name: string;
  readonly tags: Tags;
  /** Address that others are told. */
  readonly advertise: string;
}

export interface PoolHooks {
  readonly mergeProblem: (members: readonly Member[]) => string | null;
  readonly onEvent: (event: SerfEvent) => void;
}

/**
 * Makes a pool's member; nothing is bound before its `start`.
 * @throws Error when the keyring file cannot be read or holds no keys.
 */
export async function createGossipPool(
  kind: PoolKind,
  config: Config,
  identity: PoolIdentity,
  hooks: PoolHooks,
  ports: GossipPorts,
): Promise<Serf> {
  const { addresses, gossip } = config;
  const isLan = kind === 'lan';
  const logger = ports.logger.named(`${config.server.enabled ? 'server' : 'client'}.serf.${kind}`);
  const keys = await poolKeyring(kind, config, ports.files, logger);
  const port = isLan ? config.ports.serfLan : config.ports.serfWan;
  const snapshotFile = ports.openJournal?.(isLan ? 'serf/local.snapshot' : 'serf/remote.snapshot');
  return createSerf({
    nodeName: identity.name,
    tags: identity.tags,
    bind: { address: isLan ? addresses.serfLan : addresses.serfWan, port },
    advertise: { address: identity.advertise, port },
    profile: profileOf(kind, config),
    settings: {
      ...consulSettings,
      reconnectTimeoutMs: isLan ? config.reconnectTimeoutMs : config.reconnectTimeoutWanMs,
    },
    ...(keys === undefined ? {} : { keyring: keys.keyring, saveKeyring: keys.save }),
    verifyIncoming: gossip.verifyIncoming,
    verifyOutgoing: gossip.verifyOutgoing,
    allowedNetworks: isLan ? addresses.serfLanAllowedCidrs : addresses.serfWanAllowedCidrs,
    resolve: ports.resolve,
    ...(snapshotFile === undefined ? {} : { snapshotFile }),
    rejoinAfterLeave: config.join.rejoinAfterLeave,
    coordinates: !config.disableCoordinates,
    mergeProblem: hooks.mergeProblem,
    onEvent: hooks.onEvent,
    clock: ports.clock,
    random: ports.random,
    datagrams: ports.datagrams,
    streams: ports.streams,
    logger,
    metrics: ports.metrics,
  });
}

function profileOf(kind: PoolKind, { gossip }: Config): MemberlistProfile {
  const [base, given] = kind === 'lan' ? [lanProfile, gossip.lan] : [wanProfile, gossip.wan];
  return {
    ...base,
    gossipIntervalMs: given.gossipIntervalMs,
    gossipNodes: given.gossipNodes,
    probeIntervalMs: given.probeIntervalMs,
    probeTimeoutMs: given.probeTimeoutMs,
    suspicionMultiplier: given.suspicionMult,
    retransmitMultiplier: given.retransmitMult,
    deadNodeReclaimMs,
  };
}

interface PoolKeyring {
  readonly keyring: Keyring;
  readonly save: (keys: readonly Uint8Array[]) => Promise<void>;
}

/**
 * The keys of a pool: those in its file, which rotation has kept up to date, or the one of the configuration, which then
 * begins the file (reference/agent.md §3.4, Keyring). Undefined when nothing is encrypted.
 */
async function poolKeyring(
  kind: PoolKind,
  { gossip }: Config,
  files: FileStore | undefined,
  logger: Logger,
): Promise<PoolKeyring | undefined> {
  const store = gossip.disableKeyringFile ? undefined : files;
  const path = kind === 'lan' ? 'serf/local.keyring' : 'serf/remote.keyring';
  const save = async (keys: readonly Uint8Array[]): Promise<void> => {
    await store?.write(path, formatKeyringFile(keys), { sync: true });
  };
  const given = gossip.encrypt === '' ? undefined : decodeGoBase64(gossip.encrypt);
  const stored = await store?.read(path);
  try {
    if (stored !== undefined) {
      const keyring = new Keyring(parseKeyringFile(stored));
      if (given !== undefined && !keyring.has(given)) {
        const name = kind.toUpperCase();
        logger.warn("keyring doesn't include key provided with -encrypt, using keyring", { keyring: name });
      }
      return { keyring, save };
    }
    if (given === undefined) return undefined;
    const keyring = new Keyring([given]);
    await save(keyring.keys);
    return { keyring, save };
  } catch (error) {
    if (error instanceof KeyringError) {
      throw new Error(`Failed to configure keyring: Invalid key: ${error.message}`, { cause: error });
    }
    if (stored === undefined) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    throw new Error(`Failed to configure keyring: ${path} in the data directory: ${problem}`, { cause: error });
  }
}
