/** Autopilot's settings as the API gives and takes them: durations are Go's texts. */
export interface AutopilotSettings {
  readonly CleanupDeadServers: boolean;
  readonly LastContactThreshold: string;
  readonly MaxTrailingLogs: number | bigint;
  readonly MinQuorum: number;
  readonly ServerStabilizationTime: string;
  readonly RedundancyZoneTag: string;
  readonly DisableUpgradeMigration: boolean;
  readonly UpgradeVersionTag: string;
  readonly ModifyIndex: number | bigint;
}

export const autopilotPath = '/v1/operator/autopilot/configuration';
