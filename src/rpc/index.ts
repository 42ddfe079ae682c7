/** Port 8300: what clients and servers of a datacenter say to each other (reference/server-rpc.md). */
export {
  connectionsPerClientMaxDefault,
  handshakeTimeoutMsDefault,
  RpcAcceptor,
  type RpcAcceptorOptions,
  type RpcDoors,
} from './acceptor.ts';
export {
  type CallOptions,
  callOnce,
  callTimeoutMs,
  callTimeoutMsDefault,
  createRpcClient,
  type RpcClient,
} from './client.ts';
export { createRpcDialer, type RpcDial, type RpcDialerOptions, type RpcServerAddress } from './dial.ts';
export type { Method, MethodTable } from './message.ts';
export {
  idleConnectionMsOfClient,
  idleConnectionMsOfServer,
  idleStreamsMaxOfClient,
  idleStreamsMaxOfServer,
  RpcPool,
  type RpcPoolOptions,
} from './pool.ts';
export { mayRetry, RpcError, type RpcErrorKind, rpcHoldTimeoutMs, rpcRetryPauseMsMax } from './rpc-error.ts';
export { type Selector, selectors } from './selector.ts';
export { createRpcServer, type RpcContext, type RpcHandler, type RpcServer } from './server.ts';
export {
  type Archive,
  requestSnapshot,
  serveSnapshot,
  type SnapshotHandler,
  snapshotOps,
  type SnapshotReply,
  type SnapshotRequest,
} from './snapshot.ts';
export { YamuxError, type YamuxOptions, YamuxSession } from './yamux.ts';
