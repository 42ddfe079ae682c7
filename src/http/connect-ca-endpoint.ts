/** `/v1/connect/ca/`: the certificate authority of the mesh (reference/http-api.md §9.9). */
import type { CAConfiguration, CARoot, CallReply } from '../model/index.ts';
import { type Answer, badRequest, Body, empty, json } from './answer.ts';
import type { Api } from './api.ts';
import { freeMap, bool, decodeBody, ignored, map, string, struct } from './decode.ts';
import {
  metaHeaders,
  parseBool,
  parseReadOptions,
  parseTarget,
  readPerhapsCached,
  readSignal,
  readWithMeta,
} from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const configurationBody = struct<CAConfiguration>({
  ClusterID: ['ClusterID', ignored],
  Provider: ['Provider', string],
  Config: ['Config', freeMap],
  State: ['State', map(string, '')],
  ForceWithoutCrossSigning: ['ForceWithoutCrossSigning', bool],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

export function connectCaEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/connect/ca/roots', methods: { GET: (request) => roots(api, request) }, ignoresNamespace: true },
    {
      pattern: '/v1/connect/ca/configuration',
      methods: {
        GET: (request) => configuration(api, request),
        PUT: (request) => setConfiguration(api, request),
      },
      ignoresNamespace: true,
    },
    {
      pattern: '/v1/agent/connect/ca/roots',
      ignoresNamespace: true,
      methods: {
        GET: (request) => agentRoots(api, request),
      },
    },
  ];
}

/** The agent's own copy, asked for with `?cached` or without. */
async function agentRoots(api: Api, request: ApiRequest): Promise<Answer> {
  const options = { ...parseReadOptions(request, api.options()), cached: true };
  const signal = readSignal(request, options);
  const { reply, headers } = await readPerhapsCached(api, options, 'ConnectCA.Roots', (query) => query, signal);
  return json(request, rootsView(reply), [...metaHeaders(reply, null), ...headers]);
}

async function readRoots(api: Api, request: ApiRequest): Promise<CallReply<'ConnectCA.Roots'>> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) => api.caller.call('ConnectCA.Roots', query, signal));
  return reply;
}

async function roots(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = request;
  const pem = query.has('pem') ? parseBool(query.get('pem')) : false;
  if (pem === null) throw badRequest("The 'pem' query parameter must be a boolean value");
  const reply = await readRoots(api, request);
  if (!pem) return json(request, rootsView(reply), metaHeaders(reply, null));
  const certificates = reply.Roots.flatMap(({ RootCert, IntermediateCerts }) => [
    RootCert,
    ...(IntermediateCerts ?? []),
  ]);
  return {
    status: 200,
    headers: [['Content-Type', 'application/pem-certificate-chain']],
    body: new Body(certificates.join('')),
  };
}

function rootsView({ ActiveRootID, TrustDomain, Roots }: CallReply<'ConnectCA.Roots'>): object {
  return { ActiveRootID, TrustDomain, Roots: Roots.map(rootView) };
}

function rootView(root: CARoot): object {
  return {
    ID: root.ID,
    Name: root.Name,
    SerialNumber: root.SerialNumber,
    SigningKeyID: root.SigningKeyID,
    ExternalTrustDomain: root.ExternalTrustDomain,
    NotBefore: root.NotBefore,
    NotAfter: root.NotAfter,
    RootCert: root.RootCert,
    IntermediateCerts: root.IntermediateCerts,
    Active: root.Active,
    PrivateKeyType: root.PrivateKeyType,
    PrivateKeyBits: root.PrivateKeyBits,
    CreateIndex: root.CreateIndex,
    ModifyIndex: root.ModifyIndex,
  };
}

async function configuration(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = parseReadOptions(request, api.options());
  const config = await api.caller.call('ConnectCA.ConfigurationGet', query);
  return json(request, {
    Provider: config.Provider,
    Config: config.Config === null ? null : new Map(Object.entries(config.Config)),
    State: config.State === null ? null : new Map(Object.entries(config.State)),
    ForceWithoutCrossSigning: config.ForceWithoutCrossSigning,
    CreateIndex: config.CreateIndex,
    ModifyIndex: config.ModifyIndex,
  });
}

async function setConfiguration(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const given = decodeBody(await request.body(), configurationBody, 'Bad request: Request decode failed: ');
  const { Provider = '', Config = null, State = null, ForceWithoutCrossSigning = false } = given;
  const wanted = { Provider, Config, State, ForceWithoutCrossSigning };
  await api.caller.call('ConnectCA.ConfigurationSet', { ...target, Config: wanted });
  return empty();
}
