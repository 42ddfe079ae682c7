/**
 * Go durations: `1h15m0.5s` in both directions. Every duration a user writes comes through here, with Go's own error
 * texts, because clients match on them (reference/http-api.md §5).
 */
const nanosecondsPer: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go's int64 nanoseconds end here (about 292 years). */
const nanosecondsMax = 2 ** 63;

export class GoDurationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GoDurationError';
  }
}

/**
 * Parses Go's `time.ParseDuration` syntax to nanoseconds.
 * @throws GoDurationError with Go's text (`time: missing unit in duration "5"`).
 */
export function parseGoDuration(text: string): number {
  const invalid = (): GoDurationError => new GoDurationError(`time: invalid duration ${JSON.stringify(text)}`);
  let rest = text;
  let sign = 1;
  if (rest.startsWith('-') || rest.startsWith('+')) {
    if (rest.startsWith('-')) sign = -1;
    rest = rest.slice(1);
  }
  if (rest === '0') return 0;
  if (rest === '') throw invalid();
  let total = 0;
  while (rest !== '') {
    const number = /^(\d*)(?:\.(\d*))?/.exec(rest)!;
    const [matched, whole = '', fraction = ''] = number;
    if (whole === '' && fraction === '') throw invalid();
    rest = rest.slice(matched.length);
    const unit = /^[^.\d]+/.exec(rest)?.[0];
    if (unit === undefined) throw new GoDurationError(`time: missing unit in duration ${JSON.stringify(text)}`);
    const scale = Object.hasOwn(nanosecondsPer, unit) ? nanosecondsPer[unit] : undefined;
    if (scale === undefined) {
      throw new GoDurationError(`time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}`);
    }
    rest = rest.slice(unit.length);
    total +=
      Number(whole === '' ? '0' : whole) * scale + Math.trunc(Number(`0.${fraction === '' ? '0' : fraction}`) * scale);
    if (total >= nanosecondsMax) throw invalid();
  }
  return sign * total;
}

/** {@link parseGoDuration} in milliseconds (may have a fraction). */
export function parseGoDurationMs(text: string): number {
  return parseGoDuration(text) / 1e6;
}

/** Formats nanoseconds as Go's `Duration.String`: `1m30s`, `1.5s`, `250ms`, `0s`. */
export function formatGoDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  const sign = nanoseconds < 0 ? '-' : '';
  const ns = Math.abs(Math.trunc(nanoseconds));
  if (ns < 1e9) {
    if (ns < 1e3) return `${sign}${ns}ns`;
    if (ns < 1e6) return `${sign}${trimFraction(ns, 1e3)}µs`;
    return `${sign}${trimFraction(ns, 1e6)}ms`;
  }
  const hours = Math.floor(ns / 3600e9);
  const minutes = Math.floor((ns % 3600e9) / 60e9);
  const seconds = `${trimFraction(ns % 60e9, 1e9)}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** {@link formatGoDuration} of milliseconds. */
export function formatGoDurationMs(milliseconds: number): string {
  return formatGoDuration(Math.round(milliseconds * 1e6));
}

function trimFraction(value: number, unit: number): string {
  const whole = Math.floor(value / unit);
  const digits = String(unit).length - 1;
  const fraction = String(value % unit)
    .padStart(digits, '0')
    .replace(/0+$/, '');
  return fraction === '' ? String(whole) : `${whole}.${fraction}`;
}
