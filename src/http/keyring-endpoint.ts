/** `/v1/operator/keyring`: the keys that gossip is encrypted with (reference/http-api.md §9.8). */
import { multiErrorText } from '../lib/index.ts';
import type { KeyringRequest, KeyringResponse } from '../model/index.ts';
import { type Answer, badRequest, empty, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody, string, struct } from './decode.ts';
import { parseBool, parseTarget } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

/** Through how many other members answers may come as well. */
const relayFactorMax = 5;

const keyringBody = struct<{ readonly Key: string }>({ Key: ['Key', string] });

export function keyringEndpoints(api: Api): readonly Endpoint[] {
  return [
    {
      pattern: '/v1/operator/keyring',
      methods: {
        GET: async (request) => json(request, (await operate(api, request, 'list')).map(responseView)),
        POST: (request) => change(api, request, 'install'),
        PUT: (request) => change(api, request, 'use'),
        DELETE: (request) => change(api, request, 'remove'),
      },
      ignoresNamespace: true,
    },
  ];
}

async function change(api: Api, request: ApiRequest, operation: 'install' | 'use' | 'remove'): Promise<Answer> {
  await operate(api, request, operation);
  return empty();
}

/** @throws HttpError with what went wrong in each pool and on each member. */
async function operate(
  api: Api,
  request: ApiRequest,
  Operation: KeyringRequest['Operation'],
): Promise<readonly KeyringResponse[]> {
  const prefix = 'Bad request: Request decode failed: ';
  const { Key = '' } = Operation === 'list' ? {} : decodeBody(await request.body(), keyringBody, prefix);
  const RelayFactor = parseRelayFactor(request);
  const LocalOnly = parseLocalOnly(request, Operation);
  const { Responses } = await api.caller.call('Internal.KeyringOperation', {
    ...parseTarget(request, api.options()),
    Operation,
    Key,
    Forwarded: false,
    RelayFactor,
    LocalOnly,
  });
  const problems = Responses.filter(({ Error }) => Error !== '').flatMap((response) => [
    `${response.WAN ? 'WAN' : `${response.Datacenter} (LAN)`} error: ${response.Error}`,
    ...Object.entries(response.Messages ?? {}).map(([member, message]) => `${member}: ${message}`),
  ]);
  if (problems.length > 0) throw new HttpError(500, multiErrorText(problems));
  return Responses;
}

function parseRelayFactor({ query }: ApiRequest): number {
  const text = query.get('relay-factor');
  if (text === '') return 0;
  if (!/^[+-]?\d+$/.test(text)) {
    throw badRequest(`Error parsing relay factor: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const factor = Number(text);
  if (factor < 0 || factor > relayFactorMax) {
    throw badRequest(`Invalid relay-factor: Relay factor must be in range: [0, ${relayFactorMax}]`);
  }
  return factor;
}

function parseLocalOnly({ query }: ApiRequest, operation: KeyringRequest['Operation']): boolean {
  const text = query.get('local-only');
  if (text === '') return false;
  const local = parseBool(text);
  if (local === null) {
    throw badRequest(`Error parsing local-only: strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  if (local && operation !== 'list') {
    throw badRequest('Invalid use of local-only: local-only can only be set for list requests');
  }
  return local;
}

function responseView(response: KeyringResponse): object {
  const { Messages } = response;
  return {
    WAN: response.WAN,
    Datacenter: response.Datacenter,
    Segment: response.Segment,
    Messages: Messages === null || Object.keys(Messages).length === 0 ? undefined : new Map(Object.entries(Messages)),
    Keys: response.Keys === null ? null : new Map(Object.entries(response.Keys)),
    PrimaryKeys: response.PrimaryKeys === null ? null : new Map(Object.entries(response.PrimaryKeys)),
    NumNodes: response.NumNodes,
    Error: response.Error || undefined,
  };
}
