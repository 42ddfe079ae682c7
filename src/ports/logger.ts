/** Log levels, most verbose first; names as in Consul's `log_level`. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Values that may stand behind a message as `key=value`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A named logger. The text form of a line is `time [LEVEL]  name: message: key=value` (reference/agent.md §3.2). */
export interface Logger {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether anybody would read a line of this level, for lines that are dear to make; a logger without it reads all. */
  wants?(level: LogLevel): boolean;
  /** A logger one level below, `agent` → `agent.http`. */
  named(name: string): Logger;
}
