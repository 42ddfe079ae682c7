/**
 * A discovery chain is the path of a request to a service as the config entries of all services involved lay it: first
 * one router, then splitters, at the end resolvers, each with the targets that answer. Compiling puts them together and
 * refuses what does not fit: protocols that differ, subsets that do not exist, circles (reference/server-rpc.md §4.12).
 */
import {
  CallError,
  type CompiledDiscoveryChain,
  type ConfigEntryKind,
  type ConfigEntryOf,
  defaultNamespace,
  type DiscoveryGraphNode,
  type DiscoveryRoute,
  type DiscoverySplit,
  type DiscoveryTarget,
  type MeshGatewayConfig,
  normalSplitWeight,
  proxyDefaultsName,
  type ServiceResolver,
} from '../model/index.ts';

/** Finds an entry; undefined when there is none. */
export type FindEntry = <K extends ConfigEntryKind>(kind: K, name: string) => ConfigEntryOf<K> | undefined;

export interface ChainRequest {
  readonly service: string;
  /** Where targets are that name no datacenter. */
  readonly datacenter: string;
  /** Where the chain will be used: gateways are for targets elsewhere. */
  readonly useIn: string;
  readonly trustDomain: string;
  readonly overrideProtocol?: string;
  readonly overrideMeshGateway?: MeshGatewayConfig;
  /** ns. */
  readonly overrideConnectTimeout?: number;
}

/** When a resolver names none, ns. */
const connectTimeoutDefaultNs = 5e9;
/** Protocols that requests can be told apart in, so that they can be routed and split. */
const httpLike: readonly string[] = ['http', 'http2', 'grpc'];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Target = Mutable<DiscoveryTarget>;
interface Customized {
  protocol: boolean;
  meshGateway: boolean;
  connectTimeout: boolean;
}

/** The chain without its CustomizationHash, and what of it the overrides of the request have changed. */
export interface CompiledChain {
  readonly chain: Omit<CompiledDiscoveryChain, 'CustomizationHash'>;
  readonly customized: Readonly<Customized>;
}

/** @throws CallError naming what does not fit together. */
export function compileDiscoveryChain(find: FindEntry, request: ChainRequest): CompiledChain {
  return new Compiler(find, request).compile();
}

class Compiler {
  readonly #find: FindEntry;
  readonly #request: ChainRequest;
  readonly #nodes = new Map<string, Mutable<DiscoveryGraphNode>>();
  readonly #targets = new Map<string, Target>();
  readonly #retained = new Set<string>();
  readonly #customized: Customized = { protocol: false, meshGateway: false, connectTimeout: false };
  #protocol = '';
  #advanced = false;

  constructor(find: FindEntry, request: ChainRequest) {
    this.#find = find;
    this.#request = request;
  }

  compile(): CompiledChain {
    const { service, datacenter, overrideProtocol } = this.#request;
    const startNode = this.#assemble();
    this.#refuseCircles(startNode, []);
    this.#flattenSplitters();
    this.#removeUnused(startNode);
    if (this.#advanced && !httpLike.includes(this.#protocol)) {
      throw new CallError(
        `discovery chain "${service}" uses a protocol "${this.#protocol}" ` +
          'that does not permit advanced routing or splitting behavior',
      );
    }
    if (overrideProtocol && overrideProtocol !== this.#protocol) {
      this.#protocol = overrideProtocol;
      this.#customized.protocol = true;
    }
    const targets = [...this.#targets].filter(([id]) => this.#retained.has(id));
    return {
      chain: {
        ServiceName: service,
        Namespace: defaultNamespace,
        Datacenter: datacenter,
        Protocol: this.#protocol,
        StartNode: startNode,
        Nodes: Object.fromEntries(this.#nodes),
        Targets: Object.fromEntries(targets),
      },
      customized: this.#customized,
    };
  }

  /** Only the router of the chain's own service counts. */
  #assemble(): string {
    const { service } = this.#request;
    const router = this.#find('service-router', service);
    if (router === undefined) return this.#splitterOrResolver(service);
    const name = `${service}.${defaultNamespace}`;
    const routes: DiscoveryRoute[] = [];
    this.#advanced = true;
    this.#recordProtocol(service);
    for (const route of router.Routes ?? []) {
      const to = route.Destination?.Service || service;
      const subset = route.Destination?.ServiceSubset ?? '';
      const NextNode = subset === '' ? this.#splitterOrResolver(to) : this.#resolver(this.#target(to, subset));
      routes.push({ Definition: route, NextNode });
    }
    routes.push({
      Definition: {
        Match: { HTTP: { PathPrefix: '/' } },
        Destination: { Service: service, Namespace: defaultNamespace },
      },
      NextNode: this.#splitterOrResolver(service),
    });
    return this.#record({ Type: 'router', Name: name, Routes: routes });
  }

  #splitterOrResolver(service: string): string {
    return this.#splitter(service) ?? this.#resolver(this.#target(service, ''));
  }

  #splitter(service: string): string | undefined {
    const key = `splitter:${service}.${defaultNamespace}`;
    if (this.#nodes.has(key)) return key;
    const splitter = this.#find('service-splitter', service);
    if (splitter === undefined) return undefined;
    const splits: DiscoverySplit[] = [];
    // Recorded before its splits are followed, so that a circle ends.
    this.#record({ Type: 'splitter', Name: `${service}.${defaultNamespace}`, Splits: splits });
    this.#advanced = true;
    // Its own protocol does not count, only those of the services that it leads to.
    for (const split of splitter.Splits ?? []) {
      const to = split.Service || service;
      const subset = split.ServiceSubset ?? '';
      const further = to !== service && subset === '' ? this.#splitter(to) : undefined;
      const NextNode = further ?? this.#resolver(this.#target(to, subset));
      splits.push({ Weight: split.Weight ?? 0, NextNode });
    }
    return key;
  }

  /** @returns the key of the node that resolves `wanted`, after redirects and default subsets. */
  #resolver(wanted: Target): string {
    const { target, resolver } = this.#redirected(wanted);
    const key = `resolver:${target.ID}`;
    if (this.#nodes.has(key)) return key;
    const node = this.#resolverNode(target, resolver);
    this.#record(node);
    const targets = this.#failoverTargets(target, resolver);
    if (targets.length > 0) {
      node.Resolver = {
        ...node.Resolver!,
        Failover: {
          Targets: targets.map((failover) => {
            const resolved = this.#redirected(failover);
            this.#resolverNode(resolved.target, resolved.resolver);
            return resolved.target.ID;
          }),
        },
      };
    }
    return key;
  }

  #redirected(wanted: Target): { readonly target: Target; readonly resolver: ServiceResolver | undefined } {
    const history: string[] = [];
    let target = wanted;
    for (;;) {
      this.#recordProtocol(target.Service);
      const resolver = this.#find('service-resolver', target.Service);
      if (history.includes(target.ID)) {
        throw new CallError(`detected circular resolver redirect: [${[...history, target.ID].join(' -> ')}]`);
      }
      history.push(target.ID);
      const next = resolver?.Redirect === undefined ? target : this.#rewritten(target, resolver.Redirect);
      if (next.ID !== target.ID) {
        target = next;
      } else if (target.ServiceSubset === undefined && resolver?.DefaultSubset) {
        target = this.#rewritten(target, { ServiceSubset: resolver.DefaultSubset });
      } else {
        const subset = target.ServiceSubset;
        if (subset !== undefined && !Object.hasOwn(resolver?.Subsets ?? {}, subset)) {
          throw new CallError(`service "${target.Service}" does not have a subset named "${subset}"`);
        }
        return { target, resolver };
      }
    }
  }

  #resolverNode(target: Target, resolver: ServiceResolver | undefined): Mutable<DiscoveryGraphNode> {
    let connectTimeout = resolver?.ConnectTimeout ?? 0;
    if (connectTimeout < 1) connectTimeout = connectTimeoutDefaultNs;
    const override = this.#request.overrideConnectTimeout ?? 0;
    if (override > 0 && override !== connectTimeout) {
      connectTimeout = override;
      this.#customized.connectTimeout = true;
    }
    if (target.ServiceSubset !== undefined) target.Subset = resolver?.Subsets?.[target.ServiceSubset] ?? {};
    const externalSni = this.#find('service-defaults', target.Service)?.ExternalSNI;
    if (externalSni) {
      target.SNI = externalSni;
      target.External = true;
      this.#refuseForExternal(target.Service, resolver);
    }
    target.MeshGateway = this.#meshGateway(target);
    this.#retained.add(target.ID);
    return {
      Type: 'resolver',
      Name: target.ID,
      Resolver: { Default: resolver === undefined, ConnectTimeout: connectTimeout, Target: target.ID },
    };
  }

  #refuseForExternal(service: string, resolver: ServiceResolver | undefined): void {
    const what =
      resolver?.Redirect !== undefined
        ? 'redirects'
        : Object.keys(resolver?.Subsets ?? {}).length > 0
          ? 'subsets'
          : Object.keys(resolver?.Failover ?? {}).length > 0
            ? 'failover'
            : undefined;
    if (what === undefined) return;
    throw new CallError(`service "${service}" has an external SNI set; cannot define ${what} for external services`);
  }

  #meshGateway(target: Target): MeshGatewayConfig {
    if (target.Datacenter === this.#request.useIn) return {};
    if (target.External === true) return { Mode: 'none' };
    let mode = this.#find('service-defaults', target.Service)?.MeshGateway?.Mode;
    mode ||= this.#find('proxy-defaults', proxyDefaultsName)?.MeshGateway?.Mode;
    const override = this.#request.overrideMeshGateway?.Mode;
    if (override && override !== mode) {
      mode = override;
      this.#customized.meshGateway = true;
    }
    return mode ? { Mode: mode } : {};
  }

  #failoverTargets(target: Target, resolver: ServiceResolver | undefined): Target[] {
    const all = resolver?.Failover ?? {};
    const failover = all[target.ServiceSubset ?? ''] ?? all['*'];
    if (failover === undefined) return [];
    const datacenters = failover.Datacenters?.length ? failover.Datacenters : [''];
    return datacenters
      .map((Datacenter) => this.#rewritten(target, { ...failover, Datacenter }))
      .filter(({ ID }) => ID !== target.ID);
  }

  #rewritten(
    target: Target,
    to: { readonly Service?: string; readonly ServiceSubset?: string; readonly Datacenter?: string },
  ): Target {
    const service = to.Service || target.Service;
    // The subset of one service says nothing about another.
    const subset = to.ServiceSubset || (service === target.Service ? target.ServiceSubset : '');
    return this.#target(service, subset ?? '', to.Datacenter || target.Datacenter);
  }

  #target(service: string, subset: string, datacenter = this.#request.datacenter): Target {
    const prefix = subset === '' ? '' : `${subset}.`;
    const ID = `${prefix}${service}.${defaultNamespace}.${datacenter}`;
    const known = this.#targets.get(ID);
    if (known !== undefined) return known;
    const sni = `${ID}.internal.${this.#request.trustDomain}`;
    const target: Target = {
      ID,
      Service: service,
      ...(subset === '' ? {} : { ServiceSubset: subset }),
      Namespace: defaultNamespace,
      Datacenter: datacenter,
      MeshGateway: {},
      Subset: {},
      SNI: sni,
      Name: sni,
    };
    this.#targets.set(ID, target);
    return target;
  }

  #recordProtocol(service: string): void {
    const protocol = protocolOf(this.#find, service);
    if (this.#protocol === '') this.#protocol = protocol;
    if (this.#protocol === protocol) return;
    throw new CallError(
      `discovery chain "${this.#request.service}" uses inconsistent protocols; ` +
        `service "${service}" has "${protocol}" which is not "${this.#protocol}"`,
    );
  }

  #record(node: Mutable<DiscoveryGraphNode>): string {
    const key = `${node.Type}:${node.Name}`;
    this.#nodes.set(key, node);
    return key;
  }

  #refuseCircles(key: string, path: readonly string[], free = new Set<string>()): void {
    if (free.has(key)) return;
    if (path.includes(key)) throw new CallError(`detected circular reference: [${[...path, key].join(' -> ')}]`);
    for (const next of nextNodes(this.#nodes.get(key))) this.#refuseCircles(next, [...path, key], free);
    free.add(key);
  }

  /** A split into a split becomes one split. There are no circles any more. */
  #flattenSplitters(): void {
    const flat = (split: DiscoverySplit): readonly DiscoverySplit[] => {
      const inner = this.#nodes.get(split.NextNode)?.Splits;
      if (inner === undefined) return [split];
      return inner.flatMap(flat).map(({ Weight, NextNode }) => ({
        Weight: normalSplitWeight((split.Weight * Weight) / 100),
        NextNode,
      }));
    };
    for (const node of this.#nodes.values()) {
      if (node.Splits !== undefined) node.Splits = node.Splits.flatMap(flat);
    }
  }

  #removeUnused(startNode: string): void {
    const used = new Set<string>();
    const visit = (key: string): void => {
      if (used.has(key)) return;
      used.add(key);
      nextNodes(this.#nodes.get(key)).forEach(visit);
    };
    visit(startNode);
    for (const key of this.#nodes.keys()) if (!used.has(key)) this.#nodes.delete(key);
  }
}

function nextNodes(node: DiscoveryGraphNode | undefined): readonly string[] {
  return [...(node?.Routes ?? []), ...(node?.Splits ?? [])].map(({ NextNode }) => NextNode);
}

/** What a service speaks: its own defaults, then everybody's, then tcp. */
export function protocolOf(find: FindEntry, service: string): string {
  const own = find('service-defaults', service);
  const everybodys = find('proxy-defaults', proxyDefaultsName)?.Config?.['protocol'];
  const protocol = own === undefined ? (typeof everybodys === 'string' ? everybodys : '') : (own.Protocol ?? '');
  return protocol === '' ? 'tcp' : protocol.toLowerCase();
}
