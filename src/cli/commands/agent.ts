import { agentFlags, FlagError } from '../../config/index.ts';
import { asksForHelp, type Command, helpOf, wrongFlagText } from '../command.ts';

const summary = 'Run an agent';

/** One line a flag; every one of them but the first five stands for a configuration key. */
const flagHelp: Readonly<Record<keyof typeof agentFlags, string>> = {
  dev: 'Everything in one process and in memory, to try things out.',
  'config-file': 'Configuration file. May be given several times; later files win.',
  'config-dir': 'Folder of configuration files, read by name.',
  'config-format': 'Format of all configuration files: json, hcl or yaml.',
  hcl: 'Configuration as text (HCL). May be given several times; wins over files.',
  advertise: 'Address that others reach this agent by. Default: found out; see "portolan doctor".',
  'advertise-wan': 'The same for other datacenters.',
  'allow-write-http-from': 'Network (CIDR) from which the HTTP API may be written to.',
  'alt-domain': 'Second domain for DNS.',
  bind: 'Address to listen on for the cluster. Default 0.0.0.0.',
  bootstrap: 'Server that is the leader by itself.',
  'bootstrap-expect': 'Number of servers to wait for before the first election.',
  check_output_max_size: 'Bytes of check output that are kept. Default 4096.',
  client: 'Address to listen on for clients (HTTP, DNS). Default 127.0.0.1.',
  'data-dir': 'Folder for everything that must survive a restart.',
  datacenter: 'Datacenter of this agent. Default dc1.',
  'default-query-time': 'Longest wait of a blocking query that names none. Default 300s.',
  'disable-host-node-id': 'Make a random node ID instead of one from the host. Default true.',
  'disable-keyring-file': 'Do not keep gossip keys in a file.',
  'dns-port': 'Port of DNS. Default 8600; -1 switches it off.',
  domain: 'Domain for DNS. Default consul.',
  'enable-local-script-checks': 'Run script checks that configuration files define.',
  'enable-script-checks': 'Run script checks, also those registered over HTTP.',
  encrypt: 'Key of gossip encryption; see "portolan keygen".',
  'grpc-port': 'Port of gRPC. Default off.',
  'http-port': 'Port of HTTP. Default 8500; -1 switches it off.',
  'https-port': 'Port of HTTPS. Default off.',
  join: 'Address of a member to join at the start; the start fails if none can be joined.',
  'join-wan': 'The same for servers of other datacenters.',
  'log-file': 'File to log to besides standard output.',
  'log-json': 'Log as JSON.',
  'log-level': 'trace, debug, info, warn or error. Default info.',
  'log-rotate-bytes': 'Size at which a new log file is begun.',
  'log-rotate-duration': 'Age at which a new log file is begun. Default 24h.',
  'log-rotate-max-files': 'Number of old log files to keep. Default: all.',
  'max-query-time': 'Longest wait of any blocking query. Default 600s.',
  node: 'Name of this node. Default: the host name.',
  'node-id': 'ID of this node, a UUID. Default: made once and kept.',
  'node-meta': 'Metadata of this node, key:value. May be given several times.',
  'non-voting-server': 'For Enterprise; no effect.',
  'pid-file': 'File to write the process ID to.',
  'primary-gateway': 'Mesh gateway of the primary datacenter.',
  protocol: 'Gossip protocol version. Default: the newest.',
  'raft-protocol': 'Raft protocol version. Default 3.',
  recursor: 'DNS server for names of other domains. May be given several times.',
  rejoin: 'Join the former cluster again, even after a leave.',
  'retry-interval': 'Time between tries of -retry-join. Default 30s.',
  'retry-interval-wan': 'Time between tries of -retry-join-wan. Default 30s.',
  'retry-join': 'Address of a member to join, tried until it works. May be given several times.',
  'retry-join-wan': 'The same for servers of other datacenters.',
  'retry-max': 'Number of tries of -retry-join. Default 0: for ever.',
  'retry-max-wan': 'Number of tries of -retry-join-wan. Default 0: for ever.',
  segment: 'For Enterprise; refused.',
  'serf-lan-allowed-cidrs': 'Networks (CIDR) from which members may come.',
  'serf-lan-bind': 'Address to listen on for LAN gossip.',
  'serf-lan-port': 'Port of LAN gossip. Default 8301.',
  'serf-wan-allowed-cidrs': 'Networks (CIDR) from which WAN members may come.',
  'serf-wan-bind': 'Address to listen on for WAN gossip.',
  'serf-wan-port': 'Port of WAN gossip. Default 8302.',
  server: 'Be a server.',
  'server-port': 'Port of the servers among themselves. Default 8300.',
  syslog: 'Log to syslog, too.',
  ui: 'Serve the web interface.',
  'ui-content-path': 'Path of the web interface. Default /ui/.',
  'ui-dir': 'Folder with another web interface.',
  registrator: 'Watch Docker and register the ports of containers.',
  'docker-host': 'Docker engine to watch. Default: DOCKER_HOST or the usual socket. May be given several times.',
};

const help = helpOf({
  name: 'agent',
  summary,
  description: [
    'Runs an agent until it is told to stop: "portolan agent -dev" to try it out, else with -data-dir and configuration files. Lists given as flags stand before those of files; any other flag wins over files.',
  ],
  flags: Object.fromEntries(
    Object.entries(agentFlags).map(([name, kind]) => [name, { kind, help: flagHelp[name as keyof typeof agentFlags] }]),
  ),
});

/** The agent parses its flags itself, because they are part of its configuration. */
export const agent: Command = {
  name: 'agent',
  summary,
  help,
  flags: Object.entries(flagHelp).map(([name, text]) => ({ name, help: text })),
  async execute(argv, io, { runAgent }) {
    if (asksForHelp(argv)) {
      io.stdout.write(`${help}\n`);
      return 0;
    }
    try {
      return await runAgent(argv, io);
    } catch (error) {
      if (!(error instanceof FlagError)) throw error;
      io.stderr.write(wrongFlagText(error, help));
      return 1;
    }
  },
};
