/** `ConfigEntry.*`: settings for the whole datacenter (reference/server-rpc.md §4.14). */
import {
  CallError,
  configEntryProblem,
  type ConfigEntryRequest,
  type ConfigEntryKind,
  type ConfigEntryOf,
  isConfigEntryKind,
  normalConfigEntry,
  type QueryMeta,
  type ServiceConfigRequest,
  type ServiceConfigResponse,
} from '../model/index.ts';
import type { StateStore } from '../state/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';

/** The one name that this kind of entry can have. */
const proxyDefaultsName = 'global';
const applySample: readonly string[] = ['config_entry', 'apply'];
const deleteSample: readonly string[] = ['config_entry', 'delete'];

type Calls =
  | 'ConfigEntry.Apply'
  | 'ConfigEntry.Delete'
  | 'ConfigEntry.Get'
  | 'ConfigEntry.List'
  | 'ConfigEntry.ListAll'
  | 'ConfigEntry.ResolveServiceConfig';

export function configEntryHandlers(endpoint: Endpoint): Handlers<Calls> {
  const { store, queries, log } = endpoint;
  return {
    'ConfigEntry.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      const Entry = normalConfigEntry(request.Entry);
      const problem = configEntryProblem(Entry);
      if (problem !== null) throw new CallError(problem);
      // Whatever is neither of the two is taken as the first.
      const Op = request.Op === 'upsert-cas' ? 'upsert-cas' : 'upsert';
      const command: ConfigEntryRequest = { ...request, Op, Entry };
      const propose = async () => (await log.propose({ type: 'ConfigEntry', request: command })) ?? false;
      return await timed(endpoint, applySample, propose);
    },
    'ConfigEntry.Delete': async (request) => {
      requireDatacenter(endpoint, request);
      const Entry = normalConfigEntry(request.Entry);
      return await timed(endpoint, deleteSample, async () => {
        await log.propose({ type: 'ConfigEntry', request: { ...request, Op: 'delete', Entry } });
        return null;
      });
    },
    'ConfigEntry.Get': (request, signal) => {
      requireDatacenter(endpoint, request);
      requireKind(request.Kind);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.configEntries.get(request.Kind, request.Name ?? '', watch);
          return { ...queryMeta(endpoint, index), Entry: result ?? null };
        },
        signal,
      );
    },
    'ConfigEntry.List': (request, signal) => {
      requireDatacenter(endpoint, request);
      if (request.Kind !== '') requireKind(request.Kind);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.configEntries.list(request.Kind, watch);
          return { ...queryMeta(endpoint, index), Kind: request.Kind, Entries: result };
        },
        signal,
      );
    },
    'ConfigEntry.ListAll': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, result } = store.configEntries.list('', watch);
          return { ...queryMeta(endpoint, index), Entries: result };
        },
        signal,
      );
    },
    'ConfigEntry.ResolveServiceConfig': (request, signal) => {
      requireDatacenter(endpoint, request);
      return queries.run(
        request,
        (watch) => {
          const { index, config } = resolveServiceConfig(store, request, watch);
          return { ...queryMeta(endpoint, Math.max(1, index)), ...config };
        },
        signal,
      );
    },
  };
}

type ServiceConfig = Omit<ServiceConfigResponse, keyof QueryMeta>;

/**
 * What config entries say of a service's proxy: the defaults for all proxies, over them those of the service, and the
 * protocol of each upstream.
 */
function resolveServiceConfig(
  store: StateStore,
  { Name, Upstreams, UpstreamIDs }: ServiceConfigRequest,
  watch: string[] | undefined,
): { readonly index: number; readonly config: ServiceConfig } {
  let index = 0;
  const entry = <K extends ConfigEntryKind>(kind: K, name: string): ConfigEntryOf<K> | undefined => {
    const found = store.configEntries.get(kind, name, watch);
    index = Math.max(index, found.index);
    // The table keeps entries by kind.
    return found.result as ConfigEntryOf<K> | undefined;
  };
  const proxy = entry('proxy-defaults', proxyDefaultsName);
  const service = entry('service-defaults', Name);
  const upstreamConfig = (name: string): Readonly<Record<string, unknown>> | undefined => {
    const protocol = entry('service-defaults', name)?.Protocol || proxy?.Config?.['protocol'];
    return protocol ? { protocol } : undefined;
  };
  const named = (Upstreams ?? []).flatMap((name) => {
    const config = upstreamConfig(name);
    return config === undefined ? [] : [[name, config] as const];
  });
  const identified = (UpstreamIDs ?? []).flatMap((Upstream) => {
    const Config = upstreamConfig(Upstream.ID);
    return Config === undefined ? [] : [{ Upstream, Config }];
  });
  const ProxyConfig = { ...proxy?.Config, ...(service?.Protocol ? { protocol: service.Protocol } : {}) };
  return {
    index,
    config: {
      ProxyConfig: Object.keys(ProxyConfig).length === 0 ? null : ProxyConfig,
      UpstreamConfigs: named.length === 0 ? null : Object.fromEntries(named),
      UpstreamIDConfigs: identified.length === 0 ? null : identified,
      MeshGateway: service?.MeshGateway?.Mode ? service.MeshGateway : (proxy?.MeshGateway ?? {}),
      Expose: service?.Expose?.Checks || service?.Expose?.Paths?.length ? service.Expose : (proxy?.Expose ?? {}),
    },
  };
}

function requireKind(kind: string): void {
  if (!isConfigEntryKind(kind)) throw new CallError(`invalid config entry kind: ${kind}`);
}
