/** A server of Consul 1.8.7 as its tags describe it. */
import type { ConsulServer } from '../../src/gossip/index.ts';
import { memberStatus } from '../../src/model/index.ts';

export function consulServer(parts: Pick<ConsulServer, 'name' | 'address'> & Partial<ConsulServer>): ConsulServer {
  return {
    id: `id of ${parts.name}`,
    datacenter: 'dc1',
    port: 8300,
    wanJoinPort: 0,
    segment: '',
    bootstrap: false,
    expect: 0,
    nonVoter: false,
    useTls: false,
    build: '1.8.7',
    isPortolan: false,
    version: 2,
    raftVersion: 3,
    acls: '0',
    features: new Map(),
    status: memberStatus.alive,
    ...parts,
  };
}
