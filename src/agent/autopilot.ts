/** Autopilot's settings as the configuration gives them, in the form that is replicated. */
import type { Config } from '../config/index.ts';
import { autopilotDefaults } from '../model/index.ts';

const nsPerMs = 1e6;

export function autopilotSettings({ autopilot }: Config): typeof autopilotDefaults {
  return {
    ...autopilotDefaults,
    CleanupDeadServers: autopilot.cleanupDeadServers,
    LastContactThreshold: autopilot.lastContactThresholdMs * nsPerMs,
    MaxTrailingLogs: autopilot.maxTrailingLogs,
    MinQuorum: autopilot.minQuorum,
    ServerStabilizationTime: autopilot.serverStabilizationTimeMs * nsPerMs,
  };
}
