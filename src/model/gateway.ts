/** Which services are behind a gateway, as its config entry says (reference/http-api.md §9.2, §9.10). */
import type { CheckServiceNode, HealthCheck, Node, NodeService, RaftIndex } from './catalog.ts';
import type { DCSpecificRequest, QueryMeta, ServiceSpecificRequest } from './query.ts';

export interface GatewayService extends RaftIndex {
  readonly Gateway: { readonly Name: string };
  readonly Service: { readonly Name: string };
  readonly GatewayKind: 'ingress-gateway' | 'terminating-gateway';
  /** Of the listener; ingress only, as the next two. */
  readonly Port?: number;
  readonly Protocol?: string;
  readonly Hosts?: readonly string[];
  /** Terminating only, as the next three. */
  readonly CAFile?: string;
  readonly CertFile?: string;
  readonly KeyFile?: string;
  readonly SNI?: string;
  /** The entry does not name the service but says `*`. */
  readonly FromWildcard?: boolean;
}

/** An instance behind a gateway; without instance when the service has none. */
export interface ServiceInfo {
  readonly Node?: Node;
  readonly Service?: NodeService;
  readonly Checks?: readonly HealthCheck[];
  readonly GatewayService?: GatewayService;
}

export interface ServiceDumpRequest extends DCSpecificRequest {
  readonly ServiceKind?: string;
  /** Only instances of ServiceKind. */
  readonly UseServiceKind?: boolean;
}

export interface GatewayCalls {
  'Catalog.GatewayServices': {
    request: ServiceSpecificRequest;
    reply: QueryMeta & { readonly Services: readonly GatewayService[] };
  };
  'Internal.ServiceDump': {
    request: ServiceDumpRequest;
    reply: QueryMeta & { readonly Nodes: readonly CheckServiceNode[] };
  };
  'Internal.GatewayServiceDump': {
    request: ServiceSpecificRequest;
    reply: QueryMeta & { readonly Dump: readonly ServiceInfo[] };
  };
}
