/** `/v1/agent/connect/`: what a proxy or a native application of the mesh asks its agent (reference/http-api.md §9.1). */
import { defaultNamespace, intentionCoversSource, intentionText, parseSpiffeId } from '../model/index.ts';
import { authorize as authorizeCaller, denied } from './agent-acl.ts';
import { type Answer, badRequest, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody, string, struct } from './decode.ts';
import { LeafCertificates } from './leaf-certificates.ts';
import { cacheHeaders, parseReadOptions, parseTarget, readSignal } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

interface AuthorizeBody {
  readonly Target: string;
  readonly ClientCertURI: string;
  readonly ClientCertSerial: string;
}

const authorizeBody = struct<AuthorizeBody>({
  Target: ['Target', string],
  ClientCertURI: ['ClientCertURI', string],
  ClientCertSerial: ['ClientCertSerial', string],
});

export function agentConnectEndpoints(api: Api): readonly Endpoint[] {
  const leaves = new LeafCertificates(api);
  return [
    { pattern: '/v1/agent/connect/authorize', methods: { POST: (request) => authorize(api, request) } },
    { pattern: '/v1/agent/connect/ca/leaf/', methods: { GET: (request) => leaf(api, leaves, request) } },
  ];
}

/** May the holder of this certificate connect to the target? The TLS library has verified the certificate itself. */
async function authorize(api: Api, request: ApiRequest): Promise<Answer> {
  const prefix = 'Bad request: Request decode failed: ';
  const body = decodeBody<AuthorizeBody>(await request.body(), authorizeBody, prefix);
  const { Target = '', ClientCertURI = '' } = body;
  if (Target === '') throw badRequest('Target service must be specified');
  const client = parseSpiffeId(ClientCertURI);
  if (client === null) throw badRequest('ClientCertURI not a valid Connect identifier');
  if (client.kind !== 'service') throw badRequest('ClientCertURI not a valid Service identifier');
  const authorizer = await authorizeCaller(api, request);
  if (authorizer?.may('service:write', Target) === false) throw denied();
  const { reply, ...origin } = await api.cache.read('Intention.Match', {
    ...parseTarget(request, api.options()),
    Match: { Type: 'destination', Entries: [{ Namespace: defaultNamespace, Name: Target }] },
  });
  const decisive = reply.Matches[0]?.find((one) => intentionCoversSource(one, client.namespace, client.service));
  const verdict =
    decisive === undefined
      ? authorizer === null
        ? { Authorized: true, Reason: 'ACLs disabled, access is allowed by default' }
        : { Authorized: api.agent.acl?.defaultAllows === true, Reason: 'Default behavior configured by ACLs' }
      : { Authorized: decisive.Action === 'allow', Reason: `Matched intention: ${intentionText(decisive)}` };
  return json(request, verdict, cacheHeaders(origin));
}

/** With the index of the present certificate this waits for the next, which a new root brings. */
async function leaf(api: Api, leaves: LeafCertificates, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const target = parseTarget(request, api.options());
  if (request.name === '') throw new HttpError(500, 'URI must be either service or agent');
  let { leaf: certificate, hit } = await leaves.get(request.name, target);
  const { MinQueryIndex = 0, MaxQueryTime = 0 } = options.query;
  if (MinQueryIndex >= certificate.ModifyIndex) {
    const { reply: roots } = await api.cache.read('ConnectCA.Roots', target);
    await api.cache.read(
      'ConnectCA.Roots',
      { ...target, MinQueryIndex: roots.Index, MaxQueryTime },
      {},
      readSignal(request, options),
    );
    ({ leaf: certificate } = await leaves.get(request.name, target));
    hit = false;
  }
  return json(
    request,
    {
      SerialNumber: certificate.SerialNumber,
      CertPEM: certificate.CertPEM,
      PrivateKeyPEM: certificate.PrivateKeyPEM,
      Service: certificate.Service,
      ServiceURI: certificate.ServiceURI,
      ValidAfter: certificate.ValidAfter,
      ValidBefore: certificate.ValidBefore,
      CreateIndex: certificate.CreateIndex,
      ModifyIndex: certificate.ModifyIndex,
    },
    [...cacheHeaders({ hit, ageMs: 0 }), ['X-Consul-Index', String(certificate.ModifyIndex)]],
  );
}
