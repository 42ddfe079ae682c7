/**
 * `/v1/agent/health/service/`: may traffic go to a local service, as an HTTP status that load balancers understand
 * (reference/http-api.md §9.1). Checks of the node count for every service on it (trap 16).
 */
import {
  type HealthCheck,
  nodeMaintenanceCheckId,
  type NodeService,
  serviceMaintenanceCheckPrefix,
} from '../model/index.ts';
import { type Answer, Body, type Header, headerValue, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { agentHealthCheckView, agentServiceView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

type Aggregate = 'passing' | 'warning' | 'critical' | 'maintenance';

const statusCodes: Readonly<Record<Aggregate, number>> = {
  passing: 200,
  warning: 429,
  critical: 503,
  maintenance: 503,
};

interface ServiceHealth {
  readonly status: Aggregate;
  readonly view: unknown;
}

export function agentHealthEndpoints(api: Api): readonly Endpoint[] {
  return [
    { pattern: '/v1/agent/health/service/id/', methods: { GET: (request) => byId(api, request) } },
    { pattern: '/v1/agent/health/service/name/', methods: { GET: (request) => byName(api, request) } },
  ];
}

function byId(api: Api, request: ApiRequest): Answer {
  const id = request.name;
  // Sic: a mistake of the caller, told as a fault of the server.
  if (id === '') throw new HttpError(500, 'Bad request: Missing serviceID');
  const service = api.agent.services().get(id);
  if (service === undefined) {
    const reason = `ServiceId ${id} not found`;
    const body = wantsText(request) ? reason : { AggregatedStatus: 'critical', Service: null, Checks: null };
    return json(request, body, [reasonHeader(reason)], 404);
  }
  const { status, view } = healthOf(api, service);
  return wantsText(request) ? plain(statusCodes[status], status) : answer(request, statusCodes[status], status, view);
}

function byName(api: Api, request: ApiRequest): Answer {
  const name = request.name;
  if (name === '') throw new HttpError(500, 'Bad request: Missing service Name');
  const found = [...api.agent.services().values()]
    .filter(({ Service }) => Service === name)
    .map((service) => healthOf(api, service));
  let code = 404;
  let reason = `ServiceName ${name} Not Found`;
  for (const { status } of found) {
    if (code !== 404 && statusCodes[status] <= code) continue;
    code = statusCodes[status];
    reason = status;
  }
  if (wantsText(request)) return plain(code, reason);
  const views = found.map(({ view }) => view);
  return answer(request, code, reason, views);
}

function healthOf(api: Api, service: NodeService): ServiceHealth {
  const checks = [...api.agent.checks().values()].filter(
    ({ ServiceID }) => ServiceID === service.ID || ServiceID === '',
  );
  const status = aggregate(checks);
  const shown = checks.map((check) => agentHealthCheckView({ ...check, CreateIndex: 0, ModifyIndex: 0 }));
  return { status, view: { AggregatedStatus: status, Service: agentServiceView(service), Checks: shown } };
}

/** The worst of all; maintenance is told apart because it was wanted. */
function aggregate(checks: readonly HealthCheck[]): Aggregate {
  let worst: Aggregate = 'passing';
  for (const { CheckID, Status } of checks) {
    if (CheckID === nodeMaintenanceCheckId || CheckID.startsWith(serviceMaintenanceCheckPrefix)) return 'maintenance';
    if (Status === 'critical') worst = 'critical';
    else if (Status === 'warning' && worst === 'passing') worst = 'warning';
  }
  return worst;
}

function wantsText(request: ApiRequest): boolean {
  const format = request.query.get('format');
  return format === '' ? request.header('accept').startsWith('text/plain') : format === 'text';
}

function reasonHeader(reason: string): Header {
  return ['X-Consul-Reason', headerValue(reason)];
}

function plain(status: number, reason: string): Answer {
  return { status, headers: [['Content-Type', 'text/plain'], reasonHeader(reason)], body: new Body(reason) };
}

function answer(request: ApiRequest, status: number, reason: string, view: unknown): Answer {
  return json(request, view, [reasonHeader(reason)], status);
}
