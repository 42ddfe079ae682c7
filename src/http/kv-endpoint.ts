/** `/v1/kv/`: keys are bytes from the path, values raw bodies (reference/http-api.md §9.4). */
import { type ByteString, byteStringToUtf8 } from '../lib/index.ts';
import type { DirEntry, KvOp, KVSRequest } from '../model/index.ts';
import { type Answer, Body, empty, type Header, HttpError, json, jsonBody } from './answer.ts';
import type { Api } from './api.ts';
import { metaHeaders, parseReadOptions, parseTarget, readSignal, type ReadOptions } from './read-options.ts';
import { kvView, ListEncoder } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const entries = new ListEncoder(kvView);

/** Headers that keep a browser from running what somebody stored. */
const rawHeaders: readonly Header[] = [
  ['Content-Type', 'text/plain'],
  ['X-Content-Type-Options', 'nosniff'],
  ['Content-Security-Policy', 'sandbox'],
];

export function kvEndpoints(api: Api): readonly Endpoint[] {
  return [
    {
      pattern: '/v1/kv/',
      methods: {
        GET: (request) => get(api, request),
        PUT: (request) => put(api, request),
        DELETE: (request) => remove(api, request),
      },
    },
  ];
}

async function get(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  if (request.query.has('keys')) return getKeys(api, request, options);
  const recurse = request.query.has('recurse');
  if (!recurse) requireKey(request);
  const call = recurse ? 'KVS.List' : 'KVS.Get';
  const reply = await api.caller.call(call, { ...options.query, Key: request.suffix }, readSignal(request, options));
  const headers = metaHeaders(reply, null);
  const found: readonly DirEntry[] = reply.Entries ?? [];
  const [first] = found;
  if (first === undefined) return empty(404, headers);
  if (request.query.has('raw') && !recurse) {
    return { status: 200, headers: [...rawHeaders, ...headers], body: new Body(first.Value ?? new Uint8Array()) };
  }
  return jsonBody(entries.body(found, request), headers);
}

async function getKeys(api: Api, request: ApiRequest, options: ReadOptions): Promise<Answer> {
  const { query } = request;
  const separator: ByteString = query.has('separator') ? query.bytes('separator') : query.bytes('seperator');
  const reply = await api.caller.call(
    'KVS.ListKeys',
    { ...options.query, Prefix: request.suffix, Seperator: separator },
    readSignal(request, options),
  );
  const headers = metaHeaders(reply, null);
  const keys = reply.Keys ?? [];
  if (keys.length === 0 && request.suffix !== '') return empty(404, headers);
  return json(request, keys.map(byteStringToUtf8), headers);
}

async function put(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = request;
  requireKey(request);
  refuseConflicts(request, ['cas', 'acquire', 'release']);
  const target = parseTarget(request, api.options());
  const flags = query.has('flags') ? parseUint64(query.get('flags')) : 0n;
  let op: KvOp = 'set';
  let index = 0n;
  let session = '';
  if (query.has('cas')) {
    op = 'cas';
    index = parseUint64(query.get('cas'));
  } else if (query.has('acquire')) {
    op = 'lock';
    session = query.get('acquire');
  } else if (query.has('release')) {
    op = 'unlock';
    session = query.get('release');
  }
  const valueMax = api.options().kvMaxValueSize;
  const announced = request.contentLength ?? 0;
  if (announced > valueMax) {
    throw new HttpError(
      413,
      `Request body(${announced} bytes) too large, max size: ${valueMax} bytes. ` +
        'See https://www.consul.io/docs/agent/options.html#kv_max_value_size.',
      { close: true },
    );
  }
  const write: KVSRequest = {
    ...target,
    Op: op,
    DirEnt: {
      Key: request.suffix,
      Flags: flags,
      Value: await request.body(),
      ...(op === 'cas' ? { ModifyIndex: toIndex(index) } : {}),
      ...(session === '' ? {} : { Session: session }),
    },
  };
  const applied = await api.caller.call('KVS.Apply', write);
  return json(request, op === 'set' || applied);
}

async function remove(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = request;
  refuseConflicts(request, ['recurse', 'cas']);
  const target = parseTarget(request, api.options());
  let op: KvOp = 'delete';
  if (query.has('recurse')) op = 'delete-tree';
  else requireKey(request);
  let index = 0n;
  if (query.has('cas')) {
    op = 'delete-cas';
    index = parseUint64(query.get('cas'));
  }
  const applied = await api.caller.call('KVS.Apply', {
    ...target,
    Op: op,
    DirEnt: { Key: request.suffix, ...(op === 'delete-cas' ? { ModifyIndex: toIndex(index) } : {}) },
  });
  return json(request, op !== 'delete-cas' || applied);
}

function requireKey(request: ApiRequest): void {
  if (request.suffix === '') throw new HttpError(400, 'Missing key name');
}

function refuseConflicts(request: ApiRequest, names: readonly string[]): void {
  if (names.filter((name) => request.query.has(name)).length > 1) {
    throw new HttpError(400, `Conflicting flags: ${request.query.encode()}`);
  }
}

const uint64Max = 2n ** 64n - 1n;

/** @throws Error with Go's text; a bad number is a 500 here (§7). */
export function parseUint64(text: string): bigint {
  if (!/^\d+$/.test(text)) {
    throw new HttpError(500, `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  // Reading a number takes the square of its length, and the client chose it: long ones are refused unread.
  if (!/^0*\d{1,20}$/.test(text) || BigInt(text) > uint64Max) {
    throw new HttpError(500, `strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return BigInt(text);
}

/** Indexes stay below 2^53; a larger one equals none of them, as does this. */
export function toIndex(number: bigint): number {
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(number);
}
