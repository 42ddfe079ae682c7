import { encodeGoJson, formatGoDurationMs } from '../../codec/index.ts';
import { type AutopilotSettings, autopilotPath } from '../autopilot.ts';
import { attempt, CliError, command } from '../command.ts';
import { serverFlags } from '../flags.ts';

export const operatorAutopilotSetConfig = command({
  name: 'operator autopilot set-config',
  summary: "Change autopilot's settings",
  description: ['Changes the given settings and leaves the others as they are.'],
  flags: {
    ...serverFlags,
    'cleanup-dead-servers': { kind: 'string', value: 'true|false', help: 'Remove dead servers when new ones come.' },
    'last-contact-threshold': { kind: 'duration', value: 'DURATION', help: 'Longest silence of a healthy server.' },
    'max-trailing-logs': { kind: 'int', value: 'NUMBER', help: 'Most log entries a healthy server is behind.' },
    'min-quorum': { kind: 'int', value: 'NUMBER', help: 'Servers that are kept, even dead ones.' },
    'server-stabilization-time': {
      kind: 'duration',
      value: 'DURATION',
      help: 'Time a new server must be healthy before it votes.',
    },
  },
  async run({ values, out, client }) {
    const cleanup = values['cleanup-dead-servers'];
    if (cleanup !== undefined && !/^(true|false)$/.test(cleanup)) {
      throw new CliError(`-cleanup-dead-servers must be true or false, not "${cleanup}"`);
    }
    const agent = client();
    const old = await attempt(
      'Error querying Autopilot configuration',
      agent.json<AutopilotSettings>('GET', autopilotPath),
    );
    const contact = values['last-contact-threshold'];
    const stabilization = values['server-stabilization-time'];
    const settings: AutopilotSettings = {
      ...old,
      ...(cleanup !== undefined && { CleanupDeadServers: cleanup === 'true' }),
      ...(contact !== undefined && { LastContactThreshold: formatGoDurationMs(contact) }),
      ...(values['max-trailing-logs'] !== undefined && { MaxTrailingLogs: values['max-trailing-logs'] }),
      ...(values['min-quorum'] !== undefined && { MinQuorum: values['min-quorum'] }),
      ...(stabilization !== undefined && { ServerStabilizationTime: formatGoDurationMs(stabilization) }),
    };
    // Only if nobody else changed them meanwhile.
    const written = await attempt(
      'Error setting Autopilot configuration',
      agent.ok('PUT', autopilotPath, { query: { cas: old.ModifyIndex }, body: encodeGoJson(settings) }),
    );
    if (!written.body.includes('true'))
      throw new CliError('Configuration could not be atomically updated, please try again');
    out('Configuration updated!');
    return 0;
  },
});
