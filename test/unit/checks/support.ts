import type { Logger, LogFields, Metrics } from '../../../src/ports/index.ts';

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps its lines. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      lines.push({ level, message, fields });
    };
  const logger: Logger = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    named: () => logger,
  };
  return { logger, lines };
}

/** Metrics that keep their counters. */
export function recordingMetrics(): { readonly metrics: Metrics; readonly counters: Map<string, number> } {
  const counters = new Map<string, number>();
  const metrics: Metrics = {
    count: (name, value = 1) => void counters.set(name.join('.'), (counters.get(name.join('.')) ?? 0) + value),
    gauge: () => undefined,
    sample: () => undefined,
  };
  return { metrics, counters };
}
