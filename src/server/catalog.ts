/** `Catalog.*`: registration, and what is registered (reference/server-rpc.md §4.3). */
import {
  CallError,
  nodeFilterFields,
  type NodeService,
  nodeServiceFilterFields,
  serviceNodeFilterFields,
} from '../model/index.ts';
import { meshNodes } from '../state/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';
import { sortNear } from './near.ts';
import { validatedRegister } from './register-validation.ts';
import { filterOf, hasPairs, hasTags, metaPairs, select } from './selection.ts';

const registerSample: readonly string[] = ['catalog', 'register'];
const deregisterSample: readonly string[] = ['catalog', 'deregister'];
const queryCounter: readonly string[] = ['catalog', 'service', 'query'];
const tagsCounter: readonly string[] = ['catalog', 'service', 'query-tags'];

type CatalogCall =
  | 'Catalog.Register'
  | 'Catalog.Deregister'
  | 'Catalog.ListDatacenters'
  | 'Catalog.ListNodes'
  | 'Catalog.ListServices'
  | 'Catalog.ServiceNodes'
  | 'Catalog.NodeServices'
  | 'Catalog.NodeServiceList';

export function catalogHandlers(endpoint: Endpoint): Handlers<CatalogCall> {
  return { ...writeHandlers(endpoint), ...listHandlers(endpoint), ...nodeHandlers(endpoint) };
}

function writeHandlers(endpoint: Endpoint): Handlers<'Catalog.Register' | 'Catalog.Deregister'> {
  const { log } = endpoint;
  return {
    'Catalog.Register': async (request) => {
      requireDatacenter(endpoint, request);
      const valid = validatedRegister(request);
      return await timed(endpoint, registerSample, () => log.propose({ type: 'Register', request: valid }));
    },
    'Catalog.Deregister': async (request) => {
      requireDatacenter(endpoint, request);
      if (!request.Node) throw new CallError('Must provide node');
      return await timed(endpoint, deregisterSample, () => log.propose({ type: 'Deregister', request }));
    },
  };
}

function listHandlers(
  endpoint: Endpoint,
): Handlers<'Catalog.ListDatacenters' | 'Catalog.ListNodes' | 'Catalog.ListServices' | 'Catalog.ServiceNodes'> {
  const { store, queries, metrics, datacenter, distancesFrom } = endpoint;
  return {
    'Catalog.ListDatacenters': () => Promise.resolve([datacenter]),
    'Catalog.ListNodes': (request, signal) => {
      requireDatacenter(endpoint, request);
      const filter = filterOf(request.Filter, nodeFilterFields);
      const pairs = metaPairs(request.NodeMetaFilters);
      const key = filter || pairs ? JSON.stringify([pairs, request.Filter]) : '';
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodes(watch);
          const nodes = select(
            result,
            key,
            (node) => (!pairs || hasPairs(node.Meta, pairs)) && (!filter || filter(node)),
          );
          return {
            ...queryMeta(endpoint, index),
            Nodes: sortNear(nodes, (node) => node.Node, request.Source, datacenter, distancesFrom),
          };
        },
        signal,
      );
    },
    'Catalog.ListServices': (request, signal) => {
      requireDatacenter(endpoint, request);
      const pairs = metaPairs(request.NodeMetaFilters);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.services(watch, pairs && ((node) => hasPairs(node.Meta, pairs)));
          return { ...queryMeta(endpoint, index), Services: result };
        },
        signal,
      );
    },
    'Catalog.ServiceNodes': (request, signal) => {
      requireDatacenter(endpoint, request);
      const { ServiceName: name, ServiceAddress: address = '', Connect = false } = request;
      if (name === '' && address === '') throw new CallError('Must provide service name');
      if (name !== '') {
        const service = { name: 'service', value: name };
        metrics.count(queryCounter, 1, [service]);
        for (const tag of (request.TagFilter && request.ServiceTags) || []) {
          metrics.count(tagsCounter, 1, [service, { name: 'tag', value: tag }]);
        }
      }
      const tags = request.TagFilter && !Connect ? (request.ServiceTags ?? []) : [];
      const filter = filterOf(request.Filter, serviceNodeFilterFields);
      const pairs = metaPairs(request.NodeMetaFilters);
      const key = tags.length > 0 || pairs || filter ? JSON.stringify([tags, pairs, request.Filter]) : '';
      return queries.run(
        request,
        (watch) => {
          const { index, result } =
            address !== ''
              ? store.servicesAtAddress(address, watch)
              : Connect
                ? meshNodes(store, name, watch)
                : store.serviceNodes(name, watch);
          const rows = select(
            result,
            key,
            (row) =>
              hasTags(row.ServiceTags, tags) && (!pairs || hasPairs(row.NodeMeta, pairs)) && (!filter || filter(row)),
          );
          return {
            ...queryMeta(endpoint, index),
            ServiceNodes: sortNear(rows, (row) => row.Node, request.Source, datacenter, distancesFrom),
          };
        },
        signal,
      );
    },
  };
}

function nodeHandlers(endpoint: Endpoint): Handlers<'Catalog.NodeServices' | 'Catalog.NodeServiceList'> {
  const { store, queries } = endpoint;
  return {
    'Catalog.NodeServices': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.Node === '') throw new CallError('Must provide node');
      const filter = filterOf(request.Filter, nodeServiceFilterFields);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeServices(request.Node, watch);
          const NodeServices = result && {
            Node: result.node,
            Services: filter === undefined ? result.map : byId(select(result.list, request.Filter!, filter)),
          };
          return { ...queryMeta(endpoint, index), NodeServices };
        },
        signal,
      );
    },
    'Catalog.NodeServiceList': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.Node === '') throw new CallError('Must provide node');
      const filter = filterOf(request.Filter, nodeServiceFilterFields);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeServices(request.Node, watch);
          const NodeServices =
            result === null
              ? { Node: null, Services: null }
              : {
                  Node: result.node,
                  Services: filter === undefined ? result.list : select(result.list, request.Filter!, filter),
                };
          return { ...queryMeta(endpoint, index), NodeServices };
        },
        signal,
      );
    },
  };
}

function byId(services: readonly NodeService[]): Readonly<Record<string, NodeService>> {
  return Object.fromEntries(services.map((service) => [service.ID, service]));
}
