/**
 * Records as the API shows them (reference/http-api.md §8): which fields are left out when empty, where null becomes
 * [], and in which order they stand. Records are immutable, so the text of each, and of whole lists of them, is made
 * once and kept beside it (DESIGN rule 4): an unchanged answer costs one write.
 */
import { encodeGoJson, encodeGoJsonString, formatGoDuration } from '../codec/index.ts';
import { byteStringToUtf8 } from '../lib/index.ts';
import {
  type CheckServiceNode,
  type ConnectProxyConfig,
  type DirEntry,
  type ExposeConfig,
  type HealthCheck,
  type HealthCheckDefinition,
  type Member,
  type Node,
  type NodeInfo,
  type NodeService,
  type ServiceConnect,
  type ServiceNode,
  type Upstream,
  type Weights,
  shownEmptyCheckDefinition,
} from '../model/index.ts';
import { Body, type WithLayout } from './answer.ts';

/** Turns a record into the object whose fields are written, in order; undefined fields are left out. */
type View<T> = (record: T) => Readonly<Record<string, unknown>>;

const weightsDefault: Weights = { Passing: 1, Warning: 1 };

function nonEmpty<T extends string | number | boolean>(value: T | undefined): T | undefined {
  return value === undefined || value === '' || value === 0 || value === false ? undefined : value;
}

function nonEmptyMap<T extends object>(value: T | null | undefined): T | undefined {
  return value == null || Object.keys(value).length === 0 ? undefined : value;
}

/** Maps are written with their keys in order. */
function sorted<T>(value: Readonly<Record<string, T>> | null): ReadonlyMap<string, T> | null {
  return value === null ? null : new Map(Object.entries(value));
}

export const memberView: View<Member> = (member) => ({ ...member, Tags: sorted(member.Tags) });

export const nodeView: View<Node> = (node) => ({
  ID: node.ID,
  Node: node.Node,
  Address: node.Address,
  Datacenter: node.Datacenter,
  TaggedAddresses: sorted(node.TaggedAddresses),
  Meta: sorted(node.Meta),
  CreateIndex: node.CreateIndex,
  ModifyIndex: node.ModifyIndex,
});

export const serviceView: View<NodeService> = (service) => ({
  Kind: nonEmpty(service.Kind),
  ID: service.ID,
  Service: service.Service,
  Tags: service.Tags ?? [],
  Address: service.Address,
  TaggedAddresses: sorted(nonEmptyMap(service.TaggedAddresses) ?? null) ?? undefined,
  Meta: sorted(service.Meta),
  Port: service.Port,
  Weights: service.Weights ?? weightsDefault,
  EnableTagOverride: service.EnableTagOverride,
  Proxy: proxyView(service.Proxy),
  Connect: connectView(service.Connect),
  CreateIndex: service.CreateIndex,
  ModifyIndex: service.ModifyIndex,
});

/** `agent/services` and `agent/service/:id`: no indexes, proxies and native ones only say so where they are. */
export function agentServiceView(service: NodeService, contentHash?: string): Readonly<Record<string, unknown>> {
  return {
    Kind: nonEmpty(service.Kind),
    ID: service.ID,
    Service: service.Service,
    Tags: service.Tags ?? [],
    Meta: sorted(service.Meta ?? {}),
    Port: service.Port,
    Address: service.Address,
    TaggedAddresses: sorted(nonEmptyMap(service.TaggedAddresses) ?? null) ?? undefined,
    Weights: service.Weights ?? weightsDefault,
    EnableTagOverride: service.EnableTagOverride,
    ContentHash: contentHash,
    Proxy: kindsWithProxy.includes(service.Kind) ? proxyView(service.Proxy, { terse: true }) : undefined,
    Connect: service.Connect.Native === true ? { Native: true } : undefined,
  };
}

/** Other kinds are taken as they are, and are nothing to the agent. */
const kindsWithProxy: readonly string[] = ['connect-proxy', 'mesh-gateway', 'terminating-gateway', 'ingress-gateway'];

function proxyView(proxy: ConnectProxyConfig, { terse } = { terse: false }): unknown {
  return {
    DestinationServiceName: nonEmpty(proxy.DestinationServiceName),
    DestinationServiceID: nonEmpty(proxy.DestinationServiceID),
    LocalServiceAddress: nonEmpty(proxy.LocalServiceAddress),
    LocalServicePort: nonEmpty(proxy.LocalServicePort),
    Config: nonEmptyMap(proxy.Config),
    Upstreams:
      proxy.Upstreams == null || proxy.Upstreams.length === 0
        ? undefined
        : proxy.Upstreams.map((upstream) => upstreamView(upstream, terse)),
    MeshGateway: { Mode: nonEmpty(proxy.MeshGateway.Mode) },
    Expose: exposeView(proxy.Expose),
  };
}

function upstreamView(upstream: Upstream, terse: boolean): unknown {
  return {
    DestinationType: terse ? nonEmpty(upstream.DestinationType) : upstream.DestinationType,
    DestinationNamespace: nonEmpty(upstream.DestinationNamespace),
    DestinationName: upstream.DestinationName,
    Datacenter: terse ? nonEmpty(upstream.Datacenter) : upstream.Datacenter,
    LocalBindAddress: nonEmpty(upstream.LocalBindAddress),
    LocalBindPort: upstream.LocalBindPort,
    Config: terse ? nonEmptyMap(upstream.Config) : upstream.Config,
    MeshGateway: { Mode: nonEmpty(upstream.MeshGateway.Mode) },
  };
}

function exposeView(expose: ExposeConfig): unknown {
  return {
    Checks: nonEmpty(expose.Checks),
    Paths:
      expose.Paths === undefined || expose.Paths.length === 0
        ? undefined
        : expose.Paths.map((path) => ({
            ListenerPort: nonEmpty(path.ListenerPort),
            Path: nonEmpty(path.Path),
            LocalPathPort: nonEmpty(path.LocalPathPort),
            Protocol: nonEmpty(path.Protocol),
            ParsedFromCheck: path.ParsedFromCheck,
          })),
  };
}

function connectView(connect: ServiceConnect): unknown {
  return { Native: nonEmpty(connect.Native) };
}

export const serviceNodeView: View<ServiceNode> = (row) => ({
  ID: row.ID,
  Node: row.Node,
  Address: row.Address,
  Datacenter: row.Datacenter,
  TaggedAddresses: sorted(row.TaggedAddresses),
  NodeMeta: sorted(row.NodeMeta),
  ServiceKind: row.ServiceKind,
  ServiceID: row.ServiceID,
  ServiceName: row.ServiceName,
  ServiceTags: row.ServiceTags ?? [],
  ServiceAddress: row.ServiceAddress,
  ServiceTaggedAddresses: sorted(nonEmptyMap(row.ServiceTaggedAddresses) ?? null) ?? undefined,
  ServiceWeights: row.ServiceWeights ?? weightsDefault,
  ServiceMeta: sorted(row.ServiceMeta ?? {}),
  ServicePort: row.ServicePort,
  ServiceEnableTagOverride: row.ServiceEnableTagOverride,
  ServiceProxy: proxyView(row.ServiceProxy),
  ServiceConnect: connectView(row.ServiceConnect),
  CreateIndex: row.CreateIndex,
  ModifyIndex: row.ModifyIndex,
});

export const checkView: View<HealthCheck> = (check) => ({
  Node: check.Node,
  CheckID: check.CheckID,
  Name: check.Name,
  Status: check.Status,
  Notes: check.Notes,
  Output: check.Output,
  ServiceID: check.ServiceID,
  ServiceName: check.ServiceName,
  ServiceTags: check.ServiceTags ?? [],
  Type: check.Type,
  Definition: definitionView(check.Definition),
  CreateIndex: check.CreateIndex,
  ModifyIndex: check.ModifyIndex,
});

function definitionView(definition: HealthCheckDefinition): unknown {
  const duration = (nanoseconds: number | undefined): string | undefined =>
    nonEmpty(nanoseconds) === undefined ? undefined : formatGoDuration(nanoseconds!);
  return {
    Interval: duration(definition.Interval),
    OutputMaxSize: nonEmpty(definition.OutputMaxSize),
    Timeout: duration(definition.Timeout),
    DeregisterCriticalServiceAfter: duration(definition.DeregisterCriticalServiceAfter),
    HTTP: nonEmpty(definition.HTTP),
    TLSSkipVerify: nonEmpty(definition.TLSSkipVerify),
    Header: nonEmptyMap(definition.Header),
    Method: nonEmpty(definition.Method),
    Body: nonEmpty(definition.Body),
    TCP: nonEmpty(definition.TCP),
    ScriptArgs: nonEmptyMap(definition.ScriptArgs),
    DockerContainerID: nonEmpty(definition.DockerContainerID),
    Shell: nonEmpty(definition.Shell),
    GRPC: nonEmpty(definition.GRPC),
    GRPCUseTLS: nonEmpty(definition.GRPCUseTLS),
    AliasNode: nonEmpty(definition.AliasNode),
    AliasService: nonEmpty(definition.AliasService),
    TTL: nonEmpty(definition.TTL),
  };
}

/** A check in `agent/health/service`: the client library's form, with a definition that always has these fields. */
export const agentHealthCheckView: View<HealthCheck> = (check) => ({
  Node: check.Node,
  CheckID: check.CheckID,
  Name: check.Name,
  Status: check.Status,
  Notes: check.Notes,
  Output: check.Output,
  ServiceID: check.ServiceID,
  ServiceName: check.ServiceName,
  ServiceTags: check.ServiceTags === null || check.ServiceTags.length === 0 ? null : check.ServiceTags,
  Type: '',
  Definition: shownEmptyCheckDefinition,
  CreateIndex: check.CreateIndex,
  ModifyIndex: check.ModifyIndex,
});

export const checkServiceNodeView: View<CheckServiceNode> = (entry) => ({
  Node: nodeView(entry.Node),
  Service: serviceView(entry.Service),
  Checks: entry.Checks.map(checkView),
});

export const nodeInfoView: View<NodeInfo> = (node) => ({
  ID: node.ID,
  Node: node.Node,
  Address: node.Address,
  TaggedAddresses: sorted(node.TaggedAddresses),
  Meta: sorted(node.Meta),
  // Here null and [] stay what they are, as nowhere else.
  Services: node.Services.map((service) => ({ ...serviceView(service), Tags: service.Tags })),
  Checks: node.Checks.map((check) => ({ ...checkView(check), ServiceTags: check.ServiceTags })),
});

export const kvView: View<DirEntry> = (entry) => ({
  LockIndex: entry.LockIndex,
  Key: byteStringToUtf8(entry.Key),
  Flags: entry.Flags,
  Value: entry.Value === null || entry.Value.length === 0 ? null : entry.Value,
  Session: nonEmpty(entry.Session),
  CreateIndex: entry.CreateIndex,
  ModifyIndex: entry.ModifyIndex,
});

/** The body made of a value that never changes, kept for as long as that value lives; so it needs no bound. */
export class BodyEncoder<T extends object> {
  readonly #encode: (value: T, layout: WithLayout) => string;
  readonly #compact = new WeakMap<T, Body>();
  readonly #pretty = new WeakMap<T, Body>();

  constructor(encode: (value: T, layout: WithLayout) => string) {
    this.#encode = encode;
  }

  /** `value` must never change afterwards. */
  body(value: T, layout: WithLayout): Body {
    const bodies = layout.pretty ? this.#pretty : this.#compact;
    let body = bodies.get(value);
    if (body === undefined) bodies.set(value, (body = new Body(this.#encode(value, layout))));
    return body;
  }
}

/** Encodes records, each once: a list of which one has changed costs that one and the joining. */
function remembered<T extends object>(view: View<T>): (record: T) => string {
  const texts = new WeakMap<T, string>();
  return (record) => {
    let text = texts.get(record);
    if (text === undefined) texts.set(record, (text = encodeGoJson(view(record))));
    return text;
  };
}

/** Lists of one kind of record. */
export class ListEncoder<T extends object> extends BodyEncoder<readonly T[]> {
  constructor(view: View<T>) {
    const encoded = remembered(view);
    super((list, { pretty }) =>
      pretty ? encodeGoJson(list.map(view), { pretty }) : `[${list.map(encoded).join(',')}]`,
    );
  }
}

/** One kind of record by ID. */
export class MapEncoder<T extends object> extends BodyEncoder<ReadonlyMap<string, T>> {
  constructor(view: View<T>) {
    const encoded = remembered(view);
    super((records, { pretty }) => {
      if (pretty) return encodeGoJson(new Map([...records].map(([id, record]) => [id, view(record)])), { pretty });
      const fields = [...records.keys()].sort().map((id) => `${encodeGoJsonString(id)}:${encoded(records.get(id)!)}`);
      return `{${fields.join(',')}}`;
    });
  }
}
