/** Port 8300's calls: what `createRpcServer` and `serveSnapshot` are given. */
import type { RpcHandler, SnapshotHandler } from '../rpc/index.ts';

export interface ServerRpc {
  /** For `serverMethods`, selectors 0 and 4. */
  readonly handler: RpcHandler;
  /** For `insecureMethods`, selector 7. */
  readonly insecureHandler: RpcHandler;
  /** For `serveSnapshot`, selector 5. */
  readonly snapshotHandler: SnapshotHandler;
}
