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
  /** Address of this node in the gossip pool. */
  readonly clusterAddress: string;
  /** Address of published ports and why: `10.1.2.3 (from interface eth0, …)`. */
  readonly advertise: string;
  readonly gossipEncrypted: boolean;
  readonly tlsOutgoing: boolean;
  readonly tlsIncoming: boolean;
  readonly autoEncryptTls: boolean;
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
    ['Cluster Addr', `${facts.clusterAddress} (LAN: ${ports.serfLan}, WAN: ${ports.serfWan})`],
    ['Advertise Addr', facts.advertise],
    [
      'Encrypt',
      `Gossip: ${facts.gossipEncrypted}, TLS-Outgoing: ${facts.tlsOutgoing}, TLS-Incoming: ${facts.tlsIncoming}, Auto-Encrypt-TLS: ${facts.autoEncryptTls}`,
    ],
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
