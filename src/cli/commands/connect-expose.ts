import { UnexpectedResponseError } from '../../client/index.ts';
import { attempt, CliError, command } from '../command.ts';
import { namespaceFlag, serverFlags } from '../flags.ts';
import { findIntention } from '../intention.ts';

interface IngressService {
  readonly Name: string;
  readonly Hosts?: readonly string[] | null;
}
interface IngressListener {
  readonly Port: number;
  readonly Protocol: string;
  readonly Services: readonly IngressService[];
}
interface IngressGateway {
  readonly Kind: string;
  readonly Name: string;
  readonly Listeners?: readonly IngressListener[] | null;
  readonly ModifyIndex?: number | bigint;
}

export const connectExpose = command({
  name: 'connect expose',
  summary: 'Let an ingress gateway serve a service',
  description: [
    'Adds a service to a listener of an ingress gateway (its config entry is made when there is none), and an intention that lets the gateway talk to the service.',
  ],
  flags: {
    ...serverFlags,
    ...namespaceFlag,
    service: { kind: 'string', value: 'NAME', help: 'The service. Required.' },
    'ingress-gateway': { kind: 'string', value: 'NAME', help: 'The gateway. Required.' },
    port: { kind: 'int', value: 'PORT', help: 'Port of the listener. Required.' },
    protocol: { kind: 'string', value: 'tcp|http|http2|grpc', help: 'Protocol of the listener. Default tcp.' },
    host: { kind: 'list', value: 'NAME', help: 'Host names for which it is served. May be given several times.' },
  },
  async run({ values, out, client }) {
    const { service = '', 'ingress-gateway': gateway = '', port = 0, protocol = 'tcp', host } = values;
    if (service === '') throw new CliError('A service name must be given via the -service flag.');
    if (gateway === '') throw new CliError('An ingress gateway service must be given via the -ingress-gateway flag.');
    if (port === 0) throw new CliError('A port must be provided via the -port flag.');
    const agent = client();
    const path = `/v1/config/ingress-gateway/${gateway}`;
    const before = await attempt(
      'Error fetching existing ingress gateway configuration',
      agent.json<IngressGateway>('GET', path).catch((error: unknown) => {
        if (error instanceof UnexpectedResponseError && error.status === 404) return undefined;
        throw error;
      }),
    );
    const listener = before?.Listeners?.find(({ Port }) => Port === port);
    if (listener?.Services.some(({ Name }) => Name === service)) {
      out(`Updating service definition for "${service}" on listener with port ${port}`);
    }
    const entry = withService(
      before ?? { Kind: 'ingress-gateway', Name: gateway },
      { port, protocol },
      { Name: service, ...(host && { Hosts: host }) },
    );
    const { body } = await attempt(
      'Error writing ingress config entry',
      agent.ok('PUT', '/v1/config', {
        query: { cas: before?.ModifyIndex ?? 0 },
        body: JSON.stringify({ ...entry, ModifyIndex: undefined, CreateIndex: undefined }),
      }),
    );
    if (!body.includes('true')) {
      throw new CliError('Ingress config entry was changed while attempting to update, please try again.');
    }
    out(`Successfully updated config entry for ingress service "${gateway}"`);

    const existing = await attempt('Error looking up existing intention', findIntention(agent, gateway, service));
    if (existing?.Action === 'allow') {
      out(`Intention already exists for "${gateway}" -> "${service}"`);
      return 0;
    }
    const intention = { SourceName: gateway, DestinationName: service, SourceType: 'consul', Action: 'allow' };
    if (existing === undefined) {
      await attempt(
        'Error creating intention',
        agent.ok('POST', '/v1/connect/intentions', { body: JSON.stringify(intention) }),
      );
    } else {
      await attempt(
        'Error updating intention',
        agent.ok('PUT', `/v1/connect/intentions/${existing.ID}`, { body: JSON.stringify(intention) }),
      );
    }
    out(`Successfully set up intention for "${gateway}" -> "${service}"`);
    return 0;
  },
});

/** The gateway with the service in the listener of that port. @throws CliError when the listener speaks something else. */
export function withService(
  entry: IngressGateway,
  { port, protocol }: { readonly port: number; readonly protocol: string },
  service: IngressService,
): IngressGateway {
  const listeners = entry.Listeners ?? [];
  const listener = listeners.find(({ Port }) => Port === port);
  if (listener === undefined) {
    return { ...entry, Listeners: [...listeners, { Port: port, Protocol: protocol, Services: [service] }] };
  }
  if (listener.Protocol !== protocol) {
    throw new CliError(`Listener on port ${port} already configured with conflicting protocol "${listener.Protocol}"`);
  }
  const Services = [...listener.Services.filter(({ Name }) => Name !== service.Name), service];
  return { ...entry, Listeners: listeners.map((one) => (one === listener ? { ...one, Services } : one)) };
}
