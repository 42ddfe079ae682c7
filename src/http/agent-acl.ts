/**
 * Rights over the agent itself and what is registered at it: one entry an endpoint says what it takes
 * (reference/http-api.md §9.1, §10). While ACLs are off the endpoints stay as they are.
 */
import type { CheckDefinition, HealthCheck, ServiceDefinition } from '../model/index.ts';
import type { Authorizer } from '../server/index.ts';
import { HttpError } from './answer.ts';
import type { Api } from './api.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint, Handler } from './routes.ts';

export const agentTokenNames = ['default', 'agent', 'agent_master', 'replication'] as const;
export type AgentTokenName = (typeof agentTokenNames)[number];

/** What the agent knows about tokens. */
export interface AgentAcl {
  readonly enabled: boolean;
  /** Whether what no rule is about is allowed (`acl.default_policy`). */
  readonly defaultAllows: boolean;
  /** What requests without a token are made with; "" = the anonymous token. */
  readonly defaultToken: () => string;
  /**
   * A token's rights, also those of the agent's own master token, which no server knows.
   * @throws CallError `ACL not found`.
   */
  readonly resolve: (token: string) => Promise<Authorizer | null>;
  /** Exchanges one of the agent's own tokens. */
  readonly setToken: (name: AgentTokenName, secret: string) => Promise<void>;
}

/** The caller's rights; null = everything is allowed. @throws CallError `ACL not found`. */
export async function authorize(api: Api, request: ApiRequest): Promise<Authorizer | null> {
  const { acl } = api.agent;
  return acl?.enabled === true ? await acl.resolve(request.token) : null;
}

export function denied(missing?: string): HttpError {
  return new HttpError(403, missing === undefined ? 'Permission denied' : `Permission denied: Missing ${missing}`);
}

type Guard = (api: Api, authorizer: Authorizer, request: ApiRequest) => void;

const agentRead: Guard = (api, authorizer) => {
  if (!authorizer.may('agent:read', api.agent.nodeName)) throw denied();
};
const agentWrite: Guard = (api, authorizer) => {
  if (!authorizer.may('agent:write', api.agent.nodeName)) throw denied();
};
const changesService: Guard = (api, authorizer, { name }) => {
  if (name === '') return;
  const service = api.agent.services().get(name);
  // Sic: Go's way to print the ID with its namespace.
  if (service === undefined) throw new HttpError(500, `Unknown service {${JSON.stringify(name)} {}}`);
  requireService(authorizer, service.Service);
};
const changesCheck: Guard = (api, authorizer, { name }) => {
  if (name === '') return;
  const check = api.agent.checks().get(name);
  if (check === undefined) throw new HttpError(500, `Unknown check ${JSON.stringify(name)}`);
  requireCheck(api, authorizer, check.ServiceName);
};
const readsService: Guard = (_, authorizer, { name }) => {
  if (!authorizer.may('service:read', name)) throw denied();
};
const readsServiceById: Guard = (api, authorizer, { name }) => {
  const service = api.agent.services().get(name);
  if (service !== undefined && !authorizer.may('service:read', service.Service)) throw denied();
};

/** Lists are narrowed by their handlers, and registrations are looked at when their body is read. */
const guards: Readonly<Record<string, Guard>> = {
  '/v1/agent/self': agentRead,
  '/v1/agent/host': (_, authorizer) => {
    if (!authorizer.maySingle('operator:read')) throw denied();
  },
  '/v1/agent/metrics': agentRead,
  '/v1/agent/monitor': agentRead,
  '/v1/agent/join/': agentWrite,
  '/v1/agent/leave': agentWrite,
  '/v1/agent/force-leave/': (_, authorizer) => {
    if (!authorizer.maySingle('operator:write')) throw denied();
  },
  '/v1/agent/reload': agentWrite,
  '/v1/agent/maintenance': (api, authorizer) => {
    if (!authorizer.may('node:write', api.agent.nodeName)) throw denied();
  },
  '/v1/agent/token/': agentWrite,
  '/v1/agent/service/': readsServiceById,
  '/v1/agent/service/deregister/': changesService,
  '/v1/agent/service/maintenance/': changesService,
  '/v1/agent/check/deregister/': changesCheck,
  '/v1/agent/check/pass/': changesCheck,
  '/v1/agent/check/warn/': changesCheck,
  '/v1/agent/check/fail/': changesCheck,
  '/v1/agent/check/update/': changesCheck,
  '/v1/agent/health/service/id/': readsServiceById,
  '/v1/agent/health/service/name/': readsService,
};

/** The endpoints; those that the table knows behind their guard. */
export function guardedAgent(api: Api, endpoints: readonly Endpoint[]): readonly Endpoint[] {
  if (api.agent.acl?.enabled !== true) return endpoints;
  return endpoints.map((endpoint) => {
    const guard = Object.hasOwn(guards, endpoint.pattern) ? guards[endpoint.pattern] : undefined;
    if (guard === undefined) return endpoint;
    const behind =
      (handler: Handler): Handler =>
      async (request) => {
        const authorizer = await authorize(api, request);
        if (authorizer !== null) guard(api, authorizer, request);
        return await handler(request);
      };
    const methods = Object.entries(endpoint.methods).map(([method, handler]) => [method, behind(handler)] as const);
    return { ...endpoint, methods: Object.fromEntries(methods) };
  });
}

/** Registering takes rights over the service, over what its ID names now, and over what it is a proxy for. */
export function requireRegistration(api: Api, authorizer: Authorizer | null, definition: ServiceDefinition): void {
  if (authorizer === null) return;
  requireService(authorizer, definition.name);
  const replaced = api.agent.services().get(definition.id || definition.name);
  if (replaced !== undefined) requireService(authorizer, replaced.Service);
  if (definition.kind === 'connect-proxy') {
    requireService(authorizer, definition.proxy?.DestinationServiceName ?? '');
  }
  const sidecar = definition.connect?.sidecarService;
  if (sidecar !== undefined) requireService(authorizer, sidecar.name || `${definition.name}-sidecar-proxy`);
}

/** A check takes rights over its service, one without a service over the node. */
export function requireCheckRegistration(api: Api, authorizer: Authorizer | null, definition: CheckDefinition): void {
  if (authorizer === null) return;
  const service = definition.serviceId ? api.agent.services().get(definition.serviceId) : undefined;
  requireCheck(api, authorizer, service?.Service ?? '');
  const replaced = api.agent.checks().get(definition.id || (definition.name ?? ''));
  if (replaced !== undefined) requireCheck(api, authorizer, replaced.ServiceName);
}

export function seesLocalCheck(authorizer: Authorizer, check: HealthCheck): boolean {
  return check.ServiceName === ''
    ? authorizer.may('node:read', check.Node)
    : authorizer.may('service:read', check.ServiceName);
}

function requireService(authorizer: Authorizer, service: string): void {
  if (!authorizer.may('service:write', service)) throw denied(`service:write on ${service}`);
}

function requireCheck(api: Api, authorizer: Authorizer, service: string): void {
  if (service !== '') requireService(authorizer, service);
  else if (!authorizer.may('node:write', api.agent.nodeName)) throw denied(`node:write on ${api.agent.nodeName}`);
}
