/**
 * A shape describes one type of the wire in both directions, and the TypeScript type follows from it. Records are maps
 * with the Go field names as keys: written with every field and sorted by bytes, read in any order, unknown keys passed
 * over, missing ones zero; as an array too, in the order of declaration (reference/server-rpc.md §2.3).
 */
import { MsgpackError, MsgpackTruncated } from './error.ts';
import { decodeGoTime, encodeGoTime, goZeroTime } from './go-time.ts';
import { MsgpackReader } from './reader.ts';
import { type MsgpackValue, readValue, setOwn, writeValue } from './value.ts';
import { MsgpackWriter } from './writer.ts';

/** @typeParam T what is read. @typeParam In what may be written, which may lack fields. */
export interface Shape<out T, in In = T> {
  write(writer: MsgpackWriter, value: In): void;
  /** @throws MsgpackError */
  read(reader: MsgpackReader): T;
  /** Go's zero value: what a field has that the message lacks. */
  readonly zero: T;
}

/** What a shape reads. */
export type ShapeOf<S> = S extends Shape<infer T, never> ? T : never;
/** What a shape writes. */
export type ShapeInput<S> = S extends Shape<unknown, infer In> ? In : never;

type AnyShape = Shape<unknown, never>;

/** The bytes of `value`. */
export function encodeShape<In>(shape: Shape<unknown, In>, value: In): Uint8Array {
  const writer = new MsgpackWriter();
  shape.write(writer, value);
  return writer.bytes();
}

/** Reads one value; what follows it is not looked at, as with the peer. @throws MsgpackError */
export function decodeShape<T>(shape: Shape<T, never>, bytes: Uint8Array): T {
  return shape.read(new MsgpackReader(bytes));
}

/** Text. Use {@link byteString} where the bytes may be no UTF-8. */
export const str: Shape<string> = {
  write: (writer, value) => writer.str(value),
  read: (reader) => reader.str(),
  zero: '',
};

/** Text as bytes, one character a byte, as KV keys are. */
export const byteString: Shape<string> = {
  write: (writer, value) => writer.byteString(value),
  read: (reader) => reader.byteString(),
  zero: '',
};

/** Bytes; nil is null, and what is read empty becomes null, as with the peer. What is read is a copy. */
export const bytes: Shape<Uint8Array | null> = {
  write: (writer, value) => writer.raw(value),
  read: (reader) => {
    const view = reader.raw();
    return view === null ? null : new Uint8Array(view);
  },
  zero: null,
};

export const bool: Shape<boolean> = {
  write: (writer, value) => writer.bool(value),
  read: (reader) => reader.bool(),
  zero: false,
};

/** Go's signed integers: refused beyond 2^53. */
export const int: Shape<number> = {
  write: (writer, value) => writer.int(value),
  read: (reader) => reader.int(),
  zero: 0,
};

function unsigned(max: number): Shape<number> {
  return {
    write: (writer, value) => writer.int(value),
    read: (reader) => {
      const value = reader.int();
      if (value < 0 || value > max) throw new MsgpackError(`${value} is outside 0 to ${max}`);
      return value;
    },
    zero: 0,
  };
}

export const uint8 = unsigned(0xff);
export const uint16 = unsigned(0xffff);
export const uint32 = unsigned(0xffff_ffff);
/** An unsigned integer that is far below 2^53 in practice, as an index; refused beyond. */
export const uint = unsigned(Number.MAX_SAFE_INTEGER);

/** All 64 bits, as in KV flags. */
export const uint64: Shape<bigint> = {
  write: (writer, value) => writer.int(value),
  read: (reader) => reader.uint64(),
  zero: 0n,
};

/** An index that a user may have made up: what is beyond 2^53 is read as 2^53 - 1, which no index reaches. */
export const index: Shape<number> = {
  write: (writer, value) => writer.int(value),
  read: (reader) => {
    const value = reader.uint64();
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  },
  zero: 0,
};

const int64MaxNs = 2n ** 63n - 1n;

/** Go's `time.Duration`, ns: exact below 104 days, the nearest number above (ten years occur, as a limit). */
export const durationNs: Shape<number> = {
  write: (writer, value) => {
    if (Number.isSafeInteger(value)) writer.int(value);
    else {
      const wide = BigInt(Math.trunc(value));
      writer.int(wide > int64MaxNs ? int64MaxNs : wide < -int64MaxNs ? -int64MaxNs : wide);
    }
  },
  read: (reader) => Number(reader.bigInt()),
  zero: 0,
};

export const float64: Shape<number> = {
  write: (writer, value) => writer.float64(value),
  read: (reader) => reader.float(),
  zero: 0,
};

export const float32: Shape<number> = {
  write: (writer, value) => writer.float32(value),
  read: (reader) => reader.float(),
  zero: 0,
};

function goTime(zone: 'utc' | 'local'): Shape<string> {
  return {
    write: (writer, value) => writer.raw(encodeGoTime(value, zone)),
    read: (reader) => (reader.nil() ? goZeroTime : decodeGoTime(readRawOnly(reader))),
    zero: goZeroTime,
  };
}

/** Go's `time.Time` as RFC 3339 text with nanoseconds. "Z" is written as UTC. */
export const time = goTime('utc');

/** A `time.Time` that the peer takes from its local clock and never turns to UTC: "Z" is written as a zone of its own. */
export const localTime = goTime('local');

function readRawOnly(reader: MsgpackReader): Uint8Array | null {
  if (reader.peekType() !== 'raw') throw new MsgpackError(`a time was expected, found ${reader.peekType()}`);
  return reader.raw();
}

/** A value without a schema: bigint is an integer on the wire, number a float64 (see `MsgpackValue`). */
export const any: Shape<MsgpackValue, unknown> = {
  write: (writer, value) => writeValue(writer, value),
  read: (reader) => readValue(reader),
  zero: null,
};

/** Go's slice: null ⇄ nil, which is not the same as empty. */
export function list<T, In = T>(item: Shape<T, In>): Shape<readonly T[] | null, readonly In[] | null> {
  return {
    write: (writer, value) => {
      if (value === null) writer.nil();
      else writeItems(writer, item, value);
    },
    read: (reader) => readItems(reader, item),
    zero: null,
  };
}

/** A slice that is never nil here: nil is read as empty. */
export function fullList<T, In = T>(item: Shape<T, In>): Shape<readonly T[], readonly In[]> {
  return {
    write: (writer, value) => writeItems(writer, item, value),
    read: (reader) => readItems(reader, item) ?? [],
    zero: Object.freeze([]),
  };
}

function writeItems<In>(writer: MsgpackWriter, item: Shape<unknown, In>, items: readonly In[]): void {
  writer.arrayHeader(items.length);
  for (const value of items) item.write(writer, value);
}

function readItems<T>(reader: MsgpackReader, item: Shape<T, never>): T[] | null {
  const count = reader.arrayHeader();
  if (count === null) return null;
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(within(`${i}`, () => item.read(reader)));
  return items;
}

/** Go's map with text keys: null ⇄ nil, which is not the same as empty. The order of its keys means nothing. */
export function map<T, In = T>(
  item: Shape<T, In>,
  key: Shape<string> = str,
): Shape<Readonly<Record<string, T>> | null, Readonly<Record<string, In>> | null> {
  return {
    write: (writer, value) => {
      if (value === null) writer.nil();
      else writeEntries(writer, item, key, value);
    },
    read: (reader) => readEntries(reader, item, key),
    zero: null,
  };
}

/** A map that is never nil here: nil is read as empty. */
export function fullMap<T, In = T>(
  item: Shape<T, In>,
  key: Shape<string> = str,
): Shape<Readonly<Record<string, T>>, Readonly<Record<string, In>>> {
  return {
    write: (writer, value) => writeEntries(writer, item, key, value),
    read: (reader) => readEntries(reader, item, key) ?? {},
    zero: Object.freeze({}),
  };
}

function writeEntries<In>(
  writer: MsgpackWriter,
  item: Shape<unknown, In>,
  key: Shape<string>,
  value: Readonly<Record<string, In>>,
): void {
  const names = Object.keys(value);
  writer.mapHeader(names.length);
  for (const name of names) {
    key.write(writer, name);
    item.write(writer, value[name]!);
  }
}

function readEntries<T>(reader: MsgpackReader, item: Shape<T, never>, key: Shape<string>): Record<string, T> | null {
  const count = reader.mapHeader();
  if (count === null) return null;
  const entries: Record<string, T> = {};
  for (let i = 0; i < count; i++) {
    const name = key.read(reader);
    setOwn(
      entries,
      name,
      within(name, () => item.read(reader)),
    );
  }
  return entries;
}

/** Go's pointer: null ⇄ nil. */
export function nullable<T, In = T>(shape: Shape<T, In>): Shape<T | null, In | null> {
  return {
    write: (writer, value) => {
      if (value === null) writer.nil();
      else shape.write(writer, value);
    },
    read: (reader) => (reader.nil() ? null : shape.read(reader)),
    zero: null,
  };
}

/** A raw string whose bytes are msgpack again (reference/server-rpc.md §2.6). nil and "" are the inner zero. */
export function wrapped<T, In = T>(shape: Shape<T, In>): Shape<T, In> {
  return {
    write: (writer, value) => writer.raw(encodeShape(shape, value)),
    read: (reader) => {
      const inner = reader.raw();
      return inner === null ? shape.zero : reader.nested(inner, (nested) => shape.read(nested));
    },
    zero: shape.zero,
  };
}

/** A shape that is defined further down, or holds itself. */
export function lazy<T, In = T>(shape: () => Shape<T, In>): Shape<T, In> {
  return {
    write: (writer, value) => shape().write(writer, value),
    read: (reader) => shape().read(reader),
    get zero() {
      return shape().zero;
    },
  };
}

export type Fields = Readonly<Record<string, AnyShape>>;

/** What a struct of these fields reads. */
export type StructOf<F extends Fields> = { readonly [K in keyof F]: ShapeOf<F[K]> };
/** What it writes: a field that is left out has its zero value. */
export type StructInput<F extends Fields> = { readonly [K in keyof F]?: ShapeInput<F[K]> | undefined };

export interface StructShape<F extends Fields> extends Shape<StructOf<F>, StructInput<F>> {
  /** For structs that embed this one: `struct({ Datacenter: str, ...queryOptions.fields })`. */
  readonly fields: F;
}

/**
 * A Go struct.
 * @param fields in Go's order of declaration, by their names on the wire; embedded structs are spread into it.
 * @param options.omitEmpty fields that are left out when they are empty, as the few that Go marks so.
 */
export function struct<const F extends Fields>(
  fields: F,
  options: { readonly omitEmpty?: readonly (keyof F & string)[] } = {},
): StructShape<F> {
  const declared = Object.entries(fields).map(([name, shape]) => ({
    name,
    shape: shape as Shape<unknown, unknown>,
    key: encodeShape(str, name),
    omitEmpty: options.omitEmpty?.includes(name) ?? false,
  }));
  // Names are ASCII, where UTF-16 order is byte order.
  const sorted = declared.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const byName = new Map(sorted.map((field, at) => [field.name, at]));
  const omits = declared.some(({ omitEmpty }) => omitEmpty);
  let zero: Record<string, unknown> | undefined;
  // Made at first use: a struct may hold a lazy shape that is not there yet.
  const zeroRecord = (): Record<string, unknown> =>
    (zero ??= Object.freeze(Object.fromEntries(declared.map(({ name, shape }) => [name, shape.zero]))));

  const write = (writer: MsgpackWriter, value: Readonly<Record<string, unknown>>): void => {
    const present = omits ? sorted.filter((field) => !field.omitEmpty || !isEmpty(value[field.name])) : sorted;
    writer.mapHeader(present.length);
    for (const { name, shape, key } of present) {
      writer.encoded(key);
      const field = value[name];
      shape.write(writer, field === undefined ? shape.zero : field);
    }
  };

  const readMap = (reader: MsgpackReader, record: Record<string, unknown>): void => {
    let expected = 0;
    for (let rest = reader.mapHeader() ?? 0; rest > 0; rest--) {
      // The peer writes the fields sorted, so the next key is nearly always the one after the last.
      let at: number | undefined = expected;
      if (expected >= sorted.length || !reader.match(sorted[expected]!.key)) at = byName.get(reader.str());
      if (at === undefined) {
        reader.skip();
        continue;
      }
      const { name, shape } = sorted[at]!;
      record[name] = within(name, () => shape.read(reader));
      expected = at + 1;
    }
  };

  const readArray = (reader: MsgpackReader, record: Record<string, unknown>): void => {
    const count = reader.arrayHeader() ?? 0;
    for (let i = 0; i < count; i++) {
      const field = declared[i];
      if (field === undefined) reader.skip();
      else record[field.name] = within(field.name, () => field.shape.read(reader));
    }
  };

  return {
    fields,
    write,
    read: (reader) => {
      reader.fill(declared.length + 1);
      const record = { ...zeroRecord() };
      if (reader.nil()) return record as StructOf<F>;
      if (reader.peekType() === 'array') readArray(reader, record);
      else readMap(reader, record);
      return record as StructOf<F>;
    },
    get zero() {
      return zeroRecord() as StructOf<F>;
    },
  };
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === 0n || value === false)
    return true;
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Says in an error where it happened. */
function within<T>(step: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof MsgpackError && !(error instanceof MsgpackTruncated)) throw error.within(step);
    throw error;
  }
}
