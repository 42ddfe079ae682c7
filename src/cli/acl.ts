/**
 * What the `acl` commands share: the objects as the API shows them, how the command line names them (an ID, the
 * beginning of one, or a name), and how they are printed, table or JSON (formats as recorded, reference/agent.md §1.5).
 */
import { type AgentClient, UnexpectedResponseError } from '../client/index.ts';
import { attempt, CliError, type CliIo, type FlagSpecs } from './command.ts';
import { formatFlag, namespaceFlag, serverFlags, wantsJson } from './flags.ts';
import { readData } from './kv.ts';
import { writeJson } from './json.ts';

export interface AclLink {
  readonly ID?: string;
  readonly Name?: string;
}
export interface ServiceIdentity {
  readonly ServiceName: string;
  readonly Datacenters?: readonly string[] | null;
}
export interface NodeIdentity {
  readonly NodeName: string;
  readonly Datacenter: string;
}

/** What a token or a role grants. */
export interface Grants {
  readonly Policies?: readonly AclLink[] | null;
  readonly ServiceIdentities?: readonly ServiceIdentity[] | null;
  readonly NodeIdentities?: readonly NodeIdentity[] | null;
}

/** Indexes, and the hash that some objects have (base64). */
export interface AclMeta {
  readonly Hash?: string;
  readonly CreateIndex: number | bigint;
  readonly ModifyIndex: number | bigint;
}

export const aclFlags = { ...serverFlags, ...namespaceFlag } as const satisfies FlagSpecs;

/** For commands that print what they made or found. */
export const shownAclFlags = {
  ...aclFlags,
  ...formatFlag,
  meta: { kind: 'bool', help: 'Print hash and indexes too.' },
} as const satisfies FlagSpecs;

/** What a token or a role may be given on the command line. */
export const grantFlags = {
  'policy-id': {
    kind: 'list',
    value: 'ID',
    help: 'Policy to grant, by ID or its beginning. May be given several times.',
  },
  'policy-name': { kind: 'list', value: 'NAME', help: 'Policy to grant, by name. May be given several times.' },
  'service-identity': {
    kind: 'list',
    value: 'SERVICE[:DC,…]',
    help: 'Grant what instances of this service need, in these datacenters. May be given several times.',
  },
  'node-identity': {
    kind: 'list',
    value: 'NODE:DC',
    help: 'Grant what the agent of this node needs. May be given several times.',
  },
} as const satisfies FlagSpecs;

/** Prints as JSON in the order of `fields`, or as `pretty` says: its text and a line feed, nothing when it is empty. */
export function show<T extends object>(
  io: CliIo,
  format: string | undefined,
  found: T | readonly T[],
  fields: readonly string[],
  pretty: () => string,
): void {
  if (!wantsJson(format)) {
    const text = pretty();
    if (text !== '') io.stdout.write(`${text}\n`);
    return;
  }
  const ordered = (one: T): Readonly<Record<string, unknown>> =>
    Object.fromEntries(fields.map((field) => [field, (one as Readonly<Record<string, unknown>>)[field]]));
  writeJson(io, Array.isArray(found) ? (found as readonly T[]).map(ordered) : ordered(found as T));
}

/** One `Name:   value` line; the names of a block are padded to the same width. */
export function field(
  name: string,
  value: string | number | bigint | boolean | undefined,
  width: number,
  indent = '',
): string {
  return `${indent}${`${name}:`.padEnd(width)}${value ?? ''}\n`;
}

/** Lines of {@link AclMeta}. */
export function metaFields({ Hash, CreateIndex, ModifyIndex }: AclMeta, width: number, indent = ''): string {
  return (
    (Hash === undefined ? '' : field('Hash', Buffer.from(Hash, 'base64').toString('hex'), width, indent)) +
    field('Create Index', CreateIndex, width, indent) +
    field('Modify Index', ModifyIndex, width, indent)
  );
}

/** A titled list, nothing when it is empty. */
export function section(title: string, lines: readonly string[], indent = ''): string {
  return lines.length === 0 ? '' : `${indent}${title}:\n${lines.map((line) => `${indent}   ${line}\n`).join('')}`;
}

export function links(title: string, found: readonly AclLink[] | null | undefined, indent = ''): string {
  return section(
    title,
    (found ?? []).map(({ ID, Name }) => `${ID} - ${Name}`),
    indent,
  );
}

export function serviceIdentities(found: Grants['ServiceIdentities'], indent = ''): string {
  const lines = (found ?? []).map(({ ServiceName, Datacenters }) => {
    const where = Datacenters && Datacenters.length > 0 ? Datacenters.join(', ') : 'all';
    return `${ServiceName} (Datacenters: ${where})`;
  });
  return section('Service Identities', lines, indent);
}

export function nodeIdentities(found: Grants['NodeIdentities'], indent = ''): string {
  const lines = (found ?? []).map(({ NodeName, Datacenter }) => `${NodeName} (Datacenter: ${Datacenter})`);
  return section('Node Identities', lines, indent);
}

/** RFC 3339 as Go prints a time: `2026-11-20 09:55:02.05 +0000 UTC`. */
export function goTime(text: string): string {
  return text.replace('T', ' ').replace(/Z$/, ' +0000 UTC');
}

/** Value of a text flag that may stand for stdin (`-`) or a file (`@F`). @throws CliError `prefix: Failed to read file…` */
export async function loadText(prefix: string, text: string, io: CliIo): Promise<string> {
  try {
    return (await readData(text, io)).toString('utf8');
  } catch (error) {
    throw new CliError(`${prefix}: ${(error as Error).message.replace('Error! ', '')}`, { cause: error });
  }
}

/** Length of a whole ID. */
const idLength = 36;

/** A kind of ACL object that IDs name. */
interface Kind {
  /** In messages: `token`. */
  readonly name: string;
  readonly path: string;
  readonly id: 'ID' | 'AccessorID';
  /** A name that stands for the ID of a built-in object. */
  readonly alias?: readonly [name: string, id: string];
}

export const aclKinds = {
  token: {
    name: 'token',
    path: '/v1/acl/tokens',
    id: 'AccessorID',
    alias: ['anonymous', '00000000-0000-0000-0000-000000000002'],
  },
  policy: {
    name: 'policy',
    path: '/v1/acl/policies',
    id: 'ID',
    alias: ['global-management', '00000000-0000-0000-0000-000000000001'],
  },
  role: { name: 'role', path: '/v1/acl/roles', id: 'ID' },
  rule: { name: 'rule', path: '/v1/acl/binding-rules', id: 'ID' },
} as const satisfies Readonly<Record<string, Kind>>;

/** The ID that `text` is or begins. @throws Error when there is none, or more than one. */
export async function idFromPrefix(agent: AgentClient, kind: Kind, text: string): Promise<string> {
  if (text === kind.alias?.[0]) return kind.alias[1];
  if (text.length === idLength) return text;
  const all = await agent.json<readonly Readonly<Record<string, string>>[] | null>('GET', kind.path);
  const ids = (all ?? []).map((one) => one[kind.id]!).filter((id) => id.startsWith(text));
  if (ids.length > 1) throw new Error(`Partial ${kind.name} ID is not unique`);
  if (ids[0] === undefined) throw new Error(`No such ${kind.name} ID with prefix: ${text}`);
  return ids[0];
}

/** The ID of the object with that name. @throws Error when there is none. */
export async function idFromName(agent: AgentClient, kind: Kind, name: string): Promise<string> {
  const all = await agent.json<readonly { readonly ID: string; readonly Name: string }[] | null>('GET', kind.path);
  const found = all?.find((one) => one.Name === name);
  if (found === undefined) throw new Error(`No such ${kind.name} with name ${name}`);
  return found.ID;
}

/** The ID that `-id` or `-name` mean. @throws CliError */
export function idOf(agent: AgentClient, kind: Kind, id: string, name: string): Promise<string> {
  const found = id === '' ? idFromName(agent, kind, name) : idFromPrefix(agent, kind, id);
  return attempt(`Error determining ${kind.name} ID`, found);
}

/** Links by name, then by ID (whole, or its beginning). */
export async function linksOf(
  agent: AgentClient,
  kind: Kind,
  names: readonly string[] = [],
  ids: readonly string[] = [],
): Promise<readonly AclLink[]> {
  const found: AclLink[] = names.map((Name) => ({ Name }));
  for (const id of ids) {
    found.push({ ID: await attempt(`Error resolving ${kind.name} ID ${id}`, idFromPrefix(agent, kind, id)) });
  }
  return found;
}

/** @throws CliError for more than one colon. */
export function parseServiceIdentities(texts: readonly string[] = []): readonly ServiceIdentity[] {
  return texts.map((text) => {
    const [ServiceName = '', datacenters, more] = text.split(':');
    if (more !== undefined) throw new CliError(`Malformed -service-identity argument: ${JSON.stringify(text)}`);
    return { ServiceName, ...(datacenters !== undefined && { Datacenters: datacenters.split(',') }) };
  });
}

/** @throws CliError unless each is `NODE:DC`. */
export function parseNodeIdentities(texts: readonly string[] = []): readonly NodeIdentity[] {
  return texts.map((text) => {
    const [NodeName = '', Datacenter, more] = text.split(':');
    if (Datacenter === undefined || more !== undefined) {
      throw new CliError(`Malformed -node-identity argument: ${JSON.stringify(text)}`);
    }
    return { NodeName, Datacenter };
  });
}

/** `before` and what of `added` is not in it yet, compared by `keys` (any equal one, when both have it). */
export function mergeBy<T extends object>(
  before: readonly T[] | null | undefined,
  added: readonly T[],
  keys: readonly (keyof T)[],
): readonly T[] {
  const merged = [...(before ?? [])];
  for (const one of added) {
    const isThere = merged.some((other) => keys.some((key) => one[key] !== undefined && one[key] === other[key]));
    if (!isThere) merged.push(one);
  }
  return merged;
}

/** Grants as the flags of create and update give them, laid over what was there. */
export async function grantsOf(
  agent: AgentClient,
  values: {
    readonly 'policy-id'?: readonly string[];
    readonly 'policy-name'?: readonly string[];
    readonly 'service-identity'?: readonly string[];
    readonly 'node-identity'?: readonly string[];
  },
  before: Grants = {},
  merge: { readonly policies?: boolean; readonly services?: boolean; readonly nodes?: boolean } = {},
): Promise<Grants> {
  const services = parseServiceIdentities(values['service-identity']);
  const nodes = parseNodeIdentities(values['node-identity']);
  const policies = await linksOf(agent, aclKinds.policy, values['policy-name'], values['policy-id']);
  const { Policies, ServiceIdentities, NodeIdentities } = before;
  return {
    Policies: merge.policies ? mergeBy(Policies, policies, ['ID', 'Name']) : policies,
    ServiceIdentities: merge.services ? mergeIdentities(ServiceIdentities, services) : services,
    NodeIdentities: merge.nodes ? mergeIdentities(NodeIdentities, nodes) : nodes,
  };
}

function mergeIdentities<T>(before: readonly T[] | null | undefined, added: readonly T[]): readonly T[] {
  const known = new Set((before ?? []).map((one) => JSON.stringify(one)));
  return [...(before ?? []), ...added.filter((one) => !known.has(JSON.stringify(one)))];
}

/**
 * Rules of a legacy token: by its secret, or by its accessor ID or the beginning of that.
 * @throws Error when it is no legacy token.
 */
export async function legacyRules(agent: AgentClient, text: string, isSecret: boolean): Promise<string> {
  const { Rules } = isSecret
    ? await agent.json<{ Rules?: string }>('GET', '/v1/acl/token/self', { headers: { 'X-Consul-Token': text } })
    : await agent.json<{ Rules?: string }>('GET', `/v1/acl/token/${await idFromPrefix(agent, aclKinds.token, text)}`);
  if (!Rules) throw new Error('Token is not a legacy token with rules');
  return translateRules(agent, Rules);
}

/** Legacy rules in the syntax of policies. @throws Error that says where they are wrong. */
export async function translateRules(agent: AgentClient, rules: string): Promise<string> {
  try {
    return (await agent.ok('POST', '/v1/acl/rules/translate', { body: rules })).body.toString('utf8');
  } catch (error) {
    if (!(error instanceof UnexpectedResponseError && error.status === 400)) throw error;
    throw new Error(error.text.replace(/^Bad request: /, ''), { cause: error });
  }
}

/** What the API answers, undefined for 404. */
export async function orMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof UnexpectedResponseError && error.status === 404) return undefined;
    throw error;
  }
}
