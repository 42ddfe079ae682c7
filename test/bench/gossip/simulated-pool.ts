/** A large pool in one process, on virtual time, that notes only what the bench asks for. */
import {
  createMemberlist,
  lanProfile,
  type Memberlist,
  type MemberlistMember,
  type MemberlistProfile,
} from '../../../src/gossip/index.ts';
import type { DatagramNetwork, Logger, Metrics, StreamNetwork } from '../../../src/ports/index.ts';
import { type SimHost, SimNetwork } from '../../../src/sim/network.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const port = 7946;
/** About what the tags of a Consul client take. */
const metaBytes = 160;
const noMetrics: Metrics = { count() {}, gauge() {}, sample() {} };
/** What a Consul agent announces. */
const versions = {
  protocol: { min: 1, max: 5, current: 2 },
  delegate: { min: 2, max: 5, current: 4 },
} as const;

export type Happening = 'suspected' | 'joined' | 'left' | 'died';

/** What one member found out about another, or about itself. */
export interface Note {
  readonly happening: Happening;
  readonly about: string;
  readonly by: SimulatedMember;
}

export interface SimulatedMember {
  readonly name: string;
  readonly address: string;
  readonly host: SimHost;
  readonly memberlist: Memberlist;
}

/** The network as one member has it; a place to make it worse. */
export interface MemberNetwork {
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
}

export class SimulatedPool {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly members: SimulatedMember[] = [];
  onNote: (note: Note) => void = () => {};
  readonly #network: SimNetwork;
  readonly #profile: MemberlistProfile;
  readonly #wrap: (host: SimHost) => MemberNetwork;
  readonly #meta: Uint8Array;
  #made = 0;

  /**
   * @param options.wrap the network of a host, as its member is to see it.
   */
  constructor(options: {
    readonly seed: number;
    readonly profile?: Partial<MemberlistProfile>;
    readonly wrap?: (host: SimHost) => MemberNetwork;
  }) {
    this.random = new SeededRandom(options.seed);
    this.#network = new SimNetwork({ clock: this.clock, random: this.random.fork() });
    // Compression costs the bench much time and changes no decision; sizes are those before it.
    this.#profile = { ...lanProfile, compress: false, ...options.profile };
    this.#wrap = options.wrap ?? ((host) => host);
    this.#meta = this.random.bytes(metaBytes);
  }

  /** A pool of so many that have known each other for long. */
  async start(size: number): Promise<void> {
    const known = Array.from({ length: size }, (_, i): MemberlistMember => {
      const address = addressOf(i);
      return {
        name: `m${i}`,
        address,
        addressBytes: Uint8Array.from(address.split('.'), Number),
        port,
        meta: this.#meta,
        state: 'alive',
        incarnation: 1,
        ...versions,
      };
    });
    for (let i = 0; i < size; i++) await this.add(known);
    // What they still say about themselves.
    await this.clock.advance(10_000);
  }

  /** One more member. */
  async add(knownMembers: readonly MemberlistMember[] = []): Promise<SimulatedMember> {
    const number = this.#made++;
    const address = addressOf(number);
    const host = this.#network.host(address);
    const note = (happening: Happening, about: string): void => this.onNote({ happening, about, by: member });
    const logger: Logger = {
      trace() {},
      debug() {},
      info(message, fields) {
        if (message.startsWith('suspecting a member')) note('suspected', String(fields?.['node']));
      },
      warn() {},
      error() {},
      named: () => logger,
    };
    const member: SimulatedMember = {
      name: `m${number}`,
      address,
      host,
      memberlist: createMemberlist({
        name: `m${number}`,
        bind: { address, port },
        profile: this.#profile,
        delegateVersions: versions.delegate,
        knownMembers,
        delegate: {
          nodeMeta: () => this.#meta,
          notifyJoin: ({ name }) => note('joined', name),
          notifyLeave: ({ name, state }) => note(state === 'left' ? 'left' : 'died', name),
        },
        clock: host.clock,
        random: this.random.fork(),
        ...this.#wrap(host),
        logger,
        metrics: noMetrics,
      }),
    };
    await member.memberlist.start();
    this.members.push(member);
    return member;
  }

  remove(member: SimulatedMember): void {
    this.members.splice(this.members.indexOf(member), 1);
  }

  pick(): SimulatedMember {
    return this.members[this.random.integer(this.members.length)]!;
  }
}

function addressOf(number: number): string {
  return `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
}
