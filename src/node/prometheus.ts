/**
 * Prometheus text format 0.0.4 (reference/agent.md §6). Unlike the ten-second intervals, counters here only grow and
 * summaries look at the last ten seconds; a series that nobody touched for the retention time vanishes, so that a
 * service that is gone does not stay on a dashboard for ever.
 */
import type { Clock, MetricLabels } from '../ports/index.ts';

/** Content type of the text. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

/** Age of observations that quantiles are taken from, ms. */
const quantileWindowMs = 10_000;
/** Observations kept a series for quantiles, the newest; enough for 0.99 and small enough to sort at each scrape. */
const quantileObservationsMax = 512;
/** At the limit of series, how often a new one makes room by looking at all of them, ms. */
const makeRoomEveryMs = 1000;
const quantiles = [0.5, 0.9, 0.99] as const;

type Kind = 'gauge' | 'counter' | 'summary';

interface Series {
  readonly labels: MetricLabels;
  touchedMs: number;
  /** Gauge: last value. Counter and summary: sum. */
  value: number;
  count: number;
  /** A ring of the newest observations of a summary. */
  readonly window: { readonly atMs: number; readonly value: number }[];
}

interface Family {
  readonly help: string;
  readonly kind: Kind;
  readonly series: Map<string, Series>;
}

export class PrometheusRegistry {
  readonly #clock: Clock;
  readonly #retentionMs: number;
  readonly #seriesMax: number;
  readonly #families = new Map<string, Family>();
  #seriesCount = 0;
  #madeRoomMs = Number.NEGATIVE_INFINITY;

  /** @param options.seriesMax further series are not taken in until others have vanished. */
  constructor(options: { readonly clock: Clock; readonly retentionMs: number; readonly seriesMax: number }) {
    this.#clock = options.clock;
    this.#retentionMs = options.retentionMs;
    this.#seriesMax = options.seriesMax;
  }

  gauge(name: readonly string[], value: number, labels: MetricLabels): void {
    const series = this.#touch('gauge', name, labels);
    if (series) series.value = value;
  }

  count(name: readonly string[], value: number, labels: MetricLabels): void {
    const series = this.#touch('counter', name, labels);
    if (series) series.value += value;
  }

  sample(name: readonly string[], value: number, labels: MetricLabels): void {
    const series = this.#touch('summary', name, labels);
    if (!series) return;
    series.window[series.count % quantileObservationsMax] = { atMs: series.touchedMs, value };
    series.value += value;
    series.count++;
  }

  /** The whole text; series older than the retention time are forgotten first. */
  text(): string {
    const nowMs = this.#clock.monotonicMs();
    this.#expire(nowMs);
    let text = '';
    for (const [name, { help, kind, series }] of [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))) {
      text += `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
      for (const one of series.values()) {
        text +=
          kind === 'summary' ? summaryText(name, one, nowMs) : `${name}${labelText(one.labels)} ${number(one.value)}\n`;
      }
    }
    return text;
  }

  #touch(kind: Kind, name: readonly string[], labels: MetricLabels): Series | undefined {
    const nowMs = this.#clock.monotonicMs();
    const metric = prometheusName(name);
    let family = this.#families.get(metric);
    const key = labelText(labels);
    // One name can have one type only; Prometheus refuses a page with two.
    if (family !== undefined && family.kind !== kind) return undefined;
    const known = family?.series.get(key);
    if (known) {
      known.touchedMs = nowMs;
      return known;
    }
    if (this.#seriesCount >= this.#seriesMax) {
      if (nowMs - this.#madeRoomMs < makeRoomEveryMs) return undefined;
      this.#madeRoomMs = nowMs;
      this.#expire(nowMs);
      if (this.#seriesCount >= this.#seriesMax) return undefined;
      // Expiring may have taken the family away.
      family = this.#families.get(metric);
    }
    if (!family) {
      family = { help: metric, kind, series: new Map() };
      this.#families.set(metric, family);
    }
    const series: Series = { labels, touchedMs: nowMs, value: 0, count: 0, window: [] };
    family.series.set(key, series);
    this.#seriesCount++;
    return series;
  }

  #expire(nowMs: number): void {
    for (const [name, family] of this.#families) {
      for (const [key, { touchedMs }] of family.series) {
        if (nowMs - touchedMs <= this.#retentionMs) continue;
        family.series.delete(key);
        this.#seriesCount--;
      }
      if (family.series.size === 0) this.#families.delete(name);
    }
  }
}

function summaryText(name: string, series: Series, nowMs: number): string {
  const recent = series.window
    .filter(({ atMs }) => nowMs - atMs <= quantileWindowMs)
    .map(({ value }) => value)
    .sort((a, b) => a - b);
  let text = '';
  for (const quantile of quantiles) {
    const value = recent[Math.min(recent.length - 1, Math.ceil(quantile * recent.length) - 1)] ?? Number.NaN;
    text += `${name}${labelText([...series.labels, { name: 'quantile', value: String(quantile) }])} ${number(value)}\n`;
  }
  const labels = labelText(series.labels);
  return `${text}${name}_sum${labels} ${number(series.value)}\n${name}_count${labels} ${series.count}\n`;
}

/** `['consul', 'http.GET', 'v1-x']` → `consul_http_GET_v1_x`; what Prometheus does not allow becomes `_`. */
export function prometheusName(name: readonly string[]): string {
  const joined = name.join('_').replaceAll(/[^a-zA-Z0-9_:]/g, '_');
  return /^\d/.test(joined) ? `_${joined}` : joined;
}

function labelText(labels: MetricLabels): string {
  if (labels.length === 0) return '';
  const pairs = labels.map(({ name, value }) => `${name.replaceAll(/\W/g, '_')}="${escapeLabel(value)}"`);
  return `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
