/** How a pool's load and its speed of agreeing change as it grows. */
import { suspicionMinMs } from '../../../src/gossip/index.ts';
import { progress, type Row, type Section, show } from '../support/report.ts';
import { type Chart, lineChart } from './chart.ts';
import { type Happening, SimulatedPool, type SimulatedMember } from './simulated-pool.ts';

const sizes = [100, 300, 1_000, 5_000];
const sizesQuick = [100, 300];
/** Quiet time in which the load is measured, ms. */
const quietMs = 30_000;
/** Events of each kind, all at once: they are told independently of each other. */
const eventsEach = 3;
/** No event takes longer to be known, ms. */
const limitMs = 240_000;
/** Most that the packets a member sends may differ between the smallest and the largest pool. */
const flatRatio = 1.15;

interface Load {
  readonly packets: number;
  readonly packetsMax: number;
  readonly packetBytes: number;
  readonly streamBytes: number;
}

interface Result {
  readonly size: number;
  readonly quiet: Load;
  readonly busy: Load;
  /** Until the last member knew, ms, sorted. */
  readonly joinMs: readonly number[];
  readonly leaveMs: readonly number[];
  /** Until the first member suspected the dead, and until the last one held them for dead. */
  readonly suspectMs: readonly number[];
  readonly deadMs: readonly number[];
  readonly falsePositives: number;
}

export async function measureGrowth(quick: boolean): Promise<{ section: Section; charts: readonly Chart[] }> {
  const results: Result[] = [];
  for (const size of quick ? sizesQuick : sizes) {
    progress(`growth: ${size} members`);
    results.push(await measureSize(size));
  }
  return { section: sectionOf(results), charts: chartsOf(results) };
}

async function measureSize(size: number): Promise<Result> {
  const pool = new SimulatedPool({ seed: size });
  await pool.start(size);
  let falsePositives = 0;
  const dying = new Set<string>();
  const joiners: SimulatedMember[] = [];
  /** Members that know of what happened to one, and when the last and the first came to. */
  const known = new Map<string, { count: number; firstMs: number; lastMs: number }>();
  pool.onNote = ({ happening, about, by }) => {
    if (happening === 'died' && !dying.has(about)) falsePositives++;
    if (about === by.name || joiners.includes(by)) return;
    const nowMs = pool.clock.monotonicMs();
    const key = `${happening} ${about}`;
    const entry = known.get(key) ?? { count: 0, firstMs: nowMs, lastMs: nowMs };
    entry.count++;
    entry.lastMs = nowMs;
    known.set(key, entry);
  };
  /** Waits until all others know. @returns ms from now to each one's last and first, sorted. */
  const untilKnown = async (happening: Happening, names: readonly string[], count: number) => {
    const startMs = pool.clock.monotonicMs();
    const isKnown = (): boolean => names.every((name) => (known.get(`${happening} ${name}`)?.count ?? 0) >= count);
    for (let passedMs = 0; !isKnown(); passedMs += 100) {
      if (passedMs > limitMs) throw new Error(`${happening} ${names.join()} was not known to all in ${limitMs} ms`);
      await pool.clock.advance(100);
    }
    const entries = names.map((name) => known.get(`${happening} ${name}`)!);
    return entries.map(({ lastMs }) => lastMs - startMs).toSorted((a, b) => a - b);
  };

  const quiet = await loadOf(pool, quietMs, (ms) => pool.clock.advance(ms));
  const busyFromMs = pool.clock.monotonicMs();
  const before = trafficOf(pool.members);
  const measured = [...pool.members];

  for (let i = 0; i < eventsEach; i++) {
    const through = pool.pick();
    const joiner = await pool.add();
    joiners.push(joiner);
    void joiner.memberlist.join([through.address]);
  }
  const names = (members: readonly SimulatedMember[]): string[] => members.map(({ name }) => name);
  const joinMs = await untilKnown('joined', names(joiners), size);

  for (const leaver of joiners) void leaver.memberlist.leave(60_000).catch(() => {});
  const leaveMs = await untilKnown('left', names(joiners), size);
  for (const leaver of joiners) {
    await leaver.memberlist.shutdown();
    pool.remove(leaver);
  }

  const victims = Array.from({ length: eventsEach }, () => {
    const victim = pool.pick();
    pool.remove(victim);
    dying.add(victim.name);
    return victim;
  });
  const crashMs = pool.clock.monotonicMs();
  for (const victim of victims) victim.host.crash();
  const deadMs = await untilKnown('died', names(victims), pool.members.length);
  const suspectMs = names(victims)
    .map((name) => known.get(`suspected ${name}`)!.firstMs - crashMs)
    .toSorted((a, b) => a - b);
  const busySeconds = (pool.clock.monotonicMs() - busyFromMs) / 1_000;
  const busy = perSecond(before, trafficOf(measured), busySeconds);
  return { size, quiet, busy, joinMs, leaveMs, suspectMs, deadMs, falsePositives };
}

type Traffic = readonly (readonly [packets: number, packetBytes: number, streamBytes: number])[];

const trafficOf = (members: readonly SimulatedMember[]): Traffic =>
  members.map(({ host: { traffic } }) => [traffic.packets, traffic.packetBytes, traffic.streamBytes]);

async function loadOf(pool: SimulatedPool, ms: number, pass: (ms: number) => Promise<void>): Promise<Load> {
  const before = trafficOf(pool.members);
  await pass(ms);
  return perSecond(before, trafficOf(pool.members), ms / 1_000);
}

function perSecond(before: Traffic, after: Traffic, seconds: number): Load {
  const rates = after.map((now, i) => now.map((value, kind) => (value - before[i]![kind]!) / seconds));
  const mean = (kind: number): number => rates.reduce((sum, rate) => sum + rate[kind]!, 0) / rates.length;
  return {
    packets: mean(0),
    packetsMax: rates.reduce((max, rate) => Math.max(max, rate[0]!), 0),
    packetBytes: mean(1),
    streamBytes: mean(2),
  };
}

const middle = (sorted: readonly number[]): number => sorted[sorted.length >> 1]!;
const seconds = (ms: number): string => show(ms / 1_000, 's');

function sectionOf(results: readonly Result[]): Section {
  const rows: Row[] = results.map((result) => {
    const { size, quiet, busy, joinMs, leaveMs, suspectMs, deadMs, falsePositives } = result;
    // The formula: the shortest suspicion, once enough others confirm; never the six times longer one nobody shares.
    const minMs = suspicionMinMs(4, size + eventsEach, 1_000);
    const ratio = quiet.packets / results[0]!.quiet.packets;
    const isFlat = ratio < flatRatio && ratio > 1 / flatRatio;
    const isInTime = deadMs[0]! >= minMs && deadMs.at(-1)! <= suspectMs.at(-1)! + 6 * minMs;
    return {
      cells: [
        String(size),
        show(quiet.packets),
        show(quiet.packetsMax),
        show(quiet.packetBytes),
        show(quiet.streamBytes),
        show(busy.packets),
        show(busy.packetBytes),
        seconds(middle(joinMs)),
        seconds(middle(leaveMs)),
        seconds(middle(suspectMs)),
        seconds(middle(deadMs)),
        seconds(minMs),
        String(falsePositives),
      ],
      kept: isFlat && isInTime && falsePositives === 0,
    };
  });
  return {
    title: 'Load and agreement as a pool grows',
    method:
      `Simulated: every member in one process on virtual time, LAN profile, links of 0.1 to 1 ms, ${metaText}. Quiet: ` +
      `what a member sends in a second, mean over all members and ${quietMs / 1_000} s; busy: while ${eventsEach} join, ${eventsEach} leave ` +
      `and ${eventsEach} crash. Times are medians of ${eventsEach}, from the event until the last member knows; "formula" is the ` +
      'shortest suspicion, which a shared one comes down to. Limits: packets within 15 % of those of the smallest pool, ' +
      'failure times within the formula (its shortest suspicion, and its longest after the first verdict), and nobody ' +
      'held for dead who is alive. Stream bytes are push/pull: its interval grows with the logarithm of the pool, its size ' +
      'with the pool, as the protocol wants it. Compression is off here.',
    columns: [
      'members',
      'packets/s',
      'most',
      'packet B/s',
      'stream B/s',
      'busy packets/s',
      'busy packet B/s',
      'join',
      'leave',
      'suspected',
      'failed',
      'formula',
      'false',
    ],
    rows,
    data: results,
  };
}

const metaText = '160 bytes of meta';

function chartsOf(results: readonly Result[]): readonly Chart[] {
  const x = results.map(({ size }) => size);
  return [
    lineChart('gossip-growth-load', {
      title: 'What a member sends in a second',
      xLabel: 'members',
      yLabel: 'packets / s',
      isLogX: true,
      x,
      lines: [
        { name: 'quiet', y: results.map(({ quiet }) => quiet.packets) },
        { name: 'with joins, leaves, failures', y: results.map(({ busy }) => busy.packets) },
      ],
    }),
    lineChart('gossip-growth-convergence', {
      title: 'Until the last member knows',
      xLabel: 'members',
      yLabel: 's',
      isLogX: true,
      x,
      lines: [
        { name: 'join', y: results.map(({ joinMs }) => middle(joinMs) / 1_000) },
        { name: 'leave', y: results.map(({ leaveMs }) => middle(leaveMs) / 1_000) },
        { name: 'failure', y: results.map(({ deadMs }) => middle(deadMs) / 1_000) },
        { name: 'shortest suspicion', y: x.map((size) => suspicionMinMs(4, size, 1_000) / 1_000) },
      ],
    }),
  ];
}
