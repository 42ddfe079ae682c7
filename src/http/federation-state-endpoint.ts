/** `/v1/internal/federation-state`: where the mesh gateways of each datacenter are (reference/http-api.md §9.9). */
import type { FederationState } from '../model/index.ts';
import { type Answer, badRequest, empty, json } from './answer.ts';
import type { Api } from './api.ts';
import { metaHeaders, parseReadOptions, readSignal, readWithMeta } from './read-options.ts';
import { checkServiceNodeView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

export function federationStateEndpoints(api: Api): readonly Endpoint[] {
  return [
    {
      pattern: '/v1/internal/federation-states',
      methods: { GET: (request) => list(api, request) },
      ignoresNamespace: true,
    },
    {
      pattern: '/v1/internal/federation-states/mesh-gateways',
      methods: { GET: (request) => gateways(api, request) },
      ignoresNamespace: true,
    },
    {
      pattern: '/v1/internal/federation-state/',
      methods: { GET: (request) => get(api, request) },
      ignoresNamespace: true,
    },
  ];
}

async function list(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) => api.caller.call('FederationState.List', query, signal));
  return json(request, reply.States.map(stateView), metaHeaders(reply, null));
}

async function gateways(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) =>
    api.caller.call('FederationState.ListMeshGateways', query, signal),
  );
  const shown = Object.entries(reply.DatacenterNodes).map(
    ([datacenter, nodes]) => [datacenter, nodes.map(checkServiceNodeView)] as const,
  );
  return json(request, new Map(shown), metaHeaders(reply, null));
}

async function get(api: Api, request: ApiRequest): Promise<Answer> {
  const options = parseReadOptions(request, api.options());
  if (request.name === '') throw badRequest('Missing datacenter name');
  const signal = readSignal(request, options);
  const { reply } = await readWithMeta(options, (query) =>
    // Sic: which one is asked about stands where other calls say who is asked.
    api.caller.call(
      'FederationState.Get',
      { ...query, Datacenter: request.name, TargetDatacenter: query.Datacenter },
      signal,
    ),
  );
  if (reply.State === null) return empty(404);
  const { Index, LastContact, KnownLeader } = reply;
  const shown = { State: stateView(reply.State), Index, LastContact, KnownLeader, ConsistencyLevel: '' };
  return json(request, shown, metaHeaders(reply, null));
}

function stateView(state: FederationState): object {
  return {
    Datacenter: state.Datacenter,
    MeshGateways: state.MeshGateways?.length ? state.MeshGateways.map(checkServiceNodeView) : undefined,
    UpdatedAt: state.UpdatedAt,
    PrimaryModifyIndex: state.PrimaryModifyIndex,
    CreateIndex: state.CreateIndex,
    ModifyIndex: state.ModifyIndex,
  };
}
