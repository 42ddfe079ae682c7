// A client agent's way to servers over the real network, as compose.ts puts it together.
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import type { Logger, Metrics } from '../../src/ports/index.ts';
import { createRpcClient, createRpcDialer, RpcPool } from '../../src/rpc/index.ts';
import { callServerBy, createRouter, type Router, type RouterOptions, serverMethods } from '../../src/server/index.ts';
import { silentLogger } from './logger.ts';

export interface RoutedWorld {
  readonly router: Router;
  readonly pool: RpcPool;
  /** Counters by their names. */
  readonly counts: Map<string, number>;
  close(): void;
}

export function realRouter(parts: Partial<RouterOptions> & { readonly logger?: Logger } = {}): RoutedWorld {
  const clock = new SystemClock();
  const dial = createRpcDialer({ network: new TcpNetwork(), tls: null });
  const pool = new RpcPool({ clock, dial });
  const client = createRpcClient({ pool, shapes: serverMethods, clock });
  const counts = new Map<string, number>();
  const metrics: Metrics = {
    count: (name, value = 1) => counts.set(name.join('.'), (counts.get(name.join('.')) ?? 0) + value),
    gauge: () => undefined,
    sample: () => undefined,
  };
  const router = createRouter({
    clock,
    random: new SystemRandom(),
    logger: silentLogger,
    metrics,
    callServer: callServerBy(client),
    pool,
    dial,
    datacenter: 'dc1',
    limits: () => ({ rpcRate: -1, rpcMaxBurst: 1000 }),
    rpcHoldTimeoutMs: 7_000,
    memberCount: () => 4,
    ...parts,
  });
  const close = (): void => {
    router.stop();
    pool.close();
  };
  return { router, pool, counts, close };
}
