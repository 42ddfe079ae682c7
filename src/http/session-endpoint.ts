/** `/v1/session/`: leases in whose name KV locks are held (reference/http-api.md §9.6). */
import {
  type IndexedSessions,
  serfHealthCheckId,
  type Session,
  type SessionRequest,
  type SessionServiceCheck,
} from '../model/index.ts';
import { type Answer, HttpError, json, jsonBody } from './answer.ts';
import type { Api } from './api.ts';
import { nodeName } from './catalog-endpoint.ts';
import { type Decode, decodeBody, durationNs, list, string, struct, uint } from './decode.ts';
import {
  metaHeaders,
  parseReadOptions,
  parseTarget,
  type ReadOptions,
  readSignal,
  readWithMeta,
} from './read-options.ts';
import { ListEncoder } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

/** Lock delay of a session that does not say how long, ns. */
const lockDelayNsDefault = 15e9;
/** Numbers below this are seconds, others nanoseconds. */
const lockDelaySecondsEnd = 1000;

const sessions = new ListEncoder<Session>((session) => ({
  ID: session.ID,
  Name: session.Name,
  Node: session.Node,
  LockDelay: session.LockDelay,
  Behavior: session.Behavior,
  TTL: session.TTL,
  NodeChecks: session.NodeChecks,
  ServiceChecks: session.ServiceChecks,
  Checks: session.Checks === null || session.Checks.length === 0 ? undefined : session.Checks,
  CreateIndex: session.CreateIndex,
  ModifyIndex: session.ModifyIndex,
}));

type SessionBody = Required<Pick<SessionRequest['Session'], 'Node' | 'Name' | 'LockDelay' | 'TTL'>> & {
  readonly Behavior: string;
  readonly NodeChecks: readonly string[];
  readonly ServiceChecks: readonly SessionServiceCheck[];
  readonly Checks: readonly string[];
  /** These have no effect, but their types are looked at. */
  readonly ID: string;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
};

const lockDelay: Decode<number> = (value, field) => {
  const ns = durationNs(value, field);
  return typeof value === 'number' && ns < lockDelaySecondsEnd ? ns * 1e9 : ns;
};

const noServiceCheck: SessionServiceCheck = { ID: '', Namespace: '' };
const serviceCheck: Decode<SessionServiceCheck> = (value, field) => ({
  ...noServiceCheck,
  ...struct<SessionServiceCheck>({ ID: ['ID', string], Namespace: ['Namespace', string] })(value, field),
});

const sessionStruct = struct<SessionBody>(
  {
    Node: ['Node', string],
    Name: ['Name', string],
    LockDelay: ['LockDelay', lockDelay],
    Behavior: ['Behavior', string],
    TTL: ['TTL', string],
    NodeChecks: ['NodeChecks', list(string, '')],
    ServiceChecks: ['ServiceChecks', list(serviceCheck, noServiceCheck)],
    Checks: ['Checks', list(string, '')],
    ID: ['ID', string],
    CreateIndex: ['CreateIndex', uint],
    ModifyIndex: ['ModifyIndex', uint],
  },
  { unknown: 'ignored' },
);

export function sessionEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/session/create', methods: { PUT: (request) => create(api, request) } },
    { pattern: '/v1/session/destroy/', methods: { PUT: (request) => destroy(api, request) } },
    { pattern: '/v1/session/renew/', methods: { PUT: (request) => renew(api, request) } },
    { pattern: '/v1/session/info/', methods: { GET: (request) => info(api, request) } },
    { pattern: '/v1/session/node/', methods: { GET: (request) => ofNode(api, request) } },
    { pattern: '/v1/session/list', methods: { GET: (request) => listAll(api, request) } },
  ];
}

async function create(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  // A body without a length is not looked at (§5).
  const body = (request.contentLength ?? 0) > 0 ? decodeBody<SessionBody>(await request.body(), sessionStruct) : {};
  const { ID: _, CreateIndex: __, ModifyIndex: ___, ...given } = body;
  const Session: SessionRequest['Session'] = {
    Node: api.agent.nodeName,
    LockDelay: lockDelayNsDefault,
    Behavior: 'release',
    ...given,
    ...boundChecks(given),
  };
  const ID = await api.caller.call('Session.Apply', { ...target, Op: 'create', Session });
  return json(request, { ID });
}

/**
 * Which checks end the session: the node's health by default. An empty list in the old form (`Checks`) or the new one
 * means none of that kind.
 */
function boundChecks(given: Partial<SessionBody>): Pick<Session, 'NodeChecks' | 'Checks'> {
  const { Checks, NodeChecks = [serfHealthCheckId] } = given;
  if (Checks?.length === 0) return { NodeChecks: [], Checks: null };
  const isDefault = Checks === undefined || (Checks.length === 1 && Checks[0] === serfHealthCheckId);
  return { NodeChecks, Checks: isDefault || NodeChecks.length === 0 ? null : Checks };
}

async function destroy(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  await api.caller.call('Session.Apply', { ...target, Op: 'destroy', Session: { ID: sessionId(request) } });
  return json(request, true);
}

async function renew(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const id = sessionId(request);
  const { Sessions } = await api.caller.call('Session.Renew', { ...target, SessionID: id, Session: id });
  if (Sessions === null) throw new HttpError(404, `Session id '${id}' not found`);
  return jsonBody(sessions.body(Sessions, request));
}

async function info(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const SessionID = sessionId(request);
  return read(request, options, (query, signal) =>
    api.caller.call('Session.Get', { ...query, SessionID, Session: SessionID }, signal),
  );
}

async function ofNode(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const Node = nodeName(request);
  return read(request, options, (query, signal) => api.caller.call('Session.NodeSessions', { ...query, Node }, signal));
}

async function listAll(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  return read(request, options, (query, signal) =>
    api.caller.call('Session.List', { ...query, SessionID: '' }, signal),
  );
}

const nobody: readonly Session[] = Object.freeze([]);

async function read(
  request: ApiRequest,
  options: ReadOptions,
  call: (query: ReadOptions['query'], signal: AbortSignal | undefined) => Promise<IndexedSessions>,
): Promise<Answer> {
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) => call(query, signal));
  return jsonBody(sessions.body(reply.Sessions ?? nobody, request), metaHeaders(reply, null));
}

function sessionId(request: ApiRequest): string {
  if (request.name === '') throw new HttpError(400, 'Missing session');
  return request.name;
}
