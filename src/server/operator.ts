/**
 * `Operator.*`: the servers as operators see them. Who they are is in the log's configuration, what they are called and
 * how they are in the catalog, where every server is an instance of `consul` (reference/server-rpc.md §4.11).
 */
import { hostPort } from '../lib/index.ts';
import {
  CallError,
  type CheckServiceNode,
  type OperatorHealth,
  type RaftServer,
  type ServerHealth,
} from '../model/index.ts';
import { type Endpoint, type Handlers, requireDatacenter } from './endpoint.ts';

type Calls =
  | 'Operator.RaftGetConfiguration'
  | 'Operator.RaftRemovePeerByAddress'
  | 'Operator.RaftRemovePeerByID'
  | 'Operator.AutopilotGetConfiguration'
  | 'Operator.AutopilotSetConfiguration'
  | 'Operator.ServerHealth';

/** What the log does not know of a server that is not in the catalog. */
const unknownNode = '(unknown)';

export function operatorHandlers(endpoint: Endpoint): Handlers<Calls> {
  const { store, log, clock } = endpoint;
  /** Server address → how it was when last looked at, and since when. */
  const stable = new Map<string, { readonly healthy: boolean; readonly sinceMs: number }>();

  const servers = (): { readonly server: RaftServer; readonly instance: CheckServiceNode | undefined }[] => {
    const instances = store.serviceHealth('consul').result;
    return log.peers.map((Address) => {
      const instance = instances.find(({ Node, Service }) => hostPort(Node.Address, Service.Port) === Address);
      const server: RaftServer = {
        ID: instance?.Node.ID ?? '',
        Node: instance?.Node.Node ?? unknownNode,
        Address,
        Leader: Address === log.leaderAddress,
        ProtocolVersion: instance?.Service.Meta?.['raft_version'] ?? '',
        Voter: instance?.Service.Meta?.['non_voter'] !== 'true',
      };
      return { server, instance };
    });
  };

  const health = (): OperatorHealth => {
    const all = servers().map(({ server, instance }): ServerHealth => {
      const healthy = instance?.Checks.some((check) => check.CheckID === 'serfHealth' && check.Status === 'passing');
      const Healthy = healthy ?? false;
      let since = stable.get(server.Address);
      if (since?.healthy !== Healthy) {
        stable.set(server.Address, (since = { healthy: Healthy, sinceMs: clock.wallMs() }));
      }
      return {
        ID: server.ID,
        Name: server.Node,
        Address: server.Address,
        SerfStatus: instance === undefined ? 'none' : Healthy ? 'alive' : 'failed',
        Version: instance?.Service.Meta?.['version'] ?? '',
        Leader: server.Leader,
        LastContact: log.lastContactNs,
        LastTerm: log.term,
        LastIndex: log.lastIndex,
        Healthy,
        Voter: server.Voter,
        StableSince: since.sinceMs,
      };
    });
    const voters = all.filter(({ Voter }) => Voter);
    const quorum = Math.floor(voters.length / 2) + 1;
    const healthyVoters = voters.filter(({ Healthy }) => Healthy).length;
    return {
      Healthy: all.every(({ Healthy }) => Healthy),
      FailureTolerance: Math.max(0, healthyVoters - quorum),
      Servers: all,
    };
  };

  const removePeer = async (wanted: RaftServer | undefined, what: string): Promise<null> => {
    if (wanted === undefined) throw new CallError(`${what} was not found in the Raft configuration`);
    await log.removeServer(wanted.ID);
    return null;
  };

  return {
    'Operator.RaftGetConfiguration': async (request) => {
      requireDatacenter(endpoint, request);
      return { Servers: servers().map(({ server }) => server), Index: log.configurationIndex };
    },
    'Operator.RaftRemovePeerByAddress': async (request) => {
      requireDatacenter(endpoint, request);
      const wanted = servers().find(({ server }) => server.Address === request.Address);
      return await removePeer(wanted?.server, `address ${JSON.stringify(request.Address ?? '')}`);
    },
    'Operator.RaftRemovePeerByID': async (request) => {
      requireDatacenter(endpoint, request);
      const wanted = servers().find(({ server }) => server.ID !== '' && server.ID === request.ID);
      return await removePeer(wanted?.server, `id ${JSON.stringify(request.ID ?? '')}`);
    },
    'Operator.AutopilotGetConfiguration': async (request) => {
      requireDatacenter(endpoint, request);
      const { config } = store.autopilot;
      if (config === undefined) throw new CallError('autopilot config not initialized yet');
      return config;
    },
    'Operator.AutopilotSetConfiguration': async (request) => {
      requireDatacenter(endpoint, request);
      return (await log.propose({ type: 'Autopilot', request })) ?? false;
    },
    'Operator.ServerHealth': async (request) => {
      requireDatacenter(endpoint, request);
      return health();
    },
  };
}
