import { attempt, command } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { formatTable } from '../text.ts';

interface RaftServer {
  readonly Node: string;
  readonly ID: string;
  readonly Address: string;
  readonly Leader: boolean;
  readonly Voter: boolean;
  readonly ProtocolVersion: string;
}

export const operatorRaftListPeers = command({
  name: 'operator raft list-peers',
  summary: 'List the servers of the Raft configuration',
  description: ['Lists the servers that keep the log together, and which of them leads.'],
  flags: { ...serverFlags, ...formatFlag },
  async run({ io, values, out, client }) {
    const json = wantsJson(values.format);
    const { Servers } = await attempt(
      'Error getting peers: Failed to retrieve raft configuration',
      client().json<{ readonly Servers: readonly RaftServer[] }>('GET', '/v1/operator/raft/configuration', {
        query: { stale: values.stale },
      }),
    );
    if (json) {
      writeJson(io, Servers);
      return 0;
    }
    out(
      formatTable([
        ['Node', 'ID', 'Address', 'State', 'Voter', 'RaftProtocol'],
        ...Servers.map(({ Node, ID, Address, Leader, Voter, ProtocolVersion }) => [
          Node,
          ID,
          Address,
          Leader ? 'leader' : 'follower',
          String(Voter),
          ProtocolVersion,
        ]),
      ]),
    );
    return 0;
  },
});
