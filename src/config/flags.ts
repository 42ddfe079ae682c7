/**
 * Go-style command-line flags, driven by a table. `-x=v`, `-x v` and `--x v` are equal; a boolean never takes the next
 * word, any other flag always does, even `-1`; parsing stops at the first non-flag or after `--` (reference/agent.md
 * §1.1). Every command and the agent itself parse with this; error texts are Go's, because scripts match on them.
 */
import { parseGoDurationMs } from '../codec/index.ts';

/**
 * - `bool`: `-x` or `-x=true|false|1|0|t|f|T|F|TRUE|FALSE|True|False`.
 * - `string`, `int` (64-bit decimal or 0x hex, within ±2^53), `duration` (Go duration, value in ms): the last one wins.
 * - `list`: repeats append.
 * - `map`: `-x=key=value`, repeats merge; `colon-map`: `-x=key:value`, a missing value is "".
 */
export type FlagKind = 'bool' | 'string' | 'int' | 'duration' | 'list' | 'map' | 'colon-map';

/** Flag name (no dashes) → kind. */
export type FlagTable = Readonly<Record<string, FlagKind>>;

interface FlagTypes {
  readonly bool: boolean;
  readonly string: string;
  readonly int: number;
  readonly duration: number;
  readonly list: readonly string[];
  readonly map: Readonly<Record<string, string>>;
  readonly 'colon-map': Readonly<Record<string, string>>;
}

export type FlagValue = FlagTypes[FlagKind];

/** Values of the flags that were given; a flag not given is absent, so the caller's default applies. */
export type FlagValues<T extends FlagTable> = { readonly [N in keyof T]?: FlagTypes[T[N]] };

export interface ParsedFlags<T extends FlagTable> {
  readonly values: FlagValues<T>;
  /** The words after the flags. */
  readonly args: readonly string[];
  /** `-h`, `-help` or `--help` was met (unless the table defines it); nothing after it was read. */
  readonly help: boolean;
  /** Every flag as given, in order: for flags that share one list (`-config-file`, `-config-dir`). */
  readonly given: readonly { readonly name: keyof T & string; readonly text: string }[];
}

/** A command line that does not fit the table; the message is Go's own text. Print it and the usage, exit 1. */
export class FlagError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FlagError';
  }
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
]);

/**
 * Parses `argv` (without program and command names).
 * @throws FlagError for an unknown flag, a missing argument or a value of the wrong form.
 */
export function parseFlags<const T extends FlagTable>(table: T, argv: readonly string[]): ParsedFlags<T> {
  const values = new Map<string, FlagValue>();
  const given: { name: keyof T & string; text: string }[] = [];
  let next = 0;
  let help = false;
  while (next < argv.length) {
    const word = argv[next]!;
    if (!word.startsWith('-') || word === '-') break;
    next++;
    if (word === '--') break;
    const [, name, inline] = /^--?([^=]*)(?:=([^]*))?$/.exec(word)!;
    if (name === undefined || name === '' || name.startsWith('-')) throw new FlagError(`bad flag syntax: ${word}`);
    const kind = Object.hasOwn(table, name) ? table[name] : undefined;
    if (kind === undefined) {
      if (name === 'h' || name === 'help') {
        help = true;
        break;
      }
      throw new FlagError(`flag provided but not defined: -${name}`);
    }
    let text = inline;
    if (text === undefined) {
      if (kind === 'bool') text = 'true';
      else if (next < argv.length) text = argv[next++]!;
      else throw new FlagError(`flag needs an argument: -${name}`);
    }
    values.set(name, flagValue(kind, name, text, values.get(name)));
    given.push({ name, text });
  }
  return { values: Object.fromEntries(values) as FlagValues<T>, args: argv.slice(next), help, given };
}

function flagValue(kind: FlagKind, name: string, text: string, before: FlagValue | undefined): FlagValue {
  const invalid = (reason: string): FlagError =>
    new FlagError(`invalid value ${JSON.stringify(text)} for flag -${name}: ${reason}`);
  switch (kind) {
    case 'bool': {
      const value = booleans.get(text);
      if (value === undefined) {
        const quoted = JSON.stringify(text);
        throw new FlagError(
          `invalid boolean value ${quoted} for -${name}: strconv.ParseBool: parsing ${quoted}: invalid syntax`,
        );
      }
      return value;
    }
    case 'string':
      return text;
    case 'int': {
      if (!/^[+-]?(?:\d+|0[xX][\da-fA-F]+)$/.test(text)) {
        throw invalid(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
      }
      const magnitude = Number(text.replace(/^[+-]/, ''));
      if (!Number.isSafeInteger(magnitude)) {
        throw invalid(`strconv.ParseInt: parsing ${JSON.stringify(text)}: value out of range`);
      }
      return text.startsWith('-') ? 0 - magnitude : magnitude;
    }
    case 'duration':
      try {
        return parseGoDurationMs(text);
      } catch (error) {
        throw invalid((error as Error).message);
      }
    case 'list':
      return [...((before as readonly string[] | undefined) ?? []), text];
    case 'map':
    case 'colon-map': {
      const separator = kind === 'map' ? '=' : ':';
      const at = text.indexOf(separator);
      if (at < 0 && kind === 'map') throw invalid(`Missing "=" value in argument: ${text}`);
      const entries = new Map(Object.entries((before as Readonly<Record<string, string>> | undefined) ?? {}));
      entries.set(at < 0 ? text : text.slice(0, at), at < 0 ? '' : text.slice(at + 1));
      return Object.fromEntries(entries);
    }
  }
}
