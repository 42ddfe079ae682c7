import type { Logger, LogFields } from '../../src/ports/index.ts';

/** A logger that says nothing. */
export const silentLogger: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  named: () => silentLogger,
};

/** A logger that remembers its lines as `LEVEL message key=value`. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      const pairs = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`);
      lines.push([level, message, ...pairs].join(' '));
    };
  const logger: Logger = {
    trace: write('TRACE'),
    debug: write('DEBUG'),
    info: write('INFO'),
    warn: write('WARN'),
    error: write('ERROR'),
    named: () => logger,
  };
  return { logger, lines };
}
