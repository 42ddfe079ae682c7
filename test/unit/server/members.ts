// Members of a LAN pool as gossip tells of them.
import { consulClientTags, consulServerTags, type ServerTagFacts } from '../../../src/gossip/index.ts';
import { consulMemberProtocol, type Member, memberStatus } from '../../../src/model/index.ts';

type More = Partial<ServerTagFacts> & {
  readonly Status?: Member['Status'];
  readonly Addr?: string;
  readonly tags?: Readonly<Record<string, string>>;
};

/** The id of a server. */
export const idOf = (number: number): string => `0000000${number}-0000-4000-8000-000000000000`;

/** Server `s<number>` at 10.0.0.<number>. */
export function serverMember(number: number, { Status = memberStatus.alive, Addr, tags, ...facts }: More = {}): Member {
  const given = {
    datacenter: 'dc1',
    nodeId: idOf(number),
    version: '1.8.7',
    revision: '',
    aclMode: '0',
    port: 8300,
    wanPort: undefined,
    bootstrap: false,
    bootstrapExpect: 0,
    nonVoter: false,
    useTls: false,
    ...facts,
  } as const;
  const Tags = { ...consulServerTags(given, 'lan'), ...tags };
  return { Name: `s${number}`, Addr: Addr ?? `10.0.0.${number}`, Port: 8301, Status, Tags, ...consulMemberProtocol };
}

/** Client `c<number>` at 10.0.1.<number>. */
export function clientMember(number: number, { Status = memberStatus.alive, datacenter = 'dc1' }: More = {}): Member {
  const facts = { datacenter, nodeId: '', version: '1.8.7', revision: '', aclMode: '0' } as const;
  return {
    Name: `c${number}`,
    Addr: `10.0.1.${number}`,
    Port: 8301,
    Status,
    Tags: consulClientTags(facts),
    ...consulMemberProtocol,
  };
}
