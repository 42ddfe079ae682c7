/** `/v1/operator/`: the servers themselves (reference/http-api.md §9.8). */
import { formatGoDuration } from '../codec/index.ts';
import type { AutopilotConfig } from '../model/index.ts';
import { type Answer, badRequest, empty, HttpError, json, textType } from './answer.ts';
import type { Api } from './api.ts';
import { bool, decodeBody, durationNs, ignored, string, struct, uint } from './decode.ts';
import { parseUint64, toIndex } from './kv-endpoint.ts';
import { parseReadOptions, parseTarget } from './read-options.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';

const autopilotBody = struct<AutopilotConfig>({
  CleanupDeadServers: ['CleanupDeadServers', bool],
  LastContactThreshold: ['LastContactThreshold', durationNs],
  MaxTrailingLogs: ['MaxTrailingLogs', uint],
  MinQuorum: ['MinQuorum', uint],
  ServerStabilizationTime: ['ServerStabilizationTime', durationNs],
  RedundancyZoneTag: ['RedundancyZoneTag', string],
  DisableUpgradeMigration: ['DisableUpgradeMigration', bool],
  UpgradeVersionTag: ['UpgradeVersionTag', string],
  CreateIndex: ['CreateIndex', ignored],
  ModifyIndex: ['ModifyIndex', ignored],
});

export function operatorEndpoints(api: Api): readonly Endpoint[] {
  const endpoint = (pattern: string, methods: Endpoint['methods']): Endpoint => ({
    pattern,
    methods,
    ignoresNamespace: true,
  });
  return [
    endpoint('/v1/operator/raft/configuration', { GET: (request) => raftConfiguration(api, request) }),
    endpoint('/v1/operator/raft/peer', { DELETE: (request) => removePeer(api, request) }),
    endpoint('/v1/operator/autopilot/configuration', {
      GET: (request) => autopilotConfiguration(api, request),
      PUT: (request) => setAutopilotConfiguration(api, request),
    }),
    endpoint('/v1/operator/autopilot/health', { GET: (request) => serverHealth(api, request) }),
  ];
}

async function raftConfiguration(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = parseReadOptions(request, api.options());
  const { Servers, Index } = await api.caller.call('Operator.RaftGetConfiguration', query);
  return json(request, { Servers, Index });
}

async function removePeer(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const { query } = request;
  if (!query.has('id') && !query.has('address')) {
    throw badRequest("Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
  }
  if (query.has('id') && query.has('address')) throw badRequest('Must specify only one of ?id or ?address');
  if (query.has('id')) {
    await api.caller.call('Operator.RaftRemovePeerByID', { ...target, ID: query.get('id') });
  } else {
    await api.caller.call('Operator.RaftRemovePeerByAddress', { ...target, Address: query.get('address') });
  }
  return empty();
}

async function autopilotConfiguration(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = parseReadOptions(request, api.options());
  const config = await api.caller.call('Operator.AutopilotGetConfiguration', query);
  return json(request, {
    CleanupDeadServers: config.CleanupDeadServers,
    LastContactThreshold: formatGoDuration(config.LastContactThreshold),
    MaxTrailingLogs: config.MaxTrailingLogs,
    MinQuorum: config.MinQuorum,
    ServerStabilizationTime: formatGoDuration(config.ServerStabilizationTime),
    RedundancyZoneTag: config.RedundancyZoneTag,
    DisableUpgradeMigration: config.DisableUpgradeMigration,
    UpgradeVersionTag: config.UpgradeVersionTag,
    CreateIndex: config.CreateIndex,
    ModifyIndex: config.ModifyIndex,
  });
}

/** The whole object: what is not given becomes zero. */
async function setAutopilotConfiguration(api: Api, request: ApiRequest): Promise<Answer> {
  const target = parseTarget(request, api.options());
  const given = decodeBody(await request.body(), autopilotBody, 'Bad request: Error parsing autopilot config: ');
  const CAS = request.query.has('cas');
  const Config: AutopilotConfig = {
    CleanupDeadServers: false,
    LastContactThreshold: 0,
    MaxTrailingLogs: 0,
    MinQuorum: 0,
    ServerStabilizationTime: 0,
    RedundancyZoneTag: '',
    DisableUpgradeMigration: false,
    UpgradeVersionTag: '',
    ...given,
    CreateIndex: 0,
    ModifyIndex: CAS ? parseCas(request.query.get('cas')) : 0,
  };
  const applied = await api.caller.call('Operator.AutopilotSetConfiguration', { ...target, Config, CAS });
  return json(request, !CAS || applied);
}

function parseCas(text: string): number {
  try {
    return toIndex(parseUint64(text));
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw badRequest(`Error parsing cas value: ${error.message}`);
  }
}

/** A time as the peer rounds it. */
function toTheSecond(ms: number): string {
  return `${new Date(Math.round(ms / 1000) * 1000).toISOString().slice(0, 19)}Z`;
}

async function serverHealth(api: Api, request: ApiRequest): Promise<Answer> {
  const { query } = parseReadOptions(request, api.options());
  const health = await api.caller.call('Operator.ServerHealth', query);
  const shown = {
    Healthy: health.Healthy,
    FailureTolerance: health.FailureTolerance,
    // Before anything was measured there is no list.
    Servers:
      health.Servers.length === 0
        ? null
        : health.Servers.map((server) => ({
            ID: server.ID,
            Name: server.Name,
            Address: server.Address,
            SerfStatus: server.SerfStatus,
            Version: server.Version,
            Leader: server.Leader,
            LastContact: formatGoDuration(server.LastContact),
            LastTerm: server.LastTerm,
            LastIndex: server.LastIndex,
            Healthy: server.Healthy,
            Voter: server.Voter,
            StableSince: toTheSecond(server.StableSince),
          })),
  };
  if (health.Healthy) return json(request, shown);
  const answer = json(request, shown, [], 429);
  // Sic: the peer says the status before it knows what the body is.
  return { ...answer, headers: [['Content-Type', textType]] };
}
