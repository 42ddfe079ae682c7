/** `Internal.*`: nodes with everything on them, as the UI reads them (reference/server-rpc.md §4.9). */
import { nodeInfoFilterFields } from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';
import { filterOf, hasPairs, metaPairs, select } from './selection.ts';

export function internalHandlers(endpoint: Endpoint): Handlers<'Internal.NodeInfo' | 'Internal.NodeDump'> {
  const { store, queries } = endpoint;
  return {
    'Internal.NodeInfo': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeInfo(request.Node, watch);
          return { ...queryMeta(endpoint, index), Dump: result };
        },
        signal,
      );
    },
    'Internal.NodeDump': (request, signal) => {
      requireDatacenter(endpoint, request);
      const filter = filterOf(request.Filter, nodeInfoFilterFields);
      const pairs = metaPairs(request.NodeMetaFilters);
      const key = filter || pairs ? JSON.stringify(['dump', pairs, request.Filter]) : '';
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.nodeDump(watch);
          const Dump = select(
            result,
            key,
            (info) => (!pairs || hasPairs(info.Meta, pairs)) && (!filter || filter(info)),
          );
          return { ...queryMeta(endpoint, index), Dump };
        },
        signal,
      );
    },
  };
}
