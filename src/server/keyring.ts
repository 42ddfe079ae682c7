/**
 * `Internal.KeyringOperation`: lists and changes the keys that gossip is encrypted with, in every pool
 * (reference/server-rpc.md §4.9, reference/http-api.md §9.8). Gossip does the work; what is said here is who may ask
 * for what, and the answer while nothing is encrypted.
 */
import { decodeGoBase64 } from '../codec/index.ts';
import { CallError, type KeyringRequest, type KeyringResponse } from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';

/** Asks the pools of this server: WAN first, then LAN; only LAN when the request is forwarded or local. */
export type KeyringOperation = (request: KeyringRequest) => Promise<readonly KeyringResponse[]>;

/** Asks a server of another datacenter. @throws CallError */
type AskDatacenter = (request: KeyringRequest) => Promise<{ readonly Responses: readonly KeyringResponse[] }>;

export function keyringHandlers(
  endpoint: Endpoint,
  parts: {
    readonly operate: KeyringOperation;
    /** Names of the other datacenters. */
    readonly others: () => readonly string[];
    readonly ask: AskDatacenter;
  },
): Handlers<'Internal.KeyringOperation'> {
  return {
    'Internal.KeyringOperation': async (request) => {
      requireDatacenter(endpoint, request);
      const { Operation, Forwarded, LocalOnly } = request;
      if (LocalOnly && Operation !== 'list') {
        throw new CallError('argument error: LocalOnly can only be used for List operations');
      }
      const own = await parts.operate(request);
      // The WAN pool is one for all; every other datacenter is asked for its own LAN pool.
      const others = Forwarded || LocalOnly ? [] : parts.others();
      const theirs = await Promise.all(
        others.map(async (Datacenter): Promise<readonly KeyringResponse[]> => {
          try {
            return (await parts.ask({ ...request, Datacenter, Forwarded: true })).Responses;
          } catch (error) {
            return [unanswered(Datacenter, (error as Error).message)];
          }
        }),
      );
      return { ...queryMeta(endpoint, 0), Responses: [...own, ...theirs.flat()] };
    },
  };
}

function unanswered(datacenter: string, problem: string): KeyringResponse {
  return {
    WAN: false,
    Datacenter: datacenter,
    Segment: '',
    Messages: null,
    Keys: null,
    PrimaryKeys: null,
    NumNodes: 0,
    Error: problem,
  };
}

/** The keyring of a server alone whose gossip is not encrypted. */
export function noKeyring(server: {
  readonly nodeName: string;
  readonly datacenter: string;
  /** Whether it has a WAN pool. */
  readonly wan: boolean;
}): KeyringOperation {
  const { nodeName, datacenter } = server;
  // oxlint-disable-next-line require-await -- the type is that of a question to other members
  return async ({ Operation, Key, Forwarded, LocalOnly }) => {
    const badKey = Operation === 'list' ? undefined : keyProblem(Key);
    const nothing = `${Operation === 'list' ? 'Keyring is empty' : 'No keyring to modify'} (encryption not enabled)`;
    const response = (WAN: boolean): KeyringResponse => ({
      WAN,
      Datacenter: datacenter,
      Segment: '',
      Messages: badKey === undefined ? { [WAN ? `${nodeName}.${datacenter}` : nodeName]: nothing } : null,
      Keys: null,
      PrimaryKeys: null,
      NumNodes: badKey === undefined ? 1 : 0,
      Error: badKey ?? '1/1 nodes reported failure',
    });
    return server.wan && !Forwarded && !LocalOnly ? [response(true), response(false)] : [response(false)];
  };
}

function keyProblem(key: string): string | undefined {
  try {
    decodeGoBase64(key);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
