/**
 * Where the registrator keeps its services when the agent is a foreign one: the HTTP API of any Consul agent
 * (reference/registrator.md §3, §9). Every request here may be sent twice without harm, so one that dies with its
 * connection is sent once more at once — a kept connection that the agent has closed meanwhile looks just like that;
 * everything slower is for the reconciler to retry.
 */
import { encodeGoJson } from '../codec/index.ts';
import type { HealthCheck, NodeService, ServiceDefinition } from '../model/index.ts';
import { serviceMaintenanceCheckPrefix } from '../model/index.ts';
import type { HeldService, RegistrationBackend } from '../registrator/index.ts';
import { type AgentClient, AgentConnectionError, type ClientRequest, UnexpectedResponseError } from './agent-client.ts';
import { serviceRegistrationBody } from './service-registration.ts';

/** Time for one request, ms; an agent answers these from memory. */
const registrationTimeoutMs = 10_000;
/** Answers of a proxy whose agent is away: nobody refused anything. */
const gatewayStatuses: ReadonlySet<number> = new Set([502, 503, 504]);

/** The agent answered and refused; its own text is the message. */
export class RegistrationRefusedError extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, text: string, options?: { cause?: unknown }) {
    super(text.trim() === '' ? `the agent answered ${statusCode}` : text.trim(), options);
    this.name = 'RegistrationRefusedError';
    this.statusCode = statusCode;
  }
}

/** A backend over `client`; closing the client is the caller's. */
export function createHttpBackend(client: AgentClient): RegistrationBackend {
  const call = async <T>(signal: AbortSignal | undefined, send: (options: ClientRequest) => Promise<T>): Promise<T> => {
    const options: ClientRequest = { signal, timeoutMs: registrationTimeoutMs };
    try {
      try {
        return await send(options);
      } catch (error) {
        if (!(error instanceof AgentConnectionError) || !diedWithConnection(error) || signal?.aborted) throw error;
        return await send(options);
      }
    } catch (error) {
      if (!(error instanceof UnexpectedResponseError) || gatewayStatuses.has(error.status)) throw error;
      throw new RegistrationRefusedError(error.status, error.text, { cause: error });
    }
  };
  const put = async (path: string, signal: AbortSignal | undefined, more: ClientRequest = {}): Promise<void> => {
    await call(signal, (options) => client.ok('PUT', path, { ...options, ...more }));
  };
  return {
    name: client.endpoint,

    async list(signal) {
      const [services, checks] = await Promise.all([
        call(signal, (options) =>
          client.json<Record<string, NodeService> | null>('GET', '/v1/agent/services', options),
        ),
        call(signal, (options) => client.json<Record<string, HealthCheck> | null>('GET', '/v1/agent/checks', options)),
      ]);
      return heldServices(services ?? {}, Object.values(checks ?? {}));
    },

    async register(definition: ServiceDefinition, signal) {
      await put('/v1/agent/service/register', signal, {
        query: { 'replace-existing-checks': 'true' },
        headers: { 'Content-Type': 'application/json' },
        body: serviceRegistrationBody(definition),
      });
    },

    async deregister(serviceId, signal) {
      await put(`/v1/agent/service/deregister/${serviceId}`, signal);
    },

    async setCheckStatus(checkId, status, output, signal) {
      // In the body, because an output in the query would outgrow what servers take as a request's head.
      await put(`/v1/agent/check/update/${checkId}`, signal, {
        body: encodeGoJson({ Status: status, Output: output }),
      });
    },
  };
}

function heldServices(
  services: Readonly<Record<string, NodeService>>,
  checks: readonly HealthCheck[],
): ReadonlyMap<string, HeldService> {
  const byService = new Map<string, HealthCheck[]>();
  for (const check of checks) {
    const list = byService.get(check.ServiceID);
    if (list === undefined) byService.set(check.ServiceID, [check]);
    else list.push(check);
  }
  const held = new Map<string, HeldService>();
  for (const [id, service] of Object.entries(services)) {
    const own = byService.get(id) ?? [];
    const isMaintenance = (check: HealthCheck): boolean => check.CheckID.startsWith(serviceMaintenanceCheckPrefix);
    held.set(id, {
      id,
      name: service.Service,
      address: service.Address,
      port: service.Port,
      tags: service.Tags ?? [],
      // Decoded objects have no prototype; a plain one compares as everybody expects.
      meta: { ...service.Meta },
      checks: new Map(
        own
          .filter((check) => !isMaintenance(check))
          .map((check) => [check.CheckID, { status: check.Status, output: check.Output, type: check.Type ?? '' }]),
      ),
    });
  }
  return held;
}

function diedWithConnection(error: AgentConnectionError): boolean {
  const { cause } = error;
  return cause instanceof Error && 'code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE');
}
