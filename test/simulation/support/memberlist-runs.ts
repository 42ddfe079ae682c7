/** What the simulations of memberlist share: which seeds they run, and what must hold in every pool at any time. */
import { relative } from 'node:path';
import { expect } from 'vitest';
import type { MemberlistMember } from '../../../src/gossip/memberlist/index.ts';
import { seedsOf } from '../../helpers/settings.ts';
import type { Pool, PoolMember } from '../../unit/gossip/memberlist/support.ts';

/** Enough for what is rare to show, and at most a minute for a test. */
export const seedsInCi = 1_000;
export const seeds: readonly number[] = seedsOf({ byHand: 100, inCi: seedsInCi });
/** Longest run of one test, ms. */
export const limitMs = Math.max(120_000, seeds.length * 5_000);
/** Between two looks at a pool, ms of virtual time. */
const watchMs = 500;

/** Runs a simulation for each seed. */
export async function forEachSeed(run: (seed: number) => Promise<void>): Promise<void> {
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      const file = relative(process.cwd(), expect.getState().testPath ?? 'test/simulation');
      const text = (error as Error).message;
      throw new Error(`seed ${seed} (PORTOLAN_SEED=${seed} npx vitest run ${file}): ${text}`, { cause: error });
    }
  }
}

/** Watches, every half second, what must hold at any time. */
export class Watch {
  readonly #pool: Pool;
  /** What each member saw last of each other one. A restarted member is a new observer. */
  readonly #seen = new Map<PoolMember, Map<string, MemberlistMember>>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async advance(ms: number, running: () => readonly PoolMember[]): Promise<void> {
    for (let passed = 0; passed < ms; passed += watchMs) {
      await this.#pool.clock.advance(Math.min(watchMs, ms - passed));
      for (const member of running()) this.#check(member);
    }
  }

  // Called millions of times: no `expect` here.
  #check(observer: PoolMember): void {
    const { memberlist, name } = observer;
    const { queuedBroadcasts, healthScore } = memberlist;
    // One statement a member at most, so the queue cannot outgrow the pool.
    if (queuedBroadcasts > this.#pool.members.length)
      throw new Error(`${name} has ${queuedBroadcasts} broadcasts waiting`);
    if (healthScore >= this.#pool.profile.awarenessMax) throw new Error(`${name} has health score ${healthScore}`);
    let seen = this.#seen.get(observer);
    if (seen === undefined) this.#seen.set(observer, (seen = new Map()));
    for (const member of memberlist.members()) {
      const last = seen.get(member.name);
      if (last === member) continue;
      seen.set(member.name, member);
      // The dead may be forgotten and begin anew, those that left may be replaced.
      if (last === undefined || last.state === 'dead' || last.state === 'left') continue;
      if (member.address === last.address && member.incarnation < last.incarnation) {
        throw new Error(
          `${name} saw ${member.name} go back from incarnation ${last.incarnation} to ${member.incarnation}`,
        );
      }
    }
  }
}
