/**
 * `PreparedQuery.*`: stored look-ups (reference/server-rpc.md §4.10). What a query may say is checked here, before the
 * log; names, sessions and templates by the state, which alone knows them.
 */
import { GoDurationError, parseGoDuration } from '../codec/index.ts';
import {
  CallError,
  hiddenQueryToken,
  metaProblem,
  type PreparedQuery,
  type PreparedQueryExecuteReply,
  type PreparedQueryExecuteRequest,
  preparedQueryOps,
  queryNotFound,
  type QuerySource,
  type ServiceQuery,
} from '../model/index.ts';
import { type Random, shuffled } from '../ports/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';
import { sortNear } from './near.ts';
import { failOver, type OtherDatacenters } from './query-failover.ts';
import { hasPairs, metaPairs } from './selection.ts';

const applySample: readonly string[] = ['prepared-query', 'apply'];
const executeSample: readonly string[] = ['prepared-query', 'execute'];
const explainSample: readonly string[] = ['prepared-query', 'explain'];
const executeRemoteSample: readonly string[] = ['prepared-query', 'execute_remote'];
/** How far down the asked-for node is looked for, to be put first: sorted by distance it is not further. */
const ownPlaceMax = 10;

type PreparedQueryMethod =
  | 'PreparedQuery.Apply'
  | 'PreparedQuery.Get'
  | 'PreparedQuery.List'
  | 'PreparedQuery.Explain'
  | 'PreparedQuery.Execute'
  | 'PreparedQuery.ExecuteRemote';

export function preparedQueryHandlers(
  endpoint: Endpoint,
  { random, others }: { readonly random: Random; readonly others: OtherDatacenters },
): Handlers<PreparedQueryMethod> {
  const { store, queries, log, datacenter } = endpoint;

  const resolve = (request: PreparedQueryExecuteRequest): PreparedQuery => {
    if (request.QueryIDOrName === '') throw new CallError('Missing Query ID');
    const query = store.queries.resolve(request.QueryIDOrName, request.Agent.Segment ?? '');
    if (query === undefined) throw new CallError(queryNotFound);
    return query;
  };

  /** The instances here that the query is after, in random order. */
  const executeHere = (query: PreparedQuery, forceConnect: boolean): PreparedQueryExecuteReply => {
    const { Service, Connect } = query.Service;
    const { result } = Connect || forceConnect ? store.connectHealth(Service) : store.serviceHealth(Service);
    return {
      ...queryMeta(endpoint, 0),
      Service,
      Nodes: shuffled(result.filter(selects(query.Service)), random),
      DNS: query.DNS,
      Datacenter: datacenter,
      Failovers: 0,
    };
  };

  /** Where the result is sorted from: the client's wish, else the query's; the special names are put in. */
  const sourceOf = (query: PreparedQuery, { Source, Agent }: PreparedQueryExecuteRequest): QuerySource => {
    const Datacenter = Source?.Datacenter || Agent.Datacenter;
    const node = Source?.Node || query.Service.Near;
    if (node === '_agent') return { Datacenter, Node: Agent.Node };
    if (node !== '_ip') return { Datacenter, Node: node };
    const ip = Source?.Ip ?? '';
    const found = ip === '' ? undefined : store.nodes().result.find(({ Address }) => Address === ip);
    return { Datacenter, Node: found?.Node ?? '' };
  };

  return {
    'PreparedQuery.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      const { Op } = request;
      let { Query } = request;
      if (Op === 'create') {
        if (Query.ID !== '') throw new CallError('ID must be empty when creating a new prepared query');
        Query = { ...Query, ID: freshId(random, (id) => store.queries.get(id).result !== undefined) };
      } else requireExisting(Query.ID);
      if (!(preparedQueryOps as readonly string[]).includes(Op)) {
        throw new CallError(`Unknown prepared query operation: ${Op as string}`);
      }
      const problem = Op === 'delete' ? null : queryProblem(Query);
      if (problem !== null) throw new CallError(`Invalid prepared query: ${problem}`);
      await timed(endpoint, applySample, () => log.propose({ type: 'PreparedQuery', request: { ...request, Query } }));
      return Query.ID;
    },
    'PreparedQuery.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.queries.get(request.QueryID, watch);
          if (result === undefined) throw new CallError(queryNotFound);
          return { ...queryMeta(endpoint, index), Queries: [result] };
        },
        signal,
      );
    },
    'PreparedQuery.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.queries.list(watch);
          return { ...queryMeta(endpoint, index), Queries: result };
        },
        signal,
      );
    },
    // oxlint-disable-next-line require-await -- as all calls it rejects; nothing here waits
    'PreparedQuery.Explain': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, explainSample, () =>
        Promise.resolve({ ...queryMeta(endpoint, 0), Query: resolve(request) }),
      );
    },
    'PreparedQuery.Execute': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, executeSample, async () => {
        const query = resolve(request);
        const reply = executeHere(query, request.Connect ?? false);
        if (reply.Nodes.length === 0) return await failOver(query, reply, request, others);
        const source = sourceOf(query, request);
        const sorted = sortNear(reply.Nodes, ({ Node }) => Node.Node, source, datacenter, endpoint.distancesFrom);
        const own = source.Datacenter === datacenter ? withFirst(sorted, source.Node) : sorted;
        return { ...reply, Nodes: limited(own, request.Limit) };
      });
    },
    // oxlint-disable-next-line require-await -- as all calls it rejects; nothing here waits
    'PreparedQuery.ExecuteRemote': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, executeRemoteSample, () => {
        const reply = executeHere(request.Query, request.Connect ?? false);
        return Promise.resolve({ ...reply, Nodes: limited(reply.Nodes, request.Limit) });
      });
    },
  };

  function requireExisting(id: string): void {
    let found: PreparedQuery | undefined;
    try {
      found = store.queries.get(id).result;
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      throw new CallError(`Prepared Query lookup failed: ${error.message}`, { cause: error });
    }
    if (found === undefined) throw new CallError(`Cannot modify non-existent prepared query: '${id}'`);
  }
}

/** An id nobody has. */
function freshId(random: Random, isTaken: (id: string) => boolean): string {
  for (;;) {
    const id = random.uuid();
    if (!isTaken(id)) return id;
  }
}

/** What is wrong with a query to be stored, in the peer's words and order; null when nothing is. */
function queryProblem({ Name, Session, Template, Token, Service, DNS }: PreparedQuery): string | null {
  if (Name === '' && Session === '' && Template.Type === '') return 'Must be bound to a session';
  if (Token === hiddenQueryToken) {
    return `Bad Token '${Token}', it looks like a query definition with a redacted token was submitted`;
  }
  if (Service.Service === '') return 'Must provide a Service name to query';
  if (Service.Failover.NearestN < 0) return `Bad NearestN '${Service.Failover.NearestN}', must be >= 0`;
  const badMeta =
    metaProblem(Service.NodeMeta ?? {}, { reserved: true }) ??
    metaProblem(Service.ServiceMeta ?? {}, { reserved: true });
  if (badMeta !== null) return badMeta;
  if (DNS.TTL === '') return null;
  try {
    const ttlNs = parseGoDuration(DNS.TTL);
    return ttlNs < 0 ? `DNS TTL '${ttlNs}', must be >=0` : null;
  } catch (error) {
    if (!(error instanceof GoDurationError)) throw error;
    return `Bad DNS TTL '${DNS.TTL}': ${error.message}`;
  }
}

type Instance = PreparedQueryExecuteReply['Nodes'][number];

/** Whether an instance is healthy and has the tags and metadata the query asks for. */
function selects(query: ServiceQuery): (instance: Instance) => boolean {
  const ignored = new Set(query.IgnoreCheckIDs);
  const unwanted = query.OnlyPassing
    ? (status: string) => status !== 'passing'
    : (status: string) => status === 'critical';
  const tags = (query.Tags ?? []).map((tag) => tag.toLowerCase());
  const without = tags.filter((tag) => tag.startsWith('!')).map((tag) => tag.slice(1));
  const wanted = tags.filter((tag) => !tag.startsWith('!'));
  const nodeMeta = metaPairs(query.NodeMeta) ?? [];
  const serviceMeta = metaPairs(query.ServiceMeta) ?? [];
  return ({ Node, Service, Checks }) => {
    if (Checks.some(({ CheckID, Status }) => unwanted(Status) && !ignored.has(CheckID))) return false;
    const own = new Set((Service.Tags ?? []).map((tag) => tag.toLowerCase()));
    return (
      wanted.every((tag) => own.has(tag)) &&
      !without.some((tag) => own.has(tag)) &&
      (nodeMeta.length === 0 || hasPairs(Node.Meta, nodeMeta)) &&
      (serviceMeta.length === 0 || hasPairs(Service.Meta, serviceMeta))
    );
  };
}

/** The instance on the node changes places with the first: others at the same distance must not come before it. */
function withFirst(instances: readonly Instance[], node: string): readonly Instance[] {
  const at = node === '' ? -1 : instances.slice(0, ownPlaceMax).findIndex(({ Node }) => Node.Node === node);
  if (at <= 0) return instances;
  const result = instances.slice();
  [result[0], result[at]] = [result[at]!, result[0]!];
  return result;
}

function limited<T>(items: readonly T[], limit = 0): readonly T[] {
  return limit > 0 ? items.slice(0, limit) : items;
}
