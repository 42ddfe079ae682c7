/** A pool of serf members in one process, on virtual time and a simulated network, all chance from one seed. */
import { expect } from 'vitest';
import {
  createSerf,
  Keyring,
  lanProfile,
  type Serf,
  type SerfEvent,
  type SerfOptions,
} from '../../../src/gossip/index.ts';
import { type MemberStatus, memberStatus } from '../../../src/model/index.ts';
import { MemoryAppendFile } from '../../../src/sim/memory-append-file.ts';
import { type LinkConditions, type SimHost, SimNetwork } from '../../../src/sim/network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';

const port = 7946;
/** Longest time that anything here takes to be known to all, ms of virtual time. */
const settleMs = 120_000;

export interface SimMember {
  readonly name: string;
  readonly address: string;
  readonly host: SimHost;
  readonly serf: Serf;
  readonly events: SerfEvent[];
  readonly logLines: readonly string[];
  readonly snapshotFile: MemoryAppendFile;
  readonly keyring: Keyring | undefined;
}

export class SerfCluster {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly network: SimNetwork;
  readonly members = new Map<string, SimMember>();

  constructor(seed: number, conditions?: LinkConditions) {
    this.random = new SeededRandom(seed);
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork(),
      ...(conditions === undefined ? {} : { conditions }),
    });
  }

  /** Starts a member; one of the same name before it must be down. It keeps its address and its snapshot. */
  async start(name: string, options: Partial<SerfOptions> & { readonly address?: string } = {}): Promise<SimMember> {
    const former = this.members.get(name);
    const { address = former?.address ?? `10.0.0.${this.members.size + 1}`, ...rest } = options;
    const host = this.network.host(address);
    const events: SerfEvent[] = [];
    const { logger, lines } = recordingLogger();
    const snapshotFile = former?.snapshotFile ?? new MemoryAppendFile();
    const serf = createSerf({
      nodeName: name,
      tags: { role: 'web' },
      bind: { address, port },
      profile: lanProfile,
      snapshotFile,
      onEvent: (event) => events.push(event),
      clock: host.clock,
      random: this.random.fork(),
      datagrams: host.datagrams,
      streams: host.streams,
      logger,
      metrics: { count() {}, gauge() {}, sample() {} },
      ...rest,
    });
    const member: SimMember = {
      name,
      address,
      host,
      serf,
      events,
      logLines: lines,
      snapshotFile,
      keyring: options.keyring,
    };
    await this.run(serf.start());
    this.members.set(name, member);
    return member;
  }

  /** Starts members `n0`, `n1`, … that join the first of them, and waits until all see all. */
  async startPool(count: number, options: Partial<SerfOptions> = {}): Promise<readonly SimMember[]> {
    const pool: SimMember[] = [];
    for (let i = 0; i < count; i++) {
      const keyring = options.keyring === undefined ? {} : { keyring: new Keyring(options.keyring.keys) };
      const member = await this.start(`n${i}`, { ...options, ...keyring });
      if (i > 0) await this.join(member, pool[0]!);
      pool.push(member);
    }
    await this.untilAllSee(pool, pool, memberStatus.alive);
    return pool;
  }

  async join(member: SimMember, other: SimMember, ignoreOldEvents = false): Promise<void> {
    const { joined, errors } = await this.run(member.serf.join([other.address], ignoreOldEvents));
    expect({ joined, errors }).toEqual({ joined: 1, errors: [] });
  }

  /** The machine goes down. */
  crash(member: SimMember): void {
    member.host.crash();
  }

  async leave(member: SimMember): Promise<void> {
    await this.run(member.serf.leave());
    await this.run(member.serf.shutdown());
  }

  /** Waits until each observer gives each subject the status. */
  async untilAllSee(
    observers: readonly SimMember[],
    subjects: readonly SimMember[],
    status: MemberStatus,
    limitMs = settleMs,
  ): Promise<void> {
    const holds = (): boolean =>
      observers.every(({ serf }) => subjects.every(({ name }) => serf.member(name)?.Status === status));
    try {
      await this.clock.advanceUntil(holds, limitMs);
    } catch (error) {
      const seen = observers.map(
        ({ name, serf }) =>
          `${name}: ${serf
            .members()
            .map(({ Name, Status }) => `${Name}=${Status}`)
            .join(' ')}`,
      );
      throw new Error(`not all see ${subjects.map(({ name }) => name).join()} as ${status}:\n${seen.join('\n')}`, {
        cause: error,
      });
    }
  }

  /** Lets time pass until the promise settles. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.clock.advanceUntil(() => isSettled, settleMs);
    return promise;
  }
}
