import { type HealthCheck, nodeMaintenanceCheckId, serviceMaintenanceCheckPrefix } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { clientFlags, formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { byBytes } from '../text.ts';

export const maint = command({
  name: 'maint',
  summary: 'Take the node or a service out of discovery, or back',
  description: [
    'Under maintenance the node, or one of its services, counts as critical, so no query for healthy instances names it. Without -enable and -disable, prints what is under maintenance.',
  ],
  flags: {
    ...clientFlags,
    ...formatFlag,
    enable: { kind: 'bool', help: 'Begin maintenance.' },
    disable: { kind: 'bool', help: 'End maintenance.' },
    reason: { kind: 'string', value: 'TEXT', help: 'Why, for those who look; only with -enable.' },
    service: { kind: 'string', value: 'ID', help: 'Only this service of the node.' },
  },
  async run({ io, values, out, client }) {
    const json = wantsJson(values.format);
    const { enable = false, disable = false, reason = '', service = '' } = values;
    if (enable && disable) throw new CliError('Only one of -enable or -disable may be provided');
    if (!enable && reason !== '') throw new CliError('Reason may only be provided with -enable');
    if (!enable && !disable && service !== '') throw new CliError('Service requires either -enable or -disable');
    const agent = client();
    const self = await attempt(
      'Error querying Consul agent',
      agent.json<{ readonly Config: { readonly NodeName: string } }>('GET', '/v1/agent/self'),
    );
    if (!enable && !disable) {
      const checks = await attempt(
        'Error getting checks',
        agent.json<Readonly<Record<string, HealthCheck>>>('GET', '/v1/agent/checks'),
      );
      const found = underMaintenance(self.Config.NodeName, Object.values(checks));
      if (json) writeJson(io, found);
      else {
        for (const { Name, ID, Reason } of found) {
          out(`${Name === undefined ? 'Service' : 'Node'}:`);
          out(Name === undefined ? `  ID:     ${ID}` : `  Name:   ${Name}`);
          out(`  Reason: ${Reason}\n`);
        }
      }
      return 0;
    }
    const word = enable ? 'enabling' : 'disabling';
    const state = enable ? 'enabled' : 'disabled';
    const query = { enable: String(enable), ...(enable && { reason }) };
    if (service === '') {
      await attempt(`Error ${word} node maintenance`, agent.ok('PUT', '/v1/agent/maintenance', { query }));
      out(`Node maintenance is now ${state}`);
    } else {
      await attempt(
        `Error ${word} service maintenance`,
        agent.ok('PUT', `/v1/agent/service/maintenance/${service}`, { query }),
      );
      out(`Service maintenance is now ${state} for ${JSON.stringify(service)}`);
    }
    return 0;
  },
});

/** The node first, then its services by ID. */
function underMaintenance(
  node: string,
  checks: readonly HealthCheck[],
): readonly { readonly Name?: string; readonly ID?: string; readonly Reason: string }[] {
  const services = checks
    .filter(({ CheckID }) => CheckID.startsWith(serviceMaintenanceCheckPrefix))
    .sort((a, b) => byBytes(a.ServiceID, b.ServiceID))
    .map(({ ServiceID, Notes }) => ({ ID: ServiceID, Reason: Notes }));
  const own = checks.find(({ CheckID }) => CheckID === nodeMaintenanceCheckId);
  return own === undefined ? services : [{ Name: node, Reason: own.Notes }, ...services];
}
