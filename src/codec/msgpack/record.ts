/**
 * Go structs whose record in memory is not the same field for field. Go writes every field; a record here may leave out
 * what is zero (`Mode?: string`), and lack fields that only the wire has. One table per record says both, and the
 * compiler holds it against the record's type: a field that is missing, or of another type, does not compile.
 */
import { type Fields, type Shape, str, struct } from './shape.ts';

/** A field that is left out in memory when it is zero on the wire. */
export interface OptionalShape<out T, in In = T> {
  readonly optional: Shape<T | null, In>;
}

/** Marks a field of a {@link record} as one that may be left out. A null of the wire is left out as well. */
export function opt<T, In>(shape: Shape<T, In>): OptionalShape<Exclude<T, null>, In> {
  return { optional: shape as Shape<Exclude<T, null> | null, In> };
}

/** Whether `K` may be left out is whether nothing at all would do for the record of that field. */
type FieldShape<T, K extends keyof T> =
  Partial<Pick<T, K>> extends Pick<T, K>
    ? OptionalShape<Exclude<T[K], undefined>, Exclude<T[K], undefined | null>>
    : Shape<T[K], T[K]>;

/** One shape for every field of `T`, in Go's order of declaration where a peer may send arrays. */
export type RecordFields<T> = { readonly [K in keyof T]-?: FieldShape<T, K> };

type Row = Readonly<Record<string, unknown>>;

/**
 * A struct with the fields of `T`.
 * @param wireOnly fields that `T` has not: written as zero, passed over when read.
 */
export function record<T extends object>(fields: RecordFields<T>, wireOnly: Fields = {}): Shape<T> {
  const declared = Object.entries(fields as Record<string, Shape<unknown> | OptionalShape<unknown>>);
  const inner = struct(
    Object.fromEntries([
      ...declared.map(([name, shape]) => [name, 'optional' in shape ? shape.optional : shape] as const),
      ...Object.entries(wireOnly),
    ]) as Fields,
  );
  const kept = declared.map(([name, shape]) => ({ name, zero: 'optional' in shape ? shape.optional : undefined }));
  const pruned = (row: Row): T => {
    const left: Record<string, unknown> = {};
    for (const { name, zero } of kept) {
      const value = row[name];
      if (zero === undefined || !isZero(value, zero.zero)) left[name] = value;
    }
    return left as T;
  };
  let zero: T | undefined;
  return {
    write: (writer, value) => inner.write(writer, value),
    read: (reader) => pruned(inner.read(reader)),
    get zero() {
      return (zero ??= Object.freeze(pruned(inner.zero)));
    },
  };
}

/** Whether a field says nothing. An empty list or map does: it is not nil. */
function isZero(value: unknown, zero: unknown): boolean {
  if (value === zero) return true;
  if (typeof value !== 'object' || typeof zero !== 'object' || value === null || zero === null) return false;
  if (value instanceof Uint8Array) return value.length === 0;
  if (Array.isArray(value)) return false;
  for (const key in value) {
    if (!isZero((value as Row)[key], (zero as Row)[key])) return false;
  }
  return true;
}

/** Text of which the type knows more than the wire: what stands there is the reader's business to check. */
export function text<T extends string>(): Shape<T> {
  return str as Shape<unknown> as Shape<T>;
}

/** `struct{}`: an empty map, whose fields nobody looks at. */
export const empty: Shape<null> = {
  write: (writer) => writer.mapHeader(0),
  read: (reader) => {
    reader.skip();
    return null;
  },
  zero: null,
};

/** A field that is always nil. */
export const nil: Shape<null> = {
  write: (writer) => writer.nil(),
  read: (reader) => {
    reader.skip();
    return null;
  },
  zero: null,
};

/** A value in another form: `to` makes of it what the wire has, `from` the reverse. */
export function converted<T, W>(
  shape: Shape<W>,
  { to, from }: { readonly to: (value: T) => W; readonly from: (wire: W) => T },
): Shape<T> {
  let zero: { readonly value: T } | undefined;
  return {
    write: (writer, value) => shape.write(writer, to(value)),
    read: (reader) => from(shape.read(reader)),
    get zero() {
      return (zero ??= { value: from(shape.zero) }).value;
    },
  };
}
