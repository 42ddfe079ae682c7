/**
 * What a server knows of others and can do to them. Gossip and sockets stand behind it: a server reads members and
 * makes calls, and does not know how either comes about.
 */
import type { CallName, CallReply, CallRequest, Calls, Member, ServerCallName, ServerCalls } from '../model/index.ts';
import { callShapes, serverCallShapes } from '../model/wire/index.ts';
import type { Stream } from '../ports/index.ts';
import type { RpcClient, RpcServerAddress } from '../rpc/index.ts';

/** Every call of port 8300: those of front doors, and those that only agents and servers make. */
export type AnyCallName = CallName | ServerCallName;
export type AnyCallRequest<M extends AnyCallName> = M extends CallName
  ? CallRequest<M>
  : M extends ServerCallName
    ? ServerCalls[M]['request']
    : never;
export type AnyCallReply<M extends AnyCallName> = M extends CallName
  ? CallReply<M>
  : M extends ServerCallName
    ? ServerCalls[M]['reply']
    : never;

/** Calls that need no certificate, which are reached over selector 7 and nowhere else (server-rpc.md §1.8). */
export type InsecureCallName = 'AutoEncrypt.Sign' | 'AutoConfig.InitialConfiguration';

const {
  'AutoEncrypt.Sign': autoEncryptSign,
  'AutoConfig.InitialConfiguration': initialConfiguration,
  ...secureServerCallShapes
} = serverCallShapes;

/** Shapes for the RPC client and server of selectors 0 and 4. */
export const serverMethods = { ...callShapes, ...secureServerCallShapes };
/** Shapes for those of selector 7. */
export const insecureMethods = {
  'AutoEncrypt.Sign': autoEncryptSign,
  'AutoConfig.InitialConfiguration': initialConfiguration,
};

/**
 * Makes one call on one server.
 * @throws RpcError
 */
export type CallServer = <M extends Exclude<AnyCallName, InsecureCallName>>(
  to: RpcServerAddress,
  method: M,
  request: AnyCallRequest<M>,
  options?: { readonly signal?: AbortSignal; readonly timeoutMs?: number },
) => Promise<AnyCallReply<M>>;

/** The client for {@link serverMethods} as servers use it. */
export function callServerBy(client: RpcClient<typeof serverMethods>): CallServer {
  // One table gives both their types; the compiler cannot follow it through the method's name.
  const { call } = client as unknown as { readonly call: CallServer };
  return call;
}

/** A datacenter's servers by their coordinates in the WAN pool. */
export type WanCoordinates = Calls['Coordinate.ListDatacenters']['reply'];

export interface Cluster {
  /** Members of the LAN pool, this server included, in every status. */
  members(): readonly Member[];
  readonly callServer: CallServer;
  /** Opens a connection of the selector for snapshots. @throws Error */
  dialSnapshot(to: RpcServerAddress): Promise<Stream>;
  /** Says on behalf of a member that it has left, in the LAN pool and, for servers, the WAN pool. */
  forceLeave(name: string): Promise<void>;
  /** The way to other datacenters; without it there are none. */
  readonly wan?: Wan;
}

export interface Wan {
  /** All datacenters that are known, the nearest first; the own one is among them. */
  datacenters(): readonly string[];
  /** Servers of another datacenter that can be tried, best first; empty when none can be reached. */
  serversOf(datacenter: string): readonly RpcServerAddress[];
  coordinates(): WanCoordinates;
}
