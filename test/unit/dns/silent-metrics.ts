import type { Metrics } from '../../../src/ports/index.ts';

const nothing = (): void => {};

export const silentMetrics: Metrics = { count: nothing, gauge: nothing, sample: nothing };
