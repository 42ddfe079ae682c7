/**
 * `connect envoy` and `connect proxy` find out which proxy is meant, and end there: Portolan runs no proxies and speaks
 * no xDS. That much is said here instead of "unknown command", with what to do about it.
 */
import type { AgentClient } from '../../client/index.ts';
import { CliError, command, type FlagSpecs } from '../command.ts';
import { clientFlags, namespaceFlag, serverFlags } from '../flags.ts';

const unused = (kind: 'string' | 'bool' | 'int' | 'list') => ({ kind, help: 'Taken, without effect.' }) as const;

const whichFlags = {
  'proxy-id': { kind: 'string', value: 'ID', help: 'Service ID of the proxy.' },
  'sidecar-for': { kind: 'string', value: 'ID', help: 'Service ID of what the proxy stands before.' },
} as const satisfies FlagSpecs;

const refusal =
  'Portolan runs no proxies and does not serve their configuration (xDS). Services, intentions, certificates and discovery chains are served: run the proxy with a Consul agent, or let the application itself use the certificates of /v1/agent/connect/ca/leaf/SERVICE.';

interface ProxyService {
  readonly Kind?: string;
  readonly Proxy?: { readonly DestinationServiceID?: string };
}

/** The only proxy registered for that service. @throws Error */
async function findSidecar(agent: AgentClient, service: string): Promise<string> {
  let services: Readonly<Record<string, ProxyService>>;
  try {
    services = await agent.json<Readonly<Record<string, ProxyService>>>('GET', '/v1/agent/services');
  } catch (error) {
    throw new Error(`Failed looking up sidecar proxy info for ${service}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const ids = Object.keys(services).filter(
    (id) => services[id]!.Kind === 'connect-proxy' && services[id]!.Proxy?.DestinationServiceID === service,
  );
  if (ids.length > 1) {
    throw new Error(
      `More than one sidecar proxy registered for ${service}.\n    Start proxy with -proxy-id and one of the following IDs: ${ids.join(', ')}`,
    );
  }
  if (ids[0] === undefined) throw new Error(`No sidecar proxy registered for ${service}`);
  return ids[0];
}

const envoy = command({
  name: 'connect envoy',
  summary: 'Not part of Portolan',
  description: [refusal],
  flags: {
    ...clientFlags,
    ...namespaceFlag,
    ...whichFlags,
    gateway: unused('string'),
    'mesh-gateway': unused('bool'),
    register: unused('bool'),
    service: unused('string'),
    address: unused('string'),
    'wan-address': unused('string'),
    'bind-address': unused('list'),
    'expose-servers': unused('bool'),
    'deregister-after-critical': unused('string'),
    'grpc-addr': unused('string'),
    'admin-bind': unused('string'),
    'admin-access-log-path': unused('string'),
    'envoy-binary': unused('string'),
    'envoy-version': unused('string'),
    bootstrap: unused('bool'),
    'no-central-config': unused('bool'),
  },
  async run({ io, values, client }) {
    const {
      'proxy-id': id = io.env.CONNECT_PROXY_ID ?? '',
      'sidecar-for': service = io.env.CONNECT_SIDECAR_FOR ?? '',
    } = values;
    if (id === '' && service === '' && !values.gateway && !values['mesh-gateway']) {
      throw new CliError('==> No proxy ID specified. One of -proxy-id, -sidecar-for, or -gateway is required');
    }
    if (id === '' && service !== '') {
      await findSidecar(client(), service).catch((error: unknown) => {
        throw new CliError(`==> ${(error as Error).message}`, { cause: error });
      });
    }
    throw new CliError(`==> ${refusal}`);
  },
});

const proxy = command({
  name: 'connect proxy',
  summary: 'Not part of Portolan',
  description: [refusal],
  flags: {
    ...serverFlags,
    ...whichFlags,
    service: unused('string'),
    'service-addr': unused('string'),
    listen: unused('string'),
    upstream: unused('list'),
    register: unused('bool'),
    'register-id': unused('string'),
    'log-level': unused('string'),
    'log-json': unused('bool'),
    'pprof-addr': unused('string'),
  },
  async run({ io, values, out, client }) {
    out('==> Consul Connect proxy starting...');
    const {
      'proxy-id': id = io.env.CONNECT_PROXY_ID ?? '',
      'sidecar-for': service = io.env.CONNECT_SIDECAR_FOR ?? '',
    } = values;
    if (id === '' && service === '' && !values.service) {
      throw new CliError(
        '==> Error preparing configuration: -service or -proxy-id must be specified so that proxy can configure itself.',
      );
    }
    if (id === '' && service !== '') {
      await findSidecar(client(), service).catch((error: unknown) => {
        throw new CliError(`==> Error preparing configuration: ${(error as Error).message}`, { cause: error });
      });
    }
    throw new CliError(`==> ${refusal}`);
  },
});

export const connectProxy = [envoy, proxy];
