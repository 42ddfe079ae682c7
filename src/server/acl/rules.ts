/**
 * The policy language: a text in HCL or JSON says which resources may be read, listed or written. `key "a" { … }` is
 * about that name alone, `key_prefix "a" { … }` about every name that begins so. Texts of the old system have no
 * prefixes: there every name is one (reference/http-api.md §9.11, "rules/translate").
 */
import { GoJsonError, HclError, parseGoJson, parseHcl } from '../../codec/index.ts';
import { byteStringFromUtf8 } from '../../lib/index.ts';
import { aclSyntax, CallError } from '../../model/index.ts';

/** Longest rule text, bytes; a policy is a page, and its text is read on the event loop. */
export const rulesBytesMax = 512 * 1024;

export type Access = 'deny' | 'read' | 'list' | 'write';

/** Resources whose rules name what they are about. */
export const namedResources = ['agent', 'event', 'key', 'node', 'query', 'service', 'session'] as const;
export type NamedResource = (typeof namedResources)[number];

/** Resources of which there is one. */
export const singleResources = ['acl', 'keyring', 'operator'] as const;
export type SingleResource = (typeof singleResources)[number];

export interface NameRule {
  readonly resource: NamedResource;
  readonly match: 'exact' | 'prefix';
  /** Of keys: bytes, as the store has them. */
  readonly name: string;
  readonly access: Access;
  /** Services only: what may be done to intentions towards them; undefined = follows from `access`. */
  readonly intentions?: Access;
}

/** A text's rules, in its order. */
export interface PolicyRules {
  readonly names: readonly NameRule[];
  readonly singles: Readonly<Partial<Record<SingleResource, Access>>>;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads a rule text.
 * @param syntax see `aclSyntax`.
 * @throws CallError with the peer's text.
 */
export function parseRules(text: string, syntax: number = aclSyntax.current): PolicyRules {
  if (text.length > rulesBytesMax) {
    throw new CallError(`Failed to parse ACL rules: the text has ${text.length} bytes, ${rulesBytesMax} are allowed`);
  }
  const document = parseText(text);
  const legacy = syntax === aclSyntax.legacy;
  const names: NameRule[] = [];
  for (const resource of namedResources) {
    for (const match of legacy ? (['exact'] as const) : (['exact', 'prefix'] as const)) {
      const block = match === 'exact' ? resource : `${resource}_prefix`;
      for (const [name, fields] of labelled(block, document[block])) {
        names.push(nameRule(resource, legacy ? 'prefix' : match, block, name, fields));
      }
    }
  }
  const singles: Partial<Record<SingleResource, Access>> = {};
  for (const resource of singleResources) {
    const value = document[resource];
    if (value === undefined || value === '') continue;
    const access = accessOf(value, false);
    if (access === undefined) throw new CallError(`Invalid ${resource} policy: ${shown(value)}`);
    singles[resource] = access;
  }
  return { names, singles };
}

function nameRule(
  resource: NamedResource,
  match: NameRule['match'],
  block: string,
  name: string,
  fields: Fields,
): NameRule {
  const access = accessOf(fields['policy'], resource === 'key');
  if (access === undefined) throw new CallError(`Invalid ${block} policy: ${shown(fields['policy'])} for "${name}"`);
  const rule: NameRule = { resource, match, name: resource === 'key' ? byteStringFromUtf8(name) : name, access };
  const given = fields['intentions'];
  if (resource !== 'service' || given === undefined || given === '') return rule;
  const intentions = accessOf(given, false);
  if (intentions === undefined)
    throw new CallError(`Invalid ${block} intentions policy: ${shown(given)} for "${name}"`);
  return { ...rule, intentions };
}

function parseText(text: string): Fields {
  try {
    if (!text.trimStart().startsWith('{')) return parseHcl(text);
    return parseGoJson(text) as Fields;
  } catch (error) {
    if (error instanceof HclError || error instanceof GoJsonError) {
      throw new CallError(`Failed to parse ACL rules: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** The blocks of one kind with their labels. HCL gives a list for each level, JSON an object or a list. */
function labelled(block: string, value: unknown): (readonly [string, Fields])[] {
  return objectsOf(block, value).flatMap((group) =>
    Object.entries(group).flatMap(([label, inner]) =>
      objectsOf(block, inner).map((fields): readonly [string, Fields] => [label, fields]),
    ),
  );
}

function objectsOf(block: string, value: unknown): readonly Fields[] {
  if (value === undefined) return [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) {
      throw new CallError(`Failed to parse ACL rules: ${block} must be written as ${block} "NAME" { policy = "read" }`);
    }
    return item as Fields;
  });
}

function accessOf(value: unknown, mayList: boolean): Access | undefined {
  const access = typeof value === 'string' ? value.toLowerCase() : '';
  if (access === 'deny' || access === 'read' || access === 'write') return access;
  return access === 'list' && mayList ? access : undefined;
}

function shown(value: unknown): string {
  return value === undefined ? '""' : JSON.stringify(value);
}

/**
 * Rules of the old system in today's language; comments are not kept.
 * @throws CallError when the text cannot be read.
 */
export function translateRules(text: string): string {
  const document = parseText(text);
  parseRules(text, aclSyntax.legacy);
  const parts: string[] = [];
  for (const key of Object.keys(document)) {
    if ((singleResources as readonly string[]).includes(key)) parts.push(`${key} = ${shown(document[key])}`);
    if (!(namedResources as readonly string[]).includes(key)) continue;
    for (const [name, fields] of labelled(key, document[key])) {
      const lines = Object.entries(fields).map(([field, value]) => `  ${field} = ${shown(value)}\n`);
      parts.push(`${key}_prefix ${JSON.stringify(name)} {\n${lines.join('')}}`);
    }
  }
  return parts.join('\n\n');
}
