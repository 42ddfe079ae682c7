/** What operators see of the servers themselves, and autopilot's settings (reference/server-rpc.md §4.11). */
import type { RaftIndex } from './catalog.ts';
import type { DCSpecificRequest, WriteRequest } from './query.ts';

export interface AutopilotConfig extends RaftIndex {
  /** Whether dead servers leave the configuration when a new one joins. */
  readonly CleanupDeadServers: boolean;
  /** A server that has not heard from the leader for longer is unhealthy, ns. */
  readonly LastContactThreshold: number;
  /** A server whose log is further behind is unhealthy. */
  readonly MaxTrailingLogs: number;
  readonly MinQuorum: number;
  /** How long a new server must be healthy before it votes, ns. */
  readonly ServerStabilizationTime: number;
  readonly RedundancyZoneTag: string;
  readonly DisableUpgradeMigration: boolean;
  readonly UpgradeVersionTag: string;
}

/** The peer's own defaults. */
export const autopilotDefaults: Omit<AutopilotConfig, keyof RaftIndex> = {
  CleanupDeadServers: true,
  LastContactThreshold: 200e6,
  MaxTrailingLogs: 250,
  MinQuorum: 0,
  ServerStabilizationTime: 10e9,
  RedundancyZoneTag: '',
  DisableUpgradeMigration: false,
  UpgradeVersionTag: '',
};

export interface AutopilotSetConfigRequest extends WriteRequest {
  readonly Config: AutopilotConfig;
  /** Only when the stored ModifyIndex is that of `Config`. */
  readonly CAS: boolean;
}

export interface RaftServer {
  readonly ID: string;
  readonly Node: string;
  /** `host:port` */
  readonly Address: string;
  readonly Leader: boolean;
  readonly ProtocolVersion: string;
  readonly Voter: boolean;
}

export interface RaftRemovePeerRequest extends WriteRequest {
  readonly ID?: string;
  readonly Address?: string;
}

export interface ServerHealth {
  readonly ID: string;
  readonly Name: string;
  readonly Address: string;
  readonly SerfStatus: 'none' | 'alive' | 'leaving' | 'left' | 'failed';
  readonly Version: string;
  readonly Leader: boolean;
  /** ns since it heard from the leader. */
  readonly LastContact: number;
  readonly LastTerm: number;
  readonly LastIndex: number;
  readonly Healthy: boolean;
  readonly Voter: boolean;
  /** Since when it has been as healthy as it is, ms since 1970. */
  readonly StableSince: number;
}

export interface OperatorHealth {
  readonly Healthy: boolean;
  /** How many voters may fail before there is no quorum. */
  readonly FailureTolerance: number;
  readonly Servers: readonly ServerHealth[];
}

export interface OperatorCalls {
  'Operator.RaftGetConfiguration': {
    request: DCSpecificRequest;
    reply: { readonly Servers: readonly RaftServer[]; readonly Index: number };
  };
  'Operator.RaftRemovePeerByAddress': { request: RaftRemovePeerRequest; reply: null };
  'Operator.RaftRemovePeerByID': { request: RaftRemovePeerRequest; reply: null };
  'Operator.AutopilotGetConfiguration': { request: DCSpecificRequest; reply: AutopilotConfig };
  /** Means something only with CAS. */
  'Operator.AutopilotSetConfiguration': { request: AutopilotSetConfigRequest; reply: boolean };
  'Operator.ServerHealth': { request: DCSpecificRequest; reply: OperatorHealth };
}
