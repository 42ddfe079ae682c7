export type MetricLabels = readonly { readonly name: string; readonly value: string }[];

/** Where counters and timings go. Names are the parts below the prefix, as in `['catalog', 'register']`. */
export interface Metrics {
  /** Adds to a counter (default 1). */
  count(name: readonly string[], value?: number, labels?: MetricLabels): void;
  /** Sets a gauge. */
  gauge(name: readonly string[], value: number, labels?: MetricLabels): void;
  /** Adds one observation; durations in milliseconds. */
  sample(name: readonly string[], value: number, labels?: MetricLabels): void;
}
