/** `/v1/connect/intentions`: who may talk to whom (reference/http-api.md §9.9). */
import { GoJsonError, parseGoJson } from '../codec/index.ts';
import { CallError, defaultNamespace, type Intention, type IntentionMatchEntry } from '../model/index.ts';
import { type Answer, badRequest, HttpError, json, jsonBody, text } from './answer.ts';
import type { Api } from './api.ts';
import { DecodeError, decodeBody, ignored, int, map, string, struct } from './decode.ts';
import { metaHeaders, parseReadOptions, parseTarget, readSignal, readWithMeta } from './read-options.ts';
import { ListEncoder } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const intentionBody = struct<Intention>({
  ID: ['ID', string],
  Description: ['Description', string],
  SourceNS: ['SourceNS', string],
  SourceName: ['SourceName', string],
  DestinationNS: ['DestinationNS', string],
  DestinationName: ['DestinationName', string],
  SourceType: ['SourceType', string],
  Action: ['Action', string],
  DefaultAddr: ['DefaultAddr', string],
  DefaultPort: ['DefaultPort', int],
  Meta: ['Meta', map(string, '')],
  // Known, because clients send back what they have read; the server makes its own.
  Precedence: ['Precedence', ignored],
  CreatedAt: ['CreatedAt', ignored],
  UpdatedAt: ['UpdatedAt', ignored],
  Hash: ['Hash', ignored],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

function intentionView(intention: Intention): Readonly<Record<string, unknown>> {
  return {
    ID: intention.ID,
    Description: intention.Description,
    SourceNS: intention.SourceNS,
    SourceName: intention.SourceName,
    DestinationNS: intention.DestinationNS,
    DestinationName: intention.DestinationName,
    SourceType: intention.SourceType,
    Action: intention.Action,
    DefaultAddr: intention.DefaultAddr,
    DefaultPort: intention.DefaultPort,
    Meta: new Map(Object.entries(intention.Meta ?? {})),
    Precedence: intention.Precedence,
    CreatedAt: intention.CreatedAt,
    UpdatedAt: intention.UpdatedAt,
    Hash: intention.Hash,
    CreateIndex: intention.CreateIndex,
    ModifyIndex: intention.ModifyIndex,
  };
}

const intentions = new ListEncoder(intentionView);

export function intentionEndpoints(api: Api): readonly Endpoint[] {
  const endpoint = (pattern: string, methods: Endpoint['methods']): Endpoint => ({
    pattern,
    methods,
    ignoresNamespace: true,
  });
  return [
    endpoint('/v1/connect/intentions', {
      GET: (request) => list(api, request),
      POST: (request) => create(api, request),
    }),
    endpoint('/v1/connect/intentions/match', { GET: (request) => match(api, request) }),
    endpoint('/v1/connect/intentions/check', { GET: (request) => check(api, request) }),
    endpoint('/v1/connect/intentions/', {
      GET: (request) => read(api, request),
      PUT: (request) => update(api, request),
      DELETE: (request) => remove(api, request),
    }),
  ];
}

async function list(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) => api.caller.call('Intention.List', query, signal));
  return jsonBody(intentions.body(reply.Intentions, request), metaHeaders(reply, null));
}

async function create(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  let given: Partial<Intention>;
  try {
    const value = parseGoJson(await request.body());
    given = value === null ? {} : intentionBody(value, '');
  } catch (error) {
    if (!(error instanceof GoJsonError || error instanceof DecodeError)) throw error;
    throw new HttpError(500, `Failed to decode request body: ${error.message}`);
  }
  const ID = await api.caller.call('Intention.Apply', { ...target, Op: 'create', Intention: given });
  return json(request, { ID });
}

async function read(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  try {
    const reply = await api.caller.call(
      'Intention.Get',
      { ...options.query, IntentionID: request.name },
      readSignal(request, options),
    );
    return json(request, intentionView(reply.Intentions[0]!));
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    if (error.message === 'Intention not found') return text(404, error.message);
    // The server does not say whose fault an error is; this one is the client's.
    if (error.message.includes('UUID')) throw badRequest(error.message);
    throw error;
  }
}

async function update(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const given = decodeBody<Intention>(await request.body(), intentionBody, 'Bad request: Request decode failed: ');
  const ID = request.name;
  await api.caller.call('Intention.Apply', { ...target, Op: 'update', Intention: { ...given, ID } });
  return json(request, { ID });
}

async function remove(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  await api.caller.call('Intention.Apply', { ...target, Op: 'delete', Intention: { ID: request.name } });
  return json(request, true);
}

async function match(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const by = required(request, 'by');
  if (by !== 'source' && by !== 'destination') {
    throw new HttpError(500, "'by' parameter must be one of 'source' or 'destination'");
  }
  required(request, 'name');
  const names = request.query.all('name');
  const Entries = names.map((name) => entryOf(name, 'name'));
  const reply = await api.caller.call(
    'Intention.Match',
    { ...options.query, Match: { Type: by, Entries } },
    readSignal(request, options),
  );
  return json(request, new Map(names.map((name, i) => [name, reply.Matches[i]?.map(intentionView) ?? null])));
}

async function check(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const source = required(request, 'source');
  const destination = required(request, 'destination');
  const from = entryOf(source, 'source');
  const to = entryOf(destination, 'destination');
  const reply = await api.caller.call('Intention.Check', {
    ...options.query,
    Check: {
      SourceNS: from.Namespace,
      SourceName: from.Name,
      DestinationNS: to.Namespace,
      DestinationName: to.Name,
      SourceType: request.query.get('source-type') || 'consul',
    },
  });
  return json(request, { Allowed: reply.Allowed });
}

function required(request: ApiRequest, name: string): string {
  if (!request.query.has(name)) throw new HttpError(500, `required query parameter '${name}' not set`);
  return request.query.get(name);
}

/** `name` or `namespace/name`. */
function entryOf(given: string, parameter: string): IntentionMatchEntry {
  const parts = given.split('/');
  if (parts.length > 2) {
    const problem = "input can contain at most one '/'";
    throw new HttpError(500, `${parameter} ${JSON.stringify(given)} is invalid: ${problem}`);
  }
  const [first = '', second] = parts;
  return second === undefined ? { Namespace: defaultNamespace, Name: first } : { Namespace: first, Name: second };
}
