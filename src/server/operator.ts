/**
 * `Operator.*`: the servers as operators see them. Who they are is in the configuration of consensus, what they are
 * called in gossip, and how they are autopilot has asked them (reference/server-rpc.md §4.11).
 */
import { CallError, type RaftServer } from '../model/index.ts';
import { suffrage } from '../raft/index.ts';
import type { Autopilot } from './autopilot.ts';
import { type Endpoint, type Handlers, requireDatacenter } from './endpoint.ts';
import type { LanServers } from './lan-servers.ts';

type Calls =
  | 'Operator.RaftGetConfiguration'
  | 'Operator.RaftRemovePeerByAddress'
  | 'Operator.RaftRemovePeerByID'
  | 'Operator.AutopilotGetConfiguration'
  | 'Operator.AutopilotSetConfiguration'
  | 'Operator.ServerHealth';

/** Who is in the configuration and in nobody's sight. */
const unknownNode = '(unknown)';
/** What is said of a server that gossip does not know: nearly all speak it. */
const raftProtocolVersion = '3';

export function operatorHandlers(
  endpoint: Endpoint,
  { lan, autopilot }: { readonly lan: LanServers; readonly autopilot: Autopilot },
): Handlers<Calls> {
  const { store, log } = endpoint;

  const servers = (): readonly RaftServer[] =>
    log.configuration.Servers.map(({ ID, Address, Suffrage }) => {
      const known = lan.withId(ID) ?? lan.at(Address);
      return {
        ID: known?.id ?? ID,
        Node: known?.name ?? unknownNode,
        Address,
        Leader: Address === log.leaderAddress,
        ProtocolVersion: known === undefined ? raftProtocolVersion : String(known.raftVersion),
        Voter: Suffrage === suffrage.voter,
      };
    });

  const removePeer = async (wanted: RaftServer | undefined, what: string): Promise<null> => {
    if (wanted === undefined) throw new CallError(`${what} was not found in the Raft configuration`);
    const { Address } = wanted;
    await log.removeServer(log.configuration.Servers.find((server) => server.Address === Address)?.ID ?? wanted.ID);
    return null;
  };

  return {
    'Operator.RaftGetConfiguration': async (request) => {
      requireDatacenter(endpoint, request);
      return { Servers: servers(), Index: log.configurationIndex };
    },
    'Operator.RaftRemovePeerByAddress': async (request) => {
      requireDatacenter(endpoint, request);
      const wanted = servers().find(({ Address }) => Address === request.Address);
      return await removePeer(wanted, `address ${JSON.stringify(request.Address ?? '')}`);
    },
    'Operator.RaftRemovePeerByID': async (request) => {
      requireDatacenter(endpoint, request);
      const wanted = servers().find(({ ID }) => ID !== '' && ID === request.ID);
      return await removePeer(wanted, `id ${JSON.stringify(request.ID ?? '')}`);
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
      return autopilot.health;
    },
  };
}
