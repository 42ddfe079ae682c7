/**
 * Narrowing an answer: node metadata, tags, filter expressions. None of them changes the answer's index
 * (reference/http-api.md §4.2). The outcome is kept beside the list it was made from, so the same question about the
 * same state gets the same list again, and what is cached for a list keeps working for narrowed ones.
 */
import { compileFilter, type Filter, FilterError } from '../codec/index.ts';
import { CallError, type FilterFields, type Node } from '../model/index.ts';

/** Narrowed lists kept for one list; at more, they are dropped and made again. */
const selectionsMax = 32;
/** Compiled filter expressions kept per kind of record; at more, they are dropped and compiled again. */
const filtersMax = 256;

const selections = new WeakMap<readonly unknown[], Map<string, readonly unknown[]>>();
const filters = new WeakMap<FilterFields, Map<string, Filter>>();

/**
 * `rows` without those for which `keep` is false.
 * @param key says everything that `keep` depends on besides the row; "" when nothing is to be left out.
 */
export function select<T>(rows: readonly T[], key: string, keep: (row: T) => boolean): readonly T[] {
  if (key === '') return rows;
  let known = selections.get(rows);
  if (known === undefined) selections.set(rows, (known = new Map()));
  const found = known.get(key);
  if (found !== undefined) return found as readonly T[];
  const selected = Object.freeze(rows.filter(keep));
  if (known.size >= selectionsMax) known.clear();
  known.set(key, selected);
  return selected;
}

/**
 * The predicate of an expression; undefined when there is none.
 * @throws CallError with the peer's text.
 */
export function filterOf(expression: string | undefined, fields: FilterFields): Filter | undefined {
  if (!expression) return undefined;
  let known = filters.get(fields);
  if (known === undefined) filters.set(fields, (known = new Map()));
  const found = known.get(expression);
  if (found !== undefined) {
    found.renew();
    return found;
  }
  const compiled = orRefused(() => compileFilter(expression, fields));
  const filter = Object.assign((record: object) => orRefused(() => compiled(record)), {
    renew: () => compiled.renew(),
  });
  if (known.size >= filtersMax) known.clear();
  known.set(expression, filter);
  return filter;
}

/** @throws CallError for a filter that is wrong, or takes too long. */
function orRefused<T>(filter: () => T): T {
  try {
    return filter();
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new CallError(`Failed to create boolean expression evaluator: ${error.message}`, { cause: error });
  }
}

type MetaFilters = Readonly<Record<string, string>> | null | undefined;

/** The pairs as a list; undefined when there is none. */
export function metaPairs(filters: MetaFilters): readonly (readonly [string, string])[] | undefined {
  if (!filters) return undefined;
  const pairs = Object.entries(filters);
  return pairs.length === 0 ? undefined : pairs;
}

/** Whether the metadata has every pair. */
export function hasPairs(meta: Node['Meta'], pairs: readonly (readonly [string, string])[]): boolean {
  return meta !== null && pairs.every(([key, value]) => Object.hasOwn(meta, key) && meta[key] === value);
}

/** Whether a service has every tag, without regard to case. */
export function hasTags(tags: readonly string[] | null, wanted: readonly string[]): boolean {
  return wanted.every((tag) => tags?.some((own) => own.toLowerCase() === tag.toLowerCase()) ?? false);
}
