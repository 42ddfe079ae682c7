/** A server without a gossip pool is its own only member. */
import { consulServerTags, ownRevision } from '../gossip/index.ts';
import { consulMemberProtocol, type Member, memberStatus } from '../model/index.ts';

export function aloneMembers(self: {
  readonly datacenter: string;
  readonly nodeName: string;
  readonly nodeId: string;
  readonly address: string;
  readonly serverPort: number;
  readonly version: string;
}): () => readonly Member[] {
  const Tags = consulServerTags(
    {
      datacenter: self.datacenter,
      nodeId: self.nodeId,
      version: self.version,
      revision: ownRevision,
      aclMode: '0',
      port: self.serverPort,
      wanPort: undefined,
      bootstrap: false,
      bootstrapExpect: 0,
      nonVoter: false,
      useTls: false,
    },
    'lan',
  );
  const members = [
    { Name: self.nodeName, Addr: self.address, Port: 0, Tags, Status: memberStatus.alive, ...consulMemberProtocol },
  ];
  return () => members;
}
