/**
 * Who is in the cluster. The list of servers is itself an entry of the log and takes effect the moment it is stored,
 * not when it is committed; since one change differs by one server only, any two majorities around it overlap.
 * Names as on the wire (reference/raft.md §2.10, §2.11).
 */
import { decodeShape, encodeShape, shapes } from '../codec/msgpack/index.ts';
import { type LogEntry, logTypes } from './log-entry.ts';

/** A server's say. Staging exists in the format and is never written by the peer. */
export const suffrage = { voter: 0, nonvoter: 1, staging: 2 } as const;
export type Suffrage = (typeof suffrage)[keyof typeof suffrage];

export interface Server {
  readonly Suffrage: Suffrage;
  /** Node id; under protocol 2 the address. */
  readonly ID: string;
  /** `ip:port`. */
  readonly Address: string;
}

export interface Configuration {
  readonly Servers: readonly Server[];
}

export const emptyConfiguration: Configuration = { Servers: [] };

export type ConfigurationChange =
  | { readonly kind: 'addVoter'; readonly id: string; readonly address: string }
  | { readonly kind: 'addNonvoter'; readonly id: string; readonly address: string }
  | { readonly kind: 'demoteVoter'; readonly id: string }
  | { readonly kind: 'removeServer'; readonly id: string };

/** Addresses or ids of a configuration that cannot be. */
export class ConfigurationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigurationError';
  }
}

export function votersOf(configuration: Configuration): readonly Server[] {
  return configuration.Servers.filter(isVoter);
}

export function isVoter(server: Server): boolean {
  return server.Suffrage === suffrage.voter;
}

export function serverById(configuration: Configuration, id: string): Server | undefined {
  return configuration.Servers.find(({ ID }) => ID === id);
}

/** Votes that decide among `voters`. */
export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The configuration after `change`; the order of the other servers stays.
 * @throws ConfigurationError when it would be none.
 */
export function changedConfiguration(current: Configuration, change: ConfigurationChange): Configuration {
  const servers = [...current.Servers];
  const at = servers.findIndex(({ ID }) => ID === change.id);
  const present = servers[at];
  switch (change.kind) {
    case 'addVoter':
    case 'addNonvoter': {
      const wanted = change.kind === 'addVoter' ? suffrage.voter : suffrage.nonvoter;
      const kept = present !== undefined && (isVoter(present) || wanted === suffrage.nonvoter);
      const server = { Suffrage: kept ? present.Suffrage : wanted, ID: change.id, Address: change.address };
      if (present === undefined) servers.push(server);
      else servers[at] = server;
      break;
    }
    case 'demoteVoter':
      if (present !== undefined) servers[at] = { ...present, Suffrage: suffrage.nonvoter };
      break;
    case 'removeServer':
      if (present !== undefined) servers.splice(at, 1);
      break;
  }
  const configuration = { Servers: servers };
  checkConfiguration(configuration);
  return configuration;
}

/** @throws ConfigurationError for what the peer refuses too, in its words where it has any. */
export function checkConfiguration({ Servers }: Configuration): void {
  const ids = new Set<string>();
  const addresses = new Set<string>();
  for (const server of Servers) {
    if (server.ID === '') throw new ConfigurationError(`empty ID in configuration: ${JSON.stringify(Servers)}`);
    if (server.Address === '') throw new ConfigurationError(`empty address in configuration: ${server.ID}`);
    if (ids.has(server.ID)) throw new ConfigurationError(`found duplicate ID in configuration: ${server.ID}`);
    if (addresses.has(server.Address)) {
      throw new ConfigurationError(`found duplicate address in configuration: ${server.Address}`);
    }
    ids.add(server.ID);
    addresses.add(server.Address);
  }
  if (!Servers.some(isVoter)) {
    throw new ConfigurationError('need at least one voter in configuration');
  }
}

const { fullList, int, str, struct } = shapes;
const serverShape = struct({ Suffrage: int, ID: str, Address: str });
const configurationShape = struct({ Servers: fullList(serverShape) });
const peersShape = fullList(str);

/** Data of a configuration entry. */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  return encodeShape(configurationShape, configuration);
}

/** @throws Error when `bytes` are no configuration. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const { Servers } = decodeShape(configurationShape, bytes);
  return {
    Servers: Servers.map(({ Suffrage, ID, Address }) => {
      if (Suffrage !== 0 && Suffrage !== 1 && Suffrage !== 2) {
        throw new ConfigurationError(`unknown suffrage ${Suffrage} of server ${ID}`);
      }
      return { Suffrage, ID, Address };
    }),
  };
}

/** The deprecated form: a msgpack array of voters' addresses. Also `Peers` of snapshots. */
export function encodePeers(configuration: Configuration): Uint8Array {
  return encodeShape(
    peersShape,
    votersOf(configuration).map(({ Address }) => Address),
  );
}

/** Servers of the deprecated form: all voters, with their address as id. */
export function decodePeers(bytes: Uint8Array): Configuration {
  const addresses = decodeShape(peersShape, bytes);
  return { Servers: addresses.map((address) => ({ Suffrage: suffrage.voter, ID: address, Address: address })) };
}

/** The configuration that `entry` sets; undefined when it is of another kind. */
export function configurationOf(entry: LogEntry): Configuration | undefined {
  if (entry.Type === logTypes.configuration) return decodeConfiguration(entry.Data ?? new Uint8Array([0x80]));
  if (entry.Type === logTypes.addPeer || entry.Type === logTypes.removePeer) {
    return decodePeers(entry.Data ?? new Uint8Array([0x90]));
  }
  return undefined;
}
