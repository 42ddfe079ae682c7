/**
 * False positives among slow members, set up as in the paper on Lifeguard (Dadgar, Phillips, Currey, arXiv:1707.00788):
 * 128 members, of which some, all at the same time, process no messages for a while, again and again. In the paper
 * their timers run on meanwhile, which is worse than a paused event loop: they judge others by answers they have not
 * read. Both are measured, the paper's set-up also without Lifeguard. The paper's suspicions are longer than those of
 * today's LAN profile (α = 5 there, 4 now): its result is compared under its own figure, and the profile shown beside it.
 */
import type { MemberlistProfile } from '../../../src/gossip/index.ts';
import type { DatagramNetwork, Stream, StreamNetwork } from '../../../src/ports/index.ts';
import type { SimHost } from '../../../src/sim/network.ts';
import { progress, type Row, type Section } from '../support/report.ts';
import { type Chart, lineChart } from './chart.ts';
import { type MemberNetwork, SimulatedPool } from './simulated-pool.ts';

const size = 128;
const slowCounts = [1, 2, 4, 8, 16, 32];
const slowCountsQuick = [4, 32];
/** How long a slow member is deaf and dumb, and how long it then is well, ms. */
const anomaliesMs: readonly (readonly [deafMs: number, wellMs: number])[] = [
  [8_192, 1_024],
  [32_768, 64],
];
/** Runs of each, with seeds of their own: one unlucky verdict that spreads is hundreds of false positives. */
const repetitions = 3;
const testMs = 60_000;
/** Suspicions that began in it end in this, ms. */
const restMs = 60_000;
/** The paper's result: with Lifeguard more than fifty times fewer false positives than SWIM has without it. */
const publishedReduction = 50;

/** Suspicions as the paper's: α = 5, β = 6. */
const paper = { suspicionMultiplier: 5, suspicionMaxMultiplier: 6 };
/** SWIM as it was: no local health, one fixed suspicion time. The ping that carries the accusation stays. */
const withoutLifeguard = { ...paper, awarenessMax: 1, suspicionMaxMultiplier: 1 };
/** The LAN profile as it is. */
const today = {};

type Model = 'messages wait' | 'event loop pauses';

/** Failures believed of healthy members: by anybody, and by healthy members. */
interface Counts {
  readonly all: number;
  readonly byHealthy: number;
}

interface Result {
  readonly slow: number;
  /** Messages wait; without Lifeguard. */
  readonly swim: Counts;
  /** The same, with Lifeguard. */
  readonly lifeguard: Counts;
  /** The same, with Lifeguard as the LAN profile has it. */
  readonly waiting: Counts;
  /** Event loops pause; the LAN profile. */
  readonly paused: Counts;
}

export async function measureLifeguard(quick: boolean): Promise<{ section: Section; charts: readonly Chart[] }> {
  const results: Result[] = [];
  for (const slow of quick ? slowCountsQuick : slowCounts) {
    progress(`lifeguard: ${slow} slow members`);
    results.push({
      slow,
      swim: await falsePositives('messages wait', slow, withoutLifeguard),
      lifeguard: await falsePositives('messages wait', slow, paper),
      waiting: await falsePositives('messages wait', slow, today),
      paused: await falsePositives('event loop pauses', slow, today),
    });
  }
  return { section: sectionOf(results), charts: [chartOf(results)] };
}

async function falsePositives(model: Model, slowCount: number, profile: Partial<MemberlistProfile>): Promise<Counts> {
  let all = 0;
  let byHealthy = 0;
  const runs = Array.from({ length: repetitions }, () => anomaliesMs).flat();
  for (const [i, [deafMs, wellMs]] of runs.entries()) {
    const gates = new Map<SimHost, Gate>();
    const pool = new SimulatedPool({
      seed: 1_000 * slowCount + i,
      profile,
      wrap: (host) => {
        const gate = new Gate(host);
        gates.set(host, gate);
        return gate;
      },
    });
    await pool.start(size);
    const slow = pool.members.slice(0, slowCount);
    const slowNames = new Set(slow.map(({ name }) => name));
    pool.onNote = ({ happening, about, by }) => {
      if (happening !== 'died' || slowNames.has(about)) return;
      all++;
      if (!slowNames.has(by.name)) byHealthy++;
    };
    const stop = ({ host }: { readonly host: SimHost }): void =>
      model === 'messages wait' ? gates.get(host)!.close() : host.stall();
    const go = ({ host }: { readonly host: SimHost }): void =>
      model === 'messages wait' ? gates.get(host)!.open() : host.resume();
    for (let passedMs = 0; passedMs < testMs; passedMs += deafMs + wellMs) {
      slow.forEach(stop);
      await pool.clock.advance(deafMs);
      slow.forEach(go);
      await pool.clock.advance(wellMs);
    }
    await pool.clock.advance(restMs);
  }
  return { all, byHealthy };
}

/** The network of a host whose messages, in and out, wait while it is closed; time goes on. */
class Gate implements MemberNetwork {
  readonly datagrams: DatagramNetwork;
  readonly streams: StreamNetwork;
  #waiting: (() => void)[] | undefined;

  constructor(host: SimHost) {
    this.datagrams = {
      bind: async (at, onPacket) => {
        const socket = await host.datagrams.bind(at, (packet, from) => this.#pass(() => onPacket(packet, from)));
        return { ...socket, send: (packet, to) => this.#pass(() => socket.send(packet, to)) };
      },
    };
    this.streams = {
      connect: async (to, options) => {
        await new Promise<void>((resolve) => this.#pass(resolve));
        return this.#gated(await host.streams.connect(to, options));
      },
      listen: (at, onStream) => host.streams.listen(at, (stream) => this.#pass(() => onStream(this.#gated(stream)))),
    };
  }

  close(): void {
    this.#waiting ??= [];
  }

  open(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const run of waiting) run();
  }

  #pass(run: () => void): void {
    if (this.#waiting === undefined) run();
    else this.#waiting.push(run);
  }

  #gated(stream: Stream): Stream {
    return {
      local: stream.local,
      remote: stream.remote,
      get queuedBytes() {
        return stream.queuedBytes;
      },
      subscribe: (events) =>
        stream.subscribe({
          onData: (bytes) => this.#pass(() => events.onData(bytes)),
          onEnd: () => this.#pass(() => events.onEnd()),
          onDrain: () => events.onDrain(),
          onClose: (error) => this.#pass(() => events.onClose(error)),
        }),
      write: (bytes) => stream.write(bytes),
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      end: () => stream.end(),
      destroy: () => stream.destroy(),
    };
  }
}

function sectionOf(results: readonly Result[]): Section {
  const shown = ({ all, byHealthy }: Counts): string => `${all} / ${byHealthy}`;
  const sum = (which: 'swim' | 'lifeguard' | 'waiting' | 'paused'): Counts => ({
    all: results.reduce((total, result) => total + result[which].all, 0),
    byHealthy: results.reduce((total, result) => total + result[which].byHealthy, 0),
  });
  const rows: Row[] = results.map(({ slow, swim, lifeguard, waiting, paused }) => ({
    cells: [String(slow), ...[swim, lifeguard, waiting, paused].map(shown)],
  }));
  const [swim, lifeguard, waiting, paused] = [sum('swim'), sum('lifeguard'), sum('waiting'), sum('paused')];
  const isBelow = [lifeguard, paused].every(
    ({ all, byHealthy }) => all * publishedReduction <= swim.all && byHealthy * publishedReduction <= swim.byHealthy,
  );
  rows.push({ cells: ['all', ...[swim, lifeguard, waiting, paused].map(shown)], kept: isBelow });
  const anomalies = anomaliesMs.map(([deafMs, wellMs]) => `${deafMs}/${wellMs}`).join(', ');
  return {
    title: `Healthy members held for failed, of ${size} with 1 to 32 slow ones`,
    method:
      `Simulated; sums over ${repetitions} runs of ${testMs / 1_000} s and ${restMs / 1_000} s of rest in which the slow members are deaf and well ` +
      `for ${anomalies} ms in turn. Each member that believes in a failure counts once: any member / healthy ones. ` +
      '"Messages wait" is the set-up of arXiv:1707.00788: timers run on while nothing is sent or read. "Event loop ' +
      'pauses" is what a busy process does: its timers wait as well. SWIM is our member without local health and with ' +
      "one fixed suspicion time; SWIM and Lifeguard with the paper's suspicions (α = 5, β = 6), LAN with those of the " +
      `profile (α = 4). Limit: below the paper's result, false positives reduced ${publishedReduction}-fold.`,
    columns: ['slow members', 'SWIM', 'Lifeguard', 'LAN, messages wait', 'LAN, event loop pauses'],
    rows,
    data: results,
  };
}

function chartOf(results: readonly Result[]): Chart {
  // Zero has no place on a logarithmic axis: counts are shown plus one.
  const log = ({ all }: Counts): number => Math.log10(all + 1);
  return lineChart('gossip-lifeguard', {
    title: `Healthy members held for failed (log10 of count + 1), ${size} members`,
    xLabel: 'slow members',
    yLabel: 'log10',
    isLogX: true,
    x: results.map(({ slow }) => slow),
    lines: [
      { name: 'SWIM', y: results.map(({ swim }) => log(swim)) },
      { name: 'Lifeguard', y: results.map(({ lifeguard }) => log(lifeguard)) },
      { name: 'LAN', y: results.map(({ waiting }) => log(waiting)) },
      { name: 'LAN, loop pauses', y: results.map(({ paused }) => log(paused)) },
    ],
  });
}
