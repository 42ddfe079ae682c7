/** `Health.*`: checks, and instances with the checks that concern them (reference/server-rpc.md §4.4). */
import {
  CallError,
  checkServiceNodeFilterFields,
  type DCSpecificRequest,
  type HealthCheck,
  healthCheckFilterFields,
} from '../model/index.ts';
import { ingressHealth, meshHealth } from '../state/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';
import { sortNear } from './near.ts';
import { filterOf, hasPairs, hasTags, metaPairs, select } from './selection.ts';

const queryCounter: readonly string[] = ['health', 'service', 'query'];
const tagsCounter: readonly string[] = ['health', 'service', 'query-tags'];

export function healthHandlers(
  endpoint: Endpoint,
): Handlers<'Health.ChecksInState' | 'Health.NodeChecks' | 'Health.ServiceChecks' | 'Health.ServiceNodes'> {
  const { store, queries, metrics } = endpoint;

  /** Narrows a list of checks; their nodes' metadata is not part of them, so nothing may be kept for it. */
  const narrowed = (request: DCSpecificRequest): ((checks: readonly HealthCheck[]) => readonly HealthCheck[]) => {
    const filter = filterOf(request.Filter, healthCheckFilterFields);
    const pairs = metaPairs(request.NodeMetaFilters);
    return (checks) => {
      const onNodes =
        pairs === undefined ? checks : checks.filter((check) => hasPairs(store.node(check.Node)?.Meta ?? null, pairs));
      const kept = filter === undefined ? onNodes : select(onNodes, request.Filter!, filter);
      return sortNear(kept, (check) => check.Node, request.Source, endpoint.datacenter, endpoint.distancesFrom);
    };
  };

  return {
    'Health.ChecksInState': (request, signal) => {
      requireDatacenter(endpoint, request);
      const narrow = narrowed(request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.checksInState(request.State, watch);
          return { ...queryMeta(endpoint, index), HealthChecks: narrow(result) };
        },
        signal,
      );
    },
    'Health.NodeChecks': (request, signal) => {
      requireDatacenter(endpoint, request);
      const narrow = narrowed(request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeChecks(request.Node, watch);
          return { ...queryMeta(endpoint, index), HealthChecks: narrow(result) };
        },
        signal,
      );
    },
    'Health.ServiceChecks': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.TagFilter) throw new CallError('Tag filtering is not supported');
      const narrow = narrowed(request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.serviceChecks(request.ServiceName, watch);
          return { ...queryMeta(endpoint, index), HealthChecks: narrow(result) };
        },
        signal,
      );
    },
    'Health.ServiceNodes': (request, signal) => {
      requireDatacenter(endpoint, request);
      const { ServiceName: name, Connect = false, Ingress = false } = request;
      if (name === '') throw new CallError('Must provide service name');
      const service = { name: 'service', value: name };
      metrics.count(queryCounter, 1, [service]);
      const tags = request.TagFilter && !Connect ? (request.ServiceTags ?? []) : [];
      for (const tag of tags) metrics.count(tagsCounter, 1, [service, { name: 'tag', value: tag }]);
      const filter = filterOf(request.Filter, checkServiceNodeFilterFields);
      const pairs = metaPairs(request.NodeMetaFilters);
      const key = tags.length > 0 || pairs || filter ? JSON.stringify([tags, pairs, request.Filter]) : '';
      return queries.run(
        request,
        (watch) => {
          const { index, result } = Connect
            ? meshHealth(store, name, watch)
            : Ingress && tags.length === 0
              ? ingressHealth(store, name, watch)
              : store.serviceHealth(name, watch);
          const rows = select(
            result,
            key,
            (row) =>
              hasTags(row.Service.Tags, tags) && (!pairs || hasPairs(row.Node.Meta, pairs)) && (!filter || filter(row)),
          );
          return {
            ...queryMeta(endpoint, index),
            Nodes: sortNear(rows, (row) => row.Node.Node, request.Source, endpoint.datacenter, endpoint.distancesFrom),
          };
        },
        signal,
      );
    },
  };
}
