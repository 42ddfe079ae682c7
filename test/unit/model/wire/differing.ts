// Compares decoded msgpack by path.

/** Paths at which two values differ; fields that only `b` has do not count when `a` is sparse. */
export function* differing(a: unknown, b: unknown, path = '', sparse = false): Generator<string> {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    if (Buffer.compare(a, b) !== 0) yield path;
  } else if (isContainer(a) && isContainer(b) && Array.isArray(a) === Array.isArray(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (sparse && !(key in a)) continue;
      yield* differing(a[key], b[key], path === '' ? key : `${path}.${key}`, sparse);
    }
  } else if (!Object.is(a, b)) yield path;
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
