// A server alone, in memory, on a virtual clock; `call` makes named calls in the datacenter it serves.
import type { CallName, CallReply, CallRequest } from '../../../src/model/index.ts';
import type { Logger, Metrics } from '../../../src/ports/index.ts';
import { createServer, MemoryLog, type Server, type ServerOptions } from '../../../src/server/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { StateStore } from '../../../src/state/index.ts';

const silent: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  named: () => silent,
};
const metrics: Metrics = { count() {}, gauge() {}, sample() {} };

export interface Single {
  readonly server: Server;
  readonly store: StateStore;
  readonly clock: VirtualClock;
  readonly call: <M extends CallName>(
    method: M,
    request: Omit<CallRequest<M>, 'Datacenter'>,
    signal?: AbortSignal,
  ) => Promise<CallReply<M>>;
}

export function singleServer(options: Partial<ServerOptions> = {}): Single {
  const clock = new VirtualClock();
  const store = new StateStore();
  const server = createServer({
    datacenter: 'dc1',
    nodeName: 'self',
    nodeId: '01000000-0000-4000-8000-000000000001',
    address: '127.0.0.1',
    serverPort: 8300,
    version: '1.8.7',
    clock,
    random: new SeededRandom(1),
    logger: silent,
    metrics,
    store,
    log: new MemoryLog({ store, address: '127.0.0.1:8300', clock, metrics }),
    ...options,
  });
  return {
    server,
    store,
    clock,
    call: <M extends CallName>(method: M, request: Omit<CallRequest<M>, 'Datacenter'>, signal?: AbortSignal) =>
      server.caller.call(method, { Datacenter: 'dc1', ...request }, signal),
  };
}
