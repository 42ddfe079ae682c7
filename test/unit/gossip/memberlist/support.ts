// Pools of members on the simulated network, for unit tests and simulations.
import {
  createMemberlist,
  lanProfile,
  type Memberlist,
  type MemberlistMember,
  type MemberlistOptions,
  type MemberlistProfile,
} from '../../../../src/gossip/memberlist/index.ts';
import type { Metrics } from '../../../../src/ports/index.ts';
import { type LinkConditions, type SimHost, SimNetwork } from '../../../../src/sim/network.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../../helpers/logger.ts';

export const noMetrics: Metrics = { count() {}, gauge() {}, sample() {} };
export const port = 7946;

/** A counter for each metric, by its last part. */
export function countingMetrics(): { readonly metrics: Metrics; readonly counts: Map<string, number> } {
  const counts = new Map<string, number>();
  return {
    counts,
    metrics: {
      count: (name, value = 1) => {
        const key = name.join('.');
        counts.set(key, (counts.get(key) ?? 0) + value);
      },
      gauge() {},
      sample() {},
    },
  };
}

export interface PoolMember {
  readonly name: string;
  readonly address: string;
  readonly host: SimHost;
  readonly memberlist: Memberlist;
  /** `join b`, `dead b`, `left b`, `update b`, `conflict b`, in order. */
  readonly events: string[];
  readonly messages: Uint8Array[];
  readonly log: string[];
  meta: Uint8Array;
}

export type MemberOptions = Partial<Omit<MemberlistOptions, 'name' | 'bind' | 'clock' | 'random'>> & {
  readonly clockRate?: number;
};

export class Pool {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly network: SimNetwork;
  readonly profile: MemberlistProfile;
  readonly members: PoolMember[] = [];
  #addresses = 0;

  constructor(
    seed: number,
    options: { readonly profile?: Partial<MemberlistProfile>; readonly conditions?: LinkConditions } = {},
  ) {
    this.random = new SeededRandom(seed);
    this.profile = { ...lanProfile, compress: false, ...options.profile };
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork(),
      ...(options.conditions === undefined ? {} : { conditions: options.conditions }),
    });
  }

  /** Starts a member; `at` reuses an address. */
  async add(name: string, options: MemberOptions = {}, at?: string): Promise<PoolMember> {
    const number = at === undefined ? ++this.#addresses : 0;
    const address = at ?? `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
    const { clockRate, delegate, ...rest } = options;
    const host = this.network.host(address, clockRate);
    const events: string[] = [];
    const messages: Uint8Array[] = [];
    const { logger, lines } = recordingLogger();
    const note =
      (what: string) =>
      (member: MemberlistMember): void => {
        events.push(`${what} ${member.name}`);
      };
    const added: PoolMember = {
      name,
      address,
      host,
      events,
      messages,
      log: lines,
      meta: new Uint8Array(),
      memberlist: createMemberlist({
        name,
        bind: { address, port },
        profile: this.profile,
        clock: host.clock,
        random: this.random.fork(),
        datagrams: host.datagrams,
        streams: host.streams,
        logger,
        metrics: noMetrics,
        delegate: {
          nodeMeta: () => added.meta,
          notifyJoin: note('join'),
          notifyLeave: (member) => {
            events.push(`${member.state} ${member.name}`);
          },
          notifyUpdate: note('update'),
          notifyConflict: note('conflict'),
          notifyMessage: (message) => {
            messages.push(message);
          },
          ...delegate,
        },
        ...rest,
      }),
    };
    this.members.push(added);
    await added.memberlist.start();
    return added;
  }

  /** Lets one member join through another. */
  async join(member: PoolMember, through: PoolMember): Promise<{ joined: number; errors: readonly string[] }> {
    return this.settle(member.memberlist.join([through.address]));
  }

  /** A pool of members `m0`, `m1`, …, joined and agreed. */
  async grow(count: number, options: MemberOptions = {}): Promise<readonly PoolMember[]> {
    for (let i = 0; i < count; i++) {
      const member = await this.add(`m${this.members.length}`, options);
      if (this.members.length > 1) await this.join(member, this.members[0]!);
    }
    // Not after every timer: asking is the square of the pool.
    while (!this.agrees()) await this.clock.advance(100);
    return this.members;
  }

  /** Whether every member sees exactly these (default: all) as alive. */
  agrees(members: readonly PoolMember[] = this.members): boolean {
    return members.every(({ memberlist }) => {
      if (memberlist.numAlive !== members.length) return false;
      return members.every(({ name }) => memberlist.member(name)?.state === 'alive');
    });
  }

  async settle<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let isSettled = false;
    const done = (): void => {
      isSettled = true;
    };
    promise.then(done, done);
    await this.clock.advanceUntil(() => isSettled, limitMs);
    return promise;
  }
}

export function stateOf(member: PoolMember, name: string): string | undefined {
  return member.memberlist.member(name)?.state;
}
