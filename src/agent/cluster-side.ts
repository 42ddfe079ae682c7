/**
 * What stands behind this agent's calls: itself, as a server alone or among others, or servers elsewhere. The front
 * doors, checks and anti-entropy do not know which (DESIGN rule 3).
 */
import type { MemberEvent } from '../gossip/index.ts';
import type { AgentSelf } from '../http/index.ts';
import type { NamedCaller } from '../model/index.ts';
import type { Authorizer, Snapshots } from '../server/index.ts';
import type { PoolKind } from './gossip-pool.ts';

export interface ClusterSide {
  readonly caller: NamedCaller;
  readonly snapshots: Snapshots;
  /**
   * The rights of a token; null while ACLs are off.
   * @throws CallError `ACL not found`.
   */
  resolveToken(secret: string): Promise<Authorizer | null>;
  /** The accessor of a token, to be named in logs; "" when it is not known. */
  accessorOf(secret: string): Promise<string>;
  /** PEM of authorities to trust beside those of the configuration: the mesh's, when it signs the clients' certificates. */
  trustedRoots(): readonly string[];
  /** The sections `consul` and, of a server, `raft` of `info`. */
  stats(): AgentSelf['Stats'];
  /** Gossip says something about members. Called inside gossip's step: returns at once and does not throw. */
  membersChanged(event: MemberEvent, pool: PoolKind): void;
  /**
   * What must be before gossip: a server opens port 8300, for whoever hears of it will call it; a client gets its
   * certificate, if servers are to sign it.
   */
  prepare(): Promise<void>;
  /** Takes up work; gossip has begun by then. */
  start(): Promise<void>;
  /** Before gossip leaves. */
  prepareLeave(): Promise<void>;
  /** After gossip has left. */
  finishLeave(): Promise<void>;
  /** Ends everything; calls that come later fail. */
  stop(): Promise<void>;
}
