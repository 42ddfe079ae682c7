/** What the agent says before its log: who it is and where it listens (reference/agent.md §3.1). */
export interface BannerFacts {
  readonly version: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly datacenter: string;
  readonly isServer: boolean;
  readonly bootstrap: boolean;
  readonly clientAddresses: readonly string[];
  readonly ports: {
    readonly http: number;
    readonly https: number;
    readonly grpc: number;
    readonly dns: number;
    readonly serfLan: number;
    readonly serfWan: number;
  };
  readonly advertiseAddress: string;
  /** Why that address: `from interface eth0, …`. */
  readonly advertiseReason: string;
  readonly gossipEncrypted: boolean;
  /** `unix:///var/run/docker.sock (Docker 27.1, API 1.46)`, or why there is none; "" when the registrator is off. */
  readonly engine: string;
}

/** The banner's lines, without line feeds. */
export function bannerLines(facts: BannerFacts): readonly string[] {
  const { ports } = facts;
  const rows: readonly (readonly [string, string])[] = [
    ['Version', `'${facts.version}'`],
    ['Node ID', `'${facts.nodeId}'`],
    ['Node name', `'${facts.nodeName}'`],
    ['Datacenter', `'${facts.datacenter}' (Segment: '${facts.isServer ? '<all>' : ''}')`],
    ['Server', `${facts.isServer} (Bootstrap: ${facts.bootstrap})`],
    [
      'Client Addr',
      `[${facts.clientAddresses.join(' ')}] (HTTP: ${ports.http}, HTTPS: ${ports.https}, gRPC: ${ports.grpc}, DNS: ${ports.dns})`,
    ],
    ['Cluster Addr', `${facts.advertiseAddress} (LAN: ${ports.serfLan}, WAN: ${ports.serfWan})`],
    ['Advertise', `${facts.advertiseAddress} (${facts.advertiseReason})`],
    ['Encrypt', `Gossip: ${facts.gossipEncrypted}, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false`],
    ...(facts.engine === '' ? [] : ([['Containers', facts.engine]] as const)),
  ];
  const width = Math.max(...rows.map(([key]) => key.length)) + 6;
  return [
    '==> Starting Portolan agent...',
    ...rows.map(([key, value]) => `${key.padStart(width)}: ${value}`),
    '',
    '==> Log data will now stream in as it occurs:',
    '',
  ];
}
