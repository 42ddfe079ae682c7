/** `/v1/acl/`: tokens, policies, roles, auth methods and binding rules (reference/http-api.md §9.11). */
import { GoJsonError, parseGoJson } from '../codec/index.ts';
import {
  type ACLAuthorizationRequest,
  type ACLLoginParams,
  type ACLToken,
  aclSyntax,
  authorizationsMax,
  CallError,
  emptyAuthMethod,
  emptyBindingRule,
  emptyPolicy,
  emptyRole,
  emptyToken,
} from '../model/index.ts';
import { translateRules } from '../server/index.ts';
import {
  authMethodBody,
  authMethodStubView,
  authMethodView,
  bindingRuleBody,
  bindingRuleView,
  policyBody,
  policyStubView,
  policyView,
  roleBody,
  roleView,
  tokenBody,
  tokenStubView,
  tokenView,
} from './acl-json.ts';
import { legacyAclEndpoints } from './acl-legacy-endpoint.ts';
import { read } from './acl-read.ts';
import { authorize, denied } from './agent-acl.ts';
import { type Answer, badRequest, empty, HttpError, json, text } from './answer.ts';
import type { Api } from './api.ts';
import { type Decode, decodeBody, DecodeError, list, map, string, struct } from './decode.ts';
import { parseTarget } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';

const feature = ' - Namespaces are a Consul Enterprise feature';

/** A body with the object's own prefix before what is wrong with it. */
async function decoded<T extends object>(
  request: ApiRequest,
  kind: string,
  decode: Decode<Partial<T>>,
): Promise<Partial<T>> {
  return decodedAs(await request.body(), decode, `Bad request: ${kind} decoding failed: `);
}

/** {@link decodeBody}, which says of namespaces what they are. */
function decodedAs<T extends object>(bytes: Uint8Array, decode: Decode<Partial<T>>, prefix: string): Partial<T> {
  try {
    return decodeBody(bytes, decode, prefix);
  } catch (error) {
    if (error instanceof HttpError && /unknown field "Namespace"$/i.test(error.message)) {
      throw new HttpError(error.status, error.message + feature);
    }
    throw error;
  }
}

/** An endpoint that exists only while ACLs are on. */
export function whileOn(api: Api, endpoints: readonly Endpoint[]): readonly Endpoint[] {
  if (api.agent.acl?.enabled === true) return endpoints;
  const off = (): Answer => text(401, 'ACL support disabled');
  return endpoints.map((endpoint) => ({
    ...endpoint,
    methods: Object.fromEntries(Object.keys(endpoint.methods).map((method): [string, Handler] => [method, off])),
  }));
}

export function aclEndpoints(api: Api): readonly Endpoint[] {
  return whileOn(api, [
    { pattern: '/v1/acl/bootstrap', methods: { PUT: (request) => bootstrap(api, request) } },
    {
      pattern: '/v1/acl/tokens',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.TokenList', {
            IncludeLocal: true,
            IncludeGlobal: true,
            Policy: request.query.get('policy'),
            Role: request.query.get('role'),
            AuthMethod: request.query.get('authmethod'),
          });
          return json(request, reply.Tokens.map(tokenStubView), headers);
        },
      },
    },
    { pattern: '/v1/acl/token', methods: { PUT: (request) => setToken(api, request, '') } },
    { pattern: '/v1/acl/token/self', methods: { GET: (request) => readToken(api, request, 'secret', request.token) } },
    {
      pattern: '/v1/acl/token/',
      methods: {
        GET: (request) => readToken(api, request, 'accessor', required(request, 'token ID')),
        PUT: (request) => {
          const id = required(request, 'token ID');
          return id.endsWith('/clone')
            ? cloneToken(api, request, id.slice(0, -'/clone'.length))
            : setToken(api, request, id);
        },
        DELETE: async (request) => {
          await api.caller.call('ACL.TokenDelete', { ...target(api, request), TokenID: required(request, 'token ID') });
          return json(request, true);
        },
      },
    },
    ...policyEndpoints(api),
    ...roleEndpoints(api),
    ...authMethodEndpoints(api),
    ...bindingRuleEndpoints(api),
    { pattern: '/v1/acl/login', methods: { POST: (request) => login(api, request) } },
    {
      pattern: '/v1/acl/logout',
      methods: {
        POST: async (request) => {
          // Nobody is logged in; no server need be asked.
          if (request.token === '') throw new HttpError(403, 'ACL not found');
          await api.caller.call('ACL.Logout', target(api, request));
          return json(request, true);
        },
      },
    },
    {
      pattern: '/v1/acl/replication',
      methods: {
        GET: async (request) => json(request, await api.caller.call('ACL.ReplicationStatus', target(api, request))),
      },
    },
    { pattern: '/v1/acl/rules/translate', methods: { POST: (request) => translate(api, request) } },
    { pattern: '/v1/acl/rules/translate/', methods: { GET: (request) => translateToken(api, request) } },
    { pattern: '/v1/internal/acl/authorize', methods: { POST: (request) => authorizeMany(api, request) } },
    ...legacyAclEndpoints(api),
  ]);
}

/** What follows the prefix. @throws HttpError when nothing does. */
function required(request: ApiRequest, what: string): string {
  const { name } = request;
  if (name === '') throw badRequest(`Missing ${what}`);
  return name;
}

async function bootstrap(api: Api, request: ApiRequest): Promise<Answer> {
  try {
    const token = await api.caller.call('ACL.BootstrapTokens', { Datacenter: target(api, request).Datacenter });
    return json(request, { ID: token.SecretID, ...tokenView(token) });
  } catch (error) {
    if (error instanceof CallError && error.message.includes('no longer allowed')) {
      throw new HttpError(403, `Permission denied: ${error.message}`);
    }
    throw error;
  }
}

function target(api: Api, request: ApiRequest): ReturnType<typeof parseTarget> {
  return parseTarget(request, api.options());
}

async function readToken(
  api: Api,
  request: ApiRequest,
  TokenIDType: 'secret' | 'accessor',
  TokenID: string,
): Promise<Answer> {
  const { reply, headers } = await read(api, request, 'ACL.TokenRead', { TokenIDType, TokenID });
  if (reply.Token === null) return text(403, 'ACL not found', headers);
  return json(request, tokenView(reply.Token), headers);
}

async function setToken(api: Api, request: ApiRequest, accessor: string): Promise<Answer> {
  const given = await decoded<ACLToken>(request, 'Token', tokenBody);
  if (accessor !== '' && given.AccessorID && given.AccessorID !== accessor) {
    throw badRequest('Token Accessor ID in URL and payload do not match');
  }
  const token = await api.caller.call('ACL.TokenSet', {
    ...target(api, request),
    ACLToken: { ...emptyToken, ...given, AccessorID: accessor || (given.AccessorID ?? '') },
    Create: accessor === '',
  });
  return json(request, tokenView(token));
}

async function cloneToken(api: Api, request: ApiRequest, accessor: string): Promise<Answer> {
  const given = await decoded<ACLToken>(request, 'Token', tokenBody);
  const token = await api.caller.call('ACL.TokenClone', {
    ...target(api, request),
    ACLToken: { ...emptyToken, ...given, AccessorID: accessor },
    Create: true,
  });
  return json(request, tokenView(token));
}

function policyEndpoints(api: Api): readonly Endpoint[] {
  const show = async (request: ApiRequest, by: { PolicyID: string } | { PolicyName: string }): Promise<Answer> => {
    const { reply, headers } = await read(api, request, 'ACL.PolicyRead', by);
    return reply.Policy === null
      ? text(403, 'ACL not found', headers)
      : json(request, policyView(reply.Policy), headers);
  };
  const set = async (request: ApiRequest, id: string): Promise<Answer> => {
    const given = await decoded(request, 'Policy', policyBody);
    if (id === '' && given.ID) throw badRequest('Cannot specify the ID when creating a new policy');
    if (id !== '' && given.ID && given.ID !== id) throw badRequest('Policy ID in URL and payload do not match');
    const Policy = { ...emptyPolicy, Syntax: aclSyntax.current, ...given, ID: id };
    return json(request, policyView(await api.caller.call('ACL.PolicySet', { ...target(api, request), Policy })));
  };
  return [
    {
      pattern: '/v1/acl/policies',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.PolicyList', {});
          return json(request, reply.Policies.map(policyStubView), headers);
        },
      },
    },
    { pattern: '/v1/acl/policy', methods: { PUT: (request) => set(request, '') } },
    {
      pattern: '/v1/acl/policy/name/',
      methods: { GET: (request) => show(request, { PolicyName: required(request, 'policy Name') }) },
    },
    {
      pattern: '/v1/acl/policy/',
      methods: {
        GET: (request) => show(request, { PolicyID: required(request, 'policy ID') }),
        PUT: (request) => set(request, required(request, 'policy ID')),
        DELETE: async (request) => {
          const PolicyID = required(request, 'policy ID');
          await api.caller.call('ACL.PolicyDelete', { ...target(api, request), PolicyID });
          return json(request, true);
        },
      },
    },
  ];
}

function roleEndpoints(api: Api): readonly Endpoint[] {
  const show = async (request: ApiRequest, by: { RoleID: string } | { RoleName: string }): Promise<Answer> => {
    const { reply, headers } = await read(api, request, 'ACL.RoleRead', by);
    return reply.Role === null ? empty(404) : json(request, roleView(reply.Role), headers);
  };
  const set = async (request: ApiRequest, id: string): Promise<Answer> => {
    const given = await decoded(request, 'Role', roleBody);
    if (given.ID && given.ID !== id) throw badRequest('Role ID in URL and payload do not match');
    const Role = { ...emptyRole, ...given, ID: id };
    return json(request, roleView(await api.caller.call('ACL.RoleSet', { ...target(api, request), Role })));
  };
  return [
    {
      pattern: '/v1/acl/roles',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.RoleList', { Policy: request.query.get('policy') });
          return json(request, reply.Roles.map(roleView), headers);
        },
      },
    },
    { pattern: '/v1/acl/role', methods: { PUT: (request) => set(request, '') } },
    {
      pattern: '/v1/acl/role/name/',
      methods: { GET: (request) => show(request, { RoleName: required(request, 'role Name') }) },
    },
    {
      pattern: '/v1/acl/role/',
      methods: {
        GET: (request) => show(request, { RoleID: required(request, 'role ID') }),
        PUT: (request) => set(request, required(request, 'role ID')),
        DELETE: async (request) => {
          const RoleID = required(request, 'role ID');
          await api.caller.call('ACL.RoleDelete', { ...target(api, request), RoleID });
          return json(request, true);
        },
      },
    },
  ];
}

function authMethodEndpoints(api: Api): readonly Endpoint[] {
  const set = async (request: ApiRequest, name: string): Promise<Answer> => {
    const given = await decoded(request, 'AuthMethod', authMethodBody);
    if (name !== '' && given.Name && given.Name !== name)
      throw badRequest('AuthMethod Name in URL and payload do not match');
    const AuthMethod = { ...emptyAuthMethod, ...given, Name: name || (given.Name ?? '') };
    const method = await api.caller.call('ACL.AuthMethodSet', { ...target(api, request), AuthMethod });
    return json(request, authMethodView(method));
  };
  return [
    {
      pattern: '/v1/acl/auth-methods',
      methods: {
        GET: async (request) => {
          const { reply, headers } = await read(api, request, 'ACL.AuthMethodList', {});
          return json(request, reply.AuthMethods.map(authMethodStubView), headers);
        },
      },
    },
    { pattern: '/v1/acl/auth-method', methods: { PUT: (request) => set(request, '') } },
    {
      pattern: '/v1/acl/auth-method/',
      methods: {
        GET: async (request) => {
          const AuthMethodName = required(request, 'auth method name');
          const { reply, headers } = await read(api, request, 'ACL.AuthMethodRead', { AuthMethodName });
          return reply.AuthMethod === null ? empty(404) : json(request, authMethodView(reply.AuthMethod), headers);
        },
        PUT: (request) => set(request, required(request, 'auth method name')),
        DELETE: async (request) => {
          const AuthMethodName = required(request, 'auth method name');
          await api.caller.call('ACL.AuthMethodDelete', { ...target(api, request), AuthMethodName });
          return json(request, true);
        },
      },
    },
  ];
}

function bindingRuleEndpoints(api: Api): readonly Endpoint[] {
  const set = async (request: ApiRequest, id: string): Promise<Answer> => {
    const given = await decoded(request, 'BindingRule', bindingRuleBody);
    if (given.ID && given.ID !== id) throw badRequest('BindingRule ID in URL and payload do not match');
    const BindingRule = { ...emptyBindingRule, ...given, ID: id };
    const rule = await api.caller.call('ACL.BindingRuleSet', { ...target(api, request), BindingRule });
    return json(request, bindingRuleView(rule));
  };
  return [
    {
      pattern: '/v1/acl/binding-rules',
      methods: {
        GET: async (request) => {
          const AuthMethod = request.query.get('authmethod');
          const { reply, headers } = await read(api, request, 'ACL.BindingRuleList', { AuthMethod });
          return json(request, reply.BindingRules.map(bindingRuleView), headers);
        },
      },
    },
    { pattern: '/v1/acl/binding-rule', methods: { PUT: (request) => set(request, '') } },
    {
      pattern: '/v1/acl/binding-rule/',
      methods: {
        GET: async (request) => {
          const BindingRuleID = required(request, 'binding rule ID');
          const { reply, headers } = await read(api, request, 'ACL.BindingRuleRead', { BindingRuleID });
          return reply.BindingRule === null ? empty(404) : json(request, bindingRuleView(reply.BindingRule), headers);
        },
        PUT: (request) => set(request, required(request, 'binding rule ID')),
        DELETE: async (request) => {
          const BindingRuleID = required(request, 'binding rule ID');
          await api.caller.call('ACL.BindingRuleDelete', { ...target(api, request), BindingRuleID });
          return json(request, true);
        },
      },
    },
  ];
}

const loginBody = struct<ACLLoginParams>({
  AuthMethod: ['AuthMethod', string],
  BearerToken: ['BearerToken', string],
  Meta: ['Meta', map(string, '')],
});

/** Whoever logs in has no token yet; one that comes along is not looked at. */
async function login(api: Api, request: ApiRequest): Promise<Answer> {
  const bytes = await request.body();
  const given = decodedAs<ACLLoginParams>(bytes, loginBody, 'Bad request: Failed to decode request body: ');
  const token = await api.caller.call('ACL.Login', {
    Datacenter: target(api, request).Datacenter,
    Auth: isNull(bytes) ? null : { AuthMethod: '', BearerToken: '', Meta: null, ...given },
  });
  return json(request, tokenView(token));
}

function isNull(bytes: Uint8Array): boolean {
  return parseGoJson(bytes) === null;
}

/** Not about stored rules, but reading rules is for who may read rules. */
async function translate(api: Api, request: ApiRequest): Promise<Answer> {
  const authorizer = await authorize(api, request);
  if (authorizer !== null && !authorizer.maySingle('acl:read')) throw denied();
  return text(200, translated(Buffer.from(await request.body()).toString('utf8')));
}

function translated(rules: string): string {
  try {
    return translateRules(rules);
  } catch (error) {
    // Only in these words when they are not about a stored policy.
    if (error instanceof CallError) throw badRequest(error.message.replace('parse ACL rules', 'parse rules'));
    throw error;
  }
}

async function translateToken(api: Api, request: ApiRequest): Promise<Answer> {
  const { reply, headers } = await read(api, request, 'ACL.TokenRead', {
    TokenIDType: 'accessor',
    TokenID: required(request, 'token ID'),
  });
  if (reply.Token === null) return text(403, 'ACL not found', headers);
  if (reply.Token.Rules === '') return text(500, 'The specified token does not have any rules set', headers);
  return text(200, translated(reply.Token.Rules), headers);
}

const noQuestion: ACLAuthorizationRequest = { Resource: '', Segment: '', Access: '' };
const question = struct<ACLAuthorizationRequest>({
  Resource: ['Resource', string],
  Segment: ['Segment', string],
  Access: ['Access', string],
});
const questions = list<ACLAuthorizationRequest>(
  (value, field) => ({ ...noQuestion, ...question(value, field) }),
  noQuestion,
);

async function authorizeMany(api: Api, request: ApiRequest): Promise<Answer> {
  let Requests: readonly ACLAuthorizationRequest[];
  try {
    const value = parseGoJson(await request.body());
    Requests = value === null ? [] : questions(value, '');
  } catch (error) {
    if (!(error instanceof GoJsonError || error instanceof DecodeError)) throw error;
    throw badRequest(`Failed to decode request body: ${error.message}`);
  }
  if (Requests.length > authorizationsMax) {
    throw badRequest(`Refusing to process more than ${authorizationsMax} authorizations at once`);
  }
  // An unknown token is refused here, as any other request to the agent would be.
  await authorize(api, request);
  try {
    const answers = await api.caller.call('ACL.Authorize', { ...target(api, request), Requests });
    return json(
      request,
      answers.map(({ Resource, Segment, Access, Allow }) => ({
        Resource,
        Segment: Segment || undefined,
        Access,
        Allow,
      })),
    );
  } catch (error) {
    // The peer's agents judge the question themselves, so that no server's prefix comes before the text.
    const problem =
      error instanceof CallError && /^(?:rpc error making call: )*((?:Invalid|Refusing).*)/s.exec(error.message);
    if (problem) throw badRequest(problem[1]!);
    throw error;
  }
}
