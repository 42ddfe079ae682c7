/** `/v1/catalog/`: what is registered, and registering it by hand (reference/http-api.md §9.2). */
import { encodeGoJson } from '../codec/index.ts';
import type { DeregisterRequest, Node, NodeService, RegisterRequest, ServiceSpecificRequest } from '../model/index.ts';
import { type Answer, HttpError, json, jsonBody } from './answer.ts';
import type { Api } from './api.ts';
import { deregisterBody, registerBody } from './catalog-body.ts';
import { decodeBody } from './decode.ts';
import {
  cacheHeaders,
  metaHeaders,
  parseNodeMeta,
  parseReadOptions,
  parseSource,
  readPerhapsCached,
  readSignal,
  readWithMeta,
} from './read-options.ts';
import { BodyEncoder, ListEncoder, nodeView, serviceNodeView, serviceView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';
import { wanAddresses } from './wan-addresses.ts';

const nodes = new ListEncoder(nodeView);
const serviceNodes = new ListEncoder(serviceNodeView);
const tagsByService = new BodyEncoder((services: Readonly<Record<string, readonly string[]>>, layout) =>
  encodeGoJson(new Map(Object.entries(services)), layout),
);

export function catalogEndpoints(api: Api): readonly Endpoint[] {
  const get = (pattern: string, handler: (api: Api, request: ApiRequest) => Promise<Answer>): Endpoint => ({
    pattern,
    methods: { GET: (request) => handler(api, request) },
  });
  const put = (pattern: string, handler: Handler): Endpoint => ({ pattern, methods: { PUT: handler } });
  return [
    put('/v1/catalog/register', (request) => register(api, request)),
    put('/v1/catalog/deregister', (request) => deregister(api, request)),
    { ...get('/v1/catalog/datacenters', listDatacenters), ignoresNamespace: true },
    { ...get('/v1/catalog/nodes', listNodes), ignoresNamespace: true },
    get('/v1/catalog/services', listServices),
    get('/v1/catalog/service/', (api, request) => listServiceNodes(api, request, false)),
    get('/v1/catalog/connect/', (api, request) => listServiceNodes(api, request, true)),
    get('/v1/catalog/node/', nodeServices),
    get('/v1/catalog/node-services/', nodeServiceList),
  ];
}

async function register(api: Api, request: ApiRequest): Promise<Answer> {
  const body = decodeBody<RegisterRequest>(await request.body(), registerBody);
  await api.caller.call('Catalog.Register', { Node: '', Address: '', ...body, ...writeTarget(api, request, body) });
  return json(request, true);
}

async function deregister(api: Api, request: ApiRequest): Promise<Answer> {
  const body = decodeBody<DeregisterRequest>(await request.body(), deregisterBody);
  await api.caller.call('Catalog.Deregister', { Node: '', ...body, ...writeTarget(api, request, body) });
  return json(request, true);
}

/** The datacenter of a write is in the body, its token in the request. */
function writeTarget(
  api: Api,
  request: ApiRequest,
  body: { readonly Datacenter?: string },
): { readonly Datacenter: string; readonly Token?: string } {
  const { token } = request;
  return { Datacenter: body.Datacenter || api.options().datacenter, ...(token === '' ? {} : { Token: token }) };
}

async function listDatacenters(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  if (!options.cached) return json(request, await api.caller.call('Catalog.ListDatacenters', options.query));
  const read = await api.cache.read('Catalog.ListDatacenters', options.query, options.control);
  return json(request, read.reply, cacheHeaders(read));
}

async function listNodes(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const filters = { ...parseNodeMeta(request), ...parseSource(request, api.agent) };
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Catalog.ListNodes', { ...query, ...filters }, signal),
  );
  const far = wanAddresses(api, options.query.Datacenter);
  const shown = far === null ? reply.Nodes : reply.Nodes.map(far.node);
  return jsonBody(nodes.body(shown, request), metaHeaders(reply, consistency));
}

async function listServices(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  // This read knows no filter in 1.8; one that is given has no effect.
  const { Filter: _, ...unfiltered } = options.query;
  const filters = parseNodeMeta(request);
  const signal = readSignal(request, options);
  const { reply, consistency, headers } = await readPerhapsCached(
    api,
    { ...options, query: unfiltered },
    'Catalog.ListServices',
    (query) => ({ ...query, ...filters }),
    signal,
  );
  return jsonBody(tagsByService.body(reply.Services, request), [...metaHeaders(reply, consistency), ...headers]);
}

async function listServiceNodes(api: Api, request: ApiRequest, connect: boolean): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const filters = serviceRequest(api, request, connect ? { Connect: true } : {});
  const signal = readSignal(request, options);
  const { reply, consistency, headers } = await readPerhapsCached(
    api,
    options,
    'Catalog.ServiceNodes',
    (query) => ({ ...query, ...filters }),
    signal,
  );
  const far = wanAddresses(api, options.query.Datacenter);
  const shown = far === null ? reply.ServiceNodes : reply.ServiceNodes.map(far.row);
  return jsonBody(serviceNodes.body(shown, request), [...metaHeaders(reply, consistency), ...headers]);
}

/** The parameters of every read of one service's instances. */
export function serviceRequest(
  api: Api,
  request: ApiRequest,
  kind: { readonly Connect?: boolean; readonly Ingress?: boolean },
): Omit<ServiceSpecificRequest, 'Datacenter'> {
  if (request.name === '') throw new HttpError(400, 'Missing service name');
  return {
    ServiceName: request.name,
    ...(request.query.has('tag') ? { ServiceTags: request.query.all('tag'), TagFilter: true } : {}),
    ...parseNodeMeta(request),
    ...parseSource(request, api.agent),
    ...kind,
  };
}

async function nodeServices(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = nodeName(request);
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Catalog.NodeServices', { ...query, Node }, signal),
  );
  const found = reply.NodeServices;
  const far = wanAddresses(api, options.query.Datacenter);
  const shown =
    found === null
      ? null
      : {
          Node: nodeView(far === null ? found.Node : far.node(found.Node)),
          Services: new Map(
            Object.entries(found.Services).map(([id, service]) => [
              id,
              serviceView(far === null ? service : far.service(service)),
            ]),
          ),
        };
  return json(request, shown, metaHeaders(reply, consistency));
}

async function nodeServiceList(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = nodeName(request);
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Catalog.NodeServiceList', { ...query, Node }, signal),
  );
  const found: { Node: Node | null; Services: readonly NodeService[] | null } = reply.NodeServices;
  const shown = {
    Node: found.Node === null ? null : nodeView(found.Node),
    // Go's list of nothing is null, unless a filter has made a new one.
    Services: found.Services?.length || options.query.Filter ? (found.Services ?? []).map(serviceView) : null,
  };
  return json(request, shown, metaHeaders(reply, consistency));
}

export function nodeName(request: ApiRequest): string {
  if (request.name === '') throw new HttpError(400, 'Missing node name');
  return request.name;
}
