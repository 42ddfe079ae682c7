/**
 * What a config entry must be like by itself, before it is looked at together with others. The texts are the peer's
 * (reference/http-api.md §9.9).
 */
import { formatGoDuration } from '../codec/index.ts';
import {
  type ConfigEntryBody,
  type IngressGateway,
  type IngressListener,
  proxyDefaultsName,
  type ServiceResolver,
  type ServiceRouteHttpMatch,
  type ServiceRouter,
  type ServiceSplitter,
  type TerminatingGateway,
} from './config-entry.ts';
import { defaultNamespace, wildcard } from './intention.ts';

/** Weights count in hundredths of a percent. */
const weightScale = 100;
const weightSum = 100;

/** A weight as it counts: cut behind the second decimal. */
export function normalSplitWeight(weight: number): number {
  return scaled(weight) / weightScale;
}

function scaled(weight: number): number {
  return Math.trunc(Math.fround(weight) * weightScale);
}

/** Puts what may be written in several ways into the one that is stored. */
export function normalConfigEntry<E extends ConfigEntryBody>(entry: E): E;
export function normalConfigEntry(entry: ConfigEntryBody): ConfigEntryBody {
  switch (entry.Kind) {
    case 'service-defaults':
      return entry.Protocol === undefined ? entry : { ...entry, Protocol: entry.Protocol.toLowerCase() };
    case 'proxy-defaults':
      return { ...entry, Name: proxyDefaultsName };
    case 'service-router':
      return entry.Routes === undefined ? entry : { ...entry, Routes: entry.Routes.map(normalRoute) };
    case 'service-splitter':
      if (entry.Splits === undefined) return entry;
      return {
        ...entry,
        Splits: entry.Splits.map((split) => ({ ...split, Weight: normalSplitWeight(split.Weight ?? 0) })),
      };
    case 'ingress-gateway':
      if (entry.Listeners === undefined) return entry;
      return {
        ...entry,
        Listeners: entry.Listeners.map((listener) => ({
          ...listener,
          Protocol: (listener.Protocol || 'tcp').toLowerCase(),
        })),
      };
    default:
      return entry;
  }
}

type Route = NonNullable<ServiceRouter['Routes']>[number];

function normalRoute(route: Route): Route {
  const { Match, Destination } = route;
  const methods = Match?.HTTP?.Methods;
  return {
    ...(Match === undefined
      ? {}
      : methods === undefined
        ? { Match }
        : { Match: { HTTP: { ...Match.HTTP, Methods: methods.map((method) => method.toUpperCase()) } } }),
    ...(Destination === undefined
      ? {}
      : { Destination: { ...Destination, Namespace: Destination.Namespace || defaultNamespace } }),
  };
}

/** Why the (normal) entry cannot be stored; null when it can. */
export function configEntryProblem(entry: ConfigEntryBody): string | null {
  switch (entry.Kind) {
    case 'service-router':
      return nameProblem(entry) ?? first(entry.Routes, routeProblem);
    case 'service-splitter':
      return nameProblem(entry) ?? splitterProblem(entry);
    case 'service-resolver':
      return nameProblem(entry) ?? resolverProblem(entry);
    // Of the others the peer notices late that they have no name, each in its place.
    case 'service-defaults':
      return nameProblem(entry, noService);
    case 'ingress-gateway':
      return ingressProblem(entry) ?? nameProblem(entry, 'failed inserting config entry: object missing primary index');
    case 'terminating-gateway':
      return terminatingProblem(entry) ?? nameProblem(entry, noService);
    default:
      return nameProblem(entry);
  }
}

const noService = 'serviceName is required';

function nameProblem({ Name }: ConfigEntryBody, problem = 'Name is required'): string | null {
  return Name === '' ? problem : null;
}

function first<T>(list: readonly T[] | undefined, problemOf: (item: T, index: number) => string | null): string | null {
  for (const [index, item] of (list ?? []).entries()) {
    const problem = problemOf(item, index);
    if (problem !== null) return problem;
  }
  return null;
}

const quoted = (text: string): string => JSON.stringify(text);

function routeProblem(route: Route, index: number): string | null {
  const http = route.Match?.HTTP;
  const at = `Route[${index}]`;
  const problem = http === undefined ? null : matchProblem(http, at);
  if (problem !== null) return problem;
  if (route.Destination?.PrefixRewrite && !http?.PathExact && !http?.PathPrefix) {
    return `${at} cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix`;
  }
  return null;
}

function matchProblem(http: ServiceRouteHttpMatch, at: string): string | null {
  if (http.PathExact && !http.PathExact.startsWith('/')) {
    return `${at} PathExact doesn't start with '/': ${quoted(http.PathExact)}`;
  }
  if (http.PathPrefix && !http.PathPrefix.startsWith('/')) {
    return `${at} PathPrefix doesn't start with '/': ${quoted(http.PathPrefix)}`;
  }
  if (given(http.PathExact, http.PathPrefix, http.PathRegex) > 1) {
    return `${at} should only contain at most one of PathExact, PathPrefix, or PathRegex`;
  }
  const header = first(http.Header, (one, j) => {
    if (!one.Name) return `${at} Header[${j}] missing required Name field`;
    return given(one.Present, one.Exact, one.Prefix, one.Suffix, one.Regex) === 1
      ? null
      : `${at} Header[${j}] should only contain one of Present, Exact, Prefix, Suffix, or Regex`;
  });
  const parameter = first(http.QueryParam, (one, j) => {
    if (!one.Name) return `${at} QueryParam[${j}] missing required Name field`;
    return given(one.Present, one.Exact, one.Regex) === 1
      ? null
      : `${at} QueryParam[${j}] should only contain one of Present, Exact, or Regex`;
  });
  const twice = repeated(http.Methods ?? []);
  return header ?? parameter ?? (twice === undefined ? null : `${at} Methods contains ${quoted(twice)} more than once`);
}

function given(...values: readonly (string | boolean | undefined)[]): number {
  return values.filter(Boolean).length;
}

function repeated(list: readonly string[]): string | undefined {
  return list.find((item, i) => list.indexOf(item) < i);
}

function splitterProblem({ Name, Splits = [] }: Pick<ServiceSplitter, 'Name' | 'Splits'>): string | null {
  if (Splits.length === 0) return 'no splits configured';
  const destinations = Splits.map(
    ({ Service, ServiceSubset = '', Namespace = '' }) =>
      `service=${quoted(Service || Name)}, subset=${quoted(ServiceSubset)}, namespace=${quoted(Namespace)}`,
  );
  const twice = repeated(destinations);
  if (twice !== undefined) return `split destination occurs more than once: ${twice}`;
  const sum = Splits.reduce((total, split) => total + scaled(split.Weight ?? 0), 0);
  if (sum === weightSum * weightScale) return null;
  return `the sum of all split weights must be ${weightSum}, not ${(sum / weightScale).toFixed(6)}`;
}

const subsetNameMax = 63;

/** Subsets become labels of names that certificates carry. */
function subsetProblem(name: string): string | null {
  if (name === '') return 'Subset defined with empty name';
  const invalid = `Subset ${quoted(name)} is invalid: must be`;
  if (Buffer.byteLength(name) > subsetNameMax) return `${invalid} non-empty and ${subsetNameMax} characters or fewer`;
  if (/^[a-z\d](?:[a-z\d-]*[a-z\d])?$/.test(name)) return null;
  return (
    `${invalid} ${subsetNameMax} characters or fewer, begin or end with lower case alphanumeric characters, ` +
    `and contain lower case alphanumeric characters or '-' in between`
  );
}

function resolverProblem(entry: Pick<ServiceResolver, 'Name'> & Partial<ServiceResolver>): string | null {
  const { Name, Subsets = {}, DefaultSubset, Redirect, Failover = {}, ConnectTimeout = 0 } = entry;
  const isSubset = (name: string): boolean => Object.hasOwn(Subsets, name);
  const badSubset = first(Object.keys(Subsets), subsetProblem);
  if (badSubset !== null) return badSubset;
  if (DefaultSubset && !isSubset(DefaultSubset)) return `DefaultSubset ${quoted(DefaultSubset)} is not a valid subset`;
  if (Redirect !== undefined) {
    const { Service, ServiceSubset, Namespace, Datacenter } = Redirect;
    if (Object.keys(Failover).length > 0) return 'Redirect and Failover cannot both be set';
    if (!Service && !ServiceSubset && !Namespace && !Datacenter) return 'Redirect is empty';
    if (!Service && ServiceSubset) return 'Redirect.ServiceSubset defined without Redirect.Service';
    if (!Service && Namespace) return 'Redirect.Namespace defined without Redirect.Service';
    if (Service === Name && ServiceSubset && !isSubset(ServiceSubset)) {
      return `Redirect.ServiceSubset ${quoted(ServiceSubset)} is not a valid subset of ${quoted(Name)}`;
    }
  }
  for (const [subset, failover] of Object.entries(Failover)) {
    const at = `Bad Failover[${quoted(subset)}]`;
    const { Service, ServiceSubset, Namespace, Datacenters = [] } = failover;
    if (subset !== wildcard && !isSubset(subset)) return `${at}: not a valid subset`;
    if (!Service && !ServiceSubset && !Namespace && Datacenters.length === 0) {
      return `${at} one of Service, ServiceSubset, Namespace, or Datacenters is required`;
    }
    if (ServiceSubset && (!Service || Service === Name) && !isSubset(ServiceSubset)) {
      return `${at}.ServiceSubset ${quoted(ServiceSubset)} is not a valid subset of ${quoted(Name)}`;
    }
    if (Datacenters.includes('')) return `${at}.Datacenters: found empty datacenter`;
  }
  return ConnectTimeout < 0 ? `Bad ConnectTimeout '${formatGoDuration(ConnectTimeout)}', must be >= 0` : null;
}

const listenerProtocols: readonly string[] = ['tcp', 'http', 'http2', 'grpc'];

function ingressProblem({ TLS, Listeners = [] }: Pick<IngressGateway, 'TLS' | 'Listeners'>): string | null {
  return first(Listeners, (listener, index) => {
    const port = listener.Port ?? 0;
    if (Listeners.some((other, i) => i < index && (other.Port ?? 0) === port)) {
      return `port ${port} declared on two listeners`;
    }
    return listenerProblem(listener, port, TLS?.Enabled ?? false);
  });
}

function listenerProblem(
  { Protocol = 'tcp', Services = [] }: IngressListener,
  port: number,
  tls: boolean,
): string | null {
  const where = `(listener on port ${port})`;
  if (!listenerProtocols.includes(Protocol)) {
    return `protocol must be 'tcp', 'http', 'http2', or 'grpc'. '${Protocol}' is an unsupported protocol`;
  }
  if (Services.length === 0) return `No service declared for listener with port ${port}`;
  if (Protocol !== 'http' && Services.length > 1) {
    return `Multiple services per listener are only supported for protocol = 'http' ${where}`;
  }
  const hosts = new Set<string>();
  return first(Services, ({ Name = '', Hosts = [] }) => {
    if (Protocol === 'tcp' && Name === wildcard) {
      return `Wildcard service name is only valid for protocol = 'http' ${where}`;
    }
    if (Protocol === 'tcp' && Hosts.length > 0) {
      return `Associating hosts to a service is not supported for the tcp protocol ${where}`;
    }
    if (Name === '') return `Service name cannot be blank ${where}`;
    if (Name === wildcard && Hosts.length > 0) {
      return `Associating hosts to a wildcard service is not supported ${where}`;
    }
    return first(Hosts, (host) => {
      if (hosts.has(host)) return `Hosts must be unique within a specific listener ${where}`;
      hosts.add(host);
      return hostProblem(host, tls);
    });
  });
}

/** A name as DNS holds it (RFC 1035 §2.3.4); a final dot may stand. */
const domainName = /^(?:[^.]{1,63}\.)*[^.]{1,63}\.?$/;
const domainNameMax = 254;

function hostProblem(host: string, tls: boolean): string | null {
  if (host === wildcard) {
    return tls
      ? `Host '${wildcard}' is not allowed when TLS is enabled, all hosts must be valid DNS records to add as a DNSSAN`
      : null;
  }
  if (host !== '.' && (!domainName.test(host) || host.length > domainNameMax)) {
    return `Host ${quoted(host)} must be a valid DNS hostname`;
  }
  return host.replace(/^\*\./, '').includes(wildcard)
    ? `Host ${quoted(host)} is not valid, a wildcard specifier is only allowed as the leftmost label`
    : null;
}

function terminatingProblem({ Services = [] }: Pick<TerminatingGateway, 'Services'>): string | null {
  return first(Services, ({ Name = '', CAFile, CertFile, KeyFile }, index) => {
    if (Name === '') return 'Service name cannot be blank.';
    if (Services.some((other, i) => i < index && other.Name === Name)) {
      return `Service ${quoted(Name)} was specified more than once within a namespace`;
    }
    if ((CertFile || KeyFile) && !(CAFile && CertFile && KeyFile)) {
      return `Service ${quoted(Name)} must have a CertFile, CAFile, and KeyFile specified for TLS origination`;
    }
    return null;
  });
}
