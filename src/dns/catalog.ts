/**
 * The few named calls that DNS makes, with what all of them share: the agent's default token, stale reads and their
 * limit (reference/dns.md §11), and which failures mean "no such name".
 */
import {
  CallError,
  type CallName,
  type CallReply,
  type CallRequest,
  type Calls,
  type NamedCaller,
  type QueryMeta,
  queryNotFound,
} from '../model/index.ts';
import type { Logger, Metrics } from '../ports/index.ts';
import type { DnsOptions } from './dns-options.ts';

/** Stale answers older than this are counted. */
const staleCountedMs = 5000;
/** The text of a request for a datacenter that no server knows a way to. */
const noPathToDatacenter = 'No path to datacenter';

type Reads = { [M in CallName]: CallReply<M> extends QueryMeta ? M : never }[CallName];

export interface CatalogDependencies {
  readonly caller: NamedCaller;
  /** Answers from the agent's cache; used for services and nodes when `useCache` is set. */
  readonly cachedCaller?: NamedCaller;
  /** The agent's default token. */
  readonly token?: () => string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class Catalog {
  readonly #dependencies: CatalogDependencies;
  readonly #allowStale: boolean;
  readonly #maxStaleNs: number;
  readonly #cached: NamedCaller;

  constructor(dependencies: CatalogDependencies, options: DnsOptions) {
    this.#dependencies = dependencies;
    this.#allowStale = options.allowStale;
    this.#maxStaleNs = options.maxStaleMs * 1e6;
    this.#cached = (options.useCache ? dependencies.cachedCaller : undefined) ?? dependencies.caller;
  }

  /** @throws CallError */
  async serviceInstances(
    datacenter: string,
    lookup: { readonly service: string; readonly tag: string; readonly connect: boolean; readonly ingress: boolean },
  ): Promise<Calls['Health.ServiceNodes']['reply']['Nodes']> {
    const reply = await this.#read(this.#cached, 'Health.ServiceNodes', {
      Datacenter: datacenter,
      Token: this.#token(),
      AllowStale: this.#allowStale,
      ServiceName: lookup.service,
      ServiceTags: lookup.tag === '' ? [] : [lookup.tag],
      TagFilter: lookup.tag !== '',
      Connect: lookup.connect,
      Ingress: lookup.ingress,
    });
    return reply.Nodes;
  }

  /** The node of that name in any letter case, or null. @throws CallError */
  async node(datacenter: string, node: string): Promise<CallReply<'Catalog.ListNodes'>['Nodes'][number] | null> {
    const reply = await this.#read(this.#cached, 'Catalog.NodeServices', {
      Datacenter: datacenter,
      Token: this.#token(),
      AllowStale: this.#allowStale,
      Node: node,
    });
    return reply.NodeServices?.Node ?? null;
  }

  /** All nodes, sorted by name. @throws CallError */
  async nodes(datacenter: string): Promise<CallReply<'Catalog.ListNodes'>['Nodes']> {
    const reply = await this.#read(this.#dependencies.caller, 'Catalog.ListNodes', {
      Datacenter: datacenter,
      Token: this.#token(),
      AllowStale: this.#allowStale,
    });
    return reply.Nodes;
  }

  /** Instances of whatever service at an address. @throws CallError */
  async instancesAt(datacenter: string, address: string): Promise<CallReply<'Catalog.ServiceNodes'>['ServiceNodes']> {
    const reply = await this.#read(this.#dependencies.caller, 'Catalog.ServiceNodes', {
      Datacenter: datacenter,
      Token: this.#token(),
      AllowStale: this.#allowStale,
      ServiceName: '',
      ServiceAddress: address,
    });
    return reply.ServiceNodes;
  }

  /**
   * The result of a prepared query.
   * @param from the agent asked, and the address of who asks it, for sorting by distance.
   * @throws CallError
   */
  async executeQuery(
    datacenter: string,
    query: string,
    from: { readonly node: string; readonly datacenter: string; readonly clientIp: string },
  ): Promise<CallReply<'PreparedQuery.Execute'>> {
    return await this.#read(this.#cached, 'PreparedQuery.Execute', {
      Datacenter: datacenter,
      Token: this.#token(),
      AllowStale: this.#allowStale,
      QueryIDOrName: query,
      Source: { Datacenter: '', Node: '', Ip: from.clientIp },
      Agent: { Datacenter: from.datacenter, Node: from.node },
    });
  }

  #token(): string {
    return this.#dependencies.token?.() ?? '';
  }

  async #read<M extends Reads>(caller: NamedCaller, method: M, request: CallRequest<M>): Promise<CallReply<M>> {
    const reply = await caller.call(method, request);
    const { LastContact } = reply;
    if (!this.#allowStale || LastContact === 0) return reply;
    if (LastContact > this.#maxStaleNs) {
      this.#dependencies.logger.warn('Query results too stale, re-requesting');
      return await this.#dependencies.caller.call(method, { ...request, AllowStale: false });
    }
    if (LastContact > staleCountedMs * 1e6) this.#dependencies.metrics.count(['dns', 'stale_queries']);
    return reply;
  }
}

/** Whether the call failed because the name's datacenter does not exist. */
export function isUnknownDatacenter(error: unknown): boolean {
  return error instanceof CallError && error.message.includes(noPathToDatacenter);
}

/** Whether the call failed because there is no such prepared query. */
export function isUnknownQuery(error: unknown): boolean {
  return error instanceof CallError && error.message.includes(queryNotFound);
}
