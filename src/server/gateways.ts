/** Calls about gateways and about services as a whole, mostly for the UI (reference/server-rpc.md §4.3, §4.9). */
import { CallError, checkServiceNodeFilterFields, type ServiceInfo } from '../model/index.ts';
import { gatewayServices, serviceDump } from '../state/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';
import { filterOf } from './selection.ts';

export function gatewayHandlers(
  endpoint: Endpoint,
): Handlers<'Catalog.GatewayServices' | 'Internal.ServiceDump' | 'Internal.GatewayServiceDump'> {
  const { store, queries } = endpoint;
  return {
    'Catalog.GatewayServices': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = gatewayServices(store, request.ServiceName, watch);
          return { ...queryMeta(endpoint, index), Services: result };
        },
        signal,
      );
    },
    'Internal.ServiceDump': (request, signal) => {
      requireDatacenter(endpoint, request);
      const filter = filterOf(request.Filter, checkServiceNodeFilterFields);
      const kind = request.UseServiceKind === true ? (request.ServiceKind ?? '') : undefined;
      return queries.run(
        request,
        (watch) => {
          const { index, result } = serviceDump(store, kind, watch);
          return { ...queryMeta(endpoint, index), Nodes: filter === undefined ? result : result.filter(filter) };
        },
        signal,
      );
    },
    'Internal.GatewayServiceDump': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.ServiceName === '') throw new CallError('Must provide gateway name');
      return queries.run(
        request,
        (watch) => {
          const links = gatewayServices(store, request.ServiceName, watch);
          let { index } = links;
          const Dump = links.result.flatMap((link): ServiceInfo[] => {
            const instances = store.serviceHealth(link.Service.Name, watch);
            index = Math.max(index, instances.index);
            if (instances.result.length === 0) return [{ GatewayService: link }];
            return instances.result.map((instance) => ({ ...instance, GatewayService: link }));
          });
          return { ...queryMeta(endpoint, index), Dump };
        },
        signal,
      );
    },
  };
}
