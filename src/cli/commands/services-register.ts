import { isIPv6 } from 'node:net';
import { serviceRegistrationBody } from '../../client/index.ts';
import type { ServiceAddress, ServiceDefinition } from '../../model/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { servicesFromFiles } from '../config-paths.ts';

export const servicesRegister = command({
  name: 'services register',
  operands: '[FILE ...]',
  summary: 'Register services with the agent',
  description: [
    'Registers the service that the flags describe, or those defined in configuration files ("service" and "services"). The agent keeps them over restarts until they are deregistered.',
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    name: { kind: 'string', value: 'NAME', help: 'Name of the service.' },
    id: { kind: 'string', value: 'ID', help: 'ID of the service. Default: its name.' },
    address: { kind: 'string', value: 'ADDR', help: "Address of the service. Default: the node's." },
    port: { kind: 'int', value: 'PORT', help: 'Port of the service.' },
    tag: { kind: 'list', value: 'TAG', help: 'A tag. May be given several times.' },
    meta: { kind: 'map', help: 'Metadata. May be given several times.' },
    'tagged-address': {
      kind: 'map',
      value: 'NAME=ADDR[:PORT]',
      help: 'A further address. May be given several times.',
    },
    kind: { kind: 'string', value: 'KIND', help: 'Kind of a proxy or gateway. Default: a typical service.' },
  },
  async run({ values, args, out, client }) {
    const { name = '' } = values;
    if (args.length === 0 && name === '') {
      throw new CliError('Service registration requires at least one argument or flags.');
    }
    if (args.length > 0 && name !== '') throw new CliError('Service registration requires arguments or -id, not both.');
    const tagged = Object.entries(values['tagged-address'] ?? {}).map(
      ([key, text]) => [key, parseServiceAddress(key, text)] as const,
    );
    const described: ServiceDefinition = {
      name,
      ...(values.id && { id: values.id }),
      ...(values.kind && { kind: values.kind }),
      ...(values.address && { address: values.address }),
      ...(values.port && { port: values.port }),
      ...(values.tag && { tags: values.tag }),
      ...(values.meta && { meta: values.meta }),
      ...(tagged.length > 0 && { taggedAddresses: Object.fromEntries(tagged) }),
    };
    for (const service of name !== '' ? [described] : servicesFromFiles(args)) {
      await attempt(
        `Error registering service ${JSON.stringify(service.name)}`,
        client().ok('PUT', '/v1/agent/service/register', { body: serviceRegistrationBody(service) }),
      );
      out(`Registered service: ${service.name}`);
    }
    return 0;
  },
});

/** `host`, `host:port`, `[v6]` or `[v6]:port`. */
function parseServiceAddress(key: string, text: string): ServiceAddress {
  // Without brackets the last group could be taken for a port.
  if (isIPv6(text)) return { Address: text, Port: 0 };
  const found = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text);
  const port = Number(found?.[3] ?? 0);
  if (found === null || port > 65_535) {
    throw new CliError(`Tagged address "${key}": "${text}" must be ADDR, ADDR:PORT or [IPV6]:PORT`);
  }
  return { Address: found[1] ?? found[2] ?? '', Port: port };
}
