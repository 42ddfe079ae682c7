/**
 * Requests that are nearly right: those of the recordings with something broken, and every route of the server with
 * whatever query, headers and body. Nothing in them makes the agent speak to another host: checks that would, and the
 * paths that join one, are left out.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Draw } from './fuzz.ts';

const root = resolve(import.meta.dirname, '../../..');

export interface FuzzRequest {
  readonly bytes: Buffer;
  readonly isHead: boolean;
  /** The request may rightly stay unanswered: it is a stream, waits for a change, or is not whole. */
  readonly mayWait: boolean;
}

interface JsonObject {
  readonly [key: string]: Json;
}
type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** Every path that a handler of src/http is registered for. */
export const routes: readonly string[] = [
  ...new Set(
    readdirSync(join(root, 'src/http')).flatMap((file) =>
      [...readFileSync(join(root, 'src/http', file), 'utf8').matchAll(/'(\/v1\/[\w/.:-]*)'/g)].map(([, path]) => path!),
    ),
  ),
].toSorted();

/** Ends the agent, or has it connect somewhere. */
const leftOut = /^\/v1\/agent\/(?:leave|join)/;
/** Answers that have no end. */
const streams = /^\/v1\/agent\/(?:monitor|metrics\/stream)|\/pprof\//;
/** Settings that name something to connect to or to run. */
const reachesOut =
  /^(?:https?|tcp|grpc|script|args|docker_?container_?id|jwks_?url|oidc_?discovery_?url|bound_?issuer|host)$/i;

interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly json?: Json;
  readonly text?: string;
}

function harmless(value: Json): Json {
  if (Array.isArray(value)) return value.map((item) => harmless(item as Json));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !reachesOut.test(key))
      .map(([key, item]) => [key, harmless(item)]),
  );
}

const recorded: readonly Recorded[] = readdirSync(join(root, 'test/fixtures/golden/http')).flatMap((file) => {
  const { steps } = JSON.parse(readFileSync(join(root, 'test/fixtures/golden/http', file), 'utf8')) as {
    readonly steps: readonly { readonly request?: Recorded }[];
  };
  return steps.flatMap(({ request }) =>
    request === undefined || leftOut.test(request.path)
      ? []
      : [{ ...request, ...(request.json !== undefined && { json: harmless(request.json) }) }],
  );
});
const bodies = recorded.flatMap(({ json }) => (json === undefined ? [] : [json]));

const methods = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE', 'LIST', 'get'] as const;
const usualMethods = ['GET', 'GET', 'GET', 'PUT', 'PUT', 'POST', 'DELETE'] as const;
/** Few enough names that what is stored stays small. */
const names = ['a', 'web', 'a/b', 'A', '_', '%00', '%ff%fe', '..', '%2e%2e', '*', 'n1', 'self', '名', 'x'.repeat(300)];
const ids = [
  '00000000-0000-0000-0000-000000000002',
  '11111111-1111-1111-1111-111111111111',
  'ffffffff-ffff-ffff-ffff-fffffffffffg',
];
const parameters = `acquire ca cached cas consistent dc default-query-time detailed enable expand filter flags format
  hash id index keys leader leader-only local-only loglevel merge-central-config name near node node-meta note ns
  overwrite-config partition passing peer policy pretty prune raw reason recurse release replace-existing-checks replay
  role segment separator service service-kind sidecar stale tag token top type wait wan write-only`
  .split(/\s+/)
  .filter((name) => name !== 'index');
const values = [
  '',
  '1',
  '0',
  '-1',
  'true',
  'nope',
  '18446744073709551616',
  '1e9',
  'NaN',
  'a',
  'web',
  '%',
  '%zz',
  '%00',
];
const filterWords =
  `Node Service.Meta ServiceTags Meta.a Checks.Status ID Name Value == != in not and or matches is empty
  contains ( ) " \` "a" "web" [ ] . .. 1 -1 "\\\\" "(" /a/ not not ( (`.split(/\s+/);
const durations = ['1ms', '5ms', '1ns', '-5ms', '0', '1', 'x', '', '1h1', '1e3s', '99999999999999h'];
const headers = [
  'X-Consul-Namespace: x',
  'Cache-Control: max-age=1, stale-if-error=x, must-revalidate',
  'Cache-Control: no-cache,,=;',
  'Accept-Encoding: gzip, deflate, br',
  'Accept: application/openmetrics-text; version=1.0.0',
  'Content-Type: multipart/form-data; boundary=x',
  'Authorization: Bearer x',
  'Authorization: Basic ====',
  'If-None-Match: "x"',
  'Range: bytes=0-',
  'Expect: 100-continue',
  'Upgrade: websocket',
  'Origin: null',
  'X-Forwarded-For: x',
  'X-Consul-Query-Backend: streaming',
  'X-Consul-Token: nobody',
] as const;
/** What no field expects, as it stands in JSON. */
const odd = [
  'null',
  'true',
  '-1',
  '0.5',
  '1e999',
  '18446744073709551616',
  '-9223372036854775809',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"💥"',
  '"10s"',
  '"-5m"',
  '"9999999999999h"',
  '"../../.."',
  '"${name.full}${match(99)}${"',
  '"(("',
  '[]',
  '{}',
  '[null]',
  '[[]]',
  '{"":""}',
  `"${'y'.repeat(5_000)}"`,
  `${'['.repeat(2_000)}${']'.repeat(2_000)}`,
  `${'{"a":'.repeat(500)}1${'}'.repeat(500)}`,
];
/** Stands where an odd value goes; JSON cannot hold some of those. */
const hole = '\u0001hole\u0001';

function withHole(draw: Draw, value: Json): Json {
  if (draw.chance(0.25)) return hole;
  if (Array.isArray(value)) {
    const at = draw.integer(value.length + 1);
    if (at === value.length) return [...(value as readonly Json[]), hole];
    return (value as readonly Json[]).map((item, i) => (i === at ? withHole(draw, item) : item));
  }
  if (value === null || typeof value !== 'object') return hole;
  const keys = Object.keys(value);
  const at = draw.integer(keys.length + 1);
  if (at === keys.length) return { ...(value as JsonObject), Bogus: hole };
  const entries = Object.entries(value).map(([key, item], i) => [key, i === at ? withHole(draw, item) : item]);
  return Object.fromEntries(entries) as Json;
}

function bodyOf(draw: Draw, given: Json | undefined): Buffer {
  const text = JSON.stringify(
    draw.chance(0.7) ? withHole(draw, given ?? draw.pick(bodies)) : (given ?? draw.pick(bodies)),
  );
  const filled = Buffer.from(text.replaceAll(JSON.stringify(hole), () => draw.pick(odd)));
  // A flipped bit could make a name of what was left out, or another address of one.
  if (draw.chance(0.7) || /http|tcp|grpc|url|script|args|docker|host/i.test(text)) return filled;
  return draw.mutated(filled);
}

function filterOf(draw: Draw): string {
  let filter = '';
  for (let left = draw.integer(12); left >= 0; left--) filter += `${draw.pick(filterWords)} `;
  return encodeURIComponent(filter);
}

function queryOf(draw: Draw): string {
  const parts: string[] = [];
  for (let left = draw.integer(5); left > 0; left--) {
    const name = draw.pick(parameters);
    const value =
      name === 'filter'
        ? filterOf(draw)
        : name === 'wait' || draw.chance(0.1)
          ? draw.pick(durations)
          : draw.chance(0.1)
            ? encodeURIComponent(Buffer.from(draw.bytes(6)).toString('latin1'))
            : draw.pick(values);
    parts.push(draw.chance(0.1) ? name : `${name}=${value}`);
  }
  return parts.length === 0 ? '' : `?${parts.join(draw.chance(0.05) ? ';' : '&')}`;
}

function pathOf(draw: Draw): string {
  const route = draw.pick(routes);
  if (!route.endsWith('/') && draw.chance(0.9)) return route;
  const name = draw.chance(0.8) ? draw.pick(names) : draw.pick(ids);
  return `${route}${encodeURI(name).replaceAll('%25', '%')}${draw.chance(0.1) ? `/${draw.pick(names.slice(0, 4))}` : ''}`;
}

/** A request, from chance. @param token of a client that may do everything */
export function fuzzRequest(draw: Draw, token: string): FuzzRequest {
  const base = draw.chance(0.5) ? draw.pick(recorded) : undefined;
  let path = base === undefined ? pathOf(draw) : encodeURI(base.path).replaceAll('%25', '%');
  if (leftOut.test(path)) path = '/v1/agent/self';
  if (!path.includes('?') || draw.chance(0.5)) path = `${path.split('?')[0]}${queryOf(draw)}`;
  let mayWait = streams.test(path) || path.includes('index=');
  if (draw.chance(0.05)) {
    path += `${path.includes('?') ? '&' : '?'}index=${draw.pick(['1', '0', '99999999', '-1', 'x'])}&wait=${draw.pick(durations)}`;
    mayWait = true;
  }
  const method = draw.chance(0.7) ? (base?.method ?? draw.pick(usualMethods)) : draw.pick(methods);
  const hasBody = method !== 'GET' && method !== 'HEAD' && draw.chance(0.9);
  const body = !hasBody
    ? Buffer.alloc(0)
    : draw.chance(0.05)
      ? Buffer.from(draw.bytes(draw.integer(200)))
      : base?.text !== undefined && draw.chance(0.5)
        ? draw.mutated(Buffer.from(base.text))
        : bodyOf(draw, base?.json);
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: x'];
  if (draw.chance(0.85)) lines.push(`X-Consul-Token: ${token}`);
  while (draw.chance(0.25)) lines.push(draw.pick(headers));
  const chunked = body.length > 0 && draw.chance(0.1);
  let sent: Buffer = body;
  if (chunked) {
    lines.push('Transfer-Encoding: chunked');
    const cut = draw.integer(body.length) + 1;
    sent = Buffer.concat([
      ...[body.subarray(0, cut), body.subarray(cut)].filter(({ length }) => length > 0).map(chunk),
      chunk(Buffer.alloc(0)),
    ]);
  } else if (hasBody) {
    lines.push(`Content-Length: ${body.length}`);
  }
  let bytes: Buffer = Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), sent]);
  if (draw.chance(0.02)) {
    bytes = draw.mutated(bytes.subarray(0, Math.min(bytes.length, 400)));
    mayWait = true;
    // What is broken may have become one of those.
    if (/leave|join/i.test(bytes.toString('latin1'))) bytes = Buffer.from('\r\n');
  }
  return { bytes, isHead: method === 'HEAD', mayWait };
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}
