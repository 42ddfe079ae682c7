/**
 * Portolan and the real Consul with the same words on the same machine, one after the other in alternating rounds. What
 * is told apart is the ratio: absolute numbers are the machine's.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Context } from './support/context.ts';
import { measureFanOut } from './support/fan-out.ts';
import { dnsLoad, httpLoad, missingTool, type Throughput } from './support/load.ts';
import { type Bar, progress, type Row, type Section, show } from './support/report.ts';
import { median } from './support/stats.ts';
import { consulOrReason, portolan, RunningSubject, type Subject } from './support/subject.ts';

/** How much is measured: a complete run takes about ten minutes, a quick one says whether it works. */
interface Extent {
  readonly rounds: number;
  /** Length of one load, and of the one before it that does not count (s). */
  readonly loadS: number;
  readonly warmUpS: number;
  /** Further starts in each round, for the time they take. */
  readonly starts: number;
  readonly watchers: number;
  readonly wakes: number;
  /** From leader to the look at the idle memory: garbage of the start is collected or it is not (ms). */
  readonly settleMs: number;
}
const complete: Extent = { rounds: 3, loadS: 3, warmUpS: 1, starts: 4, watchers: 10_000, wakes: 3, settleMs: 15_000 };
const quick: Extent = { rounds: 1, loadS: 1, warmUpS: 1, starts: 1, watchers: 1_000, wakes: 1, settleMs: 3_000 };

/** Connections of wrk where nothing else is said. */
const connections = 16;
const port = 21_200;
/** Both close connections of a client beyond 200 unless told otherwise; Consul wants descriptors for all of them. */
const configuration = 'limits = { http_max_conns_per_client = 15000 }';
/** Names in the catalog: before and after it is filled. */
const servicesFew = 50;
const servicesMany = 5_000;
const registrations = 1_000;
/** Registrations under way at a time. */
const parallel = 8;
const txnOperations = 64;
/** Idle memory of Consul with registrator beside it, as measured where both run (MB). */
const peerWithRegistratorMb = 60;

interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Whether less is better. */
  readonly less?: boolean;
  /** Bound of the ratio ours / peer; a lower bound unless less is better. */
  readonly goal?: number;
  /** Bound of ours alone, in the place of a ratio's. */
  readonly ownGoal?: number;
}

interface LoadFigure extends Figure {
  readonly load: (subject: RunningSubject, seconds: number) => Promise<Throughput>;
}

const get = (name: string, path: string, goal?: number): LoadFigure => ({
  name: `GET ${name}`,
  unit: '/s',
  ...(goal === undefined ? {} : { goal }),
  load: (subject, seconds) => httpLoad(subject, { path, connections }, seconds),
});
const putKv = (clients: number): LoadFigure => ({
  name: `PUT of a KV pair, ${clients} connection${clients === 1 ? '' : 's'}`,
  unit: '/s',
  load: (subject, seconds) =>
    httpLoad(subject, { path: '/v1/kv/load/', connections: clients, body: 'x'.repeat(100), keys: 1_000 }, seconds),
});
const dns = (type: 'A' | 'SRV', service: string, instances: number, goal?: number): LoadFigure => ({
  name: `DNS ${type}, ${instances} instances`,
  unit: '/s',
  ...(goal === undefined ? {} : { goal }),
  // Fifty fit only into answers of clients that say they take them.
  load: (subject, seconds) =>
    dnsLoad(subject, { name: `${service}.service.consul`, type, edns: instances > 5 }, seconds),
});
const transaction: LoadFigure = {
  name: `transaction of ${txnOperations} operations`,
  unit: '/s',
  load: (subject, seconds) =>
    httpLoad(subject, { path: '/v1/txn', connections, body: JSON.stringify(transactionBody()) }, seconds),
};

const fewLoads: readonly LoadFigure[] = [
  get('a KV pair', '/v1/kv/bench', 1.3),
  get('a KV pair, stale', '/v1/kv/bench?stale'),
  get('a KV pair, consistent', '/v1/kv/bench?consistent'),
  ...[1, 32, 256].map(putKv),
  transaction,
  get('health of 5 instances', '/v1/health/service/web', 4),
  get('health of 500 instances', '/v1/health/service/wide'),
  get(`catalog services, ${servicesFew}`, '/v1/catalog/services', 3),
  get(`agent services, ${servicesFew}`, '/v1/agent/services', 4),
  dns('A', 'web', 5, 2),
  dns('SRV', 'web', 5, 3.5),
  dns('A', 'medium', 50),
  dns('SRV', 'medium', 50),
];
const manyLoads: readonly LoadFigure[] = [get(`catalog services, ${servicesMany}`, '/v1/catalog/services')];

const startFigure: Figure = { name: 'start to leader', unit: 'ms', less: true, goal: 0.5 };
const registrationFigure: Figure = {
  name: `registration of ${registrations} services by the agent API`,
  unit: 's',
  less: true,
};
const fanOutFigure: Figure = { name: 'fan-out: write to last wake', unit: 'ms', less: true, goal: 0.5 };
const watcherFigure: Figure = { name: 'fan-out: memory of a watcher', unit: 'kB', less: true };
const idleFigure: Figure = {
  name: 'memory, idle (ours with the registrator)',
  unit: 'MB',
  less: true,
  ownGoal: 1.2 * peerWithRegistratorMb,
};
const loadedFigure: Figure = { name: 'memory, loaded', unit: 'MB', less: true, goal: 0.8 };

const figures: readonly Figure[] = [
  ...fewLoads,
  ...manyLoads,
  registrationFigure,
  fanOutFigure,
  watcherFigure,
  startFigure,
  idleFigure,
  loadedFigure,
];

type Note = (figure: Figure, value: number, load?: Throughput) => void;

export async function measurePeer(context: Context): Promise<Section> {
  const peer = consulOrReason(context.root);
  const title = 'Portolan and Consul';
  const reason = typeof peer === 'string' ? peer : missingTool();
  if (typeof peer === 'string' || reason !== undefined) {
    return { title, method: `Skipped: ${reason}`, columns: ['skipped'], rows: [], data: null };
  }
  const subjects = [portolan(context.bundle), peer] as const;
  const values = new Samples();
  const p99s = new Samples();
  const processor = new Samples();
  const extent = context.quick ? quick : complete;
  for (let round = 0; round < extent.rounds; round++) {
    // Alternating order, so that neither always has the warmer machine.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      progress(`peer: round ${round + 1} of ${extent.rounds}, ${subject.name}`);
      await measureOne(subject, context, extent, (figure, value, load) => {
        values.add(figure.name, subject.name, value);
        if (load === undefined) return;
        p99s.add(figure.name, subject.name, load.p99Ms);
        processor.add(figure.name, subject.name, load.processorUs);
      });
    }
  }
  const [ours, theirs] = subjects.map(({ name }) => name) as [string, string];
  const rows: Row[] = [];
  const bars: Bar[] = [];
  for (const figure of figures) {
    const { name, unit, goal, ownGoal, less = false } = figure;
    const [our, their] = [values.median(name, ours), values.median(name, theirs)];
    const ratio = our / their;
    const bound = ownGoal ?? goal;
    const judged = ownGoal === undefined ? ratio : our;
    const sign = less ? '≤' : '≥';
    const shown = (samples: Samples, of: string): string =>
      samples.has(name, of) ? show(samples.median(name, of)) : '';
    rows.push({
      cells: [
        `${name}, ${unit === '/s' ? 'answers/s' : unit}`,
        show(our),
        show(their),
        ratio.toFixed(2),
        bound === undefined ? '' : `${sign} ${bound}${ownGoal === undefined ? '' : ` ${unit}`}`,
        shown(p99s, ours),
        shown(p99s, theirs),
        shown(processor, ours),
        shown(processor, theirs),
      ],
      ...(bound === undefined ? {} : { kept: less ? judged <= bound : judged >= bound }),
    });
    bars.push({
      name,
      value: less ? 1 / ratio : ratio,
      text: `${show(our)} : ${show(their)} ${unit}`,
      ...(goal === undefined ? {} : { goal: less ? 1 / goal : goal }),
    });
  }
  return {
    title,
    method: `The same configuration for both (${context.durable ? 'one server with its data on disk' : '`-dev`'}, \`-log-level=warn\`), loopback, ${extent.rounds} alternating rounds, ${extent.loadS} s a load; medians. The load generators (wrk with ${connections} connections where nothing else is said; dnsperf with 16 questions under way) share the machine. Fan-out: ${extent.watchers} blocking queries for one service. Idle memory counts for ours with the registrator inside; its goal is 1.2 times the ${peerWithRegistratorMb} MB of Consul and registrator. Processor time is the server's own for one answer, all threads. Memory is resident memory, loaded after the loads and before the fan-out.`,
    columns: ['', ours, theirs, 'ratio', 'goal', 'p99 ours, ms', 'theirs', 'processor ours, µs', 'theirs'],
    rows,
    bars: { title: 'Times as good as Consul 1.8.7 on the same machine (the mark is the goal)', bars },
    data: { values: values.all(), p99Ms: p99s.all(), processorUs: processor.all() },
  };
}

async function measureOne(subject: Subject, context: Context, extent: Extent, note: Note): Promise<void> {
  const options = { port, durable: context.durable, args: [`-hcl=${configuration}`] };
  for (let start = 0; start < extent.starts; start++) {
    const brief = new RunningSubject(subject, options);
    try {
      note(startFigure, (await brief.started()).leaderMs);
    } finally {
      await brief.stop();
    }
  }
  const running = new RunningSubject(subject, options);
  try {
    note(startFigure, (await running.started()).leaderMs);
    await pause(extent.settleMs);
    note(idleFigure, running.residentBytes() / 1e6);
    await fillFew(running);
    for (const figure of fewLoads) await loadOnce(running, figure, extent, note);
    note(registrationFigure, await registerMany(running));
    await fillMany(running);
    for (const figure of manyLoads) await loadOnce(running, figure, extent, note);
    note(loadedFigure, running.residentBytes() / 1e6);
    const { lastWakeMs, bytesPerWatcher } = await measureFanOut(running, extent.watchers, extent.wakes);
    for (const wake of lastWakeMs) note(fanOutFigure, wake);
    note(watcherFigure, bytesPerWatcher / 1e3);
  } finally {
    await running.stop();
  }
}

async function loadOnce(subject: RunningSubject, figure: LoadFigure, extent: Extent, note: Note): Promise<void> {
  await figure.load(subject, extent.warmUpS);
  const measured = await figure.load(subject, extent.loadS);
  note(figure, measured.perSecond, measured);
}

/** The same content for both, and proof that it is there: on the agent, and on nodes elsewhere. */
async function fillFew(subject: RunningSubject): Promise<void> {
  for (let made = 1; made <= servicesFew; made++) {
    await subject.put('/v1/agent/service/register', {
      ID: `own-${made}`,
      Name: made <= 5 ? 'web' : `own-${made}`,
      Tags: ['v1', `rack-${made}`],
      Address: `192.0.2.${made}`,
      Port: 8000 + made,
      Meta: { version: '1.0.0' },
      Check: { TTL: '1h', Status: 'passing' },
    });
  }
  await registerElsewhere(subject, 'wide', 500);
  await registerElsewhere(subject, 'medium', 50);
  // `consul` and the two above are among the names; web is five instances of one.
  for (let made = servicesFew - 5 + 4; made < servicesFew; made++) await registerElsewhere(subject, `few-${made}`, 1);
  await subject.put('/v1/kv/bench', 'x'.repeat(100));
  await expectCount(subject, '/v1/health/service/web?passing', 5);
  await expectCount(subject, '/v1/health/service/wide?passing', 500);
  await expectCount(subject, '/v1/catalog/services', servicesFew);
  await expectCount(subject, '/v1/agent/services', servicesFew);
}

async function fillMany(subject: RunningSubject): Promise<void> {
  const missing = servicesMany - Object.keys(await subject.get<object>('/v1/catalog/services')).length;
  await inParallel(missing, (made) =>
    subject.put('/v1/catalog/register', {
      Node: 'elsewhere',
      Address: '192.0.2.1',
      SkipNodeUpdate: true,
      Service: { ID: `more-${made}`, Service: `more-${made}`, Tags: ['v1'], Port: 80 },
    }),
  );
  await expectCount(subject, '/v1/catalog/services', servicesMany);
}

/** Each instance on a node of its own, with a check that passes. */
async function registerElsewhere(subject: RunningSubject, service: string, instances: number): Promise<void> {
  await inParallel(instances, (made) =>
    subject.put('/v1/catalog/register', {
      Node: `${service}-node-${made}`,
      Address: `198.51.100.${made % 250}`,
      Service: { ID: service, Service: service, Tags: ['v1'], Port: 8000 + made, Meta: { version: '1.0.0' } },
      Check: { Name: 'alive', CheckID: `service:${service}`, ServiceID: service, Status: 'passing' },
    }),
  );
}

/** @returns seconds from the first request until the catalog has them all. */
async function registerMany(subject: RunningSubject): Promise<number> {
  const before = Object.keys(await subject.get<object>('/v1/catalog/services')).length;
  const startMs = performance.now();
  await inParallel(registrations, (made) =>
    subject.put('/v1/agent/service/register', {
      ID: `new-${made}`,
      Name: `new-${made}`,
      Port: 80,
      Check: { TTL: '1h' },
    }),
  );
  while (Object.keys(await subject.get<object>('/v1/catalog/services')).length < before + registrations) await pause(5);
  return (performance.now() - startMs) / 1e3;
}

async function inParallel(count: number, work: (at: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

/** Waits for it: what an agent has registered is in the catalog a moment later. */
async function expectCount(subject: RunningSubject, path: string, count: number): Promise<void> {
  const limitMs = performance.now() + 10_000;
  for (;;) {
    const found = Object.keys(await subject.get<object>(path)).length;
    if (found === count) return;
    if (performance.now() > limitMs) throw new Error(`${subject.name}: ${path} has ${found} entries, not ${count}`);
    await pause(50);
  }
}

function transactionBody(): unknown {
  return Array.from({ length: txnOperations }, (_, at) => ({
    KV: { Verb: 'set', Key: `txn/${at}`, Value: Buffer.from(`value ${at}`).toString('base64') },
  }));
}

/** Numbers by figure and subject. */
class Samples {
  readonly #byFigure = new Map<string, Map<string, number[]>>();

  add(figure: string, subject: string, value: number): void {
    const row = this.#byFigure.get(figure) ?? new Map<string, number[]>();
    this.#byFigure.set(figure, row.set(subject, [...(row.get(subject) ?? []), value]));
  }

  has(figure: string, subject: string): boolean {
    return this.#byFigure.get(figure)?.has(subject) ?? false;
  }

  median(figure: string, subject: string): number {
    return median(this.#byFigure.get(figure)?.get(subject) ?? []);
  }

  all(): unknown {
    return Object.fromEntries([...this.#byFigure].map(([figure, row]) => [figure, Object.fromEntries(row)]));
  }
}
