/**
 * The real logger: one hub with a level, several places a line goes to (stdout, the log file, readers of
 * `/v1/agent/monitor`), and any number of named loggers in front of it. A call below every level costs one comparison;
 * a line that goes to several places is written down once per form. It is written down here and not by a library
 * because both forms and their byte order are given (reference/agent.md §3.2), the level changes at run time for all
 * loggers at once, and each monitor reader has a level of its own.
 */
import { type Clock, type Logger, type LogFields, type LogLevel, logLevels } from '../ports/index.ts';
import { formatLogJson, formatLogText, type LogRecord } from './logger-format.ts';
import { type LogFile, type LogFileOptions, openLogFile } from './logger-file.ts';

/** Lines that may wait for one monitor reader within a turn of the event loop; further ones are dropped and counted. */
export const monitorLinesMax = 512;

/** On stdout and in the log file lines stand behind four blanks, under the banner; not on the monitor stream. */
const margin = '    ';

/** Name of the root logger, as in Consul. */
const rootName = 'agent';

export interface LogStdout {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** `log_json`: one JSON object a line instead of text. */
  readonly json: boolean;
  readonly stdout: LogStdout;
  readonly clock: Clock;
  readonly file?: LogFileOptions;
  /** Colour of the level word; by default on a terminal, unless `NO_COLOR` is set and not empty. */
  readonly color?: boolean;
  /** Runs a function soon, outside the caller's stack; `setImmediate` unless a test says otherwise. */
  readonly defer?: (callback: () => void) => void;
}

export interface MonitorOptions {
  readonly level: LogLevel;
  readonly json: boolean;
}

export interface LogSystem {
  /** The logger named `agent`. */
  readonly logger: Logger;
  readonly level: () => LogLevel;
  /** Changes the level of stdout and file, at once and for all named loggers (`log_level` on reload). */
  readonly setLevel: (level: LogLevel) => void;
  /**
   * Streams lines at `level` and above, whatever the level of stdout, until the returned function is called. `onLine`
   * gets the line without blanks before it and line feed behind it; it may return false for "not taken". Lines not
   * taken, or beyond `monitorLinesMax` in one turn, are dropped; their number is logged when the reader leaves.
   */
  readonly subscribe: (options: MonitorOptions, onLine: (line: string) => unknown) => () => void;
  /** Delivers what monitor readers still have to get; stdout and file are never behind. */
  readonly flush: () => void;
  /** Flushes and closes the log file; later lines go to stdout only. */
  readonly close: () => void;
}

interface Subscriber {
  readonly rank: number;
  readonly json: boolean;
  readonly onLine: (line: string) => unknown;
  waiting: string[];
  scheduled: boolean;
  dropped: number;
}

const rankOf = (level: LogLevel): number => logLevels.indexOf(level);

/** Opens the log. @throws Error when the log file cannot be opened. */
export function createLogger(options: LoggerOptions): LogSystem {
  const hub = new LogHub(options);
  return {
    logger: new NamedLogger(hub, rootName),
    level: () => logLevels[hub.ownRank]!,
    setLevel: (level) => hub.setRank(rankOf(level)),
    subscribe: (monitor, onLine) => hub.subscribe(monitor, onLine),
    flush: () => hub.flush(),
    close: () => hub.close(),
  };
}

class LogHub {
  /** Rank of the most talkative reader: below it nothing is written down. */
  threshold: number;
  ownRank: number;
  readonly #json: boolean;
  readonly #color: boolean;
  readonly #stdout: LogStdout;
  readonly #clock: Clock;
  readonly #defer: (callback: () => void) => void;
  readonly #subscribers = new Set<Subscriber>();
  #file: LogFile | undefined;

  constructor(options: LoggerOptions) {
    this.ownRank = rankOf(options.level);
    this.threshold = this.ownRank;
    this.#json = options.json;
    this.#color = options.color ?? (options.stdout.isTTY === true && !process.env['NO_COLOR']);
    this.#stdout = options.stdout;
    this.#clock = options.clock;
    this.#defer = options.defer ?? setImmediate;
    this.#file = options.file === undefined ? undefined : openLogFile(options.file, options.clock);
  }

  setRank(rank: number): void {
    this.ownRank = rank;
    this.#updateThreshold();
  }

  write(rank: number, name: string, message: string, fields: LogFields | undefined): void {
    const record: LogRecord = { level: logLevels[rank]!, name, message, fields, wallMs: this.#clock.wallMs() };
    let text: string | undefined;
    let json: string | undefined;
    const plain = (asJson: boolean): string =>
      asJson ? (json ??= formatLogJson(record)) : (text ??= formatLogText(record, { color: false }));

    if (rank >= this.ownRank) {
      const own = this.#color && !this.#json ? formatLogText(record, { color: true }) : plain(this.#json);
      this.#stdout.write(`${margin}${own}\n`);
      this.#file?.write(`${margin}${plain(this.#json)}\n`);
    }
    for (const subscriber of this.#subscribers) {
      if (rank >= subscriber.rank) this.#enqueue(subscriber, plain(subscriber.json));
    }
  }

  subscribe(options: MonitorOptions, onLine: (line: string) => unknown): () => void {
    const subscriber: Subscriber = {
      rank: rankOf(options.level),
      json: options.json,
      onLine,
      waiting: [],
      scheduled: false,
      dropped: 0,
    };
    this.#subscribers.add(subscriber);
    this.#updateThreshold();
    return () => {
      if (!this.#subscribers.delete(subscriber)) return;
      this.#updateThreshold();
      if (subscriber.dropped === 0) return;
      const warn = rankOf('warn');
      if (warn >= this.threshold) {
        this.write(warn, rootName, 'Dropped logs during monitor request', { dropped_count: subscriber.dropped });
      }
    };
  }

  flush(): void {
    for (const subscriber of this.#subscribers) this.#drain(subscriber);
  }

  close(): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }

  /** Not delivered at once: a reader that logs while it writes would otherwise call itself. */
  #enqueue(subscriber: Subscriber, line: string): void {
    if (subscriber.waiting.length >= monitorLinesMax) {
      subscriber.dropped++;
      return;
    }
    subscriber.waiting.push(line);
    if (subscriber.scheduled) return;
    subscriber.scheduled = true;
    this.#defer(() => this.#drain(subscriber));
  }

  #drain(subscriber: Subscriber): void {
    const lines = subscriber.waiting;
    subscriber.waiting = [];
    subscriber.scheduled = false;
    for (const line of lines) {
      if (!this.#subscribers.has(subscriber)) return;
      if (subscriber.onLine(line) === false) subscriber.dropped++;
    }
  }

  #updateThreshold(): void {
    this.threshold = this.ownRank;
    for (const { rank } of this.#subscribers) this.threshold = Math.min(this.threshold, rank);
  }
}

const [traceRank, debugRank, infoRank, warnRank, errorRank] = [0, 1, 2, 3, 4] as const;

class NamedLogger implements Logger {
  readonly #hub: LogHub;
  readonly #name: string;

  constructor(hub: LogHub, name: string) {
    this.#hub = hub;
    this.#name = name;
  }

  trace(message: string, fields?: LogFields): void {
    if (traceRank >= this.#hub.threshold) this.#hub.write(traceRank, this.#name, message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    if (debugRank >= this.#hub.threshold) this.#hub.write(debugRank, this.#name, message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (infoRank >= this.#hub.threshold) this.#hub.write(infoRank, this.#name, message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    if (warnRank >= this.#hub.threshold) this.#hub.write(warnRank, this.#name, message, fields);
  }

  error(message: string, fields?: LogFields): void {
    if (errorRank >= this.#hub.threshold) this.#hub.write(errorRank, this.#name, message, fields);
  }

  wants(level: LogLevel): boolean {
    return rankOf(level) >= this.#hub.threshold;
  }

  named(name: string): Logger {
    return new NamedLogger(this.#hub, `${this.#name}.${name}`);
  }
}
