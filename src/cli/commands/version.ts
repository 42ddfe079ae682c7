import { type CliIo, command, type VersionInfo } from '../command.ts';
import { formatFlag, wantsJson } from '../flags.ts';

/** Gossip protocol versions; parsers of this output expect the sentence below word for word. */
const protocol = { Default: 2, Min: 2, Max: 3 } as const;

export const version = command({
  name: 'version',
  summary: 'Print the version',
  description: ['Prints the version of this program and that of Consul whose behaviour it has.'],
  flags: formatFlag,
  run({ io, values, dependencies }) {
    if (wantsJson(values.format)) writeVersionJson(io, dependencies.version);
    else writeVersion(io, dependencies.version);
    return 0;
  },
});

export function writeVersion(io: CliIo, { version, revision, consul }: VersionInfo): void {
  const lines = [
    `Portolan v${version}`,
    ...(revision === '' ? [] : [`Revision ${revision}`]),
    `Consul-compatible ${consul}`,
    `Protocol ${protocol.Default} spoken by default, understands ${protocol.Min} to ${protocol.Max} (agent will automatically use protocol >${protocol.Default} when speaking to compatible agents)`,
  ];
  io.stdout.write(`${lines.join('\n')}\n`);
}

/** Indent of the reference program's `version -format=json`, blanks. */
const jsonIndent = 3;

function writeVersionJson(io: CliIo, { version, revision, consul }: VersionInfo): void {
  const document = { Version: version, Revision: revision, Prerelease: '', RPC: protocol, ConsulCompatible: consul };
  io.stdout.write(`${JSON.stringify(document, undefined, jsonIndent)}\n`);
}
