/** The flags of `portolan agent` and the keys they stand for (reference/agent.md §2.3). */
import type { FlagTable, FlagValues } from './flags.ts';
import { agentKeys, type RawConfig } from './keys.ts';
import { merge } from './schema.ts';

export const agentFlags = {
  dev: 'bool',
  'config-file': 'list',
  'config-dir': 'list',
  'config-format': 'string',
  hcl: 'list',
  advertise: 'string',
  'advertise-wan': 'string',
  'allow-write-http-from': 'list',
  'alt-domain': 'string',
  bind: 'string',
  bootstrap: 'bool',
  'bootstrap-expect': 'int',
  check_output_max_size: 'int',
  client: 'string',
  'data-dir': 'string',
  datacenter: 'string',
  'default-query-time': 'string',
  'disable-host-node-id': 'bool',
  'disable-keyring-file': 'bool',
  'dns-port': 'int',
  domain: 'string',
  'enable-local-script-checks': 'bool',
  'enable-script-checks': 'bool',
  encrypt: 'string',
  'grpc-port': 'int',
  'http-port': 'int',
  'https-port': 'int',
  join: 'list',
  'join-wan': 'list',
  'log-file': 'string',
  'log-json': 'bool',
  'log-level': 'string',
  'log-rotate-bytes': 'int',
  'log-rotate-duration': 'string',
  'log-rotate-max-files': 'int',
  'max-query-time': 'string',
  node: 'string',
  'node-id': 'string',
  'node-meta': 'colon-map',
  'non-voting-server': 'bool',
  'pid-file': 'string',
  'primary-gateway': 'list',
  protocol: 'int',
  'raft-protocol': 'int',
  recursor: 'list',
  rejoin: 'bool',
  'retry-interval': 'string',
  'retry-interval-wan': 'string',
  'retry-join': 'list',
  'retry-join-wan': 'list',
  'retry-max': 'int',
  'retry-max-wan': 'int',
  segment: 'string',
  'serf-lan-allowed-cidrs': 'list',
  'serf-lan-bind': 'string',
  'serf-lan-port': 'int',
  'serf-wan-allowed-cidrs': 'list',
  'serf-wan-bind': 'string',
  'serf-wan-port': 'int',
  server: 'bool',
  'server-port': 'int',
  syslog: 'bool',
  ui: 'bool',
  'ui-content-path': 'string',
  'ui-dir': 'string',
  // Portolan's own
  registrator: 'bool',
  'docker-host': 'list',
} as const satisfies FlagTable;

export type AgentFlags = FlagValues<typeof agentFlags>;

/** Flags whose key is not their name with underscores. */
const flagKeys: Readonly<Record<string, string>> = {
  advertise: 'advertise_addr',
  'advertise-wan': 'advertise_addr_wan',
  'allow-write-http-from': 'http_config.allow_write_http_from',
  bind: 'bind_addr',
  client: 'client_addr',
  'dns-port': 'ports.dns',
  'grpc-port': 'ports.grpc',
  'http-port': 'ports.http',
  'https-port': 'ports.https',
  join: 'start_join',
  'join-wan': 'start_join_wan',
  node: 'node_name',
  'primary-gateway': 'primary_gateways',
  recursor: 'recursors',
  rejoin: 'rejoin_after_leave',
  'serf-lan-bind': 'serf_lan',
  'serf-wan-bind': 'serf_wan',
  'serf-lan-port': 'ports.serf_lan',
  'serf-wan-port': 'ports.serf_wan',
  'server-port': 'ports.server',
  syslog: 'enable_syslog',
  registrator: 'registrator.enabled',
  'docker-host': 'registrator.docker_hosts',
};

const sourceFlags = new Set(['dev', 'config-file', 'config-dir', 'config-format', 'hcl']);

/**
 * The settings the flags give, in two layers: lists lie under the files, everything else (and
 * `-allow-write-http-from`) over them (reference/agent.md §2.1).
 */
export function settingsOfFlags(flags: AgentFlags): { readonly lists: RawConfig; readonly scalars: RawConfig } {
  let lists: RawConfig = {};
  let scalars: RawConfig = {};
  for (const [name, value] of Object.entries(flags)) {
    if (sourceFlags.has(name)) continue;
    const [first = '', second] = (flagKeys[name] ?? name.replaceAll('-', '_')).split('.');
    const settings = { [first]: second === undefined ? value : { [second]: value } } as RawConfig;
    if (Array.isArray(value) && name !== 'allow-write-http-from') lists = merge(agentKeys, lists, settings);
    else scalars = merge(agentKeys, scalars, settings);
  }
  return { lists, scalars };
}
