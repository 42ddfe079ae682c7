// A catalog in memory behind the named calls, as small as the DNS tests allow: no index, no ACL, no blocking.
import {
  CallError,
  type CallName,
  type CallReply,
  type CallRequest,
  type NamedCaller,
  queryNotFound,
} from '../../../src/model/index.ts';
import {
  type CheckServiceNode,
  emptyCheckDefinition,
  emptyConnect,
  emptyProxy,
  type HealthCheck,
  type Node,
  type NodeService,
} from '../../../src/model/index.ts';

const index = { CreateIndex: 1, ModifyIndex: 1 };
const meta = { Index: 1, LastContact: 0, KnownLeader: true };

interface Registration {
  Node: string;
  Address: string;
  TaggedAddresses?: Record<string, string>;
  NodeMeta?: Record<string, string>;
  Service?: Partial<NodeService> & { ID?: string; Service: string };
  Check?: Partial<HealthCheck>;
  Checks?: Partial<HealthCheck>[];
}

interface Entry {
  node: Node;
  services: Map<string, NodeService>;
  checks: Map<string, HealthCheck>;
}

export class FakeCatalog implements NamedCaller {
  readonly datacenter: string;
  readonly nodes = new Map<string, Entry>();
  /** Every call made: method and request. */
  readonly calls: { method: CallName; request: unknown }[] = [];
  /** Set to let calls fail or to change their metadata. */
  fail: Error | null = null;
  lastContactNs = 0;
  #results = new Map<string, readonly unknown[]>();

  constructor(datacenter = 'dc1') {
    this.datacenter = datacenter;
  }

  register(body: Registration): void {
    this.#results.clear();
    const old = this.nodes.get(body.Node.toLowerCase());
    const node: Node = {
      ...index,
      ID: '',
      Node: body.Node,
      Address: body.Address,
      Datacenter: this.datacenter,
      TaggedAddresses: body.TaggedAddresses ?? null,
      Meta: body.NodeMeta ?? null,
    };
    const entry: Entry = { node, services: old?.services ?? new Map(), checks: old?.checks ?? new Map() };
    this.nodes.set(body.Node.toLowerCase(), entry);
    if (body.Service) {
      const service: NodeService = {
        ...index,
        Kind: '',
        ID: body.Service.Service,
        Tags: [],
        Address: '',
        TaggedAddresses: null,
        Meta: null,
        Port: 0,
        EnableTagOverride: false,
        Proxy: emptyProxy,
        Connect: emptyConnect,
        ...body.Service,
        Weights: body.Service.Weights ?? { Passing: 1, Warning: 1 },
      };
      entry.services.set(service.ID, service);
    }
    for (const check of [...(body.Checks ?? []), ...(body.Check ? [body.Check] : [])]) {
      const full: HealthCheck = {
        ...index,
        Node: body.Node,
        CheckID: check.CheckID ?? check.Name ?? '',
        Name: '',
        Status: 'critical',
        Notes: '',
        Output: '',
        ServiceID: '',
        ServiceName: '',
        ServiceTags: null,
        Type: '',
        Definition: emptyCheckDefinition,
        ...check,
      };
      entry.checks.set(full.CheckID, full);
    }
  }

  #entries(): Entry[] {
    return [...this.nodes.values()].toSorted((a, b) => (a.node.Node < b.node.Node ? -1 : 1));
  }

  /** The same array for the same question until the next registration, as the server promises. */
  #once<T>(key: string, compute: () => T[]): readonly T[] {
    let found = this.#results.get(key) as readonly T[] | undefined;
    if (found === undefined) this.#results.set(key, (found = compute()));
    return found;
  }

  call<M extends CallName>(method: M, request: CallRequest<M>): Promise<CallReply<M>> {
    this.calls.push({ method, request });
    if (this.fail) return Promise.reject(this.fail);
    const { Datacenter } = request as { Datacenter: string };
    if (Datacenter !== this.datacenter) return Promise.reject(new CallError('No path to datacenter'));
    try {
      return Promise.resolve(this.#reply(method, request) as CallReply<M>);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #reply(method: CallName, request: unknown): unknown {
    const answer = { ...meta, LastContact: this.lastContactNs };
    switch (method) {
      case 'Catalog.ListNodes':
        return { ...answer, Nodes: this.#once('nodes', () => this.#entries().map(({ node }) => node)) };
      case 'Catalog.NodeServices': {
        const { Node } = request as CallRequest<'Catalog.NodeServices'>;
        const entry = this.nodes.get(Node.toLowerCase());
        const NodeServices = entry ? { Node: entry.node, Services: Object.fromEntries(entry.services) } : null;
        return { ...answer, NodeServices };
      }
      case 'Catalog.ServiceNodes': {
        const { ServiceAddress } = request as CallRequest<'Catalog.ServiceNodes'>;
        const ServiceNodes = this.#entries().flatMap(({ node, services }) =>
          [...services.values()]
            .filter(({ Address }) => Address !== '' && sameAddress(Address, ServiceAddress ?? ''))
            .map(({ Service }) => ({ Node: node.Node, ServiceName: Service })),
        );
        return { ...answer, ServiceNodes };
      }
      case 'Health.ServiceNodes': {
        const asked = request as CallRequest<'Health.ServiceNodes'>;
        return { ...answer, Nodes: this.#once(JSON.stringify(asked), () => this.#instances(asked)) };
      }
      case 'PreparedQuery.Execute':
        throw new CallError(queryNotFound);
      default:
        throw new Error(`the DNS server must not call ${method}`);
    }
  }

  #instances(asked: CallRequest<'Health.ServiceNodes'>): CheckServiceNode[] {
    const name = asked.ServiceName.toLowerCase();
    const wanted = (service: NodeService): boolean => {
      if (asked.Ingress) return false;
      if (asked.Connect) {
        return service.Connect.Native
          ? service.Service.toLowerCase() === name
          : service.Kind === 'connect-proxy' && service.Proxy.DestinationServiceName?.toLowerCase() === name;
      }
      const tags = (service.Tags ?? []).map((tag) => tag.toLowerCase());
      return (
        service.Service.toLowerCase() === name &&
        (asked.TagFilter !== true || (asked.ServiceTags ?? []).every((tag) => tags.includes(tag.toLowerCase())))
      );
    };
    return this.#entries().flatMap(({ node, services, checks }) =>
      [...services.values()].filter(wanted).map((service) => ({
        Node: node,
        Service: service,
        Checks: [...checks.values()].filter(({ ServiceID }) => ServiceID === '' || ServiceID === service.ID),
      })),
    );
  }
}

function sameAddress(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

function canonical(address: string): string {
  return address.includes(':') ? new URL(`http://[${address}]/`).hostname : address;
}
