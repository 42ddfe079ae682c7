/** A compiled discovery chain and how to ask for one (reference/server-rpc.md §4.12). */
import type { MeshGatewayConfig } from './catalog.ts';
import type { ServiceResolverSubset, ServiceRoute } from './config-entry.ts';
import type { DCRequest, QueryMeta } from './query.ts';

export interface DiscoveryRoute {
  readonly Definition: ServiceRoute;
  readonly NextNode: string;
}

export interface DiscoverySplit {
  readonly Weight: number;
  readonly NextNode: string;
}

export interface DiscoveryResolver {
  /** Nobody has configured it. */
  readonly Default: boolean;
  /** ns. */
  readonly ConnectTimeout: number;
  readonly Target: string;
  readonly Failover?: { readonly Targets: readonly string[] };
}

/** One of the three lists is there, as the type says. */
export interface DiscoveryGraphNode {
  readonly Type: 'router' | 'splitter' | 'resolver';
  readonly Name: string;
  readonly Routes?: readonly DiscoveryRoute[];
  readonly Splits?: readonly DiscoverySplit[];
  readonly Resolver?: DiscoveryResolver;
}

export interface DiscoveryTarget {
  readonly ID: string;
  readonly Service: string;
  readonly ServiceSubset?: string;
  readonly Namespace: string;
  readonly Datacenter: string;
  readonly MeshGateway: MeshGatewayConfig;
  readonly Subset: ServiceResolverSubset;
  readonly External?: boolean;
  readonly SNI: string;
  readonly Name: string;
}

export interface CompiledDiscoveryChain {
  readonly ServiceName: string;
  readonly Namespace: string;
  readonly Datacenter: string;
  /** 8 hex digits where the overrides of the request made a difference, else "". */
  readonly CustomizationHash: string;
  readonly Protocol: string;
  readonly StartNode: string;
  readonly Nodes: Readonly<Record<string, DiscoveryGraphNode>>;
  readonly Targets: Readonly<Record<string, DiscoveryTarget>>;
}

export interface DiscoveryChainRequest extends DCRequest {
  readonly Name: string;
  readonly EvaluateInDatacenter?: string;
  /** The one there is, or nothing. */
  readonly EvaluateInNamespace?: string;
  readonly OverrideMeshGateway?: MeshGatewayConfig;
  readonly OverrideProtocol?: string;
  /** ns. */
  readonly OverrideConnectTimeout?: number;
}

export interface DiscoveryChainCalls {
  'DiscoveryChain.Get': {
    request: DiscoveryChainRequest;
    reply: QueryMeta & { readonly Chain: CompiledDiscoveryChain };
  };
}
