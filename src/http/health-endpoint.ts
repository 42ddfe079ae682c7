/** `/v1/health/`: checks, and instances with their checks (reference/http-api.md §9.3). */
import type { CheckServiceNode } from '../model/index.ts';
import { type Answer, HttpError, jsonBody } from './answer.ts';
import type { Api } from './api.ts';
import { nodeName, serviceRequest } from './catalog-endpoint.ts';
import {
  metaHeaders,
  parseBool,
  parseNodeMeta,
  parseReadOptions,
  parseSource,
  readPerhapsCached,
  readSignal,
  readWithMeta,
} from './read-options.ts';
import { checkServiceNodeView, checkView, ListEncoder } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';
import { wanAddresses } from './wan-addresses.ts';

const checks = new ListEncoder(checkView);
const entries = new ListEncoder(checkServiceNodeView);

export function healthEndpoints(api: Api): readonly Endpoint[] {
  const get = (pattern: string, handler: (request: ApiRequest) => Promise<Answer>): Endpoint => ({
    pattern,
    methods: { GET: handler },
  });
  return [
    get('/v1/health/node/', (request) => nodeChecks(api, request)),
    get('/v1/health/checks/', (request) => serviceChecks(api, request)),
    get('/v1/health/state/', (request) => checksInState(api, request)),
    get('/v1/health/service/', (request) => serviceNodes(api, request, {})),
    get('/v1/health/connect/', (request) => serviceNodes(api, request, { Connect: true })),
    get('/v1/health/ingress/', (request) => serviceNodes(api, request, { Ingress: true })),
  ];
}

async function nodeChecks(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = nodeName(request);
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Health.NodeChecks', { ...query, Node }, signal),
  );
  return jsonBody(checks.body(reply.HealthChecks, request), metaHeaders(reply, consistency));
}

async function serviceChecks(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  if (request.name === '') throw new HttpError(400, 'Missing service name');
  const filters = { ServiceName: request.name, ...parseNodeMeta(request), ...parseSource(request, api.agent) };
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Health.ServiceChecks', { ...query, ...filters }, signal),
  );
  return jsonBody(checks.body(reply.HealthChecks, request), metaHeaders(reply, consistency));
}

async function checksInState(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  if (request.name === '') throw new HttpError(400, 'Missing check state');
  const filters = { State: request.name, ...parseNodeMeta(request), ...parseSource(request, api.agent) };
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Health.ChecksInState', { ...query, ...filters }, signal),
  );
  return jsonBody(checks.body(reply.HealthChecks, request), metaHeaders(reply, consistency));
}

async function serviceNodes(
  api: Api,
  request: ApiRequest,
  kind: { readonly Connect?: boolean; readonly Ingress?: boolean },
): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const filters = serviceRequest(api, request, kind);
  const passing = parsePassing(request);
  const signal = readSignal(request, options);
  const { reply, consistency, headers } = await readPerhapsCached(
    api,
    options,
    'Health.ServiceNodes',
    (query) => ({ ...query, ...filters }),
    signal,
  );
  const wanted = passing ? passingOnly(reply.Nodes) : reply.Nodes;
  const far = wanAddresses(api, options.query.Datacenter);
  const shown = far === null ? wanted : wanted.map(far.entry);
  return jsonBody(entries.body(shown, request), [...metaHeaders(reply, consistency), ...headers]);
}

function parsePassing(request: ApiRequest): boolean {
  if (!request.query.has('passing')) return false;
  const value = request.query.get('passing');
  const passing = value === '' ? true : parseBool(value);
  if (passing === null) throw new HttpError(400, 'Invalid value for ?passing');
  return passing;
}

const passingLists = new WeakMap<readonly CheckServiceNode[], readonly CheckServiceNode[]>();

/** The instances whose every check is passing; the same list for the same list, so that its JSON is remembered too. */
function passingOnly(all: readonly CheckServiceNode[]): readonly CheckServiceNode[] {
  let passing = passingLists.get(all);
  if (passing === undefined) {
    passing = all.filter(({ Checks }) => Checks.every(({ Status }) => Status === 'passing'));
    passingLists.set(all, passing);
  }
  return passing;
}
