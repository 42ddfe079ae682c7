/**
 * `/v1/agent/`: the agent's own services, checks, state and life (reference/http-api.md §9.1). Answered without the
 * network (DESIGN rule 10).
 */
import { createHash } from 'node:crypto';
import { compileFilter, encodeGoJson, FilterError } from '../codec/index.ts';
import {
  type CheckDefinition,
  checkDefinitionProblem,
  type CheckStatus,
  type HealthCheck,
  healthCheckFilterFields,
  isCheckStatus,
  type NodeService,
  nodeServiceFilterFields,
  type ServiceDefinition,
  serviceDefinitionProblem,
} from '../model/index.ts';
import { type LogLevel, sleep } from '../ports/index.ts';
import type { Authorizer } from '../server/index.ts';
import { authorize, requireCheckRegistration, requireRegistration, seesLocalCheck } from './agent-acl.ts';
import { agentHealthEndpoints } from './agent-health-endpoint.ts';
import { setAgentToken } from './agent-token-endpoint.ts';
import { type Answer, badRequest, Body, empty, HttpError, json, jsonBody, text } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody, string, struct } from './decode.ts';
import { checkDefinitionBody, serviceDefinitionBody } from './definition-body.ts';
import { collectHostInfo } from './host-info.ts';
import { parseBool, parseIndex, parseWaitMs } from './read-options.ts';
import { agentServiceView, checkView, MapEncoder, memberView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';

/** Waits are lengthened by up to this part, so that clients which started together do not return together. */
const waitJitterDivisor = 16;

export function agentEndpoints(api: Api): readonly Endpoint[] {
  const { agent } = api;
  const get = (pattern: string, handler: Handler): Endpoint => ({ pattern, methods: { GET: handler } });
  /** A change without an answer of its own. */
  const put = (pattern: string, change: (request: ApiRequest) => Promise<void>): Endpoint => ({
    pattern,
    methods: {
      PUT: async (request) => {
        await change(request);
        return empty();
      },
    },
  });
  const ttl = (pattern: string, status: CheckStatus): Endpoint =>
    put(pattern, (request) => agent.updateTtlCheck(request.name, status, request.query.get('note')));
  return [
    get('/v1/agent/self', (request) => {
      const self = agent.self();
      return json(request, { ...self, Member: memberView(self.Member) });
    }),
    get('/v1/agent/host', async (request) => json(request, await collectHostInfo(api.clock))),
    { ...get('/v1/agent/members', (request) => listMembers(api, request)), ignoresNamespace: true },
    get('/v1/agent/metrics', (request) => metrics(api, request)),
    get('/v1/agent/monitor', (request) => monitor(api, request)),
    put('/v1/agent/join/', (request) => agent.join(request.name, request.query.get('wan') !== '')),
    put('/v1/agent/leave', () => agent.leave()),
    put('/v1/agent/force-leave/', (request) => agent.forceLeave(request.name, request.query.has('prune'))),
    put('/v1/agent/reload', () => agent.reload()),
    put('/v1/agent/maintenance', (request) =>
      agent.setNodeMaintenance(parseEnable(request), request.query.get('reason'), request.token),
    ),
    { pattern: '/v1/agent/token/', methods: { PUT: (request) => setAgentToken(api, request) } },
    get('/v1/agent/service/', (request) => readService(api, request)),
    put('/v1/agent/service/register', (request) => registerService(api, request)),
    put('/v1/agent/service/deregister/', async (request) => {
      if (request.name === '') throw new HttpError(500, 'ServiceID missing');
      await agent.deregisterService(request.name);
    }),
    put('/v1/agent/service/maintenance/', async (request) => {
      if (request.name === '') throw new HttpError(400, 'Missing service ID');
      const enable = parseEnable(request);
      await agent.setServiceMaintenance(request.name, enable, request.query.get('reason'), request.token);
    }),
    put('/v1/agent/check/register', (request) => registerCheck(api, request)),
    put('/v1/agent/check/deregister/', async (request) => {
      if (request.name === '') throw new HttpError(500, 'CheckID missing');
      await agent.deregisterCheck(request.name);
    }),
    ttl('/v1/agent/check/pass/', 'passing'),
    ttl('/v1/agent/check/warn/', 'warning'),
    ttl('/v1/agent/check/fail/', 'critical'),
    put('/v1/agent/check/update/', (request) => updateCheck(api, request)),
    ...localLists(api),
    ...agentHealthEndpoints(api),
  ];
}

async function listMembers(api: Api, request: ApiRequest): Promise<Answer> {
  const wan = request.query.get('wan') !== '';
  const segment = request.query.get('segment');
  // What the command line asks for with -wan is both.
  if (wan && segment !== '' && segment !== '_all') throw new HttpError(400, 'Cannot provide a segment with wan=true');
  const isServer = api.agent.self().Config.Server;
  if (segment !== '' && segment !== '_all') {
    const problem = isServer
      ? 'Network segments are not supported in this version of Consul'
      : `segment ${JSON.stringify(segment)} not found`;
    throw new HttpError(500, problem);
  }
  if (wan && !isServer) return json(request, null);
  const authorizer = await authorize(api, request);
  const members = api.agent.members({ wan });
  return json(
    request,
    members.filter(({ Name }) => authorizer === null || authorizer.may('node:read', Name)).map(memberView),
  );
}

function metrics(api: Api, request: ApiRequest): Answer {
  if (request.query.get('format') !== 'prometheus' && !acceptsPrometheus(request.header('accept'))) {
    return json(request, api.agent.metrics());
  }
  const lines = api.agent.prometheusMetrics();
  if (lines === null) return text(415, 'Prometheus is not enabled since its retention time is not positive');
  return {
    status: 200,
    headers: [['Content-Type', 'text/plain; version=0.0.4; charset=utf-8']],
    body: new Body(lines),
  };
}

function acceptsPrometheus(accept: string): boolean {
  return accept.split(',').some((range) => {
    const [type, ...parameters] = range.split(';').map((part) => part.trim());
    return type === 'application/openmetrics-text' || (type === 'text/plain' && parameters.includes('version=0.4.0'));
  });
}

const monitorLevels: Readonly<Record<string, LogLevel>> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERR: 'error',
  ERROR: 'error',
};

function monitor(api: Api, request: ApiRequest): Answer {
  const asked = request.query.get('loglevel');
  const name = (asked === '' ? 'INFO' : asked).toUpperCase();
  const level = Object.hasOwn(monitorLevels, name) ? monitorLevels[name] : undefined;
  if (level === undefined) throw badRequest(`Unknown log level: ${asked}`);
  const asJson = request.query.has('logjson');
  return {
    ...empty(),
    // A reader that is too slow loses lines; the agent never waits for it.
    stream: (sink) => api.agent.monitor({ level, json: asJson }, (line) => void sink.write(`${line}\n`)),
  };
}

const localServices = new MapEncoder<NodeService>((service) => agentServiceView(service));
const localChecks = new MapEncoder<HealthCheck>((check) => checkView({ ...check, CreateIndex: 0, ModifyIndex: 0 }));

/** The records as they are now; the same map until one of them changes, so that its JSON is remembered. */
function snapshot<T>(api: Api, records: () => ReadonlyMap<string, T>): () => ReadonlyMap<string, T> {
  let copy: ReadonlyMap<string, T> | null = null;
  api.agent.onLocalChange(() => (copy = null));
  return () => (copy ??= new Map(records()));
}

function only<T>(records: ReadonlyMap<string, T>, keep: (record: T) => boolean): ReadonlyMap<string, T> {
  return new Map([...records].filter(([, record]) => keep(record)));
}

function localLists(api: Api): readonly Endpoint[] {
  const services = snapshot(api, () => api.agent.services());
  const checks = snapshot(api, () => api.agent.checks());
  const get = (pattern: string, list: (request: ApiRequest, authorizer: Authorizer | null) => Answer): Endpoint => ({
    pattern,
    methods: {
      GET: (request) =>
        api.agent.acl?.enabled === true
          ? authorize(api, request).then((authorizer) => list(request, authorizer))
          : list(request, null),
    },
  });
  return [
    get('/v1/agent/services', (request, authorizer) => listServices(request, authorizer, services())),
    get('/v1/agent/checks', (request, authorizer) => listChecks(request, authorizer, checks())),
  ];
}

function listServices(
  request: ApiRequest,
  authorizer: Authorizer | null,
  all: ReadonlyMap<string, NodeService>,
): Answer {
  const filter = request.query.get('filter');
  let services = all;
  if (filter !== '') {
    try {
      services = only(services, compileFilter(filter, nodeServiceFilterFields));
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      throw new HttpError(500, `Failed to create boolean expression evaluator: ${error.message}`);
    }
  }
  if (authorizer !== null) services = only(services, ({ Service }) => authorizer.may('service:read', Service));
  return jsonBody(localServices.body(services, request));
}

function listChecks(request: ApiRequest, authorizer: Authorizer | null, all: ReadonlyMap<string, HealthCheck>): Answer {
  const filter = request.query.get('filter');
  let checks = authorizer === null ? all : only(all, (check) => seesLocalCheck(authorizer, check));
  if (filter !== '') {
    try {
      checks = only(checks, compileFilter(filter, healthCheckFilterFields));
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      // Consul compiles this one without a type: selectors are looked at only when there is something to look into.
      if (!error.message.startsWith('Selector ')) {
        throw new HttpError(500, `Failed to create boolean expression evaluator: ${error.message}`);
      }
      if (checks.size > 0) throw new HttpError(500, error.message);
    }
  }
  return jsonBody(localChecks.body(checks, request));
}

const contentHashes = new WeakMap<NodeService, string>();
/** 64 bits, as many as Consul's hash has (hex digits). */
const contentHashDigits = 16;

/** Changes whenever the service's definition does; says nothing otherwise. */
function contentHash(service: NodeService): string {
  let hash = contentHashes.get(service);
  if (hash === undefined) {
    hash = createHash('sha256')
      .update(encodeGoJson(agentServiceView(service)))
      .digest('hex');
    hash = hash.slice(0, contentHashDigits);
    contentHashes.set(service, hash);
  }
  return hash;
}

/** With `hash` equal to the present one this waits for a change, as blocking queries do for an index. */
async function readService(api: Api, request: ApiRequest): Promise<Answer> {
  const id = request.name;
  // Only these two of a read's parameters are looked at.
  parseWaitMs(request);
  parseIndex(request.query.get('index'));
  const known = request.query.get('hash');
  const find = (): { service: NodeService; hash: string } => {
    const service = api.agent.services().get(id);
    if (service === undefined) throw new HttpError(404, `unknown service ID: ${id}`);
    return { service, hash: contentHash(service) };
  };
  let { service, hash } = find();
  if (known !== '' && hash === known) {
    await waitForLocalChange(api, request, () => api.agent.services().get(id) !== service && find().hash !== known);
    ({ service, hash } = find());
  }
  return json(request, agentServiceView(service, hash), [['X-Consul-Contenthash', hash]]);
}

/** Waits until `changed` holds or throws, the wait asked for is over, or the client goes. */
async function waitForLocalChange(api: Api, request: ApiRequest, changed: () => boolean): Promise<void> {
  const { defaultQueryTimeMs, maxQueryTimeMs } = api.options();
  const wait = Math.min(parseWaitMs(request) || defaultQueryTimeMs, maxQueryTimeMs);
  const woken = new AbortController();
  const stop = api.agent.onLocalChange(() => {
    try {
      if (changed()) woken.abort();
    } catch {
      woken.abort();
    }
  });
  try {
    const jitter = (api.random.next() * wait) / waitJitterDivisor;
    await sleep(api.clock, wait + jitter, AbortSignal.any([woken.signal, request.signal]));
  } catch (error) {
    if (!woken.signal.aborted) throw error;
  } finally {
    stop();
  }
}

async function registerService(api: Api, request: ApiRequest): Promise<void> {
  const given = decodeBody<ServiceDefinition>(await request.body(), serviceDefinitionBody);
  const definition: ServiceDefinition = { name: '', ...given };
  const problem = serviceDefinitionProblem(definition);
  if (problem !== null) throw new HttpError(400, problem);
  requireRegistration(api, await authorize(api, request), definition);
  const { query, token } = request;
  const replace = query.has('replace-existing-checks') && parseBool(query.get('replace-existing-checks')) !== false;
  await api.agent.registerService(definition, { token, replaceExistingChecks: replace });
}

async function registerCheck(api: Api, request: ApiRequest): Promise<void> {
  const definition = decodeBody<CheckDefinition>(await request.body(), checkDefinitionBody);
  const problem = checkDefinitionProblem(definition);
  if (problem !== null) throw new HttpError(400, problem);
  requireCheckRegistration(api, await authorize(api, request), definition);
  await api.agent.registerCheck(definition, { token: request.token });
}

interface CheckUpdate {
  readonly Status: string;
  readonly Output: string;
}
const checkUpdateBody = struct<CheckUpdate>({ Status: ['Status', string], Output: ['Output', string] });

async function updateCheck(api: Api, request: ApiRequest): Promise<void> {
  const { Status = '', Output = '' } = decodeBody<CheckUpdate>(await request.body(), checkUpdateBody);
  if (!isCheckStatus(Status)) throw new HttpError(400, `Invalid check status: '${Status}'`);
  await api.agent.updateTtlCheck(request.name, Status, Output);
}

function parseEnable(request: ApiRequest): boolean {
  const { query } = request;
  if (!query.has('enable')) throw new HttpError(400, 'Missing value for enable');
  const enable = parseBool(query.get('enable'));
  if (enable === null) {
    throw new HttpError(400, `Invalid value for enable: ${JSON.stringify(query.get('enable'))}`);
  }
  return enable;
}
