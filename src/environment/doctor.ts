/**
 * `portolan doctor`: everything the agent can find out about where it runs, on one page, with a fix beside each thing
 * that will not work. It uses the same probes and the same decision as the agent's start, so what it prints is what
 * the agent does.
 */
import { type AdvertiseDecision, type AdvertiseSettings, decideAdvertise } from './advertise.ts';
import type { EnvironmentFacts, Finding } from './facts.ts';
import { detectNetworkMode, isBehindNat, type NetworkModeVerdict } from './network-mode.ts';
import type { ProbePorts } from './probe-ports.ts';
import { collectFacts } from './probes.ts';
import { checkPublishedPorts, type EnvironmentWarning, type PortCheck, publishedPorts } from './published-ports.ts';

/** Below this many file descriptors a busy agent (connections, log, pipes of checks) may run out. */
const fileDescriptorsWanted = 4096;

export interface DoctorSettings {
  readonly advertise: AdvertiseSettings;
  readonly metadata: 'auto' | 'always' | 'never';
  /** Lines for the top, such as `['Portolan', '0.1.0']` and `['Node', 'v20.19.0']`. */
  readonly versions: readonly (readonly [name: string, version: string])[];
}

export interface DoctorReport {
  readonly versions: Readonly<Record<string, string>>;
  readonly facts: EnvironmentFacts;
  readonly network: NetworkModeVerdict;
  readonly advertise: AdvertiseDecision;
  /** Null when not behind NAT, or when nobody knows the published ports. */
  readonly ports: readonly PortCheck[] | null;
  readonly cgroup: { readonly version: 1 | 2 | null; readonly memoryMaxBytes: number | null };
  readonly dns: { readonly nameservers: readonly string[]; readonly search: readonly string[] };
  readonly fileDescriptors: { readonly soft: number | null; readonly hard: number | null };
  /** All warnings, those of the advertise decision included. */
  readonly warnings: readonly EnvironmentWarning[];
}

/** Looks at everything; ends within the probes' limit and never rejects. */
export async function collectDoctorReport(ports: ProbePorts, settings: DoctorSettings): Promise<DoctorReport> {
  const [facts, cgroup, resolvConf, limits] = await Promise.all([
    collectFacts(ports, {
      decided: false,
      metadata: settings.metadata,
      thorough: true,
      gossipPort: settings.advertise.ports.serfLan,
    }),
    readCgroup(ports.readFile),
    ports.readFile('/etc/resolv.conf'),
    ports.readFile('/proc/self/limits'),
  ]);
  const network = detectNetworkMode(facts);
  const published = isBehindNat(network.mode) ? publishedPorts(facts) : null;
  const advertise = decideAdvertise(facts, settings.advertise);
  const dns = parseResolvConf(resolvConf ?? '');
  const fileDescriptors = parseOpenFiles(limits ?? '');
  return {
    versions: Object.fromEntries(settings.versions),
    facts,
    network,
    advertise,
    ports: published === null ? null : checkPublishedPorts(published, settings.advertise.ports),
    cgroup,
    dns,
    fileDescriptors,
    warnings: [
      ...advertise.warnings,
      ...(advertise.error === null ? [] : [{ text: advertise.error, fix: 'set -advertise, or -bind to one address' }]),
      ...engineWarnings(facts),
      ...dnsWarnings(dns.nameservers, network),
      ...descriptorWarnings(fileDescriptors.soft),
    ],
  };
}

async function readCgroup(readFile: ProbePorts['readFile']): Promise<DoctorReport['cgroup']> {
  const [v2, max, v1Limit] = await Promise.all(
    [
      '/sys/fs/cgroup/cgroup.controllers',
      '/sys/fs/cgroup/memory.max',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    ].map(readFile),
  );
  const version = v2 !== undefined ? 2 : v1Limit !== undefined ? 1 : null;
  const limit = Number((v2 !== undefined ? max : v1Limit)?.trim() ?? 'max');
  // Version 1 says "no limit" with a number near 2^63.
  return { version, memoryMaxBytes: Number.isSafeInteger(limit) ? limit : null };
}

function parseResolvConf(text: string): DoctorReport['dns'] {
  const values = (key: string): string[] =>
    text.split('\n').flatMap((line) => {
      const [first, ...rest] = line.trim().split(/\s+/);
      return first === key ? rest : [];
    });
  return { nameservers: values('nameserver'), search: values('search') };
}

function parseOpenFiles(text: string): DoctorReport['fileDescriptors'] {
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(text) ?? [];
  const count = (value: string | undefined): number | null => (value === undefined ? null : Number(value) || null);
  return { soft: count(soft), hard: count(hard) };
}

/** The engine's own errors say cause and remedy together (node/dockerode-engine.ts). */
function engineWarnings({ docker }: EnvironmentFacts): EnvironmentWarning[] {
  return docker.state === 'absent' ? [{ text: 'the Docker engine cannot be used', fix: docker.why }] : [];
}

function dnsWarnings(nameservers: readonly string[], { mode }: NetworkModeVerdict): EnvironmentWarning[] {
  if (nameservers.includes('127.0.0.53') && mode === 'host') {
    return [
      {
        text: 'systemd-resolved listens on 127.0.0.53 port 53: binding the DNS port 53 on every address fails',
        fix: 'let it forward the zone (systemd 246+: DNS=127.0.0.1:8600, Domains=~consul), or bind DNS to one other address',
      },
    ];
  }
  return [];
}

function descriptorWarnings(soft: number | null): EnvironmentWarning[] {
  if (soft === null || soft >= fileDescriptorsWanted) return [];
  return [
    {
      text: `at most ${soft} open files: connections may be refused under load`,
      fix: 'raise the limit: LimitNOFILE=65536 in the unit, --ulimit nofile=65536 in docker run',
    },
  ];
}

/** The report for a person (`table`) or a program (`json`). */
export function formatDoctor(
  report: DoctorReport,
  options: { readonly color: boolean; readonly format: 'table' | 'json' },
): string {
  if (options.format === 'json') return `${JSON.stringify(report, null, 4)}\n`;
  const paint = (code: string, text: string): string => (options.color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const title = (text: string): string => paint('1', text);
  const { facts, advertise } = report;
  const blocks: string[][] = [];

  blocks.push([
    title('Where it runs'),
    ...table([
      ...Object.entries(report.versions),
      ['Container', containerText(facts)],
      ['Network mode', `${report.network.mode} (${report.network.why})`],
      [
        'Interfaces',
        facts.interfaces.map(({ name, address, prefixLength }) => `${name} ${address}/${prefixLength}`).join(', '),
      ],
      ['Default route', facts.defaultInterface ?? 'none'],
      [
        'Docker engine',
        findingText(
          facts.docker,
          (docker) =>
            `${docker.version}, API ${docker.apiVersion}, at ${docker.endpoint}${docker.rootless ? ', rootless' : ''}`,
        ),
      ],
      [
        'ECS',
        findingText(facts.ecsTask, ({ cluster, family, launchType }) =>
          [cluster, family, launchType].filter(Boolean).join(', '),
        ),
      ],
      ['Cloud', findingText(facts.cloud, ({ via, address }) => `${via}: ${address}`)],
      ['Kubernetes', facts.variables['KUBERNETES_SERVICE_HOST'] === undefined ? 'no' : 'yes'],
      [
        'Control groups',
        report.cgroup.version === null
          ? 'none seen'
          : `version ${report.cgroup.version}, memory ${bytesText(report.cgroup.memoryMaxBytes)}`,
      ],
      ['Name servers', report.dns.nameservers.join(', ') || 'none'],
      [
        'Open files',
        `${report.fileDescriptors.soft ?? 'unknown'} (hard limit ${report.fileDescriptors.hard ?? 'unknown'})`,
      ],
    ]),
  ]);

  const marks = { chosen: paint('32', '->'), possible: ' +', refused: paint('33', ' !'), absent: '  ', skipped: '  ' };
  blocks.push([
    title(`Advertise address: ${advertise.address ?? 'none'}`),
    ...table(
      advertise.rungs.map(({ source, verdict, address, detail }) => [source, address ?? '-', verdict, detail]),
      advertise.rungs.map(({ verdict }) => marks[verdict]),
    ),
  ]);

  if (report.ports !== null) {
    blocks.push([
      title('Ports other hosts need'),
      ...table(
        report.ports.map((check) => [
          check.name,
          String(check.port),
          `tcp ${publishedText(check.tcp)}`,
          check.name === 'server RPC' ? '' : `udp ${publishedText(check.udp)}`,
        ]),
      ),
    ]);
  }

  blocks.push(
    report.warnings.length === 0
      ? [paint('32', 'Nothing to mend.')]
      : [
          title('To mend'),
          ...report.warnings.flatMap(({ text, fix }) => [`  ${paint('33', '!')} ${text}`, `      fix: ${fix}`]),
        ],
  );
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

/** Columns wide enough for their longest cell, the last one ragged. */
function table(rows: readonly (readonly string[])[], marks?: readonly string[]): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row, index) => {
    const cells = row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)));
    return `${marks?.[index] ?? ' '} ${cells.join('  ')}`.trimEnd();
  });
}

function findingText<T>(finding: Finding<T>, show: (value: T) => string): string {
  return finding.state === 'found' ? show(finding.value) : `${finding.state}: ${finding.why}`;
}

function containerText({ container, docker }: EnvironmentFacts): string {
  if (!container.inContainer) return 'no';
  const known = docker.state === 'found' ? docker.value.container : null;
  const name =
    known === null
      ? (container.candidates[0]?.id.slice(0, 12) ?? 'id unknown')
      : `${known.name} (${known.id.slice(0, 12)}, ${known.image})`;
  return `yes: ${name}; ${container.evidence.join(', ')}`;
}

function publishedText(port: PortCheck['tcp']): string {
  return port === undefined ? 'not published' : `from ${port.hostIp || '0.0.0.0'}:${port.hostPort}`;
}

function bytesText(bytes: number | null): string {
  return bytes === null ? 'unlimited' : `at most ${Math.round(bytes / 1024 / 1024)} MiB`;
}
