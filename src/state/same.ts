/**
 * Whether a write changes anything. The peer compares deeply and tells nil from an empty list or map, and list order
 * counts; fields that are simply not given equal their zero value, as a decoded Go struct has them
 * (reference/raft.md §6.4).
 */

/** Fields that are maps with the user's keys: there a missing key is not an empty value. */
const freeMaps = new Set(['Meta', 'TaggedAddresses', 'Config', 'Header']);

type Fields = Readonly<Record<string, unknown>>;

/** Compares two records, leaving out `ignored` fields. */
export function sameRecord(a: object, b: object, ignored: ReadonlySet<string>): boolean {
  return sameStruct(a as Fields, b as Fields, ignored);
}

const none: ReadonlySet<string> = new Set();

function sameStruct(a: Fields, b: Fields, ignored: ReadonlySet<string>): boolean {
  for (const key in a) {
    if (!ignored.has(key) && !sameField(a[key], b[key], freeMaps.has(key))) return false;
  }
  for (const key in b) {
    if (!(key in a) && !ignored.has(key) && !sameField(undefined, b[key], freeMaps.has(key))) return false;
  }
  return true;
}

function sameField(a: unknown, b: unknown, free: boolean): boolean {
  if (a === b) return true;
  if (a === undefined) return free ? b === null : isZero(b);
  if (b === undefined) return free ? a === null : isZero(a);
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (free) return sameValue(a, b);
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, i) => sameField(item, b[i], false))
    );
  }
  return sameStruct(a as Fields, b as Fields, none);
}

/** Equality of free values: every key counts. */
function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  }
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameValue((a as Fields)[key], (b as Fields)[key]))
  );
}

function isZero(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === 0n || value === false) {
    return true;
  }
  return typeof value === 'object' && !Array.isArray(value) && isZeroStruct(value as Fields);
}

function isZeroStruct(value: Fields): boolean {
  for (const key in value) if (!isZero(value[key])) return false;
  return true;
}
