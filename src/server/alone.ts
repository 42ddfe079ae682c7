/** A server without a gossip pool is its own only member. */
import { consulServerTags } from '../gossip/index.ts';
import { type Member, memberStatus } from '../model/index.ts';

/** Gossip protocol numbers of Consul 1.8 members. */
const protocol = {
  ProtocolMin: 1,
  ProtocolMax: 5,
  ProtocolCur: 2,
  DelegateMin: 2,
  DelegateMax: 5,
  DelegateCur: 4,
} as const;

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
      revision: '',
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
  const members = [{ Name: self.nodeName, Addr: self.address, Port: 0, Tags, Status: memberStatus.alive, ...protocol }];
  return () => members;
}
