/** `/v1/config`: settings for the whole datacenter (reference/http-api.md §9.9). */
import { GoJsonError, parseGoJson } from '../codec/index.ts';
import { type ConfigEntryBody, type ConfigEntryRequest, isConfigEntryKind } from '../model/index.ts';
import { type Answer, badRequest, HttpError, json, text } from './answer.ts';
import type { Api } from './api.ts';
import { ConfigEntryError, configEntryView, decodeConfigEntry } from './config-entry-json.ts';
import { parseUint64, toIndex } from './kv-endpoint.ts';
import { metaHeaders, parseReadOptions, parseTarget, readSignal } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

export function configEntryEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/config', methods: { PUT: (request) => apply(api, request) } },
    {
      pattern: '/v1/config/',
      methods: { GET: (request) => read(api, request), DELETE: (request) => remove(api, request) },
    },
  ];
}

async function apply(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  let entry: ConfigEntryBody;
  try {
    entry = decodeConfigEntry(parseGoJson(await request.body()));
  } catch (error) {
    if (!(error instanceof GoJsonError || error instanceof ConfigEntryError)) throw error;
    throw badRequest(`Request decoding failed: ${error.message}`);
  }
  const write: ConfigEntryRequest = request.query.has('cas')
    ? {
        ...target,
        Op: 'upsert-cas',
        Entry: { ...entry, ModifyIndex: toIndex(parseUint64(request.query.get('cas'))) },
      }
    : { ...target, Op: 'upsert', Entry: entry };
  return json(request, await api.caller.call('ConfigEntry.Apply', write));
}

async function read(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const { Kind, Name } = parts(request);
  if (Name === undefined) {
    const reply = await api.caller.call('ConfigEntry.List', { ...options.query, Kind }, signal);
    return json(request, reply.Entries.map(configEntryView), metaHeaders(reply, null));
  }
  const reply = await api.caller.call('ConfigEntry.Get', { ...options.query, Kind, Name }, signal);
  const headers = metaHeaders(reply, null);
  if (reply.Entry !== null) return json(request, configEntryView(reply.Entry), headers);
  return text(404, `Config entry not found for ${JSON.stringify(Kind)} / ${JSON.stringify(Name)}`, headers);
}

async function remove(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const { Kind, Name } = parts(request);
  if (Name === undefined) throw new HttpError(404, 'Must provide both a kind and name to delete');
  if (!isConfigEntryKind(Kind)) throw new HttpError(400, `invalid config entry kind: ${Kind}`);
  await api.caller.call('ConfigEntry.Delete', { ...target, Op: 'delete', Entry: { Kind, Name } });
  return json(request, {});
}

/** `kind` or `kind/name`. */
function parts({ name }: ApiRequest): { readonly Kind: string; readonly Name: string | undefined } {
  const slash = name.indexOf('/');
  return slash < 0 ? { Kind: name, Name: undefined } : { Kind: name.slice(0, slash), Name: name.slice(slash + 1) };
}
