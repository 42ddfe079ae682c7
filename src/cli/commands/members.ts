import { hostPort } from '../../lib/index.ts';
import { compileGoRegexp } from '../../codec/index.ts';
import { type Member, memberStatus } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { clientFlags, formatFlag, wantsJson } from '../flags.ts';
import { writeJson } from '../json.ts';
import { byBytes, formatTable, paint } from '../text.ts';

/** Exit code when no member matches: scripts wait for a member by it (reference/agent.md §7, trap 1). */
const noneExitCode = 2;

const statusNames = new Map<number, string>(Object.entries(memberStatus).map(([name, status]) => [status, name]));
const statusColors: Readonly<Record<string, 'green' | 'yellow' | 'red'>> = {
  alive: 'green',
  leaving: 'yellow',
  failed: 'red',
};

export const members = command({
  name: 'members',
  summary: 'List the members of the cluster',
  description: [
    'Prints the members of the gossip pool as this agent sees them. Ends with exit code 2 and prints nothing when none matches.',
  ],
  flags: {
    ...clientFlags,
    ...formatFlag,
    detailed: { kind: 'bool', help: 'Print all tags of each member.' },
    wan: { kind: 'bool', help: 'List the servers of all datacenters (WAN pool).' },
    status: { kind: 'string', value: 'REGEXP', help: 'Only members whose status matches. Default ".*".' },
    segment: { kind: 'string', value: 'NAME', help: 'Only members of this network segment. Default: all.' },
  },
  async run({ io, values, out, color, client }) {
    const json = wantsJson(values.format);
    const wanted = compileStatus(values.status ?? '.*');
    const listed = await attempt(
      'Error retrieving members',
      client().json<readonly Member[] | null>('GET', '/v1/agent/members', {
        query: { segment: values.segment ?? '_all', ...(values.wan && { wan: '1' }) },
      }),
    );
    // A client knows no WAN pool.
    const rows = (listed ?? [])
      .map((member) => {
        const segment = member.Tags.role === 'consul' ? '<all>' : member.Tags.segment || '<default>';
        return { ...member, Tags: { ...member.Tags, segment }, status: statusNames.get(member.Status) ?? 'none' };
      })
      .filter(({ status }) => wanted(status))
      .sort((a, b) => byBytes(a.Tags.segment, b.Tags.segment) || byBytes(a.Name, b.Name));
    if (rows.length === 0) return noneExitCode;
    if (json) {
      writeJson(
        io,
        rows.map(({ status, ...member }) => ({ ...member, StatusText: status })),
      );
      return 0;
    }
    const common = rows.map(({ Name, Addr, Port, status }) => [
      Name,
      hostPort(Addr, Port),
      paint(status, statusColors[status] ?? 'yellow', color),
    ]);
    if (values.detailed) {
      out(
        formatTable([
          ['Node', 'Address', 'Status', 'Tags'],
          ...rows.map(({ Tags }, i) => [
            ...common[i]!,
            Object.entries(Tags)
              .sort(([a], [b]) => byBytes(a, b))
              .map(([key, value]) => `${key}=${value}`)
              .join(','),
          ]),
        ]),
      );
      return 0;
    }
    out(
      formatTable([
        ['Node', 'Address', 'Status', 'Type', 'Build', 'Protocol', 'DC', 'Segment'],
        ...rows.map(({ Tags }, i) => [...common[i]!, ...describe(Tags)]),
      ]),
    );
    return 0;
  },
});

function describe(tags: Readonly<Record<string, string>>): string[] {
  const type = { consul: 'server', node: 'client' }[tags.role ?? ''];
  if (type === undefined) return ['unknown', '', '', '', ''];
  return [type, (tags.build || '< 0.3').split(':')[0]!, tags.vsn ?? '', tags.dc ?? '', tags.segment ?? ''];
}

function compileStatus(pattern: string): (status: string) => boolean {
  try {
    return compileGoRegexp(pattern);
  } catch (error) {
    throw new CliError(`Failed to compile status regexp: ${(error as Error).message}`, { cause: error });
  }
}
