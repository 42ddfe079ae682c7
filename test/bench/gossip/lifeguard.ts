/**
 * False positives among slow members, set up as in the paper on Lifeguard (Dadgar, Phillips, Currey, arXiv:1707.00788):
 * 128 members, of which some, all at the same time, process no messages for a while, again and again. In the paper
 * their timers run on meanwhile, which is worse than a paused event loop: they judge others by answers they have not
 * read. Both are measured, and both with and without Lifeguard.
 */
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
  [2_048, 64],
  [8_192, 1_024],
  [16_384, 4_096],
  [32_768, 64],
];
const testMs = 120_000;
/** The paper's result: with Lifeguard more than fifty times fewer false positives than SWIM has without it. */
const publishedReduction = 50;

/** SWIM as it was: no local health, one fixed suspicion time. The ping that carries the accusation stays. */
const withoutLifeguard = { awarenessMax: 1, suspicionMaxMultiplier: 1 };

type Model = 'messages wait' | 'event loop pauses';

/** Failures believed of healthy members: by anybody, and by healthy members. */
interface Counts {
  readonly all: number;
  readonly byHealthy: number;
}

interface Result {
  readonly model: Model;
  readonly slow: number;
  readonly swim: Counts;
  readonly lifeguard: Counts;
}

export async function measureLifeguard(quick: boolean): Promise<{ section: Section; charts: readonly Chart[] }> {
  const results: Result[] = [];
  for (const model of ['messages wait', 'event loop pauses'] as const) {
    for (const slow of quick ? slowCountsQuick : slowCounts) {
      progress(`lifeguard: ${slow} slow members, ${model}`);
      const swim = await falsePositives(model, slow, false);
      results.push({ model, slow, swim, lifeguard: await falsePositives(model, slow, true) });
    }
  }
  return { section: sectionOf(results), charts: [chartOf(results)] };
}

async function falsePositives(model: Model, slowCount: number, isOn: boolean): Promise<Counts> {
  let all = 0;
  let byHealthy = 0;
  for (const [i, [deafMs, wellMs]] of anomaliesMs.entries()) {
    const gates = new Map<SimHost, Gate>();
    const pool = new SimulatedPool({
      seed: 1_000 * slowCount + i,
      ...(isOn ? {} : { profile: withoutLifeguard }),
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
  const row = ({ model, slow, swim, lifeguard }: Omit<Result, 'slow'> & { readonly slow: string }): Row => ({
    cells: [model, slow, String(swim.all), String(lifeguard.all), String(swim.byHealthy), String(lifeguard.byHealthy)],
  });
  const rows = results.map((result) => row({ ...result, slow: String(result.slow) }));
  for (const model of ['messages wait', 'event loop pauses'] as const) {
    const of = results.filter((result) => result.model === model);
    const sum = (which: 'swim' | 'lifeguard', kind: keyof Counts): number =>
      of.reduce((total, result) => total + result[which][kind], 0);
    const swim = { all: sum('swim', 'all'), byHealthy: sum('swim', 'byHealthy') };
    const lifeguard = { all: sum('lifeguard', 'all'), byHealthy: sum('lifeguard', 'byHealthy') };
    const isBelow =
      lifeguard.all * publishedReduction <= swim.all && lifeguard.byHealthy * publishedReduction <= swim.byHealthy;
    rows.push({ ...row({ model, slow: 'all', swim, lifeguard }), kept: isBelow });
  }
  const anomalies = anomaliesMs.map(([deafMs, wellMs]) => `${deafMs}/${wellMs}`).join(', ');
  return {
    title: `Healthy members held for failed, of ${size} with 1 to 32 slow ones`,
    method:
      `Simulated, LAN profile, sums over four runs of ${testMs / 1_000} s in which the slow members are deaf and well for ` +
      `${anomalies} ms in turn; each member that believes in a failure counts once. "Messages wait" is the set-up of ` +
      'arXiv:1707.00788: timers run on while nothing is sent or read. SWIM is our member without local health and with ' +
      `one fixed suspicion time. Limit: below the paper's result, false positives reduced ${publishedReduction}-fold.`,
    columns: ['model', 'slow members', 'SWIM', 'Lifeguard', 'SWIM, by healthy', 'Lifeguard, by healthy'],
    rows,
    data: results,
  };
}

function chartOf(results: readonly Result[]): Chart {
  const waiting = results.filter(({ model }) => model === 'messages wait');
  // Zero has no place on a logarithmic axis: counts are shown plus one.
  const log = (count: number): number => Math.log10(count + 1);
  return lineChart('gossip-lifeguard', {
    title: `Healthy members held for failed (log10 of count + 1), ${size} members, messages wait`,
    xLabel: 'slow members',
    yLabel: 'log10',
    isLogX: true,
    x: waiting.map(({ slow }) => slow),
    lines: [
      { name: 'SWIM', y: waiting.map(({ swim }) => log(swim.all)) },
      { name: 'Lifeguard', y: waiting.map(({ lifeguard }) => log(lifeguard.all)) },
      { name: 'Lifeguard, by healthy', y: waiting.map(({ lifeguard }) => log(lifeguard.byHealthy)) },
    ],
  });
}
