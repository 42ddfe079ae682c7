export { type Clock, sleep, type Timer } from './clock.ts';
export type * from './docker-engine.ts';
export { EngineError } from './docker-engine.ts';
export type { FileStore } from './file-store.ts';
export { type Logger, type LogFields, type LogLevel, logLevels } from './logger.ts';
export type { MetricLabels, Metrics } from './metrics.ts';
export type { ProcessResult, ProcessRunner } from './process-runner.ts';
export type { Random } from './random.ts';
