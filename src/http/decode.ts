/**
 * Request bodies as Go's decoder fills structs from them: names match without regard to case, `null` leaves a field
 * alone, unknown names are refused (reference/http-api.md §5). A struct is a table of its fields.
 */
import { GoDurationError, GoJsonError, parseGoDuration, parseGoJson } from '../codec/index.ts';
import { HttpError } from './answer.ts';

/** Turns a parsed JSON value (never null) into a field's value. */
export type Decode<T> = (value: unknown, field: string) => T;

export class DecodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecodeError';
  }
}

function mismatch(value: unknown, field: string, type: string): DecodeError {
  const kind =
    typeof value === 'string'
      ? 'string'
      : typeof value === 'boolean'
        ? 'bool'
        : typeof value === 'number' || typeof value === 'bigint'
          ? 'number'
          : Array.isArray(value)
            ? 'array'
            : 'object';
  return new DecodeError(`json: cannot unmarshal ${kind} into Go ${placeOf(field)} of type ${type}`);
}

export const string: Decode<string> = (value, field) => {
  if (typeof value !== 'string') throw mismatch(value, field, 'string');
  return value;
};

export const bool: Decode<boolean> = (value, field) => {
  if (typeof value !== 'boolean') throw mismatch(value, field, 'bool');
  return value;
};

export const int: Decode<number> = (value, field) => {
  if (!Number.isSafeInteger(value)) throw unfit(value, field, 'int');
  return value as number;
};

/** A number that is not negative and has no fraction, 64 bits. */
export const uint64: Decode<bigint> = (value, field) => {
  const number = typeof value === 'bigint' || Number.isInteger(value) ? BigInt(value as bigint | number) : -1n;
  if (number < 0n || number >= 2n ** 64n) throw unfit(value, field, 'uint64');
  return number;
};

/** {@link uint64} of which what is beyond 2^53 counts as that: no number of ours comes near. */
export const uint: Decode<number> = (value, field) => {
  const number = uint64(value, field);
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(number);
};

/** A number that a numeric field cannot hold is named; anything else is a {@link mismatch}. */
function unfit(value: unknown, field: string, type: string): DecodeError {
  if (typeof value !== 'number' && typeof value !== 'bigint') return mismatch(value, field, type);
  return new DecodeError(`json: cannot unmarshal number ${String(value)} into Go ${placeOf(field)} of type ${type}`);
}

function placeOf(field: string): string {
  return field === '' ? 'value' : `struct field ${field}`;
}

/** Any JSON value, as it was parsed. */
export const anyMap: Decode<Readonly<Record<string, unknown>>> = (value, field) => {
  if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(value, field, 'map[string]interface {}');
  return value as Readonly<Record<string, unknown>>;
};

/** {@link anyMap} whose content nobody looks into: every number in it is a float64, as Go reads JSON without a type. */
export const freeMap: Decode<Readonly<Record<string, unknown>>> = (value, field) =>
  withFloats(anyMap(value, field)) as Readonly<Record<string, unknown>>;

/** A parsed JSON value with its long integers as floats. */
export function withFloats(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withFloats);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withFloats(item)]));
}

/** What Go's durations cannot hold any more, ns. */
const int64End = 2 ** 63;

/** A duration as Go text or a number of nanoseconds; the result in nanoseconds. */
export const durationNs: Decode<number> = (value, field) => {
  if (typeof value === 'number' || typeof value === 'bigint') {
    const ns = Math.trunc(Number(value));
    if (Math.abs(ns) >= int64End) throw unfit(value, field, 'time.Duration');
    return ns;
  }
  if (typeof value !== 'string') throw mismatch(value, field, 'duration');
  try {
    return parseGoDuration(value);
  } catch (error) {
    throw error instanceof GoDurationError ? new DecodeError(error.message) : error;
  }
};

/** {@link durationNs} in milliseconds. */
export const durationMs: Decode<number> = (value, field) => durationNs(value, field) / 1e6;

/** A list; `null` elements become `zero`. */
export function list<T>(element: Decode<T>, zero: T): Decode<readonly T[]> {
  return (value, field) => {
    if (!Array.isArray(value)) throw mismatch(value, field, 'list');
    return value.map((item: unknown) => (item === null ? zero : element(item, field)));
  };
}

/** A map with any keys; `null` values become `zero`. */
export function map<T>(element: Decode<T>, zero: T): Decode<Readonly<Record<string, T>>> {
  return (value, field) => {
    const result: Record<string, T> = {};
    for (const [key, item] of Object.entries(anyMap(value, field))) {
      // Defined, not assigned: a key may be `__proto__`.
      Object.defineProperty(result, key, {
        value: item === null ? zero : element(item, field),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return result;
  };
}

/** JSON name → field of T it fills. Names are compared in lower case; an alias is just another name. */
export type Fields<T> = Readonly<
  Record<string, { [K in keyof T]-?: readonly [field: K, decode: Decode<Exclude<T[K], undefined>>] }[keyof T]>
>;

/** A struct: the fields that were given, nothing else. Unknown names are refused unless they shall be ignored. */
export function struct<T extends object>(
  fields: Fields<T>,
  options: { readonly unknown?: 'ignored' } = {},
): Decode<Partial<T>> {
  const byName = new Map(Object.entries(fields).map(([name, entry]) => [name.toLowerCase(), entry]));
  return (value, field) => {
    if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(value, field, 'struct');
    const result: Partial<T> = {};
    for (const [name, item] of Object.entries(value as Record<string, unknown>)) {
      const entry = byName.get(name.toLowerCase());
      if (entry === undefined) {
        if (options.unknown === 'ignored') continue;
        throw new DecodeError(`json: unknown field ${JSON.stringify(name)}`);
      }
      if (item === null) continue;
      const [to, decode] = entry;
      result[to] = decode(item, field === '' ? name : `${field}.${name}`);
    }
    return result;
  };
}

/** Fields that are read over: accepted in a body, without effect. */
export const ignored: Decode<never> = () => undefined as never;

/**
 * Decodes a whole body; `null` at the top is an empty struct.
 * @param prefix what the endpoint puts before the problem (§5).
 * @throws HttpError 400 `Request decode failed: …`
 */
export function decodeBody<T extends object>(
  bytes: Uint8Array,
  decode: Decode<Partial<T>>,
  prefix = 'Request decode failed: ',
): Partial<T> {
  try {
    const value = parseGoJson(bytes);
    return value === null ? {} : decode(value, '');
  } catch (error) {
    if (error instanceof GoJsonError || error instanceof DecodeError) {
      throw new HttpError(400, prefix + error.message);
    }
    throw error;
  }
}
