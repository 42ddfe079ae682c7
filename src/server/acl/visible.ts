/** Which records a caller may see: one predicate per kind of record (reference/http-api.md §10). */
import type {
  CheckServiceNode,
  ConfigEntry,
  DirEntry,
  HealthCheck,
  Intention,
  NodeInfo,
  NodeService,
  PreparedQuery,
  ServiceNode,
  TxnResult,
} from '../../model/index.ts';
import { hiddenQueryToken } from '../../model/index.ts';
import type { Authorizer } from './authorizer.ts';

type Sees<T> = (authorizer: Authorizer) => (record: T) => boolean;

export const seesNode: Sees<{ readonly Node: string }> = (authorizer) => (record) =>
  authorizer.may('node:read', record.Node);

export const seesService: Sees<NodeService> = (authorizer) => (service) =>
  authorizer.may('service:read', service.Service);

export const seesServiceNode: Sees<ServiceNode> = (authorizer) => (row) =>
  authorizer.may('node:read', row.Node) && authorizer.may('service:read', row.ServiceName);

export const seesInstance: Sees<CheckServiceNode> = (authorizer) => (row) =>
  authorizer.may('node:read', row.Node.Node) && authorizer.may('service:read', row.Service.Service);

/** Checks of the node are seen with the node. */
export const seesCheck: Sees<HealthCheck> = (authorizer) => (check) =>
  authorizer.may('node:read', check.Node) &&
  (check.ServiceName === '' || authorizer.may('service:read', check.ServiceName));

export const seesEntry: Sees<DirEntry> = (authorizer) => (entry) => authorizer.may('key:read', entry.Key);

export const seesSession: Sees<{ readonly Node: string }> = (authorizer) => (session) =>
  authorizer.may('session:read', session.Node);

/** Both ends may see what is said about them. */
export const seesIntention: Sees<Intention> = (authorizer) => (intention) =>
  authorizer.may('intention:read', intention.SourceName) || authorizer.may('intention:read', intention.DestinationName);

/** What is meant for all proxies is no secret. */
export const seesConfigEntry: Sees<ConfigEntry> = (authorizer) => (entry) =>
  entry.Kind === 'proxy-defaults' || authorizer.may('service:read', entry.Name);

/** What a query is guarded by; null = knowing its ID is enough. */
export function queryName({ Name, Template }: PreparedQuery): string | null {
  return Name === '' && Template.Type === '' ? null : Name;
}

/** Queries without a name are for managers: others do not need a list to know their IDs. */
export const seesQuery: Sees<PreparedQuery> = (authorizer) => (query) => {
  if (authorizer.maySingle('acl:write')) return true;
  const name = queryName(query);
  return name !== null && authorizer.may('query:read', name);
};

/** A query's token is a secret for all but managers. */
export function withoutToken(authorizer: Authorizer, query: PreparedQuery): PreparedQuery {
  if (query.Token === '' || authorizer.maySingle('acl:write')) return query;
  return { ...query, Token: hiddenQueryToken };
}

export const seesTxnResult: Sees<TxnResult> = (authorizer) => (result) => {
  if ('KV' in result) return seesEntry(authorizer)(result.KV);
  if ('Node' in result) return seesNode(authorizer)(result.Node);
  if ('Service' in result) return seesService(authorizer)(result.Service);
  return seesCheck(authorizer)(result.Check);
};

/** Nodes that may be seen, with what may be seen on them. */
export function visibleDump(authorizer: Authorizer, dump: readonly NodeInfo[]): readonly NodeInfo[] {
  return authorizer.keep(dump, seesNode(authorizer)).map((info) => {
    const Services = authorizer.keep(info.Services, seesService(authorizer));
    const Checks = authorizer.keep(info.Checks, seesCheck(authorizer));
    return Services === info.Services && Checks === info.Checks ? info : { ...info, Services, Checks };
  });
}

/** The entries of a map whose values, or names, may be seen. */
export function visibleEntries<T>(
  map: Readonly<Record<string, T>>,
  sees: (value: T, name: string) => boolean,
): Readonly<Record<string, T>> {
  const all = Object.entries(map);
  const kept = all.filter(([name, value]) => sees(value, name));
  return kept.length === all.length ? map : Object.fromEntries(kept);
}
