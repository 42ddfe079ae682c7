/**
 * Decoding of what a file says into what the settings are, driven by tables of keys: types are strict, keys match in
 * any case, unknown keys are errors, and a list of one element counts as the element, because HCL cannot say it
 * otherwise (reference/agent.md §2.2). Error texts are Consul's; a likely spelling is added on a line of its own.
 */
import { multiErrorText } from '../lib/index.ts';

export type Spec =
  | 'string'
  | 'bool'
  /** A fraction is cut off. */
  | 'int'
  | 'float'
  | 'strings'
  /** string → string */
  | 'map'
  /** string → list of strings */
  | 'multimap'
  | 'any'
  | { readonly block: Schema; readonly whole?: boolean }
  | { readonly blocks: Schema }
  | { readonly mapOf: Schema };

/** snake_case key → type. */
export type Schema = { readonly [key: string]: Spec };

type RawOf<P> = P extends 'string'
  ? string
  : P extends 'bool'
    ? boolean
    : P extends 'int' | 'float'
      ? number
      : P extends 'strings'
        ? readonly string[]
        : P extends 'map'
          ? Readonly<Record<string, string>>
          : P extends 'multimap'
            ? Readonly<Record<string, readonly string[]>>
            : P extends { readonly block: infer B extends Schema }
              ? Raw<B>
              : P extends { readonly blocks: infer B extends Schema }
                ? readonly Raw<B>[]
                : P extends { readonly mapOf: infer B extends Schema }
                  ? Readonly<Record<string, Raw<B>>>
                  : unknown;

/** Settings as written, by the table's keys. */
export type Raw<S extends Schema> = { readonly [K in keyof S]?: RawOf<S[K]> };

/** Wrong configuration. The message is complete, with file or setting, and may have several lines. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

/** Another spelling of some keys, lowercase → key; it holds below every path that ends in `within`. */
export type Aliases = Readonly<Record<string, string>>;

export interface DecodeOptions {
  /** For the messages. */
  readonly path: string;
  readonly text: string;
  /** Extra spellings inside check definitions. */
  readonly checkAliases: Aliases;
  /** Unquoted whole numbers are `int` in HCL and `float64` in JSON. */
  readonly hcl: boolean;
}

/** @throws ConfigError listing every wrong type, or else every unknown key. */
export function decode<const S extends Schema>(schema: S, value: unknown, options: DecodeOptions): Raw<S> {
  const decoder = new Decoder(options);
  const raw = decoder.block(schema, value, '');
  decoder.finish();
  return raw as Raw<S>;
}

class Decoder {
  readonly #options: DecodeOptions;
  readonly #wrong: string[] = [];
  readonly #unknown: string[] = [];

  constructor(options: DecodeOptions) {
    this.#options = options;
  }

  finish(): void {
    const { path } = this.#options;
    if (this.#wrong.length > 0) {
      const list = this.#wrong.toSorted().map((problem) => `* ${problem}`);
      throw new ConfigError(`failed to parse ${path}: ${list.length} error(s) decoding:\n\n${list.join('\n')}`);
    }
    if (this.#unknown.length > 0) throw new ConfigError(`failed to parse ${path}: ${multiErrorText(this.#unknown)}`);
  }

  block(schema: Schema, value: unknown, path: string): unknown {
    const source = single(value);
    if (!isObject(source)) return this.#expected(path, 'a map', source, true);
    const result: Record<string, unknown> = {};
    for (const [key, field] of Object.entries(source)) {
      const known = this.#keyOf(schema, key);
      const at = path === '' ? (known ?? key) : `${path}.${known ?? key}`;
      if (known === undefined) this.#unknown.push(`invalid config key ${at}${this.#hint(schema, key)}`);
      else if (field !== null && field !== undefined) {
        const decoded = this.#value(schema[known]!, field, at);
        if (decoded !== undefined) result[known] = decoded;
      }
    }
    return result;
  }

  #keyOf(schema: Schema, key: string): string | undefined {
    const lower = key.toLowerCase();
    if (Object.hasOwn(schema, lower)) return lower;
    const alias = Object.hasOwn(this.#options.checkAliases, lower) ? this.#options.checkAliases[lower] : undefined;
    return alias !== undefined && 'docker_container_id' in schema ? alias : undefined;
  }

  #value(spec: Spec, value: unknown, path: string): unknown {
    if (typeof spec === 'object') {
      if ('block' in spec) return this.block(spec.block, value, path);
      if ('blocks' in spec) return this.#list(value, path, (item, at) => this.block(spec.blocks, item, at));
      return this.#map(value, path, (item, at) => this.block(spec.mapOf, item, at));
    }
    switch (spec) {
      case 'any':
        return this.#options.hcl ? unwrapBlocks(value) : plain(value);
      case 'strings':
        return this.#list(value, path, (item, at) => this.#value('string', item, at));
      case 'map':
        return this.#map(value, path, (item, at) => this.#value('string', item, at));
      case 'multimap':
        return this.#map(value, path, (item, at) => this.#value('strings', item, at));
      default:
        return this.#scalar(spec, single(value), path);
    }
  }

  #scalar(spec: 'string' | 'bool' | 'int' | 'float', value: unknown, path: string): unknown {
    if (spec === 'string' && typeof value === 'string') return value;
    if (spec === 'bool' && typeof value === 'boolean') return value;
    if (spec === 'float' && typeof value === 'number') return value;
    if (spec === 'int' && typeof value === 'number') return Math.trunc(value);
    return this.#expected(path, { string: 'string', bool: 'bool', int: 'int', float: 'float64' }[spec], value, false);
  }

  #list(value: unknown, path: string, item: (value: unknown, path: string) => unknown): unknown {
    if (Array.isArray(value)) return value.map((entry, index) => item(entry, `${path}[${index}]`));
    this.#wrong.push(`'${path}': source data must be an array or slice, got ${this.#typeOf(value).split('[')[0]}`);
    return undefined;
  }

  #map(value: unknown, path: string, item: (value: unknown, path: string) => unknown): unknown {
    const source = single(value);
    if (!isObject(source)) return this.#expected(path, 'a map', source, true);
    return Object.fromEntries(Object.entries(source).map(([key, entry]) => [key, item(entry, `${path}[${key}]`)]));
  }

  #expected(path: string, type: string, value: unknown, container: boolean): undefined {
    const got = this.#typeOf(value);
    this.#wrong.push(
      container
        ? `'${path}' expected ${type}, got '${got.startsWith('[]') ? 'slice' : got}'`
        : `'${path}' expected type '${type}', got unconvertible type '${got}'`,
    );
    return undefined;
  }

  #typeOf(value: unknown): string {
    if (typeof value === 'boolean') return 'bool';
    if (typeof value === 'number') return this.#options.hcl && Number.isInteger(value) ? 'int' : 'float64';
    if (typeof value === 'bigint') return 'float64';
    if (Array.isArray(value)) return '[]interface {}';
    return typeof value === 'object' ? 'map[string]interface {}' : typeof value;
  }

  /** `did you mean …?` with the line, when the key is close to a known one. */
  #hint(schema: Schema, key: string): string {
    const lower = key.toLowerCase().replaceAll('-', '_');
    const squeezed = lower.replaceAll('_', '');
    let best: { key: string; distance: number } | undefined;
    for (const candidate of Object.keys(schema)) {
      const distance = squeezed === candidate.replaceAll('_', '') ? 0 : editDistance(lower, candidate);
      if (distance <= Math.max(1, Math.floor(candidate.length / 4)) && distance < (best?.distance ?? Infinity)) {
        best = { key: candidate, distance };
      }
    }
    if (best === undefined) return '';
    const line = lineOf(this.#options.text, key);
    return `\n\t  ${line === undefined ? '' : `line ${line}: `}did you mean ${best.key}?`;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const single = (value: unknown): unknown => (Array.isArray(value) && value.length === 1 ? value[0] : value);

/** The value with ordinary objects, whatever prototypes the parsers gave theirs. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
}

/** Free-form values of HCL: a list of one object was most likely a block. */
function unwrapBlocks(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.length === 1 && isObject(value[0]) ? unwrapBlocks(value[0]) : value.map(unwrapBlocks);
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, unwrapBlocks(field)]));
}

/** Line of the only place where `key` stands as a word. */
function lineOf(text: string, key: string): number | undefined {
  const first = text.indexOf(key);
  return first < 0 || text.includes(key, first + 1) ? undefined : text.slice(0, first).split('\n').length;
}

/** Levenshtein distance; keys longer than any known one are cut, they are not near anyway. */
function editDistance(a: string, b: string): number {
  const from = a.slice(0, 64);
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1]! + Number(from[i - 1] !== b[j - 1]);
      next.push(Math.min(substituted, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * Lays `over` on `under` by the table: scalars replace, lists append, maps merge by key, blocks field by field (whole
 * ones replace).
 */
export function merge<const S extends Schema>(schema: S, under: Raw<S>, over: Raw<S>): Raw<S> {
  return mergeBlocks(schema, under, over) as Raw<S>;
}

type Fields = Readonly<Record<string, unknown>>;

function mergeBlocks(schema: Schema, under: Fields, over: Fields): Fields {
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const spec = schema[key]!;
    if (before === undefined || value === undefined) result[key] = value ?? before;
    else if (spec === 'strings' || (typeof spec === 'object' && 'blocks' in spec)) {
      result[key] = [...(before as readonly unknown[]), ...(value as readonly unknown[])];
    } else if (spec === 'map' || spec === 'multimap' || (typeof spec === 'object' && 'mapOf' in spec)) {
      result[key] = Object.fromEntries([...Object.entries(before as Fields), ...Object.entries(value as Fields)]);
    } else if (typeof spec === 'object' && 'block' in spec && spec.whole !== true) {
      result[key] = mergeBlocks(spec.block, before as Fields, value as Fields);
    } else result[key] = value;
  }
  return result;
}
