/**
 * A prepared query that stands for every name with its own as prefix. The texts of its Service block are templates over
 * the name that was asked for and what a regular expression took out of it (reference/http-api.md §9.7). Everything
 * that can fail is tried when the query is stored.
 */
import { compileGoSubmatch, compileHil, GoRegexpError, HilError, type HilScope } from '../codec/index.ts';
import { CallError, namePrefixMatch, type PreparedQuery, type ServiceQuery } from '../model/index.ts';

/** The query for a name; `segment` is the network segment of the agent that asks. */
export type RenderQuery = (name: string, segment: string) => PreparedQuery;

type Render = (scope: HilScope) => string;
type RenderService = (scope: HilScope) => ServiceQuery;

export function isTemplate(query: PreparedQuery): boolean {
  return query.Template.Type !== '';
}

/** @throws CallError naming the part that is wrong. */
export function compileQueryTemplate(query: PreparedQuery): RenderQuery {
  const { Type, Regexp, RemoveEmptyTags } = query.Template;
  if (Type !== namePrefixMatch) throw new CallError(`Bad Template.Type '${Type}'`);
  const renderService = compileService(query.Service);
  const submatch = compileRegexp(Regexp);
  const render: RenderQuery = (name, segment) => {
    const groups = submatch(name);
    const service = renderService({
      variables: {
        'name.full': name,
        'name.prefix': query.Name,
        'name.suffix': name.startsWith(query.Name) ? name.slice(query.Name.length) : name,
        'agent.segment': segment,
      },
      functions: { match: (group) => groups?.[group] ?? '' },
    });
    const Tags = RemoveEmptyTags ? (service.Tags ?? []).filter((tag) => tag !== '') : service.Tags;
    return Object.freeze({ ...query, Service: Object.freeze({ ...service, Tags }) });
  };
  render(query.Name, '');
  return render;
}

function compileRegexp(pattern: string): (name: string) => readonly string[] | null {
  if (pattern === '') return () => null;
  try {
    return compileGoSubmatch(pattern);
  } catch (error) {
    if (!(error instanceof GoRegexpError)) throw error;
    throw new CallError(`Bad Regexp: ${error.message}`, { cause: error });
  }
}

/** Every text of the block is a template; names of metadata are not. */
function compileService(service: ServiceQuery): RenderService {
  const renderName = compileText(service.Service, '.Service');
  const renderDatacenters = compileList(service.Failover.Datacenters, '.Failover.Datacenters');
  const renderIgnored = compileList(service.IgnoreCheckIDs, '.IgnoreCheckIDs');
  const renderNear = compileText(service.Near, '.Near');
  const renderTags = compileList(service.Tags, '.Tags');
  const renderNodeMeta = compileMap(service.NodeMeta, '.NodeMeta');
  const renderServiceMeta = compileMap(service.ServiceMeta, '.ServiceMeta');
  return (scope) => ({
    Service: renderName(scope),
    Failover: { NearestN: service.Failover.NearestN, Datacenters: renderDatacenters(scope) },
    OnlyPassing: service.OnlyPassing,
    IgnoreCheckIDs: renderIgnored(scope),
    Near: renderNear(scope),
    Tags: renderTags(scope),
    NodeMeta: renderNodeMeta(scope),
    ServiceMeta: renderServiceMeta(scope),
    Connect: service.Connect,
  });
}

function compileText(text: string, path: string): Render {
  const render = failing(() => compileHil(text), `Bad format '${text}' in Service${path}`);
  return (scope) => failing(() => render(scope), `Bad evaluation for '${text}' in Service${path}`);
}

function failing<T>(work: () => T, what: string): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HilError)) throw error;
    throw new CallError(`${what}: ${error.message}`, { cause: error });
  }
}

function compileList(list: readonly string[] | null, path: string): (scope: HilScope) => readonly string[] | null {
  if (list === null) return () => null;
  const renders = list.map((text, i) => compileText(text, `${path}[${i}]`));
  return (scope) => renders.map((render) => render(scope));
}

type Meta = Readonly<Record<string, string>> | null;

function compileMap(map: Meta, path: string): (scope: HilScope) => Meta {
  if (map === null) return () => null;
  const renders = Object.entries(map).map(([key, text]) => [key, compileText(text, `${path}[${key}]`)] as const);
  return (scope) => Object.fromEntries(renders.map(([key, render]) => [key, render(scope)]));
}
