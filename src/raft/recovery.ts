/**
 * Recovery by an operator. When most disks are gone, no majority will ever come back; `peers.json` in the raft directory
 * says who is in the cluster from now on. It is taken at the start: everything in the log is applied, committed or not,
 * and becomes a snapshot with the new list of servers, and the log starts empty behind it (reference/raft.md §2.14).
 */
import type { Disk, Logger } from '../ports/index.ts';
import { checkConfiguration, type Configuration, ConfigurationError, suffrage } from './configuration.ts';
import { type LogEntry, logTypes } from './log-entry.ts';
import { recover } from './start-up.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStore, SnapshotStore, StableStore } from './stores.ts';

export const peersFile = 'peers.json';
/** Its presence says that a `peers.json` is meant, and not left over from an old version. */
export const peersInfoFile = 'peers.info';

const peersBytesMax = 1024 * 1024;
const readBytes = 4 * 1024 * 1024;

const peersInfoText = `Servers of this cluster find each other without a list of peers. When a majority of them is lost for good, write
${peersFile} into this directory on every server that is left, with all servers stopped:

[
  { "id": "<node-id>", "address": "<ip>:<port of server RPC>", "non_voter": false }
]

and start them. The node id is in the file node-id of the data directory and in the start of the log. The file is
removed when it was taken. Entries that only one of the servers has come true by this.
`;

/**
 * Looks for `peers.json`; on the very first start it writes the help text instead.
 * @returns the configuration to recover with, or undefined.
 * @throws ConfigurationError saying what is wrong with the file.
 */
export async function readPeersFile(disk: Disk, directory: string): Promise<Configuration | undefined> {
  await disk.makeDirectory(directory);
  const names = await disk.list(directory);
  if (!names.includes(peersInfoFile)) {
    await disk.remove(`${directory}/${peersFile}`);
    const info = await disk.open(`${directory}/${peersInfoFile}`, { create: true });
    await info.write(Buffer.from(peersInfoText), 0);
    await info.sync();
    await info.close();
    await disk.syncDirectory(directory);
    return undefined;
  }
  if (!names.includes(peersFile)) return undefined;
  const file = await disk.open(`${directory}/${peersFile}`, { create: false });
  try {
    return parsePeers(Buffer.from(await file.read(0, peersBytesMax)).toString('utf8'));
  } finally {
    await file.close();
  }
}

/** @throws ConfigurationError */
export function parsePeers(text: string): Configuration {
  let peers: unknown;
  try {
    peers = JSON.parse(text);
  } catch (error) {
    throw new ConfigurationError(`${peersFile} is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(peers)) throw new ConfigurationError(`${peersFile} must be a list of servers`);
  const configuration = { Servers: peers.map(serverOf) };
  checkConfiguration(configuration);
  return configuration;
}

function serverOf(peer: unknown): Configuration['Servers'][number] {
  if (typeof peer === 'string') return { Suffrage: suffrage.voter, ID: peer, Address: peer };
  const { id, address, non_voter: nonVoter = false } = (peer ?? {}) as Record<string, unknown>;
  if (typeof id !== 'string' || typeof address !== 'string' || typeof nonVoter !== 'boolean') {
    throw new ConfigurationError(
      `${peersFile}: a server is {"id": "<node-id>", "address": "<ip>:<port>"}, got ${JSON.stringify(peer)}`,
    );
  }
  return { Suffrage: nonVoter ? suffrage.nonvoter : suffrage.voter, ID: id, Address: address };
}

export interface RecoveryStores {
  readonly log: LogStore;
  readonly stable: StableStore;
  readonly snapshots: SnapshotStore;
  /** Empty; it is thrown away afterwards. */
  readonly stateMachine: StateMachine;
  readonly logger: Logger;
}

/**
 * Makes `configuration` the cluster's, before the server starts, and removes `peers.json`.
 * @throws Error when there is nothing to recover.
 */
export async function recoverCluster(
  stores: RecoveryStores,
  configuration: Configuration,
  peers: { readonly disk: Disk; readonly directory: string },
): Promise<void> {
  const { log, stateMachine, snapshots, logger } = stores;
  const recovered = await recover(stores);
  if (recovered.snapshot === undefined && log.lastIndex === 0) {
    throw new Error(`${peersFile} is there, but this server has no state to recover: remove the file and let it join`);
  }
  let last = { index: recovered.snapshot?.index ?? 0, term: recovered.snapshot?.term ?? 0 };
  for (let index = last.index + 1; index <= log.lastIndex;) {
    const entries: readonly LogEntry[] = await log.read(index, log.lastIndex, readBytes);
    for (const entry of entries) {
      if (entry.Type === logTypes.command) stateMachine.apply(entry);
      last = { index: entry.Index, term: entry.Term };
    }
    index += entries.length;
  }
  const sink = await snapshots.create({ ...last, configuration, configurationIndex: 1 });
  for await (const piece of stateMachine.snapshot()) await sink.write(piece);
  await sink.commit();
  await log.reset(last.index + 1);
  await peers.disk.remove(`${peers.directory}/${peersFile}`);
  await peers.disk.syncDirectory(peers.directory);
  logger.warn('recovered the cluster from peers.json', { index: last.index, servers: configuration.Servers.length });
}
