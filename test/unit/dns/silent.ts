import type { Logger, Metrics } from '../../../src/ports/index.ts';

const nothing = (): void => {};

export const silentLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  named: () => silentLogger,
};

export const silentMetrics: Metrics = { count: nothing, gauge: nothing, sample: nothing };
