/** Status numbers of a gossip member, as in `/v1/agent/members`. */
export const memberStatus = { none: 0, alive: 1, leaving: 2, left: 3, failed: 4 } as const;
export type MemberStatus = (typeof memberStatus)[keyof typeof memberStatus];

/** A member of the gossip pool. */
export interface Member {
  readonly Name: string;
  readonly Addr: string;
  readonly Port: number;
  readonly Tags: Readonly<Record<string, string>>;
  readonly Status: MemberStatus;
  readonly ProtocolMin: number;
  readonly ProtocolMax: number;
  readonly ProtocolCur: number;
  readonly DelegateMin: number;
  readonly DelegateMax: number;
  readonly DelegateCur: number;
}

/** Numbers of memberlist's and serf's protocols that every member of Consul 1.8 announces (reference/gossip.md §4.11). */
export const consulMemberProtocol = {
  ProtocolMin: 1,
  ProtocolMax: 5,
  ProtocolCur: 2,
  DelegateMin: 2,
  DelegateMax: 5,
  DelegateCur: 4,
} as const satisfies Partial<Member>;
