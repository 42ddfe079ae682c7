/**
 * The links between gateways and the services behind them. They follow from the gateways' config entries and, for `*`,
 * from the catalog; they are made when asked for, so there is nothing to keep in step (reference/raft.md §6.8).
 */
import {
  type CheckServiceNode,
  type ConfigEntryOf,
  type GatewayService,
  type ServiceNode,
  wildcard,
} from '../model/index.ts';
import type { Answer, StateStore } from './store.ts';

type WatchList = string[] | undefined;
type GatewayKind = GatewayService['GatewayKind'];
type Gateway = ConfigEntryOf<GatewayKind>;
type Link = Omit<GatewayService, 'Service' | 'FromWildcard'>;

/** The servers' own service is behind no gateway. */
const serverService = 'consul';

/** Services behind a gateway by name, then port; an empty list when it has no config entry. */
export function gatewayServices(store: StateStore, name: string, watch?: WatchList): Answer<readonly GatewayService[]> {
  const { configEntries } = store;
  const ingress = configEntries.get('ingress-gateway', name, watch);
  const terminating = configEntries.get('terminating-gateway', name, watch);
  const gateway = (ingress.result ?? terminating.result) as Gateway | undefined;
  const byName = gateway === undefined ? [] : links(gateway);
  const named = new Set(byName.map(([service]) => service));
  let index = ingress.index;
  const expanded = byName.flatMap(([service, link]): GatewayService[] => {
    if (service !== wildcard) return [{ ...link, Service: { Name: service } }];
    const everything = store.services(watch);
    index = Math.max(index, everything.index);
    return Object.keys(everything.result)
      .filter((one) => one !== serverService && !named.has(one) && isOrdinary(store, one))
      .map((one) => ({ ...link, Service: { Name: one }, FromWildcard: true }));
  });
  return { index, result: expanded.sort(compareLinks) };
}

function compareLinks(a: GatewayService, b: GatewayService): number {
  if (a.Service.Name !== b.Service.Name) return a.Service.Name < b.Service.Name ? -1 : 1;
  return (a.Port ?? 0) - (b.Port ?? 0);
}

function links(gateway: Gateway): readonly (readonly [service: string, link: Link])[] {
  const base = {
    Gateway: { Name: gateway.Name },
    GatewayKind: gateway.Kind,
    CreateIndex: gateway.CreateIndex,
    ModifyIndex: gateway.ModifyIndex,
  };
  if (gateway.Kind === 'terminating-gateway') {
    return (gateway.Services ?? []).map(({ Name = '', ...tls }) => [Name, { ...base, ...tls }]);
  }
  return (gateway.Listeners ?? []).flatMap(({ Port = 0, Protocol = 'tcp', Services = [] }) => {
    // A service may be named twice; the last counts.
    const byName = Services.map(
      ({ Name = '', Hosts }) => [Name, { ...base, Port, Protocol, ...(Hosts === undefined ? {} : { Hosts }) }] as const,
    );
    return [...new Map(byName)];
  });
}

/** Whether a service is no proxy or gateway itself. */
function isOrdinary(store: StateStore, service: string): boolean {
  return store.serviceNodes(service).result.some(({ ServiceKind }) => ServiceKind === '');
}

/** Names of the gateways of a kind that a service is behind. */
function gatewaysOf(store: StateStore, kind: GatewayKind, service: string): readonly string[] {
  return store.configEntries
    .ofKind(kind)
    .filter((gateway) => {
      const names = links(gateway).map(([name]) => name);
      const byWildcard = names.includes(wildcard) && service !== serverService && isOrdinary(store, service);
      return names.includes(service) || byWildcard;
    })
    .map(({ Name }) => Name);
}

/** Instances of the ingress gateways that let requests to the service in. */
export function ingressHealth(
  store: StateStore,
  service: string,
  watch?: WatchList,
): Answer<readonly CheckServiceNode[]> {
  const index = store.configEntries.index(watch);
  return withInstances({ index, result: [] }, gatewaysOf(store, 'ingress-gateway', service), (name) => {
    const { index: of, result } = store.serviceHealth(name, watch);
    return { index: of, result: result.filter(({ Service }) => Service.Kind === 'ingress-gateway') };
  });
}

/** What speaks for the service in the mesh: its proxies and native instances, and terminating gateways before it. */
export function meshHealth(store: StateStore, service: string, watch?: WatchList): Answer<readonly CheckServiceNode[]> {
  store.configEntries.index(watch);
  const own = store.connectHealth(service, watch);
  return withInstances(own, gatewaysOf(store, 'terminating-gateway', service), (name) => {
    const { index, result } = store.serviceHealth(name, watch);
    return { index, result: result.filter(({ Service }) => Service.Kind === 'terminating-gateway') };
  });
}

/** {@link meshHealth} as the catalog lists instances. */
export function meshNodes(store: StateStore, service: string, watch?: WatchList): Answer<readonly ServiceNode[]> {
  store.configEntries.index(watch);
  const own = store.connectNodes(service, watch);
  return withInstances(own, gatewaysOf(store, 'terminating-gateway', service), (name) => {
    const { index, result } = store.serviceNodes(name, watch);
    return { index, result: result.filter(({ ServiceKind }) => ServiceKind === 'terminating-gateway') };
  });
}

function withInstances<T>(
  own: Answer<readonly T[]>,
  gateways: readonly string[],
  instancesOf: (gateway: string) => Answer<readonly T[]>,
): Answer<readonly T[]> {
  if (gateways.length === 0) return own;
  const answers = gateways.map(instancesOf);
  return {
    index: Math.max(own.index, ...answers.map(({ index }) => index)),
    result: [...own.result, ...answers.flatMap(({ result }) => result)],
  };
}

/** Every instance of every service, by service name; of one kind when `kind` is given. */
export function serviceDump(
  store: StateStore,
  kind: string | undefined,
  watch?: WatchList,
): Answer<readonly CheckServiceNode[]> {
  const index = store.nodeDump(watch).index;
  const all = Object.keys(store.services().result).flatMap((name) => store.serviceHealth(name).result);
  return { index, result: kind === undefined ? all : all.filter(({ Service }) => Service.Kind === kind) };
}
