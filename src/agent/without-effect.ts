/** What a valid configuration may ask for and this version does not do: said once at the start, never passed over. */
import type { Config } from '../config/index.ts';

/** One line for each setting without effect. */
export function warningsOf(config: Config): readonly string[] {
  const { acl, connect, datacenter, join, log, primaryDatacenter, server } = config;
  const asked: readonly (readonly [boolean, string])[] = [
    [log.syslog, 'enable_syslog: take the log from stdout, or name a log_file'],
    [join.primaryGateways.length > 0, 'primary_gateways'],
    [connect.meshGatewayWanFederation, 'connect.enable_mesh_gateway_wan_federation'],
    [server.enabled && acl.enableTokenReplication, 'acl.enable_token_replication: tokens are those of this datacenter'],
    [
      server.enabled && primaryDatacenter !== datacenter,
      'primary_datacenter: this datacenter keeps its own ACLs, config entries and mesh authority',
    ],
  ];
  return asked.filter(([is]) => is).map(([, setting]) => `no effect in this version: ${setting}`);
}
