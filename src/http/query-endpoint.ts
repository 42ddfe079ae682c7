/** `/v1/query`: prepared queries, stored, executed and explained (reference/http-api.md §9.7). */
import { isIP } from 'node:net';
import {
  CallError,
  type CheckServiceNode,
  type PreparedQuery,
  type PreparedQueryExecuteReply,
  type PreparedQueryExecuteRequest,
  type QueryDns,
  type QueryFailover,
  type QueryMeta,
  queryNotFound,
  type QueryTemplate,
  type ServiceQuery,
} from '../model/index.ts';
import { type Answer, empty, HttpError, json, jsonBody, text } from './answer.ts';
import type { Api } from './api.ts';
import { bool, decodeBody, ignored, int, list, map, string, struct } from './decode.ts';
import {
  FailedRead,
  metaHeaders,
  parseBool,
  parseReadOptions,
  parseSource,
  parseTarget,
  type ReadOptions,
  readPerhapsCached,
  readSignal,
  readWithMeta,
} from './read-options.ts';
import { checkView, ListEncoder, nodeView, serviceView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';
import { wanAddresses } from './wan-addresses.ts';

const emptyFailover: QueryFailover = { NearestN: 0, Datacenters: null };
const emptyService: ServiceQuery = {
  Service: '',
  Failover: emptyFailover,
  OnlyPassing: false,
  IgnoreCheckIDs: null,
  Near: '',
  Tags: null,
  NodeMeta: null,
  ServiceMeta: null,
  Connect: false,
};
const emptyQuery: PreparedQuery = {
  ID: '',
  Name: '',
  Session: '',
  Token: '',
  Template: { Type: '', Regexp: '', RemoveEmptyTags: false },
  Service: emptyService,
  DNS: { TTL: '' },
  CreateIndex: 0,
  ModifyIndex: 0,
};

const template = struct<QueryTemplate>({
  Type: ['Type', string],
  Regexp: ['Regexp', string],
  RemoveEmptyTags: ['RemoveEmptyTags', bool],
});
const failover = struct<QueryFailover>({ NearestN: ['NearestN', int], Datacenters: ['Datacenters', list(string, '')] });
const service = struct<ServiceQuery>({
  Service: ['Service', string],
  Failover: ['Failover', (value, field) => ({ ...emptyFailover, ...failover(value, field) })],
  OnlyPassing: ['OnlyPassing', bool],
  IgnoreCheckIDs: ['IgnoreCheckIDs', list(string, '')],
  Near: ['Near', string],
  Tags: ['Tags', list(string, '')],
  NodeMeta: ['NodeMeta', map(string, '')],
  ServiceMeta: ['ServiceMeta', map(string, '')],
  Connect: ['Connect', bool],
});
const dns = struct<QueryDns>({ TTL: ['TTL', string] });
const queryBody = struct<PreparedQuery>({
  ID: ['ID', string],
  Name: ['Name', string],
  Session: ['Session', string],
  Token: ['Token', string],
  Template: ['Template', (value, field) => ({ ...emptyQuery.Template, ...template(value, field) })],
  Service: ['Service', (value, field) => ({ ...emptyService, ...service(value, field) })],
  DNS: ['DNS', (value, field) => ({ ...emptyQuery.DNS, ...dns(value, field) })],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

const queryView = (query: PreparedQuery): Readonly<Record<string, unknown>> => ({
  ID: query.ID,
  Name: query.Name,
  Session: query.Session,
  Token: query.Token,
  Template: {
    Type: query.Template.Type,
    Regexp: query.Template.Regexp,
    RemoveEmptyTags: query.Template.RemoveEmptyTags,
  },
  Service: {
    Service: query.Service.Service,
    Failover: { NearestN: query.Service.Failover.NearestN, Datacenters: query.Service.Failover.Datacenters },
    OnlyPassing: query.Service.OnlyPassing,
    IgnoreCheckIDs: query.Service.IgnoreCheckIDs,
    Near: query.Service.Near,
    Tags: query.Service.Tags,
    NodeMeta: query.Service.NodeMeta,
    ServiceMeta: query.Service.ServiceMeta,
    Connect: query.Service.Connect,
  },
  DNS: { TTL: query.DNS.TTL },
  CreateIndex: query.CreateIndex,
  ModifyIndex: query.ModifyIndex,
});

const queries = new ListEncoder(queryView);

/** Here null and [] stay what they are. */
const resultNodeView = ({ Node, Service, Checks }: CheckServiceNode): unknown => ({
  Node: nodeView(Node),
  Service: { ...serviceView(Service), Tags: Service.Tags },
  Checks: Checks.length === 0 ? null : Checks.map((check) => ({ ...checkView(check), ServiceTags: check.ServiceTags })),
});

export function queryEndpoints(api: Api): readonly Endpoint[] {
  const one = (request: ApiRequest): Promise<Answer> => specific(api, request);
  return [
    {
      pattern: '/v1/query',
      ignoresNamespace: true,
      methods: { GET: (request) => listQueries(api, request), POST: (request) => create(api, request) },
    },
    {
      pattern: '/v1/query/',
      ignoresNamespace: true,
      methods: { GET: one, PUT: one, DELETE: one },
      anyMethod: one,
    },
  ];
}

async function listQueries(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('PreparedQuery.List', query, readSignal(request, options)),
  );
  return jsonBody(queries.body(reply.Queries, request), metaHeaders(reply, consistency));
}

async function create(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const given = decodeBody(await request.body(), queryBody);
  const ID = await api.caller.call('PreparedQuery.Apply', {
    ...target,
    Op: 'create',
    Query: { ...emptyQuery, ...given },
  });
  return json(request, { ID });
}

/** Methods below a query have their own way: the answers to other ones are not those of the rest of the API (§1). */
async function specific(api: Api, request: ApiRequest): Promise<Answer> {
  const { name, method } = request;
  const action = ['/execute', '/explain'].find((suffix) => name.endsWith(suffix));
  const allowed = action === undefined ? 'GET,PUT,DELETE' : 'GET';
  if (method === 'OPTIONS') return json(request, {}, [['Allow', `OPTIONS,${allowed}`]]);
  if (!allowed.split(',').includes(method)) return text(405, `method ${method} not allowed`, [['Allow', allowed]]);
  const id = action === undefined ? name : name.slice(0, -action.length);
  if (action === '/execute') return await execute(api, request, id);
  if (action === '/explain') return await explain(api, request, id);
  if (method === 'GET') return await get(api, request, id);
  await change(api, request, id);
  return empty();
}

async function get(api: Api, request: ApiRequest, QueryID: string): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const { reply, consistency } = await orNotFound(() =>
    readWithMeta(options, (query) =>
      api.caller.call('PreparedQuery.Get', { ...query, QueryID }, readSignal(request, options)),
    ),
  );
  return jsonBody(queries.body(reply.Queries, request), metaHeaders(reply, consistency));
}

async function change(api: Api, request: ApiRequest, ID: string): Promise<void> {
  const target = parseTarget(request, api.options());
  const update = request.method === 'PUT';
  // A chunked body is not looked at (§5).
  const given = update && (request.contentLength ?? 0) > 0 ? decodeBody(await request.body(), queryBody) : {};
  const Op = update ? 'update' : 'delete';
  await api.caller.call('PreparedQuery.Apply', { ...target, Op, Query: { ...emptyQuery, ...given, ID } });
}

async function execute(api: Api, request: ApiRequest, idOrName: string): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const wanted = executeRequest(api, request, idOrName);
  const { reply, consistency, headers } = await orNotFound(() =>
    readPerhapsCached(api, options, 'PreparedQuery.Execute', (query) => ({ ...query, ...wanted })),
  );
  const far = wanAddresses(api, reply.Datacenter);
  const shown = far === null ? reply : { ...reply, Nodes: reply.Nodes.map(far.entry) };
  return json(request, resultView(shown, consistency), [...metaHeaders(reply, consistency), ...headers]);
}

async function explain(api: Api, request: ApiRequest, idOrName: string): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const wanted = executeRequest(api, request, idOrName);
  const { reply, consistency } = await orNotFound(() =>
    readWithMeta(options, (query) => api.caller.call('PreparedQuery.Explain', { ...query, ...wanted })),
  );
  const view = { Query: queryView(reply.Query), ...metaView(reply, consistency) };
  return json(request, view, metaHeaders(reply, consistency));
}

function resultView(reply: PreparedQueryExecuteReply, consistency: ReadOptions['consistency']): unknown {
  return {
    Service: reply.Service,
    Nodes: reply.Nodes.map(resultNodeView),
    DNS: { TTL: reply.DNS.TTL },
    Datacenter: reply.Datacenter,
    Failovers: reply.Failovers,
    ...metaView(reply, consistency),
  };
}

function metaView({ Index, LastContact, KnownLeader }: QueryMeta, consistency: string): Record<string, unknown> {
  return { Index, LastContact, KnownLeader, ConsistencyLevel: consistency };
}

function executeRequest(
  { agent }: Api,
  request: ApiRequest,
  QueryIDOrName: string,
): Omit<PreparedQueryExecuteRequest, 'Datacenter'> {
  const { Source } = parseSource(request, agent);
  const here = { Datacenter: agent.datacenter, Node: agent.nodeName };
  return {
    QueryIDOrName,
    Limit: parseLimit(request),
    Connect: parseConnect(request),
    Source: { Datacenter: agent.datacenter, Node: Source?.Node ?? '', Ip: clientIp(request) },
    Agent: here,
  };
}

function parseLimit(request: ApiRequest): number {
  const limit = request.query.get('limit');
  if (limit === '') return 0;
  if (!/^[+-]?\d+$/.test(limit)) {
    throw new HttpError(500, `Bad limit: strconv.Atoi: parsing ${JSON.stringify(limit)}: invalid syntax`);
  }
  return Number(limit);
}

function parseConnect(request: ApiRequest): boolean {
  const connect = request.query.get('connect');
  if (connect === '') return false;
  const parsed = parseBool(connect);
  if (parsed === null) {
    const problem = `strconv.ParseBool: parsing ${JSON.stringify(connect)}: invalid syntax`;
    throw new HttpError(500, `Error parsing 'connect' value: ${problem}`);
  }
  return parsed;
}

/** The client's address: what a proxy says it is, else the connection's. */
function clientIp(request: ApiRequest): string {
  const [forwarded = ''] = request.header('x-forwarded-for').split(',');
  return isIP(forwarded.trim()) === 0 ? request.remoteAddress : forwarded.trim();
}

async function orNotFound<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const cause = error instanceof FailedRead ? error.cause : error;
    // A text that has come through other servers has something before it.
    if (cause instanceof CallError && cause.message.includes(queryNotFound)) throw new HttpError(404, cause.message);
    throw error;
  }
}
