/**
 * Config entries as JSON. One table of fields per kind serves both ways: reading knows a field by its name or by the
 * same in snake_case, without regard to case, and converts freely between texts and numbers; writing leaves empty
 * fields out, but for those marked `always` (reference/http-api.md §9.9).
 */
import { formatGoDuration, GoDurationError, parseGoDuration } from '../codec/index.ts';
import { multiErrorText } from '../lib/index.ts';
import { type ConfigEntry, type ConfigEntryBody, type ConfigEntryKind, isConfigEntryKind } from '../model/index.ts';
import { withFloats } from './decode.ts';
import { parseBool } from './read-options.ts';

type Type =
  | 'string'
  | 'int'
  | 'number'
  | 'bool'
  | 'duration'
  | 'strings'
  | 'ints'
  | 'string-map'
  | 'any-map'
  /** Written as `{}` when empty. */
  | { readonly struct: Fields }
  /** Left out when it was not given. */
  | { readonly pointer: Fields }
  | { readonly list: Fields }
  | { readonly map: Fields };
interface Field {
  readonly name: string;
  readonly type: Type;
  /** Written even when it is empty. */
  readonly always: boolean;
}
type Fields = readonly Field[];

const field = (name: string, type: Type = 'string'): Field => ({ name, type, always: false });
const always = (name: string, type: Type = 'string'): Field => ({ name, type, always: true });

const meshGatewayFields: Fields = [field('Mode')];
const meshGateway = field('MeshGateway', { struct: meshGatewayFields });
const expose = field('Expose', {
  struct: [
    field('Checks', 'bool'),
    field('Paths', {
      list: [
        field('ListenerPort', 'int'),
        field('Path'),
        field('LocalPathPort', 'int'),
        field('Protocol'),
        always('ParsedFromCheck', 'bool'),
      ],
    }),
  ],
});
const meta = field('Meta', 'string-map');
export const subsetFields: Fields = [field('Filter'), field('OnlyPassing', 'bool')];
const routeMatch: Fields = [
  field('HTTP', {
    pointer: [
      field('PathExact'),
      field('PathPrefix'),
      field('PathRegex'),
      field('Header', {
        list: [
          always('Name'),
          field('Present', 'bool'),
          field('Exact'),
          field('Prefix'),
          field('Suffix'),
          field('Regex'),
          field('Invert', 'bool'),
        ],
      }),
      field('QueryParam', { list: [always('Name'), field('Present', 'bool'), field('Exact'), field('Regex')] }),
      field('Methods', 'strings'),
    ],
  }),
];
export const routeFields: Fields = [
  field('Match', { pointer: routeMatch }),
  field('Destination', {
    pointer: [
      field('RequestTimeout', 'duration'),
      field('Service'),
      field('ServiceSubset'),
      field('Namespace'),
      field('PrefixRewrite'),
      field('NumRetries', 'int'),
      field('RetryOnConnectFailure', 'bool'),
      field('RetryOnStatusCodes', 'ints'),
    ],
  }),
];

/** What a request for a discovery chain may set aside. */
export const chainOverrideFields: Fields = [
  field('OverrideMeshGateway', { struct: meshGatewayFields }),
  field('OverrideProtocol'),
  field('OverrideConnectTimeout', 'duration'),
];

const fieldsOf: Readonly<Record<ConfigEntryKind, Fields>> = {
  'service-defaults': [always('Protocol'), meshGateway, expose, field('ExternalSNI'), meta],
  'proxy-defaults': [always('Config', 'any-map'), meshGateway, expose, meta],
  'service-router': [always('Routes', { list: routeFields }), meta],
  'service-splitter': [
    always('Splits', {
      list: [always('Weight', 'number'), field('Service'), field('ServiceSubset'), field('Namespace')],
    }),
    meta,
  ],
  'service-resolver': [
    field('ConnectTimeout', 'duration'),
    field('DefaultSubset'),
    field('Subsets', { map: subsetFields }),
    field('Redirect', {
      pointer: [field('Service'), field('ServiceSubset'), field('Namespace'), field('Datacenter')],
    }),
    field('Failover', {
      map: [field('Service'), field('ServiceSubset'), field('Namespace'), field('Datacenters', 'strings')],
    }),
    meta,
  ],
  'ingress-gateway': [
    always('TLS', { struct: [always('Enabled', 'bool')] }),
    always('Listeners', {
      list: [
        always('Port', 'int'),
        always('Protocol'),
        always('Services', { list: [always('Name'), always('Hosts', 'strings'), meta] }),
      ],
    }),
    meta,
  ],
  'terminating-gateway': [
    always('Services', {
      list: [always('Name'), field('CAFile'), field('CertFile'), field('KeyFile'), field('SNI')],
    }),
    meta,
  ],
};

/** A body that is no config entry; the message is the peer's. */
export class ConfigEntryError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigEntryError';
  }
}

/** @throws ConfigEntryError */
export function decodeConfigEntry(body: unknown): ConfigEntryBody {
  if (body !== null && !isObject(body)) throw new ConfigEntryError(`'' expected a map, got '${goKindOf(body)}'`);
  const given = body ?? {};
  const Kind = given['Kind'] ?? given['kind'];
  if (Kind === undefined) throw new ConfigEntryError('Payload does not contain a kind/Kind key at the top level');
  if (typeof Kind !== 'string') throw new ConfigEntryError('Kind value in payload is not a string');
  if (!isConfigEntryKind(Kind)) throw new ConfigEntryError(`invalid config entry kind: ${Kind}`);
  const decoder = new Decoder();
  const indexes = [field('CreateIndex', 'int'), field('ModifyIndex', 'int')];
  const top = [field('Kind'), field('Name'), ...fieldsOf[Kind], ...indexes];
  const { CreateIndex: _, ModifyIndex: __, ...entry } = decoder.struct(top, given, '');
  decoder.finish();
  return { Name: '', ...entry, Kind };
}

/**
 * A body of some of these fields, converted as freely as config entries are; unknown keys are read over.
 * @throws ConfigEntryError
 */
export function decodeLoosely(fields: Fields, body: unknown): Readonly<Record<string, unknown>> {
  const decoder = new Decoder({ unknown: 'ignored' });
  const given = decoder.struct(fields, body ?? {}, '');
  decoder.finish();
  return given;
}

export function configEntryView(entry: ConfigEntry): Readonly<Record<string, unknown>> {
  return {
    Kind: entry.Kind,
    Name: entry.Name,
    ...fieldsView(fieldsOf[entry.Kind], entry),
    CreateIndex: entry.CreateIndex,
    ModifyIndex: entry.ModifyIndex,
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Also these names are known: `ExternalSNI` as `external_sni`. */
function snakeCase(name: string): string {
  return name
    .replaceAll(/([a-z\d])([A-Z])/g, '$1_$2')
    .replaceAll(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();
}

class Decoder {
  readonly #problems: string[] = [];
  readonly #unknown: string[] = [];
  readonly #refusesUnknown: boolean;

  constructor(options: { readonly unknown?: 'ignored' } = {}) {
    this.#refusesUnknown = options.unknown !== 'ignored';
  }

  /** @throws ConfigEntryError with all that was wrong; unknown keys only count when nothing else is. */
  finish(): void {
    if (this.#problems.length > 0) {
      const lines = this.#problems.toSorted().map((problem) => `* ${problem}`);
      throw new ConfigEntryError(`${lines.length} error(s) decoding:\n\n${lines.join('\n')}`);
    }
    if (this.#refusesUnknown && this.#unknown.length > 0) {
      throw new ConfigEntryError(
        multiErrorText(
          this.#unknown.map((key) => {
            const enterprise = /(?:^|\.)namespace$/i.test(key) ? ', namespaces are a consul enterprise feature' : '';
            return `invalid config key ${JSON.stringify(key)}${enterprise}`;
          }),
        ),
      );
    }
  }

  struct(fields: Fields, given: unknown, path: string): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    if (!isObject(given)) {
      this.#problems.push(`'${path}' expected a map, got '${goKindOf(given)}'`);
      return result;
    }
    for (const [key, value] of Object.entries(given)) {
      const lower = key.toLowerCase();
      const found = fields.find(({ name }) => name.toLowerCase() === lower || snakeCase(name) === lower);
      if (found === undefined) this.#unknown.push(path + (path === '' ? '' : '.') + key);
      else {
        const given = isListType(found.type) ? value : unwrapped(value);
        if (given === null) continue;
        result[found.name] = this.#value(found.type, given, path === '' ? found.name : `${path}.${found.name}`);
      }
    }
    return result;
  }

  #value(type: Type, value: unknown, path: string): unknown {
    switch (type) {
      case 'string':
        if (typeof value === 'string') return value;
        if (typeof value === 'number') return String(value);
        if (typeof value === 'boolean') return value ? '1' : '0';
        return this.#mismatch(path, 'string', value, '');
      case 'bool': {
        if (typeof value === 'boolean') return value;
        if (typeof value === 'number') return value !== 0;
        if (typeof value !== 'string') return this.#mismatch(path, 'bool', value, false);
        const told = value === '' ? false : parseBool(value);
        return told ?? this.#unparsable(path, 'bool', 'ParseBool', value, false);
      }
      case 'int': {
        const number = this.#number(value);
        if (number === undefined) return this.#mismatch(path, 'int', value, 0);
        return Number.isSafeInteger(Math.trunc(number))
          ? Math.trunc(number)
          : this.#unparsable(path, 'int', 'ParseInt', value, 0);
      }
      case 'number': {
        const number = this.#number(value);
        if (number === undefined) return this.#mismatch(path, 'float32', value, 0);
        return Number.isFinite(number) ? number : this.#unparsable(path, 'float', 'ParseFloat', value, 0);
      }
      case 'duration':
        return this.#duration(value, path);
      case 'strings':
        return this.#list(value).map((item, i) => this.#value('string', item, `${path}[${i}]`));
      case 'ints':
        return this.#list(value).map((item, i) => this.#value('int', item, `${path}[${i}]`));
      case 'string-map':
        return this.#map(value, path, (item, at) => this.#value('string', item, at));
      case 'any-map':
        return this.#map(value, path, withFloats);
      default:
        if ('struct' in type) return this.struct(type.struct, value, path);
        if ('pointer' in type) return this.struct(type.pointer, value, path);
        if ('map' in type) return this.#map(value, path, (item, at) => this.struct(type.map, item ?? {}, at));
        return this.#list(value).map((item, i) => this.struct(type.list, unwrapped(item) ?? {}, `${path}[${i}]`));
    }
  }

  /** What stands for a number; NaN for a text that does not. */
  #number(value: unknown): number | undefined {
    if (typeof value === 'number') return value;
    if (typeof value === 'boolean' || typeof value === 'bigint') return Number(value);
    if (typeof value !== 'string') return undefined;
    return value.trim() === value && value !== '' ? Number(value) : Number.NaN;
  }

  #duration(value: unknown, path: string): number {
    if (typeof value === 'number') return Math.trunc(value);
    if (typeof value === 'boolean' || typeof value === 'bigint') return Number(value);
    if (typeof value !== 'string') return this.#mismatch(path, 'time.Duration', value, 0);
    try {
      return parseGoDuration(value);
    } catch (error) {
      if (!(error instanceof GoDurationError)) throw error;
      this.#problems.push(`error decoding '${path}': ${error.message}`);
      return 0;
    }
  }

  /** One thing stands for a list of one. */
  #list(value: unknown): readonly unknown[] {
    return Array.isArray(value) ? value : [value];
  }

  #map<T>(value: unknown, path: string, decode: (item: unknown, path: string) => T): Record<string, T> {
    const result = Object.create(null) as Record<string, T>;
    if (!isObject(value)) {
      this.#problems.push(`'${path}' expected a map, got '${goKindOf(value)}'`);
      return result;
    }
    for (const [key, item] of Object.entries(value)) result[key] = decode(item, `${path}[${key}]`);
    return result;
  }

  #unparsable<T>(path: string, type: string, parser: string, value: unknown, zero: T): T {
    this.#problems.push(
      `cannot parse '${path}' as ${type}: strconv.${parser}: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
    return zero;
  }

  #mismatch<T>(path: string, expected: string, value: unknown, zero: T): T {
    this.#problems.push(`'${path}' expected type '${expected}', got unconvertible type '${kindOf(value)}'`);
    return zero;
  }
}

/** A list of one stands for what is in it, an empty one for nothing, wherever no list is expected. */
function unwrapped(value: unknown): unknown {
  if (!Array.isArray(value) || value.length > 1) return value;
  return (value[0] as unknown) ?? null;
}

function isListType(type: Type): boolean {
  return type === 'strings' || type === 'ints' || (typeof type === 'object' && 'list' in type);
}

/** Go's kind of a value, where {@link kindOf} is its type. */
function goKindOf(value: unknown): string {
  return Array.isArray(value) ? 'slice' : isObject(value) ? 'map' : kindOf(value);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return '[]interface {}';
  if (typeof value === 'number') return 'float64';
  return isObject(value) ? 'map[string]interface {}' : typeof value === 'boolean' ? 'bool' : typeof value;
}

/** A struct as the API shows it. */
export function fieldsView(fields: Fields, record: object): Readonly<Record<string, unknown>> {
  const view: Record<string, unknown> = {};
  for (const { name, type, always: even } of fields) {
    const value = (record as Readonly<Record<string, unknown>>)[name];
    const shown = valueView(type, value);
    if (even || !isEmpty(type, shown)) view[name] = shown;
  }
  return view;
}

function valueView(type: Type, value: unknown): unknown {
  switch (type) {
    case 'string':
      return value ?? '';
    case 'int':
    case 'number':
      return value ?? 0;
    case 'bool':
      return value ?? false;
    case 'duration':
      return value === undefined || value === 0 ? '' : formatGoDuration(value as number);
    case 'strings':
    case 'ints':
      return value ?? null;
    case 'string-map':
    case 'any-map':
      return isObject(value) ? new Map(Object.entries(value)) : null;
    default:
      if ('struct' in type) return fieldsView(type.struct, value ?? {});
      if ('pointer' in type) return value === undefined ? null : fieldsView(type.pointer, value as object);
      if ('list' in type)
        return (value as readonly object[] | undefined)?.map((item) => fieldsView(type.list, item)) ?? null;
      return isObject(value)
        ? new Map(Object.entries(value).map(([key, item]) => [key, fieldsView(type.map, item as object)]))
        : null;
  }
}

function isEmpty(type: Type, shown: unknown): boolean {
  if (shown instanceof Map) return shown.size === 0;
  if (Array.isArray(shown)) return shown.length === 0;
  return typeof type === 'object' ? shown === null : !shown;
}
