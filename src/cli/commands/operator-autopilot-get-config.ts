import { type AutopilotSettings, autopilotPath } from '../autopilot.ts';
import { attempt, command } from '../command.ts';
import { formatFlag, serverFlags, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';

export const operatorAutopilotGetConfig = command({
  name: 'operator autopilot get-config',
  summary: "Print autopilot's settings",
  description: ['Prints how the leader looks after the other servers.'],
  flags: { ...serverFlags, ...formatFlag },
  async run({ io, values, out, client }) {
    const json = wantsJson(values.format);
    const settings = await attempt(
      'Error querying Autopilot configuration',
      client().json<AutopilotSettings>('GET', autopilotPath, { query: { stale: values.stale } }),
    );
    if (json) {
      writeJson(io, settings);
      return 0;
    }
    out(`CleanupDeadServers = ${settings.CleanupDeadServers}`);
    out(`LastContactThreshold = ${settings.LastContactThreshold}`);
    out(`MaxTrailingLogs = ${settings.MaxTrailingLogs}`);
    out(`MinQuorum = ${settings.MinQuorum}`);
    out(`ServerStabilizationTime = ${settings.ServerStabilizationTime}`);
    out(`RedundancyZoneTag = ${JSON.stringify(settings.RedundancyZoneTag)}`);
    out(`DisableUpgradeMigration = ${settings.DisableUpgradeMigration}`);
    out(`UpgradeVersionTag = ${JSON.stringify(settings.UpgradeVersionTag)}`);
    return 0;
  },
});
