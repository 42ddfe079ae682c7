/**
 * The two written forms of a log line, as pure functions (reference/agent.md §3.2). People and log shippers already
 * parse these lines, so the spacing, the quoting (only around white space, without escapes) and the order of JSON keys
 * are those of the agents they know.
 */
import type { LogFields, LogLevel } from '../ports/index.ts';

/** One line before it is written down. */
export interface LogRecord {
  readonly level: LogLevel;
  /** Full logger name, `agent.http`. */
  readonly name: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
  /** Milliseconds since 1970 UTC; the fraction carries microseconds where the clock has them. */
  readonly wallMs: number;
}

/** Padded to seven characters with the brackets, so that names stand in one column. */
const levelWords: Readonly<Record<LogLevel, string>> = {
  trace: '[TRACE]',
  debug: '[DEBUG]',
  info: '[INFO] ',
  warn: '[WARN] ',
  error: '[ERROR]',
};

/** ANSI colours of the level word on a terminal: grey, white, blue, yellow, red. */
const levelColours: Readonly<Record<LogLevel, string>> = {
  trace: '90',
  debug: '37',
  info: '34',
  warn: '33',
  error: '31',
};

/**
 * Terminal control characters except tab and line feed. They come from container labels, HTTP bodies and the like, and
 * must not steer the terminal of whoever reads the log.
 */
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

function withoutControls(text: string): string {
  return text.replaceAll(controlCharacters, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Text form without line feed and without the four blanks: `2026-…Z [INFO]  agent.http: message: key=value`. */
export function formatLogText(record: LogRecord, options: { readonly color: boolean }): string {
  const word = levelWords[record.level];
  const level = options.color ? `\u001b[${levelColours[record.level]}m${word}\u001b[0m` : word;
  let line = `${new Date(record.wallMs).toISOString()} ${level} ${record.name}: ${withoutControls(record.message)}`;
  if (record.fields === undefined) return line;
  let separator = ': ';
  for (const [key, value] of Object.entries(record.fields)) {
    if (value === undefined) continue;
    line += `${separator}${key}=${textValue(value)}`;
    separator = ' ';
  }
  return line;
}

/** JSON form without line feed: `@level @message @module @timestamp` and then the pairs in the order of their keys. */
export function formatLogJson(record: LogRecord): string {
  const document: Record<string, unknown> = {
    '@level': record.level,
    '@message': record.message,
    '@module': record.name,
    '@timestamp': microsecondTime(record.wallMs),
  };
  for (const key of Object.keys(record.fields ?? {}).sort()) document[key] = jsonValue(record.fields![key]);
  return JSON.stringify(document);
}

function microsecondTime(wallMs: number): string {
  const microseconds = Math.min(999, Math.round((wallMs - Math.floor(wallMs)) * 1000));
  return `${new Date(wallMs).toISOString().slice(0, -1)}${String(microseconds).padStart(3, '0')}Z`;
}

function textValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(quoted).join(', ')}]`;
  return quoted(value);
}

function quoted(value: unknown): string {
  const text = withoutControls(plainText(value));
  return /[ \t\n]/.test(text) ? `"${text}"` : text;
}

function plainText(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'object':
      if (value === null) return '<nil>';
      if (value instanceof Error) return value.message;
      return safeJson(value);
    default:
      return String(value);
  }
}

function jsonValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (value instanceof Error) return value.message;
  // Through a string and back: what cannot be written must not lose the whole line.
  return typeof value === 'object' && value !== null ? (JSON.parse(safeJson(value)) as unknown) : value;
}

/** A log line never throws: a value with a circle or a throwing getter is named instead of written. */
function safeJson(value: object): string {
  try {
    const text = JSON.stringify(value, (_key, inner: unknown) =>
      typeof inner === 'bigint' ? inner.toString() : inner instanceof Error ? inner.message : inner,
    );
    return text ?? 'null';
  } catch {
    return '"[unprintable]"';
  }
}
