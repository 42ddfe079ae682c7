/** What the UI's list shows of a service: how many instances, how they are (reference/http-api.md §8, §9.10). */
import type { GatewayService, ServiceInfo } from '../model/index.ts';

/** Service metadata that says which tool registered it. */
const externalSourceKey = 'external-source';

interface Summary {
  readonly name: string;
  kind: string;
  readonly tags: Set<string>;
  readonly nodes: string[];
  readonly proxyFor: Set<string>;
  readonly externalSources: Set<string>;
  readonly addresses: string[];
  readonly checks: { passing: number; warning: number; critical: number };
}

/**
 * Summaries by name.
 * @param ingressName the DNS name of a service behind an ingress gateway, with its final dot.
 */
export function summarizeServices(
  dump: readonly ServiceInfo[],
  ingressName: (service: string) => string,
): readonly object[] {
  const summaries = new Map<string, Summary>();
  const linked = new Set<GatewayService>();
  const summaryOf = (name: string): Summary => {
    let summary = summaries.get(name);
    if (summary === undefined) {
      const checks = { passing: 0, warning: 0, critical: 0 };
      const sets = { tags: new Set<string>(), proxyFor: new Set<string>(), externalSources: new Set<string>() };
      summaries.set(name, (summary = { name, kind: '', nodes: [], addresses: [], checks, ...sets }));
    }
    return summary;
  };
  for (const { Node, Service, Checks = [], GatewayService: link } of dump) {
    if (link !== undefined && !linked.has(link)) {
      linked.add(link);
      summaryOf(link.Service.Name).addresses.push(...addressesOf(link, ingressName));
    }
    if (Node === undefined || Service === undefined) continue;
    const summary = summaryOf(Service.Service);
    summary.kind = Service.Kind;
    summary.nodes.push(Node.Node);
    for (const tag of Service.Tags ?? []) summary.tags.add(tag);
    if (Service.Kind === 'connect-proxy') summary.proxyFor.add(Service.Proxy.DestinationServiceName ?? '');
    const source = Service.Meta?.[externalSourceKey];
    if (source) summary.externalSources.add(source);
    for (const { Status } of Checks) {
      if (Status === 'passing' || Status === 'warning' || Status === 'critical') summary.checks[Status]++;
    }
  }
  return [...summaries.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(view);
}

function addressesOf(link: GatewayService, ingressName: (service: string) => string): string[] {
  if (link.GatewayKind !== 'ingress-gateway') return [];
  const hosts = link.Hosts?.length ? link.Hosts : [ingressName(link.Service.Name)];
  return hosts.map((host) => `${host}:${link.Port ?? 0}`);
}

function view(summary: Summary): object {
  return {
    Kind: summary.kind || undefined,
    Name: summary.name,
    Tags: orNull(summary.tags),
    Nodes: orNull(summary.nodes),
    InstanceCount: summary.nodes.length,
    ProxyFor: orNull(summary.proxyFor) ?? undefined,
    ChecksPassing: summary.checks.passing,
    ChecksWarning: summary.checks.warning,
    ChecksCritical: summary.checks.critical,
    ExternalSources: orNull(summary.externalSources),
    GatewayConfig: { Addresses: summary.addresses.length === 0 ? undefined : summary.addresses },
  };
}

function orNull(list: Iterable<string>): readonly string[] | null {
  const sorted = [...list].sort();
  return sorted.length === 0 ? null : sorted;
}
