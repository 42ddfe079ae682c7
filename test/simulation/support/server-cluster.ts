// Servers of one datacenter in one process on a virtual clock: everything of a server but its sockets. Calls travel
// as bytes, disks lose what was not synced, and gossip is a list of members that notices the dead after a while.
import { decodeShape, encodeShape, type Shape } from '../../../src/codec/index.ts';
import { consulServerTags } from '../../../src/gossip/index.ts';
import {
  autopilotDefaults,
  CallError,
  type CallName,
  consulMemberProtocol,
  type CallReply,
  type CallRequest,
  type Member,
  memberStatus,
  type MemberStatus,
} from '../../../src/model/index.ts';
import { type Clock, sleep, type Stream, type Timer } from '../../../src/ports/index.ts';
import {
  DirectorySnapshotStore,
  FileStableStore,
  RaftNode,
  type RaftOptions,
  SegmentedLog,
} from '../../../src/raft/index.ts';
import { RpcError, type RpcServerAddress, serveSnapshot } from '../../../src/rpc/index.ts';
import {
  type CallServer,
  createServer,
  RaftLog,
  type Server,
  serverMethods,
  type ServerOptions,
} from '../../../src/server/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { RaftNetwork } from '../../../src/sim/raft-network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { ReplicatedState, StateStore, writeSnapshot } from '../../../src/state/index.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { streamPair } from '../../helpers/stream-pair.ts';

/** As with `raft_multiplier: 1`; entries and messages take the time they take in one rack. */
export const timing: RaftOptions = {
  heartbeatTimeoutMs: 1000,
  electionTimeoutMs: 1000,
  leaderLeaseMs: 500,
  commitTimeoutMs: 50,
  appendEntriesMax: 64,
  snapshotIntervalMs: 30_000,
  snapshotThreshold: 200,
  trailingLogs: 100,
};
const delayMs = 5;
const diskLatencyMs = 2;
/** How long gossip takes to find somebody dead. */
export const suspicionMs = 4_000;
/** An election and what a client notices of it. */
export const electionMs = 8_000;

const metrics = { count() {}, gauge() {}, sample() {} };

/** A clock that stops with its process. */
class ProcessClock implements Clock {
  isDead = false;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }
  wallMs(): number {
    return this.#clock.wallMs();
  }
  after(ms: number, callback: () => void): Timer {
    return this.#clock.after(ms, () => {
      if (!this.isDead) callback();
    });
  }
}

export interface Machine {
  readonly name: string;
  readonly id: string;
  readonly address: string;
  readonly disk: FaultyDisk;
  process: Process | undefined;
}

interface Process {
  readonly clock: ProcessClock;
  readonly server: Server;
  readonly node: RaftNode;
  readonly store: StateStore;
}

/** How far virtual time goes while threads get at most so much real time, ms. */
const virtualStepMs = 20;
const realStepMs = 5;

export class ServerCluster {
  readonly clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  readonly machines: Machine[] = [];
  readonly events: string[] = [];
  readonly random: SeededRandom;
  readonly network: RaftNetwork;
  readonly #options: Partial<ServerOptions>;
  readonly #expect: number;
  readonly #members = new Map<string, Member>();
  readonly #frozen = new Set<string>();
  failure: Error | undefined;

  constructor(options: { readonly seed: number; readonly expect: number; readonly server?: Partial<ServerOptions> }) {
    this.random = new SeededRandom(options.seed);
    this.network = new RaftNetwork({ clock: this.clock, random: this.random.fork(), delayMs, timeoutMs: 500 });
    this.#options = options.server ?? {};
    this.#expect = options.expect;
  }

  /** As many servers, started at different moments; resolves when one leads and is ready. */
  static async start(options: ConstructorParameters<typeof ServerCluster>[0]): Promise<ServerCluster> {
    const cluster = new ServerCluster(options);
    for (let i = 0; i < options.expect; i++) {
      await cluster.join(cluster.machine());
      await cluster.clock.advance(cluster.random.next() * 500);
    }
    await cluster.untilLed();
    return cluster;
  }

  /** A machine that nobody knows yet. */
  machine(given: { readonly name?: string; readonly id?: string; readonly address?: string } = {}): Machine {
    const number = this.machines.length + 1;
    const machine: Machine = {
      name: given.name ?? `s${number}`,
      id: given.id ?? this.random.uuid(),
      address: given.address ?? `10.0.0.${number}`,
      disk: new FaultyDisk({ clock: this.clock, random: this.random.fork(), latencyMs: diskLatencyMs }),
      process: undefined,
    };
    this.machines.push(machine);
    return machine;
  }

  /** Starts the server of a machine; gossip says so to all. */
  async join(machine: Machine): Promise<void> {
    const clock = new ProcessClock(this.clock);
    const starting = this.#boot(machine, clock);
    let process: Process | undefined;
    void starting.then((booted) => (process = booted));
    await this.clock.advanceUntil(() => process !== undefined, 10_000);
    machine.process = process!;
    this.#tell(machine, memberStatus.alive);
    await process!.server.start();
  }

  async #boot(machine: Machine, clock: ProcessClock): Promise<Process> {
    const { id, name, address } = machine;
    const disk = machine.disk.mount();
    await disk.makeDirectory('raft');
    const log = await SegmentedLog.open({ disk, directory: 'raft/log', logger: silentLogger });
    const stable = await FileStableStore.open(disk, 'raft', 'vote');
    const snapshots = await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock });
    const store = new StateStore();
    const random = this.random.fork();
    const own = `${address}:8300`;
    const node = await RaftNode.start({
      id,
      address: own,
      timing,
      clock,
      random,
      logger: silentLogger,
      log,
      stable,
      snapshots,
      stateMachine: new ReplicatedState(store),
      transport: this.network.transport(own),
      speaksPreVote: () => true,
      onFailure: (error) => (this.failure ??= error),
    });
    const server = createServer({
      datacenter: 'dc1',
      nodeName: name,
      nodeId: id,
      address,
      serverPort: 8300,
      version: '1.8.7',
      clock,
      random,
      logger: silentLogger,
      metrics,
      store,
      log: new RaftLog({ node, snapshots, clock, random, metrics }),
      bootstrapExpect: this.#expect,
      autopilot: autopilotDefaults,
      broadcastEvent: (event, payload) => this.events.push(`${event} ${Buffer.from(payload).toString()}`),
      cluster: {
        members: () => [...this.#members.values()],
        callServer: this.#callerFrom(machine, clock),
        dialSnapshot: (to) => this.#dialSnapshot(to, clock),
        // oxlint-disable-next-line require-await -- as a gossip pool has it
        forceLeave: async (gone) => {
          const victim = this.machines.findLast((other) => other.name === gone);
          if (victim !== undefined) this.#tell(victim, memberStatus.left);
        },
      },
      ...this.#options,
    });
    return { clock, server, node, store };
  }

  /** The process ends without a word, and with it what was not synced. */
  kill(machine: Machine): void {
    const { process } = machine;
    if (process === undefined) return;
    process.clock.isDead = true;
    machine.process = undefined;
    this.network.drop(`${machine.address}:8300`);
    machine.disk.crash();
    this.clock.after(suspicionMs, () => {
      const isBack = this.machines.some(({ name, process: other }) => name === machine.name && other !== undefined);
      if (!isBack) this.#tell(machine, memberStatus.failed);
    });
  }

  /** The process does nothing until it goes on; its connections stay. */
  freeze(machine: Machine): void {
    this.#frozen.add(machine.address);
    for (const other of this.machines) {
      this.network.cut(`${machine.address}:8300`, `${other.address}:8300`);
      this.network.cut(`${other.address}:8300`, `${machine.address}:8300`);
    }
  }

  thaw(machine: Machine): void {
    this.#frozen.delete(machine.address);
    this.network.heal();
  }

  get alive(): readonly Machine[] {
    return this.machines.filter(({ process, address }) => process !== undefined && !this.#frozen.has(address));
  }

  get leader(): Machine | undefined {
    return this.alive
      .filter(({ process }) => process!.node.isLeader)
      .toSorted((a, b) => b.process!.node.term - a.process!.node.term)[0];
  }

  get followers(): readonly Machine[] {
    return this.alive.filter((machine) => machine !== this.leader);
  }

  /** Waits until one leads, does its duties, and all others follow it. */
  async untilLed(): Promise<Machine> {
    await this.clock.advanceUntil(() => this.#isSettled(), 60_000);
    return this.leader!;
  }

  #isSettled(): boolean {
    const { leader } = this;
    if (leader === undefined || leader.process!.store.autopilot.config === undefined) return false;
    return this.alive.every(({ process }) => process!.node.leaderAddress === `${leader.address}:8300`);
  }

  /** A call as a front door of that server makes it; virtual time goes on until it is answered. */
  async call<M extends CallName>(
    machine: Machine,
    method: M,
    request: Omit<CallRequest<M>, 'Datacenter'>,
    limitMs = 30_000,
  ): Promise<CallReply<M>> {
    const { server } = machine.process!;
    return await this.within(server.caller.call(method, { Datacenter: 'dc1', ...request }), limitMs);
  }

  /** Lets virtual time go on until `work` is done. */
  async within<T>(work: Promise<T>, limitMs = 30_000): Promise<T> {
    let isDone = false;
    const settled = work.finally(() => (isDone = true));
    settled.catch(() => undefined);
    await this.clock.advanceUntil(() => isDone, limitMs);
    return await settled;
  }

  /**
   * {@link within} for work that compresses: threads do that in real time, from which virtual time must not run away.
   */
  async withThreads<T>(work: Promise<T>, limitMs = 30_000): Promise<T> {
    const settled = work.then(
      () => true,
      () => true,
    );
    for (let passedMs = 0; passedMs < limitMs; passedMs += virtualStepMs) {
      await this.clock.advance(virtualStepMs);
      const threadsTurn = new Promise<false>((resolve) => setTimeout(() => resolve(false), realStepMs));
      if (await Promise.race([settled, threadsTurn])) return await work;
    }
    throw new Error(`not done within ${limitMs} ms of virtual time`);
  }

  /** Until all that live have applied the same. */
  async untilEqual(): Promise<void> {
    await this.clock.advanceUntil(() => {
      const index = this.leader?.process!.node.lastIndex;
      return index !== undefined && this.alive.every(({ process }) => process!.node.appliedIndex >= index - 1);
    }, 30_000);
    await this.clock.advance(1000);
  }

  /** The whole state of a server as bytes. */
  stateOf(machine: Machine): string {
    return Buffer.concat([...writeSnapshot(machine.process!.store.snapshot(), new Map())]).toString('base64');
  }

  #tell(machine: Machine, Status: MemberStatus): void {
    const Tags = consulServerTags(
      {
        datacenter: 'dc1',
        nodeId: machine.id,
        version: '1.8.7',
        revision: '',
        aclMode: '0',
        port: 8300,
        wanPort: undefined,
        bootstrap: false,
        bootstrapExpect: this.#expect,
        nonVoter: false,
        useTls: false,
      },
      'lan',
    );
    const member: Member = {
      Name: machine.name,
      Addr: machine.address,
      Port: 8301,
      Tags,
      Status,
      ...consulMemberProtocol,
    };
    this.#members.set(machine.name, member);
    for (const { process } of this.machines) process?.server.memberChanged(member);
  }

  /** A connection to the door for snapshots; what is on it moves every now and then. */
  // oxlint-disable-next-line require-await -- as a dialer has it
  async #dialSnapshot(to: RpcServerAddress, clock: ProcessClock): Promise<Stream> {
    const target = this.machines.findLast(({ address, process }) => address === to.address && process !== undefined);
    if (target === undefined) throw new Error(`dial tcp ${to.address}: connect: connection refused`);
    const { server, clock: theirs } = target.process!;
    const { a, b, settle } = streamPair();
    const carry = (): void => {
      settle();
      if (!a.closed || !b.closed) clock.after(1, carry);
    };
    carry();
    void serveSnapshot(b, server.rpc.snapshotHandler, { clock: theirs, logger: silentLogger });
    return a;
  }

  /** Calls travel as bytes, for a while; whoever is dead closes, whoever is frozen says nothing. */
  #callerFrom(from: Machine, clock: ProcessClock): CallServer {
    const call = async (
      to: RpcServerAddress,
      method: keyof typeof serverMethods,
      request: unknown,
      options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
    ): Promise<unknown> => {
      const shape = serverMethods[method] as { request: Shape<unknown, unknown>; reply: Shape<unknown, unknown> };
      const bytes = encodeShape(shape.request, request);
      await sleep(clock, this.random.next() * delayMs);
      const target = this.machines.findLast(({ address, process }) => address === to.address && process !== undefined);
      if (target === undefined) throw new RpcError('connect', `dial tcp ${to.address}: connect: connection refused`);
      const process = target.process!;
      const answer = async (): Promise<Uint8Array> => {
        while (this.#frozen.has(target.address)) await sleep(this.clock, delayMs);
        const context = { remote: { address: from.address, port: 1 }, signal: options.signal ?? never };
        try {
          return encodeShape(
            shape.reply,
            await process.server.rpc.handler(method, decodeShape(shape.request, bytes), context),
          );
        } catch (error) {
          throw new RpcError('server', (error as Error).message);
        }
      };
      const lost = (async () => {
        while (target.process === process) await sleep(this.clock, 50);
        throw new RpcError('lost', 'EOF');
      })();
      const limits = new Promise<never>((_, reject) => {
        const { signal, timeoutMs = 60_000 } = options;
        clock.after(timeoutMs, () => reject(new RpcError('timeout', 'i/o deadline reached')));
        signal?.addEventListener('abort', () => reject(new RpcError('aborted', 'aborted')), { once: true });
      });
      const reply = await Promise.race([answer(), lost, limits]);
      await sleep(clock, this.random.next() * delayMs);
      return decodeShape(shape.reply, reply);
    };
    return call as CallServer;
  }
}

const never = new AbortController().signal;

/** Whether the failure says that nobody knows what became of a write. */
export function isUnclear(error: unknown): boolean {
  return error instanceof CallError && /leadership lost|EOF|deadline/.test(error.message);
}
