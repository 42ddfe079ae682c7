/**
 * Where counters and timings are gathered: ten-second intervals, the last complete one readable as
 * `/v1/agent/metrics`, and beside them Prometheus text and statsd lines where configured (reference/agent.md §6). The
 * interval ends by a timer, not by looking at the clock at each observation, so that an observation costs one map
 * look-up.
 */
import type { Clock, MetricLabels, Metrics, Timer } from '../ports/index.ts';
import { PrometheusRegistry } from './prometheus.ts';

/** Length of an interval, ms; fixed, as dashboards compute with it (Rate = Sum / 10). */
export const metricsIntervalMs = 10_000;

/**
 * Different names and label values in one interval. Far above what an agent has by itself (about 200); what exceeds it
 * (a label with unbounded values) is dropped and counted in the counter `telemetry.series_dropped`.
 */
export const metricsSeriesMax = 10_000;

export interface MetricsOptions {
  readonly clock: Clock;
  /** First part of each name, `metrics_prefix`; default `consul`. */
  readonly prefix?: string;
  /** Stands after the prefix in gauges; null leaves it away (`disable_hostname`). */
  readonly hostName: string | null;
  /** `prefix_filter`: `+name` lets pass, `-name` drops; the longest matching rule decides, over the full dotted name. */
  readonly prefixFilter?: readonly string[];
  /** `filter_default`: what happens to names that no rule matches; default: pass. */
  readonly filterDefault?: boolean;
  /** `prometheus_retention_time`, ms: a series vanishes when it was not touched for so long; 0 or less: off. */
  readonly prometheusRetentionMs?: number;
  /** Further receivers of each observation, such as statsd. */
  readonly outlets?: readonly MetricOutlet[];
  /** Called at the end of each interval, before it is closed, to set gauges of the process. */
  readonly collect?: (metrics: Metrics) => void;
  /** Lines of other collectors to stand at the end of the Prometheus text. */
  readonly prometheusProcess?: () => string;
}

/** Receives observations with their full names (prefix and host name included), after the filter. */
export interface MetricOutlet {
  count(name: readonly string[], value: number, labels: MetricLabels): void;
  gauge(name: readonly string[], value: number, labels: MetricLabels): void;
  sample(name: readonly string[], value: number, labels: MetricLabels): void;
}

/** Structurally the `MetricsSnapshot` of http/agent-door.ts. */
export interface IntervalSnapshot {
  /** Start of the interval, `2026-11-20 10:22:20 +0000 UTC`. */
  readonly Timestamp: string;
  readonly Gauges: readonly IntervalGauge[];
  readonly Points: readonly never[];
  readonly Counters: readonly IntervalAggregate[];
  readonly Samples: readonly IntervalAggregate[];
}

export interface IntervalGauge {
  readonly Name: string;
  readonly Value: number;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface IntervalAggregate {
  readonly Name: string;
  readonly Count: number;
  /** Sum per second. */
  readonly Rate: number;
  readonly Sum: number;
  readonly Min: number;
  readonly Max: number;
  readonly Mean: number;
  /** Standard deviation of the sample (divisor n - 1); 0 for a single observation. */
  readonly Stddev: number;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface MetricsSystem {
  readonly metrics: Metrics;
  /** The last complete interval; within the first ten seconds the running one. */
  readonly snapshot: () => IntervalSnapshot;
  /** Prometheus text 0.0.4; null when the retention time is not positive. */
  readonly prometheus: () => string | null;
  /** Stops the timer. */
  readonly stop: () => void;
}

interface Aggregate {
  readonly name: string;
  readonly labels: MetricLabels;
  count: number;
  sum: number;
  sumOfSquares: number;
  min: number;
  max: number;
}

interface Interval {
  readonly startMs: number;
  readonly gauges: Map<string, { readonly name: string; readonly labels: MetricLabels; value: number }>;
  readonly counters: Map<string, Aggregate>;
  readonly samples: Map<string, Aggregate>;
}

/** What follows from the name of a counter or sample, and where the running interval keeps it. */
interface Known {
  readonly full: readonly string[];
  readonly dotted: string;
  readonly passes: boolean;
  interval: Interval | null;
  aggregate: Aggregate | null;
}

const noLabels: MetricLabels = [];
const droppedName = ['telemetry', 'series_dropped'] as const;

/** Starts gathering. The interval boundaries are whole multiples of ten seconds of wall time. */
export function createMetrics(options: MetricsOptions): MetricsSystem {
  const sink = new MetricsSink(options);
  sink.start();
  return {
    metrics: sink,
    snapshot: () => sink.snapshot(),
    prometheus: () => sink.prometheus(),
    stop: () => sink.stop(),
  };
}

class MetricsSink implements Metrics {
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #hostName: string | null;
  readonly #passes: (name: string) => boolean;
  readonly #outlets: readonly MetricOutlet[];
  readonly #collect: ((metrics: Metrics) => void) | undefined;
  readonly #prometheus: PrometheusRegistry | undefined;
  readonly #prometheusProcess: () => string;
  readonly #known = {
    counters: new WeakMap<readonly string[], Known>(),
    samples: new WeakMap<readonly string[], Known>(),
  };
  #current: Interval;
  #complete: Interval | undefined;
  #timer: Timer | undefined;

  constructor(options: MetricsOptions) {
    this.#clock = options.clock;
    this.#prefix = options.prefix ?? 'consul';
    this.#hostName = options.hostName;
    this.#passes = prefixFilter(options.prefixFilter ?? [], options.filterDefault ?? true);
    this.#collect = options.collect;
    const retentionMs = options.prometheusRetentionMs ?? 0;
    this.#prometheus =
      retentionMs > 0
        ? new PrometheusRegistry({ clock: options.clock, retentionMs, seriesMax: metricsSeriesMax })
        : undefined;
    this.#prometheusProcess = options.prometheusProcess ?? (() => '');
    this.#outlets = [...(this.#prometheus ? [this.#prometheus] : []), ...(options.outlets ?? [])];
    this.#current = this.#newInterval();
  }

  count(name: readonly string[], value = 1, labels = noLabels): void {
    const known = this.#knownAs('counters', name);
    if (!known.passes) return;
    this.#aggregate('counters', known, value, labels);
    for (const outlet of this.#outlets) outlet.count(known.full, value, labels);
  }

  gauge(name: readonly string[], value: number, labels = noLabels): void {
    const full = this.#fullName(name, true);
    const dotted = full.join('.');
    if (!this.#passes(dotted)) return;
    const key = seriesKey(dotted, labels);
    const gauge = this.#current.gauges.get(key);
    if (gauge) gauge.value = value;
    else if (this.#hasRoom()) this.#current.gauges.set(key, { name: dotted, labels, value });
    else this.#drop();
    for (const outlet of this.#outlets) outlet.gauge(full, value, labels);
  }

  sample(name: readonly string[], value: number, labels = noLabels): void {
    const known = this.#knownAs('samples', name);
    if (!known.passes) return;
    this.#aggregate('samples', known, value, labels);
    for (const outlet of this.#outlets) outlet.sample(known.full, value, labels);
  }

  start(): void {
    this.#collect?.(this);
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  snapshot(): IntervalSnapshot {
    const interval = this.#complete ?? this.#current;
    return {
      Timestamp: new Date(interval.startMs)
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z$/, ' +0000 UTC'),
      Gauges: sortedValues(interval.gauges).map(({ name, value, labels }) => ({
        Name: name,
        Value: value,
        Labels: labelDocument(labels),
      })),
      Points: [],
      Counters: sortedValues(interval.counters).map(aggregateDocument),
      Samples: sortedValues(interval.samples).map(aggregateDocument),
    };
  }

  prometheus(): string | null {
    return this.#prometheus ? this.#prometheus.text() + this.#prometheusProcess() : null;
  }

  #fullName(name: readonly string[], isGauge: boolean): readonly string[] {
    return isGauge && this.#hostName !== null ? [this.#prefix, this.#hostName, ...name] : [this.#prefix, ...name];
  }

  /** Names are constants of the code that counts, so what follows from one is found by the array itself. */
  #knownAs(kind: 'counters' | 'samples', name: readonly string[]): Known {
    let known = this.#known[kind].get(name);
    if (known === undefined) {
      const full = this.#fullName(name, false);
      const dotted = full.join('.');
      known = { full, dotted, passes: this.#passes(dotted), interval: null, aggregate: null };
      this.#known[kind].set(name, known);
    }
    return known;
  }

  #aggregate(kind: 'counters' | 'samples', known: Known, value: number, labels: MetricLabels): void {
    const isPlain = labels.length === 0;
    if (isPlain && known.aggregate !== null && known.interval === this.#current) {
      ingest(known.aggregate, value);
      return;
    }
    const series = this.#current[kind];
    const key = seriesKey(known.dotted, labels);
    let aggregate = series.get(key);
    if (!aggregate) {
      if (!this.#hasRoom()) {
        this.#drop();
        return;
      }
      aggregate = newAggregate(known.dotted, labels, value);
      series.set(key, aggregate);
    }
    if (isPlain) {
      known.interval = this.#current;
      known.aggregate = aggregate;
    }
    ingest(aggregate, value);
  }

  #hasRoom(): boolean {
    const { gauges, counters, samples } = this.#current;
    return gauges.size + counters.size + samples.size < metricsSeriesMax;
  }

  /** The one series that is kept above the limit. */
  #drop(): void {
    const name = this.#fullName(droppedName, false).join('.');
    const counters = this.#current.counters;
    const aggregate = counters.get(name) ?? newAggregate(name, noLabels, 1);
    counters.set(name, aggregate);
    ingest(aggregate, 1);
  }

  #newInterval(): Interval {
    const startMs = Math.floor(this.#clock.wallMs() / metricsIntervalMs) * metricsIntervalMs;
    return { startMs, gauges: new Map(), counters: new Map(), samples: new Map() };
  }

  #arm(): void {
    const intoInterval = this.#clock.wallMs() % metricsIntervalMs;
    this.#timer = this.#clock.after(metricsIntervalMs - intoInterval, () => {
      const next = this.#newInterval();
      // The two clocks may differ by a little: a boundary that wall time has not reached yet is waited for again.
      if (next.startMs !== this.#current.startMs) {
        this.#collect?.(this);
        this.#complete = this.#current;
        this.#current = next;
      }
      this.#arm();
    });
  }
}

/** NUL cannot stand in a name or label, so no two series share a key. */
function seriesKey(name: string, labels: MetricLabels): string {
  let key = name;
  for (const label of labels) key += `\u0000${label.name}\u0000${label.value}`;
  return key;
}

function newAggregate(name: string, labels: MetricLabels, value: number): Aggregate {
  return { name, labels, count: 0, sum: 0, sumOfSquares: 0, min: value, max: value };
}

function ingest(aggregate: Aggregate, value: number): void {
  aggregate.count++;
  aggregate.sum += value;
  aggregate.sumOfSquares += value * value;
  if (value < aggregate.min) aggregate.min = value;
  if (value > aggregate.max) aggregate.max = value;
}

function aggregateDocument({ name, labels, count, sum, sumOfSquares, min, max }: Aggregate): IntervalAggregate {
  const divisor = count * (count - 1);
  return {
    Name: name,
    Count: count,
    Rate: sum / (metricsIntervalMs / 1000),
    Sum: sum,
    Min: min,
    Max: max,
    Mean: sum / count,
    // Rounding may push the difference of equal numbers below zero.
    Stddev: divisor === 0 ? 0 : Math.sqrt(Math.max(0, count * sumOfSquares - sum * sum) / divisor),
    Labels: labelDocument(labels),
  };
}

function labelDocument(labels: MetricLabels): Readonly<Record<string, string>> {
  return Object.fromEntries(labels.map(({ name, value }) => [name, value]));
}

function sortedValues<T>(series: ReadonlyMap<string, T>): T[] {
  return [...series].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** @throws Error for a rule that begins with neither sign. */
export function prefixFilter(rules: readonly string[], passDefault: boolean): (name: string) => boolean {
  const parsed = rules.map((rule) => {
    if (!/^[+-]/.test(rule)) throw new Error(`Filter rule must begin with either '+' or '-': "${rule}"`);
    return { prefix: rule.slice(1), pass: rule.startsWith('+') };
  });
  if (parsed.length === 0) return () => passDefault;
  // Longest first: the first match decides. Of two equal prefixes the dropping one wins.
  parsed.sort((a, b) => b.prefix.length - a.prefix.length || Number(a.pass) - Number(b.pass));
  return (name) => parsed.find(({ prefix }) => name.startsWith(prefix))?.pass ?? passDefault;
}
