/**
 * An intention says who may talk to whom through the mesh: source service, destination service, allow or deny. The most
 * exact one that fits decides (reference/http-api.md §9.9, reference/server-rpc.md §4.12).
 */
import type { RaftIndex } from './catalog.ts';
import type { DCRequest, DCSpecificRequest, QueryMeta, WriteRequest } from './query.ts';

/** Stands for every name, and for every namespace. */
export const wildcard = '*';
/** The only namespace there is here. */
export const defaultNamespace = 'default';

export interface Intention extends RaftIndex {
  /** UUID, made by the leader. */
  readonly ID: string;
  readonly Description: string;
  readonly SourceNS: string;
  readonly SourceName: string;
  readonly DestinationNS: string;
  readonly DestinationName: string;
  /** Always `consul`. */
  readonly SourceType: string;
  readonly Action: string;
  /** No longer used, but on the wire. */
  readonly DefaultAddr: string;
  readonly DefaultPort: number;
  readonly Meta: Readonly<Record<string, string>> | null;
  /** See {@link intentionPrecedence}. */
  readonly Precedence: number;
  /** RFC 3339. */
  readonly CreatedAt: string;
  readonly UpdatedAt: string;
  /** BLAKE2b-256 of what it says (reference/raft.md §4.3). */
  readonly Hash: Uint8Array;
}

export interface IntentionRequest extends WriteRequest {
  readonly Op: 'create' | 'update' | 'delete';
  /** What is left out has its zero value; `delete` looks at the ID only. */
  readonly Intention: Partial<Intention>;
}

export interface IntentionMatchEntry {
  readonly Namespace: string;
  readonly Name: string;
}

export interface IntentionQueryRequest extends DCRequest {
  readonly IntentionID?: string;
  readonly Match?: {
    readonly Type: 'source' | 'destination';
    readonly Entries: readonly IntentionMatchEntry[];
  } | null;
  readonly Check?: {
    readonly SourceNS: string;
    readonly SourceName: string;
    readonly DestinationNS: string;
    readonly DestinationName: string;
    readonly SourceType: string;
  } | null;
}

type IndexedIntentions = QueryMeta & { readonly Intentions: readonly Intention[] };

export interface IntentionCalls {
  /** The ID of a new intention; "" for the others. */
  'Intention.Apply': { request: IntentionRequest; reply: string };
  'Intention.Get': { request: IntentionQueryRequest; reply: IndexedIntentions };
  'Intention.List': { request: DCSpecificRequest; reply: IndexedIntentions };
  /** One list per entry of the request, the most exact first; null where nothing fits. */
  'Intention.Match': {
    request: IntentionQueryRequest;
    reply: QueryMeta & { readonly Matches: readonly (readonly Intention[] | null)[] };
  };
  'Intention.Check': { request: IntentionQueryRequest; reply: { readonly Allowed: boolean } };
}

type Ends = Pick<Intention, 'SourceNS' | 'SourceName' | 'DestinationNS' | 'DestinationName'>;

/** How many of namespace and name are exact: 0, 1 or 2. A name behind any namespace cannot be. */
function exactness(namespace: string, name: string): number {
  if (namespace === wildcard) return 0;
  return name === wildcard ? 1 : 2;
}

/** 1 to 9, the higher the more exact: the destination decides, then the source (reference/raft.md §6.8). */
export function intentionPrecedence(ends: Ends): number {
  const destination = 3 * (exactness(ends.DestinationNS, ends.DestinationName) + 1);
  return destination - (2 - exactness(ends.SourceNS, ends.SourceName));
}

/** The order in which intentions are listed and tried: the most exact first, then by their ends. */
export function compareIntentions(a: Intention, b: Intention): number {
  return b.Precedence - a.Precedence || compareEnds(a, b);
}

function compareEnds(a: Ends, b: Ends): number {
  for (const field of ['SourceNS', 'SourceName', 'DestinationNS', 'DestinationName'] as const) {
    if (a[field] !== b[field]) return a[field] < b[field] ? -1 : 1;
  }
  return 0;
}

/** Whether the intention is about this source; then its action decides. */
export function intentionCoversSource(intention: Intention, namespace: string, name: string): boolean {
  return (
    intention.SourceType === 'consul' &&
    (intention.SourceNS === wildcard || intention.SourceNS === namespace) &&
    (intention.SourceName === wildcard || intention.SourceName === name)
  );
}

/** As people read it: `ALLOW default/web => default/db (ID: …, Precedence: 9)`. */
export function intentionText(intention: Intention): string {
  const { SourceNS, SourceName, DestinationNS, DestinationName, ID, Precedence } = intention;
  const ends = `${SourceNS}/${SourceName} => ${DestinationNS}/${DestinationName}`;
  return `${intention.Action.toUpperCase()} ${ends} (ID: ${ID}, Precedence: ${Precedence})`;
}

/** Longest description and longest value in Meta, bytes. */
const textBytesMax = 512;
const metaPairsMax = 64;
const metaKeyBytesMax = 128;

/** What is wrong with the intention, each in the peer's words; empty when it can be stored. */
export function intentionProblems(
  intention: Ends & Pick<Intention, 'Description' | 'Meta' | 'Action' | 'SourceType'>,
): string[] {
  const problems: string[] = [];
  for (const field of ['SourceNS', 'SourceName', 'DestinationNS', 'DestinationName'] as const) {
    if (intention[field] === '') problems.push(`${field} must be set`);
  }
  for (const end of ['Source', 'Destination'] as const) {
    const namespace = intention[`${end}NS`];
    const name = intention[`${end}Name`];
    const partial = (text: string): boolean => text !== wildcard && text.includes(wildcard);
    if (partial(namespace)) problems.push(`${end}NS: wildcard character '*' cannot be used with partial values`);
    if (partial(name)) problems.push(`${end}Name: wildcard character '*' cannot be used with partial values`);
    if (name !== wildcard && namespace === wildcard) {
      problems.push(`${end}Name: exact value cannot follow wildcard namespace`);
    }
  }
  if (Buffer.byteLength(intention.Description) > textBytesMax) {
    problems.push(`Description exceeds maximum length ${textBytesMax}`);
  }
  const pairs = Object.entries(intention.Meta ?? {});
  if (pairs.length > metaPairsMax) problems.push(`Meta exceeds maximum element count ${metaPairsMax}`);
  for (const [key, value] of pairs) {
    if (Buffer.byteLength(key) > metaKeyBytesMax) {
      problems.push(`Meta key ${JSON.stringify(key)} exceeds maximum length ${metaKeyBytesMax}`);
    }
    if (Buffer.byteLength(value) > textBytesMax) {
      problems.push(`Meta value for key ${JSON.stringify(key)} exceeds maximum length ${textBytesMax}`);
    }
  }
  if (intention.Action !== 'allow' && intention.Action !== 'deny') {
    problems.push("Action must be set to 'allow' or 'deny'");
  }
  if (intention.SourceType !== 'consul') problems.push("SourceType must be set to 'consul'");
  return problems;
}
