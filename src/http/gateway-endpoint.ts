/** Gateways and summaries of services: `/v1/catalog/gateway-services/`, `/v1/internal/ui/` (reference/http-api.md §9.10). */
import type { GatewayService } from '../model/index.ts';
import { type Answer, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { metaHeaders, parseReadOptions, readSignal, readWithMeta } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';
import { summarizeServices } from './service-summary.ts';
import { readEvenWithoutLeader } from './ui-data-endpoint.ts';

export function gatewayEndpoints(api: Api): readonly Endpoint[] {
  const get = (pattern: string, handler: (api: Api, request: ApiRequest) => Promise<Answer>): Endpoint => ({
    pattern,
    methods: { GET: (request) => handler(api, request) },
  });
  return [
    get('/v1/catalog/gateway-services/', gatewayServices),
    get('/v1/internal/ui/services', serviceSummaries),
    get('/v1/internal/ui/gateway-services-nodes/', gatewaySummaries),
  ];
}

function gatewayName(request: ApiRequest): string {
  if (request.name === '') throw new HttpError(400, 'Missing gateway name');
  return request.name;
}

async function gatewayServices(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const ServiceName = gatewayName(request);
  const signal = readSignal(request, options);
  const { reply, consistency } = await readWithMeta(options, (query) =>
    api.caller.call('Catalog.GatewayServices', { ...query, ServiceName }, signal),
  );
  const shown = reply.Services.length === 0 ? null : reply.Services.map(gatewayServiceView);
  return json(request, shown, metaHeaders(reply, consistency));
}

function gatewayServiceView(link: GatewayService): object {
  return {
    Gateway: link.Gateway,
    Service: link.Service,
    GatewayKind: link.GatewayKind,
    Port: link.Port || undefined,
    Protocol: link.Protocol || undefined,
    Hosts: link.Hosts?.length ? link.Hosts : undefined,
    CAFile: link.CAFile || undefined,
    CertFile: link.CertFile || undefined,
    KeyFile: link.KeyFile || undefined,
    SNI: link.SNI || undefined,
    FromWildcard: link.FromWildcard || undefined,
    CreateIndex: link.CreateIndex,
    ModifyIndex: link.ModifyIndex,
  };
}

async function serviceSummaries(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const reply = await readEvenWithoutLeader(options, (query) => api.caller.call('Internal.ServiceDump', query, signal));
  return json(request, summarizeServices(reply.Nodes, ingressName(api)), metaHeaders(reply, null));
}

async function gatewaySummaries(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const ServiceName = gatewayName(request);
  const signal = readSignal(request, options);
  const reply = await readEvenWithoutLeader(options, (query) =>
    api.caller.call('Internal.GatewayServiceDump', { ...query, ServiceName }, signal),
  );
  return json(request, summarizeServices(reply.Dump, ingressName(api)), metaHeaders(reply, null));
}

/** Where DNS finds the ingress gateways of a service. */
function ingressName(api: Api): (service: string) => string {
  const { datacenter, dnsDomain } = api.options();
  const domain = dnsDomain.endsWith('.') ? dnsDomain : `${dnsDomain}.`;
  return (service) => `${service}.ingress.${datacenter}.${domain}`;
}
