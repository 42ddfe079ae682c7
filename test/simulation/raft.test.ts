// Clusters of servers under everything a seed can think of. PORTOLAN_SEEDS=100000 tries as many; PORTOLAN_SEED=n replays
// one.
import { describe, expect, test } from 'vitest';
import { RaftCluster, type RaftClusterOptions, RaftViolation } from '../../src/sim/raft-cluster.ts';
import { isOneSeed, seedsOf } from '../helpers/settings.ts';

/** Kinds of cluster take turns with the seeds. */
function optionsOf(seed: number): RaftClusterOptions {
  return { seed, preVote: seed % 3 === 0, members: seed % 2 === 0 ? 5 : 3 };
}

const seeds = seedsOf({ byHand: 100, inCi: 1_000 });

/** Each seed takes about 0.15 s; a slow machine may take many times that. */
const timeoutMs = 60_000 + seeds.length * 2000;

describe('a cluster', () => {
  test(
    `keeps its promises whatever happens (${seeds.length} seeds)`,
    async () => {
      const total: Record<string, number> = {};
      for (const seed of seeds) {
        const report = await new RaftCluster(optionsOf(seed)).run();
        for (const [name, value] of Object.entries(report)) total[name] = (total[name] ?? 0) + value;
      }
      if (isOneSeed) return;
      // Nothing is shown by a run in which nothing happened.
      const happened = Object.entries(total).filter(([, value]) => value >= seeds.length / 10);
      expect(happened.map(([name]) => name).sort()).toEqual(
        ['acknowledged', 'changes', 'crashes', 'elections', 'installs', 'reads', 'snapshots', 'transfers'].sort(),
      );
    },
    timeoutMs,
  );

  test('replays a seed exactly', async () => {
    const [first, second] = [await new RaftCluster(optionsOf(7)).run(), await new RaftCluster(optionsOf(7)).run()];
    expect(second).toEqual(first);
  });
});

/** The first violation among some seeds. */
async function violation(from: number, options: Partial<RaftClusterOptions>): Promise<unknown> {
  for (let seed = from; seed < from + 400; seed++) {
    try {
      await new RaftCluster({ ...optionsOf(seed), ...options }).run();
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

describe('the simulation notices', () => {
  const half = (matches: readonly number[]): number =>
    matches.toSorted((a, b) => b - a)[Math.floor(matches.length / 2)] ?? 0;
  const sound = {
    commitIndexFor: (matches: readonly number[], ownTermStart: number, current: number) =>
      half(matches) >= ownTermStart ? Math.max(current, half(matches)) : current,
    isStale: (term: number, currentTerm: number) => term < currentTerm,
  };

  // Where the search starts is near a seed that shows it, to save time; it goes on when that seed no longer does.
  test.each([
    ['answers before the disk has it (skip fsync)', 1, { skipSync: true }],
    ['obedience to leaders of old terms (ignore term check)', 260, { rules: { ...sound, isStale: () => false } }],
    [
      'commits by the count of an entry of an old term',
      255,
      {
        rules: {
          ...sound,
          commitIndexFor: (matches: readonly number[], _: number, current: number) => Math.max(current, half(matches)),
        },
      },
    ],
  ])(
    '%s',
    async (_, from, options) => {
      expect(await violation(from, options)).toBeInstanceOf(RaftViolation);
    },
    300_000,
  );

  test('nothing when the rules are the same, put in from outside', async () => {
    for (const seed of [256, 268]) await new RaftCluster({ ...optionsOf(seed), rules: sound }).run();
  });
});
