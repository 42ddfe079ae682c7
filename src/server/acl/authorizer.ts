/**
 * An authorizer answers "may this be done?" from the rules of all policies of a token. The rule for exactly the name
 * decides, else that for its longest prefix, else the default policy. Where policies disagree about the same name or
 * prefix, deny wins over write, write over list, list over read.
 */
import type { ByteString } from '../../lib/index.ts';
import type { Access, NamedResource, PolicyRules, SingleResource } from './rules.ts';

/** What is decided where no rule fits. Neither gives rights over ACLs themselves. */
export type DefaultPolicy = 'allow' | 'deny';

/** Rights over something that has a name. */
export type NameRight = `${NamedResource | 'intention'}:${'read' | 'write'}` | 'key:list';
/** Rights over what there is one of. */
export type SingleRight = `${SingleResource}:${'read' | 'write'}`;

const ranks: Readonly<Record<Access, number>> = { read: 0, list: 1, write: 2, deny: 3 };

/** The access that wins where two rules are about the same. */
function stronger<T extends Access | undefined>(a: T, b: T): T {
  if (a === undefined || b === undefined) return a ?? b;
  return ranks[b] > ranks[a] ? b : a;
}

/** Whether what a rule gives includes what is wanted. */
function includes(given: Access, wanted: Access): boolean {
  switch (wanted) {
    case 'write':
      return given === 'write';
    case 'list':
      return given === 'list' || given === 'write';
    case 'read':
      return given !== 'deny';
    case 'deny':
      return true;
  }
}

/** Rules about one kind of thing. */
class NameRules {
  readonly exact = new Map<string, Access>();
  readonly prefixes = new Map<string, Access>();
  /** Lengths that prefixes have, greatest first. */
  #lengths: readonly number[] = [];

  seal(): this {
    this.#lengths = [...new Set([...this.prefixes.keys()].map((prefix) => prefix.length))].sort((a, b) => b - a);
    return this;
  }

  /** What the rules say about a name; undefined when none fits. */
  find(name: string): Access | undefined {
    return this.exact.get(name) ?? this.findPrefix(name);
  }

  /** What the longest prefix of `name` says. */
  findPrefix(name: string): Access | undefined {
    for (const length of this.#lengths) {
      if (length > name.length) continue;
      const access = this.prefixes.get(name.slice(0, length));
      if (access !== undefined) return access;
    }
    return undefined;
  }
}

type RuleKind = NamedResource | 'intention';

export class Authorizer {
  readonly #kinds = new Map<RuleKind, NameRules>();
  readonly #singles: Partial<Record<SingleResource, Access>> = {};
  readonly #default: boolean;
  /** Lists narrowed for this authorizer, by the list they come from (see {@link keep}). */
  readonly #kept = new WeakMap<readonly unknown[], readonly unknown[]>();

  constructor(policies: readonly PolicyRules[], defaultPolicy: DefaultPolicy) {
    this.#default = defaultPolicy === 'allow';
    const intentions = new Map<string, { given: Access | undefined; access: Access }>();
    for (const { names, singles } of policies) {
      for (const rule of names) {
        const kind = this.#rulesOf(rule.resource);
        const map = rule.match === 'exact' ? kind.exact : kind.prefixes;
        const access = stronger<Access>(map.get(rule.name) ?? rule.access, rule.access);
        map.set(rule.name, access);
        if (rule.resource !== 'service') continue;
        const key = `${rule.match}:${rule.name}`;
        intentions.set(key, { access, given: stronger(intentions.get(key)?.given, rule.intentions) });
      }
      for (const [resource, access] of Object.entries(singles) as [SingleResource, Access][]) {
        this.#singles[resource] = stronger<Access>(this.#singles[resource] ?? access, access);
      }
    }
    for (const [key, { given, access }] of intentions) {
      const kind = this.#rulesOf('intention');
      const map = key.startsWith('exact:') ? kind.exact : kind.prefixes;
      map.set(key.slice(key.indexOf(':') + 1), given ?? (access === 'deny' ? 'deny' : 'read'));
    }
    for (const rules of this.#kinds.values()) rules.seal();
  }

  #rulesOf(kind: RuleKind): NameRules {
    let rules = this.#kinds.get(kind);
    if (rules === undefined) this.#kinds.set(kind, (rules = new NameRules()));
    return rules;
  }

  /** Whether `right` is given over the thing called `name`. */
  may(right: NameRight, name: string): boolean {
    const colon = right.indexOf(':');
    const kind = right.slice(0, colon) as RuleKind;
    const wanted = right.slice(colon + 1) as Access;
    const rules = this.#kinds.get(kind);
    if (kind === 'intention' && name === '*') return this.#mayWildcard(rules, wanted);
    const given = rules?.find(name);
    return given === undefined ? this.#default : includes(given, wanted);
  }

  /** Reading what is meant for all services takes the right for any, writing it the right for all. */
  #mayWildcard(rules: NameRules | undefined, wanted: Access): boolean {
    const all = rules === undefined ? [] : [...rules.exact.values(), ...rules.prefixes.values()];
    if (wanted === 'read') {
      if (all.some((access) => includes(access, wanted))) return true;
      return this.#default && rules?.prefixes.get('') === undefined;
    }
    if (!all.every((access) => includes(access, wanted))) return false;
    return this.#default || rules?.prefixes.get('') !== undefined;
  }

  /** Whether `right` is given; the default policy never gives rights over ACLs. */
  maySingle(right: SingleRight): boolean {
    const colon = right.indexOf(':');
    const resource = right.slice(0, colon) as SingleResource;
    const given = this.#singles[resource];
    if (given === undefined) return this.#default && resource !== 'acl';
    return includes(given, right.slice(colon + 1) as Access);
  }

  /** Whether everything under a key prefix may be written, so that it may be deleted as a whole. */
  mayWriteKeysUnder(prefix: ByteString): boolean {
    const rules = this.#kinds.get('key');
    const base = rules?.findPrefix(prefix);
    if (base !== undefined && base !== 'write') return false;
    for (const map of rules === undefined ? [] : [rules.exact, rules.prefixes]) {
      for (const [name, access] of map) if (access !== 'write' && name.startsWith(prefix)) return false;
    }
    return base === 'write' || this.#default;
  }

  /** Whether `right` is given over anything at all. */
  mayAny(right: NameRight): boolean {
    if (this.#default) return true;
    const colon = right.indexOf(':');
    const rules = this.#kinds.get(right.slice(0, colon) as RuleKind);
    if (rules === undefined) return false;
    const wanted = right.slice(colon + 1) as Access;
    return [...rules.exact.values(), ...rules.prefixes.values()].some((access) => includes(access, wanted));
  }

  /**
   * `rows` without those for which `visible` is false; the same list when nothing has to go. The outcome is kept beside
   * the list, so the same state gives the same caller the same list, and what is cached for it keeps working. A list
   * must always be given with the same predicate.
   */
  keep<T>(rows: readonly T[], visible: (row: T) => boolean): readonly T[] {
    const known = this.#kept.get(rows);
    if (known !== undefined) return known as readonly T[];
    const kept = rows.filter(visible);
    const result = kept.length === rows.length ? rows : Object.freeze(kept);
    this.#kept.set(rows, result);
    return result;
  }
}
