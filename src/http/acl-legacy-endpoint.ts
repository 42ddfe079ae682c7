/** `/v1/acl/create` and its like: the API of the time before policies (reference/http-api.md §9.11, "Legacy"). */
import type { LegacyACL } from '../model/index.ts';
import { legacyBody, legacyView } from './acl-json.ts';
import { read } from './acl-read.ts';
import { type Answer, HttpError, json, text } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody } from './decode.ts';
import { parseTarget } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const emptyLegacy: LegacyACL = { ID: '', Name: '', Type: '', Rules: '', CreateIndex: 0, ModifyIndex: 0 };

export function legacyAclEndpoints(api: Api): readonly Endpoint[] {
  const apply = async (request: ApiRequest, Op: 'set' | 'delete', ACL: LegacyACL): Promise<string> =>
    await api.caller.call('ACL.Apply', { ...parseTarget(request, api.options()), Op, ACL });
  const set = async (request: ApiRequest, update: boolean): Promise<Answer> => {
    // A create without a body is fine: a client token without rights.
    const bytes = request.contentLength === 0 ? new Uint8Array() : await request.body();
    const given = bytes.length === 0 ? {} : decodeBody<LegacyACL>(bytes, legacyBody);
    const acl = { ...emptyLegacy, ...given, Type: given.Type || 'client' };
    if (update && acl.ID === '') throw new HttpError(400, 'ACL ID must be set');
    return json(request, { ID: await apply(request, 'set', acl) });
  };
  const id = (request: ApiRequest): string => {
    if (request.name === '') throw new HttpError(400, 'Missing ACL');
    return request.name;
  };
  return [
    { pattern: '/v1/acl/create', methods: { PUT: (request) => set(request, false) } },
    { pattern: '/v1/acl/update', methods: { PUT: (request) => set(request, true) } },
    {
      pattern: '/v1/acl/destroy/',
      methods: {
        PUT: async (request) => {
          await apply(request, 'delete', { ...emptyLegacy, ID: id(request) });
          return json(request, true);
        },
      },
    },
    {
      pattern: '/v1/acl/info/',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.Get', { ACL: id(request) });
          return json(request, reply.ACLs.map(legacyView), headers);
        },
      },
    },
    {
      pattern: '/v1/acl/clone/',
      methods: {
        PUT: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.Get', { ACL: id(request) });
          const [original] = reply.ACLs;
          if (original === undefined) return text(403, 'Permission denied', headers);
          return json(request, { ID: await apply(request, 'set', { ...original, ID: '' }) }, headers);
        },
      },
    },
    {
      pattern: '/v1/acl/list',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.List', {});
          return json(request, reply.ACLs.map(legacyView), headers);
        },
      },
    },
  ];
}
