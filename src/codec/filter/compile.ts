/**
 * Filter expressions, tree to predicate: selectors, operators and values are checked against the table of fields once,
 * when the filter is compiled; afterwards a record is only looked at (reference/http-api.md §4.5). Below a list of
 * structures a match holds if any element matches, negated operators included.
 */
import { unreachable } from '../../lib/index.ts';
import { compileGoRegexp, type GoRegexpBudget, GoRegexpBudgetError } from '../go-regexp.ts';
import type { FilterField, FilterFields } from './fields.ts';
import type { FilterTree, MatchOperator } from './syntax.ts';
import { FilterError, parseFilter } from './syntax.ts';

/**
 * What the regular expressions of one filter may cost over all its records, in instructions: about half a second. The
 * whole agent waits meanwhile, and an expression has room for hundreds of the worst sort.
 */
export const filterStepsMax = 20_000_000;

/** Tells whether a record matches. Absent fields count as Go's zero values, absent structures never match. */
export interface Filter {
  /** @throws FilterError when the regular expressions have cost too much since the last renewal. */
  (record: object): boolean;
  /** Begins a new evaluation: what the regular expressions may cost is whole again. */
  renew(): void;
}

/**
 * Compiles `expression` for records with these `fields`.
 * @throws FilterError with Consul's text.
 */
export function compileFilter(expression: string, fields: FilterFields): Filter {
  const budget: GoRegexpBudget = { steps: filterStepsMax };
  const predicate = compileTree(parseFilter(expression), fields, budget);
  const filter = (record: object): boolean => {
    try {
      return predicate(record);
    } catch (error) {
      if (!(error instanceof GoRegexpBudgetError)) throw error;
      throw new FilterError('the regular expressions take too long on so many records: use simpler ones', 'field');
    }
  };
  const renew = (): void => {
    budget.steps = filterStepsMax;
  };
  return Object.assign(filter, { renew });
}

type Predicate = (value: unknown) => boolean;

function compileTree(tree: FilterTree, fields: FilterFields, budget: GoRegexpBudget): Predicate {
  if (tree.op === 'match') return compileMatch(tree, fields, budget);
  if (tree.op === 'not') {
    const operand = compileTree(tree.operand, fields, budget);
    return (record) => !operand(record);
  }
  // A chain leans to the right: walked, not recursed into, so its length costs no stack.
  const { op } = tree;
  const operands: Predicate[] = [];
  let rest: FilterTree = tree;
  while (rest.op === op) {
    operands.push(compileTree(rest.left, fields, budget));
    rest = rest.right;
  }
  operands.push(compileTree(rest, fields, budget));
  return op === 'and'
    ? (record) => operands.every((operand) => operand(record))
    : (record) => operands.some((operand) => operand(record));
}

type Match = FilterTree & { readonly op: 'match' } & { readonly budget: GoRegexpBudget };

function compileMatch(match: Omit<Match, 'budget'>, fields: FilterFields, budget: GoRegexpBudget): Predicate {
  return descend({ ...match, budget }, { struct: fields }, 0);
}

/** The predicate over a value of type `field`, from the `depth`-th part of the selector on. */
function descend(match: Match, field: FilterField, depth: number): Predicate {
  const part = match.selector[depth];
  if (part === undefined) return test(match, field);
  if (typeof field === 'object') {
    if ('map' in field) return keyed(part, descend(match, { struct: field.map }, depth + 1), match.operator);
    const inner = 'struct' in field ? field.struct : field.list;
    const next = Object.hasOwn(inner, part) ? inner[part] : undefined;
    if (next === undefined) throw invalidSelector(match);
    const predicate = descend(match, next, depth + 1);
    const ofStruct: Predicate = (value) =>
      typeof value === 'object' && value !== null && predicate((value as Record<string, unknown>)[part]);
    return 'struct' in field ? ofStruct : (value) => asList(value).some(ofStruct);
  }
  const element = elementsOfMaps.get(field);
  if (element !== undefined) return keyed(part, descend(match, element, depth + 1), match.operator);
  throw invalidSelector(match);
}

const elementsOfMaps: ReadonlyMap<FilterField, FilterField> = new Map([
  ['string-map', 'string'],
  ['strings-map', 'strings'],
]);

function isMap(field: FilterField): boolean {
  return elementsOfMaps.has(field) || (typeof field === 'object' && 'map' in field);
}

/** An absent key answers by operator alone. */
function keyed(key: string, predicate: Predicate, operator: MatchOperator): Predicate {
  const absent = operator !== 'Equal' && operator !== 'In' && operator !== 'Is Not Empty';
  return (value) => {
    const map = asMap(value);
    return Object.hasOwn(map, key) ? predicate(map[key]) : absent;
  };
}

/** The comparison itself, at the end of the selector. */
function test(match: Match, field: FilterField): Predicate {
  const { operator, value } = match;
  switch (operator) {
    case 'Equal':
    case 'Not Equal': {
      const equal = equality(match, field);
      return operator === 'Equal' ? equal : (actual) => !equal(actual);
    }
    case 'In':
    case 'Not In': {
      const contains = containment(match, field);
      return operator === 'In' ? contains : (actual) => !contains(actual);
    }
    case 'Matches':
    case 'Not Matches': {
      if (field !== 'string') throw invalidOperator(match);
      const matches = regexp(value, match.budget);
      return operator === 'Matches' ? (actual) => matches(asText(actual)) : (actual) => !matches(asText(actual));
    }
    case 'Is Empty':
    case 'Is Not Empty': {
      const size = sizeOf(match, field);
      return operator === 'Is Empty' ? (actual) => size(actual) === 0 : (actual) => size(actual) > 0;
    }
    default:
      return unreachable(operator);
  }
}

function equality(match: Match, field: FilterField): Predicate {
  const { value } = match;
  switch (field) {
    case 'string':
      return (actual) => asText(actual) === value;
    case 'bool': {
      const wanted = coerceBool(match);
      return (actual) => (actual === true) === wanted;
    }
    case 'int': {
      const wanted = coerceInt(match);
      return (actual) => BigInt((actual as number | bigint | undefined) ?? 0) === wanted;
    }
    default:
      throw invalidOperator(match);
  }
}

function containment(match: Match, field: FilterField): Predicate {
  const { value } = match;
  if (field === 'string') return (actual) => asText(actual).includes(value);
  if (field === 'strings') return (actual) => asList(actual).includes(value);
  if (isMap(field)) {
    return (actual) => Object.hasOwn(asMap(actual), value);
  }
  throw invalidOperator(match);
}

function sizeOf(match: Match, field: FilterField): (value: unknown) => number {
  if (field === 'strings' || (typeof field === 'object' && 'list' in field)) return (value) => asList(value).length;
  if (isMap(field)) {
    return (value) => Object.keys(asMap(value)).length;
  }
  throw invalidOperator(match);
}

const trueWords = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const falseWords = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

function coerceBool(match: Match): boolean {
  if (trueWords.has(match.value)) return true;
  if (falseWords.has(match.value)) return false;
  throw invalidValue(match, 'ParseBool', 'invalid syntax');
}

const int64Max = 2n ** 63n;

/** Go's base 0: `0x1f`, `0b1`, `0o17`, `017`, underscores between digits after a base prefix. */
function coerceInt(match: Match): bigint {
  const found = /^([+-]?)(?:(0[xX](?:_?[\da-fA-F])+|0[bB](?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?\d)*))$/.exec(
    match.value,
  );
  if (found === null) throw invalidValue(match, 'ParseInt', 'invalid syntax');
  const [, sign, prefixed, octal, decimal] = found;
  const digits = (prefixed ?? decimal ?? `0o${octal}`).replaceAll('_', '');
  const magnitude = BigInt(digits);
  if (magnitude > (sign === '-' ? int64Max : int64Max - 1n)) {
    throw invalidValue(match, 'ParseInt', 'value out of range');
  }
  return sign === '-' ? -magnitude : magnitude;
}

function regexp(pattern: string, budget: GoRegexpBudget): (text: string) => boolean {
  try {
    return compileGoRegexp(pattern, budget);
  } catch (error) {
    throw new FilterError(
      `Failed to compile regular expression ${JSON.stringify(pattern)}: ${(error as Error).message}`,
      'field',
    );
  }
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : '');
const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const asMap = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

const selectorText = (match: Match): string => JSON.stringify(match.selector.join('.'));

function invalidSelector(match: Match): FilterError {
  return new FilterError(`Selector ${selectorText(match)} is not valid`, 'field');
}

function invalidOperator(match: Match): FilterError {
  return new FilterError(`Invalid match operator "${match.operator}" for selector ${selectorText(match)}`, 'field');
}

function invalidValue(match: Match, parser: 'ParseBool' | 'ParseInt', reason: string): FilterError {
  const value = JSON.stringify(match.value);
  return new FilterError(
    `Failed to coerce value ${value} for selector ${selectorText(match)}: strconv.${parser}: parsing ${value}: ${reason}`,
    'field',
  );
}
